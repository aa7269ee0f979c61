//! Where output is put that is in no files, and how it is told what of it belongs to which savepoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus::connectors::{CollectCommittable, CollectSink, CollectWriter};
use rivus::{CheckpointId, Committer, ParallelInstance, Record, Sink, UserError};

/// By the checkpoint before whose barrier it was written, and by subtask. Numbers of checkpoints are never used again, not even by
/// a job that goes on from a savepoint.
type Commits<T> = BTreeMap<(CheckpointId, u32), Vec<T>>;

/// Takes what a job puts out, in all of its lives: the sink of each writes to the same one.
pub(super) struct Shelf<T>(Arc<Stored<T>>);

struct Stored<T>(Mutex<Commits<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Arc::new(Stored(Mutex::default())))
    }
}

impl<T> Stored<T> {
    fn lock(&self) -> MutexGuard<'_, Commits<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Shelf<T> {
    pub(super) fn sink(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// All of it, by checkpoint, then by subtask, then as it was written.
    pub(super) fn values(&self) -> Vec<T> {
        self.0.lock().values().flatten().cloned().collect()
    }

    /// Adds what is committed on another one and was written before the barrier of a checkpoint that came before this one. What is on
    /// both counts once.
    pub(super) fn add_before(&self, checkpoint: CheckpointId, other: &Self) {
        let other = other.0.lock();
        let mut own = self.0.lock();
        for (written, records) in other.range(..(checkpoint, 0)) {
            own.entry(*written).or_insert_with(|| records.clone());
        }
    }
}

impl<T: Record> Sink for Shelf<T> {
    type In = T;
    type State = ();
    type Committable = CollectCommittable<T>;
    type Writer = CollectWriter<T>;

    fn writer(
        &self,
        instance: ParallelInstance,
        state: Option<()>,
    ) -> Result<CollectWriter<T>, UserError> {
        CollectSink::new().writer(instance, state)
    }

    fn committer(&self) -> Option<Arc<dyn Committer<CollectCommittable<T>>>> {
        Some(Arc::clone(&self.0) as _)
    }
}

impl<T: Record> Committer<CollectCommittable<T>> for Stored<T> {
    fn commit(&self, committable: &CollectCommittable<T>) -> Result<(), UserError> {
        let written = (committable.checkpoint, committable.subtask);
        let values = || committable.records.iter().map(|event| event.value.clone());
        self.lock()
            .entry(written)
            .or_insert_with(|| values().collect());
        Ok(())
    }
}
