//! Splits that are found while the job runs.
//!
//! ```text
//!  Append(SplitsFound, open) --> look --nothing--> wait --> look ...
//!                                 +--new ones--> Append(SplitsDiscovered) --> readers that wait get them
//!                                                                     +-----> wait --> look ...
//! ```
//!
//! One look at a time. What it finds is true once it is logged; so a leader that dies in between leaves its finds
//! to the next one, whose enumerator is told of what the log has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::failure::{Failure, FailureScope};
use crate::ids::{AttemptId, VertexId};
use crate::job::LogEntry;
use crate::source::{DISCOVERY_TRIES, Discovered, FoundSplit};

use super::{JobAction, JobMachine, JobTimer};

/// What is known of looks for new splits.
#[derive(Default)]
pub(super) struct Discovery {
    /// Readers that wait until something is found.
    waiting: BTreeSet<AttemptId>,
    /// Looks that failed in a row.
    failures: BTreeMap<VertexId, u32>,
    /// Sources that are looked at again after a while, once what they found is logged.
    logging: BTreeMap<VertexId, Duration>,
}

impl JobMachine {
    /// Has a source look for new splits, if it may find some.
    pub(super) fn discover(&self, source: VertexId, actions: &mut Vec<JobAction>) {
        let pool = self.state.splits.get(&source);
        if pool.is_some_and(|pool| pool.is_open()) && !self.is_ending() {
            actions.push(JobAction::DiscoverSplits(source));
        }
    }

    /// A new leader has the sources look on.
    pub(super) fn discover_on(&self, actions: &mut Vec<JobAction>) {
        for source in self.sources.keys() {
            self.discover(*source, actions);
        }
    }

    /// A source has looked.
    pub(super) fn discovered(
        &mut self,
        source: VertexId,
        found: Result<Discovered<FoundSplit>, Failure>,
        interval: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        if self.is_ending() {
            return;
        }
        let again = JobAction::SetTimer(JobTimer::Discover { source }, interval);
        let Discovered { splits, last } = match found {
            Ok(found) => found,
            Err(failure) => {
                let failures = self.discovery.failures.entry(source).or_default();
                *failures += 1;
                if failure.scope != FailureScope::Attempt || *failures >= DISCOVERY_TRIES {
                    self.fail_job(failure, actions);
                } else {
                    actions.push(again);
                }
                return;
            }
        };
        self.discovery.failures.remove(&source);
        if splits.is_empty() && !last {
            actions.push(again);
            return;
        }
        self.discovery.logging.insert(source, interval);
        actions.push(JobAction::Append(LogEntry::SplitsDiscovered {
            source,
            splits,
            last,
        }));
    }

    /// A reader waits for what has still to be found.
    pub(super) fn wait_for_split(&mut self, attempt: AttemptId) {
        self.discovery.waiting.insert(attempt);
    }

    /// What was found is in the log: those who wait for it get it, or hear that there is no more.
    pub(super) fn hand_out(&mut self, source: VertexId, actions: &mut Vec<JobAction>) {
        let of_source = |attempt: &AttemptId| attempt.subtask.vertex == source;
        let waiting = std::mem::take(&mut self.discovery.waiting);
        let (served, others): (BTreeSet<_>, _) = waiting.into_iter().partition(of_source);
        self.discovery.waiting = others;
        for attempt in served {
            self.assign_split(attempt, actions);
        }
        if let Some(interval) = self.discovery.logging.remove(&source) {
            let pool = self.state.splits.get(&source);
            if pool.is_some_and(|pool| pool.is_open()) && !self.is_ending() {
                let timer = JobTimer::Discover { source };
                actions.push(JobAction::SetTimer(timer, interval));
            }
        }
    }
}
