//! What is said over HTTP, as JSON.

use std::collections::BTreeSet;

use rivus_actors::{JobStatus, JobView, TaskManagerView};
use rivus_core::job::{Happened, HistoryEvent, JobOutcome};
use rivus_core::{MIN_TIMESTAMP, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A job to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitRequest {
    /// The id that the job is to have: whoever gives one may ask again if there is no answer, and has one job all the same.
    #[serde(default)]
    pub(crate) id: Option<Uuid>,
    /// The job factory's name.
    pub(crate) job: String,
    /// Its arguments.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// For people; the factory's name if there is none.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Subtasks of every operator that doesn't say otherwise.
    #[serde(default = "one")]
    pub(crate) parallelism: u32,
    /// Milliseconds from one checkpoint's start to the next, if not what the job says itself.
    #[serde(default)]
    pub(crate) checkpoint_interval_ms: Option<u64>,
    /// The folder of a savepoint to go on from.
    #[serde(default)]
    pub(crate) from_savepoint: Option<String>,
    /// Uids of operators whose state in the savepoint is let go.
    #[serde(default)]
    pub(crate) drop_state_of: Vec<String>,
}

fn one() -> u32 {
    1
}

/// The answer to a [`SubmitRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    /// The job's id.
    pub(crate) id: String,
}

/// A job in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobSummary {
    pub(crate) id: String,
    pub(crate) name: String,
    /// recovering, starting, waiting, running, ending, completed, stopped, canceled or failed.
    pub(crate) status: String,
    /// Why it failed, or what it waits for.
    pub(crate) reason: Option<String>,
    /// When it ended, in milliseconds since the epoch.
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) checkpoints: u64,
    pub(crate) restarts: u32,
    pub(crate) takeovers: u32,
}

/// A job at this moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobDetails {
    #[serde(flatten)]
    pub(crate) summary: JobSummary,
    pub(crate) epoch: u64,
    pub(crate) last_checkpoint: Option<u64>,
    pub(crate) last_checkpoint_ms: Option<u64>,
    /// Why a region was last restarted.
    pub(crate) last_failure: Option<String>,
    /// The folder of what is left to go on from, once a job is over, for who answers.
    pub(crate) kept_checkpoint: Option<String>,
    pub(crate) tasks: Vec<TaskDetails>,
}

/// One execution at this moment. What it has counted, it has counted since its attempt began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskDetails {
    /// Vertex, subtask and attempt.
    pub(crate) task: String,
    pub(crate) name: String,
    /// Where this attempt was deployed.
    pub(crate) task_manager: String,
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    pub(crate) late: u64,
    pub(crate) partly_late: u64,
    pub(crate) skipped: u64,
    /// Shares of its time, 0 to 1.
    pub(crate) busy: f64,
    pub(crate) backpressured: f64,
    pub(crate) idle: f64,
    /// Milliseconds since the epoch.
    pub(crate) watermark: Option<Timestamp>,
    pub(crate) state_rows: u64,
    pub(crate) snapshot_bytes: u64,
    /// Bytes of files that it began with: its own process had them, or they came from the storage.
    pub(crate) restored_locally: u64,
    pub(crate) restored_remotely: u64,
}

/// Something that has happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventDetails {
    /// Which it is among all that ever happened to the job, from 1.
    pub(crate) number: u64,
    /// Milliseconds since the epoch.
    pub(crate) at: Timestamp,
    /// In one word: submitted, led, takeover, deployed, checkpoint, savepoint, aborted, failed, asked, refused, rescaled, failing or ended.
    pub(crate) event: String,
    /// For people.
    pub(crate) message: String,
    /// The checkpoint or savepoint that it is about.
    pub(crate) checkpoint: Option<u64>,
    /// The task that failed: vertex, subtask and attempt.
    pub(crate) task: Option<String>,
    /// Where that was.
    pub(crate) task_manager: Option<String>,
    /// The operator that is to blame for a failure.
    pub(crate) operator: Option<String>,
}

/// What a savepoint is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavepointOptions {
    /// Whether the job ends with it.
    #[serde(default)]
    pub(crate) stop: bool,
    /// Whether event time ends first, so that every window and timer fires. Only with `stop`.
    #[serde(default)]
    pub(crate) drain: bool,
    /// Names the request: asked again by the same name, it is one.
    #[serde(default)]
    pub(crate) token: Option<Uuid>,
}

/// A parallelism for a running job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RescaleRequest {
    /// Subtasks of every operator that doesn't say otherwise.
    pub(crate) parallelism: u32,
    /// Names the request: asked again by the same name, it is one.
    #[serde(default)]
    pub(crate) token: Option<Uuid>,
}

