//! A sink that sends what reaches it to an application's own actor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ractor::{ActorRef, Message};
use rivus_core::{
    CheckpointId, Committer, Event, ParallelInstance, Record, Sink, SinkWriter, UserError,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Commits that are remembered of each subtask; one that is older has long been carried out.
const REMEMBERED: usize = 4_096;

type Deliver<T> = Arc<dyn Fn(Vec<T>) -> Result<(), UserError> + Send + Sync>;

/// Sends each record to an actor, as a message of the actor's own.
///
/// As it is, records are sent as they come: at once, and again after a failure. [`committed`](Self::committed), they are sent
/// when a checkpoint has made them certain, each exactly once as long as the process lives. A process that takes a job over
/// from one that died sends again what the last checkpoint left to be committed.
///
/// An actor's mailbox has no bound, so the actor must keep up. One that is gone fails the attempt.
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
    committed: bool,
}

/// What has been sent, by subtask and checkpoint.
#[derive(Default)]
struct Delivered(Mutex<BTreeMap<u32, BTreeSet<CheckpointId>>>);

/// The records that one subtask was given before one barrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    held: Option<Vec<T>>,
}

#[derive(Debug, Error)]
#[error("the actor that records are sent to is gone: let it live longer than the job")]
struct ActorGone;

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
            committed: false,
        }
    }

    /// Sends records when the checkpoint that covers them is complete, each once, however often the job starts again.
    #[must_use]
    pub fn committed(mut self) -> Self {
        self.committed = true;
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
            held: self.committed.then(Vec::new),
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<ActorCommittable<T>>>> {
        let committer = SendCommitted {
            deliver: Arc::clone(&self.deliver),
            delivered: Arc::clone(&self.delivered),
        };
        self.committed.then(|| Arc::new(committer) as _)
    }
}

impl<T: Record> SinkWriter for ActorSinkWriter<T> {
    type In = T;
    type State = ();
    type Committable = ActorCommittable<T>;

    fn write(&mut self, run: Vec<Event<T>>) -> Result<(), UserError> {
        let records = run.into_iter().map(|event| event.value);
        match &mut self.held {
            Some(held) => {
                held.extend(records);
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
        let records = self.held.as_mut().map(std::mem::take).unwrap_or_default();
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
