//! A source over records that the program already holds.

use std::collections::VecDeque;
use std::sync::Arc;

use rivus_core::{
    Event, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Record, Source, SourceReader, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Yields the records of a `Vec`, in order within each split; for tests and small inputs.
///
/// The records are part of the program, not of a checkpoint: a resumed program must hold the same ones.
///
/// ```
/// use rivus_connectors::CollectionSource;
/// use rivus_core::{Event, Source};
///
/// let numbers = CollectionSource::new(vec![1, 2, 3, 4, 5]);
/// assert_eq!(numbers.splits(2)?.len(), 2);
///
/// let clicks = CollectionSource::timestamped(vec![Event::at(1_000, "home".to_owned())]);
/// assert_eq!(clicks.splits(2)?.len(), 1);
/// # Ok::<(), rivus_core::UserError>(())
/// ```
#[derive(Debug)]
pub struct CollectionSource<T> {
    records: Arc<[Event<T>]>,
}

/// Some of the records: those from `next` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.CollectionSplit")]
pub struct CollectionSplit {
    /// Index of the first record that has not been read.
    pub next: u64,
    /// Index after the last record.
    pub end: u64,
}

/// Reads ranges of the shared records.
#[derive(Debug)]
pub struct CollectionReader<T> {
    records: Arc<[Event<T>]>,
    splits: VecDeque<CollectionSplit>,
    /// Index of the record that was read last.
    last: Option<u64>,
}

/// Why a collection can't be read.
#[derive(Debug, Error)]
pub enum CollectionError {
    /// The checkpoint was taken over other records.
    #[error(
        "the checkpoint reads records {} to {} of a collection that holds {held}: \
         resume with the same collection, or start without the checkpoint", split.next, split.end
    )]
    Shrunk {
        /// What was to be read.
        split: CollectionSplit,
        /// How many records there are.
        held: u64,
    },
}

impl<T> CollectionSource<T> {
    /// Records without a time: [`MIN_TIMESTAMP`] until one is assigned.
    pub fn new(records: Vec<T>) -> Self {
        Self::timestamped(
            records
                .into_iter()
                .map(|value| Event::at(MIN_TIMESTAMP, value))
                .collect(),
        )
    }

    /// Records with their times.
    pub fn timestamped(records: Vec<Event<T>>) -> Self {
        Self {
            records: records.into(),
        }
    }
}

impl<T> From<Vec<T>> for CollectionSource<T> {
    fn from(records: Vec<T>) -> Self {
        Self::new(records)
    }
}

impl<T> Clone for CollectionSource<T> {
    fn clone(&self) -> Self {
        Self {
            records: Arc::clone(&self.records),
        }
    }
}

impl<T: Record> Source for CollectionSource<T> {
    type Out = T;
    type Split = CollectionSplit;
    type Reader = CollectionReader<T>;

    fn splits(&self, parallelism: u32) -> Result<Vec<CollectionSplit>, UserError> {
        let (parts, len) = (u64::from(parallelism.max(1)), self.records.len() as u64);
        let (each, longer) = (len / parts, len % parts);
        let start = |part: u64| part * each + part.min(longer);
        Ok((0..parts)
            .map(|part| CollectionSplit {
                next: start(part),
                end: start(part + 1),
            })
            .filter(|split| split.next < split.end)
            .collect())
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<CollectionReader<T>, UserError> {
        Ok(CollectionReader {
            records: Arc::clone(&self.records),
            splits: VecDeque::new(),
            last: None,
        })
    }
}

impl<T: Record> SourceReader for CollectionReader<T> {
    type Out = T;
    type Split = CollectionSplit;

    fn add_split(&mut self, split: CollectionSplit) -> Result<(), UserError> {
        let held = self.records.len() as u64;
        if split.end > held {
            return Err(CollectionError::Shrunk { split, held }.into());
        }
        self.splits.push_back(split);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<T>>,
        max: usize,
        _now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let mut room = max as u64;
        while let Some(split) = self.splits.front_mut() {
            let until = split.next.saturating_add(room).min(split.end);
            if split.next < until {
                out.extend_from_slice(&self.records[split.next as usize..until as usize]);
                room -= until - split.next;
                self.last = Some(until - 1);
                split.next = until;
            }
            if split.next < split.end {
                return Ok(ReadStatus::More);
            }
            self.splits.pop_front();
        }
        Ok(ReadStatus::SplitsDone)
    }

    fn snapshot(&self) -> Vec<CollectionSplit> {
        self.splits.iter().copied().collect()
    }

    fn position(&self) -> Option<String> {
        self.last.map(|index| format!("collection[{index}]"))
    }
}
