//! The master of one job, under one leader. The decisions are
//! [`JobMachine`](rivus_core::job::JobMachine)'s; this actor carries them out.
//!
//! Every JobMaster begins the same way, whether the job is new, was led by another process, or by an actor
//! that has just died: FENCE (its epoch is appended, every older leader loses at its next write), REPLAY
//! (the log), COLLECT (reports of what is running), DECIDE, RESUME. Data flows throughout.
//!
//! | file | concern |
//! |---|---|
//! | `mod.rs` | the mailbox, and what the decisions ask for |
//! | `takeover.rs` | from the fence to the decision |
//! | `aligned.rs` | sources that wait for each other |
//! | `splits.rs` | what sources find, at first and while the job runs |
//! | `log.rs` | the one writer of the job's log |

mod aligned;
mod log;
mod splits;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::job::{
    CheckpointEvent, JobAction, JobEvent, JobMachine, JobOptions, JobOutcome, JobReport, JobTimer,
    LogEntry, Manifest, SavepointManifest, SavepointRequest, TaskReport, Tasks,
};
use rivus_core::{
    AlignmentGroup, AnyEnumerator, AttemptId, Barrier, CheckpointId, EncodedSplit, Failure,
    Incarnation, JobGraph, JobId, Slot, SubtaskFigures, TaskManagerId, VertexId, codec,
};

use rivus_state::{StorageError, savepoint_folder, savepoint_name};
use uuid::Uuid;

use self::log::{Appended, LogWriter, RETRY};
use self::splits::Look;
pub use self::takeover::replay;
use self::takeover::{Replayed, Takeover};
use crate::context::NodeContext;
use crate::coordinator::{
    CoordinatorActor, CoordinatorArgs, CoordinatorMessage, delete_checkpoints_below,
};
use crate::job_manager::{Intensity, JobManagerMessage};
use crate::job_tasks::{JobCommand, TaskEvent};
use crate::probe::{ActorKind, Step};
use crate::resource_manager::ResourceManagerMessage;
use crate::task_manager::TaskManagerMessage;
use crate::view::{JobStatus, JobView, SubtaskView};

/// What the actor is told.
pub enum JobMasterMessage {
    /// The log has been fenced and read.
    Replayed(Result<Box<Replayed>, Failure>),
    /// Fence again: the storage failed before.
    FenceAgain,
    /// A TaskManager is there.
    TaskManagerJoined {
        /// Its name.
        id: TaskManagerId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Its actor.
        actor: ActorRef<TaskManagerMessage>,
    },
    /// A TaskManager is gone, or what it ran of this job.
    TaskManagerLost(Incarnation),
    /// The ResourceManager was restarted; this is the new one.
    ResourceManagerChanged(ActorRef<ResourceManagerMessage>),
    /// What a TaskManager runs of this job.
    Report(JobReport),
    /// Reports have been waited for long enough.
    CollectTimeout,
    /// A task has something to tell.
    Task {
        /// The execution.
        attempt: AttemptId,
        /// What.
        event: TaskEvent,
    },
    /// Figures of running tasks.
    Figures(Vec<(AttemptId, SubtaskFigures)>),
    /// Slots that the job may use.
    SlotsGranted(Vec<Slot>),
    /// There are not enough slots yet.
    SlotsShort {
        /// How many the job needs.
        needed: usize,
        /// How many it could have.
        available: usize,
    },
    /// A source's splits.
    SplitsFound {
        /// Its vertex.
        source: VertexId,
        /// The splits, and what goes on finding others; or why there are none.
        found: Result<(Vec<EncodedSplit>, Option<AnyEnumerator>), Failure>,
    },
    /// What a source that goes on finding splits has found.
    SplitsDiscovered(Box<Look>),
    /// A manifest that was asked for.
    ManifestRead(Result<Box<Manifest>, Failure>),
    /// A manifest that was asked for can't be reached at present.
    ManifestUnread(CheckpointId),
    /// Time to read it again.
    ReadManifest(CheckpointId),
    /// A manifest that is about to be completed.
    ManifestStored(Box<Manifest>),
    /// The coordinator wants a savepoint to be completed: all have stored their part.
    StoreSavepoint(Box<Manifest>),
    /// The outcome of a write to the log.
    Appended(Appended),
    /// Write to the log again: the storage failed before.
    AppendAgain,
    /// A timer of the decisions.
    Timer(JobTimer),
    /// The coordinator wants an entry written.
    Append(LogEntry),
    /// The coordinator begins a checkpoint at a source.
    Trigger(AttemptId, Barrier),
    /// The coordinator announces a completed checkpoint.
    AnnounceCompleted(CheckpointId),
    /// The coordinator announces an aborted checkpoint.
    AnnounceAborted(CheckpointId),
    /// The coordinator has nothing under way.
    Quiesced,
    /// The coordinator has seen the job through.
    JobDone,
    /// The coordinator gives the job up.
    FailJob(Failure),
    /// Somebody asks for the job's end.
    Cancel,
    /// Somebody asks for a savepoint. Asked again until the job's view shows it.
    Savepoint(SavepointRequest),
}

