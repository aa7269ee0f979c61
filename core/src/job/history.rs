//! What has happened to a job, for people.
//!
//! Entries of a log are gone once it is folded into a snapshot, so its story is a fold of its own that is stored with the state. It
//! is bounded: of checkpoints the last [`CHECKPOINTS`] are told of, of all else the last [`OTHERS`]. What happens is numbered, so
//! that whoever looks again sees what is new. Nothing is ever decided by it, nor by its times, which are those of whoever led.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry::{JobOutcome, LogEntry};
use super::state::JobState;
use crate::event::Timestamp;
use crate::failure::Failure;
use crate::ids::{AttemptId, CheckpointId, LeaderEpoch, TaskManagerId};
use crate::stage::CheckpointKind;

/// Checkpoints, complete or given up, that are told of.
const CHECKPOINTS: usize = 20;

/// Other events that are told of.
const OTHERS: usize = 100;

/// What has happened to a job, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobHistory {
    events: VecDeque<HistoryEvent>,
    /// Events there have been in all.
    told: u64,
    /// The checkpoint under way, and since when.
    triggered: Option<(CheckpointId, Timestamp)>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Which it is among all that ever happened to the job, from 1.
    pub number: u64,
    /// When it was written, in milliseconds since the epoch, by the clock of whoever led.
    pub at: Timestamp,
    /// What.
    pub what: Happened,
}

/// What may happen to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Happened {
    /// Somebody wanted it run.
    Submitted {
        /// Its name.
        name: String,
        /// What it is made of, if any process can make it.
        program: Option<String>,
        /// The savepoint that it goes on from.
        savepoint: Option<String>,
    },
    /// A leader has begun with it, or goes on with it as it was or as it was rescaled.
    Led {
        /// The leader's epoch.
        epoch: LeaderEpoch,
    },
    /// Another leader has taken it over.
    TakenOver {
        /// The leader's epoch.
        epoch: LeaderEpoch,
    },
    /// Tasks are on their way to their slots.
    Deployed {
        /// How many of them go where.
        tasks: BTreeMap<TaskManagerId, u32>,
        /// What they start from.
        restore: Option<CheckpointId>,
    },
    /// A checkpoint or savepoint is complete.
    Completed {
        /// Which.
        id: CheckpointId,
        /// What it is for.
        kind: CheckpointKind,
        /// How long it took, by the log.
        took: Option<Duration>,
    },
    /// A checkpoint or savepoint was given up.
    Aborted {
        /// Which.
        id: CheckpointId,
        /// What it was for.
        kind: CheckpointKind,
        /// Why.
        reason: String,
    },
    /// A task failed, and its region restarts.
    Failed {
        /// The execution, if one is to blame.
        attempt: Option<AttemptId>,
        /// Where it was.
        task_manager: Option<TaskManagerId>,
        /// Why.
        cause: Failure,
        /// How many tasks are restarted.
        tasks: u32,
        /// After which wait.
        wait: Duration,
    },
    /// Somebody asked for a savepoint, or for a rescale, which begins with one.
    SavepointAsked {
        /// What it is for.
        kind: CheckpointKind,
        /// The parallelism that is wanted.
        rescale_to: Option<u32>,
    },
    /// There will be no such savepoint.
    SavepointFailed {
        /// Why.
        reason: String,
    },
    /// It goes on at another parallelism.
    Rescaled {
        /// Subtasks of every operator that doesn't say otherwise.
        parallelism: u32,
    },
    /// It goes on at the parallelism that it had.
    RescaleFailed {
        /// Why.
        reason: String,
    },
    /// Somebody asked for its end.
    CancelAsked,
    /// It has failed, and its tasks are ended.
    Failing {
        /// Why.
        cause: Failure,
    },
    /// It is over.
    Ended {
        /// How.
        outcome: JobOutcome,
    },
}

