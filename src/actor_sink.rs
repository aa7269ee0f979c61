//! A sink that sends what reaches it to an application's own actor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ractor::{ActorRef, Message};
use rivus_core::{
    CheckpointId, Committer, Event, ParallelInstance, Record, Sink, SinkWriter, UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Commits that are remembered of each subtask; one that is older has long been carried out.
const REMEMBERED: usize = 4_096;

/// Records that a subtask holds for a checkpoint, unless told otherwise.
const HELD: usize = 1 << 20;

type Deliver<T> = Arc<dyn Fn(Vec<T>) -> Result<(), UserError> + Send + Sync>;

/// Sends each record to an actor, as a message of the actor's own.
///
/// As it is, records are sent as they come: at once, and again after a failure. [`committed`](Self::committed), they are sent
/// when a checkpoint has made them certain, each exactly once as long as the process lives. A process that takes a job over
/// from one that died sends again what the last checkpoint left to be committed.
///
/// An actor's mailbox has no bound, so the actor must keep up; or it says what it has handled, and the job waits for it:
/// [`acknowledged`](Self::acknowledged). One that is gone fails the attempt.
///
/// ```
/// use ractor::{Actor, ActorProcessingErr, ActorRef};
/// use rivus::{ActorSink, StreamEnvironment};
///
/// struct Printer;
/// enum Print { Line(String) }
///
/// impl Actor for Printer {
///     type Msg = Print;
///     type State = ();
///     type Arguments = ();
///     async fn pre_start(&self, _: ActorRef<Print>, _: ()) -> Result<(), ActorProcessingErr> { Ok(()) }
///     async fn handle(&self, _: ActorRef<Print>, Print::Line(line): Print, _: &mut ()) -> Result<(), ActorProcessingErr> {
///         println!("{line}");
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (printer, printing) = Actor::spawn(None, Printer, ()).await?;
/// let env = StreamEnvironment::default();
/// let lines = env.from_collection(vec![1, 2, 3]).map(|n| format!("line {n}"));
/// lines.sink_to(ActorSink::new(printer.clone(), Print::Line).committed());
/// env.execute("lines").await?;
/// printer.drain()?;
/// printing.await?;
/// # Ok(()) }
/// ```
pub struct ActorSink<T> {
    deliver: Deliver<T>,
    delivered: Arc<Delivered>,
    /// How many records a subtask may hold for a checkpoint; none if they are sent as they come.
    held: Option<usize>,
    /// None if nobody says what is handled.
    in_flight: Option<InFlight>,
}

/// Records that the actor has been sent and has not handled.
#[derive(Debug, Clone)]
struct InFlight {
    count: Arc<AtomicUsize>,
    limit: usize,
}

/// Goes with a record to the actor, which drops it when it has handled that. See [`ActorSink::acknowledged`].
#[derive(Debug)]
pub struct Handled(Arc<AtomicUsize>);

impl Handled {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What has been sent, by subtask and checkpoint.
#[derive(Default)]
struct Delivered(Mutex<BTreeMap<u32, BTreeSet<CheckpointId>>>);

/// The records that one subtask was given before one barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.ActorCommittable")]
pub struct ActorCommittable<T> {
    /// Who was given them.
    pub subtask: u32,
    /// Before which checkpoint's barrier.
    pub checkpoint: CheckpointId,
    /// In order.
    pub records: Vec<T>,
}

/// Sends records, or holds them until the next barrier.
pub struct ActorSinkWriter<T> {
    deliver: Deliver<T>,
    subtask: u32,
    /// None if records are sent as they come.
    held: Option<Held<T>>,
    in_flight: Option<InFlight>,
}

struct Held<T> {
    records: Vec<T>,
    limit: usize,
}

#[derive(Debug, Error)]
#[error("the actor that records are sent to is gone: let it live longer than the job")]
struct ActorGone;

#[derive(Debug, Error)]
#[error(
    "more than {limit} records of a subtask wait for a checkpoint to be sent: let checkpoints come more often, or raise \
     ActorSink::holding(..)"
)]
struct TooMany {
    limit: usize,
}

fn send<M: Message>(actor: &ActorRef<M>, message: M) -> Result<(), UserError> {
    actor.cast(message).map_err(|_| ActorGone.into())
}

impl<T: Record> ActorSink<T> {
    /// Sends each record as the message that `message` makes of it.
    pub fn new<M: Message>(
        actor: ActorRef<M>,
        message: impl Fn(T) -> M + Send + Sync + 'static,
    ) -> Self {
        Self::of(move |records| {
            let mut records = records.into_iter();
            records.try_for_each(|record| send(&actor, message(record)))
        })
    }

    /// Sends records as they are together: those of a run, or, if [committed](Self::committed), those of a checkpoint and
    /// subtask.
    ///
    /// ```
    /// # use rivus::ActorSink;
    /// # enum Shelf { Put(Vec<String>) }
    /// # fn sink(shelf: ractor::ActorRef<Shelf>) -> ActorSink<String> {
    /// ActorSink::batches(shelf, Shelf::Put)
    /// # }
    /// ```
    pub fn batches<M: Message>(
        actor: ActorRef<M>,
        message: impl Fn(Vec<T>) -> M + Send + Sync + 'static,
    ) -> Self {
        Self::of(move |records| send(&actor, message(records)))
    }

    fn of(deliver: impl Fn(Vec<T>) -> Result<(), UserError> + Send + Sync + 'static) -> Self {
        Self {
            deliver: Arc::new(deliver),
            delivered: Arc::default(),
            held: None,
            in_flight: None,
        }
    }

