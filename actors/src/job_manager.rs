//! The leader: lives exactly as long as its process leads. Supervises the Dispatcher, the ResourceManager
//! and a JobMaster per job. Its death ends none of the jobs' tasks, which hang on another branch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::JobId;
use rivus_core::job::{JobOutcome, SavepointRequest};

use crate::context::NodeContext;
use crate::dispatcher::{DispatcherActor, DispatcherArgs, DispatcherMessage, Submission};
use crate::job_master::{JobMasterActor, JobMasterArgs, JobMasterMessage};
use crate::node::NodeMessage;
use crate::probe::{ActorKind, Step};
use crate::remote::{self, Caller};
use crate::resource_manager::{ResourceManagerActor, ResourceManagerMessage};
use crate::task_manager::TaskManagerMessage;
use crate::view::JobView;

/// What the actor is told.
pub enum JobManagerMessage {
    /// A new job, for the Dispatcher.
    Submit {
        /// Its id.
        job: JobId,
        /// What is asked for.
        submission: Submission,
    },
    /// A job could not be logged.
    SubmitFailed {
        /// The job.
        job: JobId,
        /// Why.
        error: String,
    },
    /// A job has a log: begin with it.
    StartMaster(JobId),
    /// A job has another plan: another master begins with it.
    BeginAgain(JobId),
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// How it ended.
        outcome: JobOutcome,
        /// Whether it has just ended, and hadn't before this leader came.
        is_news: bool,
    },
    /// Somebody asks for a job's end.
    Cancel(JobId),
    /// Somebody asks for a savepoint.
    Savepoint(JobId, SavepointRequest),
    /// A job at this moment.
    View(Box<JobView>),
    /// Another leader has written to a log: this one's time is over.
    Fenced,
    /// The actor of a TaskManager of this process has died.
    TaskManagerDied(ActorId),
    /// A TaskManager of another process has connected.
    TaskManagerCalled(Box<Caller>),
    /// A job that had ended before this leader came.
    JobOver(JobId),
}

/// What the actor is started with.
pub struct JobManagerArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// Its supervisor.
    pub root: ActorRef<NodeMessage>,
    /// The term in which it was elected.
    pub term: u64,
}

/// The actor.
pub struct JobManagerActor;

/// A child that dies more often than this in [`INTENSITY_PERIOD`] takes its parent down.
const INTENSITY: usize = 30;

/// See [`INTENSITY`].
const INTENSITY_PERIOD: Duration = Duration::from_secs(10);

/// Counts deaths against an intensity, by OTP's rule.
#[derive(Default)]
pub(crate) struct Intensity(VecDeque<Duration>);

impl Intensity {
    /// Notes a death. Returns whether there were too many.
    pub(crate) fn exceeded(&mut self, now: Duration) -> bool {
        self.0.push_back(now);
        while self
            .0
            .front()
            .is_some_and(|first| now.saturating_sub(*first) > INTENSITY_PERIOD)
        {
            self.0.pop_front();
        }
        self.0.len() > INTENSITY
    }
}

/// The wait before a JobMaster is started again that has died twice in a row, the first time without any; it
/// doubles with each further death.
const MASTER_WAIT: Duration = Duration::from_millis(100);

/// The longest wait, within [`INTENSITY_PERIOD`] so that a master that dies at once stays at it.
const MASTER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Deaths in a row of one job's masters: so that one that can't live doesn't spin, nor take the JobManager and
/// all other jobs' masters down with it.
#[derive(Default)]
struct Backoff {
    deaths: u32,
    last: Duration,
}

impl Backoff {
    /// Notes a death. Returns how long to wait.
    fn after_death(&mut self, now: Duration) -> Duration {
        if now.saturating_sub(self.last) > INTENSITY_PERIOD {
            self.deaths = 0;
        }
        self.last = now;
        self.deaths += 1;
        match self.deaths {
            1 => Duration::ZERO,
            deaths => MASTER_WAIT
                .saturating_mul(1 << (deaths - 2).min(16))
                .min(MASTER_WAIT_MAX),
        }
    }
}

/// What the actor remembers.
pub struct JobManagerState {
    args: JobManagerArgs,
    myself: ActorRef<JobManagerMessage>,
    dispatcher: ActorRef<DispatcherMessage>,
    resource_manager: ActorRef<ResourceManagerMessage>,
    masters: BTreeMap<JobId, ActorRef<JobMasterMessage>>,
    /// Stand-ins for TaskManagers of other processes.
    stand_ins: BTreeMap<ActorId, ActorRef<TaskManagerMessage>>,
    /// Jobs whose end was asked for; their masters are told when they start.
    cancels: BTreeSet<JobId>,
    deaths: Intensity,
    backoffs: BTreeMap<JobId, Backoff>,
}

