//! The checkpoint coordinator's decisions: trigger, acknowledge, complete, abort, announce.
//!
//! ```text
//!  interval or end of input
//!        | Append(Triggered)            the id is logged before any source hears of it
//!        v
//!     Running --all acknowledged--> Storing --manifest written--> Completing --appended--> announced
//!        |                                                                                    |
//!        +--declined, timed out, a task failed--> Append(Aborted) --> announced               v
//!                                                              all committed: Append(Committed)
//! ```
//!
//! A coordinator that takes over begins in `Running` with the acknowledgements that the TaskManagers
//! reported, and triggers again: a source that knows the checkpoint ignores it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::entry::{LogEntry, Manifest, SavepointRequest, SubtaskSnapshot};
use super::options::JobOptions;
use super::report::{TaskPhase, TaskReport};
use super::state::JobState;
use crate::failure::Failure;
use crate::ids::{AttemptId, CheckpointId, SubtaskId, VertexId};
use crate::source::SplitId;
use crate::stage::{Barrier, CheckpointKind};

/// The executions that take part in checkpoints, all of them running.
pub type Tasks = BTreeMap<SubtaskId, AttemptId>;

/// What happens to a coordinator.
#[derive(Debug, Clone)]
pub enum CheckpointEvent {
    /// All of the job's tasks run. With reports, if they ran before this leader did.
    Started {
        /// The executions.
        tasks: Tasks,
        /// What is known of them from before.
        reports: Vec<TaskReport>,
    },
    /// A region is about to be restarted: settle what is under way, then say so.
    Quiesce,
    /// Time has passed.
    Tick,
    /// Every subtask has worked on all its input.
    AllDrained,
    /// A subtask's snapshot is stored.
    Acknowledged {
        /// The execution.
        attempt: AttemptId,
        /// Which checkpoint.
        id: CheckpointId,
        /// Where it is.
        snapshot: SubtaskSnapshot,
    },
    /// A subtask gave the checkpoint up.
    Declined {
        /// The execution.
        attempt: AttemptId,
        /// Which checkpoint.
        id: CheckpointId,
        /// Why.
        reason: String,
    },
    /// A subtask has made a checkpoint's effects visible.
    Committed {
        /// The execution.
        attempt: AttemptId,
        /// Which checkpoint.
        id: CheckpointId,
    },
    /// The manifest is stored, or could not be.
    ManifestStored {
        /// Which checkpoint.
        id: CheckpointId,
        /// Why not.
        error: Option<String>,
    },
    /// An entry that this coordinator asked for is in the log.
    Appended(LogEntry),
}

/// What a coordinator wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckpointAction {
    /// Write an entry.
    Append(LogEntry),
    /// Tell the sources.
    Trigger(Barrier),
    /// Store the manifest.
    StoreManifest(Manifest),
    /// Tell every task that the checkpoint is durable.
    AnnounceCompleted(CheckpointId),
    /// Tell every task that the checkpoint will never be.
    AnnounceAborted(CheckpointId),
    /// Nothing is under way; none will be triggered until the next `Started`.
    Quiesced,
    /// The final checkpoint's effects are visible: the job is done.
    JobDone,
    /// Too many checkpoints have failed.
    FailJob(Failure),
}

/// Wait before a final checkpoint that failed is tried again.
const FINAL_RETRY: Duration = Duration::from_millis(100);

/// Why a checkpoint is aborted when the job's end has been asked for.
/// Why a checkpoint is given up that nobody needs any more.
pub const ENDING: &str = "the job is ending";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The id is being logged.
    Triggering,
    /// Barriers are on their way.
    Running,
    /// The manifest is being stored.
    Storing,
    /// Completion is being logged.
    Completing,
    /// Abortion is being logged.
    Aborting,
}

#[derive(Debug)]
struct Pending {
    barrier: Barrier,
    phase: Phase,
    acknowledged: BTreeMap<SubtaskId, SubtaskSnapshot>,
    started: Duration,
}

/// Splits that readers say they had been given, by source.
fn received(by: &BTreeMap<SubtaskId, SubtaskSnapshot>) -> BTreeMap<VertexId, Vec<SplitId>> {
    let mut received: BTreeMap<VertexId, Vec<SplitId>> = BTreeMap::new();
    for (reader, snapshot) in by {
        if !snapshot.received.is_empty() {
            let of_source = received.entry(reader.vertex).or_default();
            of_source.extend(&snapshot.received);
        }
    }
    received
}

