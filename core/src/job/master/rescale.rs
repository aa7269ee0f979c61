//! How a running job gets another parallelism.
//!
//! ```text
//!  Append(SavepointRequested, to go on at another parallelism) --> a savepoint that the job stops with, as any
//!     --aborted--> the sources go on, nothing has changed
//!     --CheckpointCompleted, CheckpointCommitted--> the old plan's tasks are ended
//!     --all over, coordinator quiet--> what the new plan's start from is stored
//!     --Append(Rescaled), or Append(RescaleFailed)--> the next master begins, as any: fence, replay, collect, decide
//! ```
//!
//! From the savepoint's commit on, the old plan has nothing left to do: what fails there is ended with the rest. A leader
//! that dies anywhere is followed by one that finds the request undecided, or the savepoint complete, or the job on its new
//! plan already. Nothing of the new plan is started before the last of the old one has ended.

use crate::failure::Failure;
use crate::job::{LogEntry, Rescaling, StartState};

use super::{Checkpoints, JobAction, JobMachine};

impl JobMachine {
    /// The rescale of which only the new plan's start is left.
    pub(super) fn rescaling(&self) -> Option<Rescaling> {
        let due = |rescaling: &Rescaling| rescaling.savepoint <= self.state.committed;
        self.state
            .rescaling
            .filter(due)
            .filter(|_| !self.is_ending())
    }

    /// Ends the old plan's tasks; when the last of them has ended, the new plan's turn comes.
    pub(super) fn leave_plan(&mut self, actions: &mut Vec<JobAction>) {
        let Some(rescaling) = self.rescaling() else {
            return;
        };
        if !std::mem::replace(&mut self.leaves_plan, true) {
            actions.push(JobAction::Cancel(self.alive()));
            self.quiesce(actions);
        }
        let is_left = self.checkpoints == Checkpoints::Quiet && self.alive().is_empty();
        if is_left && !std::mem::replace(&mut self.prepares_plan, true) {
            actions.push(JobAction::PrepareRescale(rescaling));
        }
    }

    /// What the new plan's tasks start from is stored, or can't be: then the job goes on as it was.
    pub(super) fn rescale_prepared(
        &mut self,
        prepared: Result<(u64, Box<StartState>), Failure>,
        actions: &mut Vec<JobAction>,
    ) {
        let Some(Rescaling {
            token, parallelism, ..
        }) = self.rescaling()
        else {
            return;
        };
        actions.push(JobAction::Append(match prepared {
            Ok((fingerprint, start)) => LogEntry::Rescaled {
                parallelism,
                fingerprint,
                start,
            },
            Err(failure) => LogEntry::RescaleFailed {
                token,
                reason: failure.message,
            },
        }));
    }
}
