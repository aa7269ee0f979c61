//! What happens when a task or a TaskManager is lost, and how a job ends.

use std::time::Duration;

use crate::failure::{Failure, FailureScope};
use crate::ids::{AttemptId, Incarnation, Slot};
use crate::job::{JobOutcome, LogEntry, RestartDecision};

use super::{Checkpoints, JobAction, JobMachine, JobTimer, Region, RegionPhase};

impl JobMachine {
    pub(super) fn task_failed(
        &mut self,
        attempt: AttemptId,
        failure: Failure,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        let Some(index) = self.region_if_current(attempt) else {
            return;
        };
        if self.is_ending() {
            return;
        }
        if failure.scope != FailureScope::Attempt {
            self.fail_job(failure, actions);
            return;
        }
        if !matches!(
            self.regions[index].phase,
            RegionPhase::Running | RegionPhase::Deploying(_)
        ) {
            return;
        }
        if let Some(poison) = self.poison(index, &failure) {
            self.fail_job(poison, actions);
            return;
        }
        let random = (self.random)();
        let strategy = &self.state.options.restart;
        match self.restart.on_failure(strategy, now, random) {
            RestartDecision::GiveUp => self.fail_job(failure, actions),
            RestartDecision::After(wait) => {
                self.regions[index].phase = RegionPhase::Failing;
                actions.push(JobAction::Append(LogEntry::FailoverStarted {
                    region: self.regions[index].subtasks.iter().copied().collect(),
                    cause: failure,
                    wait,
                    found_at_takeover: self.deciding,
                    charged: true,
                }));
            }
        }
    }

    /// What fails the job if this failure is one too many of its kind: a record that fails every attempt, or
    /// anything else that restarts don't mend.
    fn poison(&self, region: usize, failure: &Failure) -> Option<Failure> {
        let first = self.regions[region].subtasks.first()?;
        let times = self.state.times_failed(*first, failure);
        let most = self.state.options.poison_after?;
        (times >= most && failure.operator.is_some()).then(|| Failure {
            scope: FailureScope::Job,
            message: format!(
                "{}; poison: the same {times} times in a row with no checkpoint in between, so it is not tried again",
                failure.message
            ),
            ..failure.clone()
        })
    }

    pub(super) fn task_manager_lost(
        &mut self,
        incarnation: Incarnation,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        self.lost.insert(incarnation);
        let granted = self.slots.len();
        self.slots.retain(|slot| slot.incarnation != incarnation);
        let waits = |region: &Region| region.phase == RegionPhase::Allocating;
        if self.slots.len() < granted && self.regions.iter().any(waits) {
            // They had been granted, so nobody looks for others unless asked again.
            actions.push(JobAction::RequestSlots(self.slots_needed));
        }
        let lost: Vec<(AttemptId, Slot)> = self
            .state
            .executions
            .values()
            .filter(|execution| execution.slot.incarnation == incarnation)
            .filter(|execution| !self.over.contains(&execution.attempt))
            .map(|execution| (execution.attempt, execution.slot.clone()))
            .collect();
        self.lose(&lost, now, actions);
        self.advance_stopped(actions);
    }

    pub(super) fn lose(
        &mut self,
        lost: &[(AttemptId, Slot)],
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        self.over.extend(lost.iter().map(|(attempt, _)| *attempt));
        for (attempt, slot) in lost {
            let failure = Failure::attempt(format!("TaskManager {} was lost", slot.task_manager));
            self.task_failed(*attempt, failure, now, actions);
        }
    }

    pub(super) fn quiesce(&mut self, actions: &mut Vec<JobAction>) {
        // What an earlier leader left under way must not be completed by tasks that were restarted: a
        // final checkpoint would end the job before they have read their input again.
        let left = self.checkpoints == Checkpoints::Quiet && self.state.in_flight.is_some();
        if self.checkpoints == Checkpoints::On || left {
            self.checkpoints = Checkpoints::Quiescing;
            actions.push(JobAction::Quiesce);
        }
    }

    /// Goes on with regions, or with the job's end, when what had to end has ended.
    pub(super) fn advance_stopped(&mut self, actions: &mut Vec<JobAction>) {
        if self.is_ending() {
            self.end_if_over(actions);
            return;
        }
        for index in 0..self.regions.len() {
            let RegionPhase::Stopping(wait) = self.regions[index].phase else {
                continue;
            };
            if self.checkpoints == Checkpoints::Quiet && self.alive_in(index).is_empty() {
                self.regions[index].phase = RegionPhase::BackingOff;
                let timer = JobTimer::Restart { region: index };
                actions.push(JobAction::SetTimer(timer, wait));
            }
        }
    }

    pub(super) fn fail_job(&mut self, cause: Failure, actions: &mut Vec<JobAction>) {
        if !self.is_ending() {
            actions.push(JobAction::Append(LogEntry::JobFailing { cause }));
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
            || self.state.cancel_requested
            || self.state.failing.is_some()
            || self.state.outcome.is_some()
    }

    pub(super) fn end_if_over(&mut self, actions: &mut Vec<JobAction>) {
        let ended = self.ending || self.state.outcome.is_some();
        if ended || self.checkpoints != Checkpoints::Quiet || !self.alive().is_empty() {
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
