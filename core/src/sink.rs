//! Sinks: what a connector's author writes to bring records out, exactly once where the target allows.
//!
//! Two-phase: at a barrier the writer *prepares* what it has written since the last one
//! ([`SinkWriter::prepare_commit`]); the committables are part of the checkpoint; when the checkpoint is
//! durable they are *committed* ([`Committer::commit`]), and again after a recovery, until it is known
//! that they were. So a commit must be idempotent. What an aborted checkpoint would have committed is
//! committed with the next one.

use std::sync::Arc;

use crate::event::{Event, Record};
use crate::failure::UserError;
use crate::ids::{CheckpointId, OperatorUid};
use crate::source::ParallelInstance;

/// A destination of records.
///
/// ```
/// use rivus_core::{CheckpointId, Committer, Event, ParallelInstance, Sink, SinkWriter, UserError};
/// use std::sync::{Arc, mpsc::Sender};
///
/// /// Sends records to another part of the program: at once, and again after a recovery.
/// struct Channel(Sender<String>);
///
/// impl Sink for Channel {
///     type In = String;
///     type State = ();
///     type Committable = ();
///     type Writer = Sending;
///
///     fn writer(&self, _instance: ParallelInstance, _state: Option<()>) -> Result<Sending, UserError> {
///         Ok(Sending(self.0.clone()))
///     }
///
///     fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
///         None
///     }
/// }
///
/// struct Sending(Sender<String>);
///
/// impl SinkWriter for Sending {
///     type In = String;
///     type State = ();
///     type Committable = ();
///
///     fn write(&mut self, run: Vec<Event<String>>) -> Result<(), UserError> {
///         run.into_iter().try_for_each(|event| Ok(self.0.send(event.value)?))
///     }
///
///     fn prepare_commit(&mut self, _checkpoint: CheckpointId, _last: bool) -> Result<Vec<()>, UserError> {
///         Ok(Vec::new()) // a two-phase sink says here what its committer is to make visible
///     }
///
///     fn snapshot(&mut self) -> Result<(), UserError> {
///         Ok(())
///     }
/// }
///
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let mut writer = Channel(sender).writer(ParallelInstance { index: 0, parallelism: 1, attempt: 1 }, None)?;
/// writer.write(vec![Event::at(0, "hello".to_owned())])?;
/// assert_eq!(receiver.recv()?, "hello");
/// # Ok::<(), UserError>(())
/// ```
pub trait Sink: Send + Sync + 'static {
    /// What it takes.
    type In: Record;
    /// What a writer must know to go on after a recovery.
    type State: Record;
    /// What one commit makes visible.
    type Committable: Record;
    /// What writes.
    type Writer: SinkWriter<In = Self::In, State = Self::State, Committable = Self::Committable>;

    /// Makes a writer; after a recovery with the state of the checkpoint. Whatever an earlier attempt
    /// left behind beyond that state must not become visible.
    ///
    /// # Errors
    /// Whatever keeps it from writing; it fails the attempt.
    fn writer(
        &self,
        instance: ParallelInstance,
        state: Option<Self::State>,
    ) -> Result<Self::Writer, UserError>;

    /// Refuses settings that can't work, before anything is started.
    ///
    /// # Errors
    /// One line that names the setting and the mend.
    fn check(&self) -> Result<(), UserError> {
        Ok(())
    }

    /// What it writes to, if no other sink of the program may: two would lose or repeat records.
    fn target(&self) -> Option<String> {
        None
    }

    /// Lets go of a writer's state when there are fewer writers than before and none goes on with it.
    ///
    /// # Errors
    /// If records would be lost with it; it fails the job.
    fn retire(&self, state: Self::State) -> Result<(), UserError> {
        let _ = state;
        Ok(())
    }

    /// Makes prepared output visible; `None` for a sink whose writes are visible at once.
    fn committer(&self) -> Option<Arc<dyn Committer<Self::Committable>>>;
}

/// Writes records.
pub trait SinkWriter: Send {
    /// What it takes.
    type In: Record;
    /// What it must know to go on after a recovery.
    type State: Record;
    /// What one commit makes visible.
    type Committable: Record;

    /// Takes a run of records.
    ///
    /// # Errors
    /// Whatever keeps it from writing; it fails the attempt.
    fn write(&mut self, run: Vec<Event<Self::In>>) -> Result<(), UserError>;

    /// The input ran dry: what should be seen soon may be flushed.
    ///
    /// # Errors
    /// Whatever keeps it from writing; it fails the attempt.
    fn flush(&mut self) -> Result<(), UserError> {
        Ok(())
    }

    /// Makes durable what has been written since the last barrier, and says how to make it visible.
    /// `last` is set at the end of a job, and for a savepoint: nothing may be left open, for others may go on from it. More
    /// may be written all the same.
    ///
    /// # Errors
    /// Whatever keeps it from writing; it fails the attempt.
    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        last: bool,
    ) -> Result<Vec<Self::Committable>, UserError>;

    /// What it must know to go on after a recovery from the same barrier.
    ///
    /// # Errors
    /// Whatever keeps it from knowing.
    fn snapshot(&mut self) -> Result<Self::State, UserError>;
}

/// Makes prepared output visible. Called off the data path; may block.
pub trait Committer<C>: Send + Sync {
    /// Makes it visible, or finds that it is.
    ///
    /// # Errors
    /// Whatever keeps it from being visible; the attempt fails and the commit is repeated after recovery.
    fn commit(&self, committable: &C) -> Result<(), UserError>;
}

/// A commit that is due, for the pool to do.
pub struct CommitRequest {
    /// The sink.
    pub operator: OperatorUid,
    /// The durable checkpoint that allows it.
    pub checkpoint: CheckpointId,
    /// Does it; idempotent.
    pub commit: Box<dyn FnOnce() -> Result<(), UserError> + Send>,
}
