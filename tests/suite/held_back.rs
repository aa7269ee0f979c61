//! Records that haven't come yet, until a test says so: how far a job is when it is stopped depends on no clock then, and however
//! slow the machine, something is left for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rivus::connectors::{GeneratorReader, GeneratorSource, GeneratorSplit};
use rivus::{Event, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp, UserError};

/// Numbers, as a generator makes them. Those from a bound on are held back; the source ends when the bound is the generator's count.
pub(crate) struct HeldBack {
    numbers: GeneratorSource<u64>,
    from: Arc<AtomicU64>,
}

impl HeldBack {
    pub(crate) fn new(numbers: GeneratorSource<u64>, from: &Arc<AtomicU64>) -> Self {
        let from = Arc::clone(from);
        Self { numbers, from }
    }
}

impl Source for HeldBack {
    type Out = u64;
    type Split = GeneratorSplit;
    type Reader = HeldBackReader;

    fn splits(&self, parallelism: u32) -> Result<Vec<GeneratorSplit>, UserError> {
        self.numbers.splits(parallelism)
    }

    fn reader(&self, instance: ParallelInstance) -> Result<HeldBackReader, UserError> {
        Ok(HeldBackReader {
            numbers: self.numbers.reader(instance)?,
            from: Arc::clone(&self.from),
        })
    }
}

pub(crate) struct HeldBackReader {
    numbers: GeneratorReader<u64>,
    from: Arc<AtomicU64>,
}

impl SourceReader for HeldBackReader {
    type Out = u64;
    type Split = GeneratorSplit;

    fn add_split(&mut self, split: GeneratorSplit) -> Result<(), UserError> {
        self.numbers.add_split(split)
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<u64>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let (splits, from) = (self.snapshot(), self.from.load(Ordering::Relaxed));
        let left = |split: &GeneratorSplit| from.saturating_sub(split.next).div_ceil(split.step);
        let left: u64 = splits.iter().map(left).sum();
        if left == 0 && !splits.is_empty() {
            return Ok(ReadStatus::Later(now + 1));
        }
        self.numbers.read(out, max.min(left as usize), now)
    }

    fn snapshot(&self) -> Vec<GeneratorSplit> {
        self.numbers.snapshot()
    }
}
