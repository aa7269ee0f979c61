//! A sink that keeps its records in memory, each exactly once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_core::{
    CheckpointId, Committer, Event, ParallelInstance, Record, Sink, SinkWriter, UserError,
};
use serde::{Deserialize, Serialize};

/// By checkpoint and subtask: the key that makes a commit idempotent. Checkpoint ids are never reused.
type Commits<T> = BTreeMap<(CheckpointId, u32), Vec<Event<T>>>;

/// Collects what reaches it, for tests and for programs that want a result in their hands.
///
/// Records become visible in [`Collected`] when their checkpoint completes, and only once however often
/// the job recovers. The memory is this process's: a job on several machines writes files instead. A sink is
/// for one stream of one job, and so it can't be cloned: commits are told apart by checkpoint and subtask.
///
/// ```
/// use rivus_connectors::CollectSink;
///
/// let sink = CollectSink::<u64>::new();
/// let results = sink.collected();
/// // ... run a job that ends in `sink` ...
/// assert!(results.values().is_empty());
/// ```
#[derive(Debug)]
pub struct CollectSink<T> {
    collected: Collected<T>,
}

/// What a [`CollectSink`] has collected so far.
///
/// ```
/// use rivus_connectors::CollectSink;
/// use rivus_core::{CheckpointId, Event, ParallelInstance, Sink, SinkWriter};
///
/// let sink = CollectSink::new();
/// let collected = sink.collected();
/// let mut writer = sink.writer(ParallelInstance::ALONE, None)?;
/// writer.write(vec![Event::at(1_000, "ann".to_owned())])?;
/// let prepared = writer.prepare_commit(CheckpointId(1), true)?;
/// assert!(collected.is_empty()); // until the checkpoint is complete
/// sink.committer().unwrap().commit(&prepared[0])?;
/// assert_eq!((collected.len(), collected.values()), (1, vec!["ann".to_owned()]));
/// assert_eq!(collected.events()[0].ts, 1_000);
/// # Ok::<(), rivus_core::UserError>(())
/// ```
#[derive(Debug)]
pub struct Collected<T> {
    commits: Arc<Mutex<Commits<T>>>,
}

/// What one subtask wrote before one barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.CollectCommittable")]
pub struct CollectCommittable<T> {
    /// Who wrote.
    pub subtask: u32,
    /// Before which checkpoint's barrier.
    pub checkpoint: CheckpointId,
    /// What, in order.
    pub records: Vec<Event<T>>,
}

/// Holds the records since the last barrier.
#[derive(Debug)]
pub struct CollectWriter<T> {
    subtask: u32,
    records: Vec<Event<T>>,
}

impl<T> CollectSink<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            collected: Collected {
                commits: Arc::default(),
            },
        }
    }

    /// Where the records appear.
    pub fn collected(&self) -> Collected<T> {
        self.collected.clone()
    }
}

impl<T: Clone> Collected<T> {
    /// The records, ordered by checkpoint, then by subtask, then as they were written.
    pub fn events(&self) -> Vec<Event<T>> {
        self.lock().values().flatten().cloned().collect()
    }

    /// As [`events`](Self::events), without the times.
    pub fn values(&self) -> Vec<T> {
        let commits = self.lock();
        let records = commits.values().flatten();
        records.map(|event| event.value.clone()).collect()
    }
}

impl<T> Collected<T> {
    /// How many records.
    pub fn len(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// Whether nothing has been committed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A panic elsewhere leaves the map whole: it is changed by one call.
    fn lock(&self) -> MutexGuard<'_, Commits<T>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for CollectSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Collected<T> {
    fn clone(&self) -> Self {
        Self {
            commits: Arc::clone(&self.commits),
        }
    }
}

impl<T: Record> Sink for CollectSink<T> {
    type In = T;
    type State = ();
    type Committable = CollectCommittable<T>;
    type Writer = CollectWriter<T>;

    fn writer(
        &self,
        instance: ParallelInstance,
        _state: Option<()>,
    ) -> Result<CollectWriter<T>, UserError> {
        Ok(CollectWriter {
            subtask: instance.index,
            records: Vec::new(),
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<CollectCommittable<T>>>> {
        Some(Arc::new(self.collected()))
    }
}

impl<T: Record> SinkWriter for CollectWriter<T> {
    type In = T;
    type State = ();
    type Committable = CollectCommittable<T>;

    fn write(&mut self, mut run: Vec<Event<T>>) -> Result<(), UserError> {
        self.records.append(&mut run);
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        _last: bool,
    ) -> Result<Vec<CollectCommittable<T>>, UserError> {
        if self.records.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![CollectCommittable {
            subtask: self.subtask,
            checkpoint,
            records: std::mem::take(&mut self.records),
        }])
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}

impl<T: Record> Committer<CollectCommittable<T>> for Collected<T> {
    fn commit(&self, committable: &CollectCommittable<T>) -> Result<(), UserError> {
        self.lock()
            .entry((committable.checkpoint, committable.subtask))
            .or_insert_with(|| committable.records.clone());
        Ok(())
    }
}
