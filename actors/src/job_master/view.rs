//! The job as it is seen from outside, and what it leaves.

use rivus_core::SubtaskMetrics;
use rivus_core::job::{JobMachine, JobOutcome};

use super::JobMasterState;
use crate::coordinator::clean_up;
use crate::job_manager::JobManagerMessage;
use crate::resource_manager::ResourceManagerMessage;
use crate::view::{JobStatus, JobView, SubtaskView};

impl JobMasterState {
    pub(super) fn publish(&self) {
        let view = match &self.machine {
            Some(machine) => self.view(machine),
            None => return,
        };
        let _ = self
            .args
            .manager
            .cast(JobManagerMessage::View(Box::new(view)));
    }

    pub(super) fn view(&self, machine: &JobMachine) -> JobView {
        let state = machine.state();
        let by_log = JobView::of_log(self.args.job, state, &self.history);
        let status = if state.outcome.is_some() || !self.takeover.is_over() {
            by_log.status
        } else if state.failing.is_some() || state.cancel_requested {
            JobStatus::Ending
        } else if machine.is_running() {
            JobStatus::Running
        } else {
            self.short_of_slots.clone().unwrap_or(JobStatus::Starting)
        };
        let nothing = SubtaskMetrics::default().figures();
        let subtasks = state.executions.values().map(|execution| {
            let vertex = self.args.graph.vertex(execution.attempt.subtask.vertex);
            let figures = self.figures.get(&execution.attempt);
            SubtaskView {
                attempt: execution.attempt,
                name: vertex.name.clone(),
                task_manager: execution.slot.task_manager.clone(),
                is_measured: figures.is_some(),
                figures: *figures.unwrap_or(&nothing),
            }
        });
        JobView {
            status,
            subtasks: subtasks.collect(),
            last_checkpoint_took: self.checkpoint_took,
            last_checkpoint_in_flight: state
                .latest()
                .and_then(|(id, _)| self.in_flight.get(&id).copied()),
            ..by_log
        }
    }

    /// The terminal entry is in the log; now what the job left may go, but for what is kept.
    pub(super) fn clean_up(&self, outcome: &JobOutcome) {
        let Some(machine) = &self.machine else {
            return;
        };
        let retained = machine.state().kept();
        if *outcome == JobOutcome::Canceled && !retained.is_empty() {
            tracing::warn!(job = %self.args.job, "the last checkpoint's commits are not confirmed; it is kept");
        }
        if let Some((start, savepoint)) = machine.state().rescaled_from
            && !retained.contains(&start)
        {
            self.delete_savepoint(savepoint);
        }
        clean_up(&self.args.node, self.args.job, retained, true);
        let _ = self
            .args
            .resource_manager
            .cast(ResourceManagerMessage::ReleaseJob(self.args.job));
    }
}
