//! A sink that only counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rivus_core::{
    CheckpointId, Committer, Event, ParallelInstance, Record, Sink, SinkWriter, UserError,
};

type Probe<T> = Arc<dyn Fn(&[Event<T>]) + Send + Sync>;

/// Drops what reaches it and counts it; for benchmarks. Replayed records are counted again.
///
/// ```
/// use rivus_connectors::DiscardSink;
///
/// let sink = DiscardSink::<u64>::new().probe(|run| assert!(!run.is_empty()));
/// assert_eq!(sink.count(), 0);
/// ```
pub struct DiscardSink<T> {
    count: Arc<AtomicU64>,
    probe: Option<Probe<T>>,
}

/// Counts one subtask's records.
#[derive(Debug)]
pub struct DiscardWriter<T> {
    sink: DiscardSink<T>,
}

impl<T> DiscardSink<T> {
    /// A sink that has counted nothing.
    pub fn new() -> Self {
        Self {
            count: Arc::default(),
            probe: None,
        }
    }

    /// Shows each run of records to a function, on the data path.
    pub fn probe(mut self, probe: impl Fn(&[Event<T>]) + Send + Sync + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// Records counted so far by all writers of this sink and its clones in this process.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl<T> Default for DiscardSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for DiscardSink<T> {
    fn clone(&self) -> Self {
        Self {
            count: Arc::clone(&self.count),
            probe: self.probe.clone(),
        }
    }
}

impl<T> fmt::Debug for DiscardSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscardSink")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Sink for DiscardSink<T> {
    type In = T;
    type State = ();
    type Committable = ();
    type Writer = DiscardWriter<T>;

    fn writer(
        &self,
        _instance: ParallelInstance,
        _state: Option<()>,
    ) -> Result<DiscardWriter<T>, UserError> {
        Ok(DiscardWriter { sink: self.clone() })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

impl<T: Record> SinkWriter for DiscardWriter<T> {
    type In = T;
    type State = ();
    type Committable = ();

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        self.sink
            .count
            .fetch_add(run.len() as u64, Ordering::Relaxed);
        if let Some(probe) = &self.sink.probe {
            probe(&run);
        }
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        _checkpoint: CheckpointId,
        _last: bool,
    ) -> Result<Vec<()>, UserError> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}
