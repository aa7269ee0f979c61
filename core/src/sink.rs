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
/// use serde::{Deserialize, Serialize};
/// use std::{fs, io::Write, path::PathBuf, sync::Arc};
///
/// /// A file for what each subtask wrote before each checkpoint; there once the checkpoint is complete.
/// #[derive(Clone)]
/// struct Letters(PathBuf);
///
/// /// Travels in the checkpoint, so that nothing has to be there before.
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// struct Letter { name: String, text: String }
///
/// impl Sink for Letters {
///     type In = String;
///     type State = (); // between two barriers a writer holds nothing that it would have to know again
///     type Committable = Letter;
///     type Writer = Writing;
///
///     fn writer(&self, instance: ParallelInstance, _state: Option<()>) -> Result<Writing, UserError> {
///         Ok(Writing { subtask: instance.index, text: String::new() })
///     }
///
///     fn committer(&self) -> Option<Arc<dyn Committer<Letter>>> {
///         Some(Arc::new(self.clone()))
///     }
/// }
///
/// struct Writing { subtask: u32, text: String }
///
/// impl SinkWriter for Writing {
///     type In = String;
///     type State = ();
///     type Committable = Letter;
///
///     fn write(&mut self, run: Vec<Event<String>>) -> Result<(), UserError> {
///         self.text.extend(run.into_iter().map(|event| event.value + "\n"));
///         Ok(())
///     }
///
///     fn prepare_commit(&mut self, checkpoint: CheckpointId, _last: bool) -> Result<Vec<Letter>, UserError> {
///         // An id is never used twice, so the name is this commit's own.
///         let name = format!("{}-{}", checkpoint.0, self.subtask);
///         let text = std::mem::take(&mut self.text);
///         Ok(if text.is_empty() { vec![] } else { vec![Letter { name, text }] })
///     }
///
///     fn snapshot(&mut self) -> Result<(), UserError> {
///         Ok(())
///     }
/// }
///
/// impl Committer<Letter> for Letters {
///     fn commit(&self, letter: &Letter) -> Result<(), UserError> {
///         // It may be asked for again: the same file with the same text, whole or not there.
///         let draft = self.0.join(format!(".{}", letter.name));
///         let mut file = fs::File::create(&draft)?;
///         file.write_all(letter.text.as_bytes())?;
///         // The checkpoint forgets it now: a power cut must not.
///         file.sync_all()?;
///         fs::rename(draft, self.0.join(&letter.name))?;
///         Ok(fs::File::open(&self.0)?.sync_all()?)
///     }
/// }
///
/// // What the engine does with it:
/// let dir = std::env::temp_dir().join(format!("letters-{}", std::process::id()));
/// fs::create_dir_all(&dir)?;
/// let sink = Letters(dir.clone());
/// let mut writer = sink.writer(ParallelInstance::ALONE, None)?;
/// writer.write(vec![Event::at(0, "hello".to_owned())])?;
/// let prepared = writer.prepare_commit(CheckpointId(7), false)?; // at the barrier
/// let committer = sink.committer().unwrap();
/// for _ in 0..2 { // when the checkpoint is durable, and again after a recovery
///     committer.commit(&prepared[0])?;
/// }
/// assert_eq!(fs::read_to_string(dir.join("7-0"))?, "hello\n");
/// # fs::remove_dir_all(dir)?;
/// # Ok::<(), UserError>(())
/// ```
///
/// A sink whose writes are visible at once has no committer, prepares nothing, and writes again after a recovery what it
/// wrote after the last checkpoint. Whether a two-phase sink keeps its word is tried by `rivus::testing::contract`.
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

    /// Makes what it writes to ready, or says why that can't be written. Asked once when a job is submitted where tasks run too, so
    /// that it is refused and not tried again and again; may block on I/O. What is there must stay as it is: the job may have no room yet.
    ///
    /// # Errors
    /// One line that names the target and the mend; the job is refused. What may have passed in a moment, such as a full disk, is a
    /// [`Failure::attempt`](crate::Failure::attempt): then it is asked again for five seconds before the job is refused for that.
    fn prepare(&self) -> Result<(), UserError> {
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

    /// Whether it takes another run by now. As long as it doesn't, the run waits, and with it all that comes behind; it is
    /// asked again within milliseconds. Only a barrier that overtakes has the run written all the same.
    fn has_room(&mut self) -> bool {
        true
    }

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

    /// Keeps it for whoever goes on from the savepoint that is about to name it; without a word there is nothing to do.
    ///
    /// A job that fails after a savepoint and before its next checkpoint goes back behind both, and its writers may clear
    /// away what they had prepared since. What was kept they leave: the savepoint is whoever asked for it's, and is
    /// gone on from elsewhere. This is called in the subtask's turn before the savepoint is reported, for all that is not
    /// known to be committed, possibly again and possibly while it is committed.
    ///
    /// # Errors
    /// Whatever keeps it from being kept; the attempt fails, and no savepoint names it.
    fn keep(&self, _committable: &C) -> Result<(), UserError> {
        Ok(())
    }
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
