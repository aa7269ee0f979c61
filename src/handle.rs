//! A running job, from outside.

use std::sync::Arc;

use ractor::ActorRef;
use rivus_actors::{JobStatus, JobView, NodeMessage};
use rivus_core::JobId;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::error::JobError;

/// A job that was started.
#[derive(Clone)]
pub struct JobHandle {
    pub(crate) job: JobId,
    pub(crate) view: watch::Receiver<JobView>,
    pub(crate) cluster: Arc<Cluster>,
}

/// A job that has come to its end.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// The job as it was seen last.
    pub view: JobView,
}

impl JobHandle {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.job
    }

    /// The job at this moment: status, figures of every subtask, checkpoints, restarts, takeovers.
    pub fn view(&self) -> JobView {
        self.view.borrow().clone()
    }

    /// Where the job stands.
    pub fn status(&self) -> JobStatus {
        self.view.borrow().status.clone()
    }

    /// Asks for the job's end. The request outlives the leader that it is told to.
    pub fn cancel(&self) {
        let _ = self.node().cast(NodeMessage::Cancel(self.job));
    }

    /// Waits until something about the job has changed.
    ///
    /// # Errors
    /// [`JobError::NodeStopped`] if nothing will change any more.
    pub async fn changed(&mut self) -> Result<(), JobError> {
        self.view.changed().await.map_err(|_| JobError::NodeStopped)
    }

    /// Waits for the job's end.
    ///
    /// # Errors
    /// If it failed, was canceled, or its process's root actor is gone.
    pub async fn wait(mut self) -> Result<JobResult, JobError> {
        loop {
            let view = self.view.borrow_and_update().clone();
            if let JobStatus::Ended(outcome) = &view.status {
                JobError::of(outcome.clone())?;
                return Ok(JobResult { view });
            }
            self.changed().await?;
        }
    }

    /// Kills the leading JobManager, to see that the job doesn't notice.
    pub fn kill_leader(&self) {
        let _ = self.node().cast(NodeMessage::KillLeader);
    }

    fn node(&self) -> &ActorRef<NodeMessage> {
        self.cluster.node()
    }
}