/// The coordinator of one job.
#[derive(Debug)]
pub struct CheckpointMachine {
    options: JobOptions,
    fingerprint: u64,
    max_parallelism: u32,
    last: CheckpointId,
    pending: Option<Pending>,
    /// Savepoints that were asked for, in order.
    requests: VecDeque<SavepointRequest>,
    /// Whether what was triggered last was a savepoint: the job's own checkpoints get their turn between them.
    after_savepoint: bool,
    /// Whether the job was to stop with a savepoint that failed.
    stopped_in_vain: bool,
    /// Completed, and announced to these, who have not said that their effects are visible.
    uncommitted: Option<(Barrier, BTreeSet<SubtaskId>)>,
    tasks: Option<Tasks>,
    /// What tasks said of the checkpoint under way before this coordinator knew who takes part.
    early: Vec<CheckpointEvent>,
    /// Whether the final checkpoint's effects are visible.
    done: bool,
    quiescing: bool,
    /// Whether the job is to end: nothing is triggered any more, what is complete is seen through.
    ending: bool,
    drained: bool,
    last_started: Duration,
    last_ended: Duration,
    failed_in_a_row: u32,
}

impl CheckpointMachine {
    /// A coordinator that goes on from what the log holds. It triggers nothing before `Started`.
    pub fn new(state: &JobState, max_parallelism: u32, now: Duration) -> Self {
        let pending = state.in_flight.map(|(id, kind)| Pending {
            barrier: Barrier { id, kind },
            phase: Phase::Running,
            acknowledged: BTreeMap::new(),
            started: now,
        });
        let uncommitted = state
            .uncommitted()
            .map(|(id, kind)| (Barrier { id, kind }, BTreeSet::new()));
        Self {
            options: state.options.clone(),
            fingerprint: state.fingerprint,
            max_parallelism,
            last: state.last_checkpoint,
            pending,
            uncommitted,
            requests: state.open_savepoints().collect(),
            after_savepoint: false,
            stopped_in_vain: state.savepoints.iter().any(|savepoint| {
                let kind = savepoint.request.kind;
                kind.is_last() && matches!(savepoint.outcome, Some(Err(_)))
            }),
            tasks: None,
            early: Vec::new(),
            done: state
                .latest()
                .is_some_and(|(id, kind)| kind.is_last() && id <= state.committed),
            quiescing: false,
            ending: state.cancel_requested || state.failing.is_some(),
            drained: false,
            last_started: now,
            last_ended: now,
            failed_in_a_row: 0,
        }
    }

    /// Decides.
    pub fn on_event(&mut self, event: CheckpointEvent, now: Duration) -> Vec<CheckpointAction> {
        let mut actions = Vec::new();
        match event {
            CheckpointEvent::Started { tasks, reports } => {
                self.started(tasks, reports, now, &mut actions);
            }
            CheckpointEvent::Quiesce => {
                self.quiescing = true;
                self.tasks = None;
                self.drained = false;
                self.early.clear();
                self.abort("tasks are being restarted", &mut actions);
            }
            CheckpointEvent::Tick => {}
            CheckpointEvent::AllDrained => self.drained = true,
            CheckpointEvent::Acknowledged { id, .. } | CheckpointEvent::Declined { id, .. } => {
                if self.tasks.is_some() {
                    self.told(event, &mut actions);
                } else if self.running(id).is_some() {
                    self.early.push(event);
                }
            }
            CheckpointEvent::Committed { attempt, id } => {
                self.committed(attempt, id, &mut actions);
            }
            CheckpointEvent::ManifestStored { id, error } => {
                self.manifest_stored(id, error, &mut actions);
            }
            CheckpointEvent::Appended(entry) => self.appended(&entry, now, &mut actions),
        }
        self.expire(now, &mut actions);
        self.trigger_if_due(now, &mut actions);
        if self.quiescing && self.pending.is_none() {
            self.quiescing = false;
            actions.push(CheckpointAction::Quiesced);
        }
        actions
    }

