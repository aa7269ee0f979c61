//! How a job ends.
//!
//! ```text
//!  asked to end, or failing --nothing owed--> tasks are canceled --all over, coordinator quiet--> Append(Finished)
//!        |                                          ^
//!     commits are owed --Committed, or given up-----+
//! ```
//!
//! Some of what a complete checkpoint lets sinks commit may be visible already, and nobody will run this job again to
//! make the rest visible. So tasks go on until its commits are confirmed; who has died is started once more, to commit
//! and to read nothing. After `cancellation_timeout` the job ends all the same, and its checkpoint is kept.

use std::time::Duration;

use crate::failure::{Failure, FailureScope};
use crate::job::{JobOutcome, LogEntry};

use super::{Checkpoints, JobAction, JobMachine, JobTimer};

/// Wait before tasks that failed to commit are tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

impl JobMachine {
    pub(super) fn fail_job(&mut self, cause: Failure, actions: &mut Vec<JobAction>) {
        if !self.is_ending() {
            actions.push(JobAction::Append(LogEntry::JobFailing { cause }));
        }
    }

    /// Whether the job's end has been asked for, or has come.
    pub(super) fn is_ending(&self) -> bool {
        self.has_ended() || self.state.cancel_requested || self.state.failing.is_some()
    }

    fn has_ended(&self) -> bool {
        self.ending || self.state.outcome.is_some()
    }

    /// Whether tasks are ended, and none is started any more.
    pub(super) fn ends_tasks(&self) -> bool {
        self.is_ending() && !self.owes_commits()
    }

    /// Whether a complete checkpoint waits for its commits, or one is being decided.
    fn owes_commits(&self) -> bool {
        if self.has_ended() || self.ends_tasks || self.commits_given_up {
            return false;
        }
        if self.state.executions.is_empty() {
            // Whatever it was to go on from is another job's.
            return false;
        }
        let undecided = self.checkpoints != Checkpoints::Quiet && self.state.in_flight.is_some();
        undecided || self.state.uncommitted().is_some()
    }

    /// Goes on with the job's end, if that has been asked for.
    pub(super) fn wind_up(&mut self, actions: &mut Vec<JobAction>) {
        if !self.is_ending() || self.has_ended() {
            return;
        }
        if self.owes_commits() {
            if !std::mem::replace(&mut self.waits_for_commits, true) {
                let most = self.state.options.cancellation_timeout;
                actions.push(JobAction::SetTimer(JobTimer::Commits, most));
            }
            for index in 0..self.regions.len() {
                let alive = self.alive_in(index).len();
                if self.is_started(index) && alive < self.current_in(index).len() {
                    self.start_to_commit(index, None, actions);
                }
            }
            return;
        }
        if self.ends_tasks {
            self.end_if_over(actions);
        } else {
            self.end_tasks(actions);
        }
    }

    pub(super) fn end_tasks(&mut self, actions: &mut Vec<JobAction>) {
        self.ends_tasks = true;
        actions.push(JobAction::Cancel(self.alive()));
        self.quiesce(actions);
        self.end_if_over(actions);
    }

    /// A task failed on whose commits the job's end waits.
    pub(super) fn failed_to_commit(
        &mut self,
        region: usize,
        failure: Failure,
        actions: &mut Vec<JobAction>,
    ) {
        if !self.owes_commits() || !self.is_started(region) {
            return;
        }
        if failure.scope != FailureScope::Attempt && self.regions[region].only_commits {
            self.give_commits_up(actions);
        } else {
            self.start_to_commit(region, Some(failure), actions);
        }
    }

    /// Has a region started once more, if there is something to commit.
    fn start_to_commit(
        &mut self,
        region: usize,
        failure: Option<Failure>,
        actions: &mut Vec<JobAction>,
    ) {
        if self.state.uncommitted().is_none() {
            return;
        }
        let wait = match self.regions[region].only_commits {
            true => COMMIT_AGAIN,
            false => Duration::ZERO,
        };
        let failure = failure.or_else(|| self.state.failing.clone());
        let cause =
            failure.unwrap_or_else(|| Failure::attempt("a task is gone that had to commit"));
        self.fail_over(region, None, cause, wait, false, actions);
    }

    /// From now on the job ends whatever is owed.
    pub(super) fn give_commits_up(&mut self, actions: &mut Vec<JobAction>) {
        self.commits_given_up = true;
        self.wind_up(actions);
    }

    fn end_if_over(&mut self, actions: &mut Vec<JobAction>) {
        if self.has_ended() || self.checkpoints != Checkpoints::Quiet || !self.alive().is_empty() {
            return;
        }
        let outcome = match &self.state.failing {
            Some(failure) => JobOutcome::Failed(failure.clone()),
            None => JobOutcome::Canceled,
        };
        self.end(outcome, actions);
    }

    pub(super) fn end(&mut self, outcome: JobOutcome, actions: &mut Vec<JobAction>) {
        if !self.ending {
            self.ending = true;
            actions.push(JobAction::Append(LogEntry::Finished { outcome }));
        }
    }
}
