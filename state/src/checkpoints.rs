//! Snapshots and manifests of checkpoints.

use std::path::PathBuf;

use bytes::Bytes;
use rivus_core::job::SnapshotRef;
use rivus_core::{AttemptId, CheckpointId, Failure, JobId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StorageError;
use crate::frame::{self, Frame};
use crate::objects::{Created, ObjectStorage};
use crate::writer::{ObjectWriter, WrittenObject};

const SAVEPOINT: Frame = Frame {
    magic: *b"RVSP",
    kind: "savepoint",
};

const MANIFEST: Frame = Frame {
    magic: *b"RVMF",
    kind: "checkpoint manifest",
};

const CLAIM: Frame = Frame {
    magic: *b"RVCL",
    kind: "checkpoint's claim",
};

/// Where the checkpoints of all jobs are kept.
///
/// ```text
/// jobs/<job>/checkpoints/<n>/<vertex>-<index>-<attempt>.snapshot    v3-0-1.snapshot; streamed by that attempt
/// jobs/<job>/checkpoints/<n>/manifest                               written once, when all have acknowledged
///                                                                   (of a savepoint from elsewhere that the job began
///                                                                   with: the same, copied)
/// jobs/<job>/checkpoints/<n>/claimed                                the job that has gone on from it, after its own
///                                                                   was over; created if absent
///
/// jobs/<job>/files/<n>/...                                          files of stores, shared by checkpoints; see `files.rs`
///
/// savepoints/<job>-<n>/<vertex>-<index>-<attempt>.snapshot          as above, of a checkpoint that somebody asked for
/// savepoints/<job>-<n>/savepoint                                    what it says of itself; written once, last
/// ```
///
/// - A savepoint's folder is whole by itself: it may be moved, copied and deleted like any folder, and nothing here
///   deletes one that is complete.
/// - No object here is ever overwritten with other content: a snapshot's name holds its only writer, and the manifest
///   is created if absent. So a paused ex-leader can't replace a manifest that the new leader completed.
/// - **Nothing here is true by itself.** A checkpoint is completed by an entry of the job log and by nothing else; a
///   manifest without that entry is a leftover, or a leader that died just before it.
/// - Snapshots have no header; their length and checksum are in the [`SnapshotHandle`], which the manifest holds.
/// - Only the job's leader deletes, and only a checkpoint that the log aborted, or that no retained manifest refers to.
///   The manifest goes first, so what is left of a half-deleted checkpoint has none.
#[derive(Debug, Clone)]
pub struct CheckpointStorage {
    objects: ObjectStorage,
}

/// Finds one subtask's snapshot again, and tells whether it is still what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHandle {
    /// The object's name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// The crc32c of its bytes.
    pub crc32c: u32,
}

/// Streams one subtask's snapshot. Not visible until finished; dropping it gives it up.
#[derive(Debug)]
pub struct SnapshotWriter {
    object: ObjectWriter,
}

impl CheckpointStorage {
    /// The checkpoints in this storage.
    pub fn new(objects: ObjectStorage) -> Self {
        Self { objects }
    }

    /// Begins one attempt's snapshot for a checkpoint.
    ///
    /// ```
    /// use rivus_core::{AttemptId, CheckpointId, JobId, SubtaskId, VertexId};
    /// use rivus_state::{CheckpointStorage, ObjectStorage};
    ///
    /// let checkpoints = CheckpointStorage::new(ObjectStorage::in_memory());
    /// # let job = JobId(uuid::Uuid::from_u128(7));
    /// let attempt = AttemptId { subtask: SubtaskId { vertex: VertexId(3), index: 0 }, attempt: 1 };
    /// let mut writer = checkpoints.snapshot_writer(job, CheckpointId(1), attempt);
    /// writer.write("all state".into())?;
    /// let handle = writer.finish()?;
    /// assert!(handle.name.ends_with("checkpoints/1/v3-0-1.snapshot"));
    /// assert_eq!(checkpoints.read_snapshot(&handle)?, "all state");
    /// # Ok::<(), rivus_state::StorageError>(())
    /// ```
    pub fn snapshot_writer(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        attempt: AttemptId,
    ) -> SnapshotWriter {
        self.writer_in(&checkpoint_folder(job, checkpoint), attempt)
    }