impl JobHistory {
    /// Takes an entry that was written when the job stood like this, at that time.
    pub fn note(&mut self, at: Timestamp, entry: &LogEntry, before: &JobState) {
        if let LogEntry::CheckpointTriggered { id, .. } = entry {
            self.triggered = Some((*id, at));
        }
        let Some(what) = self.happened(at, entry, before) else {
            return;
        };
        self.told += 1;
        let number = self.told;
        let is_checkpoint = what.is_checkpoint();
        self.events.push_back(HistoryEvent { number, at, what });
        let of_kind = |event: &HistoryEvent| event.what.is_checkpoint() == is_checkpoint;
        let most = if is_checkpoint { CHECKPOINTS } else { OTHERS };
        if self.events.iter().filter(|event| of_kind(event)).count() > most
            && let Some(oldest) = self.events.iter().position(of_kind)
        {
            self.events.remove(oldest);
        }
    }

    fn happened(&self, at: Timestamp, entry: &LogEntry, before: &JobState) -> Option<Happened> {
        Some(match entry {
            LogEntry::Submitted {
                name,
                program,
                start,
                ..
            } => Happened::Submitted {
                name: name.clone(),
                program: program
                    .as_ref()
                    .map(|program| format!("{program}, at parallelism {}", program.parallelism)),
                savepoint: start.as_ref().map(|start| start.savepoint.clone()),
            },
            LogEntry::Leader { epoch, term, .. } => match before.is_taken_over(*term) {
                true => Happened::TakenOver { epoch: *epoch },
                false => Happened::Led { epoch: *epoch },
            },
            LogEntry::Deployed { attempts, restore } => {
                let mut tasks = BTreeMap::new();
                for (_, slot) in attempts {
                    *tasks.entry(slot.task_manager.clone()).or_insert(0) += 1;
                }
                let restore = *restore;
                Happened::Deployed { tasks, restore }
            }
            LogEntry::CheckpointCompleted { id, kind, .. } => {
                before.in_flight.filter(|(pending, _)| pending == id)?;
                let began = self.triggered.filter(|(pending, _)| pending == id);
                let millis = began.map(|(_, began)| at.saturating_sub(began).max(0) as u64);
                Happened::Completed {
                    id: *id,
                    kind: *kind,
                    took: millis.map(Duration::from_millis),
                }
            }
            LogEntry::CheckpointAborted { id, reason } => {
                let (_, kind) = before.in_flight.filter(|(pending, _)| pending == id)?;
                Happened::Aborted {
                    id: *id,
                    kind,
                    reason: reason.clone(),
                }
            }
            LogEntry::FailoverStarted {
                attempt,
                region,
                cause,
                wait,
                ..
            } => {
                let execution = attempt.and_then(|attempt| {
                    let execution = before.executions.get(&attempt.subtask);
                    execution.filter(|execution| execution.attempt == attempt)
                });
                Happened::Failed {
                    attempt: *attempt,
                    task_manager: execution.map(|found| found.slot.task_manager.clone()),
                    cause: cause.clone(),
                    tasks: region.len() as u32,
                    wait: *wait,
                }
            }
            LogEntry::SavepointRequested { request } => Happened::SavepointAsked {
                kind: request.kind,
                rescale_to: request.rescale_to,
            },
            LogEntry::SavepointFailed { reason, .. }
            | LogEntry::SavepointRefused { reason, .. } => Happened::SavepointFailed {
                reason: reason.clone(),
            },
            LogEntry::Rescaled { parallelism, .. } => Happened::Rescaled {
                parallelism: *parallelism,
            },
            LogEntry::RescaleFailed { reason, .. } => Happened::RescaleFailed {
                reason: reason.clone(),
            },
            LogEntry::CancelRequested => Happened::CancelAsked,
            LogEntry::JobFailing { cause } => Happened::Failing {
                cause: cause.clone(),
            },
            LogEntry::Finished { outcome } => Happened::Ended {
                outcome: outcome.clone(),
            },
            LogEntry::SplitsFound { .. }
            | LogEntry::SplitsDiscovered { .. }
            | LogEntry::SplitsAssigned { .. }
            | LogEntry::CheckpointTriggered { .. }
            | LogEntry::CheckpointCommitted { .. } => return None,
        })
    }

    /// What is known of what has happened, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &HistoryEvent> {
        self.events.iter()
    }

    /// When the job ended, in milliseconds since the epoch.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let last = self.events.back()?;
        matches!(last.what, Happened::Ended { .. }).then_some(last.at)
    }
}

