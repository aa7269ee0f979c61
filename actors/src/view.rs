//! What can be seen of a running job from outside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rivus_core::job::{JobHistory, JobOutcome, JobState, SavepointStatus};
use rivus_core::{
    AttemptId, CheckpointId, JobId, LeaderEpoch, SubtaskFigures, TaskManagerId, Timestamp,
};

/// Where a job stands.
///
/// ```
/// use rivus_actors::JobStatus;
///
/// let waits = JobStatus::WaitingForSlots { needed: 4, available: 2, backend: None };
/// assert_eq!(waits.to_string(), "waiting: needs 4 slots, and there are 2");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobStatus {
    /// No leader has begun with it, or one is taking over.
    Recovering,
    /// Deploys, or restarts what failed.
    Starting,
    /// Needs more slots than it can have now: other jobs of the environment hold them until they end, or
    /// TaskManagers are missing.
    WaitingForSlots {
        /// How many it needs.
        needed: usize,
        /// How many of them are there, those that it holds included.
        available: usize,
        /// The state backend that a TaskManager has to have, because the job's last checkpoint is made of its files; none if any
        /// may run the job.
        backend: Option<String>,
    },
    /// Every task runs.
    Running,
    /// Somebody asked for its end, or it has failed; tasks are ending.
    Ending,
    /// It is over.
    Ended(JobOutcome),
}

/// In words, for people: `running`, `failed: ..`.
impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => f.write_str("recovering"),
            Self::Starting => f.write_str("starting"),
            Self::WaitingForSlots {
                needed,
                available,
                backend,
            } => {
                write!(f, "waiting: needs {needed} slots")?;
                if let Some(backend) = backend {
                    write!(
                        f,
                        " of TaskManagers with state backend {backend}, in whose files its last checkpoint is"
                    )?;
                }
                write!(f, ", and there are {available}")
            }
            Self::Running => f.write_str("running"),
            Self::Ending => f.write_str("ending"),
            Self::Ended(outcome) => write!(f, "{outcome}"),
        }
    }
}

/// One execution.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskView {
    /// Which.
    pub attempt: AttemptId,
    /// Names of its operators.
    pub name: String,
    /// Where this attempt was deployed.
    pub task_manager: TaskManagerId,
    /// Whether its figures have come to whoever leads, which takes a moment after a start and after a takeover. Until then they are 0.
    pub is_measured: bool,
    /// Its counters, from the start of this attempt: after a restart they begin at 0 again, and what the attempts
    /// before have counted (records in and out, late, skipped) is not in them.
    pub figures: SubtaskFigures,
}

/// A job at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Which job.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: JobStatus,
    /// When it ended, in milliseconds since the epoch.
    pub ended_at: Option<Timestamp>,
    /// The present leader.
    pub epoch: LeaderEpoch,
    /// Its present executions, each with what it has counted itself; sums over them are sums since the last restart,
    /// in which what was replayed counts again.
    pub subtasks: Vec<SubtaskView>,
    /// Subtasks of every operator that doesn't say otherwise, if the job was rescaled.
    pub parallelism: Option<u32>,
    /// Whether the job has stopped with a savepoint to go on at another parallelism, and hasn't yet.
    pub is_rescaling: bool,
    /// Savepoints that were asked for, and what became of them; of the older ones nothing is known any more.
    pub savepoints: Vec<SavepointStatus>,
    /// The latest completed checkpoint.
    pub last_checkpoint: Option<CheckpointId>,
    /// Checkpoints completed in the job's life.
    pub checkpoints: u64,
    /// How long the latest one took from its trigger to its completion, if this leader has seen both.
    pub last_checkpoint_took: Option<Duration>,
    /// Bytes of records that the barriers of the latest completed checkpoint had overtaken, and that are part of it; none if they
    /// had overtaken nowhere, or if another leader has completed it.
    pub last_checkpoint_in_flight: Option<u64>,
    /// Regions restarted in the job's life.
    pub restarts: u32,
    /// Leaders that took the job over.
    pub takeovers: u32,
    /// Executions restarted because a new leader found them gone.
    pub restarted_by_takeover: u32,
    /// Why a region was last restarted.
    pub last_failure: Option<String>,
    /// What has happened to it.
    pub history: Arc<JobHistory>,
}

impl JobView {
    /// A job of which nothing is known yet.
    pub fn new(job: JobId, name: String) -> Self {
        Self {
            job,
            name,
            status: JobStatus::Recovering,
            ended_at: None,
            epoch: LeaderEpoch(0),
            subtasks: Vec::new(),
            parallelism: None,
            is_rescaling: false,
            savepoints: Vec::new(),
            last_checkpoint: None,
            checkpoints: 0,
            last_checkpoint_took: None,
            last_checkpoint_in_flight: None,
            restarts: 0,
            takeovers: 0,
            restarted_by_takeover: 0,
            last_failure: None,
            history: Arc::default(),
        }
    }

    /// A job as its log has it, whoever leads.
    pub(crate) fn of_log(job: JobId, state: &JobState, history: &Arc<JobHistory>) -> Self {
        let ended = state.outcome.clone().map(JobStatus::Ended);
        Self {
            status: ended.unwrap_or(JobStatus::Recovering),
            ended_at: history.ended_at(),
            epoch: state.epoch,
            parallelism: state.parallelism,
            is_rescaling: state.rescaling.is_some(),
            savepoints: state.savepoints.clone(),
            last_checkpoint: state.latest().map(|(id, _)| id),
            checkpoints: state.completed_in_all,
            restarts: state.restarts,
            takeovers: state.takeovers,
            restarted_by_takeover: state.restarted_by_takeover,
            last_failure: state.last_failure.as_ref().map(ToString::to_string),
            history: Arc::clone(history),
            ..Self::new(job, state.name.clone())
        }
    }
}
