//! A job that is started from a savepoint of one that went on.
//!
//! Such a savepoint commits nothing: what it would have committed it holds, and the job that goes on commits that with its next
//! checkpoint. So both jobs commit it, each for itself. What is written says for which checkpoint that was, before whose barrier; so the
//! cut is known. What the job that went on wrote for earlier checkpoints, and all that the one from the savepoint commits, is the
//! undisturbed run's output: what was written for the savepoint itself, and what comes behind it, only the second one can give. What an
//! earlier checkpoint had not yet committed is of both, and counts once.

use std::io;

use rivus::{CheckpointId, JobView};

use super::Run;
use super::others::lock;
use crate::jobs::{Committed, World};
use crate::plan::Ending;

impl Run<'_> {
    /// What a job has committed that began at a savepoint of this one, together with this one up to there. Its view joins the others.
    pub(super) async fn begun_again(&mut self, views: &mut Vec<JobView>) -> Option<Box<Committed>> {
        if !self.violations.is_empty() {
            return None;
        }
        let ended = self.begin_again().await;
        self.expect_gone().await;
        match ended {
            Ok(ended) => {
                let (view, committed) = ended?;
                views.push(view);
                Some(Box::new(committed))
            }
            Err(reason) => {
                self.violations.push(reason);
                None
            }
        }
    }

    /// Starts the same program from the last savepoint that was made while the job went on, in a process of its own and with an
    /// output of its own, and waits for its end. What faults the plan has left strike there.
    async fn begin_again(&mut self) -> Result<Option<(JobView, Committed)>, String> {
        let savepoint = lock(&self.savepoint).take();
        let spec = &self.world.spec;
        let comparable = spec.may_begin_again() && self.plan.ending == Ending::Completed;
        let Some(savepoint) = savepoint.filter(|_| comparable) else {
            return Ok(None);
        };
        let failed = |error: io::Error| error.to_string();
        let world = World::new(spec.clone()).map_err(failed)?;
        world.become_version(self.first_version());
        world.rescale(self.plan.moves.map_or(spec.wide, |moves| moves.wide));
        let life = self.plan.crashes.len() + 1;
        self.faults.begin_life(life, None);
        let env = self.environment(life, false).map_err(failed)?;
        let job = self.begin(&env, &world, &savepoint).await;
        let job = job.map_err(|error| format!("no job began at savepoint {savepoint}: {error}"))?;
        let ended = tokio::time::timeout(self.bound(), self.ends(&job)).await;
        let view = ended.map_err(|_| format!("the job from savepoint {savepoint} hangs"))??;
        self.expect_job_gone().await;
        let number = savepoint.name().rsplit_once('-');
        let number = number.and_then(|(_, number)| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| format!("what is the number of {savepoint}?"))?;
        world.add_before(CheckpointId(number), &self.world);
        Ok(Some((view, world.committed().map_err(failed)?)))
    }
}