    /// When `Tick` is wanted next, if nothing else happens.
    pub fn next_tick(&self, now: Duration) -> Option<Duration> {
        let at = match &self.pending {
            Some(pending) => match pending.phase {
                Phase::Running | Phase::Storing => {
                    pending.started + self.options.checkpoint_timeout
                }
                // Time can't help while an entry is being written.
                Phase::Triggering | Phase::Completing | Phase::Aborting => return None,
            },
            None => {
                self.tasks.as_ref()?;
                if self.ending || self.final_is_complete() {
                    return None;
                } else if self.drained {
                    self.final_due()
                } else {
                    self.due()?
                }
            }
        };
        Some(at.saturating_sub(now))
    }

    fn started(
        &mut self,
        tasks: Tasks,
        reports: Vec<TaskReport>,
        now: Duration,
        actions: &mut Vec<CheckpointAction>,
    ) {
        self.quiescing = false;
        self.tasks = Some(tasks);
        self.last_started = now;
        if self.done {
            // Its leader died before it could end the job.
            actions.push(CheckpointAction::JobDone);
        }
        if let Some((barrier, waiting)) = &mut self.uncommitted {
            // Announced again: whoever has committed says so at once.
            *waiting = self.tasks.iter().flatten().map(|(id, _)| *id).collect();
            actions.push(CheckpointAction::AnnounceCompleted(barrier.id));
        }
        let running: Vec<&TaskReport> = reports
            .iter()
            .filter(|report| self.takes_part(report.attempt))
            .collect();
        // Those without a report have just been restarted. The master may have said it before this.
        let drained = running
            .iter()
            .filter(|report| report.phase == TaskPhase::Drained);
        self.drained |= drained.count() == self.tasks.iter().flatten().count();
        let early = std::mem::take(&mut self.early);
        let Some(pending) = &self.pending else {
            if self.stopped_in_vain && !self.final_is_complete() {
                // Who was to tell the sources that hold behind its barrier may have died.
                actions.push(CheckpointAction::AnnounceAborted(self.last));
            }
            return;
        };
        let id = pending.barrier.id;
        if self.ending {
            self.abort(ENDING, actions);
            return;
        }
        if let Some(report) = running.iter().find(|report| report.declined >= id) {
            let reason = format!("{} declined while there was no leader", report.attempt);
            self.abort(&reason, actions);
            return;
        }
        if running.len() < self.tasks.iter().flatten().count() {
            // Those without a report were restarted, and stand somewhere else than when it was triggered;
            // a final one would end the job before they have read their input again.
            self.abort("tasks were restarted when the leader took over", actions);
            return;
        }
        let known: Vec<(SubtaskId, SubtaskSnapshot)> = running
            .iter()
            .filter_map(|report| match &report.acknowledged {
                Some((acknowledged, snapshot)) if *acknowledged == id => {
                    Some((report.attempt.subtask, snapshot.clone()))
                }
                _ => None,
            })
            .collect();
        if let Some(pending) = self.running(id) {
            pending.acknowledged.extend(known);
            actions.push(CheckpointAction::Trigger(pending.barrier));
            self.complete_if_acknowledged(actions);
        }
        for event in early {
            self.told(event, actions);
        }
    }

    /// A task has acknowledged the checkpoint under way, or declined it.
    fn told(&mut self, event: CheckpointEvent, actions: &mut Vec<CheckpointAction>) {
        match event {
            CheckpointEvent::Acknowledged {
                attempt,
                id,
                snapshot,
            } => {
                if self.takes_part(attempt)
                    && let Some(pending) = self.running(id)
                {
                    pending.acknowledged.insert(attempt.subtask, snapshot);
                    self.complete_if_acknowledged(actions);
                }
            }
            CheckpointEvent::Declined {
                attempt,
                id,
                reason,
            } if self.takes_part(attempt) && self.running(id).is_some() => {
                self.abort(&reason, actions);
            }
            _ => {}
        }
    }

    fn takes_part(&self, attempt: AttemptId) -> bool {
        self.tasks
            .as_ref()
            .is_some_and(|tasks| tasks.get(&attempt.subtask) == Some(&attempt))
    }

    fn running(&mut self, id: CheckpointId) -> Option<&mut Pending> {
        self.pending
            .as_mut()
            .filter(|pending| pending.barrier.id == id && pending.phase == Phase::Running)
    }

