//! What each command of a leader asks for.

use std::sync::Arc;

use ractor::ActorProcessingErr;

use super::{JobCommand, JobTasksState};
use crate::probe::Step;
use crate::subtask::SubtaskMessage;

impl JobTasksState {
    pub(super) fn command(&mut self, command: JobCommand) -> Result<(), ActorProcessingErr> {
        let myself = self.myself.clone();
        match command {
            JobCommand::Report => {
                self.pass(Step::Report, &myself)?;
                self.report();
            }
            JobCommand::Deploy {
                program: _,
                fingerprint,
                options,
                attempts,
                restore,
            } => {
                self.pass(Step::StartTasks, &myself)?;
                self.deploy(fingerprint, &options, attempts, restore.as_deref());
            }
            JobCommand::Connect(peers) => {
                self.pass(Step::ConnectTasks, &myself)?;
                for peer in &peers {
                    self.connect(peer.attempt, &peers);
                }
            }
            JobCommand::Cancel(attempts) => {
                for attempt in attempts {
                    self.end(attempt);
                }
            }
            JobCommand::Finish(attempts) => {
                for attempt in attempts {
                    self.end(attempt);
                }
            }
            JobCommand::Trigger(attempt, barrier) => {
                self.send(attempt, SubtaskMessage::TriggerCheckpoint(barrier));
            }
            JobCommand::Completed(id) => {
                self.send_all(|| SubtaskMessage::CheckpointCompleted(id));
            }
            JobCommand::Aborted(id) => self.send_all(|| SubtaskMessage::CheckpointAborted(id)),
            JobCommand::Align {
                group,
                least,
                limits,
            } => {
                for (attempt, limit) in limits {
                    let group = Arc::clone(&group);
                    let message = SubtaskMessage::LimitTime {
                        group,
                        least,
                        limit,
                    };
                    self.send(attempt, message);
                }
            }
            JobCommand::AddSplits {
                attempt,
                splits,
                no_more,
            } => {
                if let Some(task) = self.tasks.get_mut(&attempt) {
                    // It waits on if none have been found yet.
                    task.report.needs_split &= splits.is_empty() && !no_more;
                    let ids = splits.iter().map(|split| split.id);
                    task.report.received.extend(ids);
                }
                self.send(attempt, SubtaskMessage::AddSplits { splits, no_more });
            }
        }
        Ok(())
    }
}
