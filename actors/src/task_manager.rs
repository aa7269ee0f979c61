//! A process's slots, and the jobs that run in them. Finds the leader, tells it that it lives, passes its
//! commands on. When the leader is lost everything goes on running.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::{Incarnation, JobId, LeaderEpoch, TaskManagerId};

use crate::context::NodeContext;
use crate::job_manager::Intensity;
use crate::job_master::JobMasterMessage;
use crate::job_tasks::{JobCommand, JobTasksActor, JobTasksArgs, JobTasksMessage};
use crate::probe::{ActorKind, Step};
use crate::remote::{LeaderLinkActor, LeaderLinkArgs, Life, Remote};
use crate::resource_manager::{Registration, ResourceManagerMessage};

/// What the actor is told.
pub enum TaskManagerMessage {
    /// There is a leader; its ResourceManager wants to know of this process.
    LeaderFound(ActorRef<ResourceManagerMessage>),
    /// There is no leader at present.
    LeaderLost,
    /// Time to say that it lives.
    Heartbeat,
    /// A leader's command for a job.
    Command {
        /// The job.
        job: JobId,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// Where it wants to hear of it.
        master: ActorRef<JobMasterMessage>,
        /// What it wants.
        command: JobCommand,
    },
    /// A job has ended: forget it.
    ForgetJob(JobId),
}

/// What the actor is started with.
pub struct TaskManagerArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// Its name.
    pub id: TaskManagerId,
}

/// The actor.
pub struct TaskManagerActor;

struct JobEntry {
    tasks: ActorRef<JobTasksMessage>,
    /// The latest leader that was heard of.
    epoch: LeaderEpoch,
    master: ActorRef<JobMasterMessage>,
}

/// What the actor remembers.
pub struct TaskManagerState {
    args: TaskManagerArgs,
    incarnation: Incarnation,
    resource_manager: Option<ActorRef<ResourceManagerMessage>>,
    /// What finds the leader, where it is in another process.
    link: Option<ActorId>,
    link_deaths: Intensity,
    /// Others may open data links to it as long as this is here.
    life: Option<Life>,
    jobs: BTreeMap<JobId, JobEntry>,
}

