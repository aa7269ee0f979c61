//! Which jobs there are: submits new ones and recovers those that an earlier leader left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::{EndedJobs, JobOptions, JobState, LogEntry, Logged, ProgramRef, StartState};
use rivus_core::{Failure, FailureScope, JobGraph, JobId, Operator, UserError, codec};
use rivus_state::Append;

use crate::context::NodeContext;
use crate::job_manager::JobManagerMessage;
use crate::probe::{ActorKind, Step};
use crate::view::JobView;

/// What the actor is told.
pub enum DispatcherMessage {
    /// Look which jobs have a log.
    Recover,
    /// A job that has a log.
    Found(JobId, Recovered),
    /// All that have one have been looked at.
    Recovered(Result<(), String>),
    /// A job has ended.
    Ended(JobId),
    /// A job that ended long ago has kept a checkpoint.
    Keeps(JobId),
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

/// What a process can do about a job that has a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovered {
    /// Run it. What its log says comes with it, unless this process knows the job already.
    CanRun(Option<Box<JobView>>),
    /// It is over. A TaskManager that had no leader when it ended may not know it.
    Over(Box<JobView>),
    /// Its program is in the process that wrote it.
    Foreign,
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
    /// The term in which this leader was elected.
    pub term: u64,
    /// Its supervisor.
    pub manager: ActorRef<JobManagerMessage>,
}

/// The actor.
pub struct DispatcherActor;

/// Wait before a job is submitted again that could not be logged, or whose sink could not be written to in that moment.
const RETRY: Duration = Duration::from_millis(100);

/// Failed tries after which its client is told.
const RETRIES: u32 = 50;

/// Jobs that are over and of which the log is kept, so that they don't come back; and as many of which it is kept since nothing goes
/// on from their checkpoints without.
const ENDED: usize = 100;

