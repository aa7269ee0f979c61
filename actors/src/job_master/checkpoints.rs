//! The coordinator, and what is stored of checkpoints and savepoints.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr};
use rivus_core::job::{CheckpointEvent, JobEvent, Manifest, SavepointManifest, TaskReport, Tasks};
use rivus_core::{CheckpointId, Failure, codec, files_refused};
use rivus_state::{StorageError, savepoint_folder, savepoint_name};

use super::{Checkpointing, JobMasterMessage, JobMasterState};
use crate::coordinator::{CoordinatorActor, CoordinatorArgs, CoordinatorMessage};

impl JobMasterState {
    /// Goes on from a checkpoint, if this process's backend can read it. Where tasks run in other processes, it is for
    /// those to say.
    pub(super) fn manifest_read(
        &mut self,
        manifest: Result<Box<Manifest>, Failure>,
    ) -> Result<(), ActorProcessingErr> {
        let node = &self.args.node;
        let format = node.backend.as_ref().map(|backend| backend.format());
        if node.config.task_managers > 0
            && let Ok(manifest) = &manifest
            && let Some(stored) = manifest
                .stores()
                .find(|stored| Some(&*stored.format) != format)
        {
            let own = match format {
                Some(format) => format!("state backend {format}"),
                None => "state in memory".to_owned(),
            };
            self.refuse(files_refused(&stored.operator, &stored.format, &own));
            return Ok(());
        }
        self.decide(JobEvent::ManifestRead(manifest))
    }

    pub(super) fn read_manifest(&self, id: CheckpointId) {
        let (job, myself) = (self.args.job, self.myself.clone());
        let storage = self.args.node.checkpoints.clone();
        self.args.node.blocking.run(Box::new(move || {
            let manifest = match storage.read_manifest(job, id) {
                Ok(bytes) => codec::decode::<Manifest>(&bytes)
                    .map(Box::new)
                    .map_err(Failure::permanent),
                Err(error) if error.is_for_good() => Err(storage.failure(error)),
                Err(error) => {
                    tracing::warn!(%job, %error, "a manifest can't be read, again soon");
                    let _ = myself.cast(JobMasterMessage::ManifestUnread(id));
                    return;
                }
            };
            let _ = myself.cast(JobMasterMessage::ManifestRead(manifest));
        }));
    }

    /// Writes what a savepoint says of itself; and if the job ends with it, the manifest that it ends from.
    pub(super) fn store_savepoint(&self, manifest: Manifest) {
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
    pub(super) fn delete_savepoint(&self, id: CheckpointId) {
        let (job, storage) = (self.args.job, self.args.node.checkpoints.clone());
        self.args.node.blocking.run(Box::new(move || {
            if let Err(error) = storage.delete_savepoint(job, id) {
                tracing::warn!(%job, %error, "what is left of a savepoint could not be deleted");
            }
        }));
    }

    pub(super) fn coordinate(&self, event: CheckpointEvent) {
        if let Some(coordinator) = &self.coordinator {
            let _ = coordinator.cast(CoordinatorMessage::Event(Box::new(event)));
        }
    }

    pub(super) fn start_checkpoints(&mut self, tasks: Tasks, reports: Vec<TaskReport>) {
        if std::mem::take(&mut self.forgetful) {
            self.checkpointing = Checkpointing::Recollecting(tasks);
            self.collect_again();
            return;
        }
        self.checkpointing = Checkpointing::On(tasks.clone());
        self.coordinate(CheckpointEvent::Started { tasks, reports });
    }

    pub(super) async fn spawn_coordinator(&mut self) -> Result<(), ActorProcessingErr> {
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
    pub(super) async fn restart_coordinator(&mut self) -> Result<(), ActorProcessingErr> {
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

    pub(super) fn manifest_stored(&mut self, manifest: Manifest) {
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
}
