//! Files of stores: made and stored for a checkpoint beside the snapshot, found again when an execution starts.
//!
//! A store that holds what it held at the barrier is frozen until its image has been made: that is done first, on the
//! pool. Then the files that the storage doesn't have are stored, all of a store by one job of the pool: what the pool says
//! waits behind the records that have come before it. A checkpoint that is given up stops at the next file.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ractor::ActorProcessingErr;
use rivus_core::job::{SnapshotPart, SnapshotRef, StoredFile, StoredFiles};
use rivus_core::{
    CheckpointId, EachPiece, Failure, FrozenStore, JobId, OperatorUid, RestoredState, StoreImage,
    SubtaskId, SubtaskMetrics, files_refused,
};
use rivus_state::{
    LocalCopies, LocalCopy, SnapshotHandle, SnapshotWriter, StorageError, StoredImage,
};

use super::snapshot::Uploads;
use super::{SubtaskMessage, SubtaskState};
use crate::context::NodeContext;
use crate::probe::Step;

/// What the pool says of a store's files.
pub struct FilesResult {
    id: CheckpointId,
    /// Which of the checkpoint's stores.
    store: usize,
    outcome: Result<FilesStep, String>,
}

enum FilesStep {
    /// They have been made, and changes may reach the store again.
    Made(Arc<dyn StoreImage>),
    /// Those that the storage lacked are stored.
    Stored(Vec<StoredFile>),
}

/// A store's files on their way to the storage.
pub(super) struct FilesUpload {
    operator: OperatorUid,
    /// None until they have been made.
    image: Option<Arc<dyn StoreImage>>,
    /// Whether the storage lacks some that are being stored.
    is_storing: bool,
    stored: Vec<StoredFile>,
    /// Bytes of those that this checkpoint has stored.
    pub(super) uploaded: u64,
}

impl FilesUpload {
    pub(super) fn is_complete(&self) -> bool {
        self.image.is_some() && !self.is_storing
    }

    /// What the checkpoint names, and the same files here.
    pub(super) fn finish(self) -> Option<LocalCopy> {
        let image = self.image?;
        let stored = StoredFiles {
            operator: self.operator,
            format: image.format().to_owned(),
            files: self.stored,
        };
        Some(LocalCopy { stored, image })
    }
}

impl Uploads {
    /// Makes files of stores that are frozen.
    pub(super) fn make_files(&mut self, frozen: Vec<FrozenStore>) {
        let Some(upload) = &mut self.current else {
            return;
        };
        for frozen in frozen {
            let (id, store) = (upload.id, upload.stores.len());
            upload.stores.push(FilesUpload {
                operator: frozen.operator.clone(),
                image: None,
                is_storing: false,
                stored: Vec::new(),
                uploaded: 0,
            });
            let myself = self.myself.clone();
            self.blocking.run(Box::new(move || {
                let made_of = Arc::clone(frozen.store());
                let image = Failure::caught(|| frozen.image());
                let result = FilesResult {
                    id,
                    store,
                    outcome: image
                        .map(FilesStep::Made)
                        .map_err(|failure| failure.message),
                };
                let _ = myself.cast(SubtaskMessage::FilesStored(result));
                made_of.imaged();
            }));
        }
    }

    /// Takes what the pool has done.
    fn files_step(&mut self, store: usize, step: FilesStep) {
        let Some(upload) = self
            .current
            .as_mut()
            .and_then(|upload| upload.stores.get_mut(store))
        else {
            return;
        };
        match step {
            FilesStep::Made(image) => {
                let mut lacking = Vec::new();
                for file in image.files() {
                    match self.known.find(&upload.operator, file) {
                        Some(stored) => upload.stored.push(stored.clone()),
                        None => lacking.push(file.name.clone()),
                    }
                }
                upload.image = Some(Arc::clone(&image));
                if !lacking.is_empty() {
                    upload.is_storing = true;
                    self.store_files(store, image, lacking);
                }
            }
            FilesStep::Stored(files) => {
                upload.is_storing = false;
                upload.uploaded = files.iter().map(|file| file.object.len).sum();
                upload.stored.extend(files);
            }
        }
    }

