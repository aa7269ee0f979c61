//! One job's checkpoints. The decisions are [`CheckpointMachine`]'s; this actor carries them out. It writes
//! nothing to the log itself: its JobMaster is the log's one writer.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::job::{
    CheckpointAction, CheckpointEvent, CheckpointMachine, LogEntry, Manifest, Tasks,
};
use rivus_core::{Barrier, CheckpointId, Failure, JobGraph, JobId, codec};

use crate::context::NodeContext;
use crate::job_master::JobMasterMessage;
use crate::planted;
use crate::probe::{ActorKind, OfJob, Step};

/// What the actor is told.
pub enum CoordinatorMessage {
    /// Something has happened.
    Event(Box<CheckpointEvent>),
    /// Look at the clock.
    Tick,
}

/// What the actor is started with.
pub struct CoordinatorArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// The job.
    pub job: JobId,
    /// Its plan.
    pub graph: Arc<JobGraph>,
    /// Its master.
    pub master: ActorRef<JobMasterMessage>,
    /// The decisions, from where the log stands.
    pub machine: CheckpointMachine,
}

/// The actor.
pub struct CoordinatorActor;

/// What the actor remembers.
pub struct CoordinatorState {
    args: CoordinatorArgs,
    myself: ActorRef<CoordinatorMessage>,
    tasks: Tasks,
    /// When a `Tick` is on its way.
    tick_at: Option<Duration>,
}

impl Actor for CoordinatorActor {
    type Msg = CoordinatorMessage;
    type State = CoordinatorState;
    type Arguments = CoordinatorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CoordinatorMessage>,
        args: CoordinatorArgs,
    ) -> Result<CoordinatorState, ActorProcessingErr> {
        let label = OfJob("checkpoints", args.job);
        let kind = ActorKind::CheckpointCoordinator;
        args.node.spawned(kind, &label, myself.get_cell());
        Ok(CoordinatorState {
            args,
            myself,
            tasks: Tasks::new(),
            tick_at: None,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        message: CoordinatorMessage,
        state: &mut CoordinatorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CoordinatorMessage::Event(event) => {
                if let CheckpointEvent::Acknowledged { .. } = &*event {
                    state.pass(Step::Acknowledge)?;
                }
                if let CheckpointEvent::Started { tasks, .. } = &*event {
                    state.tasks.clone_from(tasks);
                }
                state.decide(*event)?;
            }
            CoordinatorMessage::Tick => {
                state.tick_at = None;
                state.decide(CheckpointEvent::Tick)?;
            }
        }
        Ok(())
    }
}

impl CoordinatorState {
    fn pass(&self, step: Step) -> Result<(), ActorProcessingErr> {
        let cell = self.myself.get_cell();
        let node = &self.args.node;
        let label = OfJob("checkpoints", self.args.job);
        node.pass(ActorKind::CheckpointCoordinator, &label, step, &cell)
    }

    fn decide(&mut self, event: CheckpointEvent) -> Result<(), ActorProcessingErr> {
        let now = self.args.node.now();
        for action in self.args.machine.on_event(event, now) {
            self.act(action)?;
        }
        if let Some(wait) = self.args.machine.next_tick(now) {
            let at = now + wait;
            if self.tick_at.is_none_or(|due| due > at) {
                self.tick_at = Some(at);
                let node = &self.args.node;
                node.send_later(&self.myself, wait, CoordinatorMessage::Tick);
            }
        }
        Ok(())
    }

    fn act(&mut self, action: CheckpointAction) -> Result<(), ActorProcessingErr> {
        let master = &self.args.master;
        let message = match action {
            CheckpointAction::Append(entry) => {
                if let LogEntry::CheckpointCompleted { id, .. } = &entry {
                    self.pass(Step::Complete)?;
                    if planted::commit_before_log() {
                        let _ = master.cast(JobMasterMessage::AnnounceCompleted(*id));
                    }
                }
                JobMasterMessage::Append(entry)
            }
            CheckpointAction::Trigger(barrier) => return self.trigger(barrier),
            CheckpointAction::StoreManifest(manifest) => {
                self.pass(Step::StoreManifest)?;
                if manifest.kind.is_savepoint() {
                    // What a savepoint says of itself the master knows best.
                    JobMasterMessage::StoreSavepoint(Box::new(manifest))
                } else {
                    self.store(&manifest);
                    return Ok(());
                }
            }
            CheckpointAction::AnnounceCompleted(id) => {
                self.pass(Step::Announce)?;
                JobMasterMessage::AnnounceCompleted(id)
            }
            CheckpointAction::AnnounceAborted(id) => JobMasterMessage::AnnounceAborted(id),
            CheckpointAction::Quiesced => JobMasterMessage::Quiesced,
            CheckpointAction::JobDone => JobMasterMessage::JobDone,
            CheckpointAction::FailJob(failure) => JobMasterMessage::FailJob(failure),
        };
        let _ = self.args.master.cast(message);
        Ok(())
    }

    /// Tells the sources, one after the other.
    fn trigger(&self, barrier: Barrier) -> Result<(), ActorProcessingErr> {
        self.pass(Step::Trigger)?;
        let sources = self.tasks.iter().filter(|(subtask, _)| {
            let vertex = self.args.graph.vertex(subtask.vertex);
            vertex.is_source
        });
        for (number, (_, attempt)) in sources.enumerate() {
            if number > 0 {
                self.pass(Step::BetweenTriggers)?;
            }
            let message = JobMasterMessage::Trigger(*attempt, barrier);
            let _ = self.args.master.cast(message);
        }
        Ok(())
    }

    /// Stores the manifest, off this actor.
    fn store(&self, manifest: &Manifest) {
        let id = manifest.id;
        let encoded = codec::encode(manifest);
        let storage = self.args.node.checkpoints.clone();
        let (job, myself, master) = (self.args.job, self.myself.clone(), self.args.master.clone());
        let manifest = Box::new(manifest.clone());
        self.args.node.blocking.run(Box::new(move || {
            let stored = encoded
                .map_err(|error| Failure::from(error).message)
                .and_then(|bytes| {
                    let stored = storage.write_manifest(job, id, &bytes);
                    stored.map_err(|error| Failure::user(&error.into()).message)
                });
            if stored.is_ok() {
                let _ = master.cast(JobMasterMessage::ManifestStored(manifest));
            }
            let event = CheckpointEvent::ManifestStored {
                id,
                error: stored.err(),
            };
            let _ = myself.cast(CoordinatorMessage::Event(Box::new(event)));
        }));
    }
}

/// Deletes what is stored of checkpoints below those that are retained: superseded ones, and what aborted ones left
/// behind; and files of stores that none of the retained names. The log's retention only moves forward, so even a leader
/// that doesn't know yet that it has been replaced deletes nothing that its successor needs.
pub(crate) fn clean_up(
    node: &NodeContext,
    job: JobId,
    retained: Vec<CheckpointId>,
    has_ended: bool,
) {
    let storage = node.checkpoints.clone();
    node.blocking.run(Box::new(move || {
        if let Err(error) = storage.clean_up(job, &retained, has_ended) {
            // It is garbage; the next checkpoint's clean-up sees it again.
            tracing::warn!(%job, %error, "an old checkpoint could not be deleted");
        }
    }));
}
