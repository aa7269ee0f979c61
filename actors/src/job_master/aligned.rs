//! Sources that wait for each other. What is known of them is this leader's own: the next one collects it anew, and
//! until then the limits stand that were announced last.

use std::sync::Arc;

use rivus_core::{AttemptId, Reached};

use super::JobMasterState;
use crate::job_tasks::JobCommand;

impl JobMasterState {
    /// A source subtask says how far it is; if everybody of its group has, all are told how far they may go.
    pub(super) fn reached(&mut self, attempt: AttemptId, group: &Arc<str>, reached: Reached) {
        let current = self.machine.as_ref().is_some_and(|machine| {
            let execution = machine.state().executions.get(&attempt.subtask);
            execution.is_some_and(|execution| execution.attempt == attempt)
        });
        if !current || !self.takeover.is_over() {
            return;
        }
        let of_group = self.alignment.get_mut(&**group);
        let Some(told) = of_group.and_then(|known| known.on_reached(attempt, reached)) else {
            return;
        };
        self.command_all(|| JobCommand::Align {
            group: Arc::clone(group),
            least: told.least,
            limits: told.limits.clone(),
        });
    }
}
