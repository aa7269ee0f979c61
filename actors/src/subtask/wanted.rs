//! Whether what the pool is storing for an execution is still wanted.
//!
//! A job of the pool can't be called back. So whoever gives a checkpoint up, or an execution, says it here before anybody
//! cleans up; and the pool looks here before it publishes an object and again when it has, and takes away what nobody wants any
//! more. Either it has seen that, or the object was there when it was said, and whoever cleans up finds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rivus_core::Failure;
use rivus_state::{CheckpointStorage, SnapshotHandle, SnapshotWriter, StorageError};

/// Says that something is not wanted any more, once and for all.
#[derive(Debug, Clone, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// It is not wanted any more.
    pub fn set(&self) {
        self.0.store(true, SeqCst);
    }

    fn is_set(&self) -> bool {
        self.0.load(SeqCst)
    }
}

/// What must not have been given up while something is stored.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) execution: GivenUp,
    pub(super) upload: GivenUp,
}

impl Wanted {
    fn check(&self) -> Result<(), Failure> {
        match self.execution.is_set() || self.upload.is_set() {
            true => Err(Failure::attempt(
                "what was being stored is not wanted any more",
            )),
            false => Ok(()),
        }
    }

    /// Publishes an object, unless nobody wants it. Its name is this execution's alone.
    pub(super) fn publish(
        &self,
        storage: &CheckpointStorage,
        writer: SnapshotWriter,
    ) -> Result<SnapshotHandle, Failure> {
        if let Err(unwanted) = self.check() {
            writer.abort();
            return Err(unwanted);
        }
        let failed = |error: StorageError| Failure::user(&error.into());
        let handle = writer.finish().map_err(failed)?;
        if let Err(unwanted) = self.check() {
            storage.take_back(&handle).map_err(failed)?;
            return Err(unwanted);
        }
        Ok(handle)
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::{AttemptId, CheckpointId, JobId, SubtaskId, VertexId};
    use rivus_state::{Fault, ObjectStorage, StorageFaults, StorageOp};
    use uuid::Uuid;

    use super::*;

    const JOB: JobId = JobId(Uuid::from_u128(7));

    /// Gives up at an operation of the storage.
    struct GivesUpAt(StorageOp, GivenUp);

    impl StorageFaults for GivesUpAt {
        fn before(&self, op: StorageOp, _name: &str) -> Option<Fault> {
            if op == self.0 {
                self.1.set();
            }
            None
        }
    }

    /// Whether a file is published, and whether it is there, if an upload is given up before an operation.
    fn published(given_up_at: Option<StorageOp>) -> (bool, bool) {
        let wanted = Wanted {
            execution: GivenUp::default(),
            upload: GivenUp::default(),
        };
        let mut objects = ObjectStorage::in_memory();
        if let Some(op) = given_up_at {
            objects = objects.with_faults(Arc::new(GivesUpAt(op, wanted.upload.clone())));
        }
        let storage = CheckpointStorage::new(objects);
        let subtask = SubtaskId {
            vertex: VertexId(1),
            index: 0,
        };
        let attempt = AttemptId {
            subtask,
            attempt: 1,
        };
        let mut writer =
            storage.file_writer(JOB, CheckpointId(3), attempt, &"sums".into(), "17.sst");
        writer.write("rows".into()).unwrap();
        let published = wanted.publish(&storage, writer).is_ok();
        (published, storage.list_files(JOB).unwrap() != [""; 0])
    }

    #[test]
    fn what_is_given_up_before_or_while_it_is_published_is_not_there_afterwards() {
        assert_eq!(published(None), (true, true));
        assert_eq!(published(Some(StorageOp::Write)), (false, false));
        assert_eq!(published(Some(StorageOp::Finish)), (false, false));
    }
}