    /// Sends each record with a [`Handled`], which the actor drops when it is done with the record. While it has so many
    /// that it isn't done with, all subtasks together, the job waits; it takes no more than the rest of a run beyond that.
    /// If [committed](Self::committed), what a checkpoint makes certain is sent at once, and then the job waits.
    ///
    /// ```
    /// use rivus::{ActorSink, Handled};
    /// # use ractor::{Actor, ActorProcessingErr, ActorRef};
    ///
    /// struct Shelf;
    /// struct Put(String, Handled);
    ///
    /// impl Actor for Shelf {
    /// #   type Msg = Put;
    /// #   type State = Vec<String>;
    /// #   type Arguments = ();
    /// #   async fn pre_start(&self, _: ActorRef<Put>, _: ()) -> Result<Vec<String>, ActorProcessingErr> { Ok(Vec::new()) }
    ///     // ..
    ///     async fn handle(
    ///         &self, _: ActorRef<Put>, Put(book, _handled): Put, books: &mut Vec<String>,
    ///     ) -> Result<(), ActorProcessingErr> {
    ///         books.push(book);
    ///         Ok(()) // here it is handled
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (shelf, _) = Actor::spawn(None, Shelf, ()).await?;
    /// let env = rivus::StreamEnvironment::default();
    /// let books = env.from_collection((1..500).map(|n| format!("volume {n}")).collect());
    /// books.sink_to(ActorSink::acknowledged(shelf, 100, Put));
    /// env.execute("books").await?;
    /// # Ok(()) }
    /// ```
    pub fn acknowledged<M: Message>(
        actor: ActorRef<M>,
        in_flight: usize,
        message: impl Fn(T, Handled) -> M + Send + Sync + 'static,
    ) -> Self {
        let count = Arc::default();
        let counted = Arc::clone(&count);
        let sink = Self::new(actor, move |record| message(record, Handled::of(&counted)));
        let limit = in_flight;
        Self {
            in_flight: Some(InFlight { count, limit }),
            ..sink
        }
    }

    /// Sends records when the checkpoint that covers them is complete, each once, however often the job starts again. Until
    /// then they are held in memory: see [`holding`](Self::holding).
    #[must_use]
    pub fn committed(self) -> Self {
        self.holding(HELD)
    }

    /// As [`committed`](Self::committed), which holds a million records: a subtask that has more before a checkpoint is
    /// complete fails its attempt.
    #[must_use]
    pub fn holding(mut self, records: usize) -> Self {
        self.held = Some(records);
        self
    }
}

impl<T: Record> Sink for ActorSink<T> {
    type In = T;
    type State = ();
    type Committable = ActorCommittable<T>;
    type Writer = ActorSinkWriter<T>;

    fn writer(
        &self,
        instance: ParallelInstance,
        _state: Option<()>,
    ) -> Result<ActorSinkWriter<T>, UserError> {
        Ok(ActorSinkWriter {
            deliver: Arc::clone(&self.deliver),
            subtask: instance.index,
            held: self.held.map(|limit| Held {
                records: Vec::new(),
                limit,
            }),
            in_flight: self.in_flight.clone(),
        })
    }

    fn check(&self) -> Result<(), UserError> {
        match &self.in_flight {
            Some(InFlight { limit: 0, .. }) => {
                Err("an actor that may have no record in flight gets none: give ActorSink::acknowledged(..) at least 1".into())
            }
            _ => Ok(()),
        }
    }

    fn committer(&self) -> Option<Arc<dyn Committer<ActorCommittable<T>>>> {
        let committer = SendCommitted {
            deliver: Arc::clone(&self.deliver),
            delivered: Arc::clone(&self.delivered),
        };
        self.held.map(|_| Arc::new(committer) as _)
    }
}

impl<T: Record> SinkWriter for ActorSinkWriter<T> {
    type In = T;
    type State = ();
    type Committable = ActorCommittable<T>;

    fn has_room(&mut self) -> bool {
        let in_flight = self.in_flight.as_ref();
        in_flight.is_none_or(|sent| sent.count.load(Ordering::Acquire) < sent.limit)
    }

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        let records = run.into_iter().map(|event| event.value);
        match &mut self.held {
            Some(Held {
                records: held,
                limit,
            }) if held.len() + records.len() > *limit => Err(TooMany { limit: *limit }.into()),
            Some(held) => {
                held.records.extend(records);
                Ok(())
            }
            None => (self.deliver)(records.collect()),
        }
    }

    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        _last: bool,
    ) -> Result<Vec<ActorCommittable<T>>, UserError> {
        let held = self.held.as_mut().map(|held| &mut held.records);
        let records = held.map(std::mem::take).unwrap_or_default();
        let committable = ActorCommittable {
            subtask: self.subtask,
            checkpoint,
            records,
        };
        Ok(if committable.records.is_empty() {
            Vec::new()
        } else {
            vec![committable]
        })
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}

struct SendCommitted<T> {
    deliver: Deliver<T>,
    delivered: Arc<Delivered>,
}

impl<T: Record> Committer<ActorCommittable<T>> for SendCommitted<T> {
    fn commit(&self, committable: &ActorCommittable<T>) -> Result<(), UserError> {
        // Held while it is sent: the same commit may be tried by two attempts at once.
        let delivered = self.delivered.0.lock();
        let mut delivered = delivered.unwrap_or_else(PoisonError::into_inner);
        let of_subtask = delivered.entry(committable.subtask).or_default();
        let full = of_subtask.len() >= REMEMBERED;
        let forgotten = full && of_subtask.first() > Some(&committable.checkpoint);
        if forgotten || of_subtask.contains(&committable.checkpoint) {
            return Ok(());
        }
        (self.deliver)(committable.records.clone())?;
        of_subtask.insert(committable.checkpoint);
        if full {
            of_subtask.pop_first();
        }
        Ok(())
    }
}