    /// Begins one attempt's snapshot for a savepoint.
    pub fn savepoint_writer(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        attempt: AttemptId,
    ) -> SnapshotWriter {
        self.writer_in(&savepoint_folder(&savepoint_name(job, checkpoint)), attempt)
    }

    fn writer_in(&self, folder: &str, attempt: AttemptId) -> SnapshotWriter {
        let AttemptId { subtask, attempt } = attempt;
        let name = format!(
            "{folder}/{}-{}-{attempt}.snapshot",
            subtask.vertex, subtask.index
        );
        self.writer(&name)
    }

    pub(crate) fn writer(&self, name: &str) -> SnapshotWriter {
        SnapshotWriter {
            object: self.objects.writer(name),
        }
    }

    /// The failure of whoever needs an object of a checkpoint. If it is damaged or gone no restart helps: the message says where it
    /// lay, and what does.
    pub fn failure(&self, error: StorageError) -> Failure {
        let Some(name) = error.lost() else {
            return error.failure();
        };
        let place = match self.objects.on_disk(name) {
            Some(path) => path.display().to_string(),
            None => format!("{}/{name}", self.objects),
        };
        let failure = error.failure();
        Failure {
            message: format!(
                "{}: bring {place} back from a copy, or go on from a savepoint that is whole",
                failure.message
            ),
            ..failure
        }
    }

    pub(crate) fn objects(&self) -> &ObjectStorage {
        &self.objects
    }

    /// Reads a snapshot and verifies its length and checksum.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::Length`] or [`StorageError::Checksum`], each naming the object.
    pub fn read_snapshot(&self, handle: &SnapshotHandle) -> Result<Bytes, StorageError> {
        let bytes = self.read(&handle.name)?;
        if bytes.len() as u64 != handle.len {
            return Err(StorageError::Length {
                name: handle.name.clone(),
                expected: handle.len,
                actual: bytes.len() as u64,
            });
        }
        frame::verify(&handle.name, handle.crc32c, crc32c::crc32c(&bytes))?;
        Ok(bytes)
    }

    /// Reads the first bytes of a snapshot. Their checksums are in them, frame by frame.
    ///
    /// # Errors
    /// [`StorageError::Missing`] or [`StorageError::Length`], naming the object.
    pub fn read_snapshot_head(&self, name: &str, bytes: u64) -> Result<Bytes, StorageError> {
        let missing = || StorageError::Missing {
            name: name.to_owned(),
        };
        let head = self.objects.get_first(name, bytes)?.ok_or_else(missing)?;
        if (head.len() as u64) < bytes {
            return Err(StorageError::Length {
                name: name.to_owned(),
                expected: bytes,
                actual: head.len() as u64,
            });
        }
        Ok(head)
    }

    /// Writes what a savepoint says of itself: it is complete with that. Writing the same again is fine.
    ///
    /// # Errors
    /// If it can't be written, or another one is there.
    pub fn write_savepoint(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        savepoint: &[u8],
    ) -> Result<(), StorageError> {
        let name = format!(
            "{}/savepoint",
            savepoint_folder(&savepoint_name(job, checkpoint))
        );
        self.write_once(name, SAVEPOINT.encode(&[savepoint]), |name| {
            StorageError::ManifestExists {
                job,
                checkpoint,
                name,
            }
        })
    }

    /// Reads what a savepoint says of itself. `folder` is its folder in this storage.
    ///
    /// # Errors
    /// [`StorageError::Missing`] if there is none, or what is wrong with it.
    pub fn read_savepoint(&self, folder: &str) -> Result<Bytes, StorageError> {
        let name = match folder {
            "" => "savepoint".to_owned(),
            folder => format!("{folder}/savepoint"),
        };
        SAVEPOINT.decode(&name, &self.read(&name)?)
    }

