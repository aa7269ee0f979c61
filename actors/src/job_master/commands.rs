//! What TaskManagers are told.

use std::sync::Arc;

use ractor::ActorProcessingErr;
use rivus_core::job::JobMachine;
use rivus_core::{AttemptId, CheckpointId, Slot};

use super::{JobMasterState, KnownTaskManager};
use crate::job_tasks::{JobCommand, Placed};
use crate::task_manager::TaskManagerMessage;

impl JobMasterState {
    pub(super) fn command(&self, to: &KnownTaskManager, command: JobCommand) {
        let Some(machine) = &self.machine else {
            return;
        };
        let _ = to.actor.cast(TaskManagerMessage::Command {
            job: self.args.job,
            epoch: machine.state().epoch,
            master: self.myself.clone(),
            command,
        });
    }

    pub(super) fn command_all(&self, command: impl Fn() -> JobCommand) {
        for task_manager in self.task_managers.values() {
            self.command(task_manager, command());
        }
    }

    pub(super) fn command_at(&self, attempt: AttemptId, command: JobCommand) {
        let place = self.machine.as_ref().and_then(|machine| {
            let execution = machine.state().executions.get(&attempt.subtask)?;
            self.task_managers.get(&execution.slot.incarnation)
        });
        if let Some(task_manager) = place {
            self.command(task_manager, command);
        }
    }

    pub(super) fn deploy(
        &self,
        attempts: &[(AttemptId, Slot)],
        restore: Option<CheckpointId>,
        only_commit: bool,
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
        let state = self.machine.as_ref().map(JobMachine::state);
        let program = state.and_then(|state| state.program.clone()).map(Box::new);
        let parallelism = state.and_then(|state| state.parallelism);
        for (incarnation, task_manager) in &self.task_managers {
            let here: Vec<(AttemptId, Slot)> = attempts
                .iter()
                .filter(|(_, slot)| slot.incarnation == *incarnation)
                .cloned()
                .collect();
            if !here.is_empty() {
                let command = JobCommand::Deploy {
                    program: program.clone(),
                    parallelism,
                    fingerprint: self.args.graph.fingerprint(),
                    options: Arc::clone(&self.options),
                    attempts: here,
                    restore: manifest.clone(),
                    only_commit,
                };
                self.command(task_manager, command);
            }
        }
        Ok(())
    }

    /// Connects executions, wherever they run.
    pub(super) fn connect(&self, attempts: &[AttemptId]) {
        let placed = attempts.iter().filter_map(|attempt| {
            let executions = &self.machine.as_ref()?.state().executions;
            let incarnation = executions.get(&attempt.subtask)?.slot.incarnation;
            let known = self.task_managers.get(&incarnation);
            Some(Placed {
                attempt: *attempt,
                incarnation,
                data_address: known.map_or_else(String::new, |known| known.data_address.clone()),
            })
        });
        let placed: Vec<Placed> = placed.collect();
        self.command_all(|| JobCommand::Connect(placed.clone()));
    }
}
