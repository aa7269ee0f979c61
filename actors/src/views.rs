//! The jobs of a process as they were seen last, for whoever watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rivus_core::job::JobOutcome;
use rivus_core::{JobId, Timestamp};
use tokio::sync::watch;

use crate::view::{JobStatus, JobView};

/// Jobs that are over, of which the last view is kept.
const ENDED: usize = 100;

/// The jobs of a process as they were seen last.
#[derive(Default)]
pub struct Views {
    known: Mutex<Known>,
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

    /// Of jobs that are over the last ones are known.
    fn ended(&mut self, job: JobId) {
        self.ended.push_back(job);
        if self.ended.len() > ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.jobs.remove(&oldest);
        }
    }
}

impl Views {
    /// Each change is made whole by `watch` itself.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is about to be submitted, perhaps again.
    pub fn begin(&self, job: JobId, name: &str) -> watch::Receiver<JobView> {
        self.never_was(job);
        self.known().of(job, name).subscribe()
    }

    /// A leader has found a job in the storage, and this is what its log says. What is known of it already is newer.
    pub(crate) fn found(&self, view: JobView) {
        let mut known = self.known();
        if known.jobs.contains_key(&view.job) {
            return;
        }
        let (job, is_over) = (view.job, matches!(view.status, JobStatus::Ended(_)));
        known.jobs.insert(job, watch::Sender::new(view));
        if is_over {
            known.ended(job);
        }
    }

    /// A job that was never begun with: nobody wants it any more, or it was refused. Whoever watches it has seen the last of it.
    pub(crate) fn never_was(&self, job: JobId) {
        let mut known = self.known();
        known.ended.retain(|ended| *ended != job);
        known.jobs.remove(&job);
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

    /// A job is over; `at` is when this process saw it end, if it did. The log may know it already.
    pub(crate) fn ended(&self, job: JobId, outcome: JobOutcome, at: Option<Timestamp>) {
        let mut known = self.known();
        let Some(view) = known.jobs.get(&job) else {
            return;
        };
        view.send_modify(|view| {
            view.status = JobStatus::Ended(outcome);
            view.ended_at = view.ended_at.or(at);
        });
        known.ended(job);
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
        views.ended(job(1), JobOutcome::Canceled, Some(7));
        views.publish(JobView::new(job(1), "one".into()));
        let ended = JobStatus::Ended(JobOutcome::Canceled);
        assert_eq!(watched.borrow().status, ended);
        assert_eq!(watched.borrow().ended_at, Some(7));
        views.begin(job(1), "one");
        assert_eq!(views.all()[0].status, JobStatus::Recovering);
    }

    #[test]
    fn a_job_that_was_refused_is_known_to_whoever_watches_it_and_to_nobody_else() {
        let views = Views::default();
        let mut watched = views.begin(job(1), "one");
        views.ended(job(1), JobOutcome::Canceled, Some(7));
        views.never_was(job(1));
        assert!(views.all().is_empty() && watched.has_changed().is_err());
        let ended = JobStatus::Ended(JobOutcome::Canceled);
        assert_eq!(watched.borrow_and_update().status, ended);
    }

    #[test]
    fn of_jobs_that_are_over_the_last_ones_are_known() {
        let views = Views::default();
        for number in 0..ENDED as u128 + 10 {
            views.publish(JobView::new(job(number), String::new()));
            views.ended(job(number), JobOutcome::Completed, None);
        }
        views.publish(JobView::new(job(7_777), "running".into()));
        assert_eq!(views.all().len(), ENDED + 1);
        assert!(views.watch(job(9)).is_none() && views.watch(job(10)).is_some());
    }

    #[test]
    fn what_a_log_says_of_a_job_is_older_than_what_is_known() {
        let views = Views::default();
        let by_log = |number, status| JobView {
            status,
            ..JobView::new(job(number), "by its log".into())
        };
        let ended = JobStatus::Ended(JobOutcome::Completed);
        views.begin(job(1), "known");
        views.found(by_log(1, ended.clone()));
        views.found(by_log(2, ended.clone()));
        let seen = views.all().into_iter();
        let seen: Vec<_> = seen.map(|view| (view.name, view.status)).collect();
        let expected = [("known", JobStatus::Recovering), ("by its log", ended)];
        assert_eq!(seen, expected.map(|(name, status)| (name.into(), status)));
    }
}
