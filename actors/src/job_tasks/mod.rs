//! One job's executions in one TaskManager: starts, connects, supervises and ends them, and remembers for
//! the leader what they have done.
//!
//! Everything that a subtask says passes through here and leaves a mark in its [`TaskReport`]; then it is
//! passed on to the leader, if there is one. So a message that a dying leader swallows is never lost: the
//! next leader asks for the report. That is also why nothing here stops when a leader is lost, until
//! `task_survival_timeout`.
//!
//! | file | concern |
//! |---|---|
//! | `mod.rs` | the mailbox, and which leader counts |
//! | `messages.rs` | what is said |
//! | `commands.rs` | what each command asks for |
//! | `program.rs` | the plan, and deployments that wait for it |
//! | `executions.rs` | from a deployment to an actor, and to its end |
//! | `connect.rs` | who receives from whom, and over what |
//! | `stuck.rs` | user code that doesn't return |
//! | `reports.rs` | what the leader hears |

mod commands;
mod connect;
mod executions;
mod messages;
mod program;
mod reports;
mod stuck;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::job::TaskReport;
use rivus_core::{
    AttemptId, Failure, Incarnation, JobGraph, JobId, LeaderEpoch, SubtaskMetrics, TaskManagerId,
};

pub use self::messages::{JobCommand, Placed, TaskEvent};
use crate::context::NodeContext;
use crate::job_master::JobMasterMessage;
use crate::probe::{ActorKind, OfJob, Step};
use crate::subtask::{GivenUp, SubtaskMessage};

/// What the actor is told.
pub enum JobTasksMessage {
    /// A leader's command. One of an older epoch is refused.
    Command {
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// Where it wants to hear of it.
        master: ActorRef<JobMasterMessage>,
        /// What it wants.
        command: JobCommand,
    },
    /// A subtask has something to tell.
    Task {
        /// The execution.
        attempt: AttemptId,
        /// What.
        event: TaskEvent,
    },
    /// The job's plan has been built here, or can't be.
    ProgramBuilt(Result<Arc<JobGraph>, Failure>),
    /// An execution's actor has been started. It may have died already.
    Spawned {
        /// The execution.
        attempt: AttemptId,
        /// Its actor.
        actor: ActorRef<SubtaskMessage>,
    },
    /// An execution could not be started.
    SpawnFailed {
        /// The execution.
        attempt: AttemptId,
        /// Why.
        reason: String,
    },
    /// Report the figures.
    Measure,
    /// No leader has been heard of for so long that the tasks end, unless one has been since.
    LeaderlessTooLong {
        /// How many leaders had been lost when the wait began.
        lost: u32,
    },
    /// The process has lost its leader.
    LeaderLost,
}

/// What the actor is started with.
pub struct JobTasksArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// The job.
    pub job: JobId,
    /// The TaskManager.
    pub task_manager: TaskManagerId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// The actor.
pub struct JobTasksActor;

struct TaskEntry {
    actor: Option<ActorRef<SubtaskMessage>>,
    report: TaskReport,
    metrics: Arc<SubtaskMetrics>,
    /// When its end was asked for.
    ending: Option<Duration>,
    /// How long that is waited for.
    patience: Duration,
    /// Where it runs, and whether it is there still.
    worker: usize,
    alive: Weak<()>,
    /// Set when it is over, for what the pool still does for it.
    given_up: GivenUp,
    /// The beginning of the turn that was complained about.
    complained: Option<Duration>,
}

struct Leader {
    epoch: LeaderEpoch,
    master: ActorRef<JobMasterMessage>,
}

/// What the actor remembers.
pub struct JobTasksState {
    args: JobTasksArgs,
    myself: ActorRef<JobTasksMessage>,
    /// The plan, once something has been deployed.
    graph: Option<Arc<JobGraph>>,
    /// Commands that wait while the plan is being built, the deployment that asked for it first; none at other times.
    waiting: Option<VecDeque<JobCommand>>,
    tasks: BTreeMap<AttemptId, TaskEntry>,
    by_actor: BTreeMap<ActorId, AttemptId>,
    /// Deaths of actors that were heard of before their birth: events of children overtake messages.
    early_deaths: BTreeMap<ActorId, TaskEvent>,
    leader: Option<Leader>,
    leaderless: bool,
    /// So that an old timer changes nothing.
    leaders_lost: u32,
    measuring: bool,
}

