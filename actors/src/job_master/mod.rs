//! The master of one job, under one leader. The decisions are
//! [`JobMachine`](rivus_core::job::JobMachine)'s; this actor carries them out.
//!
//! Every JobMaster begins the same way, whether the job is new, was led by another process, or by an actor
//! that has just died: FENCE (its epoch is appended, every older leader loses at its next write), REPLAY
//! (the log), COLLECT (reports of what is running), DECIDE, RESUME. Data flows throughout.
//!
//! | file | concern |
//! |---|---|
//! | `mod.rs` | the mailbox |
//! | `takeover.rs` | from the fence to the decision |
//! | `actions.rs` | what the decisions ask for |
//! | `commands.rs` | what TaskManagers are told |
//! | `checkpoints.rs` | the coordinator, and what is stored |
//! | `aligned.rs` | sources that wait for each other |
//! | `rescale.rs` | what the next plan starts from |
//! | `splits.rs` | what sources find, at first and while the job runs |
//! | `log.rs` | the one writer of the job's log |
//! | `view.rs` | the job as it is seen from outside |

mod actions;
mod aligned;
mod checkpoints;
mod commands;
mod log;
mod rescale;
mod splits;
mod takeover;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::job::{
    CheckpointEvent, JobEvent, JobHistory, JobMachine, JobOptions, JobReport, JobTimer, LogEntry,
    Manifest, Rescaling, SavepointRequest, Tasks,
};
use rivus_core::{
    AlignmentGroup, AnyEnumerator, AttemptId, Barrier, CheckpointId, EncodedSplit, Failure,
    Incarnation, JobGraph, JobId, Slot, SubtaskFigures, TaskManagerId, VertexId,
};

use uuid::Uuid;

use self::log::{Appended, LogWriter, RETRY};
pub use self::rescale::RescaleLook;
use self::splits::Look;
pub(crate) use self::takeover::look;
pub use self::takeover::replay;
use self::takeover::{Replayed, Takeover};
use crate::context::NodeContext;
use crate::coordinator::CoordinatorMessage;
use crate::job_manager::{Intensity, JobManagerMessage};
use crate::job_tasks::{JobCommand, TaskEvent};
use crate::probe::{ActorKind, Step};
use crate::resource_manager::ResourceManagerMessage;
use crate::task_manager::TaskManagerMessage;
use crate::view::JobStatus;

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
        /// Where it takes data from other processes.
        data_address: String,
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
    /// It is time to look once more.
    LookAgain(RescaleLook),
    /// Whether the job would have the slots that it needs to be rescaled; else how many there are.
    SlotsLooked {
        /// What it was looked for.
        look: RescaleLook,
        /// What was found.
        found: Result<(), usize>,
    },
    /// There are not enough slots yet.
    SlotsShort {
        /// How many the job needs.
        needed: usize,
        /// How many it could have.
        available: usize,
        /// The state backend that it needs them with, if it needs one.
        backend: Option<String>,
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
    /// Time to prepare a rescale again: the storage failed before.
    PrepareRescale(Rescaling),
    /// What the next plan starts from is stored, or can't be.
    RescalePrepared(Box<JobEvent>),
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
    /// What has happened to the job. Whoever looks at it shares it.
    history: Arc<JobHistory>,
    takeover: Takeover,
    coordinator: Option<ActorRef<CoordinatorMessage>>,
    /// What a coordinator that is restarted has to be told again.
    checkpointing: Checkpointing,
    coordinator_deaths: Intensity,
    /// Whether acknowledgements may have died with a coordinator that was to be told to begin.
    forgetful: bool,
    task_managers: BTreeMap<Incarnation, KnownTaskManager>,
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

/// A TaskManager that is there.
struct KnownTaskManager {
    actor: ActorRef<TaskManagerMessage>,
    /// Where it takes data from other processes.
    data_address: String,
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
            history: Arc::default(),
            takeover: Takeover::default(),
            coordinator: None,
            checkpointing: Checkpointing::Quiet,
            coordinator_deaths: Intensity::default(),
            forgetful: false,
            task_managers: BTreeMap::new(),
            options: Arc::default(),
            figures: BTreeMap::new(),
            enumerators: BTreeMap::new(),
            alignment: BTreeMap::new(),
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
                state.measured(figures);
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
            JobMasterMessage::PrepareRescale(rescaling) => state.prepare_rescale(rescaling),
            JobMasterMessage::RescalePrepared(event) => state.decide(*event)?,
            JobMasterMessage::Cancel => state.cancel()?,
            JobMasterMessage::Savepoint(request) => state.savepoint(request)?,
            JobMasterMessage::Timer(timer) => state.decide(JobEvent::Timer(timer))?,
            JobMasterMessage::SlotsShort {
                needed,
                available,
                backend,
            } => {
                state.short_of_slots = Some(JobStatus::WaitingForSlots {
                    needed,
                    available,
                    backend,
                });
                state.publish();
            }
            JobMasterMessage::SlotsGranted(slots) => {
                state.short_of_slots = None;
                state.decide(JobEvent::SlotsGranted(slots))?;
            }
            JobMasterMessage::LookAgain(look) => state.look_for_slots(look)?,
            JobMasterMessage::SlotsLooked { look, found } => state.slots_looked(look, found)?,
            JobMasterMessage::SplitsFound { source, found } => state.splits_found(source, found)?,
            JobMasterMessage::SplitsDiscovered(look) => state.splits_discovered(*look)?,
            JobMasterMessage::ManifestRead(manifest) => state.manifest_read(manifest)?,
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
                data_address,
            } => {
                let known = KnownTaskManager {
                    actor,
                    data_address,
                };
                state.task_manager_joined(&id, incarnation, known)?;
            }
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

    /// Of executions that have been replaced nothing is kept.
    fn measured(&mut self, figures: Vec<(AttemptId, SubtaskFigures)>) {
        self.figures.extend(figures);
        if let Some(machine) = &self.machine {
            let executions = &machine.state().executions;
            self.figures.retain(|attempt, _| {
                let execution = executions.get(&attempt.subtask);
                execution.is_some_and(|execution| execution.attempt == *attempt)
            });
        }
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
        match request.rescale_to {
            Some(_) => self.look_for_slots(RescaleLook::first(request)),
            None => self.decide(JobEvent::Savepoint(request)),
        }
    }

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
}
