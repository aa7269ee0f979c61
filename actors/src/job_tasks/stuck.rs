//! User code that doesn't return. It can't be stopped: it has its worker, and nothing that it is told arrives. So it is
//! named while it lasts; and an execution that was to end, and hasn't for `cancellation_timeout`, is given up for ended.
//! Nobody hears it any more: its successors have other numbers. What is started from then on goes to other workers, for as
//! long as it is there.

use std::time::Duration;

use rivus_core::AttemptId;

use super::{JobTasksState, TaskEvent};

/// A turn that takes longer is worth a warning.
const SLOW_TURN: Duration = Duration::from_secs(1);

impl JobTasksState {
    pub(super) fn look_for_stuck(&mut self) {
        let now = self.args.node.now();
        let mut stuck = Vec::new();
        for (attempt, task) in &mut self.tasks {
            if task.report.phase.is_over() {
                continue;
            }
            let began = task.metrics.turn_began();
            if let Some(began) = began
                && now.saturating_sub(began) > SLOW_TURN
                && task.complained != Some(began)
            {
                task.complained = Some(began);
                let operators = self
                    .graph
                    .iter()
                    .flat_map(|graph| graph.operators(attempt.subtask.vertex));
                let operator = task
                    .metrics
                    .running()
                    .and_then(|index| operators.into_iter().nth(index));
                let operator = operator.map_or_else(String::new, |operator| operator.0);
                tracing::warn!(job = %self.args.job, %attempt, operator,
                    "a turn has lasted for more than a second and isn't over: does user code block?");
            }
            let waited = task.ending.map(|asked| now.saturating_sub(asked));
            if waited.is_some_and(|waited| waited >= task.patience) {
                stuck.push(*attempt);
            }
        }
        for attempt in stuck {
            self.give_up(attempt);
        }
    }

    fn give_up(&mut self, attempt: AttemptId) {
        let Some(task) = self.tasks.get(&attempt) else {
            return;
        };
        tracing::error!(job = %self.args.job, %attempt, waited = ?task.patience,
            "an execution was told to end and hasn't, it is given up: does user code block?");
        let runtimes = &self.args.node.runtimes;
        runtimes.pass_over(task.worker, task.alive.clone());
        self.over(attempt, TaskEvent::Canceled);
    }
}
