//! The end of a query that is measured: output is counted, its latency noted, and dropped.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use rivus::{
    CheckpointId, Committer, DataStream, Event, ParallelInstance, Record, Sink, SinkWriter,
    UserError,
};
use rivus_nexmark::{BEGIN, NexmarkConfig, Outlet};

/// One event of so many is noted, or of more where there would be more notes than [`NOTES`].
const NOTED: u64 = 1_024;
const NOTES: u64 = 1 << 20;

/// What is seen of a run from outside.
///
/// **Latency** is the time from when the events of a result's millisecond were made until it has reached the sink; taken once for each
/// run of results. Of several subtasks that make events the last one counts. What comes when all events have been made was
/// let out by the end of the stream, and is not taken.
#[derive(Debug)]
pub(crate) struct Observed {
    base: Instant,
    config: NexmarkConfig,
    /// Subtasks that make events, which take turns with them.
    parallelism: u64,
    noted: u64,
    /// Nanoseconds from the base at which events behind each of the noted were made; 0 before.
    made: Vec<AtomicU64>,
    results: AtomicU64,
    /// Microseconds.
    latency: Mutex<Histogram<u64>>,
    is_over: AtomicBool,
}

impl Observed {
    #[allow(clippy::disallowed_methods)] // A benchmark measures real time.
    pub(crate) fn new(config: NexmarkConfig, parallelism: u32) -> anyhow::Result<Self> {
        let noted = config.events.div_ceil(NOTES).max(NOTED);
        let notes = 0..config.events.div_ceil(noted);
        Ok(Self {
            base: Instant::now(),
            config,
            parallelism: u64::from(parallelism),
            noted,
            made: notes.map(|_| AtomicU64::new(0)).collect(),
            results: AtomicU64::new(0),
            latency: Mutex::new(Histogram::new(3)?),
            is_over: AtomicBool::new(false),
        })
    }

    /// An event is about to be made.
    #[inline]
    pub(crate) fn makes(&self, number: u64) {
        // Each subtask's first event behind a noted number, and its last.
        if number % self.noted < self.parallelism {
            let note = self.made.get((number / self.noted) as usize);
            if let Some(note) = note {
                note.fetch_max(self.base.elapsed().as_nanos() as u64, Relaxed);
            }
        }
        if number + self.parallelism >= self.config.events {
            self.is_over.store(true, Relaxed);
        }
    }

    /// Whether a subtask has made its last event.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn arrived<T>(&self, run: &[Event<T>]) {
        self.results.fetch_add(run.len() as u64, Relaxed);
        let Some(last) = run.last().filter(|_| !self.is_over()) else {
            return;
        };
        let since = u64::try_from(last.ts.saturating_sub(BEGIN)).unwrap_or_default();
        let number = u128::from(since) * u128::from(self.config.events_per_second) / 1_000;
        let note = self.made.get((number / u128::from(self.noted)) as usize);
        let made = note.map_or(0, |note| note.load(Relaxed));
        if made > 0 {
            let now = self.base.elapsed().as_nanos() as u64;
            let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
            latency.saturating_record(now.saturating_sub(made) / 1_000);
        }
    }

    /// Records that have reached the sink.
    pub(crate) fn results(&self) -> u64 {
        self.results.load(Relaxed)
    }

    /// What so many of a hundred runs of results were not later than, milliseconds; none if none could be told.
    pub(crate) fn latency_ms(&self, percentile: f64) -> Option<f64> {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        (!latency.is_empty()).then(|| latency.value_at_percentile(percentile) as f64 / 1_000.0)
    }
}

/// Ends whichever query it is given in a sink that observes.
pub(crate) struct ToObserved(pub(crate) Arc<Observed>);

impl Outlet for ToObserved {
    type Made = ();

    fn take<T: Record>(self, output: &DataStream<T>) {
        output.sink_to(ObservedSink {
            observed: self.0,
            of: PhantomData,
        });
    }
}

struct ObservedSink<T> {
    observed: Arc<Observed>,
    of: PhantomData<fn(T)>,
}

struct ObservedWriter<T> {
    observed: Arc<Observed>,
    of: PhantomData<fn(T)>,
}

impl<T: Record> Sink for ObservedSink<T> {
    type In = T;
    type State = ();
    type Committable = ();
    type Writer = ObservedWriter<T>;

    fn writer(&self, _: ParallelInstance, _: Option<()>) -> Result<ObservedWriter<T>, UserError> {
        Ok(ObservedWriter {
            observed: Arc::clone(&self.observed),
            of: PhantomData,
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

impl<T: Record> SinkWriter for ObservedWriter<T> {
    type In = T;
    type State = ();
    type Committable = ();

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        self.observed.arrived(&run);
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId, _: bool) -> Result<Vec<()>, UserError> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}