impl Actor for JobManagerActor {
    type Msg = JobManagerMessage;
    type State = JobManagerState;
    type Arguments = JobManagerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<JobManagerMessage>,
        args: JobManagerArgs,
    ) -> Result<JobManagerState, ActorProcessingErr> {
        let cell = myself.get_cell();
        args.node.spawned(ActorKind::JobManager, &args.term, cell);
        let resource_manager = spawn_resource_manager(&args, &myself).await?;
        let dispatcher = spawn_dispatcher(&args, &myself).await?;
        let state = JobManagerState {
            args,
            myself,
            dispatcher,
            resource_manager,
            masters: BTreeMap::new(),
            stand_ins: BTreeMap::new(),
            cancels: BTreeSet::new(),
            deaths: Intensity::default(),
            backoffs: BTreeMap::new(),
        };
        state.announce();
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<JobManagerMessage>,
        message: JobManagerMessage,
        state: &mut JobManagerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JobManagerMessage::Submit { job, submission } => {
                let submit = DispatcherMessage::Submit { job, submission };
                let _ = state.dispatcher.cast(submit);
            }
            JobManagerMessage::SubmitFailed { job, error } => {
                let _ = state
                    .args
                    .root
                    .cast(NodeMessage::SubmitFailed { job, error });
            }
            JobManagerMessage::StartMaster(job) => {
                if !state.masters.contains_key(&job) {
                    state.start_master(job).await?;
                }
            }
            JobManagerMessage::BeginAgain(job) => {
                if let Some(master) = state.masters.remove(&job) {
                    master.stop(None);
                }
                state.start_master(job).await?;
            }
            JobManagerMessage::JobEnded {
                job,
                outcome,
                is_news,
            } => {
                state.cancels.remove(&job);
                state.backoffs.remove(&job);
                if let Some(master) = state.masters.remove(&job) {
                    master.stop(None);
                }
                let _ = state.dispatcher.cast(DispatcherMessage::Ended(job));
                let ended = NodeMessage::JobEnded {
                    job,
                    outcome,
                    is_news,
                };
                let _ = state.args.root.cast(ended);
            }
            JobManagerMessage::Cancel(job) => {
                state.cancels.insert(job);
                if let Some(master) = state.masters.get(&job) {
                    let _ = master.cast(JobMasterMessage::Cancel);
                }
            }
            JobManagerMessage::Savepoint(job, request) => {
                if let Some(master) = state.masters.get(&job) {
                    let _ = master.cast(JobMasterMessage::Savepoint(request));
                }
            }
            JobManagerMessage::View(view) => {
                let _ = state.args.root.cast(NodeMessage::View(view));
            }
            JobManagerMessage::Fenced => return Err("fenced by another leader".into()),
            JobManagerMessage::TaskManagerDied(id) => {
                let _ = state
                    .resource_manager
                    .cast(ResourceManagerMessage::Died(id));
            }
            JobManagerMessage::TaskManagerCalled(caller) => {
                let resources = state.resource_manager.clone();
                let supervisor = state.myself.get_cell();
                let node = &state.args.node;
                let stand_in = remote::take_on(node, *caller, resources, supervisor).await?;
                state.stand_ins.insert(stand_in.get_id(), stand_in);
            }
            JobManagerMessage::JobOver(job) => {
                let release = ResourceManagerMessage::ReleaseJob(job);
                let _ = state.resource_manager.cast(release);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<JobManagerMessage>,
        event: SupervisionEvent,
        state: &mut JobManagerState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, _)
        | SupervisionEvent::ActorTerminated(actor, _, _) = event
        {
            state.child_ended(&actor).await?;
        }
        Ok(())
    }
}

async fn spawn_resource_manager(
    args: &JobManagerArgs,
    myself: &ActorRef<JobManagerMessage>,
) -> Result<ActorRef<ResourceManagerMessage>, ActorProcessingErr> {
    let node = Arc::clone(&args.node);
    let (actor, _) =
        Actor::spawn_linked(None, ResourceManagerActor, node, myself.get_cell()).await?;
    Ok(actor)
}

async fn spawn_dispatcher(
    args: &JobManagerArgs,
    myself: &ActorRef<JobManagerMessage>,
) -> Result<ActorRef<DispatcherMessage>, ActorProcessingErr> {
    let args = DispatcherArgs {
        node: Arc::clone(&args.node),
        term: args.term,
        manager: myself.clone(),
    };
    let (actor, _) = Actor::spawn_linked(None, DispatcherActor, args, myself.get_cell()).await?;
    Ok(actor)
}

