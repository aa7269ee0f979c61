//! Tasks: a chain of operators as its subtask's actor runs it, and the factories that build one.
//!
//! Types are known where the program is written and again inside the built chain. Between the two, the
//! graph holds factories as trait objects, and stages pass through it as [`AnyStage`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::batch::Batch;
use crate::codec::CodecError;
use crate::context::{OperatorIndex, SubtaskInfo, TaskContext};
use crate::event::Timestamp;
use crate::failure::{Failure, UserError};
use crate::ids::OperatorUid;
use crate::query::{StateAnswer, StateQuery};
use crate::snapshot::{RestoredState, StateType};
use crate::source::{
    EncodedSplit, FoundSplit, KnownSplits, ParallelInstance, SplitEnumerator, SplitId,
};
use crate::stage::{AnyStage, Control, Progress};
use crate::store::Stores;

/// A subtask's whole work, without its mailbox.
pub trait Task: Send {
    /// Takes a batch that arrived on an input (the vertex's input edges in order).
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn batch(
        &mut self,
        input: usize,
        batch: Box<dyn Batch>,
        cx: &mut TaskContext,
    ) -> Result<Progress, Failure>;

    /// Takes a control element; see [`Stage::control`](crate::Stage::control).
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Goes on with what was kept inside.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Writes a slice of frozen state; see [`Stage::slice`](crate::Stage::slice).
    ///
    /// # Errors
    /// If state can't be encoded.
    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure>;

    /// Answers a question about the state of one of its operators; see [`Stage::query`](crate::Stage::query).
    ///
    /// # Errors
    /// If state can't be read.
    fn query(
        &mut self,
        _query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        Ok(None)
    }

    /// The source at the head of the chain, if there is one.
    fn source(&mut self) -> Option<&mut dyn SourceTask> {
        None
    }

    /// The head of a loop at the head of the chain, if there is one.
    fn loop_head(&mut self) -> Option<&mut dyn LoopHead> {
        None
    }
}

/// The half of a task at the head of a loop that takes in what comes round, and sends it into the body again.
pub trait LoopHead {
    /// Takes a batch that has come round, at once and whatever else waits. If it belongs into the snapshot that is open, it is
    /// written there, too.
    ///
    /// # Errors
    /// If there is no room left, or it can't be encoded.
    fn take_back(
        &mut self,
        batch: Box<dyn Batch>,
        recorded: bool,
        cx: &mut TaskContext,
    ) -> Result<(), Failure>;

    /// What waits to be sent into the body.
    fn waiting(&self) -> LoopWaiting;

    /// Sends some of it into the body. Given nothing else while it isn't done.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn send_round(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Ends event time in the body.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn end_time(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;
}

/// What waits at the head of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopWaiting {
    /// Nothing.
    Nothing,
    /// Something, within what may be in memory.
    Some,
    /// More than half of that, or more than that.
    Much,
    /// What a checkpoint held. It goes first.
    Restored,
}

/// The source's half of a task.
pub trait SourceTask {
    /// Reads a run and drives it through the chain.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn read(&mut self, cx: &mut TaskContext) -> Result<SourceTurn, Failure>;

    /// Takes splits; those among [`received`](Self::received) are ignored. `no_more`: none will follow.
    ///
    /// # Errors
    /// If a split can't be read.
    fn add_splits(&mut self, splits: Vec<EncodedSplit>, no_more: bool) -> Result<(), Failure>;

    /// Numbers of the splits received, those read to the end included, but for those that a completed checkpoint is known to
    /// hold.
    fn received(&self) -> Vec<SplitId>;
}

/// What a source has to say after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTurn {
    /// A run was read; this is how far the chain got with it.
    Read(Progress),
    /// Nothing now; it has asked to be woken.
    Later,
    /// It needs a split, and hasn't been told that there are no more.
    NeedsSplit,
    /// All has been read.
    Finished,
}

/// What is known when a chain is built for one attempt.
pub struct BuildContext<'a> {
    /// Which subtask.
    pub info: &'a SubtaskInfo,
    /// What it starts from.
    pub restored: &'a RestoredState,
    /// Where rows lie that are not in memory; none if all are.
    pub stores: Option<&'a dyn Stores>,
    /// The operator that is being built.
    pub uid: &'a OperatorUid,
    /// Its place in the chain.
    pub operator: OperatorIndex,
    /// A source whose records reach it without watermarks, if there is one: event time stands still here.
    pub unmarked_source: Option<&'a str>,
}

impl BuildContext<'_> {
    /// The instance, as connectors see it.
    pub fn instance(&self) -> ParallelInstance {
        ParallelInstance {
            job: self.info.job,
            index: self.info.attempt.subtask.index,
            parallelism: self.info.parallelism,
            attempt: self.info.attempt.attempt,
        }
    }
}