impl Actor for JobTasksActor {
    type Msg = JobTasksMessage;
    type State = JobTasksState;
    type Arguments = JobTasksArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<JobTasksMessage>,
        args: JobTasksArgs,
    ) -> Result<JobTasksState, ActorProcessingErr> {
        let cell = myself.get_cell();
        let label = OfJob(&args.task_manager, args.job);
        args.node.spawned(ActorKind::JobTasks, &label, cell);
        Ok(JobTasksState {
            args,
            myself,
            graph: None,
            waiting: None,
            tasks: BTreeMap::new(),
            by_actor: BTreeMap::new(),
            early_deaths: BTreeMap::new(),
            leader: None,
            leaderless: false,
            leaders_lost: 0,
            measuring: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<JobTasksMessage>,
        message: JobTasksMessage,
        state: &mut JobTasksState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JobTasksMessage::Command {
                epoch,
                master,
                command,
            } => {
                if state.follow(epoch, master) {
                    state.receive(command)?;
                }
            }
            JobTasksMessage::Task { attempt, event } => {
                state.pass(Step::TaskEvent, &myself)?;
                if state.is_over(attempt) {
                    // Its end has overtaken what it had to say.
                    return Ok(());
                }
                state.note(attempt, &event);
                if let TaskEvent::Drained | TaskEvent::Committed { .. } = event {
                    // The task may end before its figures are next due.
                    state.tell_figures(|other| other == attempt);
                }
                state.tell(attempt, event);
                state.end_if_asked(attempt);
            }
            JobTasksMessage::ProgramBuilt(built) => state.program_built(built)?,
            JobTasksMessage::Spawned { attempt, actor } => state.spawned(attempt, actor),
            JobTasksMessage::SpawnFailed { attempt, reason } => {
                let failure = Failure::attempt(format!("{attempt} could not be started: {reason}"));
                state.over(attempt, TaskEvent::Failed(failure));
            }
            JobTasksMessage::Measure => state.measure(),
            JobTasksMessage::LeaderLost => {
                state.leader_lost();
            }
            JobTasksMessage::LeaderlessTooLong { lost } => {
                if state.leaderless && state.leaders_lost == lost {
                    tracing::warn!(job = %state.args.job, "no leader for too long, tasks end");
                    myself.stop(None);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<JobTasksMessage>,
        event: SupervisionEvent,
        state: &mut JobTasksState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                let failure = match error.downcast::<Failure>() {
                    Ok(failure) => *failure,
                    Err(error) => Failure::user(&error),
                };
                state.actor_over(&actor, TaskEvent::Failed(failure));
            }
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                let ending = state
                    .by_actor
                    .get(&actor.get_id())
                    .and_then(|attempt| state.tasks.get(attempt))
                    .is_some_and(|task| task.ending.is_some());
                let event = if ending {
                    TaskEvent::Canceled
                } else {
                    let reason = reason.unwrap_or_else(|| "stopped".into());
                    TaskEvent::Failed(Failure::attempt(format!("its actor was {reason}")))
                };
                state.actor_over(&actor, event);
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl JobTasksState {
    fn pass(
        &self,
        step: Step,
        myself: &ActorRef<JobTasksMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let label = OfJob(&self.args.task_manager, self.args.job);
        let node = &self.args.node;
        node.pass(ActorKind::JobTasks, &label, step, &myself.get_cell())
    }

    /// Takes a leader's word unless a later leader has been heard of.
    fn follow(&mut self, epoch: LeaderEpoch, master: ActorRef<JobMasterMessage>) -> bool {
        match &self.leader {
            Some(leader) if epoch < leader.epoch => {
                tracing::warn!(job = %self.args.job, refused = %epoch, known = %leader.epoch,
                    "a command of an older leader is refused");
                false
            }
            _ => {
                self.leader = Some(Leader { epoch, master });
                self.leaderless = false;
                true
            }
        }
    }

    fn leader_lost(&mut self) {
        tracing::info!(job = %self.args.job, "the leader is lost, tasks go on");
        self.leaderless = true;
        self.leaders_lost += 1;
        let lost = self.leaders_lost;
        self.args.node.send_later(
            &self.myself,
            self.args.node.config.task_survival_timeout,
            JobTasksMessage::LeaderlessTooLong { lost },
        );
    }
}