    fn complete_if_acknowledged(&mut self, actions: &mut Vec<CheckpointAction>) {
        let (Some(tasks), Some(pending)) = (&self.tasks, &mut self.pending) else {
            return;
        };
        let all = tasks
            .keys()
            .all(|subtask| pending.acknowledged.contains_key(subtask));
        if pending.phase == Phase::Running && all {
            pending.phase = Phase::Storing;
            actions.push(CheckpointAction::StoreManifest(Manifest {
                id: pending.barrier.id,
                kind: pending.barrier.kind,
                fingerprint: self.fingerprint,
                max_parallelism: self.max_parallelism,
                foreign: false,
                committed: false,
                subtasks: pending.acknowledged.clone(),
            }));
        }
    }

    fn manifest_stored(
        &mut self,
        id: CheckpointId,
        error: Option<String>,
        actions: &mut Vec<CheckpointAction>,
    ) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        if pending.barrier.id != id || pending.phase != Phase::Storing {
            return;
        }
        match error {
            Some(error) => {
                pending.phase = Phase::Running;
                self.abort(
                    &format!("its manifest could not be stored: {error}"),
                    actions,
                );
            }
            None => {
                pending.phase = Phase::Completing;
                actions.push(CheckpointAction::Append(LogEntry::CheckpointCompleted {
                    id,
                    kind: pending.barrier.kind,
                    received: received(&pending.acknowledged),
                }));
            }
        }
    }

    /// Aborts what is under way, unless its completion is already on its way to the log.
    fn abort(&mut self, reason: &str, actions: &mut Vec<CheckpointAction>) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        match pending.phase {
            Phase::Running | Phase::Storing => {
                pending.phase = Phase::Aborting;
                actions.push(CheckpointAction::Append(LogEntry::CheckpointAborted {
                    id: pending.barrier.id,
                    reason: reason.to_owned(),
                }));
            }
            // Its own append is under way; what follows is decided when it is written.
            Phase::Triggering | Phase::Completing | Phase::Aborting => {}
        }
    }

    fn appended(&mut self, entry: &LogEntry, now: Duration, actions: &mut Vec<CheckpointAction>) {
        match entry {
            LogEntry::CheckpointTriggered { id, kind } => {
                let quiescing = self.quiescing || self.tasks.is_none();
                // A coordinator that was restarted meanwhile adopts what its predecessor asked for.
                self.last = self.last.max(*id);
                let pending = self.pending.get_or_insert_with(|| Pending {
                    barrier: Barrier {
                        id: *id,
                        kind: *kind,
                    },
                    phase: Phase::Triggering,
                    acknowledged: BTreeMap::new(),
                    started: now,
                });
                // The predecessor may have asked for the same one.
                if pending.barrier.id != *id || pending.phase != Phase::Triggering {
                    return;
                }
                pending.phase = Phase::Running;
                if self.ending {
                    self.abort(ENDING, actions);
                } else if quiescing {
                    self.abort("tasks are being restarted", actions);
                } else {
                    actions.push(CheckpointAction::Trigger(pending.barrier));
                }
            }
            // The first verdict counts; this one is of a predecessor, or comes after it.
            LogEntry::CheckpointCompleted { id, .. } | LogEntry::CheckpointAborted { id, .. }
                if self.pending.as_ref().is_none_or(|p| p.barrier.id != *id) => {}
            LogEntry::CheckpointCompleted { id, kind, .. } => {
                self.pending = None;
                self.last_ended = now;
                if kind.is_savepoint() {
                    self.requests.pop_front();
                } else {
                    self.failed_in_a_row = 0;
                }
                if *kind == CheckpointKind::Savepoint {
                    // It is whoever asked for it's; what it would have committed joins the job's next one.
                    actions.push(CheckpointAction::AnnounceAborted(*id));
                    return;
                }
                let waiting = self.tasks.iter().flatten().map(|(id, _)| *id).collect();
                let barrier = Barrier {
                    id: *id,
                    kind: *kind,
                };
                self.uncommitted = Some((barrier, waiting));
                actions.push(CheckpointAction::AnnounceCompleted(*id));
            }
            LogEntry::CheckpointAborted { id, reason } => {
                let kind = self.pending.take().map(|pending| pending.barrier.kind);
                self.last_ended = now;
                actions.push(CheckpointAction::AnnounceAborted(*id));
                if self.tasks.is_none() || self.ending {
                    // It gave way to a restart, and that is counted elsewhere. A savepoint is tried again. Or to
                    // the job's end.
                    return;
                }
                if kind.is_some_and(CheckpointKind::is_savepoint) {
                    if let Some(request) = self.requests.pop_front() {
                        actions.push(CheckpointAction::Append(LogEntry::SavepointFailed {
                            token: request.token,
                            reason: reason.clone(),
                        }));
                    }
                    return;
                }
                self.failed_in_a_row += 1;
                if let Some(tolerated) = self.options.tolerable_checkpoint_failures
                    && self.failed_in_a_row > tolerated
                {
                    actions.push(CheckpointAction::FailJob(Failure::job(format!(
                        "{} checkpoints failed in a row, {tolerated} are tolerated; the last: {reason}",
                        self.failed_in_a_row,
                    ))));
                }
            }
            LogEntry::CheckpointCommitted { id } => {
                if let Some((barrier, _)) = &self.uncommitted
                    && barrier.id == *id
                {
                    if barrier.kind.is_last() {
                        self.done = true;
                        actions.push(CheckpointAction::JobDone);
                    }
                    self.uncommitted = None;
                }
            }
            LogEntry::SavepointRequested { request } => {
                let known = |known: &SavepointRequest| known.token == request.token;
                if !self.requests.iter().any(known) {
                    self.requests.push_back(*request);
                }
            }
            // The job's master gives up what it can't be ready for.
            LogEntry::SavepointFailed { token, .. } => {
                self.requests.retain(|request| request.token != *token);
            }
            LogEntry::CancelRequested | LogEntry::JobFailing { .. } => {
                self.ending = true;
                self.abort(ENDING, actions);
            }
            _ => {}
        }
    }

    fn committed(
        &mut self,
        attempt: AttemptId,
        id: CheckpointId,
        actions: &mut Vec<CheckpointAction>,
    ) {
        if !self.takes_part(attempt) {
            return;
        }
        if let Some((barrier, waiting)) = &mut self.uncommitted
            && id >= barrier.id
            && waiting.remove(&attempt.subtask)
            && waiting.is_empty()
        {
            actions.push(CheckpointAction::Append(LogEntry::CheckpointCommitted {
                id: barrier.id,
            }));
        }
    }

    fn expire(&mut self, now: Duration, actions: &mut Vec<CheckpointAction>) {
        if let Some(pending) = &self.pending
            && now.saturating_sub(pending.started) >= self.options.checkpoint_timeout
        {
            let limit = self.options.checkpoint_timeout;
            self.abort(&format!("it took longer than {limit:?}"), actions);
        }
    }

    /// When the next checkpoint is to start.
    fn due(&self) -> Option<Duration> {
        let interval = self.options.checkpoint_interval?;
        let by_interval = self.last_started + interval;
        Some(by_interval.max(self.last_ended + self.options.checkpoint_pause))
    }

    /// The final checkpoint is due at once, and again a little after it failed.
    fn final_due(&self) -> Duration {
        match self.failed_in_a_row {
            0 => self.last_ended,
            _ => self.last_ended + FINAL_RETRY,
        }
    }

    /// Whether there is nothing more to take a checkpoint of.
    fn final_is_complete(&self) -> bool {
        let waits = self.uncommitted.as_ref();
        self.done || waits.is_some_and(|(barrier, _)| barrier.kind.is_last())
    }

    fn trigger_if_due(&mut self, now: Duration, actions: &mut Vec<CheckpointAction>) {
        let over = self.ending || self.final_is_complete();
        if self.pending.is_some() || self.tasks.is_none() || over {
            return;
        }
        let is_due = match self.drained {
            true => now >= self.final_due(),
            false => self.due().is_some_and(|due| now >= due),
        };
        let request = self.requests.front().map(|request| request.kind);
        let kind = if let Some(kind) = request.filter(|_| !(self.after_savepoint && is_due)) {
            kind
        } else if self.drained && now >= self.final_due() {
            CheckpointKind::Final
        } else if !self.drained && self.due().is_some_and(|due| now >= due) {
            CheckpointKind::Checkpoint
        } else {
            return;
        };
        let id = self.last.next();
        self.last = id;
        self.after_savepoint = kind.is_savepoint();
        if !self.after_savepoint {
            self.last_started = now;
        }
        self.pending = Some(Pending {
            barrier: Barrier { id, kind },
            phase: Phase::Triggering,
            acknowledged: BTreeMap::new(),
            started: now,
        });
        actions.push(CheckpointAction::Append(LogEntry::CheckpointTriggered {
            id,
            kind,
        }));
    }
}

#[cfg(test)]
mod tests;
