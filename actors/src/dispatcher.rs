//! Which jobs there are: submits new ones and recovers those that an earlier leader left.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::{JobOptions, LogEntry};
use rivus_core::{Failure, JobId, codec};

use crate::context::NodeContext;
use crate::job_manager::JobManagerMessage;
use crate::probe::{ActorKind, Step};

/// What the actor is told.
pub enum DispatcherMessage {
    /// Jobs that have a log.
    Recovered(Result<Vec<JobId>, String>),
    /// A new job. Asked for again by the client's process until a master has begun with it.
    Submit {
        /// Its id.
        job: JobId,
        /// Its name.
        name: String,
        /// Its settings.
        options: Box<JobOptions>,
    },
    /// The job's first entry is in its log, or could not be written.
    Submitted {
        /// The job.
        job: JobId,
        /// Why not.
        error: Option<String>,
    },
}

/// What the actor is started with.
pub struct DispatcherArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// Its supervisor.
    pub manager: ActorRef<JobManagerMessage>,
}

/// The actor.
pub struct DispatcherActor;

/// What the actor remembers: nothing that the store doesn't know.
pub struct DispatcherState {
    args: DispatcherArgs,
    myself: ActorRef<DispatcherMessage>,
}

impl Actor for DispatcherActor {
    type Msg = DispatcherMessage;
    type State = DispatcherState;
    type Arguments = DispatcherArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<DispatcherMessage>,
        args: DispatcherArgs,
    ) -> Result<DispatcherState, ActorProcessingErr> {
        args.node
            .spawned(ActorKind::Dispatcher, &"", myself.get_cell());
        let state = DispatcherState { args, myself };
        state.recover();
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<DispatcherMessage>,
        message: DispatcherMessage,
        state: &mut DispatcherState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DispatcherMessage::Recovered(jobs) => {
                state.pass(Step::Recover)?;
                for job in jobs? {
                    let _ = state.args.manager.cast(JobManagerMessage::StartMaster(job));
                }
            }
            DispatcherMessage::Submit { job, name, options } => {
                state.pass(Step::Submit)?;
                state.submit(job, name, options);
            }
            DispatcherMessage::Submitted { job, error } => {
                let message = match error {
                    None => JobManagerMessage::StartMaster(job),
                    Some(error) => JobManagerMessage::SubmitFailed { job, error },
                };
                let _ = state.args.manager.cast(message);
            }
        }
        Ok(())
    }
}

impl DispatcherState {
    fn pass(&self, step: Step) -> Result<(), ActorProcessingErr> {
        let cell = self.myself.get_cell();
        let node = &self.args.node;
        node.pass(ActorKind::Dispatcher, &"", step, &cell)
    }

    fn recover(&self) {
        let (log, myself) = (self.args.node.log.clone(), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let jobs = log
                .jobs()
                .map_err(|error| Failure::user(&error.into()).message);
            let _ = myself.cast(DispatcherMessage::Recovered(jobs));
        }));
    }

    fn submit(&self, job: JobId, name: String, options: Box<JobOptions>) {
        let node = &self.args.node;
        let Some(graph) = node.programs.get(&job) else {
            return;
        };
        let entry = LogEntry::Submitted {
            name,
            fingerprint: graph.fingerprint(),
            options,
        };
        let (log, nonce, myself) = (node.log.clone(), node.seed.nonce(), self.myself.clone());
        node.blocking.run(Box::new(move || {
            let written = codec::encode(&entry)
                .map_err(|error| Failure::from(error).message)
                .and_then(|bytes| {
                    // Lost: an earlier try has succeeded after all.
                    log.append(job, 0, nonce, &bytes)
                        .map_err(|error| Failure::user(&error.into()).message)
                });
            let error = written.err();
            let _ = myself.cast(DispatcherMessage::Submitted { job, error });
        }));
    }
}
