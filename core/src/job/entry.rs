//! The entries of a job's log. Only an entry makes anything durable true.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::options::JobOptions;
use super::program::ProgramRef;
use super::splits::SplitPool;
use crate::event::Timestamp;
use crate::failure::Failure;
use crate::ids::{AttemptId, CheckpointId, LeaderEpoch, OperatorUid, Slot, SubtaskId, VertexId};
use crate::in_flight::IN_FLIGHT_STATE;
use crate::snapshot::SectionSummary;
use crate::source::{EncodedSplit, FoundSplit, SplitId};
use crate::stage::CheckpointKind;

/// One entry of a job's log. Each is written before what it says is acted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LogEntry {
    /// The job exists. Always the first entry.
    Submitted {
        /// For people.
        name: String,
        /// Which plan; every process that runs the job must have the same.
        fingerprint: u64,
        /// How any process builds that plan; none if only the one that was asked to run the job can.
        program: Option<Box<ProgramRef>>,
        /// Its settings.
        options: Box<JobOptions>,
        /// The savepoint that it goes on from, if it begins with one.
        start: Option<Box<StartState>>,
    },
    /// Another leader has taken over; every older one loses at its next write.
    Leader {
        /// Its epoch, one above the last.
        epoch: LeaderEpoch,
        /// The term in which it was elected.
        term: u64,
        /// The process that it is in.
        process: u64,
    },
    /// What a source has to read.
    SplitsFound {
        /// The source's vertex.
        source: VertexId,
        /// The splits, in the order in which they are handed out, but for the first: each reader has one of those.
        splits: Vec<EncodedSplit>,
        /// How many readers there are.
        readers: u32,
        /// Whether it goes on looking.
        open: bool,
    },
    /// What a source that went on looking has found; numbered behind what it had found before.
    SplitsDiscovered {
        /// The source's vertex.
        source: VertexId,
        /// The new splits, in the order in which they are handed out.
        splits: Vec<FoundSplit>,
        /// Whether there will never be others.
        last: bool,
    },
    /// A reader is about to be given splits.
    SplitsAssigned {
        /// The reader.
        attempt: AttemptId,
        /// The splits.
        splits: Vec<SplitId>,
    },
    /// Executions are about to be deployed.
    Deployed {
        /// Each with its place.
        attempts: Vec<(AttemptId, Slot)>,
        /// What they start from.
        restore: Option<CheckpointId>,
    },
    /// A checkpoint is about to be triggered.
    CheckpointTriggered {
        /// Its id, never used before.
        id: CheckpointId,
        /// What it is for.
        kind: CheckpointKind,
    },
    /// A checkpoint is complete; **this entry is completion**. Its effects may be committed.
    CheckpointCompleted {
        /// Which.
        id: CheckpointId,
        /// What it is for.
        kind: CheckpointKind,
        /// Splits that readers had been given by then, but for those that a checkpoint before held.
        received: BTreeMap<VertexId, Vec<SplitId>>,
    },
    /// A checkpoint will never complete.
    CheckpointAborted {
        /// Which.
        id: CheckpointId,
        /// Why.
        reason: String,
    },
    /// All effects of a checkpoint are visible.
    CheckpointCommitted {
        /// Which.
        id: CheckpointId,
    },
    /// Somebody asked for a savepoint.
    SavepointRequested {
        /// What was asked for.
        request: SavepointRequest,
    },
    /// A savepoint that was asked for will not be.
    SavepointFailed {
        /// Which request.
        token: Uuid,
        /// Why.
        reason: String,
    },
    /// Somebody asked for a savepoint that the job is not even stopped for: what is to come after it can't be.
    SavepointRefused {
        /// What was asked for.
        request: SavepointRequest,
        /// Why.
        reason: String,
    },
    /// The job goes on with another plan, from the savepoint that it has stopped with. Nothing of the old one runs.
    Rescaled {
        /// Subtasks of every operator that doesn't say otherwise.
        parallelism: u32,
        /// The plan that follows from it.
        fingerprint: u64,
        /// What its tasks start from.
        start: Box<StartState>,
    },
    /// The job goes on as it was, from the savepoint that it has stopped with for another plan.
    RescaleFailed {
        /// Which request.
        token: Uuid,
        /// Why.
        reason: String,
    },
    /// A region failed and is about to be restarted.
    FailoverStarted {
        /// The execution that failed, or was found gone, if it was one.
        attempt: Option<AttemptId>,
        /// Its subtasks.
        region: Vec<SubtaskId>,
        /// Why.
        cause: Failure,
        /// How long to wait first.
        wait: Duration,
        /// Whether a new leader found the region broken, rather than saw it break.
        found_at_takeover: bool,
        /// Whether the restart strategy counts it: not what a new leader found, nor what failed while others waited to be tried again.
        charged: bool,
    },
    /// Somebody asked for the job's end.
    CancelRequested,
    /// The job failed; its tasks are about to be ended.
    JobFailing {
        /// Why.
        cause: Failure,
    },
    /// The job has ended and never comes back.
    Finished {
        /// How.
        outcome: JobOutcome,
    },
}