/// What the actor is started with.
pub struct JobMasterArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// The job.
    pub job: JobId,
    /// Its plan.
    pub graph: Arc<JobGraph>,
    /// The term in which this leader was elected.
    pub term: u64,
    /// Its supervisor.
    pub manager: ActorRef<JobManagerMessage>,
    /// Slots and TaskManagers.
    pub resource_manager: ActorRef<ResourceManagerMessage>,
}

/// The actor.
pub struct JobMasterActor;

/// What the actor remembers.
pub struct JobMasterState {
    args: JobMasterArgs,
    myself: ActorRef<JobMasterMessage>,
    log: LogWriter,
    /// None until the log has been replayed.
    machine: Option<JobMachine>,
    takeover: Takeover,
    coordinator: Option<ActorRef<CoordinatorMessage>>,
    /// What a coordinator that is restarted has to be told again.
    checkpointing: Checkpointing,
    coordinator_deaths: Intensity,
    /// Whether acknowledgements may have died with a coordinator that was to be told to begin.
    forgetful: bool,
    task_managers: BTreeMap<Incarnation, ActorRef<TaskManagerMessage>>,
    options: Arc<JobOptions>,
    figures: BTreeMap<AttemptId, SubtaskFigures>,
    /// What goes on finding splits, while it isn't looking.
    enumerators: BTreeMap<VertexId, AnyEnumerator>,
    /// What sources that wait for each other have told this leader.
    alignment: BTreeMap<String, AlignmentGroup>,
    /// The checkpoint under way, and when it was triggered.
    checkpoint_began: Option<(CheckpointId, Duration)>,
    checkpoint_took: Option<Duration>,
    /// Bytes in flight that unaligned checkpoints hold whose manifests are stored, the completed ones' last.
    in_flight: BTreeMap<CheckpointId, u64>,
    /// What the job is to be seen as while it waits for slots.
    short_of_slots: Option<JobStatus>,
    /// Savepoints whose request is on its way to the log, or in it.
    savepoints_asked: BTreeSet<Uuid>,
    /// Whether somebody asked for the job's end before this leader had decided how things stand.
    cancel_asked: bool,
    ended: bool,
}

/// What the coordinator was told last.
enum Checkpointing {
    Quiet,
    On(Tasks),
    Quiescing,
    /// A new coordinator waits for reports of these.
    Recollecting(Tasks),
}

