//! Sources: what a connector's author writes to bring records in.
//!
//! As in FLIP-27, a source is two halves. The job's master finds the *splits* (files, byte ranges,
//! partitions) and hands them out to *readers* in the subtasks: the first ones to one reader each, the others, in order, to whoever asks. A
//! split carries its own position, so a reader's snapshot is simply its unfinished splits.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::{Event, Record, Timestamp};
use crate::failure::UserError;
use crate::ids::{CheckpointId, JobId};

/// Number of a split: its place among all that [`Source::splits`] and then its enumerator have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SplitId(pub u32);

/// A split on its way to a reader: its number and its encoded form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedSplit {
    /// Which split.
    pub id: SplitId,
    /// The source's `Split`, as MessagePack.
    pub bytes: Vec<u8>,
}

/// Which of a source's readers, or of a sink's writers, is being made.
///
/// ```
/// use rivus_core::ParallelInstance;
///
/// let second = ParallelInstance { attempt: 2, ..ParallelInstance::ALONE };
/// assert_eq!((second.index, second.parallelism), (0, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParallelInstance {
    /// Of which job. What is written to a place that others write to, too, is told apart by it.
    pub job: JobId,
    /// Which, from 0.
    pub index: u32,
    /// Of how many.
    pub parallelism: u32,
    /// Counts the executions of this instance, from 1. In one job's life no number comes twice, whoever leads it, and also where it
    /// has been rescaled.
    pub attempt: u32,
}

impl ParallelInstance {
    /// The only one of its job, for the first time: for whoever drives a source or a sink by hand.
    pub const ALONE: Self = Self {
        job: JobId(Uuid::nil()),
        index: 0,
        parallelism: 1,
        attempt: 1,
    };
}

/// What the log keeps of a split for its source's [`enumerator`](Source::enumerator) once the split itself is forgotten: when a
/// completed checkpoint says that a reader has it, so that the position in that checkpoint is what counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SplitMemory {
    /// All of it. The log grows by it for ever.
    #[default]
    Whole,
    /// A number by which it is known again, which takes nine bytes at most.
    Key(u64),
    /// Nothing. What was found last is never forgotten: where splits are found in an order that says which are new, it is enough.
    Nothing,
}

/// A split as an enumerator finds it, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundSplit {
    /// The source's `Split`, as MessagePack.
    pub bytes: Vec<u8>,
    /// What is kept of it when it is forgotten.
    pub memory: SplitMemory,
}

/// What is known of the splits that a source has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSplits<S> {
    /// All that are not forgotten, as they were found and in that order; the last one that was found is always among them.
    pub splits: Vec<S>,
    /// Keys of those that are; see [`SplitEnumerator::memory`].
    pub keys: BTreeSet<u64>,
}

impl<S> Default for KnownSplits<S> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl<S> KnownSplits<S> {
    /// Of splits none of which is forgotten.
    pub fn of(splits: Vec<S>) -> Self {
        Self {
            splits,
            keys: BTreeSet::new(),
        }
    }
}

/// A bounded or unbounded origin of records.
///
/// ```
/// use rivus_core::{Event, ParallelInstance, ReadStatus, Source, SourceReader, Timestamp, UserError};
/// use std::{collections::VecDeque, ops::Range};
///
/// /// The numbers below a bound. A split is a range of them: what is left of it is its position.
/// struct Below(u64);
///
/// impl Source for Below {
///     type Out = u64;
///     type Split = Range<u64>;
///     type Reader = Reading;
///
///     fn splits(&self, _parallelism: u32) -> Result<Vec<Range<u64>>, UserError> {
///         Ok((0..self.0).step_by(1_000).map(|start| start..self.0.min(start + 1_000)).collect())
///     }
///
///     fn reader(&self, _instance: ParallelInstance) -> Result<Reading, UserError> {
///         Ok(Reading::default())
///     }
/// }
///
/// #[derive(Default)]
/// struct Reading(VecDeque<Range<u64>>);
///
/// impl SourceReader for Reading {
///     type Out = u64;
///     type Split = Range<u64>;
///
///     fn add_split(&mut self, split: Range<u64>) -> Result<(), UserError> {
///         self.0.push_back(split);
///         Ok(())
///     }
///
///     fn read(&mut self, out: &mut Vec<Event<u64>>, max: usize, now: Timestamp) -> Result<ReadStatus, UserError> {
///         let Some(split) = self.0.front_mut() else {
///             return Ok(ReadStatus::SplitsDone);
///         };
///         out.extend(split.by_ref().take(max).map(|number| Event::at(now, number)));
///         self.0.retain(|split| !split.is_empty());
///         Ok(ReadStatus::More)
///     }
///
///     fn snapshot(&self) -> Vec<Range<u64>> {
///         self.0.iter().cloned().collect()
///     }
/// }
///
/// let source = Below(1_500);
/// let mut reader = source.reader(ParallelInstance::ALONE)?;
/// for split in source.splits(1)? {
///     reader.add_split(split)?;
/// }
/// let mut records = Vec::new();
/// reader.read(&mut records, 600, 0)?;
/// assert_eq!((records.len(), reader.snapshot()), (600, vec![600..1_000, 1_000..1_500]));
/// # Ok::<(), UserError>(())
/// ```
pub trait Source: Send + Sync + 'static {
    /// What it yields.
    type Out: Record;
    /// A part that one reader reads, with the position up to which it has been read.
    type Split: Record;
    /// What reads splits.
    type Reader: SourceReader<Out = Self::Out, Split = Self::Split>;

    /// Refuses settings that can't work. Asked when the graph is checked, before there is a job; does no I/O.
    ///
    /// # Errors
    /// One line that names the setting and the mend.
    fn check(&self) -> Result<(), UserError> {
        Ok(())
    }

    /// Finds the parts to read, in the order in which they should be handed out. The first reader reads the first, the second
    /// the second, and so on, and whoever is through reads the next of the others; in a job that goes on from a savepoint, whoever asks. Called when a job is submitted, to see
    /// whether it can be done, and when it begins; may block on I/O.
    ///
    /// # Errors
    /// One line that names what is missing and the mend; the job is refused, or fails.
    fn splits(&self, parallelism: u32) -> Result<Vec<Self::Split>, UserError>;

    /// What goes on finding parts while the job runs, such as new files or partitions. None, unless a source says
    /// otherwise: then [`splits`](Self::splits) has found all, and the source ends when they have been read.
    ///
    /// `known` is what the log has of the parts found so far. Made when the job begins, and again by every new
    /// leader. May block on I/O.
    ///
    /// # Errors
    /// Whatever keeps it from looking; it fails the job.
    fn enumerator(
        &self,
        known: KnownSplits<Self::Split>,
    ) -> Result<Option<Box<dyn SplitEnumerator<Split = Self::Split>>>, UserError> {
        let _ = known;
        Ok(None)
    }

    /// Makes a reader, which is then given splits.
    ///
    /// # Errors
    /// Whatever keeps it from reading; it fails the attempt.
    fn reader(&self, instance: ParallelInstance) -> Result<Self::Reader, UserError>;
}

