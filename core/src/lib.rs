//! The words and contracts of Rivus.

mod ids;

pub use ids::{
    AttemptId, CheckpointId, Incarnation, JobId, LeaderEpoch, OperatorUid, Slot, SubtaskId,
    TaskManagerId, VertexId,
};