impl Actor for JobMasterActor {
    type Msg = JobMasterMessage;
    type State = JobMasterState;
    type Arguments = JobMasterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<JobMasterMessage>,
        args: JobMasterArgs,
    ) -> Result<JobMasterState, ActorProcessingErr> {
        let cell = myself.get_cell();
        args.node
            .spawned(ActorKind::JobMaster, &args.job, cell.clone());
        args.node
            .pass(ActorKind::JobMaster, &args.job, Step::Fence, &cell)?;
        let state = JobMasterState {
            log: LogWriter::new(&args, myself.clone()),
            myself,
            machine: None,
            takeover: Takeover::default(),
            coordinator: None,
            checkpointing: Checkpointing::Quiet,
            coordinator_deaths: Intensity::default(),
            forgetful: false,
            task_managers: BTreeMap::new(),
            options: Arc::default(),
            figures: BTreeMap::new(),
            enumerators: BTreeMap::new(),
            alignment: args.graph.alignment_groups(),
            checkpoint_began: None,
            checkpoint_took: None,
            in_flight: BTreeMap::new(),
            short_of_slots: None,
            savepoints_asked: BTreeSet::new(),
            cancel_asked: false,
            ended: false,
            args,
        };
        state.fence();
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<JobMasterMessage>,
        message: JobMasterMessage,
        state: &mut JobMasterState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JobMasterMessage::Task { attempt, event } => state.task(attempt, event)?,
            JobMasterMessage::Figures(figures) => {
                state.figures.extend(figures);
                state.publish();
            }
            JobMasterMessage::Append(entry) => state.append(entry)?,
            JobMasterMessage::Appended(appended) => state.appended(appended)?,
            JobMasterMessage::AppendAgain => state.log.write_next(),
            JobMasterMessage::Trigger(attempt, barrier) => {
                state.command_at(attempt, JobCommand::Trigger(attempt, barrier));
            }
            JobMasterMessage::AnnounceCompleted(id) => {
                state.command_all(|| JobCommand::Completed(id));
            }
            JobMasterMessage::AnnounceAborted(id) => state.command_all(|| JobCommand::Aborted(id)),
            JobMasterMessage::Quiesced => {
                // A coordinator that has died since may have answered before its successor was asked.
                if matches!(state.checkpointing, Checkpointing::Quiescing) {
                    state.checkpointing = Checkpointing::Quiet;
                    state.decide(JobEvent::Quiesced)?;
                }
            }
            JobMasterMessage::JobDone => state.decide(JobEvent::JobDone)?,
            JobMasterMessage::FailJob(failure) => state.decide(JobEvent::FailJob(failure))?,
            JobMasterMessage::Cancel => state.cancel()?,
            JobMasterMessage::Savepoint(request) => state.savepoint(request)?,
            JobMasterMessage::Timer(timer) => state.decide(JobEvent::Timer(timer))?,
            JobMasterMessage::SlotsShort { needed, available } => {
                state.short_of_slots = Some(JobStatus::WaitingForSlots { needed, available });
                state.publish();
            }
            JobMasterMessage::SlotsGranted(slots) => {
                state.short_of_slots = None;
                state.decide(JobEvent::SlotsGranted(slots))?;
            }
            JobMasterMessage::SplitsFound { source, found } => state.splits_found(source, found)?,
            JobMasterMessage::SplitsDiscovered(look) => state.splits_discovered(*look)?,
            JobMasterMessage::ManifestRead(manifest) => {
                state.decide(JobEvent::ManifestRead(manifest))?;
            }
            JobMasterMessage::ManifestUnread(id) => {
                let again = JobMasterMessage::ReadManifest(id);
                state.args.node.send_later(&state.myself, RETRY, again);
            }
            JobMasterMessage::ReadManifest(id) => state.read_manifest(id),
            JobMasterMessage::ManifestStored(manifest) => state.manifest_stored(*manifest),
            JobMasterMessage::StoreSavepoint(manifest) => state.store_savepoint(*manifest),
            JobMasterMessage::FenceAgain => state.fence(),
            JobMasterMessage::Replayed(replayed) => state.replayed(replayed).await?,
            JobMasterMessage::TaskManagerJoined {
                id,
                incarnation,
                actor,
            } => state.task_manager_joined(&id, incarnation, actor)?,
            JobMasterMessage::TaskManagerLost(incarnation) => {
                state.task_manager_lost(incarnation)?;
            }
            JobMasterMessage::ResourceManagerChanged(resource_manager) => {
                state.args.resource_manager = resource_manager;
                state.subscribe();
                state.decide(JobEvent::ResourceManagerChanged)?;
            }
            JobMasterMessage::Report(report) => state.report(report)?,
            JobMasterMessage::CollectTimeout => state.collect_timeout()?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<JobMasterMessage>,
        event: SupervisionEvent,
        state: &mut JobMasterState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(actor, _)
        | SupervisionEvent::ActorTerminated(actor, _, _) = event
            && !state.ended
            && state
                .coordinator
                .as_ref()
                .is_some_and(|coordinator| coordinator.get_id() == actor.get_id())
        {
            state.restart_coordinator().await?;
        }
        Ok(())
    }
}

