//! A source that yields its records in bursts, so that a bounded job lasts for seconds of virtual time.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rivus::{
    CheckpointId, Discovered, Event, KnownSplits, ParallelInstance, ReadStatus, Source,
    SourceReader, SplitEnumerator, SplitMemory, Timestamp, UserError,
};

use crate::outside::Arrivals;

/// How fast a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Records at once, per subtask.
    pub burst: usize,
    /// From one burst to the next.
    pub every: Duration,
}

/// Any source, at a pace. On a clock that stands still while there is work, every burst meets the same
/// credits, barriers and timers each time.
#[derive(Debug, Clone)]
pub struct Paced<S> {
    inner: S,
    pace: Pace,
    /// So many times the splits that the inner source would make.
    finer: u32,
    /// How long the first subtask sleeps after its first burst.
    sleep: Duration,
    /// Records that all readers have yielded, repeats included.
    emitted: Arc<AtomicU64>,
    /// What comes in while it looks for new splits.
    arrivals: Option<Arc<Arrivals>>,
}

/// Reads in bursts.
pub struct PacedReader<R> {
    inner: R,
    pace: Pace,
    /// The sleep that is still to come.
    sleep: Duration,
    emitted: Arc<AtomicU64>,
    /// What is left of the burst.
    left: usize,
    /// When the next burst begins.
    next: Timestamp,
}

impl<S> Paced<S> {
    /// A source at a pace; what it yields is counted in `emitted`.
    pub fn new(inner: S, pace: Pace, emitted: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            pace,
            finer: 1,
            sleep: Duration::ZERO,
            emitted,
            arrivals: None,
        }
    }

    /// Whenever it looks for new splits, what has come by then is there.
    #[must_use]
    pub fn arriving(mut self, arrivals: Arc<Arrivals>) -> Self {
        self.arrivals = Some(arrivals);
        self
    }

    /// The first subtask sleeps after its first burst.
    #[must_use]
    pub fn sleepy(mut self, sleep: Duration) -> Self {
        self.sleep = sleep;
        self
    }

    /// Bursts come at another distance.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.pace.every = every;
        self
    }

    /// Cut into so many times more splits.
    #[must_use]
    pub fn finer(mut self, times: u32) -> Self {
        self.finer = times;
        self
    }
}

impl<S: Source> Source for Paced<S> {
    type Out = S::Out;
    type Split = S::Split;
    type Reader = PacedReader<S::Reader>;

    fn check(&self) -> Result<(), UserError> {
        self.inner.check()
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<S::Split>, UserError> {
        self.inner.splits(parallelism * self.finer)
    }

    fn enumerator(
        &self,
        known: KnownSplits<S::Split>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = S::Split>>>, UserError> {
        let inner = self.inner.enumerator(known)?;
        let arrivals = self.arrivals.clone();
        Ok(match (inner, arrivals) {
            (Some(inner), Some(arrivals)) => Some(Box::new(Arriving { inner, arrivals })),
            (inner, _) => inner,
        })
    }

    fn reader(&self, instance: ParallelInstance) -> Result<Self::Reader, UserError> {
        Ok(PacedReader {
            inner: self.inner.reader(instance)?,
            pace: self.pace,
            sleep: match instance.index {
                0 => self.sleep,
                _ => Duration::ZERO,
            },
            emitted: Arc::clone(&self.emitted),
            left: 0,
            next: Timestamp::MIN,
        })
    }
}

/// Looks for new splits in a world that goes on.
struct Arriving<T> {
    inner: Box<dyn SplitEnumerator<Split = T>>,
    arrivals: Arc<Arrivals>,
}

impl<T> SplitEnumerator for Arriving<T> {
    type Split = T;

    fn interval(&self) -> Duration {
        self.inner.interval()
    }

    fn discover(&mut self, now: Timestamp) -> Result<Discovered<T>, UserError> {
        self.arrivals.deliver(now)?;
        self.inner.discover(now)
    }

    fn memory(&self, split: &T) -> SplitMemory {
        self.inner.memory(split)
    }
}

impl<R: SourceReader> SourceReader for PacedReader<R> {
    type Out = R::Out;
    type Split = R::Split;

    fn add_split(&mut self, split: R::Split) -> Result<(), UserError> {
        self.inner.add_split(split)
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<R::Out>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        if self.left == 0 {
            if now < self.next {
                return Ok(ReadStatus::Later(self.next));
            }
            self.left = self.pace.burst;
            let pause = self.pace.every + mem::take(&mut self.sleep);
            self.next = now + pause.as_millis() as Timestamp;
        }
        let before = out.len();
        let status = self.inner.read(out, max.min(self.left), now)?;
        let read = out.len() - before;
        self.left -= read;
        self.emitted.fetch_add(read as u64, Relaxed);
        Ok(match status {
            ReadStatus::More if self.left == 0 => ReadStatus::Later(self.next),
            status => status,
        })
    }

    fn snapshot(&self) -> Vec<R::Split> {
        self.inner.snapshot()
    }

    fn checkpoint_begun(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_begun(checkpoint);
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_completed(checkpoint);
    }

    fn position(&self) -> Option<String> {
        self.inner.position()
    }
}