    /// Deletes what is there of a savepoint that will not be.
    pub fn delete_savepoint(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
    ) -> Result<(), StorageError> {
        let folder = savepoint_folder(&savepoint_name(job, checkpoint));
        for name in self.objects.list(&folder)? {
            self.objects.delete(&name)?;
        }
        Ok(())
    }

    /// Copies a file of another storage into a folder of this one, and verifies it on the way.
    ///
    /// # Errors
    /// If it can't be read, is damaged or gone, or can't be written.
    pub fn copy_from(
        &self,
        other: &Self,
        file: &SnapshotRef,
        folder: &str,
    ) -> Result<(), StorageError> {
        let SnapshotRef { name, len, crc32c } = file.clone();
        let mut writer = self.writer(&format!("{folder}/{name}"));
        let handle = SnapshotHandle { name, len, crc32c };
        let write = |piece: &[u8]| writer.write(piece.to_vec().into());
        match other.read_pieces(&handle, write) {
            Ok(()) => writer.finish().map(|_| ()),
            Err(error) => {
                writer.abort();
                Err(error)
            }
        }
    }

    /// Writes a checkpoint's manifest. Writing the same again is fine.
    ///
    /// # Errors
    /// [`StorageError::ManifestExists`] if another leader wrote one with other content. That one is complete too, for
    /// it was written after all acknowledgements: read it and complete the checkpoint with it, or abort.
    pub fn write_manifest(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        manifest: &[u8],
    ) -> Result<(), StorageError> {
        let name = manifest_name(job, checkpoint);
        self.write_once(name, MANIFEST.encode(&[manifest]), |name| {
            StorageError::ManifestExists {
                job,
                checkpoint,
                name,
            }
        })
    }

    fn write_once(
        &self,
        name: String,
        bytes: Bytes,
        exists: impl FnOnce(String) -> StorageError,
    ) -> Result<(), StorageError> {
        match self.objects.create(&name, bytes.clone())? {
            Created::Created => Ok(()),
            Created::AlreadyExists if self.objects.get(&name)?.as_ref() == Some(&bytes) => Ok(()),
            Created::AlreadyExists => Err(exists(name)),
        }
    }

    /// Reads a checkpoint's manifest, as it was handed to [`write_manifest`](Self::write_manifest).
    ///
    /// # Errors
    /// [`StorageError::Missing`] if there is none, or what is wrong with it.
    pub fn read_manifest(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
    ) -> Result<Bytes, StorageError> {
        let name = manifest_name(job, checkpoint);
        MANIFEST.decode(&name, &self.read(&name)?)
    }

    /// Claims a checkpoint, of a job that is over, for the one job that goes on from it. Returns that job: `by`, or whoever was
    /// first.
    ///
    /// # Errors
    /// If the claim can't be written, or the one that is there can't be read. Then it may have been made: claim it again.
    ///
    /// ```
    /// use rivus_core::{CheckpointId, JobId};
    /// use rivus_state::{CheckpointStorage, ObjectStorage};
    ///
    /// let checkpoints = CheckpointStorage::new(ObjectStorage::in_memory());
    /// # let [failed, first, second] = [7, 8, 9].map(|n| JobId(uuid::Uuid::from_u128(n)));
    /// for by in [first, second, first] {
    ///     assert_eq!(checkpoints.claim_checkpoint(failed, CheckpointId(12), by)?, first);
    /// }
    /// # Ok::<(), rivus_state::StorageError>(())
    /// ```
    pub fn claim_checkpoint(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        by: JobId,
    ) -> Result<JobId, StorageError> {
        let name = claim_name(job, checkpoint);
        let claim = CLAIM.encode(&[by.0.as_bytes()]);
        match self.objects.create(&name, claim)? {
            Created::Created => Ok(by),
            Created::AlreadyExists => {
                let found = CLAIM.decode(&name, &self.read(&name)?)?;
                match Uuid::from_slice(&found) {
                    Ok(first) => Ok(JobId(first)),
                    Err(_) => Err(StorageError::Length {
                        name,
                        expected: by.0.as_bytes().len() as u64,
                        actual: found.len() as u64,
                    }),
                }
            }
        }
    }