impl JobMasterState {
    fn pass(&self, step: Step) -> Result<(), ActorProcessingErr> {
        let cell = self.myself.get_cell();
        let node = &self.args.node;
        node.pass(ActorKind::JobMaster, &self.args.job, step, &cell)
    }

    /// Lets the machine decide and carries its actions out.
    fn decide(&mut self, event: JobEvent) -> Result<(), ActorProcessingErr> {
        let now = self.args.node.now();
        let Some(machine) = &mut self.machine else {
            return Ok(());
        };
        let actions = machine.on_event(event, now);
        for action in actions {
            self.act(action)?;
        }
        self.publish();
        Ok(())
    }

    fn act(&mut self, action: JobAction) -> Result<(), ActorProcessingErr> {
        match action {
            JobAction::Append(entry) => self.append(entry)?,
            JobAction::FindSplits(source) => self.find_splits(source),
            JobAction::DiscoverSplits(source) => self.discover_splits(source),
            JobAction::RequestSlots(count) => {
                let job = self.args.job;
                let request = ResourceManagerMessage::RequestSlots { job, count };
                let _ = self.args.resource_manager.cast(request);
            }
            JobAction::ReadManifest(id) => self.read_manifest(id),
            JobAction::Deploy { attempts, restore } => {
                self.pass(Step::Deploy)?;
                self.deploy(&attempts, restore)?;
            }
            JobAction::Run(attempts) => {
                self.pass(Step::Connect)?;
                self.command_all(|| JobCommand::Connect(attempts.clone()));
            }
            JobAction::Cancel(attempts) => {
                self.command_all(|| JobCommand::Cancel(attempts.clone()));
            }
            JobAction::Finish(attempts) => {
                self.command_all(|| JobCommand::Finish(attempts.clone()));
            }
            JobAction::AssignSplits {
                attempt,
                splits,
                no_more,
            } => {
                self.pass(Step::AssignSplit)?;
                let command = JobCommand::AddSplits {
                    attempt,
                    splits,
                    no_more,
                };
                self.command_at(attempt, command);
            }
            JobAction::SetTimer(timer, after) => {
                let message = JobMasterMessage::Timer(timer);
                self.args.node.send_later(&self.myself, after, message);
            }
            JobAction::StartCheckpoints { tasks, reports } => {
                self.start_checkpoints(tasks, reports);
            }
            JobAction::Quiesce => {
                self.checkpointing = Checkpointing::Quiescing;
                self.coordinate(CheckpointEvent::Quiesce);
            }
            JobAction::AllDrained => self.coordinate(CheckpointEvent::AllDrained),
            JobAction::Ended(mut outcome) => {
                if let JobOutcome::Failed(failure) = &mut outcome
                    && self.takeover.found_ended
                {
                    let again = "; to run it again, give it another id";
                    failure.message.push_str(again);
                }
                self.ended = true;
                self.clean_up(&outcome);
                self.publish();
                let _ = self.args.manager.cast(JobManagerMessage::JobEnded {
                    job: self.args.job,
                    outcome,
                });
            }
        }
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), ActorProcessingErr> {
        if self.takeover.is_over() {
            return self.decide(JobEvent::Cancel);
        }
        self.cancel_asked = true;
        Ok(())
    }

    /// Whoever asks goes on asking until the request is in the log.
    fn savepoint(&mut self, request: SavepointRequest) -> Result<(), ActorProcessingErr> {
        if !self.takeover.is_over() || !self.savepoints_asked.insert(request.token) {
            return Ok(());
        }
        self.decide(JobEvent::Savepoint(request))
    }

    // --- tasks ---------------------------------------------------------------------------------------

