//! The DECIDE step of a takeover, and those who report after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::failure::Failure;
use crate::ids::AttemptId;
use crate::job::{JobReport, LogEntry, TaskPhase, TaskReport};
use crate::source::EncodedSplit;

use super::{JobAction, JobMachine, RegionPhase};

impl JobMachine {
    /// The DECIDE step of a takeover; also how a new job starts, with nothing in the log or the reports.
    pub(super) fn decide(
        &mut self,
        reports: Vec<JobReport>,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        let mut tasks: Vec<TaskReport> = reports
            .into_iter()
            .flat_map(|report| report.tasks)
            .collect();
        // What was heard of a task is news, its report is older.
        let early = self.early.take().unwrap_or_default();
        for task in &mut tasks {
            if let Some(phase) = early.get(&task.attempt) {
                task.phase = phase.clone();
            }
        }
        self.cancel_strays(&tasks, actions);
        let mut known: BTreeMap<AttemptId, TaskReport> = tasks
            .into_iter()
            .filter(|task| self.is_current(task.attempt))
            .map(|task| (task.attempt, task))
            .collect();
        for execution in self.state.executions.values() {
            let over = known
                .get(&execution.attempt)
                .is_none_or(|task| task.phase.is_over());
            if over {
                self.over.insert(execution.attempt);
            }
        }
        if let Some(outcome) = self.state.outcome.clone() {
            actions.push(JobAction::Finish(self.alive()));
            actions.push(JobAction::Ended(outcome));
            return;
        }
        if self.ends_tasks() {
            // A cancel that was asked for, or a failure, is seen through by whoever leads.
            self.end_tasks(actions);
            return;
        }
        if self.rescaling().is_some() {
            self.leave_plan(actions);
            return;
        }
        self.deciding = true;
        for index in 0..self.regions.len() {
            self.decide_region(index, &mut known, now, actions);
        }
        self.deciding = false;
        if self.regions.iter().any(|r| r.phase == RegionPhase::Idle) {
            self.find_splits(actions);
        }
        for task in self.adopted.clone() {
            self.resend_splits(&task, actions);
        }
        self.discover_on(actions);
        self.start_checkpoints_if_running(actions);
        self.advance_stopped(actions);
        self.wind_up(actions);
    }

    pub(super) fn decide_region(
        &mut self,
        index: usize,
        known: &mut BTreeMap<AttemptId, TaskReport>,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        let subtasks = self.regions[index].subtasks.clone();
        let intent = self
            .state
            .failovers
            .iter()
            .find(|failover| !failover.subtasks.is_disjoint(&subtasks))
            .map(|failover| failover.wait);
        if let Some(wait) = intent {
            actions.push(JobAction::Cancel(self.alive_in(index)));
            self.regions[index].phase = RegionPhase::Stopping(wait);
            self.quiesce(actions);
            return;
        }
        let attempts: Vec<AttemptId> = subtasks
            .iter()
            .filter_map(|subtask| self.state.executions.get(subtask))
            .map(|execution| execution.attempt)
            .collect();
        if attempts.is_empty() {
            return;
        }
        if attempts.iter().all(|attempt| !known.contains_key(attempt)) {
            self.redeploy_lost(index, attempts[0], actions);
            return;
        }
        let mut waiting = BTreeSet::new();
        let mut connected = true;
        for attempt in &attempts {
            let failure = match known.get(attempt).map(|task| &task.phase) {
                Some(TaskPhase::Building) => {
                    waiting.insert(*attempt);
                    continue;
                }
                Some(TaskPhase::Ready) => {
                    connected = false;
                    continue;
                }
                Some(TaskPhase::Running) => continue,
                Some(TaskPhase::Drained) => {
                    self.drained.insert(*attempt);
                    continue;
                }
                Some(TaskPhase::Failed(failure)) => failure.clone(),
                Some(TaskPhase::Canceled) => {
                    Failure::attempt(format!("{attempt} was canceled while there was no leader"))
                }
                None => Failure::attempt(format!("{attempt} was gone when the leader took over")),
            };
            self.regions[index].phase = RegionPhase::Running;
            self.task_failed(*attempt, failure, now, actions);
            return;
        }
        self.adopted
            .extend(attempts.iter().filter_map(|attempt| known.remove(attempt)));
        if !waiting.is_empty() {
            self.regions[index].phase = RegionPhase::Deploying(waiting);
            return;
        }
        if !connected {
            // The old leader may have connected some of them; whoever is, ignores it.
            actions.push(JobAction::Run(attempts));
        }
        self.regions[index].phase = RegionPhase::Running;
    }

