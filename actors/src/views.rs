//! The jobs of a process as they were seen last, for whoever watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rivus_core::JobId;
use rivus_core::job::JobOutcome;
use tokio::sync::watch;

use crate::view::{JobStatus, JobView};

/// Jobs that are over, of which the last view is kept.
const ENDED: usize = 100;

/// The jobs of a process as they were seen last.
#[derive(Default)]
pub struct Views {
    known: Mutex<Known>,
    /// Whether a leader has looked which jobs there are.
    recovered: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    jobs: BTreeMap<JobId, watch::Sender<JobView>>,
    /// Those that are over, oldest first.
    ended: VecDeque<JobId>,
}

impl Known {
    fn of(&mut self, job: JobId, name: &str) -> &watch::Sender<JobView> {
        let new = || watch::Sender::new(JobView::new(job, name.to_owned()));
        self.jobs.entry(job).or_insert_with(new)
    }
}

impl Views {
    /// Each change is made whole by `watch` itself.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is about to be submitted, perhaps again.
    pub fn begin(&self, job: JobId, name: &str) -> watch::Receiver<JobView> {
        let mut known = self.known();
        known.ended.retain(|ended| *ended != job);
        known.jobs.remove(&job);
        known.of(job, name).subscribe()
    }

    /// A leader has found a job in the storage, and is about to go on with it.
    pub(crate) fn found(&self, job: JobId) {
        self.known().of(job, "");
    }

    /// A leader has looked at all jobs in the storage.
    pub(crate) fn recovered(&self) {
        self.recovered.send_replace(true);
    }

    /// Waits until the jobs that lay in the storage are among these. Only a process that never leads waits for ever.
    pub async fn until_recovered(&self) {
        // The sender lives as long as this does.
        let _ = self
            .recovered
            .subscribe()
            .wait_for(|recovered| *recovered)
            .await;
    }

    /// Watches a job.
    pub fn watch(&self, job: JobId) -> Option<watch::Receiver<JobView>> {
        self.known().jobs.get(&job).map(watch::Sender::subscribe)
    }

    /// All jobs, those included that have ended lately.
    pub fn all(&self) -> Vec<JobView> {
        let known = self.known();
        known
            .jobs
            .values()
            .map(|view| view.borrow().clone())
            .collect()
    }

    /// A job at this moment. An outcome is final; a view that was on its way does not take it back.
    pub(crate) fn publish(&self, view: JobView) {
        self.known()
            .of(view.job, &view.name)
            .send_if_modified(|known| {
                let ended = matches!(known.status, JobStatus::Ended(_));
                if !ended {
                    *known = view;
                }
                !ended
            });
    }

    /// Nothing will change any more: whoever waits learns it.
    pub(crate) fn close(&self) {
        *self.known() = Known::default();
    }

    /// A job is over.
    pub(crate) fn ended(&self, job: JobId, outcome: JobOutcome) {
        let mut known = self.known();
        let Some(view) = known.jobs.get(&job) else {
            return;
        };
        view.send_modify(|view| view.status = JobStatus::Ended(outcome));
        known.ended.push_back(job);
        if known.ended.len() > ENDED
            && let Some(oldest) = known.ended.pop_front()
        {
            known.jobs.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u128) -> JobId {
        JobId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn an_outcome_is_final_and_a_job_that_begins_again_has_none() {
        let views = Views::default();
        let watched = views.begin(job(1), "one");
        views.ended(job(1), JobOutcome::Canceled);
        views.publish(JobView::new(job(1), "one".into()));
        let ended = JobStatus::Ended(JobOutcome::Canceled);
        assert_eq!(watched.borrow().status, ended);
        views.begin(job(1), "one");
        assert_eq!(views.all()[0].status, JobStatus::Recovering);
    }

    #[test]
    fn of_jobs_that_are_over_the_last_ones_are_known() {
        let views = Views::default();
        for number in 0..ENDED as u128 + 10 {
            views.publish(JobView::new(job(number), String::new()));
            views.ended(job(number), JobOutcome::Completed);
        }
        views.publish(JobView::new(job(7_777), "running".into()));
        assert_eq!(views.all().len(), ENDED + 1);
        assert!(views.watch(job(9)).is_none() && views.watch(job(10)).is_some());
    }
}
