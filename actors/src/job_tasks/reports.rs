//! What the leader hears: of everything that happens, and when it asks for all of it.

use rivus_core::job::{JobReport, TaskPhase};
use rivus_core::{AttemptId, SubtaskFigures};

use super::{JobTasksMessage, JobTasksState, TaskEvent};
use crate::job_master::JobMasterMessage;

impl JobTasksState {
    /// Leaves a mark in the report.
    pub(super) fn note(&mut self, attempt: AttemptId, event: &TaskEvent) {
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return;
        };
        let report = &mut task.report;
        match event {
            TaskEvent::Ready => report.phase = TaskPhase::Ready,
            TaskEvent::Running => report.phase = TaskPhase::Running,
            TaskEvent::Drained => report.phase = TaskPhase::Drained,
            TaskEvent::NeedsSplit => report.needs_split = true,
            // The next leader is told anew, the one when it announces the checkpoint again.
            TaskEvent::Reached { .. } | TaskEvent::Committed { .. } => {}
            TaskEvent::Acknowledged { id, snapshot } => {
                report.acknowledged = Some((*id, snapshot.clone()));
            }
            TaskEvent::Declined { id, .. } => report.declined = report.declined.max(*id),
            TaskEvent::Failed(failure) => report.phase = TaskPhase::Failed(failure.clone()),
            TaskEvent::Canceled => report.phase = TaskPhase::Canceled,
        }
    }

    /// Passes a subtask's event on. If nobody hears it, the report has it.
    pub(super) fn tell(&self, attempt: AttemptId, event: TaskEvent) {
        if let Some(leader) = &self.leader {
            let _ = leader
                .master
                .cast(JobMasterMessage::Task { attempt, event });
        }
    }

    pub(super) fn report(&self) {
        if let Some(leader) = &self.leader {
            let report = JobReport {
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

    pub(super) fn measure(&mut self) {
        self.look_for_stuck();
        self.tell_figures(|_| true);
        self.measure_later();
    }

    pub(super) fn tell_figures(&self, of: impl Fn(AttemptId) -> bool) {
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

    pub(super) fn measure_later(&self) {
        let interval = self.args.node.config.metrics_interval;
        let message = JobTasksMessage::Measure;
        self.args.node.send_later(&self.myself, interval, message);
    }
}