/// Looks for new splits while a job runs, on the side of the job's master.
///
/// Whatever it has found is written to the job's log before it is handed out, and told to the enumerator of the next
/// leader; so what it remembers itself is only what it hasn't returned yet.
///
/// ```
/// use rivus_core::{Discovered, SplitEnumerator, Timestamp, UserError};
/// use std::time::Duration;
///
/// /// One range of a thousand numbers for each minute, ten in all.
/// struct Minutes { first: Timestamp, found: i64 }
///
/// impl SplitEnumerator for Minutes {
///     type Split = std::ops::Range<i64>;
///
///     fn interval(&self) -> Duration {
///         Duration::from_secs(10)
///     }
///
///     fn discover(&mut self, now: Timestamp) -> Result<Discovered<Self::Split>, UserError> {
///         let until = ((now - self.first) / 60_000).min(10);
///         let new = self.found.min(until)..until;
///         self.found = until;
///         Ok(Discovered {
///             splits: new.map(|minute| minute * 1_000..(minute + 1) * 1_000).collect(),
///             last: until == 10,
///         })
///     }
/// }
///
/// let mut minutes = Minutes { first: 0, found: 0 };
/// assert_eq!(minutes.discover(125_000)?.splits, [0..1_000, 1_000..2_000]);
/// assert_eq!(minutes.discover(130_000)?.splits, []);
/// assert!(minutes.discover(600_000)?.last);
/// # Ok::<(), UserError>(())
/// ```
pub trait SplitEnumerator: Send {
    /// What it finds.
    type Split;

    /// How long to wait from one look to the next.
    fn interval(&self) -> Duration;

    /// Finds splits that are new, in the order in which they should be handed out. The first look comes at once.
    /// May block on I/O. `now` is processing time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Whatever keeps it from looking. It is asked again after the interval; the job fails if that doesn't help
    /// for [`DISCOVERY_TRIES`] times in a row, or at once if the error is
    /// [permanent](crate::Failure::permanent).
    fn discover(&mut self, now: Timestamp) -> Result<Discovered<Self::Split>, UserError>;

    /// What the log is to keep of a split once it is forgotten, so that the next leader's enumerator doesn't find it again. All of
    /// it, unless a source that goes on for long says otherwise.
    fn memory(&self, split: &Self::Split) -> SplitMemory {
        let _ = split;
        SplitMemory::Whole
    }
}

/// How often in a row a [`SplitEnumerator`] may fail.
pub const DISCOVERY_TRIES: u32 = 10;

/// What a look for new splits has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered<S> {
    /// The new ones.
    pub splits: Vec<S>,
    /// Whether there will never be others: the source ends when all have been read.
    pub last: bool,
}

/// What a reader has to say after a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// There is more at once.
    More,
    /// There will be more, but not before this processing time.
    Later(Timestamp),
    /// Every split it was given has been read to its end.
    SplitsDone,
}

/// Reads splits. Knows no mailbox; its actor asks for a run at a time.
pub trait SourceReader: Send {
    /// What it yields.
    type Out: Record;
    /// What it reads.
    type Split: Record;

    /// Takes a split, at the position from which it is to be read.
    ///
    /// # Errors
    /// Whatever keeps it from reading; it fails the attempt.
    fn add_split(&mut self, split: Self::Split) -> Result<(), UserError>;

    /// Appends at most `max` records.
    ///
    /// `now` is processing time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Whatever keeps it from reading; it fails the attempt.
    fn read(
        &mut self,
        out: &mut Vec<Event<Self::Out>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError>;

    /// The unfinished splits, each at the position after the last record that was yielded.
    fn snapshot(&self) -> Vec<Self::Split>;

    /// A checkpoint begins here: its [`snapshot`](Self::snapshot) is taken next.
    fn checkpoint_begun(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// A checkpoint is complete, so nothing from before it will be read again: what was kept for that may be let go. Said
    /// once or more, and not for checkpoints whose completion a later one has made unimportant.
    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }

    /// Where it stands, for people (`access.log:1207`).
    fn position(&self) -> Option<String> {
        None
    }

    /// How many records it has dropped as unreadable since the last call.
    fn skipped(&mut self) -> u64 {
        0
    }
}