/// Name of a side output within its operator.
pub type SideTag = String;

/// The stages behind an operator: its main output's and its side outputs'.
pub struct Outlets {
    /// Takes what the operator emits.
    pub main: AnyStage,
    /// Take what it emits on the side. Holds every declared tag.
    pub sides: BTreeMap<SideTag, AnyStage>,
}

/// The side outputs of an operator that somebody reads.
pub type SidesRead = BTreeMap<SideTag, Arc<dyn OutputFactory>>;

/// Refuses a program that reads side outputs of an operator that has none.
///
/// # Errors
/// One line that names the tag and the mend.
pub fn no_side_outputs(read: &SidesRead) -> Result<(), String> {
    match read.keys().next() {
        None => Ok(()),
        Some(tag) => Err(format!(
            "side output \"{tag}\" is read, but the operator has none of that name: compare the tags"
        )),
    }
}

/// Makes an operator's stage, anew for each attempt from what the user gave.
pub trait OperatorFactory: Send + Sync {
    /// Refuses a program in which the operator can't work, before anything is started. Unless it says
    /// otherwise, the operator has no side outputs.
    ///
    /// # Errors
    /// One line that says what is wrong and the mend; the operator is named by whoever asks.
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        no_side_outputs(read)
    }

    /// What it keeps, all of it, with the program's types: a job that is to go on from a savepoint is compared with that before it is
    /// one. If it says nothing, it is when it is built.
    fn states(&self) -> Vec<StateType> {
        Vec::new()
    }

    /// Whether each of its subtasks starts from what all of them wrote, and not only from what itself did.
    fn restores_all(&self) -> bool {
        false
    }

    /// Whether it takes records out of the job.
    fn is_sink(&self) -> bool {
        false
    }

    /// Makes ready what it writes to; see [`Sink::prepare`](crate::Sink::prepare). May block.
    ///
    /// # Errors
    /// The sink's own.
    fn prepare(&self) -> Result<(), UserError> {
        Ok(())
    }

    /// What it writes to; see [`Sink::target`](crate::Sink::target).
    fn target(&self) -> Option<String> {
        None
    }

    /// Whether it works on all records in one place, so that more than one subtask makes no sense.
    fn is_single(&self) -> bool {
        false
    }

    /// The stage, in front of what follows it.
    ///
    /// # Errors
    /// A job failure if the graph is miswired or state can't be read.
    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure>;

    /// Makes a stage that this factory has built the head of a task.
    ///
    /// # Errors
    /// A job failure if the graph is miswired.
    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure>;
}

/// Finds encoded splits.
pub type AnyEnumerator = Box<dyn SplitEnumerator<Split = FoundSplit>>;

/// Makes a source's task, and finds its splits.
pub trait SourceFactory: Send + Sync {
    /// As [`OperatorFactory::check`].
    ///
    /// # Errors
    /// One line that says what is wrong and the mend.
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        no_side_outputs(read)
    }

    /// As [`OperatorFactory::states`].
    fn states(&self) -> Vec<StateType> {
        Vec::new()
    }

    /// The splits, encoded, in the order in which they are to be handed out. May block.
    ///
    /// # Errors
    /// The source's own.
    fn splits(&self, parallelism: u32) -> Result<Vec<EncodedSplit>, UserError>;

    /// What goes on finding splits, if something does; they are encoded. May block.
    ///
    /// # Errors
    /// The source's own.
    fn enumerator(&self, known: KnownSplits<Vec<u8>>) -> Result<Option<AnyEnumerator>, UserError> {
        let _ = known;
        Ok(None)
    }

    /// The task, in front of what follows the source.
    ///
    /// # Errors
    /// A job failure if the graph is miswired; an attempt failure if the reader can't be made.
    fn task(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<Box<dyn Task>, Failure>;
}

/// What can be done with an output without knowing its type.
pub trait OutputFactory: Send + Sync {
    /// Name of the type of its records, for people.
    fn carries(&self) -> &'static str;

    /// One stage in front of several; in front of none it drops what it gets.
    ///
    /// # Errors
    /// A job failure if the graph is miswired.
    fn fan_out(&self, consumers: Vec<AnyStage>) -> Result<AnyStage, Failure>;
}

/// Makes the stage that sends an output over an edge, and knows what travels there.
pub trait RouteFactory: Send + Sync {
    /// The stage that writes to the output channels `lanes`.
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage;

    /// A batch that travels over the edge, from its wire form.
    ///
    /// # Errors
    /// If the bytes are not one.
    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError>;
}
