//! The plan that executions are built from, at hand or built by its name; commands wait while it is being built.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::ActorProcessingErr;
use rivus_core::job::{JobOptions, Manifest, ProgramRef};
use rivus_core::{AttemptId, Failure, JobGraph, Slot};

use super::{JobCommand, JobTasksMessage, JobTasksState, TaskEvent};

impl JobTasksState {
    /// Carries a command out, or keeps it until the plan is there that it needs.
    pub(super) fn receive(&mut self, command: JobCommand) -> Result<(), ActorProcessingErr> {
        if let Some(waiting) = &mut self.waiting {
            waiting.push_back(command);
            return Ok(());
        }
        if let JobCommand::Deploy {
            program,
            parallelism,
            fingerprint,
            ..
        } = &command
            && !self.has_plan(*fingerprint)
        {
            let (programs, job) = (&self.args.node.programs, self.args.job);
            // One that can't run at that parallelism is refused as any other plan.
            let graph = programs.at(job, *parallelism);
            let Some(graph) = graph.unwrap_or_else(|_| programs.get(job)) else {
                self.build_program(program.as_deref());
                self.waiting = Some(VecDeque::from([command]));
                return Ok(());
            };
            self.graph = Some(graph);
        }
        self.command(command)
    }

    /// Whether the plan at hand is this one: a job that was rescaled has another than before.
    fn has_plan(&self, fingerprint: u64) -> bool {
        let graph = self.graph.as_ref();
        graph.is_some_and(|graph| graph.fingerprint() == fingerprint)
    }

    /// Builds the plan by its name, off this actor: it is user code.
    pub(super) fn build_program(&self, program: Option<&ProgramRef>) {
        let (node, job) = (Arc::clone(&self.args.node), self.args.job);
        let (program, myself) = (program.cloned(), self.myself.clone());
        self.args.node.blocking.run(Box::new(move || {
            let built = node.programs.obtain(job, program.as_ref());
            let _ = myself.cast(JobTasksMessage::ProgramBuilt(built));
        }));
    }

    pub(super) fn program_built(
        &mut self,
        built: Result<Arc<JobGraph>, Failure>,
    ) -> Result<(), ActorProcessingErr> {
        let mut waiting = self.waiting.take().unwrap_or_default();
        match built {
            // Now it is at hand.
            Ok(_) => {}
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
    pub(super) fn refuse(&mut self, attempts: Vec<(AttemptId, Slot)>, failure: &Failure) {
        for (attempt, slot) in attempts {
            if let Some(task) = self.new_task(attempt, slot, None) {
                self.tasks.insert(attempt, task);
                self.over(attempt, TaskEvent::Failed(failure.clone()));
            }
        }
    }

    pub(super) fn deploy(
        &mut self,
        fingerprint: u64,
        options: &Arc<JobOptions>,
        attempts: Vec<(AttemptId, Slot)>,
        restore: Option<(&Manifest, bool)>,
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
}
