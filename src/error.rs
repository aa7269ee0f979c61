//! Why a job could not be run to its end.

use std::fmt;

use rivus_core::job::JobOutcome;
use rivus_core::{Failure, GraphError, UserError};
use thiserror::Error;

/// Why a job could not be run to its end.
///
/// ```
/// use rivus::{JobError, RestartStrategy, StreamEnvironment};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// let env = StreamEnvironment::builder().restart(RestartStrategy::None).build();
/// let error = env.execute("nothing").await.unwrap_err();
/// assert_eq!(error.to_string(), "the job is empty: begin with a source, such as env.from_collection(..)");
///
/// env.from_collection(vec![1, 0]).map(|n| 1 / n).uid("inverse").print();
/// let JobError::Failed(failure) = env.execute("inverses").await.unwrap_err() else { panic!() };
/// assert_eq!(failure.message, "panicked: attempt to divide by zero");
///
/// // What a `main` that returns it prints.
/// let error = env.execute("nothing").await.unwrap_err();
/// assert_eq!(format!("{error:?}"), error.to_string());
/// # Ok(()) }
/// ```
#[derive(Error)]
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
    /// What the environment needs can't be reached at present, such as etcd. Later it may be.
    #[error("{0}")]
    Unreachable(String),
    /// The job failed.
    #[error("the job failed: {0}")]
    Failed(Failure),
    /// Somebody canceled it.
    #[error("the job was canceled")]
    Canceled,
    /// A savepoint could not be made or read, or the job doesn't fit it.
    #[error("{0}")]
    Savepoint(String),
    /// It ended well, before what was waited for.
    #[error("the job ended before what was waited for")]
    Ended,
    /// The process's root actor is gone; the job's log, if it lies on disk, is whole.
    #[error("the node that ran the job has stopped")]
    NodeStopped,
}

/// As it is displayed: a `main` that returns it prints what is to be mended.
impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JobError {
    /// What can't be set up, with the chain of its causes.
    pub(crate) fn setup(error: impl Into<UserError>) -> Self {
        Self::Setup(Failure::user(&error.into()).message)
    }

    /// Whether the job failed because nobody reads what it prints any more, as behind `| head`: a program may end without a word then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// match env.execute("numbers").await {
    ///     Err(closed) if closed.is_closed_output() => Ok(()),
    ///     done => done.map(drop),
    /// }
    /// # }
    /// ```
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.closed_output)
    }

    /// The error of an outcome, unless it is a good one.
    pub(crate) fn of(outcome: JobOutcome) -> Result<(), Self> {
        match outcome {
            JobOutcome::Completed | JobOutcome::Stopped { .. } => Ok(()),
            JobOutcome::Canceled => Err(Self::Canceled),
            JobOutcome::Failed(failure) => Err(Self::Failed(failure)),
        }
    }
}
