//! What happens when a task or a TaskManager is lost.

use std::time::Duration;

use crate::failure::{Failure, FailureScope};
use crate::ids::{AttemptId, Incarnation, Slot};
use crate::job::{LogEntry, RestartDecision, RestartStrategy};

use super::{Checkpoints, JobAction, JobMachine, JobTimer, RegionPhase};

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
            self.failed_to_commit(index, failure, actions);
            return;
        }
        if self.rescaling().is_some() {
            // It had nothing left to do.
            return;
        }
        if failure.scope != FailureScope::Attempt {
            self.fail_job(failure, actions);
            return;
        }
        if !self.is_started(index) {
            return;
        }
        if let Some(poison) = self.poison(index, &failure) {
            self.fail_job(poison, actions);
            return;
        }
        // What dies takes several regions with it, and not all is heard of at once: what fails while others wait to be tried again is tried
        // again as they are, and counts no further (FLIP-364).
        let others_wait = self.regions.iter().any(|region| region.phase.waits());
        if others_wait && self.state.options.restart != RestartStrategy::None {
            self.fail_over(
                index,
                Some(attempt),
                failure,
                self.restart.decided(),
                false,
                actions,
            );
            return;
        }
        let random = (self.random)();
        let strategy = &self.state.options.restart;
        match self.restart.on_failure(strategy, now, random) {
            RestartDecision::GiveUp => self.fail_job(failure, actions),
            RestartDecision::After(wait) => {
                self.fail_over(index, Some(attempt), failure, wait, true, actions);
            }
        }
    }

    pub(super) fn fail_over(
        &mut self,
        index: usize,
        attempt: Option<AttemptId>,
        cause: Failure,
        wait: Duration,
        charged: bool,
        actions: &mut Vec<JobAction>,
    ) {
        self.regions[index].phase = RegionPhase::Failing;
        actions.push(JobAction::Append(LogEntry::FailoverStarted {
            attempt,
            region: self.regions[index].subtasks.iter().copied().collect(),
            cause,
            wait,
            found_at_takeover: self.deciding,
            charged,
        }));
    }

    /// Whether a region's tasks run, or are on their way.
    pub(super) fn is_started(&self, region: usize) -> bool {
        matches!(
            self.regions[region].phase,
            RegionPhase::Running | RegionPhase::Deploying(_)
        )
    }

    /// What fails the job if this failure is one too many of its kind: a record that fails every attempt, or
    /// anything else in the job's code that restarts don't mend.
    fn poison(&self, region: usize, failure: &Failure) -> Option<Failure> {
        let first = self.regions[region].subtasks.first()?;
        let times = self.state.times_failed(*first, failure);
        let most = self.state.options.poison_after?;
        (times >= most && failure.is_of_code()).then(|| Failure {
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
        if self.slots.len() < granted && self.awaits_slots() {
            // They had been granted, so nobody looks for others unless asked again.
            self.request_slots(actions);
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
        if self.ends_tasks() {
            self.wind_up(actions);
            return;
        }
        if self.rescaling().is_some() {
            self.leave_plan(actions);
            return;
        }
        for index in 0..self.regions.len() {
            let RegionPhase::Stopping(wait) = self.regions[index].phase else {
                continue;
            };
            if self.checkpoints == Checkpoints::Quiet && self.alive_in(index).is_empty() {
                let region = &mut self.regions[index];
                region.phase = RegionPhase::BackingOff;
                region.waits += 1;
                let timer = JobTimer::Restart {
                    region: index,
                    wait: region.waits,
                };
                actions.push(JobAction::SetTimer(timer, wait));
            }
        }
    }
}