impl Happened {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::Led { .. } => "led",
            Self::TakenOver { .. } => "takeover",
            Self::Deployed { .. } => "deployed",
            Self::Completed { kind, .. } => noun(*kind),
            Self::Aborted { .. } => "aborted",
            Self::Failed { .. } => "failed",
            Self::SavepointAsked { .. } | Self::CancelAsked => "asked",
            Self::SavepointFailed { .. } | Self::RescaleFailed { .. } => "refused",
            Self::Rescaled { .. } => "rescaled",
            Self::Failing { .. } => "failing",
            Self::Ended { .. } => "ended",
        }
    }

    fn is_checkpoint(&self) -> bool {
        let (Self::Completed { kind, .. } | Self::Aborted { kind, .. }) = self else {
            return false;
        };
        !kind.is_savepoint()
    }
}

fn noun(kind: CheckpointKind) -> &'static str {
    match kind.is_savepoint() {
        true => "savepoint",
        false => "checkpoint",
    }
}

/// What there is to be said beside the word.
impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted {
                name,
                program,
                savepoint,
            } => {
                write!(f, "as {name:?}")?;
                if let Some(program) = program {
                    write!(f, ": {program}")?;
                }
                match savepoint {
                    Some(savepoint) => write!(f, ", from {savepoint}"),
                    None => Ok(()),
                }
            }
            Self::Led { epoch } => write!(f, "in epoch {epoch}"),
            Self::TakenOver { epoch } => write!(f, "by another leader, in epoch {epoch}"),
            Self::Deployed { tasks, restore } => {
                let all: u32 = tasks.values().sum();
                write!(f, "{all} tasks, ")?;
                match restore {
                    Some(id) => write!(f, "from checkpoint {id}")?,
                    None => f.write_str("from the beginning")?,
                }
                for (index, (task_manager, count)) in tasks.iter().enumerate() {
                    let before = if index == 0 { ": " } else { ", " };
                    write!(f, "{before}{count} to {task_manager}")?;
                }
                Ok(())
            }
            Self::Completed { id, kind, took } => {
                write!(f, "{id} is complete")?;
                if let Some(took) = took {
                    write!(f, " after {} ms", took.as_millis())?;
                }
                match kind {
                    CheckpointKind::Final => f.write_str("; all input has been read"),
                    CheckpointKind::Stop { .. } => f.write_str("; the job stops with it"),
                    CheckpointKind::Checkpoint | CheckpointKind::Savepoint => Ok(()),
                }
            }
            Self::Aborted { id, kind, reason } => write!(f, "{} {id}: {reason}", noun(*kind)),
            Self::Failed {
                attempt,
                task_manager,
                cause,
                tasks,
                wait,
            } => {
                if let Some(attempt) = attempt {
                    write!(f, "task {attempt}")?;
                    if let Some(task_manager) = task_manager {
                        write!(f, " in {task_manager}")?;
                    }
                    f.write_str(": ")?;
                }
                write!(f, "{cause}; {tasks} tasks start again ")?;
                match wait.is_zero() {
                    true => f.write_str("at once"),
                    false => write!(f, "after {} ms", wait.as_millis()),
                }
            }
            Self::SavepointAsked { kind, rescale_to } => match (kind, rescale_to) {
                (_, Some(parallelism)) => write!(f, "for parallelism {parallelism}"),
                (CheckpointKind::Stop { .. }, None) => f.write_str("for an end with a savepoint"),
                _ => f.write_str("for a savepoint"),
            },
            Self::SavepointFailed { reason } => write!(f, "no savepoint: {reason}"),
            Self::Rescaled { parallelism } => write!(f, "to parallelism {parallelism}"),
            Self::RescaleFailed { reason } => write!(f, "not rescaled: {reason}"),
            Self::CancelAsked => f.write_str("for its end"),
            Self::Failing { cause } => write!(f, "{cause}"),
            Self::Ended { outcome } => write!(f, "{outcome}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::{Incarnation, Slot, SubtaskId, VertexId};

    fn attempt(index: u32) -> AttemptId {
        let vertex = VertexId(0);
        AttemptId {
            subtask: SubtaskId { vertex, index },
            attempt: 1,
        }
    }

    fn slot(task_manager: &str) -> Slot {
        Slot {
            task_manager: TaskManagerId(task_manager.into()),
            incarnation: Incarnation(Uuid::nil()),
            index: 0,
        }
    }

    fn triggered(id: u64) -> LogEntry {
        LogEntry::CheckpointTriggered {
            id: CheckpointId(id),
            kind: CheckpointKind::Checkpoint,
        }
    }

    fn completed(id: u64) -> LogEntry {
        LogEntry::CheckpointCompleted {
            id: CheckpointId(id),
            kind: CheckpointKind::Checkpoint,
            received: BTreeMap::new(),
        }
    }

    fn aborted(id: u64) -> LogEntry {
        LogEntry::CheckpointAborted {
            id: CheckpointId(id),
            reason: "it took too long".into(),
        }
    }

    /// An entry each 10 ms.
    fn history(entries: &[LogEntry]) -> JobHistory {
        let (mut history, mut state) = (JobHistory::default(), JobState::default());
        for (at, entry) in entries.iter().enumerate() {
            history.note(at as Timestamp * 10, entry, &state);
            state.apply(entry);
        }
        history
    }

    fn told(history: &JobHistory) -> Vec<String> {
        let line = |event: &HistoryEvent| {
            let HistoryEvent { number, at, what } = event;
            format!("{number} @{at} {}: {what}", what.word())
        };
        history.events().map(line).collect()
    }

    #[test]
    fn a_story_says_who_failed_where_and_what_was_begun_with_again() {
        let leader = |epoch, term| LogEntry::Leader {
            epoch: LeaderEpoch(epoch),
            term,
            process: 0,
        };
        let failed = |attempt: AttemptId| LogEntry::FailoverStarted {
            attempt: Some(attempt),
            region: vec![self::attempt(0).subtask, self::attempt(1).subtask],
            cause: Failure::attempt("boom").blame(&"counts".into()),
            wait: Duration::from_secs(1),
            found_at_takeover: false,
            charged: true,
        };
        let placed = vec![(attempt(0), slot("left")), (attempt(1), slot("right"))];
        let deployed = |restore: Option<u64>| LogEntry::Deployed {
            attempts: placed.clone(),
            restore: restore.map(CheckpointId),
        };
        let outcome = JobOutcome::Canceled;
        let history = history(&[
            leader(1, 1),
            deployed(None),
            triggered(1),
            completed(1),
            leader(2, 2),
            failed(attempt(1)),
            failed(attempt(7)),
            deployed(Some(1)),
            LogEntry::CancelRequested,
            LogEntry::Finished { outcome },
        ]);
        let expected = [
            "1 @0 led: in epoch 1",
            "2 @10 deployed: 2 tasks, from the beginning: 1 to left, 1 to right",
            "3 @30 checkpoint: 1 is complete after 10 ms",
            "4 @40 takeover: by another leader, in epoch 2",
            "5 @50 failed: task v0[1]#1 in right: operator counts: boom; 2 tasks start again after 1000 ms",
            "6 @60 failed: task v0[7]#1: operator counts: boom; 2 tasks start again after 1000 ms",
            "7 @70 deployed: 2 tasks, from checkpoint 1: 1 to left, 1 to right",
            "8 @80 asked: for its end",
            "9 @90 ended: canceled",
        ];
        assert_eq!(told(&history), expected);
        assert_eq!(history.ended_at(), Some(90));
    }

    #[test]
    fn checkpoints_push_out_checkpoints_and_nothing_else() {
        let mut entries = vec![LogEntry::CancelRequested];
        for id in 1..=50 {
            entries.extend([
                triggered(id),
                if id % 2 == 0 {
                    aborted(id)
                } else {
                    completed(id)
                },
            ]);
        }
        let history = history(&entries);
        let told = told(&history);
        assert_eq!(told.len(), 1 + CHECKPOINTS, "{told:#?}");
        assert_eq!(told[0], "1 @0 asked: for its end");
        assert_eq!(told[1], "32 @620 checkpoint: 31 is complete after 10 ms");
        let last = "51 @1000 aborted: checkpoint 50: it took too long";
        assert_eq!(told.last().map(String::as_str), Some(last));
        assert_eq!(history.ended_at(), None);
    }

    #[test]
    fn a_second_verdict_on_a_checkpoint_is_none() {
        let history = history(&[triggered(1), aborted(1), completed(1)]);
        assert_eq!(
            told(&history),
            ["1 @10 aborted: checkpoint 1: it took too long"]
        );
    }
}
