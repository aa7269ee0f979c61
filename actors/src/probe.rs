//! Where a test looks in, and where it breaks things: every actor passes a probe at every protocol step.

use std::fmt::{self, Display};

use ractor::{ActorCell, ActorProcessingErr};
use rivus_core::job::LogEntry;
use rivus_core::{CheckpointId, JobId};

/// The kinds of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// Contends for leadership.
    LeaderElection,
    /// Lives as long as its process leads.
    JobManager,
    /// Submits, recovers, cancels and lists jobs.
    Dispatcher,
    /// TaskManagers and slots.
    ResourceManager,
    /// One job's master.
    JobMaster,
    /// One job's checkpoints.
    CheckpointCoordinator,
    /// One process's slots.
    TaskManager,
    /// One job's subtasks in one process.
    JobTasks,
    /// One execution of a chain.
    Subtask,
}

/// The steps of the protocols at which an actor can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// LeaderElection: about to campaign.
    Campaign,
    /// LeaderElection: about to renew.
    Renew,
    /// JobManager: about to start a JobMaster.
    StartMaster,
    /// JobManager: a child has ended.
    ChildEnded,
    /// Dispatcher: has read which jobs there are.
    Recover,
    /// Dispatcher: about to log a new job.
    Submit,
    /// ResourceManager: a TaskManager registers.
    Register,
    /// ResourceManager: slots are asked for.
    Allocate,
    /// JobMaster: about to write its epoch.
    Fence,
    /// JobMaster: has replayed the log.
    Replay,
    /// JobMaster: a TaskManager's report has come in.
    Collect,
    /// JobMaster: about to decide what is adopted.
    Decide,
    /// JobMaster: about to write an entry.
    BeforeAppend,
    /// JobMaster: an entry has been written and nothing has followed from it yet.
    AfterAppend,
    /// JobMaster: about to fold the log into a snapshot.
    Compact,
    /// JobMaster: about to deploy.
    Deploy,
    /// JobMaster: about to connect the tasks.
    Connect,
    /// JobMaster: a task has failed.
    TaskFailed,
    /// JobMaster: about to hand out a split.
    AssignSplit,
    /// CheckpointCoordinator: about to trigger, the id is logged.
    Trigger,
    /// CheckpointCoordinator: between two triggers.
    BetweenTriggers,
    /// CheckpointCoordinator: an acknowledgement has come in.
    Acknowledge,
    /// CheckpointCoordinator: about to store the manifest.
    StoreManifest,
    /// CheckpointCoordinator: about to ask for the entry that completes the checkpoint.
    Complete,
    /// CheckpointCoordinator: completion is logged, nobody has been told.
    Announce,
    /// TaskManager: a leader has been found.
    LeaderFound,
    /// TaskManager: about to pass a command on.
    Command,
    /// JobTasks: about to start executions.
    StartTasks,
    /// JobTasks: about to connect them.
    ConnectTasks,
    /// JobTasks: about to report to a new leader.
    Report,
    /// JobTasks: about to pass a task's event on.
    TaskEvent,
    /// Subtask: its chain has been built.
    Built,
    /// Subtask: what a barrier had overtaken when its checkpoint was taken is about to be put back.
    PutBack,
    /// Subtask: a receiver opens a channel.
    Open,
    /// Subtask: about to work on a batch, or to read one.
    Batch,
    /// Subtask: a barrier has arrived.
    Barrier,
    /// Subtask: a barrier is about to overtake.
    Overtake,
    /// Subtask: gives a checkpoint up, and is about to say so.
    Decline,
    /// Subtask: the state is frozen, the barrier has been passed on.
    Frozen,
    /// Subtask: the files of one of its stores are stored, its snapshot and other stores may not be.
    FileStored,
    /// Subtask: its snapshot is stored and not acknowledged yet.
    Stored,
    /// Subtask: a checkpoint is complete, about to commit.
    Commit,
    /// Subtask: has committed and not said so.
    Committed,
    /// Subtask: all input has been worked on.
    Drained,
}

