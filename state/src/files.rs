//! Files of stores in the storage: shared by the checkpoints that name them.
//!
//! ```text
//! jobs/<job>/files/<n>/<vertex>-<index>-<attempt>-<operator>-<file>     v3-0-1-5f2c...-000017.sst
//! ```
//!
//! - `n` is the checkpoint that the file was stored for; later ones name it too, as long as the store has it. A name has
//!   one writer, so no file is ever overwritten with other content.
//! - How many checkpoints refer to a file is written nowhere: the retained manifests say it.
//! - **Who deletes**: a leader that has seen n complete deletes what was stored for n or before and is named by
//!   none of the manifests that its log retains; never what was stored for a later one, which may be under way. If it has
//!   been replaced meanwhile that is right all the same (`rivus_core::job::KnownFiles` says why); and if it can't
//!   read one of those manifests any more, for its successor has deleted it, it deletes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use rivus_core::job::{Manifest, SnapshotPart, SnapshotRef, StoredFile, StoredFiles};
use rivus_core::{
    AttemptId, CheckpointId, CodecError, EachPiece, Failure, ImageFile, JobId, OperatorUid,
    SnapshotBytes, StoreImage, codec, key_hash, read_head,
};

use crate::checkpoints::{CheckpointStorage, SnapshotHandle, SnapshotWriter};
use crate::error::StorageError;
use crate::frame;

/// Bytes that are read at a time.
const PIECE: u64 = 4 << 20;

impl CheckpointStorage {
    /// Begins a file of an operator's store, for a checkpoint.
    pub fn file_writer(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        attempt: AttemptId,
        operator: &OperatorUid,
        file: &str,
    ) -> SnapshotWriter {
        let AttemptId { subtask, attempt } = attempt;
        // A uid may hold anything; an object's name may not.
        let name = format!(
            "{}/{checkpoint}/{}-{}-{attempt}-{:016x}-{file}",
            files_folder(job),
            subtask.vertex,
            subtask.index,
            key_hash(operator),
        );
        self.writer(&name)
    }

    /// Reads an object piece by piece, in bounded memory, and verifies its length and checksum.
    ///
    /// # Errors
    /// As [`read_snapshot`](Self::read_snapshot); that it is damaged may be found when its pieces have been handed on.
    pub fn read_pieces<E: From<StorageError>>(
        &self,
        handle: &SnapshotHandle,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let name = &handle.name;
        let missing = || StorageError::Missing { name: name.clone() };
        let wrong_length = |actual| StorageError::Length {
            name: name.clone(),
            expected: handle.len,
            actual,
        };
        let actual = self.objects().size(name)?.ok_or_else(missing)?;
        if actual != handle.len {
            return Err(wrong_length(actual).into());
        }
        let (mut at, mut crc) = (0, 0);
        while at < handle.len {
            let end = handle.len.min(at + PIECE);
            let piece = self
                .objects()
                .get_range(name, at..end)?
                .ok_or_else(missing)?;
            if piece.len() as u64 != end - at {
                return Err(wrong_length(at + piece.len() as u64).into());
            }
            crc = crc32c::crc32c_append(crc, &piece);
            each(&piece)?;
            at = end;
        }
        Ok(frame::verify(name, handle.crc32c, crc)?)
    }

    /// All files of a job's stores.
    pub fn list_files(&self, job: JobId) -> Result<Vec<String>, StorageError> {
        self.objects().list(&files_folder(job))
    }

    /// Deletes what no checkpoint needs any more: `retained` are those that the log retains, oldest first. Nothing of a later
    /// one is touched, unless the job has ended. May be repeated, also after it failed half-way.
    ///
    /// # Errors
    /// If something can't be listed or deleted, or a retained manifest not be read; then no file has been deleted.
    pub fn clean_up(
        &self,
        job: JobId,
        retained: &[CheckpointId],
        has_ended: bool,
    ) -> Result<(), StorageError> {
        let last = if has_ended {
            Some(CheckpointId(u64::MAX))
        } else {
            retained.last().copied()
        };
        let Some(last) = last else {
            return Ok(());
        };
        let oldest = retained.first().copied().unwrap_or(last);
        for id in self.list(job)?.into_iter().filter(|id| *id < oldest) {
            self.delete_checkpoint(job, id)?;
        }
        let files = self.list_files(job)?;
        let stored_for = |file: &str| stored_for(job, file);
        if !files.iter().any(|file| stored_for(file) <= Some(last)) {
            return Ok(());
        }
        let mut named = BTreeSet::new();
        for id in retained {
            let bytes = self.read_manifest(job, *id)?;
            let manifest: Manifest =
                codec::decode(&bytes).map_err(|_| StorageError::ManifestUnreadable {
                    job,
                    checkpoint: *id,
                })?;
            named.extend(manifest.files().map(str::to_owned));
        }
        let mut unneeded = files.iter().filter(|file| {
            let of = stored_for(file);
            of.is_some() && of <= Some(last) && !named.contains(*file)
        });
        unneeded.try_for_each(|file| self.objects().delete(file))
    }
}

