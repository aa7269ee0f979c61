//! Which jobs there are: submits new ones and recovers those that an earlier leader left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::{JobOptions, LogEntry, ProgramRef, StartState};
use rivus_core::{Failure, FailureScope, JobId, codec};
use rivus_state::Append;

use crate::context::NodeContext;
use crate::job_manager::JobManagerMessage;
use crate::probe::{ActorKind, Step};

/// What the actor is told.
pub enum DispatcherMessage {
    /// Look which jobs have a log.
    Recover,
    /// Jobs that have a log.
    Recovered(Result<Found, String>),
    /// A new job. Asked for again by the client's process until a master has begun with it.
    Submit {
        /// Its id.
        job: JobId,
        /// What is asked for.
        submission: Submission,
    },
    /// The job's first entry is in its log, or could not be written.
    Submitted {
        /// The job.
        job: JobId,
        /// What was asked for, to try again, and why it could not be written.
        failed: Option<(Submission, Failure)>,
    },
}

/// Jobs that have a log.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that this process can run.
    jobs: Vec<JobId>,
    /// Those that are over. A TaskManager that had no leader when they ended may not know it.
    over: Vec<JobId>,
}

/// A new job.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its name.
    pub name: String,
    /// How any process builds its plan; none if only this one can, which was handed it.
    pub program: Option<Box<ProgramRef>>,
    /// Its settings.
    pub options: Box<JobOptions>,
    /// The savepoint that it goes on from, if it begins with one.
    pub start: Option<Box<StartState>>,
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

/// Wait before a job is submitted again that could not be logged.
const RETRY: Duration = Duration::from_millis(100);

/// Failed tries after which its client is told.
const RETRIES: u32 = 50;

/// What the actor remembers: nothing that the store doesn't know.
pub struct DispatcherState {
    args: DispatcherArgs,
    myself: ActorRef<DispatcherMessage>,
    /// Failed tries to log new jobs.
    failures: BTreeMap<JobId, u32>,
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
        let state = DispatcherState {
            args,
            myself,
            failures: BTreeMap::new(),
        };
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
                match jobs {
                    Ok(Found { jobs, over }) => {
                        state.args.node.views.recovered(&jobs);
                        let _ = state.args.manager.cast(JobManagerMessage::JobsOver(over));
                        for job in jobs {
                            let _ = state.args.manager.cast(JobManagerMessage::StartMaster(job));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error, "the jobs' logs can't be listed, again soon");
                        let node = &state.args.node;
                        node.send_later(&state.myself, RETRY, DispatcherMessage::Recover);
                    }
                }
            }
            DispatcherMessage::Recover => state.recover(),
            DispatcherMessage::Submit { job, submission } => {
                state.pass(Step::Submit)?;
                state.submit(job, submission);
            }
            DispatcherMessage::Submitted { job, failed: None } => {
                state.failures.remove(&job);
                let _ = state.args.manager.cast(JobManagerMessage::StartMaster(job));
            }
            DispatcherMessage::Submitted {
                job,
                failed: Some((submission, failure)),
            } => state.submit_failed(job, submission, failure),
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
        let (node, myself) = (Arc::clone(&self.args.node), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let jobs = Failure::caught(|| recoverable(&node)).map_err(|failure| failure.message);
            let _ = myself.cast(DispatcherMessage::Recovered(jobs));
        }));
    }

    fn submit(&self, job: JobId, submission: Submission) {
        let node = Arc::clone(&self.args.node);
        let (nonce, myself) = (node.seed.nonce(), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let failed = match Failure::caught(|| write(&node, job, &submission, nonce)) {
                Ok(()) => None,
                Err(failure) => Some((submission, failure)),
            };
            let _ = myself.cast(DispatcherMessage::Submitted { job, failed });
        }));
    }

    /// The storage may be back in a moment.
    fn submit_failed(&mut self, job: JobId, submission: Submission, failure: Failure) {
        let failures = self.failures.entry(job).or_insert(0);
        *failures += 1;
        if *failures > RETRIES || failure.scope == FailureScope::Job {
            self.failures.remove(&job);
            let error = failure.message;
            let failed = JobManagerMessage::SubmitFailed { job, error };
            let _ = self.args.manager.cast(failed);
            return;
        }
        tracing::warn!(%job, %failure, "a job can't be logged, again soon");
        let again = DispatcherMessage::Submit { job, submission };
        self.args.node.send_later(&self.myself, RETRY, again);
    }
}

/// The jobs that have a log here. Plans are built where they are not at hand.
fn recoverable(node: &NodeContext) -> Result<Found, Failure> {
    let jobs = node
        .log
        .jobs()
        .map_err(|error| Failure::user(&error.into()))?;
    let mut found = Found::default();
    for job in jobs {
        match recover(node, job) {
            Ok(Recovered::CanRun) => found.jobs.push(job),
            Ok(Recovered::Over) => found.over.push(job),
            Ok(Recovered::Foreign) => {}
            Err(failure) => tracing::warn!(%job, %failure, "the job is left alone here"),
        }
    }
    Ok(found)
}

/// What a process can do about a job that has a log.
enum Recovered {
    CanRun,
    Over,
    /// Its program is in the process that wrote it.
    Foreign,
}

fn recover(node: &NodeContext, job: JobId) -> Result<Recovered, Failure> {
    if node.programs.get(job).is_some() {
        return Ok(Recovered::CanRun);
    }
    let state = crate::job_master::replay(&node.log, job)?;
    match (state.outcome, state.program) {
        (Some(_), _) => Ok(Recovered::Over),
        (None, None) => Ok(Recovered::Foreign),
        (None, Some(program)) => {
            node.programs.obtain(job, Some(&program))?;
            Ok(Recovered::CanRun)
        }
    }
}

/// Writes a job's first entry.
fn write(
    node: &NodeContext,
    job: JobId,
    submission: &Submission,
    nonce: u128,
) -> Result<(), Failure> {
    let graph = node.programs.obtain(job, submission.program.as_deref())?;
    let Submission {
        name,
        program,
        options,
        start,
    } = submission.clone();
    let entry = LogEntry::Submitted {
        name,
        fingerprint: graph.fingerprint(),
        program,
        options,
        start,
    };
    let bytes = codec::encode(&entry)?;
    match node.log.append(job, 0, nonce, &bytes) {
        // Lost: an earlier try has succeeded after all.
        Ok(Append::Written | Append::Lost { .. }) => Ok(()),
        Err(error) => Err(Failure::user(&error.into())),
    }
}
