//! What happens when a task or a TaskManager is lost, and how a job ends.

use std::time::Duration;

use crate::failure::{Failure, FailureScope};
use crate::ids::{AttemptId, Incarnation, Slot};
use crate::job::{JobOutcome, LogEntry, RestartDecision};

use super::{Checkpoints, JobAction, JobMachine, JobTimer, POISON_AFTER, Region, RegionPhase};

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
        let failure = self.note_repetition(failure);
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
                }));
            }
        }
    }

    /// A record that fails the attempt again and again is named as poison.
    pub(super) fn note_repetition(&mut self, mut failure: Failure) -> Failure {
        let place = (failure.operator.clone(), failure.position.clone());
        let times = match &self.repeated {
            Some((known, times)) if *known == place && place.1.is_some() => times + 1,
            _ => 1,
        };
        self.repeated = Some((place, times));
        if times >= POISON_AFTER {
            let poison = format!("; the {times}th failure in a row at this place: a poison record");
            failure.message.push_str(&poison);
        }
        failure
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
