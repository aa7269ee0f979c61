//! A sink that shows its runs to a function and drops them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rivus::{
    CheckpointId, Committer, Event, ParallelInstance, Record, Sink, SinkWriter, UserError,
};

/// When the last barrier reached a sink.
#[derive(Debug, Clone)]
pub(crate) struct Barriers {
    base: Instant,
    at: Arc<AtomicU64>,
}

impl Barriers {
    pub(crate) fn since(base: Instant) -> Self {
        Self {
            base,
            at: Arc::default(),
        }
    }

    /// Nanoseconds from the base; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.at.load(Relaxed)
    }
}

/// Drops what reaches it, after a function of the writer's number and the run has seen it.
pub(crate) struct ObservedSink<T, F> {
    observe: F,
    barriers: Option<Barriers>,
    of: PhantomData<fn(T)>,
}

pub(crate) struct ObservedWriter<T, F> {
    observe: F,
    barriers: Option<Barriers>,
    index: u32,
    of: PhantomData<fn(T)>,
}

impl<T: Record, F: Fn(u32, &[Event<T>]) + Clone + Send + Sync + 'static> ObservedSink<T, F> {
    pub(crate) fn new(observe: F) -> Self {
        Self {
            observe,
            barriers: None,
            of: PhantomData,
        }
    }

    /// Notes when barriers come.
    pub(crate) fn barriers(mut self, barriers: &Barriers) -> Self {
        self.barriers = Some(barriers.clone());
        self
    }
}

impl<T: Record, F: Fn(u32, &[Event<T>]) + Clone + Send + Sync + 'static> Sink
    for ObservedSink<T, F>
{
    type In = T;
    type State = ();
    type Committable = ();
    type Writer = ObservedWriter<T, F>;

    fn writer(&self, instance: ParallelInstance, _: Option<()>) -> Result<Self::Writer, UserError> {
        Ok(ObservedWriter {
            observe: self.observe.clone(),
            barriers: self.barriers.clone(),
            index: instance.index,
            of: PhantomData,
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

impl<T: Record, F: Fn(u32, &[Event<T>]) + Send> SinkWriter for ObservedWriter<T, F> {
    type In = T;
    type State = ();
    type Committable = ();

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        (self.observe)(self.index, &run);
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId, _: bool) -> Result<Vec<()>, UserError> {
        if let Some(barriers) = &self.barriers {
            let at = barriers.base.elapsed().as_nanos() as u64;
            barriers.at.store(at, Relaxed);
        }
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}
