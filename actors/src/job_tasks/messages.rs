//! What a leader and a job's executions in one TaskManager say to each other, within a process or over the wire.

use std::sync::Arc;

use rivus_core::job::{JobOptions, Manifest, ProgramRef, SubtaskSnapshot};
use rivus_core::{
    AttemptId, Barrier, CheckpointId, EncodedSplit, Failure, Incarnation, Reached, Slot, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::remote::shared;

/// What a subtask tells about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum TaskEvent {
    /// Its chain has been built.
    Ready,
    /// It has been connected.
    Running,
    /// All its input has been worked on.
    Drained,
    /// Its source waits for a split.
    NeedsSplit,
    /// It has got so far in an alignment group. Said again and again, so whoever leads next hears it too.
    Reached {
        /// Which.
        #[serde(with = "shared::text")]
        group: Arc<str>,
        /// How far.
        reached: Reached,
    },
    /// Its part of a checkpoint is stored.
    Acknowledged {
        /// Which checkpoint.
        id: CheckpointId,
        /// Where it is.
        snapshot: SubtaskSnapshot,
    },
    /// It has given a checkpoint up.
    Declined {
        /// Which checkpoint.
        id: CheckpointId,
        /// Why.
        reason: String,
    },
    /// It has made a checkpoint's effects visible.
    Committed {
        /// Which checkpoint.
        id: CheckpointId,
    },
    /// It has failed. Said by its supervisor.
    Failed(Failure),
    /// It has ended as it was told to. Said by its supervisor.
    Canceled,
}

/// An execution, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The execution.
    pub attempt: AttemptId,
    /// Which life of a TaskManager.
    pub incarnation: Incarnation,
    /// Where that takes data from other processes; empty if it doesn't.
    pub data_address: String,
}

/// What a leader wants of a job's executions in one TaskManager.
#[derive(Clone, Serialize, Deserialize)]
pub enum JobCommand {
    /// Report, to a leader that has just taken over; from now on it is the one to tell.
    Report,
    /// Start executions.
    Deploy {
        /// How the plan is built where it is not at hand.
        program: Option<Box<ProgramRef>>,
        /// The parallelism that the job was rescaled to; none if it wasn't.
        parallelism: Option<u32>,
        /// Which plan; another is refused.
        fingerprint: u64,
        /// The settings.
        #[serde(with = "shared::value")]
        options: Arc<JobOptions>,
        /// Executions and their slots.
        attempts: Vec<(AttemptId, Slot)>,
        /// What they start from.
        #[serde(with = "shared::option")]
        restore: Option<Arc<Manifest>>,
        /// Whether they read nothing, and are there for that checkpoint's commits only.
        only_commit: bool,
    },
    /// Connect executions to their senders, all of which are ready.
    Connect(Vec<Placed>),
    /// End executions; each is reported when it is over.
    Cancel(Vec<AttemptId>),
    /// End executions that have done their work; nothing more is reported of them.
    Finish(Vec<AttemptId>),
    /// Begin a checkpoint at a source.
    Trigger(AttemptId, Barrier),
    /// A checkpoint is complete.
    Completed(CheckpointId),
    /// A checkpoint will never be.
    Aborted(CheckpointId),
    /// Tell source subtasks how far watermarks of their alignment group may go.
    Align {
        /// The group.
        #[serde(with = "shared::text")]
        group: Arc<str>,
        /// Its least watermark.
        least: Timestamp,
        /// Whose may go up to where.
        limits: Vec<(AttemptId, Timestamp)>,
    },
    /// Hand splits to a reader.
    AddSplits {
        /// The reader.
        attempt: AttemptId,
        /// The splits.
        splits: Vec<EncodedSplit>,
        /// Whether there are no others.
        no_more: bool,
    },
}
