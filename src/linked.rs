//! A job as a child in an application's own supervision tree.

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};

use crate::error::JobError;
use crate::handle::{JobHandle, JobResult};

/// Stands for a job among an application's actors; see [`JobHandle::link`]. It takes no messages but its own.
pub struct LinkedJob;

/// What a [`LinkedJob`] tells itself.
pub struct LinkedJobMessage(Result<JobResult, JobError>);

/// The job, and the actor's word on it.
pub struct LinkedJobState {
    job: JobHandle,
    over: bool,
}

impl JobHandle {
    /// Puts the job under a supervisor of the application's own: an actor that stands for the job and ends with it.
    ///
    /// | what happens | what the other sees |
    /// |---|---|
    /// | the job has read all, or was stopped with a savepoint | `SupervisionEvent::ActorTerminated`, "the job is over" |
    /// | it fails for good, or is canceled | `SupervisionEvent::ActorFailed` with the [`JobError`] |
    /// | it restarts after a failure | nothing: that is its own supervisors' affair |
    /// | the actor is stopped or killed, or its supervisor is | the job is canceled |
    ///
    /// # Errors
    /// [`JobError::Setup`] if the supervisor is gone; the job goes on.
    ///
    /// ```
    /// use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
    /// use rivus::{JobHandle, StreamEnvironment};
    ///
    /// /// Stops when its job is over.
    /// struct Service;
    ///
    /// impl Actor for Service {
    ///     type Msg = ();
    ///     type State = ();
    ///     type Arguments = JobHandle;
    ///     async fn pre_start(&self, myself: ActorRef<()>, job: JobHandle) -> Result<(), ActorProcessingErr> {
    ///         job.link(myself.get_cell()).await?;
    ///         Ok(())
    ///     }
    ///     async fn handle_supervisor_evt(
    ///         &self, myself: ActorRef<()>, event: SupervisionEvent, _: &mut (),
    ///     ) -> Result<(), ActorProcessingErr> {
    ///         if let SupervisionEvent::ActorFailed(_, why) = &event {
    ///             println!("{why}"); // start it again, or fail too
    ///         }
    ///         if !matches!(event, SupervisionEvent::ActorStarted(_)) {
    ///             myself.stop(None);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let env = StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let job = env.start("numbers").await?;
    /// let (_service, over) = Actor::spawn(None, Service, job).await?;
    /// over.await?;
    /// # Ok(()) }
    /// ```
    pub async fn link(
        &self,
        supervisor: ActorCell,
    ) -> Result<ActorRef<LinkedJobMessage>, JobError> {
        let spawned = Actor::spawn_linked(None, LinkedJob, self.clone(), supervisor).await;
        match spawned {
            Ok((actor, _)) => Ok(actor),
            Err(error) => Err(JobError::Setup(format!(
                "the job can't be linked to its supervisor: {error}"
            ))),
        }
    }
}

impl Actor for LinkedJob {
    type Msg = LinkedJobMessage;
    type State = LinkedJobState;
    type Arguments = JobHandle;

    async fn pre_start(
        &self,
        myself: ActorRef<LinkedJobMessage>,
        job: JobHandle,
    ) -> Result<LinkedJobState, ActorProcessingErr> {
        let waiting = job.clone();
        tokio::spawn(async move {
            let outcome = waiting.wait().await;
            let _ = myself.cast(LinkedJobMessage(outcome));
        });
        Ok(LinkedJobState { job, over: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<LinkedJobMessage>,
        LinkedJobMessage(outcome): LinkedJobMessage,
        state: &mut LinkedJobState,
    ) -> Result<(), ActorProcessingErr> {
        state.over = true;
        outcome?;
        myself.stop(Some("the job is over".to_owned()));
        Ok(())
    }
}

impl Drop for LinkedJobState {
    fn drop(&mut self) {
        // However the actor ended: a supervisor that is gone would never hear of the job.
        if !self.over {
            self.job.cancel();
        }
    }
}