/// An entry as it stands in the log: with the time of its writer's clock, for people. Nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// When it was to be written, in milliseconds since the epoch.
    pub at: Timestamp,
    /// What was.
    pub entry: LogEntry,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobOutcome {
    /// All input was read and all output is visible.
    Completed,
    /// Somebody asked for its end with a savepoint, which is complete, and all output up to it is visible.
    Stopped {
        /// The checkpoint that is the savepoint.
        savepoint: CheckpointId,
    },
    /// Somebody asked for it.
    Canceled,
    /// It could not go on.
    Failed(Failure),
}

impl fmt::Display for JobOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Stopped { savepoint } => write!(f, "stopped with savepoint {savepoint}"),
            Self::Canceled => f.write_str("canceled"),
            Self::Failed(failure) => write!(f, "failed: {failure}"),
        }
    }
}

/// Names a stored snapshot, with what is needed to know that it is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Its name in the checkpoint storage.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its checksum.
    pub crc32c: u32,
}

/// What a subtask acknowledges a checkpoint with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskSnapshot {
    /// Where its snapshot is: one; several or none where a job starts from a savepoint.
    pub parts: Vec<SnapshotPart>,
    /// Splits that it had been given before the barrier, those read to the end included, and of which it had not heard that a
    /// completed checkpoint holds them.
    pub received: Vec<SplitId>,
}

/// A snapshot, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// Where it is.
    pub snapshot: SnapshotRef,
    /// Bytes up to its first row: operators' own state stands there.
    pub head: u64,
    /// Whether only that is to be read.
    pub head_only: bool,
    /// The states in it.
    pub sections: Vec<SectionSummary>,
    /// The stores whose rows are not in it.
    pub stores: Vec<StoredFiles>,
}

impl SnapshotPart {
    /// A snapshot of which nothing is known but where it is.
    pub fn whole(snapshot: SnapshotRef) -> Self {
        Self {
            head: snapshot.len,
            head_only: false,
            sections: Vec::new(),
            stores: Vec::new(),
            snapshot,
        }
    }

    /// Bytes of the snapshot and of all files that it goes with, whichever checkpoint they were stored for.
    pub fn bytes(&self) -> u64 {
        let files = self.stores.iter().flat_map(|store| &store.files);
        self.snapshot.len + files.map(|file| file.object.len).sum::<u64>()
    }
}

/// The files of an operator's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFiles {
    /// Whose rows are in them.
    pub operator: OperatorUid,
    /// Which kind of store can be opened with them.
    pub format: String,
    /// All of them.
    pub files: Vec<StoredFile>,
}

/// A file of a store, and where it is stored: an object that checkpoints share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name within the store.
    pub name: String,
    /// The object.
    pub object: SnapshotRef,
}

/// A request for a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointRequest {
    /// Names the request: asked twice, it is one.
    pub token: Uuid,
    /// A [`CheckpointKind::Savepoint`] or a [`CheckpointKind::Stop`].
    pub kind: CheckpointKind,
    /// The parallelism that the job goes on with, by itself, where it stops.
    pub rescale_to: Option<u32>,
}

/// What a job begins with that starts from a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartState {
    /// The savepoint's name.
    pub savepoint: String,
    /// The checkpoint that it is; the job's own are counted on from it. A manifest of this id is stored for
    /// the job, which says where each subtask's state is.
    pub checkpoint: CheckpointId,
    /// The splits of those sources that go on.
    pub splits: BTreeMap<VertexId, SplitPool>,
}

/// What a completed checkpoint consists of. Stored beside the snapshots, before its log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which checkpoint.
    pub id: CheckpointId,
    /// What it is for.
    pub kind: CheckpointKind,
    /// Which plan it belongs to.
    pub fingerprint: u64,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Whether it was written by other subtasks than those that start from it.
    pub foreign: bool,
    /// Whether all that it allows to be committed has been, by the job that was stopped with it.
    pub committed: bool,
    /// Every subtask's part.
    pub subtasks: BTreeMap<SubtaskId, SubtaskSnapshot>,
}

impl Manifest {
    /// Bytes of records that its barriers had overtaken on their way between subtasks; none if they have overtaken nowhere.
    pub fn in_flight(&self) -> Option<u64> {
        let parts = self.subtasks.values().flat_map(|subtask| &subtask.parts);
        let sections = parts.flat_map(|part| &part.sections);
        let overtaken = sections.filter(|section| section.state == IN_FLIGHT_STATE);
        overtaken
            .map(|section| section.bytes)
            .reduce(|sum, bytes| sum + bytes)
    }

    /// The stores whose rows lie in files.
    pub fn stores(&self) -> impl Iterator<Item = &StoredFiles> {
        self.subtasks
            .values()
            .flat_map(|subtask| &subtask.parts)
            .flat_map(|part| &part.stores)
    }

    /// Names of all files of stores that the checkpoint consists of. As long as it is retained they are, too.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.stores()
            .flat_map(|store| &store.files)
            .map(|file| &*file.object.name)
    }
}
