//! What must hold beside the output.

use std::collections::BTreeSet;

use rivus::engine::ActorKind;
use rivus::{JobHandle, JobView};

/// Actors that exist for a job, and must go with it.
pub(crate) const OF_A_JOB: [ActorKind; 4] = [
    ActorKind::JobMaster,
    ActorKind::CheckpointCoordinator,
    ActorKind::JobTasks,
    ActorKind::Subtask,
];

/// Only leaders died: no task may have noticed. `executions` are the labels of all that were started, which
/// end in the number of the attempt.
pub(crate) fn spared(view: &JobView, executions: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    if view.restarted_by_takeover > 0 {
        let count = view.restarted_by_takeover;
        wrong.push(format!("{count} attempts were restarted by a takeover"));
    }
    if view.restarts > 0 {
        let why = view.last_failure.clone().unwrap_or_default();
        let count = view.restarts;
        wrong.push(format!(
            "only leaders died, and yet there were {count} restarts; the last: {why}"
        ));
    }
    let again: Vec<&String> = executions.iter().filter(|e| !e.ends_with("#1")).collect();
    let different: BTreeSet<&String> = executions.iter().collect();
    if !again.is_empty() || different.len() != executions.len() {
        wrong.push(format!(
            "only leaders died, and yet {} executions were started for {} subtasks: {again:?}",
            executions.len(),
            different.len() - again.len(),
        ));
    }
    wrong
}

/// A job that does not end: where it stands, task by task.
pub(crate) fn where_it_hangs(handle: &JobHandle) -> String {
    let view = handle.view();
    let mut lines = vec![format!(
        "hangs in {:?}, epoch {}, last checkpoint {:?}, {} restarts, last failure {:?}",
        view.status, view.epoch, view.last_checkpoint, view.restarts, view.last_failure
    )];
    lines.extend(view.subtasks.iter().map(|subtask| {
        format!(
            "  {} {}: {:?}",
            subtask.attempt, subtask.name, subtask.figures
        )
    }));
    lines.join("\n")
}
