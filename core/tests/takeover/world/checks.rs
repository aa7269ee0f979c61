//! What must hold throughout, and in the end.

use std::collections::{BTreeMap, BTreeSet};

use rivus_core::job::{JobAction, JobOutcome, JobReport, LogEntry};
use rivus_core::{AttemptId, CheckpointId, SplitId, SubtaskId};

use super::{Deaths, SPLITS, World};
use crate::tasks::Command;

impl World {
    /// What reports say to be as the log has it is never restarted.
    pub(super) fn check_matches(&self, reports: &[JobReport], actions: &[JobAction]) {
        let alive: BTreeSet<AttemptId> = reports
            .iter()
            .flat_map(|report| &report.tasks)
            .filter(|task| !task.phase.is_over())
            .map(|task| task.attempt)
            .collect();
        // A task may have died since it reported; the leader may have heard of it.
        let dead = |attempt: &AttemptId| {
            let mut task_managers = self.task_managers.iter();
            !task_managers.any(|t| t.tasks.get(attempt).is_some_and(|task| task.is_alive()))
        };
        for action in actions {
            if let JobAction::Append(LogEntry::FailoverStarted { region, .. }) = action {
                let current = |subtask: &SubtaskId| self.truth.executions[subtask].attempt;
                let broken = region
                    .iter()
                    .map(current)
                    .any(|attempt| !alive.contains(&attempt) || dead(&attempt));
                assert!(broken, "{region:?} ran, and is restarted");
            }
        }
    }

    /// An entry is in the log before anything that follows from it is seen by a task; and no subtask has
    /// two executions at a time.
    pub(super) fn check_command(&self, command: &Command, index: usize) {
        match command {
            Command::Deploy(attempts, manifest) => {
                for (attempt, _) in attempts {
                    assert!(self.attempts.contains(attempt), "{attempt} is not logged");
                    if self.deaths.impatient > 0 {
                        continue;
                    }
                    for task_manager in &self.task_managers {
                        let mut tasks = task_manager.tasks.values();
                        let twin = tasks.find(|task| {
                            task.report.attempt.subtask == attempt.subtask
                                && task.is_alive()
                                && task.report.attempt != *attempt
                        });
                        let twin = twin.map(|task| task.report.attempt);
                        assert_eq!(twin, None, "{attempt} beside it, in t{index}");
                    }
                }
                if let Some(manifest) = manifest {
                    self.check_completed(manifest.id);
                }
            }
            Command::Completed(id) => self.check_completed(*id),
            Command::Trigger(_, barrier) => assert!(self.truth.last_checkpoint >= barrier.id),
            Command::AddSplits(attempt, splits, _) => {
                for split in splits {
                    let logged = self.log.iter().any(|entry| match entry {
                        LogEntry::SplitsAssigned {
                            attempt: to,
                            splits,
                        } => to == attempt && splits.contains(split),
                        _ => false,
                    });
                    assert!(logged, "{split:?} for {attempt} is not logged");
                }
            }
            Command::Report | Command::Connect(_) | Command::End(_) | Command::Aborted => {}
        }
    }

    pub(super) fn check_completed(&self, id: CheckpointId) {
        let completed = self.log.iter().any(|entry| match entry {
            LogEntry::CheckpointCompleted { id: logged, .. } => *logged == id,
            _ => false,
        });
        assert!(completed, "{id} is not complete");
    }

    /// No split is with two readers that count.
    pub(super) fn check_readers(&self) {
        let mut readers: BTreeMap<(u32, SplitId), AttemptId> = BTreeMap::new();
        for task_manager in &self.task_managers {
            for (attempt, task) in &task_manager.tasks {
                let current = self.truth.executions.get(&attempt.subtask);
                if !task.is_alive() || current.is_none_or(|e| e.attempt != *attempt) {
                    continue;
                }
                for split in task.received() {
                    let source = attempt.subtask.vertex.0;
                    if let Some(other) = readers.insert((source, *split), *attempt) {
                        panic!("{split:?} is with {other} and {attempt}");
                    }
                }
            }
        }
    }

    pub(super) fn check_end(&self) {
        let outcome = self.truth.outcome.as_ref().expect("an outcome in the log");
        if self.canceled {
            assert!(matches!(
                outcome,
                JobOutcome::Canceled | JobOutcome::Completed
            ));
        } else {
            assert_eq!(*outcome, JobOutcome::Completed);
        }
        if *outcome != JobOutcome::Completed {
            return;
        }
        let (id, _) = self.truth.latest().expect("a final checkpoint");
        assert_eq!(self.truth.committed, id);
        let mut read: BTreeMap<u32, Vec<SplitId>> = BTreeMap::new();
        for (subtask, snapshot) in &self.manifests[&id].subtasks {
            let content = &self.snapshots[&snapshot.parts[0].snapshot.name];
            let of_source = read.entry(subtask.vertex.0).or_default();
            of_source.extend(&content.read);
        }
        let all: Vec<SplitId> = (0..SPLITS).map(SplitId).collect();
        for vertex in self.graph.vertices.iter().filter(|v| v.is_source) {
            let read = read.get_mut(&vertex.id.0).expect("a source");
            read.sort_unstable();
            assert_eq!(*read, all, "{} read", vertex.name);
        }
        if self.deaths == Deaths::default() {
            assert_eq!((self.truth.restarts, self.truth.takeovers), (0, 0));
        }
    }
}
