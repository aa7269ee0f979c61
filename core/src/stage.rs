//! Stages: the operators of a chain as the chain sees them.
//!
//! A chain is composed back to front: each stage owns the next. A *run* of records is handed on by
//! value, so a layout that allows it is transformed in place, and the cost of the dynamic call is paid
//! once a run. Work is resumable: a stage that can't go on keeps the remainder inside, says so, and is
//! given nothing else until [`Stage::resume`] has finished it.

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::context::TaskContext;
use crate::event::{Event, Timestamp};
use crate::failure::Failure;
use crate::ids::CheckpointId;
use crate::query::{StateAnswer, StateQuery};
use crate::task::LoopHead;

/// How far a piece of work got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// All of it is done.
    Done,
    /// An output has no credit; the remainder is kept inside until [`Stage::resume`].
    Blocked,
    /// The turn is over; the remainder is kept inside until [`Stage::resume`].
    Yielded,
}

impl Progress {
    /// Whether nothing is kept inside.
    pub fn is_done(self) -> bool {
        self == Self::Done
    }

    /// The progress of two pieces of work that were both begun.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Blocked, _) | (_, Self::Blocked) => Self::Blocked,
            (Self::Yielded, _) | (_, Self::Yielded) => Self::Yielded,
            (Self::Done, Self::Done) => Self::Done,
        }
    }
}

/// What a checkpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckpointKind {
    /// A periodic one, for recovery.
    Checkpoint,
    /// The last one of a bounded job: all input has been read, the tasks end when it is committed.
    Final,
    /// One that somebody asked for, to be kept. The job itself doesn't start again from it, and commits
    /// nothing for it: that waits for its next checkpoint.
    Savepoint,
    /// A savepoint with which the job ends: sources hold behind the barrier, and go on only if it fails.
    Stop {
        /// Whether event time ends before it: all windows and timers fire first.
        drain: bool,
    },
}

impl CheckpointKind {
    /// Whether the tasks end when it is committed.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Final | Self::Stop { .. })
    }

    /// Whether its barriers are waited for in every subtask, however the job takes its periodic ones.
    pub fn is_always_aligned(self) -> bool {
        self != Self::Checkpoint
    }

    /// Whether it is kept until somebody deletes it.
    pub fn is_savepoint(self) -> bool {
        matches!(self, Self::Savepoint | Self::Stop { .. })
    }
}

/// The line between what a checkpoint holds and what it doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// The checkpoint.
    pub id: CheckpointId,
    /// What it is for.
    pub kind: CheckpointKind,
}

/// Everything that passes through a chain beside records.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Control {
    /// No record at or before this time will follow; what does is late.
    Watermark(Timestamp),
    /// No input is active: don't wait for this subtask's watermark until it sends something.
    Idle,
    /// The source waits for work to be handed to it, or for other sources: clocks of idleness stand still.
    Waiting,
    /// The source has been handed work, or may go on: so do clocks of idleness.
    Assigned,
    /// Freeze the state and pass the barrier on.
    Barrier(Barrier),
    /// The processing time that a stage asked to be woken at has come, or a future of some stage has ended.
    Tick,
    /// The input ran dry: send what is buffered.
    Flush,
    /// All that came before it in a loop has been worked on; with the least claim of where it came from
    /// ([`LoopRounds`](crate::LoopRounds)).
    Round(u32),
    /// No record will follow.
    EndOfInput,
    /// The checkpoint is durable: its effects may be made visible.
    Completed(CheckpointId),
    /// The checkpoint will never complete: what it would have committed joins the next one.
    Aborted(CheckpointId),
}

/// An operator in a chain.
pub trait Stage<In>: Send {
    /// Takes a run of records.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn run(&mut self, run: Vec<Event<In>>, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Takes a control element and passes it on when its own part is done.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Goes on with what was kept inside; first with what the next stage keeps.
    ///
    /// # Errors
    /// Whatever fails the attempt.
    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure>;

    /// Writes a slice of about `rows` rows of frozen state into the open snapshot. Returns whether the
    /// stage and all behind it are through.
    ///
    /// # Errors
    /// If state can't be encoded.
    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure>;

    /// Answers a question about the state of its operator, or of one behind it in the chain; none if no such
    /// operator shows its state. `now` is the wall clock.
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

    /// The head of a loop, if this is one.
    fn loop_head(&mut self) -> Option<&mut dyn LoopHead> {
        None
    }
}

/// A stage whose record type is known only to those who made it and those who take it apart.
pub struct AnyStage {
    stage: Box<dyn Any + Send>,
    takes: &'static str,
}

impl AnyStage {
    /// Erases the type.
    pub fn new<T: 'static>(stage: Box<dyn Stage<T>>) -> Self {
        Self {
            stage: Box::new(stage),
            takes: std::any::type_name::<T>(),
        }
    }

    /// The stage, if it takes `T`.
    ///
    /// # Errors
    /// A job failure that names both types: the graph is miswired.
    pub fn typed<T: 'static>(self) -> Result<Box<dyn Stage<T>>, Failure> {
        match self.stage.downcast::<Box<dyn Stage<T>>>() {
            Ok(stage) => Ok(*stage),
            Err(_) => Err(Failure::job(format!(
                "the graph joins a stream of {} to an operator of {}; this is a defect in Rivus",
                std::any::type_name::<T>(),
                self.takes,
            ))),
        }
    }
}