    fn task(&mut self, attempt: AttemptId, event: TaskEvent) -> Result<(), ActorProcessingErr> {
        match event {
            TaskEvent::Ready => self.decide(JobEvent::TaskReady(attempt)),
            TaskEvent::Running => Ok(()),
            TaskEvent::Drained => self.decide(JobEvent::TaskDrained(attempt)),
            TaskEvent::NeedsSplit => self.decide(JobEvent::NeedsSplit(attempt)),
            TaskEvent::Reached { group, reached } => {
                self.reached(attempt, &group, reached);
                Ok(())
            }
            TaskEvent::Failed(failure) => {
                self.pass(Step::TaskFailed)?;
                tracing::warn!(job = %self.args.job, %attempt, %failure, "a task failed");
                self.decide(JobEvent::TaskFailed(attempt, failure))
            }
            TaskEvent::Canceled => self.decide(JobEvent::TaskCanceled(attempt)),
            TaskEvent::Acknowledged { id, snapshot } => {
                self.coordinate(CheckpointEvent::Acknowledged {
                    attempt,
                    id,
                    snapshot,
                });
                Ok(())
            }
            TaskEvent::Declined { id, reason } => {
                self.coordinate(CheckpointEvent::Declined {
                    attempt,
                    id,
                    reason,
                });
                Ok(())
            }
            TaskEvent::Committed { id } => {
                self.coordinate(CheckpointEvent::Committed { attempt, id });
                Ok(())
            }
        }
    }

    fn command(&self, to: &ActorRef<TaskManagerMessage>, command: JobCommand) {
        let Some(machine) = &self.machine else {
            return;
        };
        let _ = to.cast(TaskManagerMessage::Command {
            job: self.args.job,
            epoch: machine.state().epoch,
            master: self.myself.clone(),
            command,
        });
    }

    fn command_all(&self, command: impl Fn() -> JobCommand) {
        for task_manager in self.task_managers.values() {
            self.command(task_manager, command());
        }
    }

    fn command_at(&self, attempt: AttemptId, command: JobCommand) {
        let place = self.machine.as_ref().and_then(|machine| {
            let execution = machine.state().executions.get(&attempt.subtask)?;
            self.task_managers.get(&execution.slot.incarnation)
        });
        if let Some(task_manager) = place {
            self.command(task_manager, command);
        }
    }

    fn deploy(
        &self,
        attempts: &[(AttemptId, Slot)],
        restore: Option<CheckpointId>,
    ) -> Result<(), ActorProcessingErr> {
        let manifest = self
            .machine
            .as_ref()
            .and_then(JobMachine::manifest)
            .filter(|manifest| Some(manifest.id) == restore)
            .map(|manifest| Arc::new(manifest.clone()));
        if restore.is_some() && manifest.is_none() {
            // Without it the tasks would begin with nothing.
            return Err("the manifest of the checkpoint to restore is not the one at hand".into());
        }
        let program = self
            .machine
            .as_ref()
            .and_then(|machine| machine.state().program.clone());
        let program = program.map(Box::new);
        for (incarnation, task_manager) in &self.task_managers {
            let here: Vec<(AttemptId, Slot)> = attempts
                .iter()
                .filter(|(_, slot)| slot.incarnation == *incarnation)
                .cloned()
                .collect();
            if !here.is_empty() {
                let command = JobCommand::Deploy {
                    program: program.clone(),
                    fingerprint: self.args.graph.fingerprint(),
                    options: Arc::clone(&self.options),
                    attempts: here,
                    restore: manifest.clone(),
                };
                self.command(task_manager, command);
            }
        }
        Ok(())
    }

    fn read_manifest(&self, id: CheckpointId) {
        let (job, myself) = (self.args.job, self.myself.clone());
        let storage = self.args.node.checkpoints.clone();
        self.args.node.blocking.run(Box::new(move || {
            let manifest = match storage.read_manifest(job, id) {
                Ok(bytes) => codec::decode::<Manifest>(&bytes)
                    .map(Box::new)
                    .map_err(Failure::permanent),
                Err(error)
                    if error.is_damage() || matches!(error, StorageError::Missing { .. }) =>
                {
                    // Asking again won't help.
                    Err(Failure::permanent(error))
                }
                Err(error) => {
                    tracing::warn!(%job, %error, "a manifest can't be read, again soon");
                    let _ = myself.cast(JobMasterMessage::ManifestUnread(id));
                    return;
                }
            };
            let _ = myself.cast(JobMasterMessage::ManifestRead(manifest));
        }));
    }

