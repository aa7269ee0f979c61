//! What each command of a leader asks for.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::ActorProcessingErr;
use rivus_core::job::TaskPhase;
use rivus_core::{CheckpointId, SubtaskId};

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
                parallelism: _,
                fingerprint,
                options,
                attempts,
                restore,
                only_commit,
            } => {
                self.pass(Step::StartTasks, &myself)?;
                let restore = restore.as_deref().map(|manifest| (manifest, only_commit));
                self.deploy(fingerprint, &options, attempts, restore);
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
                for task in self.tasks.values_mut() {
                    task.report.settle(id);
                }
                let is_running = |phase: &TaskPhase| phase.is_running();
                self.send_to(is_running, || SubtaskMessage::CheckpointCompleted(id));
                self.drop_copies_of_others(id);
            }
            // Also to what is about to run: its barrier may be on its way there, and a source would hold for a stop that
            // will never be.
            JobCommand::Aborted(id) => self.send_to(
                |phase| *phase == TaskPhase::Ready || phase.is_running(),
                || SubtaskMessage::CheckpointAborted(id),
            ),
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

    /// Subtasks that were here, and are in another process now, don't hear that a checkpoint is complete.
    fn drop_copies_of_others(&self, id: CheckpointId) {
        let (node, job) = (&self.args.node, self.args.job);
        let here = node.peers.keys().into_iter();
        let here = here.filter_map(|(of, attempt)| (of == job).then_some(attempt.subtask));
        let here: BTreeSet<SubtaskId> = here.collect();
        let runs_here = |subtask| here.contains(&subtask);
        node.drop_copies(node.local.completed_elsewhere(job, id, runs_here));
    }
}
