//! The source of state that outgrows its memory: keys by their numbers, which can be told to stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rivus::{Event, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp, UserError};

use super::super::bid::key_of;

/// Milliseconds after which a source that stands looks whether it still does.
const STANDS_FOR: Timestamp = 10;

/// The keys of all records, for one reader.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) keys: u64,
    pub(super) hot_keys: u64,
    pub(super) stands: Arc<AtomicBool>,
}

impl Numbers {
    /// The key of a record: all of them once, one after the other, then anyone's.
    pub(super) fn key(&self, number: u64) -> u64 {
        match number {
            first if first < self.keys => first,
            hot if self.hot_keys > 0 && !hot.is_multiple_of(10) => key_of(hot, self.hot_keys),
            other => key_of(other, self.keys),
        }
    }
}

pub(super) struct NumberReader {
    numbers: Numbers,
    next: Option<u64>,
}

impl Source for Numbers {
    type Out = u64;
    type Split = u64;
    type Reader = NumberReader;

    fn splits(&self, _: u32) -> Result<Vec<u64>, UserError> {
        Ok(vec![0])
    }

    fn reader(&self, _: ParallelInstance) -> Result<NumberReader, UserError> {
        let numbers = self.clone();
        Ok(NumberReader {
            numbers,
            next: None,
        })
    }
}

impl SourceReader for NumberReader {
    type Out = u64;
    type Split = u64;

    fn add_split(&mut self, next: u64) -> Result<(), UserError> {
        self.next = Some(next);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<u64>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let Some(next) = &mut self.next else {
            return Ok(ReadStatus::SplitsDone);
        };
        if self.numbers.stands.load(Relaxed) {
            return Ok(ReadStatus::Later(now + STANDS_FOR));
        }
        let run = *next..*next + max as u64;
        *next = run.end;
        out.extend(run.map(|number| Event::at(0, self.numbers.key(number))));
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<u64> {
        self.next.into_iter().collect()
    }
}
