//! What an application feeds a job with: a bounded buffer between its actors and the job's source.
//!
//! ```text
//!    base            next            base + records.len()
//!     |  read already  |  not yet read  |
//!     +----------------+----------------+   at most `capacity` records
//!      kept only if the feed is replayed
//! ```
//!
//! Records are counted from the feed's first. A split's position is that count and `offset`: what was read of the same
//! stream before this process fed it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_core::{Event, MIN_TIMESTAMP, Timestamp};
use thiserror::Error;
use tokio::sync::Notify;

/// Feeds a job; made by [`ActorSource::bounded`](crate::ActorSource::bounded). Clones feed the same stream, in the order
/// in which their sends return. The stream ends with [`finish`](Self::finish), or when the last clone is dropped.
///
/// ```
/// use rivus::{ActorSource, StreamEnvironment};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamEnvironment::default();
/// let (source, feed) = ActorSource::bounded(100);
/// let doubled = env.from_source(source).map(|n: u64| n * 2).collect();
/// let job = env.start("fed").await?;
/// for n in 0..1_000 {
///     feed.send(n).await?; // waits while the job is behind
/// }
/// feed.finish();
/// job.wait().await?;
/// assert_eq!(doubled.len(), 1_000);
/// assert!(feed.send(1).await.is_err());
/// # Ok(()) }
/// ```
pub struct ActorFeed<T> {
    shared: Arc<Shared<T>>,
}

/// The stream has ended, or its job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the feed is closed: it was finished, or its job is over")]
pub struct FeedClosed;

/// Why a record was not taken, and the record.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// The buffer is full.
    Full(T),
    /// The stream has ended, or its job has.
    Closed(T),
}

pub(crate) struct Shared<T> {
    buffer: Mutex<Buffer<T>>,
    /// Something was read, settled or closed.
    changed: Notify,
}

pub(crate) struct Buffer<T> {
    records: VecDeque<Event<T>>,
    capacity: usize,
    pub(crate) replayed: bool,
    /// Number of the first record in the buffer.
    base: u64,
    /// Number of the first record that has not been read.
    next: u64,
    /// What to add to a number for its position in a split; known once a reader has begun.
    offset: Option<u64>,
    /// Records before this number are covered by a completed checkpoint.
    settled: u64,
    lost: u64,
    /// Those before this number that are lost have been counted.
    counted: u64,
    handles: usize,
    finished: bool,
    closed: bool,
    /// Counts readers: only the latest may read.
    reader: u64,
}

impl<T> Shared<T> {
    pub(crate) fn new(capacity: usize) -> (Arc<Self>, ActorFeed<T>) {
        let shared = Arc::new(Self {
            buffer: Mutex::new(Buffer {
                records: VecDeque::new(),
                capacity,
                replayed: false,
                base: 0,
                next: 0,
                offset: None,
                settled: 0,
                lost: 0,
                counted: 0,
                handles: 1,
                finished: false,
                closed: false,
                reader: 0,
            }),
            changed: Notify::new(),
        });
        let feed = ActorFeed {
            shared: Arc::clone(&shared),
        };
        (shared, feed)
    }

    pub(crate) fn buffer(&self) -> MutexGuard<'_, Buffer<T>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that there may be room, or something settled.
    pub(crate) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// No job will read any more.
    pub(crate) fn close(&self) {
        self.buffer().closed = true;
        self.changed();
    }

    /// Waits until `done` says something of the buffer.
    async fn when<R>(&self, mut done: impl FnMut(&mut Buffer<T>) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let answer = done(&mut self.buffer());
            match answer {
                Some(answer) => return answer,
                None => changed.await,
            }
        }
    }
}

impl<T: Clone> Buffer<T> {
    /// Gives the stream to a reader from a position on. Returns the reader's number.
    pub(crate) fn begin(&mut self, position: u64) -> u64 {
        self.reader += 1;
        let offset = *self.offset.get_or_insert(position);
        let from = position.saturating_sub(offset);
        self.settle(from);
        // Who starts again from the same checkpoint misses what was missing before, too.
        self.lost += self.base.saturating_sub(from.max(self.counted));
        self.counted = self.counted.max(self.base);
        self.next = from.max(self.base);
        self.reader
    }

    /// The position of the next record that a reader will be given, if it is the latest reader.
    pub(crate) fn position(&self) -> u64 {
        self.next + self.offset.unwrap_or_default()
    }

    /// The number of the next record that a reader will be given.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_read_by(&self, reader: u64) -> bool {
        self.reader == reader
    }

    /// Whether all has been read, and nothing will follow.
    pub(crate) fn is_over(&self) -> bool {
        self.finished && self.next == self.base + self.records.len() as u64
    }

    /// Appends at most `max` records. Returns whether there was one.
    pub(crate) fn read(&mut self, out: &mut Vec<Event<T>>, max: usize) -> bool {
        let from = (self.next - self.base) as usize;
        let until = from.saturating_add(max).min(self.records.len());
        if self.replayed {
            out.extend(self.records.range(from..until).cloned());
        } else {
            out.extend(self.records.drain(from..until));
            self.base += (until - from) as u64;
        }
        self.next += (until - from) as u64;
        until > from
    }
}

impl<T> Buffer<T> {
    /// A completed checkpoint covers all before a number.
    pub(crate) fn settle(&mut self, number: u64) {
        self.settled = self.settled.max(number);
        let kept = self.settled.saturating_sub(self.base) as usize;
        let kept = kept.min(self.records.len());
        self.records.drain(..kept);
        self.base += kept as u64;
        self.next = self.next.max(self.base);
    }

