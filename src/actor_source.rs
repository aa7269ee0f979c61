//! A source that an application's own actors feed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivus_core::{
    CheckpointId, Event, ParallelInstance, ReadStatus, Record, Source, SourceReader, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};

use crate::feed::{ActorFeed, Shared};

/// Milliseconds until a reader that found nothing looks again.
const LOOKS_AGAIN: Timestamp = 2;

/// Yields what is sent to its [`ActorFeed`], in that order. One reader reads it, whatever the parallelism; a `rebalance` or a
/// key spreads the records behind it.
///
/// | after a failure of the job | as it is | [`replayed`](Self::replayed) |
/// |---|---|---|
/// | covered by the last completed checkpoint | in the job's state | in the job's state |
/// | read since then | lost; [`ActorFeed::lost`] counts them | read again |
/// | sent and not yet read | read | read |
/// | when the process dies | all that no checkpoint covers is lost | the same: ask [`ActorFeed::until_settled`] |
///
/// At most `capacity` records are held: as it is those not yet read; if replayed those that no completed checkpoint covers, so it
/// should hold what is sent from one checkpoint to the next, or the feed waits for each. Without checkpoints such a feed takes
/// `capacity` records and no more.
///
/// A source is for one job. A job that goes on from a savepoint, or is resumed, is given a new one, and reads it from its
/// first record, whether the one before was finished or not.
///
/// ```
/// use rivus::{ActorSource, StreamEnvironment, connectors::DiscardSink};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamEnvironment::default();
/// let (source, feed) = ActorSource::bounded(1_000);
/// env.from_source(source.replayed()).map(|n: u32| n + 1).sink_to(DiscardSink::new());
/// let job = env.start("numbers").await?;
/// for actor in [feed.clone(), feed] { // the stream ends when both are done with it
///     tokio::spawn(async move { actor.send(7).await });
/// }
/// job.wait().await?;
/// # Ok(()) }
/// ```
pub struct ActorSource<T> {
    shared: Arc<Shared<T>>,
    capacity: usize,
}

/// Where a feed is to be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.FeedSplit")]
pub struct FeedSplit {
    /// How many records were read, by all processes that have fed the job.
    pub next: u64,
}

/// Reads a feed.
pub struct FeedReader<T> {
    shared: Arc<Shared<T>>,
    /// Its number among the feed's readers, once it has been given the feed.
    reader: Option<u64>,
    /// Whether it has read all.
    over: bool,
    /// How far it had read at checkpoints that are under way.
    begun: BTreeMap<CheckpointId, u64>,
}

impl<T: Record> ActorSource<T> {
    /// A source, and what feeds it. At most `capacity` records wait between the two.
    pub fn bounded(capacity: usize) -> (Self, ActorFeed<T>) {
        let (shared, feed) = Shared::new(capacity);
        (Self { shared, capacity }, feed)
    }

    /// Keeps each record until a completed checkpoint covers it, and reads it again after a failure: at least once, and
    /// exactly once in the job's state and in what two-phase sinks make visible.
    #[must_use]
    pub fn replayed(self) -> Self {
        self.shared.buffer().replayed = true;
        self
    }
}

impl<T: Record> Source for ActorSource<T> {
    type Out = T;
    type Split = FeedSplit;
    type Reader = FeedReader<T>;

    fn check(&self) -> Result<(), UserError> {
        if self.capacity == 0 {
            return Err(
                "a feed that holds no record: give ActorSource::bounded(..) at least 1".into(),
            );
        }
        Ok(())
    }

    fn splits(&self, _parallelism: u32) -> Result<Vec<FeedSplit>, UserError> {
        Ok(vec![FeedSplit { next: 0 }])
    }

    fn reader(&self, _instance: ParallelInstance) -> Result<FeedReader<T>, UserError> {
        Ok(FeedReader {
            shared: Arc::clone(&self.shared),
            reader: None,
            over: false,
            begun: BTreeMap::new(),
        })
    }
}

impl<T> Drop for ActorSource<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T: Record> SourceReader for FeedReader<T> {
    type Out = T;
    type Split = FeedSplit;

    fn add_split(&mut self, split: FeedSplit) -> Result<(), UserError> {
        self.reader = Some(self.shared.buffer().begin(split.next));
        self.shared.changed();
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<T>>,
        max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let Some(reader) = self.reader.filter(|_| !self.over) else {
            return Ok(ReadStatus::SplitsDone);
        };
        let mut buffer = self.shared.buffer();
        if buffer.is_read_by(reader) {
            if buffer.read(out, max) {
                drop(buffer);
                self.shared.changed();
                return Ok(ReadStatus::More);
            }
            if buffer.is_over() {
                self.over = true;
                return Ok(ReadStatus::SplitsDone);
            }
        }
        Ok(ReadStatus::Later(now + LOOKS_AGAIN))
    }

