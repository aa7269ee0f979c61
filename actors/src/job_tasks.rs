//! One job's executions in one TaskManager: starts, connects, supervises and ends them, and remembers for
//! the leader what they have done.
//!
//! Everything that a subtask says passes through here and leaves a mark in its [`TaskReport`]; then it is
//! passed on to the leader, if there is one. So a message that a dying leader swallows is never lost: the
//! next leader asks for the report. That is also why nothing here stops when a leader is lost, until
//! `task_survival_timeout`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::job::{JobOptions, Manifest, ProgramRef, SubtaskSnapshot, TaskPhase, TaskReport};
use rivus_core::{
    AttemptId, Barrier, CheckpointId, EncodedSplit, Failure, Incarnation, JobGraph, JobId,
    LeaderEpoch, Reached, Slot, SubtaskFigures, SubtaskMetrics, TaskManagerId, Timestamp,
};

use crate::context::NodeContext;
use crate::job_master::JobMasterMessage;
use crate::probe::{ActorKind, OfJob, Step};
use crate::subtask::{Restore, Sender, SubtaskActor, SubtaskArgs, SubtaskMessage};

/// What a subtask tells about itself.
#[derive(Debug, Clone)]
pub enum TaskEvent {
    /// Its chain has been built.
    Ready,
    /// It has been connected.
    Running,
    /// All its input has been worked on.
    Drained,
    /// Its source waits for a split.
    NeedsSplit,
    /// It has got so far in an alignment group. Said again and again, so whoever leads next hears it too.
    Reached {
        /// Which.
        group: Arc<str>,
        /// How far.
        reached: Reached,
    },
    /// Its part of a checkpoint is stored.
    Acknowledged {
        /// Which checkpoint.
        id: CheckpointId,
        /// Where it is.
        snapshot: SubtaskSnapshot,
    },
    /// It has given a checkpoint up.
    Declined {
        /// Which checkpoint.
        id: CheckpointId,
        /// Why.
        reason: String,
    },
    /// It has made a checkpoint's effects visible.
    Committed {
        /// Which checkpoint.
        id: CheckpointId,
    },
    /// It has failed. Said by its supervisor.
    Failed(Failure),
    /// It has ended as it was told to. Said by its supervisor.
    Canceled,
}

