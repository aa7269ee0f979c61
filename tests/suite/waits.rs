//! What the tests of whole jobs wait for.

use rivus::engine::core::CheckpointId;
use rivus::{JobHandle, JobStatus, JobView};

/// Waits until so many checkpoints are complete.
pub(crate) async fn checkpoints(job: &mut JobHandle, count: u64) -> JobView {
    let view = job.wait_until(|view| view.checkpoints >= count).await;
    view.expect("goes on")
}

/// Waits until so many checkpoints are complete, and each reader has read: so the split that is its own isn't to be handed out any more,
/// and there is state.
pub(crate) async fn under_way(job: &mut JobHandle, count: u64) -> JobView {
    let has_read = |view: &JobView| {
        let tasks = view.subtasks.iter();
        let mut sources = tasks.filter(|task| task.name.starts_with("source"));
        sources.all(|source| source.figures.records_out > 0)
    };
    let view = job.wait_until(|view| view.checkpoints >= count && has_read(view));
    view.await.expect("goes on")
}

/// Waits until a job has completed a checkpoint after `last`, if one is given, or is over. Returns its last one.
pub(crate) async fn checkpoint_after(
    job: &mut JobHandle,
    last: Option<CheckpointId>,
) -> Option<CheckpointId> {
    let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
    let view = job.wait_until(|view| view.last_checkpoint > last || is_over(view));
    view.await.expect("is seen").last_checkpoint
}
