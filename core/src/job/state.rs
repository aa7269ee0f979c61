//! What is true of a job: the fold over its log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entry::{JobOutcome, LogEntry, SavepointRequest, StartState};
use super::options::JobOptions;
use super::program::ProgramRef;
use super::splits::SplitPool;
use crate::failure::Failure;
use crate::ids::{AttemptId, CheckpointId, LeaderEpoch, Slot, SubtaskId, VertexId};
use crate::stage::CheckpointKind;

/// The current execution of a subtask, as logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Where.
    pub slot: Slot,
    /// What it started from.
    pub restore: Option<CheckpointId>,
}

/// An intent to restart a region that has not been carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    /// The region.
    pub subtasks: BTreeSet<SubtaskId>,
    /// How long to wait first.
    pub wait: Duration,
}

/// What became of a savepoint that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavepointStatus {
    /// What was asked for.
    pub request: SavepointRequest,
    /// The checkpoint that it is, or why it will not be; none while it is being made.
    pub outcome: Option<Result<CheckpointId, String>>,
}

/// A rescale whose savepoint is complete, and that has not been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescaling {
    /// The request.
    pub token: Uuid,
    /// The checkpoint that is its savepoint.
    pub savepoint: CheckpointId,
    /// The parallelism that is wanted.
    pub parallelism: u32,
}

/// Savepoints of which is known what became of them, at most: whoever asked has long heard of older ones.
const SAVEPOINTS_KNOWN: usize = 16;

/// The fold over a job's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// For people.
    pub name: String,
    /// Which plan.
    pub fingerprint: u64,
    /// How any process builds that plan; none if only the one that was asked to run the job can.
    pub program: Option<ProgramRef>,
    /// Settings.
    pub options: JobOptions,
    /// The present leader.
    pub epoch: LeaderEpoch,
    /// The term in which it was elected.
    pub term: u64,
    /// The process that it is in.
    pub process: u64,
    /// Current executions.
    pub executions: BTreeMap<SubtaskId, Execution>,
    /// Splits of each source.
    pub splits: BTreeMap<VertexId, SplitPool>,
    /// The highest checkpoint id ever used.
    pub last_checkpoint: CheckpointId,
    /// A checkpoint that was triggered and has neither completed nor been aborted.
    pub in_flight: Option<(CheckpointId, CheckpointKind)>,
    /// Retained completed checkpoints, oldest first.
    pub completed: Vec<(CheckpointId, CheckpointKind)>,
    /// Checkpoints completed in the job's life.
    pub completed_in_all: u64,
    /// The highest checkpoint all of whose effects are known to be visible.
    pub committed: CheckpointId,
    /// Restarts that were decided and not carried out.
    pub failovers: Vec<Failover>,
    /// Failures so far that led to a restart.
    pub restarts: u32,
    /// Those that the restart strategy was asked for.
    pub restarts_charged: u32,
    /// Executions that a new leader found gone or broken, and that were restarted for that.
    pub restarted_by_takeover: u32,
    /// Why a region was last restarted.
    pub last_failure: Option<Failure>,
    /// Why each region, named by its first subtask, was restarted since the last completed checkpoint, and
    /// how often in a row for the same failure.
    pub repeated: BTreeMap<SubtaskId, (Failure, u32)>,
    /// Savepoints that were asked for and are not decided, in order; and what became of the last others.
    pub savepoints: Vec<SavepointStatus>,
    /// Subtasks of every operator that doesn't say otherwise, if the job was rescaled; the program knows it if not.
    pub parallelism: Option<u32>,
    /// A rescale that has not been carried out.
    pub rescaling: Option<Rescaling>,
    /// The checkpoint that the present plan began with, and the savepoint of the rescale that it is made from: the job's own.
    pub rescaled_from: Option<(CheckpointId, CheckpointId)>,
    /// Whether the next master begins with what the last entry said of the plan.
    pub begins_again: bool,
    /// Attempts that a subtask of an earlier plan has had, at most.
    pub earlier_attempts: u32,
    /// Whether somebody asked for the job's end.
    pub cancel_requested: bool,
    /// Why the job is failing.
    pub failing: Option<Failure>,
    /// How it ended.
    pub outcome: Option<JobOutcome>,
    /// Leaders that took over after the first.
    pub takeovers: u32,
}