/// What a leader wants of a job's executions in one TaskManager.
#[derive(Clone)]
pub enum JobCommand {
    /// Report, to a leader that has just taken over; from now on it is the one to tell.
    Report,
    /// Start executions.
    Deploy {
        /// How the plan is built where it is not at hand.
        program: Option<Box<ProgramRef>>,
        /// Which plan; another is refused.
        fingerprint: u64,
        /// The settings.
        options: Arc<JobOptions>,
        /// Executions and their slots.
        attempts: Vec<(AttemptId, Slot)>,
        /// What they start from.
        restore: Option<Arc<Manifest>>,
    },
    /// Connect executions to their senders, all of which are ready.
    Connect(Vec<AttemptId>),
    /// End executions; each is reported when it is over.
    Cancel(Vec<AttemptId>),
    /// End executions that have done their work; nothing more is reported of them.
    Finish(Vec<AttemptId>),
    /// Begin a checkpoint at a source.
    Trigger(AttemptId, Barrier),
    /// A checkpoint is complete.
    Completed(CheckpointId),
    /// A checkpoint will never be.
    Aborted(CheckpointId),
    /// Tell source subtasks how far watermarks of their alignment group may go.
    Align {
        /// The group.
        group: Arc<str>,
        /// Its least watermark.
        least: Timestamp,
        /// Whose may go up to where.
        limits: Vec<(AttemptId, Timestamp)>,
    },
    /// Hand splits to a reader.
    AddSplits {
        /// The reader.
        attempt: AttemptId,
        /// The splits.
        splits: Vec<EncodedSplit>,
        /// Whether there are no others.
        no_more: bool,
    },
}

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
    /// Whether its end was asked for.
    ending: bool,
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
                    .is_some_and(|task| task.ending);
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

    /// Carries a command out, or keeps it until the plan is there that it needs.
    fn receive(&mut self, command: JobCommand) -> Result<(), ActorProcessingErr> {
        if let Some(waiting) = &mut self.waiting {
            waiting.push_back(command);
            return Ok(());
        }
        if let JobCommand::Deploy { program, .. } = &command
            && self.graph.is_none()
        {
            self.graph = self.args.node.programs.get(self.args.job);
            if self.graph.is_none() {
                self.build_program(program.as_deref());
                self.waiting = Some(VecDeque::from([command]));
                return Ok(());
            }
        }
        self.command(command)
    }

    /// Builds the plan by its name, off this actor: it is user code.
    fn build_program(&self, program: Option<&ProgramRef>) {
        let (node, job) = (Arc::clone(&self.args.node), self.args.job);
        let (program, myself) = (program.cloned(), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let built = node.programs.obtain(job, program.as_ref());
            let _ = myself.cast(JobTasksMessage::ProgramBuilt(built));
        }));
    }

    fn program_built(
        &mut self,
        built: Result<Arc<JobGraph>, Failure>,
    ) -> Result<(), ActorProcessingErr> {
        let mut waiting = self.waiting.take().unwrap_or_default();
        match built {
            Ok(graph) => self.graph = Some(graph),
            Err(failure) => {
                if let Some(JobCommand::Deploy { attempts, .. }) = waiting.pop_front() {
                    self.refuse(attempts, &failure);
                }
            }
        }
        waiting
            .into_iter()
            .try_for_each(|command| self.receive(command))
    }

    /// Executions that can't be started here, and never will be.
    fn refuse(&mut self, attempts: Vec<(AttemptId, Slot)>, failure: &Failure) {
        for (attempt, slot) in attempts {
            if let Some(task) = self.new_task(attempt, slot, None) {
                self.tasks.insert(attempt, task);
                self.over(attempt, TaskEvent::Failed(failure.clone()));
            }
        }
    }

    fn deploy(
        &mut self,
        fingerprint: u64,
        options: &Arc<JobOptions>,
        attempts: Vec<(AttemptId, Slot)>,
        restore: Option<&Manifest>,
    ) {
        let Some(graph) = self.graph.clone() else {
            return;
        };
        if graph.fingerprint() != fingerprint {
            let failure = Failure::job(format!(
                "TaskManager {} has another plan for the job than its leader (other operators, uids or parallelism): \
                 start both from the same binary",
                self.args.task_manager
            ));
            self.refuse(attempts, &failure);
            return;
        }
        for (attempt, slot) in attempts {
            self.start(attempt, slot, &graph, options, restore);
        }
        if !self.measuring {
            self.measuring = true;
            self.measure_later();
        }
    }

    fn command(&mut self, command: JobCommand) -> Result<(), ActorProcessingErr> {
        let myself = self.myself.clone();
        match command {
            JobCommand::Report => {
                self.pass(Step::Report, &myself)?;
                self.report();
            }
            JobCommand::Deploy {
                program: _,
                fingerprint,
                options,
                attempts,
                restore,
            } => {
                self.pass(Step::StartTasks, &myself)?;
                self.deploy(fingerprint, &options, attempts, restore.as_deref());
            }
            JobCommand::Connect(attempts) => {
                self.pass(Step::ConnectTasks, &myself)?;
                attempts
                    .iter()
                    .for_each(|attempt| self.connect(*attempt, &attempts));
            }
            JobCommand::Cancel(attempts) => {
                for attempt in attempts {
                    self.end(attempt);
                }
            }
            JobCommand::Finish(attempts) => {
                for attempt in attempts {
                    self.end(attempt);
                }
            }
            JobCommand::Trigger(attempt, barrier) => {
                self.send(attempt, SubtaskMessage::TriggerCheckpoint(barrier));
            }
            JobCommand::Completed(id) => {
                self.send_all(|| SubtaskMessage::CheckpointCompleted(id));
            }
            JobCommand::Aborted(id) => self.send_all(|| SubtaskMessage::CheckpointAborted(id)),
            JobCommand::Align {
                group,
                least,
                limits,
            } => {
                for (attempt, limit) in limits {
                    let group = Arc::clone(&group);
                    let message = SubtaskMessage::LimitTime {
                        group,
                        least,
                        limit,
                    };
                    self.send(attempt, message);
                }
            }
            JobCommand::AddSplits {
                attempt,
                splits,
                no_more,
            } => {
                if let Some(task) = self.tasks.get_mut(&attempt) {
                    // It waits on if none have been found yet.
                    task.report.needs_split &= splits.is_empty() && !no_more;
                    let ids = splits.iter().map(|split| split.id);
                    task.report.received.extend(ids);
                }
                self.send(attempt, SubtaskMessage::AddSplits { splits, no_more });
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        attempt: AttemptId,
        slot: Slot,
        graph: &Arc<JobGraph>,
        options: &Arc<JobOptions>,
        restore: Option<&Manifest>,
    ) {
        let restored = restore.map(|manifest| Restore::of(manifest, attempt.subtask, graph));
        let checkpoint = restored.as_ref().map(|restore| restore.checkpoint);
        let Some(task) = self.new_task(attempt, slot, checkpoint) else {
            return;
        };
        let args = SubtaskArgs {
            node: Arc::clone(&self.args.node),
            job: self.args.job,
            graph: Arc::clone(graph),
            options: Arc::clone(options),
            attempt,
            restore: restored,
            parent: self.myself.clone(),
            metrics: Arc::clone(&task.metrics),
        };
        self.tasks.insert(attempt, task);
        self.spawn(attempt, args);
    }

    /// An execution that is new here, instead of what went before it. None if it was meant for an earlier life of this
    /// process, or is here already: deployed again by a new leader.
    fn new_task(
        &mut self,
        attempt: AttemptId,
        slot: Slot,
        restored: Option<CheckpointId>,
    ) -> Option<TaskEntry> {
        if slot.incarnation != self.args.incarnation || self.tasks.contains_key(&attempt) {
            return None;
        }
        // What went before is over, and the leader knows.
        self.tasks
            .retain(|other, task| other.subtask != attempt.subtask || !task.report.phase.is_over());
        Some(TaskEntry {
            actor: None,
            report: TaskReport {
                attempt,
                slot,
                restored,
                phase: TaskPhase::Building,
                acknowledged: None,
                declined: CheckpointId(0),
                committed: CheckpointId(0),
                needs_split: false,
                received: Vec::new(),
            },
            metrics: Arc::new(SubtaskMetrics::default()),
            ending: false,
        })
    }

    /// Starts an execution on its worker. It may be spoken to as soon as it has
    /// registered itself.
    fn spawn(&mut self, attempt: AttemptId, args: SubtaskArgs) {
        let myself = self.myself.clone();
        let runtimes = &self.args.node.runtimes;
        let worker = runtimes.worker(self.args.job, &args.graph, attempt.subtask);
        worker.spawn(async move {
            let spawned = Actor::spawn_linked(None, SubtaskActor, args, myself.get_cell()).await;
            let message = match spawned {
                Ok((actor, _)) => JobTasksMessage::Spawned { attempt, actor },
                Err(error) => JobTasksMessage::SpawnFailed {
                    attempt,
                    reason: error.to_string(),
                },
            };
            let _ = myself.cast(message);
        });
    }

    /// An execution's actor is there, unless its death has been heard of before.
    fn spawned(&mut self, attempt: AttemptId, actor: ActorRef<SubtaskMessage>) {
        if let Some(event) = self.early_deaths.remove(&actor.get_id()) {
            self.over(attempt, event);
            return;
        }
        self.by_actor.insert(actor.get_id(), attempt);
        match self.tasks.get_mut(&attempt) {
            Some(task) if !task.report.phase.is_over() => {
                task.actor = Some(actor);
                self.end_if_asked(attempt);
            }
            // Given up while it was being started.
            _ => actor.kill(),
        }
    }

    /// The actor of an execution, which registers itself as it starts.
    fn actor(&mut self, attempt: AttemptId) -> Option<ActorRef<SubtaskMessage>> {
        let task = self.tasks.get_mut(&attempt)?;
        if task.actor.is_none() {
            let actor = self.args.node.peers.get(&(self.args.job, attempt))?;
            self.by_actor.insert(actor.get_id(), attempt);
            task.actor = Some(actor);
        }
        task.actor.clone()
    }

    fn send(&mut self, attempt: AttemptId, message: SubtaskMessage) {
        if let Some(actor) = self.actor(attempt) {
            let _ = actor.cast(message);
        }
    }

    fn send_all(&mut self, message: impl Fn() -> SubtaskMessage) {
        let running: Vec<AttemptId> = self
            .tasks
            .iter()
            .filter(|(_, task)| {
                matches!(task.report.phase, TaskPhase::Running | TaskPhase::Drained)
            })
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in running {
            self.send(attempt, message());
        }
    }

    /// Tells an execution who its senders are.
    fn connect(&mut self, attempt: AttemptId, peers: &[AttemptId]) {
        if !self.tasks.contains_key(&attempt) {
            return;
        }
        let Some(graph) = self.graph.clone() else {
            return;
        };
        let mut senders = Vec::new();
        for (edge, subtask) in graph.senders(attempt.subtask) {
            let sender = peers.iter().find(|peer| peer.subtask == subtask);
            let found = sender.and_then(|sender| {
                Some(Sender {
                    attempt: *sender,
                    actor: self.args.node.peers.get(&(self.args.job, *sender))?,
                    lane: graph.lane(subtask, edge.id, attempt.subtask)?,
                })
            });
            match found {
                Some(sender) => senders.push(sender),
                None => {
                    let failure = Failure::attempt(format!("{subtask}, a sender, is gone"));
                    self.fail(attempt, failure);
                    return;
                }
            }
        }
        self.send(attempt, SubtaskMessage::Connect(senders));
    }

    /// Ends an execution because it can't work.
    fn fail(&mut self, attempt: AttemptId, failure: Failure) {
        if let Some(actor) = self.actor(attempt) {
            actor.kill();
        }
        self.over(attempt, TaskEvent::Failed(failure));
    }

    /// Ends an execution because the leader says so.
    fn end(&mut self, attempt: AttemptId) {
        let actor = self.actor(attempt);
        match self.tasks.get_mut(&attempt) {
            Some(task) if !task.report.phase.is_over() => match actor {
                Some(actor) => {
                    task.ending = true;
                    actor.stop(None);
                }
                // Its actor is being started; it is ended when it says its first word.
                None => task.ending = true,
            },
            // Over already, or never here: the leader hears of it again.
            Some(task) => {
                let event = match &task.report.phase {
                    TaskPhase::Failed(failure) => TaskEvent::Failed(failure.clone()),
                    _ => TaskEvent::Canceled,
                };
                self.tell(attempt, event);
            }
            None => self.tell(attempt, TaskEvent::Canceled),
        }
    }

    /// Ends an execution whose end was asked for before its actor was there.
    fn end_if_asked(&mut self, attempt: AttemptId) {
        if self.tasks.get(&attempt).is_some_and(|task| task.ending)
            && let Some(actor) = self.actor(attempt)
        {
            actor.stop(None);
        }
    }

    fn actor_over(&mut self, actor: &ActorCell, event: TaskEvent) {
        let Some(attempt) = self.by_actor.remove(&actor.get_id()) else {
            self.early_deaths.insert(actor.get_id(), event);
            return;
        };
        let task = self.tasks.get(&attempt);
        if task.is_some_and(|task| !task.report.phase.is_over()) {
            self.over(attempt, event);
        }
    }

    fn over(&mut self, attempt: AttemptId, event: TaskEvent) {
        self.args.node.peers.remove(&(self.args.job, attempt));
        self.note(attempt, &event);
        self.tell(attempt, event);
    }

    /// Whether an execution has ended.
    fn is_over(&self, attempt: AttemptId) -> bool {
        let task = self.tasks.get(&attempt);
        task.is_some_and(|task| task.report.phase.is_over())
    }

    /// Leaves a mark in the report.
    fn note(&mut self, attempt: AttemptId, event: &TaskEvent) {
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return;
        };
        let report = &mut task.report;
        match event {
            TaskEvent::Ready => report.phase = TaskPhase::Ready,
            TaskEvent::Running => report.phase = TaskPhase::Running,
            TaskEvent::Drained => report.phase = TaskPhase::Drained,
            TaskEvent::NeedsSplit => report.needs_split = true,
            // The next leader is told anew.
            TaskEvent::Reached { .. } => {}
            TaskEvent::Acknowledged { id, snapshot } => {
                report.acknowledged = Some((*id, snapshot.clone()));
            }
            TaskEvent::Declined { id, .. } => report.declined = report.declined.max(*id),
            TaskEvent::Committed { id } => report.committed = report.committed.max(*id),
            TaskEvent::Failed(failure) => report.phase = TaskPhase::Failed(failure.clone()),
            TaskEvent::Canceled => report.phase = TaskPhase::Canceled,
        }
    }

    /// Passes a subtask's event on. If nobody hears it, the report has it.
    fn tell(&self, attempt: AttemptId, event: TaskEvent) {
        if let Some(leader) = &self.leader {
            let _ = leader
                .master
                .cast(JobMasterMessage::Task { attempt, event });
        }
    }

    fn report(&self) {
        if let Some(leader) = &self.leader {
            let report = rivus_core::job::JobReport {
                task_manager: self.args.task_manager.clone(),
                incarnation: self.args.incarnation,
                tasks: self
                    .tasks
                    .values()
                    .map(|task| task.report.clone())
                    .collect(),
            };
            let _ = leader.master.cast(JobMasterMessage::Report(report));
        }
    }

    fn measure(&mut self) {
        self.tell_figures(|_| true);
        self.measure_later();
    }

    fn tell_figures(&self, of: impl Fn(AttemptId) -> bool) {
        let figures: Vec<(AttemptId, SubtaskFigures)> = self
            .tasks
            .iter()
            .filter(|(attempt, task)| of(**attempt) && !task.report.phase.is_over())
            .map(|(attempt, task)| (*attempt, task.metrics.figures()))
            .collect();
        if let Some(leader) = &self.leader {
            let _ = leader.master.cast(JobMasterMessage::Figures(figures));
        }
    }

    fn measure_later(&self) {
        let interval = self.args.node.config.metrics_interval;
        let message = JobTasksMessage::Measure;
        self.args.node.send_later(&self.myself, interval, message);
    }
}