    /// Stores files of a store, one after the other.
    fn store_files(&self, store: usize, image: Arc<dyn StoreImage>, names: Vec<String>) {
        let Some(upload) = &self.current else {
            return;
        };
        let (id, wanted) = (upload.id, self.wanted(upload));
        let Some(upload) = upload.stores.get(store) else {
            return;
        };
        let (job, attempt, operator) = (self.job, self.attempt, upload.operator.clone());
        let (myself, storage) = (self.myself.clone(), self.storage.clone());
        self.blocking.run(Box::new(move || {
            let stored = Failure::caught(|| {
                let writer = |name: &str| storage.file_writer(job, id, attempt, &operator, name);
                store_all(&*image, names, writer, |writer| {
                    wanted.publish(&storage, writer)
                })
            });
            let result = FilesResult {
                id,
                store,
                outcome: stored
                    .map(FilesStep::Stored)
                    .map_err(|failure| failure.message),
            };
            // If this was the last to need it, its files go here and not in the subtask's turn.
            drop(image);
            let _ = myself.cast(SubtaskMessage::FilesStored(result));
        }));
    }

    /// Drops what deletes files when it goes: not in a turn.
    pub(super) fn drop_elsewhere<T: Send + 'static>(&self, unneeded: Vec<T>) {
        if !unneeded.is_empty() {
            self.blocking.run(Box::new(move || drop(unneeded)));
        }
    }
}

/// Stores files of an image one after the other, until one isn't wanted any more.
fn store_all(
    image: &dyn StoreImage,
    names: Vec<String>,
    writer: impl Fn(&str) -> SnapshotWriter,
    publish: impl Fn(SnapshotWriter) -> Result<SnapshotHandle, Failure>,
) -> Result<Vec<StoredFile>, Failure> {
    let mut stored = Vec::new();
    for name in names {
        let written = write_file(image, &name, writer(&name))?;
        let SnapshotHandle {
            name: object,
            len,
            crc32c,
        } = publish(written)?;
        let object = SnapshotRef {
            name: object,
            len,
            crc32c,
        };
        stored.push(StoredFile { name, object });
    }
    Ok(stored)
}

/// Writes a file of an image; by a link to it, if it lies where the storage does.
fn write_file(
    image: &dyn StoreImage,
    name: &str,
    mut writer: SnapshotWriter,
) -> Result<SnapshotWriter, Failure> {
    let failed = |error: StorageError| Failure::user(&error.into());
    if let Some(file) = image.on_disk(name) {
        writer.links(file);
    }
    let write: EachPiece<'_> = &mut |piece| writer.write_from(piece).map_err(failed);
    image.read(name, write)?;
    Ok(writer)
}

impl SubtaskState {
    /// The subtask is about to acknowledge a checkpoint with these.
    pub(super) fn keep_files(&mut self, id: CheckpointId, copies: Vec<LocalCopy>) {
        let stored = copies.iter().map(|copy| copy.stored.clone()).collect();
        self.uploads.known.acknowledged(id, stored);
        let (node, subtask) = (&self.args.node, self.args.attempt.subtask);
        if !node.config.local_recovery {
            self.uploads.drop_elsewhere(copies);
        } else if node.backend.is_some() {
            // Without any it replaces those before it all the same.
            node.local.keep(self.args.job, subtask, id, copies);
        }
    }

    /// What the subtask has acknowledged is complete, or will never be.
    pub(super) fn settle_files(&mut self, id: CheckpointId, is_complete: bool) {
        let (local, job) = (&self.args.node.local, self.args.job);
        let subtask = self.args.attempt.subtask;
        let unneeded = if is_complete {
            self.uploads.known.completed(id);
            local.completed(job, subtask, id)
        } else {
            self.uploads.known.aborted(id);
            local.aborted(job, subtask, id)
        };
        self.uploads.drop_elsewhere(unneeded);
    }

    pub(super) fn files_stored(&mut self, result: FilesResult) -> Result<(), ActorProcessingErr> {
        let FilesResult { id, store, outcome } = result;
        let current = self.uploads.current.as_ref();
        if current.is_none_or(|upload| upload.id != id) {
            if let Ok(FilesStep::Made(image)) = outcome {
                self.uploads.drop_elsewhere(vec![image]);
            }
            return Ok(());
        }
        match outcome {
            Ok(step) => {
                if let FilesStep::Stored(_) = step {
                    let myself = self.myself.clone();
                    self.pass(Step::FileStored, &myself)?;
                }
                self.uploads.files_step(store, step);
                self.acknowledge_if_stored()
            }
            Err(reason) => self.upload_failed(id, reason),
        }
    }
}

