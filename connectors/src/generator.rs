//! A source that makes its records up, the same ones each time.

use std::fmt;
use std::sync::Arc;

use rivus_core::{
    Event, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Record, Source, SourceReader, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::splitmix::SplitMix;

type Make<T> = Arc<dyn Fn(u64, &mut SplitMix) -> T + Send + Sync>;
type Time<T> = Arc<dyn Fn(&T) -> Timestamp + Send + Sync>;

/// Makes record after record by a function of the record's index and a seeded generator of numbers.
///
/// The record is a pure function of (seed, index), so a replayed record is the same record.
///
/// ```
/// use rivus_connectors::GeneratorSource;
///
/// let rolls = GeneratorSource::new(|index, rng| (index, 1 + rng.below(6)))
///     .seed(42)
///     .rate(10_000)
///     .count(1_000_000)
///     .timestamps(|(index, _)| *index as i64);
/// ```
pub struct GeneratorSource<T> {
    make: Make<T>,
    time: Option<Time<T>>,
    seed: u64,
    records_per_second: Option<u64>,
    since: Option<Timestamp>,
    count: Option<u64>,
}

/// Every `step`th index from `next` up to, not including, `end`.
///
/// Splits interleave instead of following one another, so that event time advances evenly over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.GeneratorSplit")]
pub struct GeneratorSplit {
    /// Index of the first record that has not been made.
    pub next: u64,
    /// From one of its indices to the following one: how many splits there are.
    pub step: u64,
    /// Index after the last record; `u64::MAX` where there is none.
    pub end: u64,
}

/// Makes the records of its splits, the lowest index first.
pub struct GeneratorReader<T> {
    source: GeneratorSource<T>,
    splits: Vec<GeneratorSplit>,
    /// When its records are due, once they have been read; not part of a checkpoint.
    schedule: Option<Schedule>,
    last: Option<u64>,
}

/// When records are due: index `first` at `started`, the others from there. One for all splits: of two
/// that subtasks of another parallelism had read differently far, the one that is behind comes first.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    first: u64,
    started: Timestamp,
    /// Records a second; none: all are due.
    rate: Option<u64>,
}

/// Why a generator can't run.
#[derive(Debug, Error)]
pub enum GeneratorError {
    /// The rate was 0.
    #[error("the generator's rate is 0 records per second: give at least 1, or leave .rate() out")]
    NoRate,
    /// A schedule was to have started, and there was none.
    #[error("the generator has a .since(), and nothing to count from there: give it a .rate()")]
    NoSchedule,
}

impl<T> GeneratorSource<T> {
    /// Makes record `index` by `make(index, rng)`; without end, as fast as it can, with seed 0.
    pub fn new(make: impl Fn(u64, &mut SplitMix) -> T + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
            time: None,
            seed: 0,
            records_per_second: None,
            since: None,
            count: None,
        }
    }

    /// Draws other numbers.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes this many records a second, over all subtasks.
    ///
    /// The schedule starts with a reader's first read, also after a recovery: what would have been made
    /// in the meantime is not caught up on, unless it is told [`since`](Self::since) when.
    ///
    /// ```
    /// use rivus_connectors::GeneratorSource;
    ///
    /// let heartbeat = GeneratorSource::new(|beat, _| beat).rate(1); // one a second, for ever
    /// ```
    pub fn rate(mut self, records_per_second: u64) -> Self {
        self.records_per_second = Some(records_per_second);
        self
    }

    /// The schedule of [`rate`](Self::rate) has started then, in milliseconds since the epoch, with record 0. As of a log that
    /// others write, what is behind comes as fast as it can be read: after a recovery, and before the first record.
    ///
    /// ```
    /// use rivus_connectors::GeneratorSource;
    ///
    /// // Orders of a shop that has been open since the beginning of 2026, one a second.
    /// let orders = GeneratorSource::new(|order, _| order).rate(1).since(1_767_225_600_000);
    /// ```
    pub fn since(mut self, started: Timestamp) -> Self {
        self.since = Some(started);
        self
    }

    /// Ends after this many records, over all subtasks.
    pub fn count(mut self, records: u64) -> Self {
        self.count = Some(records);
        self
    }

    /// Gives records their event time, in milliseconds since the epoch.
    ///
    /// ```
    /// use rivus_connectors::GeneratorSource;
    ///
    /// // An hour of clicks, ten a second, as fast as they can be made.
    /// let clicks = GeneratorSource::new(|n, rng| (n as i64 * 100, rng.below(1_000)))
    ///     .timestamps(|(ms, _user)| *ms)
    ///     .count(36_000);
    /// ```
    pub fn timestamps(mut self, time: impl Fn(&T) -> Timestamp + Send + Sync + 'static) -> Self {
        self.time = Some(Arc::new(time));
        self
    }

    fn record(&self, index: u64) -> Event<T> {
        let value = (self.make)(index, &mut SplitMix::of(self.seed, index));
        let ts = match &self.time {
            Some(time) => time(&value),
            None => MIN_TIMESTAMP,
        };
        Event::at(ts, value)
    }
}