impl Actor for TaskManagerActor {
    type Msg = TaskManagerMessage;
    type State = TaskManagerState;
    type Arguments = TaskManagerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<TaskManagerMessage>,
        args: TaskManagerArgs,
    ) -> Result<TaskManagerState, ActorProcessingErr> {
        let cell = myself.get_cell();
        args.node.spawned(ActorKind::TaskManager, &args.id, cell);
        let interval = args.node.config.heartbeat_interval;
        args.node
            .send_later(&myself, interval, TaskManagerMessage::Heartbeat);
        let incarnation = Incarnation(args.node.seed.uuid());
        let mut state = TaskManagerState {
            life: Remote::begin_life(&args.node, incarnation),
            incarnation,
            args,
            resource_manager: None,
            link: None,
            link_deaths: Intensity::default(),
            jobs: BTreeMap::new(),
        };
        state.look_for_leader(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<TaskManagerMessage>,
        message: TaskManagerMessage,
        state: &mut TaskManagerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TaskManagerMessage::LeaderFound(resource_manager) => {
                state.pass(Step::LeaderFound, &myself)?;
                let _ = resource_manager.cast(ResourceManagerMessage::Register {
                    registration: state.registration(),
                    actor: myself,
                });
                state.resource_manager = Some(resource_manager);
            }
            TaskManagerMessage::LeaderLost => {
                state.resource_manager = None;
                for job in state.jobs.values() {
                    let _ = job.tasks.cast(JobTasksMessage::LeaderLost);
                }
            }
            TaskManagerMessage::Heartbeat => {
                if let Some(resource_manager) = &state.resource_manager {
                    let heartbeat = ResourceManagerMessage::Heartbeat {
                        incarnation: state.incarnation,
                        actor: myself.clone(),
                    };
                    let _ = resource_manager.cast(heartbeat);
                }
                let interval = state.args.node.config.heartbeat_interval;
                let node = &state.args.node;
                node.send_later(&myself, interval, TaskManagerMessage::Heartbeat);
            }
            TaskManagerMessage::Command {
                job,
                epoch,
                master,
                command,
            } => {
                state.pass(Step::Command, &myself)?;
                let tasks = state.job_tasks(job, epoch, &master, &myself).await?;
                let _ = tasks.cast(JobTasksMessage::Command {
                    epoch,
                    master,
                    command,
                });
            }
            TaskManagerMessage::ForgetJob(job) => {
                if let Some(entry) = state.jobs.remove(&job) {
                    entry.tasks.stop(None);
                }
                let node = &state.args.node;
                node.drop_copies(node.local.forget(job));
                if state.link.is_some() {
                    // Nobody else in this process knows of the job.
                    state.args.node.programs.remove(job);
                    state.args.node.runtimes.forget(job);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<TaskManagerMessage>,
        event: SupervisionEvent,
        state: &mut TaskManagerState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, _)
        | SupervisionEvent::ActorTerminated(actor, _, _) = event
        {
            if state.link == Some(actor.get_id()) {
                return state.link_died(&myself).await;
            }
            let lost = state
                .jobs
                .iter()
                .find(|(_, entry)| entry.tasks.get_id() == actor.get_id())
                .map(|(job, _)| *job);
            if let Some(entry) = lost.and_then(|job| state.jobs.remove(&job)) {
                // Its executions die with it.
                let lost = JobMasterMessage::TaskManagerLost(state.incarnation);
                let _ = entry.master.cast(lost);
            }
        }
        Ok(())
    }
}

impl TaskManagerState {
    fn registration(&self) -> Registration {
        let life = self.life.as_ref();
        Registration {
            id: self.args.id.clone(),
            incarnation: self.incarnation,
            slots: self.args.node.config.slots,
            jobs: self.jobs.keys().copied().collect(),
            backend: (self.args.node.backend.as_ref()).map(|backend| backend.format().to_owned()),
            data_address: life.map_or_else(String::new, |life| life.data_address().to_owned()),
        }
    }

    /// Where no candidate is in this process, its leader is in another one.
    async fn look_for_leader(
        &mut self,
        myself: &ActorRef<TaskManagerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let node = &self.args.node;
        if node.remote.is_none() || node.config.job_managers > 0 {
            return Ok(());
        }
        let args = LeaderLinkArgs {
            node: Arc::clone(node),
            id: self.args.id.clone(),
            life: self.incarnation,
            task_manager: myself.clone(),
        };
        let (link, _) = Actor::spawn_linked(None, LeaderLinkActor, args, myself.get_cell()).await?;
        self.link = Some(link.get_id());
        Ok(())
    }

    async fn link_died(
        &mut self,
        myself: &ActorRef<TaskManagerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if self.link_deaths.exceeded(self.args.node.now()) {
            return Err("links to the leader die too often".into());
        }
        myself.cast(TaskManagerMessage::LeaderLost)?;
        self.look_for_leader(myself).await
    }

    fn pass(
        &self,
        step: Step,
        myself: &ActorRef<TaskManagerMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let label = &self.args.id;
        let cell = myself.get_cell();
        self.args
            .node
            .pass(ActorKind::TaskManager, label, step, &cell)
    }

    /// The actor that keeps a job's executions here, started if there is none.
    async fn job_tasks(
        &mut self,
        job: JobId,
        epoch: LeaderEpoch,
        master: &ActorRef<JobMasterMessage>,
        myself: &ActorRef<TaskManagerMessage>,
    ) -> Result<ActorRef<JobTasksMessage>, ActorProcessingErr> {
        if let Some(entry) = self.jobs.get_mut(&job) {
            // A late command of a former leader is JobTasks' to refuse, and must not be mistaken for news of it here.
            if epoch >= entry.epoch {
                entry.epoch = epoch;
                entry.master = master.clone();
            }
            return Ok(entry.tasks.clone());
        }
        let args = JobTasksArgs {
            node: Arc::clone(&self.args.node),
            job,
            task_manager: self.args.id.clone(),
            incarnation: self.incarnation,
        };
        let (tasks, _) = Actor::spawn_linked(None, JobTasksActor, args, myself.get_cell()).await?;
        let entry = JobEntry {
            tasks: tasks.clone(),
            epoch,
            master: master.clone(),
        };
        self.jobs.insert(job, entry);
        Ok(tasks)
    }
}
