//! Identities. Each is a newtype, so that a checkpoint can't be mistaken for an attempt.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// One submitted job, for ever.
///
/// ```
/// use rivus_core::JobId;
///
/// let job = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?); // any UUID
/// assert_eq!(job.to_string(), "67e5504410b1426f9247bb680e5fe0c8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub Uuid);

impl JobId {
    /// Twelve hex digits that stand for the job in the names of files. They are a stable hash of its id: of UUIDs that count, or
    /// begin with the time, the first digits would be those of many.
    ///
    /// ```
    /// use rivus_core::JobId;
    ///
    /// let job = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?);
    /// assert_eq!(job.short(), "d72a412b133e");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn short(&self) -> String {
        let hash = xxh3_64(self.0.as_bytes());
        format!("{:012x}", hash >> 16)
    }
}

/// An operator's stable name: given by `.uid()`, or derived from its place. State is found by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperatorUid(pub String);

/// A vertex of the job graph: a chain of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VertexId(pub u32);

/// One of a vertex's parallel instances, over all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// Which of the vertex's subtasks, from 0.
    pub index: u32,
}

/// One execution of a subtask. A restart is a new attempt, and the old one can never act for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The subtask.
    pub subtask: SubtaskId,
    /// Counts the subtask's executions, from 1.
    pub attempt: u32,
}

/// A checkpoint's number within its job. Ids grow and are never reused.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename = "rivus.CheckpointId")]
pub struct CheckpointId(pub u64);

/// Counts the leaders of one job; written in the job log. A lower epoch is refused everywhere.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LeaderEpoch(pub u64);

/// A TaskManager, named by its configuration (`tm-0`). Stays the same when the process restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskManagerId(pub String);

/// One life of a TaskManager: a restarted process is another incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub Uuid);

/// Where a subtask runs: one slot of one incarnation of a TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The TaskManager.
    pub task_manager: TaskManagerId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Which of its slots, from 0.
    pub index: u32,
}

impl CheckpointId {
    /// The id after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LeaderEpoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl AttemptId {
    /// The same subtask's next execution.
    pub fn next(self) -> Self {
        Self {
            attempt: self.attempt + 1,
            ..self
        }
    }
}

impl From<&str> for OperatorUid {
    fn from(uid: &str) -> Self {
        Self(uid.to_owned())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Display for OperatorUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VertexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.vertex, self.index)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.subtask, self.attempt)
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for TaskManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