impl<T> Clone for GeneratorSource<T> {
    fn clone(&self) -> Self {
        Self {
            make: Arc::clone(&self.make),
            time: self.time.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for GeneratorSource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorSource")
            .field("seed", &self.seed)
            .field("records_per_second", &self.records_per_second)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<T: Record> Source for GeneratorSource<T> {
    type Out = T;
    type Split = GeneratorSplit;
    type Reader = GeneratorReader<T>;

    fn check(&self) -> Result<(), UserError> {
        if self.records_per_second == Some(0) {
            return Err(GeneratorError::NoRate.into());
        }
        if self.since.is_some() && self.records_per_second.is_none() {
            return Err(GeneratorError::NoSchedule.into());
        }
        Ok(())
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<GeneratorSplit>, UserError> {
        let step = u64::from(parallelism.max(1));
        let end = self.count.unwrap_or(u64::MAX);
        Ok((0..step.min(end))
            .map(|next| GeneratorSplit { next, step, end })
            .collect())
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<GeneratorReader<T>, UserError> {
        Ok(GeneratorReader {
            source: self.clone(),
            splits: Vec::new(),
            schedule: None,
            last: None,
        })
    }
}

impl<T: Record> SourceReader for GeneratorReader<T> {
    type Out = T;
    type Split = GeneratorSplit;

    fn add_split(&mut self, split: GeneratorSplit) -> Result<(), UserError> {
        if split.next < split.end {
            self.splits.push(split);
            self.schedule = None;
        }
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<T>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let next = self.splits.iter().map(|split| split.next).min();
        let (first, started) = match self.source.since {
            Some(since) => (0, since),
            None => (next.unwrap_or_default(), now),
        };
        let schedule = *self.schedule.get_or_insert(Schedule {
            first,
            started,
            rate: self.source.records_per_second,
        });
        let mut max = max;
        while let [only] = self.splits.as_mut_slice() {
            // The usual case: nothing to choose between, and one look at the rate for all that is due.
            let due = schedule.due_by(only, now, max);
            if due == 0 {
                break;
            }
            max -= due;
            for _ in 0..due {
                let index = only.next;
                out.push(self.source.record(index));
                self.last = Some(index);
                if !only.advance() {
                    self.splits.clear();
                    break;
                }
            }
        }
        for _ in 0..max {
            let lowest = self
                .splits
                .iter()
                .enumerate()
                .filter(|(_, split)| schedule.due(split).is_none_or(|due| due <= now))
                .min_by_key(|(_, split)| split.next)
                .map(|(at, _)| at);
            let Some(at) = lowest else { break };
            let index = self.splits[at].next;
            out.push(self.source.record(index));
            self.last = Some(index);
            if !self.splits[at].advance() {
                self.splits.remove(at);
            }
        }
        let next_due = self.splits.iter().map(|split| schedule.due(split)).min();
        Ok(match next_due {
            None => ReadStatus::SplitsDone,
            Some(Some(due)) if due > now => ReadStatus::Later(due),
            Some(_) => ReadStatus::More,
        })
    }

    fn snapshot(&self) -> Vec<GeneratorSplit> {
        self.splits.clone()
    }

    fn position(&self) -> Option<String> {
        self.last.map(|index| format!("generator[{index}]"))
    }
}

impl Schedule {
    /// When a split's next record is due; `None` for at once.
    ///
    /// Indices are shared by all splits and the rate is for all of them, so that the distance between
    /// two indices is the distance between them in time.
    fn due(&self, split: &GeneratorSplit) -> Option<Timestamp> {
        let waited_ms =
            (u128::from(split.next - self.first) * 1_000).div_ceil(u128::from(self.rate?.max(1)));
        let waited_ms = i64::try_from(waited_ms).unwrap_or(i64::MAX);
        Some(self.started.saturating_add(waited_ms))
    }

    /// How many of a split's next records are due, at most `max`.
    fn due_by(&self, split: &GeneratorSplit, now: Timestamp, max: usize) -> usize {
        let Some(rate) = self.rate else {
            return max;
        };
        let Ok(passed_ms) = u128::try_from(now.saturating_sub(self.started)) else {
            return 0;
        };
        // The last index that is due, counted from the first.
        let last = passed_ms * u128::from(rate.max(1)) / 1_000;
        let done = u128::from(split.next - self.first);
        if last < done {
            return 0;
        }
        let due = (last - done) / u128::from(split.step.max(1)) + 1;
        usize::try_from(due).map_or(max, |due| due.min(max))
    }
}

impl GeneratorSplit {
    /// Goes on to its next index; false if there is none.
    fn advance(&mut self) -> bool {
        match self.next.checked_add(self.step) {
            Some(next) if next < self.end => {
                self.next = next;
                true
            }
            _ => false,
        }
    }
}