    /// Nothing is left of a region, if it ever was there: its processes ended, or the leader died between the log
    /// entry and the deployment. The job's code has not failed, so the restart strategy is not asked.
    fn redeploy_lost(&mut self, index: usize, first: AttemptId, actions: &mut Vec<JobAction>) {
        self.regions[index].phase = RegionPhase::Failing;
        actions.push(JobAction::Append(LogEntry::FailoverStarted {
            attempt: Some(first),
            region: self.regions[index].subtasks.iter().copied().collect(),
            cause: Failure::attempt(format!("{first} was gone when the leader took over")),
            wait: Duration::ZERO,
            found_at_takeover: true,
            charged: false,
        }));
    }

    /// Remembers what happened to a task while others had still to report.
    pub(super) fn note_early(&mut self, attempt: AttemptId, phase: TaskPhase) {
        if let Some(early) = &mut self.early {
            early.insert(attempt, phase);
        }
    }

    /// Compares a report that nobody waited for with what the log says. What runs as it should is left
    /// alone. Strays end; and so does what had been given up for lost, before its subtask is tried again.
    pub(super) fn compare(
        &mut self,
        report: JobReport,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        self.lost.remove(&report.incarnation);
        self.cancel_strays(&report.tasks, actions);
        let (over, alive): (Vec<TaskReport>, Vec<TaskReport>) = report
            .tasks
            .into_iter()
            .filter(|task| self.is_current(task.attempt))
            .partition(|task| task.phase.is_over());
        if self.state.outcome.is_some() {
            let left: Vec<AttemptId> = alive.iter().map(|task| task.attempt).collect();
            if !left.is_empty() {
                actions.push(JobAction::Finish(left));
            }
            return;
        }
        for task in over {
            if self.over.insert(task.attempt) {
                let failure = match task.phase {
                    TaskPhase::Failed(failure) => failure,
                    _ => Failure::attempt(format!("{} was canceled", task.attempt)),
                };
                self.task_failed(task.attempt, failure, now, actions);
            }
        }
        let returned = alive.iter().map(|task| task.attempt);
        let returned: Vec<AttemptId> = returned.filter(|task| self.over.contains(task)).collect();
        for attempt in returned {
            self.end_returned(attempt, actions);
        }
        self.advance_stopped(actions);
    }

    /// Ends an execution that had been given up for lost.
    pub(super) fn end_returned(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let region = &mut self.regions[self.region_of[&attempt.subtask]];
        if region.phase == RegionPhase::Logging {
            // Too late to wait for it: its successor is on its way to the log.
            actions.push(JobAction::Cancel(vec![attempt]));
            return;
        }
        self.over.remove(&attempt);
        match region.phase {
            // It is ended with the others, when the entry is written.
            RegionPhase::Failing => return,
            RegionPhase::BackingOff | RegionPhase::Allocating => {
                region.phase = RegionPhase::Stopping(Duration::ZERO);
            }
            _ => {}
        }
        actions.push(JobAction::Cancel(vec![attempt]));
    }

    /// Ends executions that the log doesn't know, or that have been replaced.
    pub(super) fn cancel_strays(&mut self, tasks: &[TaskReport], actions: &mut Vec<JobAction>) {
        let strays: Vec<AttemptId> = tasks
            .iter()
            .filter(|task| !self.is_current(task.attempt) && !task.phase.is_over())
            .map(|task| task.attempt)
            .collect();
        if !strays.is_empty() {
            actions.push(JobAction::Cancel(strays));
        }
    }

    /// An old leader may have died between an assignment's entry and its message.
    pub(super) fn resend_splits(&mut self, task: &TaskReport, actions: &mut Vec<JobAction>) {
        let Some(pool) = self.state.splits.get(&task.attempt.subtask.vertex) else {
            return;
        };
        let missing: Vec<EncodedSplit> = pool
            .assigned_to(task.attempt)
            .filter(|id| !task.received.contains(id))
            .filter_map(|id| pool.get(id))
            .collect();
        if !missing.is_empty() {
            actions.push(JobAction::AssignSplits {
                attempt: task.attempt,
                splits: missing,
                no_more: false,
            });
        } else if task.needs_split {
            self.assign_split(task.attempt, actions);
        }
    }
}