/// Where the files are that an execution starts from.
pub(super) struct RestoredFiles {
    pub(super) node: Arc<NodeContext>,
    pub(super) job: JobId,
    pub(super) subtask: SubtaskId,
    pub(super) checkpoint: CheckpointId,
    pub(super) metrics: Arc<SubtaskMetrics>,
}

impl RestoredFiles {
    /// Gives stores their files: those of this process's disk if they are whole, else the storage's.
    ///
    /// # Errors
    /// If this process has no stores of that kind. Another one may have, so it is the attempt that ends, and no operator is
    /// to blame.
    pub(super) fn add(
        &self,
        parts: &[SnapshotPart],
        restored: &mut RestoredState,
    ) -> Result<(), Failure> {
        let own = self.node.backend.as_ref().map(|backend| backend.format());
        for stored in parts.iter().flat_map(|part| &part.stores) {
            if own != Some(&*stored.format) {
                let by = match own {
                    Some(own) => format!("a TaskManager with state backend {own}"),
                    None => "a TaskManager with state in memory".to_owned(),
                };
                let refused = files_refused(&stored.operator, &stored.format, &by);
                return Err(Failure::attempt(refused.message));
            }
            let bytes: u64 = stored.files.iter().map(|file| file.object.len).sum();
            let copies: &LocalCopies = &self.node.local;
            let (image, counter) =
                match copies.find(self.job, self.subtask, self.checkpoint, stored) {
                    Some(image) => (image, &self.metrics.restored_locally),
                    None => {
                        let image = StoredImage::new(self.node.checkpoints.clone(), stored);
                        let image: Arc<dyn StoreImage> = Arc::new(image);
                        (image, &self.metrics.restored_remotely)
                    }
                };
            counter.fetch_add(bytes, Relaxed);
            restored.add_image(stored.operator.clone(), image);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rivus_core::{AttemptId, ImageFile, VertexId};
    use rivus_state::{CheckpointStorage, Fault, ObjectStorage, StorageFaults, StorageOp};
    use uuid::Uuid;

    use super::super::wanted::{GivenUp, Wanted};
    use super::*;

    const JOB: JobId = JobId(Uuid::from_u128(7));

    /// Three files, each of which holds its name.
    #[derive(Debug)]
    struct Names;

    impl StoreImage for Names {
        fn format(&self) -> &str {
            "names"
        }

        fn files(&self) -> &[ImageFile] {
            &[]
        }

        fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
            each(file.as_bytes())
        }

        fn on_disk(&self, _: &str) -> Option<PathBuf> {
            None
        }
    }

    /// The checkpoint is given up when a file is about to be written.
    struct GivesUpAt(&'static str, GivenUp);

    impl StorageFaults for GivesUpAt {
        fn before(&self, op: StorageOp, name: &str) -> Option<Fault> {
            if op == StorageOp::Write && name.ends_with(self.0) {
                self.1.set();
            }
            None
        }
    }

    /// How many of three files are said to be stored, and how many are, if the checkpoint is given up at one of them.
    fn stored(given_up_at: &'static str) -> (Option<usize>, usize) {
        let wanted = Wanted {
            execution: GivenUp::default(),
            upload: GivenUp::default(),
        };
        let faults = GivesUpAt(given_up_at, wanted.upload.clone());
        let objects = ObjectStorage::in_memory().with_faults(Arc::new(faults));
        let storage = CheckpointStorage::new(objects);
        let attempt = AttemptId {
            subtask: SubtaskId {
                vertex: VertexId(1),
                index: 0,
            },
            attempt: 1,
        };
        let operator = "sums".into();
        let writer =
            |name: &str| storage.file_writer(JOB, CheckpointId(3), attempt, &operator, name);
        let names = ["1.sst", "2.sst", "3.sst"].map(str::to_owned).to_vec();
        let publish = |writer| wanted.publish(&storage, writer);
        let stored = store_all(&Names, names, writer, publish).ok();
        (
            stored.map(|stored| stored.len()),
            storage.list_files(JOB).expect("is listed").len(),
        )
    }

    #[test]
    fn a_checkpoint_that_is_given_up_stores_no_further_file() {
        assert_eq!(stored("none"), (Some(3), 3));
        // Whoever cleans up finds those before.
        assert_eq!(stored("2.sst"), (None, 1));
        assert_eq!(stored("1.sst"), (None, 0));
    }
}
