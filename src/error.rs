//! Why a job could not be run to its end.

use rivus_core::job::JobOutcome;
use rivus_core::{Failure, GraphError};
use thiserror::Error;

/// Why a job could not be run to its end.
#[derive(Debug, Error)]
pub enum JobError {
    /// The program can't run.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The program was put together wrongly.
    #[error("{0}")]
    Program(String),
    /// The environment could not be set up, a setting can't work, or there is no room for the job.
    #[error("{0}")]
    Setup(String),
    /// The job failed.
    #[error("the job failed: {0}")]
    Failed(Failure),
    /// Somebody canceled it.
    #[error("the job was canceled")]
    Canceled,
    /// The process's root actor is gone; the job's log, if it lies on disk, is whole.
    #[error("the node that ran the job has stopped")]
    NodeStopped,
}

impl JobError {
    /// The error of an outcome, unless it is a good one.
    pub(crate) fn of(outcome: JobOutcome) -> Result<(), Self> {
        match outcome {
            JobOutcome::Completed => Ok(()),
            JobOutcome::Canceled => Err(Self::Canceled),
            JobOutcome::Failed(failure) => Err(Self::Failed(failure)),
        }
    }
}