    fn snapshot(&self) -> Vec<FeedSplit> {
        // Also when all has been read, unlike other splits: whoever starts again from here settles that, and another process
        // has another feed.
        let next = self.shared.buffer().position();
        let split = self.reader.map(|_| FeedSplit { next });
        split.into_iter().collect()
    }

    fn checkpoint_begun(&mut self, checkpoint: CheckpointId) {
        // How far another has read is not in this one's snapshot: its barrier may come when that one is further on.
        let buffer = self.shared.buffer();
        if self.reader.is_some_and(|own| buffer.is_read_by(own)) {
            self.begun.insert(checkpoint, buffer.next());
        }
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        let later = self.begun.split_off(&CheckpointId(checkpoint.0 + 1));
        let covered = std::mem::replace(&mut self.begun, later);
        if let Some((_, number)) = covered.into_iter().next_back() {
            self.shared.buffer().settle(number);
            self.shared.changed();
        }
    }

    fn position(&self) -> Option<String> {
        let read = self.shared.buffer().position();
        self.reader.map(|_| format!("feed[{read}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feed of ten records, and the readers of two subtasks, the first of which is given the feed.
    fn ten() -> (ActorFeed<u64>, FeedReader<u64>, FeedReader<u64>) {
        let (source, feed) = ActorSource::bounded(10);
        let source = source.replayed();
        for n in 0..10 {
            assert_eq!(feed.try_send(n), Ok(n));
        }
        let (mut first, second) = (reader(&source, 0), reader(&source, 1));
        first.add_split(FeedSplit { next: 0 }).expect("a split");
        (feed, first, second)
    }

    fn reader(source: &ActorSource<u64>, index: u32) -> FeedReader<u64> {
        let instance = ParallelInstance {
            index,
            parallelism: 2,
            ..ParallelInstance::ALONE
        };
        source.reader(instance).expect("a reader")
    }

    fn read(reader: &mut FeedReader<u64>, max: usize) -> (Vec<u64>, ReadStatus) {
        let mut out = Vec::new();
        let status = reader.read(&mut out, max, 0).expect("a feed can be read");
        (out.into_iter().map(|event| event.value).collect(), status)
    }

    #[test]
    fn a_checkpoint_covers_what_was_read_at_the_barrier_of_the_reader_that_has_the_feed() {
        let (feed, mut first, mut second) = ten();
        read(&mut first, 4);
        first.checkpoint_begun(CheckpointId(1));
        let covered = first.snapshot();
        read(&mut first, 3);
        second.checkpoint_begun(CheckpointId(1));
        for reader in [&mut first, &mut second] {
            reader.checkpoint_completed(CheckpointId(1));
            assert_eq!(feed.settled(), 4);
        }
        // It fails, and the other is given the feed.
        second.add_split(covered[0]).expect("a split");
        assert_eq!(read(&mut second, 2).0, [4, 5]);
        // The one that was replaced has a barrier still.
        read(&mut second, 2);
        first.checkpoint_begun(CheckpointId(2));
        first.checkpoint_completed(CheckpointId(2));
        assert_eq!(feed.settled(), 4);
    }

    #[test]
    fn the_checkpoint_after_the_last_record_covers_all() {
        let (feed, mut first, _) = ten();
        feed.finish();
        read(&mut first, 10);
        assert_eq!(read(&mut first, 10).1, ReadStatus::SplitsDone);
        first.checkpoint_begun(CheckpointId(1));
        first.checkpoint_completed(CheckpointId(1));
        assert_eq!(feed.settled(), 10);
    }

    #[test]
    fn who_starts_again_behind_the_last_record_settles_all_and_reads_the_next_feed() {
        let (feed, mut first, mut second) = ten();
        feed.finish();
        read(&mut first, 10);
        assert_eq!(read(&mut first, 10).1, ReadStatus::SplitsDone);
        first.checkpoint_begun(CheckpointId(1));
        let covered = first.snapshot();
        // It is complete, and the reader fails before it is told.
        assert_eq!(feed.settled(), 0);
        second.add_split(covered[0]).expect("a split");
        assert_eq!(read(&mut second, 10), (vec![], ReadStatus::SplitsDone));
        assert_eq!(feed.settled(), 10);
        assert_eq!(second.snapshot(), covered);

        // Or the process dies, and the next one has another feed.
        let (source, feed) = ActorSource::bounded(10);
        assert_eq!(feed.try_send(0), Ok(0));
        let mut next = reader(&source, 0);
        next.add_split(covered[0]).expect("a split");
        assert_eq!(read(&mut next, 10).0, [0]);
        assert_eq!(next.snapshot(), [FeedSplit { next: 11 }]);
    }
}