    // --- checkpoints ---------------------------------------------------------------------------------

    /// Writes what a savepoint says of itself; and if the job ends with it, the manifest that it ends from.
    fn store_savepoint(&self, manifest: Manifest) {
        let (Some(machine), Some(coordinator)) = (&self.machine, self.coordinator.clone()) else {
            return;
        };
        let (job, id) = (self.args.job, manifest.id);
        let savepoint = SavepointManifest::describe(
            job,
            &machine.state().name,
            &self.args.graph,
            &manifest,
            &machine.state().splits,
            &savepoint_folder(&savepoint_name(job, id)),
        );
        let storage = self.args.node.checkpoints.clone();
        let myself = self.myself.clone();
        self.args.node.blocking.run(Box::new(move || {
            let store = || -> Result<(), Failure> {
                let failed = |error: StorageError| Failure::user(&error.into());
                let bytes = codec::encode(&savepoint)?;
                storage.write_savepoint(job, id, &bytes).map_err(failed)?;
                if manifest.kind.is_last() {
                    let bytes = codec::encode(&manifest)?;
                    storage.write_manifest(job, id, &bytes).map_err(failed)?;
                }
                Ok(())
            };
            let stored = Failure::caught(store);
            if stored.is_ok() && manifest.kind.is_last() {
                let _ = myself.cast(JobMasterMessage::ManifestStored(Box::new(manifest)));
            }
            let event = CheckpointEvent::ManifestStored {
                id,
                error: stored.err().map(|failure| failure.message),
            };
            let _ = coordinator.cast(CoordinatorMessage::Event(Box::new(event)));
        }));
    }

    /// Deletes what a savepoint left that will not be.
    fn delete_savepoint(&self, id: CheckpointId) {
        let (job, storage) = (self.args.job, self.args.node.checkpoints.clone());
        self.args.node.blocking.run(Box::new(move || {
            if let Err(error) = storage.delete_savepoint(job, id) {
                tracing::warn!(%job, %error, "what is left of a savepoint could not be deleted");
            }
        }));
    }

    fn coordinate(&self, event: CheckpointEvent) {
        if let Some(coordinator) = &self.coordinator {
            let _ = coordinator.cast(CoordinatorMessage::Event(Box::new(event)));
        }
    }

    fn start_checkpoints(&mut self, tasks: Tasks, reports: Vec<TaskReport>) {
        if std::mem::take(&mut self.forgetful) {
            self.checkpointing = Checkpointing::Recollecting(tasks);
            self.collect_again();
            return;
        }
        self.checkpointing = Checkpointing::On(tasks.clone());
        self.coordinate(CheckpointEvent::Started { tasks, reports });
    }

    async fn spawn_coordinator(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(machine) = &self.machine else {
            return Ok(());
        };
        let max_parallelism = self.args.graph.written.max_parallelism;
        let mut known = machine.state().clone();
        // What a predecessor has asked for is about to be true; its ids are taken.
        known.last_checkpoint = known.last_checkpoint.max(self.log.last_checkpoint());
        for failed in self.log.savepoints_failed() {
            known.apply(failed);
        }
        let args = CoordinatorArgs {
            node: Arc::clone(&self.args.node),
            job: self.args.job,
            graph: Arc::clone(&self.args.graph),
            master: self.myself.clone(),
            machine: rivus_core::job::CheckpointMachine::new(
                &known,
                max_parallelism,
                self.args.node.now(),
            ),
        };
        let supervisor = self.myself.get_cell();
        let (coordinator, _) =
            Actor::spawn_linked(None, CoordinatorActor, args, supervisor).await?;
        self.coordinator = Some(coordinator);
        Ok(())
    }

