//! The control plane's decisions: what a job's master and its checkpoint coordinator do next.
//!
//! Everything durable is an entry of the job log ([`LogEntry`]); [`JobState`] is the fold over it. The two
//! machines take events and return actions; an action that changes what is true is always an append, and
//! its consequences follow only when the entry is written. So a takeover is a replay of the log, a look at
//! what is running ([`TaskReport`]), and a decision; and every decision can be tested in a table.

mod checkpoints;
mod ended;
mod entry;
mod files;
mod history;
mod master;
mod options;
mod program;
mod report;
mod restart;
mod savepoint;
mod splits;
mod state;

pub use checkpoints::{CheckpointAction, CheckpointEvent, CheckpointMachine, ENDING, Tasks};
pub use ended::EndedJobs;
pub use entry::{
    JobOutcome, LogEntry, Logged, Manifest, SavepointRequest, SnapshotPart, SnapshotRef,
    StartState, StoredFile, StoredFiles, SubtaskSnapshot,
};
pub use files::KnownFiles;
pub use history::{Happened, HistoryEvent, JobHistory};
pub use master::{JobAction, JobEvent, JobMachine, JobTimer, RegionPhase};
pub use options::{CheckpointMode, JobOptions};
pub use program::ProgramRef;
pub use report::{JobReport, TaskPhase, TaskReport};
pub use restart::{RestartDecision, RestartState, RestartStrategy};
pub use savepoint::{
    CHANNELS_STATE, SavedOperator, SavedVertex, SavepointManifest, is_of_channels,
};
pub use splits::SplitPool;
pub use state::{Execution, JobState, Rescaling, SavepointStatus};