fn files_folder(job: JobId) -> String {
    format!("jobs/{job}/files")
}

/// The checkpoint that a file was stored for.
fn stored_for(job: JobId, file: &str) -> Option<CheckpointId> {
    let rest = file.strip_prefix(&files_folder(job))?.strip_prefix('/')?;
    rest.split_once('/')?.0.parse().ok().map(CheckpointId)
}

/// The files of a store that a checkpoint names, in the storage.
#[derive(Debug)]
pub struct StoredImage {
    storage: CheckpointStorage,
    format: String,
    files: Vec<ImageFile>,
    handles: BTreeMap<String, SnapshotHandle>,
}

impl StoredImage {
    /// Of the files that are stored there.
    pub fn new(storage: CheckpointStorage, stored: &StoredFiles) -> Self {
        let files = stored.files.iter().map(|file| ImageFile {
            name: file.name.clone(),
            bytes: file.object.len,
            is_lasting: false,
        });
        let handle = |file: &StoredFile| {
            let object = &file.object;
            let handle = SnapshotHandle {
                name: object.name.clone(),
                len: object.len,
                crc32c: object.crc32c,
            };
            (file.name.clone(), handle)
        };
        Self {
            storage,
            format: stored.format.clone(),
            files: files.collect(),
            handles: stored.files.iter().map(handle).collect(),
        }
    }
}

/// A snapshot in the storage, read whenever its rows are wanted.
#[derive(Debug)]
pub struct StoredSnapshot {
    /// Where it lies.
    pub storage: CheckpointStorage,
    /// Which it is.
    pub handle: SnapshotHandle,
}

impl StoredSnapshot {
    /// What a checkpoint or savepoint names.
    pub fn of(storage: &CheckpointStorage, part: &SnapshotPart) -> Self {
        let SnapshotRef { name, len, crc32c } = part.snapshot.clone();
        Self {
            storage: storage.clone(),
            handle: SnapshotHandle { name, len, crc32c },
        }
    }

    /// All that is not rows in it. Where that stands behind rows, or is more than `read_at_once`, it is read through.
    ///
    /// # Errors
    /// If it can't be read, or is damaged.
    pub fn head(&self, part: &SnapshotPart, read_at_once: u64) -> Result<Bytes, Failure> {
        if part.head > read_at_once {
            return read_head(self);
        }
        let head = self
            .storage
            .read_snapshot_head(&self.handle.name, part.head);
        head.map_err(|error| self.storage.failure(error))
    }

    /// All of it.
    ///
    /// # Errors
    /// If it can't be read, or is damaged.
    pub fn whole(&self) -> Result<Bytes, Failure> {
        let whole = self.storage.read_snapshot(&self.handle);
        whole.map_err(|error| self.storage.failure(error))
    }
}

impl SnapshotBytes for StoredSnapshot {
    fn read(&self, each: EachPiece<'_>) -> Result<(), Failure> {
        read_pieces(&self.storage, &self.handle, each)
    }

    fn damaged(&self, what: CodecError) -> Failure {
        self.storage.failure(StorageError::Snapshot {
            name: self.handle.name.clone(),
            source: what,
        })
    }
}

/// What goes wrong while a file is read: in the storage, or where its pieces go.
enum ReadError {
    Storage(StorageError),
    Taker(Failure),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

fn read_pieces(
    storage: &CheckpointStorage,
    handle: &SnapshotHandle,
    each: EachPiece<'_>,
) -> Result<(), Failure> {
    let read = storage.read_pieces(handle, |piece| each(piece).map_err(ReadError::Taker));
    read.map_err(|error| match error {
        ReadError::Storage(error) => storage.failure(error),
        ReadError::Taker(failure) => failure,
    })
}

impl StoreImage for StoredImage {
    fn format(&self) -> &str {
        &self.format
    }

    fn files(&self) -> &[ImageFile] {
        &self.files
    }

    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
        let Some(handle) = self.handles.get(file) else {
            return Err(Failure::attempt(format!(
                "the checkpoint names no file {file}"
            )));
        };
        read_pieces(&self.storage, handle, each)
    }

    /// It is read first: what a database opens must be what was stored.
    fn on_disk(&self, file: &str) -> Option<PathBuf> {
        let handle = self.handles.get(file)?;
        let path = self.storage.objects().on_disk(&handle.name)?;
        let whole = self
            .storage
            .read_pieces(handle, |_| Ok::<(), StorageError>(()));
        whole.ok().map(|()| path)
    }
}