/// A savepoint that is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavepointMade {
    pub(crate) name: String,
    /// Its folder, if the storage is a directory.
    pub(crate) path: Option<String>,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LeaderDetails {
    pub(crate) term: u64,
}

/// A process that runs tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskManagerDetails {
    pub(crate) name: String,
    pub(crate) slots: usize,
    /// Those that no job holds.
    pub(crate) free: usize,
    /// Jobs that hold some.
    pub(crate) jobs: BTreeSet<String>,
    /// Its state backend.
    pub(crate) backend: String,
    /// Where it takes records from others; none if all are in one process.
    pub(crate) data: Option<String>,
}

/// A job that can be submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FactoryDetails {
    pub(crate) name: String,
    pub(crate) about: String,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// One line.
    pub(crate) error: String,
}

impl EventDetails {
    pub(crate) fn of(event: &HistoryEvent) -> Self {
        let mut details = Self {
            number: event.number,
            at: event.at,
            event: event.what.word().to_owned(),
            message: event.what.to_string(),
            checkpoint: None,
            task: None,
            task_manager: None,
            operator: None,
        };
        match &event.what {
            Happened::Completed { id, .. } | Happened::Aborted { id, .. } => {
                details.checkpoint = Some(id.0);
            }
            Happened::Failed {
                attempt,
                task_manager,
                cause,
                ..
            } => {
                details.task = attempt.map(|attempt| attempt.to_string());
                details.task_manager = task_manager.as_ref().map(ToString::to_string);
                details.operator = cause.operator.as_ref().map(ToString::to_string);
            }
            Happened::Failing { cause } => {
                details.operator = cause.operator.as_ref().map(ToString::to_string);
            }
            _ => {}
        }
        details
    }

    /// Whether nothing can happen after it.
    pub(crate) fn is_last(&self) -> bool {
        self.event == "ended"
    }
}

impl TaskManagerDetails {
    pub(crate) fn of(view: &TaskManagerView) -> Self {
        let held = view.slots.iter().flatten();
        Self {
            name: view.id.to_string(),
            slots: view.slots.len(),
            free: view.slots.len() - held.clone().count(),
            jobs: held.map(ToString::to_string).collect(),
            backend: view.backend.clone().unwrap_or_else(|| "memory".to_owned()),
            data: (!view.data_address.is_empty()).then(|| view.data_address.clone()),
        }
    }
}

impl JobSummary {
    pub(crate) fn of(view: &JobView) -> Self {
        let (status, reason) = words(&view.status);
        Self {
            id: view.job.to_string(),
            name: view.name.clone(),
            status,
            reason,
            ended_at: view.ended_at,
            checkpoints: view.checkpoints,
            restarts: view.restarts,
            takeovers: view.takeovers,
        }
    }

    /// Whether the job is over.
    pub(crate) fn is_over(&self) -> bool {
        ["completed", "stopped", "canceled", "failed"].contains(&self.status.as_str())
    }
}

/// A status in one word, and what there is to say of it.
fn words(status: &JobStatus) -> (String, Option<String>) {
    if let JobStatus::Ended(JobOutcome::Stopped { .. }) = status {
        return ("stopped".to_owned(), None);
    }
    let whole = status.to_string();
    match whole.split_once(": ") {
        Some((word, reason)) => (word.to_owned(), Some(reason.to_owned())),
        None => (whole, None),
    }
}

impl JobDetails {
    pub(crate) fn of(view: &JobView) -> Self {
        let tasks = view.subtasks.iter().map(|task| {
            let (figures, shares) = (&task.figures, task.figures.shares());
            TaskDetails {
                task: task.attempt.to_string(),
                name: task.name.clone(),
                task_manager: task.task_manager.to_string(),
                records_in: figures.records_in,
                records_out: figures.records_out,
                late: figures.late,
                partly_late: figures.partly_late,
                skipped: figures.skipped,
                busy: shares.busy,
                backpressured: shares.backpressured,
                idle: shares.idle,
                watermark: Some(figures.watermark).filter(|at| *at != MIN_TIMESTAMP),
                state_rows: figures.state_rows,
                snapshot_bytes: figures.snapshot_bytes,
                restored_locally: figures.restored_locally,
                restored_remotely: figures.restored_remotely,
            }
        });
        Self {
            summary: JobSummary::of(view),
            epoch: view.epoch.0,
            last_checkpoint: view.last_checkpoint.map(|id| id.0),
            last_checkpoint_ms: view
                .last_checkpoint_took
                .map(|took| took.as_millis() as u64),
            last_failure: view.last_failure.clone(),
            kept_checkpoint: None,
            tasks: tasks.collect(),
        }
    }
}