    /// Takes a record, and says its number.
    fn take(&mut self, event: Event<T>) -> Result<u64, Refused<Event<T>>> {
        if self.finished || self.closed {
            return Err(Refused::Closed(event));
        }
        if self.records.len() >= self.capacity {
            return Err(Refused::Full(event));
        }
        self.records.push_back(event);
        Ok(self.base + self.records.len() as u64 - 1)
    }
}

impl<T> ActorFeed<T> {
    /// Hands a record to the job, without a time; waits while the buffer is full. Returns its number, from 0.
    ///
    /// # Errors
    /// If the stream has ended, or its job has.
    pub async fn send(&self, record: T) -> Result<u64, FeedClosed> {
        self.send_at(MIN_TIMESTAMP, record).await
    }

    /// As [`send`](Self::send), with the record's event time in milliseconds.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_at(&self, ts: Timestamp, record: T) -> Result<u64, FeedClosed> {
        let mut waiting = Some(Event::at(ts, record));
        let taken = self.shared.when(|buffer| {
            let taken = buffer.take(waiting.take()?);
            match taken {
                Ok(number) => Some(Ok(number)),
                Err(Refused::Closed(_)) => Some(Err(FeedClosed)),
                Err(Refused::Full(event)) => {
                    waiting = Some(event);
                    None
                }
            }
        });
        taken.await
    }

    /// As [`send`](Self::send), but never waits.
    ///
    /// # Errors
    /// The record, if there is no room for it or the stream has ended.
    ///
    /// ```
    /// use rivus::{ActorSource, Refused};
    ///
    /// let (_source, feed) = ActorSource::bounded(1);
    /// assert_eq!(feed.try_send(7), Ok(0));
    /// assert_eq!(feed.try_send(8), Err(Refused::Full(8)));
    /// ```
    pub fn try_send(&self, record: T) -> Result<u64, Refused<T>> {
        let taken = self.shared.buffer().take(Event::at(MIN_TIMESTAMP, record));
        taken.map_err(|refused| match refused {
            Refused::Full(event) => Refused::Full(event.value),
            Refused::Closed(event) => Refused::Closed(event.value),
        })
    }

    /// Ends the stream behind what was sent: a job whose sources have all ended comes to its end.
    pub fn finish(&self) {
        self.shared.buffer().finished = true;
        self.shared.changed();
    }

    /// How many records a completed checkpoint covers: the job can't lose those any more, and a client that sent one may
    /// be told so.
    ///
    /// ```
    /// use rivus::{connectors::DiscardSink, testing::JobTest};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let test = JobTest::new(7);
    /// let (orders, feed) = test.input::<String>();
    /// orders.sink_to(DiscardSink::new());
    /// let mut job = test.start().await?;
    /// feed.send("a book".to_owned()).await?;
    /// assert_eq!(feed.settled(), 0);
    /// job.checkpoint().await?;
    /// assert_eq!(feed.settled(), 1);
    /// # Ok(()) }
    /// ```
    pub fn settled(&self) -> u64 {
        self.shared.buffer().settled
    }

    /// Waits until a completed checkpoint covers the record of a number.
    ///
    /// # Errors
    /// If the job is over before one does.
    ///
    /// ```
    /// # use rivus::{ActorSource, StreamEnvironment, connectors::DiscardSink};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let every = std::time::Duration::from_millis(20);
    /// let env = StreamEnvironment::builder().checkpoint_interval(every).build();
    /// let (source, feed) = ActorSource::bounded(100);
    /// env.from_source(source.replayed()).sink_to(DiscardSink::new());
    /// let job = env.start("orders").await?;
    /// let number = feed.send("an order".to_owned()).await?;
    /// feed.until_settled(number).await?; // now whoever sent it may forget it
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn until_settled(&self, number: u64) -> Result<(), FeedClosed> {
        let settled = self.shared.when(|buffer| {
            if buffer.settled > number {
                return Some(Ok(()));
            }
            buffer.closed.then_some(Err(FeedClosed))
        });
        settled.await
    }

    /// How many records were read, let go, and not in the checkpoint that the job started again from. Always 0 for a feed
    /// that is [replayed](crate::ActorSource::replayed).
    pub fn lost(&self) -> u64 {
        self.shared.buffer().lost
    }
}

impl<T> Clone for ActorFeed<T> {
    fn clone(&self) -> Self {
        self.shared.buffer().handles += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for ActorFeed<T> {
    fn drop(&mut self) {
        let mut buffer = self.shared.buffer();
        buffer.handles -= 1;
        buffer.finished |= buffer.handles == 0;
    }
}

impl<T> std::fmt::Debug for ActorFeed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let buffer = self.shared.buffer();
        f.debug_struct("ActorFeed")
            .field("buffered", &buffer.records.len())
            .field("settled", &buffer.settled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_counted_once_however_often_the_job_starts_from_the_same_checkpoint() {
        let (shared, feed) = Shared::new(100);
        for n in 0..20 {
            assert_eq!(feed.try_send(n), Ok(n));
        }
        // From which position it is read, how far, and what is lost until then.
        for (position, read, lost) in [(0, 6, 0), (4, 3, 2), (4, 1, 5), (8, 6, 6), (16, 4, 6)] {
            let mut buffer = shared.buffer();
            buffer.begin(position);
            buffer.read(&mut Vec::new(), read);
            assert_eq!(buffer.lost, lost, "from {position}");
        }
    }
}
