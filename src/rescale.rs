//! A running job, at another parallelism.

use rivus_actors::{JobStatus, NodeMessage};
use rivus_core::CheckpointKind;
use rivus_core::job::SavepointRequest;
use uuid::Uuid;

use crate::error::JobError;
use crate::handle::{JobHandle, is_known, outcome_of};

impl JobHandle {
    /// Runs the job at another parallelism: of every operator that has none of its own. It stops with a savepoint of its own and goes
    /// on from that, under the same id, with all output exactly once. The request outlives the leader that it is told to; if the
    /// savepoint fails, the job goes on as it was. Returns when the log says that it goes on with the new plan.
    ///
    /// One subtask of a source that takes over from several reads their splits one after the other, unless the source sees to their order:
    /// what is behind then is late, where event time is used.
    ///
    /// # Errors
    /// [`JobError::Graph`] if it can't run so, [`JobError::Setup`] if there is no room for it, and [`JobError::Savepoint`] says why it
    /// goes on as it was; [`JobError::NodeStopped`].
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = rivus::StreamEnvironment::builder().slots(3).build();
    /// let numbers = GeneratorSource::new(|n, _| n).rate(1_000).count(300);
    /// let counts = env.from_source(numbers).key_by(|n| n % 3).count().collect();
    /// let job = env.start("counts").await?;
    /// job.rescale(3).await?;
    /// assert_eq!(job.view().parallelism, Some(3));
    /// job.wait().await?;
    /// assert_eq!(counts.values().iter().map(|(_, count)| *count).max(), Some(100));
    /// # Ok(()) }
    /// ```
    pub async fn rescale(&self, parallelism: u32) -> Result<(), JobError> {
        self.rescale_as(self.cluster.new_id(), parallelism).await
    }

    /// The same by the name of a request, which may have been made before.
    pub(crate) async fn rescale_as(&self, token: Uuid, parallelism: u32) -> Result<(), JobError> {
        let mut view = self.view.clone();
        if !is_known(&view.borrow(), token) {
            self.check_rescaled(parallelism)?;
            let request = SavepointRequest {
                token,
                kind: CheckpointKind::Stop { drain: false },
                rescale_to: Some(parallelism),
            };
            let _ = self.node().cast(NodeMessage::Savepoint(self.job, request));
        }
        loop {
            let now = view.borrow_and_update().clone();
            let ended = matches!(now.status, JobStatus::Ended(_));
            match outcome_of(&now, token) {
                Some(Err(reason)) => {
                    let reason = format!("the job goes on as it was: {reason}");
                    return Err(JobError::Savepoint(reason));
                }
                Some(Ok(_)) if !now.is_rescaling => return Ok(()),
                _ if ended => return Err(JobError::Ended),
                Some(Ok(_)) | None => {}
            }
            view.changed().await.map_err(|_| JobError::NodeStopped)?;
        }
    }

    /// Refuses what can't be before the job is stopped for it.
    fn check_rescaled(&self, parallelism: u32) -> Result<(), JobError> {
        let graph = self.cluster.graph(self.job).ok_or(JobError::Ended)?;
        if graph.written.nodes.iter().all(|node| !node.follows_job) {
            return Err(JobError::Setup(
                "every operator has a parallelism of its own: leave .parallelism(..) out of those that are to follow the job's"
                    .to_owned(),
            ));
        }
        self.cluster.check_room(&graph.rescaled(parallelism)?)
    }
}