impl Step {
    /// Every step, with the kind of actor that passes it.
    pub const ALL: [(ActorKind, Step); 44] = [
        (ActorKind::LeaderElection, Step::Campaign),
        (ActorKind::LeaderElection, Step::Renew),
        (ActorKind::JobManager, Step::StartMaster),
        (ActorKind::JobManager, Step::ChildEnded),
        (ActorKind::Dispatcher, Step::Recover),
        (ActorKind::Dispatcher, Step::Submit),
        (ActorKind::ResourceManager, Step::Register),
        (ActorKind::ResourceManager, Step::Allocate),
        (ActorKind::JobMaster, Step::Fence),
        (ActorKind::JobMaster, Step::Replay),
        (ActorKind::JobMaster, Step::Collect),
        (ActorKind::JobMaster, Step::Decide),
        (ActorKind::JobMaster, Step::BeforeAppend),
        (ActorKind::JobMaster, Step::AfterAppend),
        (ActorKind::JobMaster, Step::Compact),
        (ActorKind::JobMaster, Step::Deploy),
        (ActorKind::JobMaster, Step::Connect),
        (ActorKind::JobMaster, Step::TaskFailed),
        (ActorKind::JobMaster, Step::AssignSplit),
        (ActorKind::CheckpointCoordinator, Step::Trigger),
        (ActorKind::CheckpointCoordinator, Step::BetweenTriggers),
        (ActorKind::CheckpointCoordinator, Step::Acknowledge),
        (ActorKind::CheckpointCoordinator, Step::StoreManifest),
        (ActorKind::CheckpointCoordinator, Step::Complete),
        (ActorKind::CheckpointCoordinator, Step::Announce),
        (ActorKind::TaskManager, Step::LeaderFound),
        (ActorKind::TaskManager, Step::Command),
        (ActorKind::JobTasks, Step::StartTasks),
        (ActorKind::JobTasks, Step::ConnectTasks),
        (ActorKind::JobTasks, Step::Report),
        (ActorKind::JobTasks, Step::TaskEvent),
        (ActorKind::Subtask, Step::Built),
        (ActorKind::Subtask, Step::PutBack),
        (ActorKind::Subtask, Step::Open),
        (ActorKind::Subtask, Step::Batch),
        (ActorKind::Subtask, Step::Barrier),
        (ActorKind::Subtask, Step::Overtake),
        (ActorKind::Subtask, Step::Decline),
        (ActorKind::Subtask, Step::Frozen),
        (ActorKind::Subtask, Step::FileStored),
        (ActorKind::Subtask, Step::Stored),
        (ActorKind::Subtask, Step::Commit),
        (ActorKind::Subtask, Step::Committed),
        (ActorKind::Subtask, Step::Drained),
    ];
}

/// How an actor is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Its handler panics.
    Panic,
    /// Its handler returns an error.
    Error,
    /// It is killed; ractor does that at the handler's next await.
    Kill,
}

/// Looks in on a running system. The default looks at nothing and breaks nothing.
pub trait Probe: Send + Sync {
    /// An actor has started.
    fn spawned(&self, kind: ActorKind, label: &dyn Display, actor: ActorCell) {
        let _ = (kind, label, actor);
    }

    /// An actor passes a step; it may be made to fail there.
    fn at(&self, kind: ActorKind, label: &dyn Display, step: Step) -> Option<Fault> {
        let _ = (kind, label, step);
        None
    }

    /// A JobMaster is about to write an entry, or has written it: it passes the step after this.
    fn entry(&self, label: &dyn Display, entry: &LogEntry) {
        let _ = (label, entry);
    }

    /// A subtask has been built from what a checkpoint holds of it.
    fn restored(&self, label: &dyn Display, checkpoint: CheckpointId) {
        let _ = (label, checkpoint);
    }

    /// A subtask has filed an element under its channel. All its channels together hold `queued_bytes` now.
    fn filed(&self, label: &dyn Display, channels: usize, queued_bytes: usize) {
        let _ = (label, channels, queued_bytes);
    }
}

/// The label of what belongs to a job: the first eight digits of the job's id stand last.
pub(crate) struct OfJob<L>(pub(crate) L, pub(crate) JobId);

impl<L: Display> Display for OfJob<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, ..) = self.1.0.as_fields();
        write!(f, "{} of {first:08x}", self.0)
    }
}

/// A failure that a probe asked for.
#[derive(Debug)]
pub struct InjectedFault(pub ActorKind, pub Step);

impl Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an injected fault at {:?} of {:?}", self.1, self.0)
    }
}

impl std::error::Error for InjectedFault {}

/// Passes a step.
pub(crate) fn pass(
    probe: Option<&dyn Probe>,
    kind: ActorKind,
    label: &dyn Display,
    step: Step,
    actor: &ActorCell,
) -> Result<(), ActorProcessingErr> {
    let Some(fault) = probe.and_then(|probe| probe.at(kind, label, step)) else {
        return Ok(());
    };
    match fault {
        Fault::Panic => std::panic::panic_any(InjectedFault(kind, step).to_string()),
        Fault::Error => Err(Box::new(InjectedFault(kind, step))),
        Fault::Kill => {
            actor.kill();
            Ok(())
        }
    }
}
