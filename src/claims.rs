//! The jobs that an environment runs, and that nobody else on this host runs meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rivus_actors::{JobStatus, JobView, NodeContext};
use rivus_core::JobId;
use rivus_state::{Blocking, JobClaim};
use tokio::sync::watch;

use crate::error::JobError;

/// Claims that are held, each by who waits for its job's end.
#[derive(Clone, Default)]
pub(crate) struct Claims(Arc<Mutex<BTreeMap<JobId, Weak<JobClaim>>>>);

impl Claims {
    /// Claims a job, unless this environment runs it already. A job that is over is nobody's, and may be asked how it ended. It may
    /// block.
    ///
    /// # Errors
    /// If somebody else runs it.
    pub(crate) fn claim(
        &self,
        job: JobId,
        node: &NodeContext,
        place: &str,
    ) -> Result<Option<Arc<JobClaim>>, JobError> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, claim| claim.strong_count() > 0);
        if let Some(claim) = held.get(&job).and_then(Weak::upgrade) {
            return Ok(Some(claim));
        }
        let Some(claim) = node.log.claim_job(job).map_err(JobError::setup)? else {
            let by_log = rivus_actors::replay(&node.log, job);
            return match by_log.is_ok_and(|state| state.outcome.is_some()) {
                true => Ok(None),
                false => Err(JobError::Setup(format!(
                    "job {job} is being run by another process, or another environment of this one, with its state in {place}: wait until \
                     that has ended; or give both a Coordination that they share, and one stands by until the other is gone"
                ))),
            };
        };
        let claim = Arc::new(claim);
        held.insert(job, Arc::downgrade(&claim));
        Ok(Some(claim))
    }
}

/// Holds a claim until its job is over, or the node is gone that ran it.
pub(crate) async fn hold(
    claim: Arc<JobClaim>,
    mut view: watch::Receiver<JobView>,
    blocking: Arc<dyn Blocking>,
) {
    let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
    if view.wait_for(is_over).await.is_err() {
        return;
    }
    if let Some(claim) = Arc::into_inner(claim) {
        blocking.run(Box::new(move || claim.settle()));
    }
}
