//! Savepoints that are asked of a job that doesn't get to run.
//!
//! A savepoint waits until all of a job's tasks run, and is made again if it gave way to a restart. A job that fails
//! again and again before it has got anywhere would so never answer; whoever asks is told why it doesn't run, and may mend that
//! or cancel it. The next leader counts anew.

use std::time::Duration;

use crate::job::LogEntry;

use super::{JobAction, JobMachine};

/// Failures in a row, with no checkpoint in between, of a job that doesn't get to run.
const FAILURES: u32 = 3;

/// A job whose tasks have all run for so long does get to run, whatever happens to it then: most savepoints are made in less.
const RUNS: Duration = Duration::from_secs(5);

/// Whether a job gets to run.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Since when all of its tasks run.
    since: Option<Duration>,
    failures: u32,
}

impl Runs {
    pub(super) fn failed(&mut self, now: Duration) {
        let ran = self.since.take().map(|since| now.saturating_sub(since));
        if ran.is_some_and(|ran| ran >= RUNS) {
            self.failures = 0;
        }
        self.failures += 1;
    }

    pub(super) fn got_on(&mut self) {
        self.failures = 0;
    }
}

impl JobMachine {
    /// Notes that all tasks run, if they do.
    pub(super) fn note_running(&mut self, now: Duration) {
        if self.runs.since.is_none() && self.is_running() {
            self.runs.since = Some(now);
        }
    }

    /// Gives up the savepoints that were asked for, if the job doesn't get to run.
    pub(super) fn give_savepoints_up(&self, actions: &mut Vec<JobAction>) {
        let times = self.runs.failures;
        if times < FAILURES || self.is_running() || self.is_ending() {
            return;
        }
        let Some(last) = &self.state.last_failure else {
            return;
        };
        for request in self.state.open_savepoints() {
            actions.push(JobAction::Append(LogEntry::SavepointFailed {
                token: request.token,
                reason: format!(
                    "the job doesn't get to run, it has failed {times} times in a row; the last time: {last}; mend that and ask again, or \
                     cancel the job"
                ),
            }));
        }
    }
}