    /// Where the claim of a checkpoint lies, if the storage is a directory.
    pub fn claim_on_disk(&self, job: JobId, checkpoint: CheckpointId) -> Option<PathBuf> {
        self.objects.on_disk(&claim_name(job, checkpoint))
    }

    /// Where a checkpoint lies, if the storage is a directory.
    pub fn folder_on_disk(&self, job: JobId, checkpoint: CheckpointId) -> Option<PathBuf> {
        self.objects.on_disk(&checkpoint_folder(job, checkpoint))
    }

    /// Deletes all of a checkpoint. May be repeated, also after it failed half-way.
    pub fn delete_checkpoint(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
    ) -> Result<(), StorageError> {
        self.objects.delete(&manifest_name(job, checkpoint))?;
        for name in self.objects.list(&checkpoint_folder(job, checkpoint))? {
            self.objects.delete(&name)?;
        }
        Ok(())
    }

    /// Deletes an object that has been published for a checkpoint that nobody wants any more.
    ///
    /// # Errors
    /// If it can't be deleted.
    pub fn take_back(&self, handle: &SnapshotHandle) -> Result<(), StorageError> {
        self.objects.delete(&handle.name)
    }

    /// All checkpoints of which anything is there, ascending: completed, in flight, and leftovers. The log knows which.
    pub fn list(&self, job: JobId) -> Result<Vec<CheckpointId>, StorageError> {
        let folder = checkpoints_folder(job);
        let mut found: Vec<_> = self
            .objects
            .list(&folder)?
            .iter()
            .filter_map(|name| name.strip_prefix(&folder)?.strip_prefix('/'))
            .filter_map(|rest| rest.split_once('/')?.0.parse().ok())
            .map(CheckpointId)
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn read(&self, name: &str) -> Result<Bytes, StorageError> {
        self.objects
            .get(name)?
            .ok_or_else(|| StorageError::Missing {
                name: name.to_owned(),
            })
    }
}

impl SnapshotWriter {
    /// Appends a piece. After the first error the snapshot can't be finished any more.
    pub fn write(&mut self, piece: Bytes) -> Result<(), StorageError> {
        self.object.write(piece)
    }

    /// The same, of a piece that is copied if need be.
    pub fn write_from(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.object.write_from(piece)
    }

    /// The pieces that follow are those of a file: see [`ObjectWriter::links`].
    pub fn links(&mut self, file: PathBuf) {
        self.object.links(file);
    }

    /// Publishes the snapshot, durably and whole.
    pub fn finish(self) -> Result<SnapshotHandle, StorageError> {
        let WrittenObject { name, len, crc32c } = self.object.finish()?;
        Ok(SnapshotHandle { name, len, crc32c })
    }

    /// Gives the snapshot up.
    pub fn abort(self) {
        self.object.abort();
    }
}

fn checkpoints_folder(job: JobId) -> String {
    format!("jobs/{job}/checkpoints")
}

/// The folder of a job's checkpoint in its storage.
pub fn checkpoint_folder(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{}/{checkpoint}", checkpoints_folder(job))
}

fn manifest_name(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{}/manifest", checkpoint_folder(job, checkpoint))
}

fn claim_name(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{}/claimed", checkpoint_folder(job, checkpoint))
}

/// The name of the savepoint that is a job's checkpoint.
pub fn savepoint_name(job: JobId, checkpoint: CheckpointId) -> String {
    format!("{job}-{checkpoint}")
}

/// The folder of a savepoint in its storage.
pub fn savepoint_folder(name: &str) -> String {
    format!("{SAVEPOINTS}/{name}")
}

/// The folder of all savepoints in a storage.
pub const SAVEPOINTS: &str = "savepoints";
