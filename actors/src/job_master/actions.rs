//! What the decisions ask for.

use ractor::ActorProcessingErr;
use rivus_core::job::{CheckpointEvent, JobAction, JobOutcome};

use super::{Checkpointing, JobMasterMessage, JobMasterState};
use crate::job_manager::JobManagerMessage;
use crate::job_tasks::JobCommand;
use crate::probe::Step;
use crate::resource_manager::ResourceManagerMessage;
use crate::slots::WantedSlots;

impl JobMasterState {
    pub(super) fn act(&mut self, action: JobAction) -> Result<(), ActorProcessingErr> {
        match action {
            JobAction::Append(entry) => self.append(entry)?,
            JobAction::FindSplits(source) => self.find_splits(source),
            JobAction::DiscoverSplits(source) => self.discover_splits(source),
            JobAction::RequestSlots { count, backend } => {
                let request = ResourceManagerMessage::RequestSlots {
                    job: self.args.job,
                    wanted: WantedSlots { count, backend },
                };
                let _ = self.args.resource_manager.cast(request);
            }
            JobAction::ReadManifest(id) => self.read_manifest(id),
            JobAction::Deploy {
                attempts,
                restore,
                only_commit,
            } => {
                self.pass(Step::Deploy)?;
                self.deploy(&attempts, restore, only_commit)?;
            }
            JobAction::Run(attempts) => {
                self.pass(Step::Connect)?;
                self.connect(&attempts);
            }
            JobAction::Cancel(attempts) => {
                self.command_all(|| JobCommand::Cancel(attempts.clone()));
            }
            JobAction::Finish(attempts) => {
                self.command_all(|| JobCommand::Finish(attempts.clone()));
            }
            JobAction::AssignSplits {
                attempt,
                splits,
                no_more,
            } => {
                self.pass(Step::AssignSplit)?;
                let command = JobCommand::AddSplits {
                    attempt,
                    splits,
                    no_more,
                };
                self.command_at(attempt, command);
            }
            JobAction::SetTimer(timer, after) => {
                let message = JobMasterMessage::Timer(timer);
                self.args.node.send_later(&self.myself, after, message);
            }
            JobAction::StartCheckpoints { tasks, reports } => {
                self.start_checkpoints(tasks, reports);
            }
            JobAction::Quiesce => {
                self.checkpointing = Checkpointing::Quiescing;
                self.coordinate(CheckpointEvent::Quiesce);
            }
            JobAction::AllDrained => self.coordinate(CheckpointEvent::AllDrained),
            JobAction::PrepareRescale(rescaling) => self.prepare_rescale(rescaling),
            JobAction::BeginAgain => {
                let again = JobManagerMessage::BeginAgain(self.args.job);
                let _ = self.args.manager.cast(again);
            }
            JobAction::Ended(mut outcome) => {
                if let JobOutcome::Failed(failure) = &mut outcome
                    && self.takeover.found_ended
                {
                    failure.message.push_str(&format!(
                        "; it never comes back: when that is mended, go on from its last checkpoint, in jobs/{}/checkpoints, or begin anew \
                         under another id",
                        self.args.job
                    ));
                }
                self.ended = true;
                self.clean_up(&outcome);
                self.publish();
                let _ = self.args.manager.cast(JobManagerMessage::JobEnded {
                    job: self.args.job,
                    outcome,
                    is_news: !self.takeover.found_ended,
                });
            }
        }
        Ok(())
    }
}