    /// The coordinator has died: another goes on from the log and from fresh reports.
    async fn restart_coordinator(&mut self) -> Result<(), ActorProcessingErr> {
        if self.coordinator_deaths.exceeded(self.args.node.now()) {
            return Err("its checkpoint coordinators die too often".into());
        }
        tracing::warn!(job = %self.args.job, "the checkpoint coordinator died, another goes on");
        self.spawn_coordinator().await?;
        match std::mem::replace(&mut self.checkpointing, Checkpointing::Quiet) {
            // What was acknowledged to it since the reports died with it.
            Checkpointing::Quiet => self.forgetful = true,
            Checkpointing::Quiescing => {
                self.checkpointing = Checkpointing::Quiescing;
                self.coordinate(CheckpointEvent::Quiesce);
            }
            Checkpointing::On(tasks) | Checkpointing::Recollecting(tasks) => {
                self.checkpointing = Checkpointing::Recollecting(tasks);
                self.collect_again();
            }
        }
        Ok(())
    }

    // --- the outside ---------------------------------------------------------------------------------

    fn publish(&self) {
        let view = match &self.machine {
            Some(machine) => self.view(machine),
            None => return,
        };
        let _ = self
            .args
            .manager
            .cast(JobManagerMessage::View(Box::new(view)));
    }

    fn manifest_stored(&mut self, manifest: Manifest) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        if let Some(bytes) = manifest.in_flight() {
            tracing::debug!(job = %self.args.job, checkpoint = %manifest.id, bytes, "barriers have overtaken");
            self.in_flight.insert(manifest.id, bytes);
        }
        let latest = machine.state().latest().map(|(id, _)| id);
        self.in_flight.retain(|id, _| Some(*id) >= latest);
        machine.set_manifest(manifest);
    }

    fn view(&self, machine: &JobMachine) -> JobView {
        let state = machine.state();
        let status = if let Some(outcome) = &state.outcome {
            JobStatus::Ended(outcome.clone())
        } else if !self.takeover.is_over() {
            JobStatus::Recovering
        } else if state.failing.is_some() || state.cancel_requested {
            JobStatus::Ending
        } else if machine.is_running() {
            JobStatus::Running
        } else {
            self.short_of_slots.clone().unwrap_or(JobStatus::Starting)
        };
        let subtasks = state.executions.values().filter_map(|execution| {
            let figures = self.figures.get(&execution.attempt)?;
            let vertex = self.args.graph.vertex(execution.attempt.subtask.vertex);
            Some(SubtaskView {
                attempt: execution.attempt,
                name: vertex.name.clone(),
                figures: *figures,
            })
        });
        JobView {
            job: self.args.job,
            name: state.name.clone(),
            status,
            epoch: state.epoch,
            subtasks: subtasks.collect(),
            savepoints: state.savepoints.clone(),
            last_checkpoint: state.latest().map(|(id, _)| id),
            checkpoints: state.completed_in_all,
            last_checkpoint_took: self.checkpoint_took,
            last_checkpoint_in_flight: state
                .latest()
                .and_then(|(id, _)| self.in_flight.get(&id).copied()),
            restarts: state.restarts,
            takeovers: state.takeovers,
            restarted_by_takeover: state.restarted_by_takeover,
            last_failure: state.last_failure.as_ref().map(ToString::to_string),
        }
    }

    /// The terminal entry is in the log; now what the job left may go. A failed job's checkpoints stay,
    /// for whoever wants to know why.
    fn clean_up(&self, outcome: &JobOutcome) {
        let Some(machine) = &self.machine else {
            return;
        };
        let keep = match outcome {
            JobOutcome::Failed(_) => machine.state().oldest().unwrap_or_default(),
            JobOutcome::Completed | JobOutcome::Stopped { .. } | JobOutcome::Canceled => {
                CheckpointId(u64::MAX)
            }
        };
        delete_checkpoints_below(&self.args.node, self.args.job, keep);
        let _ = self
            .args
            .resource_manager
            .cast(ResourceManagerMessage::ReleaseJob(self.args.job));
    }
}
