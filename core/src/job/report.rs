//! What a TaskManager knows of a job, for a leader that has just taken over.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::entry::SubtaskSnapshot;
use crate::failure::Failure;
use crate::ids::{AttemptId, CheckpointId, Incarnation, Slot, TaskManagerId};
use crate::source::SplitId;

/// How far an execution has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskPhase {
    /// Reading its state, building its operators.
    Building,
    /// Waits to be connected.
    Ready,
    /// Connected.
    Running,
    /// All its input has been worked on; it stays for barriers.
    Drained,
    /// Ended by a failure.
    Failed(Failure),
    /// Ended because it was told to.
    Canceled,
}

impl TaskPhase {
    /// Whether the execution is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Canceled)
    }

    /// Whether the execution is connected, and not over.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Drained)
    }
}

/// All that a leader needs to know of one execution. The TaskManager keeps it up to date while there is no
/// leader to tell, so nothing that happens in between is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The execution.
    pub attempt: AttemptId,
    /// Where it runs.
    pub slot: Slot,
    /// The checkpoint that it started from.
    pub restored: Option<CheckpointId>,
    /// How far it has got.
    pub phase: TaskPhase,
    /// The last checkpoint that it acknowledged, and with what.
    pub acknowledged: Option<(CheckpointId, SubtaskSnapshot)>,
    /// The highest checkpoint that it declined.
    pub declined: CheckpointId,
    /// Whether it waits for a split.
    pub needs_split: bool,
    /// Splits that it was given since it was deployed, but for those that a completed checkpoint holds.
    pub received: BTreeSet<SplitId>,
}

impl TaskReport {
    /// A checkpoint is complete: the splits that it holds are in the log.
    pub fn settle(&mut self, completed: CheckpointId) {
        if let Some((id, snapshot)) = &self.acknowledged
            && *id == completed
        {
            for id in &snapshot.received {
                self.received.remove(id);
            }
        }
    }
}

/// All executions of a job in one TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The TaskManager.
    pub task_manager: TaskManagerId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The executions, those that are over included until the leader has heard of it.
    pub tasks: Vec<TaskReport>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SubtaskId, TaskManagerId, VertexId};

    #[test]
    fn a_checkpoint_settles_what_it_holds_however_many_splits_there_are() {
        // So many that looking each of them up in a list would not end.
        let (held, later) = (1_000_000, 2_000_000);
        let vertex = VertexId(0);
        let snapshot = SubtaskSnapshot {
            parts: Vec::new(),
            received: (0..held).map(SplitId).collect(),
        };
        let mut report = TaskReport {
            attempt: AttemptId {
                subtask: SubtaskId { vertex, index: 0 },
                attempt: 1,
            },
            slot: Slot {
                task_manager: TaskManagerId("one".to_owned()),
                incarnation: Incarnation(uuid::Uuid::nil()),
                index: 0,
            },
            restored: None,
            phase: TaskPhase::Running,
            acknowledged: Some((CheckpointId(7), snapshot)),
            declined: CheckpointId(0),
            needs_split: false,
            received: (0..later).map(SplitId).collect(),
        };
        report.settle(CheckpointId(6));
        assert_eq!(report.received.len(), later as usize);
        report.settle(CheckpointId(7));
        assert!(
            report
                .received
                .iter()
                .eq(&(held..later).map(SplitId).collect::<Vec<_>>())
        );
    }
}