impl JobState {
    /// The fold over a whole log.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a LogEntry>) -> Self {
        let mut state = Self::default();
        for entry in entries {
            state.apply(entry);
        }
        state
    }

    /// The checkpoints that are kept, oldest first; whatever is stored below them is garbage.
    pub fn retained(&self) -> Vec<CheckpointId> {
        self.completed.iter().map(|(id, _)| *id).collect()
    }

    /// The checkpoint that a restart begins from.
    pub fn latest(&self) -> Option<(CheckpointId, CheckpointKind)> {
        self.completed.last().copied()
    }

    /// The checkpoint that a restart begins from, if its effects are not known to be visible.
    pub fn uncommitted(&self) -> Option<(CheckpointId, CheckpointKind)> {
        self.latest().filter(|(id, _)| *id > self.committed)
    }

    /// The checkpoints that stay of a job that is over, oldest first: a failed one's, for whoever goes on from there when it is known why;
    /// and a canceled one's if not all of its output may be visible, since here is what is missing.
    pub fn kept(&self) -> Vec<CheckpointId> {
        let ran = !self.executions.is_empty();
        match self.outcome {
            Some(JobOutcome::Failed(_)) => self.retained(),
            Some(JobOutcome::Canceled) if ran && self.uncommitted().is_some() => self.retained(),
            _ => Vec::new(),
        }
    }

    /// How often in a row, this time included, a region has failed in the same way and got no further: no
    /// checkpoint was completed in between.
    pub fn times_failed(&self, first: SubtaskId, failure: &Failure) -> u32 {
        match self.repeated.get(&first) {
            Some((known, times)) if known.is_repeated_by(failure) => times + 1,
            _ => 1,
        }
    }

    /// Whether a leader of this term, whose entry is next, takes the job over from another one.
    pub(super) fn is_taken_over(&self, term: u64) -> bool {
        // A leader that begins again with another plan takes nothing over.
        let goes_on = self.begins_again && self.term == term;
        self.epoch > LeaderEpoch(0) && !goes_on
    }

    /// Takes an entry that has been written.
    pub fn apply(&mut self, entry: &LogEntry) {
        match entry {
            LogEntry::Submitted {
                name,
                fingerprint,
                program,
                options,
                start,
            } => {
                self.name.clone_from(name);
                self.fingerprint = *fingerprint;
                self.program = program.as_deref().cloned();
                self.options = (**options).clone();
                if let Some(start) = start {
                    self.start_from(start);
                }
            }
            LogEntry::Leader {
                epoch,
                term,
                process,
            } => {
                self.takeovers += u32::from(self.is_taken_over(*term));
                self.begins_again = false;
                self.epoch = *epoch;
                self.term = *term;
                self.process = *process;
            }
            LogEntry::SplitsFound {
                source,
                splits,
                readers,
                open,
            } => {
                let pool = SplitPool::new(splits.clone(), *open);
                self.splits.insert(*source, pool.read_by(*readers));
            }
            LogEntry::SplitsDiscovered {
                source,
                splits,
                last,
            } => {
                if let Some(pool) = self.splits.get_mut(source) {
                    pool.discover(splits, *last);
                }
            }
            LogEntry::SplitsAssigned { attempt, splits } => {
                // What was promised to a reader that has been replaced meanwhile is nobody's.
                let reader = self.executions.get(&attempt.subtask);
                if reader.is_some_and(|reader| reader.attempt == *attempt)
                    && let Some(pool) = self.splits.get_mut(&attempt.subtask.vertex)
                {
                    splits
                        .iter()
                        .for_each(|split| pool.assign(*split, *attempt));
                }
            }
            LogEntry::Deployed { attempts, restore } => {
                let deployed = self.apply_deployed(attempts, *restore);
                for pool in self.splits.values_mut() {
                    pool.rewind(&deployed);
                }
            }
            LogEntry::CheckpointTriggered { id, kind } => {
                self.last_checkpoint = *id;
                self.in_flight = Some((*id, *kind));
            }
            // The first verdict counts: a coordinator that was restarted may give another.
            LogEntry::CheckpointCompleted { id, .. } | LogEntry::CheckpointAborted { id, .. }
                if self.in_flight.is_none_or(|(pending, _)| pending != *id) => {}
            LogEntry::CheckpointCompleted { id, kind, received } => {
                self.in_flight = None;
                self.completed_in_all += 1;
                if kind.is_savepoint() {
                    let open = self.savepoints.iter().find(|savepoint| {
                        savepoint.outcome.is_none() && savepoint.request.kind == *kind
                    });
                    if let Some(request) = open.map(|savepoint| savepoint.request) {
                        let token = request.token;
                        self.settle_savepoint(token, Ok(*id));
                        self.rescaling = request.rescale_to.map(|parallelism| Rescaling {
                            token,
                            savepoint: *id,
                            parallelism,
                        });
                    }
                }
                if *kind == CheckpointKind::Savepoint {
                    // A restart goes back behind it.
                    return;
                }
                for (source, splits) in received {
                    if let Some(pool) = self.splits.get_mut(source) {
                        pool.settle(splits);
                    }
                }
                self.repeated.clear();
                self.completed.push((*id, *kind));
                let retained = self.options.retained_checkpoints.max(1);
                let excess = self.completed.len().saturating_sub(retained);
                self.completed.drain(..excess);
                let is_needed = |start| self.completed.iter().any(|(id, _)| *id == start);
                self.rescaled_from = self.rescaled_from.filter(|(start, _)| is_needed(*start));
            }
            LogEntry::CheckpointAborted { .. } => self.in_flight = None,
            LogEntry::CheckpointCommitted { id } => self.committed = *id,
            LogEntry::FailoverStarted {
                region,
                wait,
                cause,
                found_at_takeover,
                charged,
                ..
            } => {
                self.restarts += 1;
                self.restarts_charged += u32::from(*charged);
                self.last_failure = Some(cause.clone());
                if let Some(first) = region.first() {
                    let times = self.times_failed(*first, cause);
                    self.repeated.insert(*first, (cause.clone(), times));
                }
                if *found_at_takeover {
                    self.restarted_by_takeover += region.len() as u32;
                }
                self.failovers.push(Failover {
                    subtasks: region.iter().copied().collect(),
                    wait: *wait,
                });
            }
            LogEntry::SavepointRequested { request } => {
                self.note_savepoint(*request);
            }
            LogEntry::SavepointRefused { request, reason } => {
                self.note_savepoint(*request);
                self.settle_savepoint(request.token, Err(reason.clone()));
            }
            LogEntry::SavepointFailed { token, reason } => {
                self.settle_savepoint(*token, Err(reason.clone()));
            }
            LogEntry::Rescaled {
                parallelism,
                fingerprint,
                start,
            } => {
                self.begins_again = true;
                self.parallelism = Some(*parallelism);
                self.fingerprint = *fingerprint;
                let savepoint = self.rescaling.take().map(|rescaling| rescaling.savepoint);
                self.rescaled_from = savepoint.map(|savepoint| (start.checkpoint, savepoint));
                // An attempt's number is used once, also where the new plan has a subtask of the same name.
                let executions = self.executions.values();
                let attempts = executions.map(|execution| execution.attempt.attempt);
                self.earlier_attempts = attempts.max().unwrap_or(self.earlier_attempts);
                self.executions.clear();
                self.failovers.clear();
                self.repeated.clear();
                self.start_from(start);
            }
            LogEntry::RescaleFailed { token, reason } => {
                self.begins_again = true;
                self.rescaling = None;
                let of_token = |savepoint: &&mut SavepointStatus| savepoint.request.token == *token;
                if let Some(savepoint) = self.savepoints.iter_mut().find(of_token) {
                    savepoint.outcome = Some(Err(reason.clone()));
                }
                // The job doesn't end with it after all.
                if let Some((_, kind)) = self.completed.last_mut() {
                    *kind = CheckpointKind::Checkpoint;
                }
            }
            LogEntry::CancelRequested => self.cancel_requested = true,
            LogEntry::JobFailing { cause } => self.failing = Some(cause.clone()),
            LogEntry::Finished { outcome } => {
                self.outcome = Some(outcome.clone());
                for token in self
                    .open_savepoints()
                    .map(|request| request.token)
                    .collect::<Vec<_>>()
                {
                    self.settle_savepoint(token, Err(format!("the job has {outcome}")));
                }
            }
        }
    }

    /// As if the job had completed this checkpoint itself, and not committed it.
    fn start_from(&mut self, start: &StartState) {
        self.last_checkpoint = start.checkpoint;
        self.completed = vec![(start.checkpoint, CheckpointKind::Checkpoint)];
        self.splits = start.splits.clone();
    }

    /// Savepoints that were asked for and are not decided, in order.
    pub fn open_savepoints(&self) -> impl Iterator<Item = SavepointRequest> + '_ {
        let open = |savepoint: &&SavepointStatus| savepoint.outcome.is_none();
        self.savepoints
            .iter()
            .filter(open)
            .map(|savepoint| savepoint.request)
    }

    fn note_savepoint(&mut self, request: SavepointRequest) {
        let known = |savepoint: &SavepointStatus| savepoint.request.token == request.token;
        if !self.savepoints.iter().any(known) {
            self.savepoints.push(SavepointStatus {
                request,
                outcome: None,
            });
        }
    }

    fn settle_savepoint(&mut self, token: Uuid, outcome: Result<CheckpointId, String>) {
        let of_token = |savepoint: &&mut SavepointStatus| savepoint.request.token == token;
        if let Some(savepoint) = self.savepoints.iter_mut().find(of_token) {
            savepoint.outcome.get_or_insert(outcome);
        }
        let settled = |savepoint: &&SavepointStatus| savepoint.outcome.is_some();
        let excess = self
            .savepoints
            .iter()
            .filter(settled)
            .count()
            .saturating_sub(SAVEPOINTS_KNOWN);
        let mut left = excess;
        self.savepoints.retain(|savepoint| {
            let goes = savepoint.outcome.is_some() && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }

    fn apply_deployed(
        &mut self,
        attempts: &[(AttemptId, Slot)],
        restore: Option<CheckpointId>,
    ) -> BTreeSet<SubtaskId> {
        for (attempt, slot) in attempts {
            let execution = Execution {
                attempt: *attempt,
                slot: slot.clone(),
                restore,
            };
            self.executions.insert(attempt.subtask, execution);
        }
        let deployed: BTreeSet<SubtaskId> = attempts.iter().map(|(a, _)| a.subtask).collect();
        self.failovers
            .retain(|failover| failover.subtasks.is_disjoint(&deployed));
        deployed
    }
}
