//! The jobs that an environment runs, and that nobody else on this host runs meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_actors::{JobStatus, JobView, NodeContext};
use rivus_core::JobId;
use rivus_state::{Blocking, JobClaim};
use tokio::sync::watch;

use crate::error::JobError;

/// Claims that are held.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeMap<JobId, Held>>>);

struct Held {
    claim: JobClaim,
    /// How many wait for the job's end: it may be asked for again meanwhile.
    by: u32,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a job for one more who waits for its end. Returns whether there is anything to hold: a job that is over is nobody's, and
    /// may be asked how it ended. It may block.
    ///
    /// # Errors
    /// If somebody else runs it.
    pub(crate) fn claim(
        &self,
        job: JobId,
        node: &NodeContext,
        place: &str,
    ) -> Result<bool, JobError> {
        let mut all = self.lock();
        if let Some(held) = all.get_mut(&job) {
            held.by += 1;
            return Ok(true);
        }
        let Some(claim) = node.log.claim_job(job).map_err(JobError::setup)? else {
            let by_log = rivus_actors::replay(&node.log, job);
            return match by_log.is_ok_and(|state| state.outcome.is_some()) {
                true => Ok(false),
                false => Err(JobError::Setup(format!(
                    "job {job} is being run by another process, or another environment of this one, with its state in {place}: wait until \
                     that has ended; or give both a Coordination that they share, and one stands by until the other is gone"
                ))),
            };
        };
        all.insert(job, Held { claim, by: 1 });
        Ok(true)
    }

    /// Holds a claim until its job is over.
    pub(crate) async fn hold(
        self,
        job: JobId,
        mut view: watch::Receiver<JobView>,
        blocking: Arc<dyn Blocking>,
    ) {
        let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
        if view.wait_for(is_over).await.is_ok() {
            blocking.run(Box::new(move || self.release(job)));
        }
    }

    /// One who waited for the job's end has seen it. Who asks for the job meanwhile finds it claimed, or free.
    fn release(&self, job: JobId) {
        let mut all = self.lock();
        let Some(held) = all.get_mut(&job) else {
            return;
        };
        held.by -= 1;
        if held.by == 0
            && let Some(held) = all.remove(&job)
        {
            held.claim.settle();
        }
    }

    /// The environment is gone: its jobs are anybody's. What of it still runs is kept off by their logs.
    pub(crate) fn let_go(&self) {
        self.lock().clear();
    }
}