impl JobManagerState {
    fn pass(&self, step: Step) -> Result<(), ActorProcessingErr> {
        let cell = self.myself.get_cell();
        let node = &self.args.node;
        node.pass(ActorKind::JobManager, &self.args.term, step, &cell)
    }

    /// Tells the process who leads, and where TaskManagers register.
    fn announce(&self) {
        let _ = self.args.root.cast(NodeMessage::Leading {
            term: self.args.term,
            manager: self.myself.clone(),
            resource_manager: self.resource_manager.clone(),
        });
    }

    async fn start_master(&mut self, job: JobId) -> Result<(), ActorProcessingErr> {
        let Some(graph) = self.args.node.programs.get(job) else {
            tracing::info!(%job, "this process has no program for the job and leaves it alone");
            return Ok(());
        };
        self.pass(Step::StartMaster)?;
        let args = JobMasterArgs {
            node: Arc::clone(&self.args.node),
            job,
            graph,
            term: self.args.term,
            manager: self.myself.clone(),
            resource_manager: self.resource_manager.clone(),
        };
        let supervisor = self.myself.get_cell();
        let spawned = Actor::spawn_linked(None, JobMasterActor, args, supervisor).await;
        match spawned {
            Ok((master, _)) => {
                if self.cancels.contains(&job) {
                    let _ = master.cast(JobMasterMessage::Cancel);
                }
                self.masters.insert(job, master);
                Ok(())
            }
            Err(error) => {
                // It died before it lived; that counts like any other death.
                self.count_death(&error.to_string())?;
                self.start_master_later(job);
                Ok(())
            }
        }
    }

    fn start_master_later(&mut self, job: JobId) {
        self.masters.remove(&job);
        let node = &self.args.node;
        let wait = self.backoffs.entry(job).or_default();
        let wait = wait.after_death(node.now());
        let start = JobManagerMessage::StartMaster(job);
        if wait.is_zero() {
            let _ = self.myself.cast(start);
        } else {
            tracing::warn!(%job, ?wait, "the job's master keeps dying, it is started again after a wait");
            node.send_later(&self.myself, wait, start);
        }
    }

    fn count_death(&mut self, reason: &str) -> Result<(), ActorProcessingErr> {
        if self.deaths.exceeded(self.args.node.now()) {
            return Err(format!("children die too often; the last: {reason}").into());
        }
        Ok(())
    }

    async fn child_ended(&mut self, actor: &ActorCell) -> Result<(), ActorProcessingErr> {
        let id = actor.get_id();
        if self.stand_ins.remove(&id).is_some() {
            let gone = ResourceManagerMessage::Died(id);
            let _ = self.resource_manager.cast(gone);
            return Ok(());
        }
        let job = self
            .masters
            .iter()
            .find(|(_, master)| master.get_id() == id)
            .map(|(job, _)| *job);
        let is_dispatcher = self.dispatcher.get_id() == id;
        let is_resource_manager = self.resource_manager.get_id() == id;
        if job.is_none() && !is_dispatcher && !is_resource_manager {
            return Ok(());
        }
        self.pass(Step::ChildEnded)?;
        self.count_death("a child of the JobManager ended")?;
        if is_dispatcher {
            self.dispatcher = spawn_dispatcher(&self.args, &self.myself).await?;
            self.announce();
        } else if is_resource_manager {
            self.resource_manager = spawn_resource_manager(&self.args, &self.myself).await?;
            for master in self.masters.values() {
                let changed =
                    JobMasterMessage::ResourceManagerChanged(self.resource_manager.clone());
                let _ = master.cast(changed);
            }
            for stand_in in self.stand_ins.values() {
                let found = TaskManagerMessage::LeaderFound(self.resource_manager.clone());
                let _ = stand_in.cast(found);
            }
            self.announce();
        } else if let Some(job) = job {
            self.start_master_later(job);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_keeps_dying_waits_longer_each_time_until_it_has_lived_for_a_while() {
        let mut backoff = Backoff::default();
        let mut now = Duration::from_secs(60);
        let mut waits = Vec::new();
        for lived in [0, 0, 0, 0, 0, 0, 0, 0, 0, 11_000, 0] {
            now += Duration::from_millis(lived);
            let wait = backoff.after_death(now);
            waits.push(wait.as_millis());
            now += wait;
        }
        let expected = [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 0, 100];
        assert_eq!(waits, expected);
    }
}