/// What the actor remembers: nothing that the store doesn't know.
pub struct DispatcherState {
    args: DispatcherArgs,
    myself: ActorRef<DispatcherMessage>,
    /// Failed tries to submit new jobs.
    failures: BTreeMap<JobId, u32>,
    /// Jobs that are over, those first that were when this leader came.
    ended: EndedJobs,
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
            ended: EndedJobs::of_each(ENDED),
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
            DispatcherMessage::Found(job, found) => state.found(job, found),
            DispatcherMessage::Ended(job) => state.ended(job),
            DispatcherMessage::Keeps(job) => state.keeps(job),
            DispatcherMessage::Recovered(looked) => {
                state.pass(Step::Recover)?;
                match looked {
                    Ok(()) => state.args.node.stand.knows_all(state.args.term),
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
            let found = |job, found| {
                let _ = myself.cast(DispatcherMessage::Found(job, found));
            };
            let looked = Failure::caught(|| recoverable(&node, found));
            let looked = looked.map_err(|failure| failure.message);
            let _ = myself.cast(DispatcherMessage::Recovered(looked));
        }));
    }

    fn found(&mut self, job: JobId, found: Recovered) {
        match found {
            Recovered::CanRun(view) => {
                let view = view.map_or_else(|| JobView::new(job, String::new()), |view| *view);
                self.args.node.views.found(view);
                let _ = self.args.manager.cast(JobManagerMessage::StartMaster(job));
            }
            Recovered::Over(view) => {
                self.args.node.views.found(*view);
                let _ = self.args.manager.cast(JobManagerMessage::JobOver(job));
                self.ended(job);
            }
            Recovered::Foreign => {}
        }
    }

    /// Keeps the logs of the last jobs that have ended, and deletes those of others that have kept no checkpoint.
    fn ended(&mut self, job: JobId) {
        let Some(oldest) = self.ended.ended(job) else {
            return;
        };
        let (node, myself) = (Arc::clone(&self.args.node), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            if let Some(state) = over(&node, oldest) {
                match state.kept().is_empty() {
                    true => delete(&node, oldest),
                    false => drop(myself.cast(DispatcherMessage::Keeps(oldest))),
                }
            }
        }));
    }

    /// Keeps the log of a job that has kept a checkpoint, unless that is one too many: then the oldest goes.
    fn keeps(&mut self, job: JobId) {
        let Some(oldest) = self.ended.keeps(job) else {
            return;
        };
        let node = Arc::clone(&self.args.node);
        self.args.node.blocking.run(Box::new(move || {
            if over(&node, oldest).is_some() {
                tracing::warn!(
                    job = %oldest,
                    "{ENDED} others have ended after it and kept a checkpoint: its log is deleted, and nothing goes on from its own any more; \
                     what lies in jobs/{oldest} stays, and may be deleted by hand"
                );
                delete(&node, oldest);
            }
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

    /// The storage may be back in a moment, or a disk have room.
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
        tracing::warn!(%job, %failure, "a job can't be submitted yet, again soon");
        let again = DispatcherMessage::Submit { job, submission };
        self.args.node.send_later(&self.myself, RETRY, again);
    }
}

/// What the log says of a job that is over; none if it is running again, or can't be read.
fn over(node: &NodeContext, job: JobId) -> Option<JobState> {
    match crate::job_master::replay(&node.log, job) {
        Ok(state) => state.outcome.is_some().then_some(state),
        Err(failure) => {
            tracing::warn!(%job, %failure, "the log of a job that is over can't be read, and stays");
            None
        }
    }
}

/// Deletes the log of a job that is over.
fn delete(node: &NodeContext, job: JobId) {
    if let Err(error) = node.log.delete(job) {
        let failure = Failure::user(&error.into());
        tracing::warn!(%job, %failure, "the log of a job that is over could not be deleted");
    }
}

/// Tells of each job that has a log here, as soon as it is known what can be done about it. Those whose plans are at hand
/// come first: their logs need not be read for that. Plans are built where they are not.
fn recoverable(node: &NodeContext, found: impl Fn(JobId, Recovered)) -> Result<(), Failure> {
    let jobs = node
        .log
        .jobs()
        .map_err(|error| Failure::user(&error.into()))?;
    let at_hand = |job: &JobId| node.programs.get(*job).is_some();
    let (at_hand, others): (Vec<JobId>, Vec<JobId>) = jobs.into_iter().partition(at_hand);
    for job in at_hand.into_iter().chain(others) {
        match recover(node, job) {
            Ok(recovered) => found(job, recovered),
            Err(failure) => tracing::warn!(%job, %failure, "the job is left alone here"),
        }
    }
    Ok(())
}

fn recover(node: &NodeContext, job: JobId) -> Result<Recovered, Failure> {
    if node.programs.get(job).is_some() {
        return Ok(Recovered::CanRun(None));
    }
    let (state, history) = crate::job_master::look(&node.log, job)?;
    let view = Box::new(JobView::of_log(job, &state, &Arc::new(history)));
    match (state.outcome, state.program) {
        (Some(_), _) => Ok(Recovered::Over(view)),
        (None, None) => Ok(Recovered::Foreign),
        (None, Some(program)) => {
            node.programs.obtain(job, Some(&program))?;
            Ok(Recovered::CanRun(Some(view)))
        }
    }
}

/// Asks each source for its splits, where the job begins anew, and each sink for its target, where it may be written from here: to
/// see whether there are any.
fn try_out(graph: &JobGraph, anew: bool, runs_tasks: bool) -> Result<(), Failure> {
    for vertex in &graph.vertices {
        for node in vertex.nodes.iter().map(|node| graph.node(*node)) {
            let tried = Failure::caught(|| {
                Ok(match &node.operator {
                    Operator::Source(source) if anew => source.splits(vertex.parallelism).map(drop),
                    Operator::Source(_) => Ok(()),
                    Operator::Transform(operator) if runs_tasks => operator.prepare(),
                    Operator::Transform(_) => Ok(()),
                })
            });
            let failure = match tried {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => refusal(&error),
                Err(panicked) => Failure::job(panicked.message),
            };
            let scope = failure.scope;
            let told = Failure::job(failure.blame(&node.uid).to_string());
            return Err(Failure { scope, ..told });
        }
    }
    Ok(())
}

/// What can't be used refuses the job, unless it says itself that it may be usable in a moment.
fn refusal(error: &UserError) -> Failure {
    let failure = Failure::user(error);
    match error.is::<Failure>() {
        true => failure,
        false => Failure::job(failure.message),
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
    let known = node.log.read_from(job, 0);
    if known.is_ok_and(|entries| entries.is_empty()) {
        // What a source can't find, or a sink can't write, is said before there is a job that could never run, and for ever have
        // its id.
        let runs_tasks = node.config.task_managers > 0;
        try_out(&graph, submission.start.is_none(), runs_tasks)?;
    }
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
    let at = node.clock.unix_millis();
    let bytes = codec::encode(&Logged { at, entry })?;
    match node.log.append(job, 0, nonce, &bytes) {
        // Lost: an earlier try has succeeded after all.
        Ok(Append::Written | Append::Lost { .. }) => Ok(()),
        Err(error) => Err(Failure::user(&error.into())),
    }
}
