//! What must hold beside the output.

use std::collections::{BTreeMap, BTreeSet};

use rivus::engine::ActorKind;
use rivus::{JobHandle, JobView};

use crate::jobs::{Barriers, JobSpec, Shape};

/// Actors that exist for a job, and must go with it.
pub(crate) const OF_A_JOB: [ActorKind; 4] = [
    ActorKind::JobMaster,
    ActorKind::CheckpointCoordinator,
    ActorKind::JobTasks,
    ActorKind::Subtask,
];

/// Only leaders died, or what is no business of this job: it may have restarted nothing.
pub(crate) fn spared(view: &JobView) -> Vec<String> {
    let mut wrong = Vec::new();
    if view.restarted_by_takeover > 0 {
        let count = view.restarted_by_takeover;
        wrong.push(format!("{count} attempts were restarted by a takeover"));
    }
    if view.restarts > 0 {
        let why = view.last_failure.clone().unwrap_or_default();
        let count = view.restarts;
        wrong.push(format!(
            "{} was to notice nothing, and yet there were {count} restarts; the last: {why}",
            view.name
        ));
    }
    wrong
}

/// Nothing happened to these, so each was started once. `executions` are the labels of all that were
/// started.
pub(crate) fn started_once(executions: &[String]) -> Option<String> {
    let is_first = |execution: &&String| execution.contains("#1 ");
    let again: Vec<&String> = executions.iter().filter(|e| !is_first(e)).collect();
    let different: BTreeSet<&String> = executions.iter().collect();
    (!again.is_empty() || different.len() != executions.len()).then(|| {
        format!(
            "{} executions were started for {} subtasks that were to notice nothing: {again:?}",
            executions.len(),
            different.len() - again.len(),
        )
    })
}

/// More than any record of a job weighs, in bytes: what a session or a group gives may hold the numbers of all records.
fn record_bytes(spec: &JobSpec) -> usize {
    let members = match spec.shape {
        Shape::Sessions | Shape::Clocked | Shape::Refiring | Shape::CoGrouped => {
            spec.records as usize
        }
        _ => 0,
    };
    160 + members * size_of::<u64>()
}

/// What waits at a subtask's inputs stays within the budget, beside what each channel is opened with: two
/// batches. `queued` is the most that ever waited, by the number of channels.
///
/// What barriers had overtaken is put back at a restore. It is what was queued then, and what came before the last of them
/// did: as much as may be queued, and as much again as was under way.
pub(crate) fn over_budget(spec: &JobSpec, queued: &BTreeMap<usize, usize>) -> Vec<String> {
    let first = 2 * spec.batch_records * record_bytes(spec);
    let queues = match spec.barriers {
        Barriers::Overtake(_) => 3,
        Barriers::Wait | Barriers::PassBy => 1,
    };
    let most = |channels: usize| queues * (spec.input_bytes + channels * first);
    let over = queued
        .iter()
        .filter(|(channels, bytes)| **bytes > most(**channels));
    over.map(|(channels, bytes)| {
        format!(
            "{bytes} bytes waited at the {channels} channels of a subtask, instead of {} at most",
            most(*channels)
        )
    })
    .collect()
}

/// A job that does not end: where it stands, task by task.
pub(crate) fn where_it_hangs(handle: &JobHandle) -> String {
    let view = handle.view();
    let mut lines = vec![format!(
        "{} hangs in {:?}, epoch {}, last checkpoint {:?}, {} restarts, last failure {:?}",
        view.name, view.status, view.epoch, view.last_checkpoint, view.restarts, view.last_failure
    )];
    lines.extend(view.subtasks.iter().map(|subtask| {
        format!(
            "  {} {}: {:?}",
            subtask.attempt, subtask.name, subtask.figures
        )
    }));
    lines.join("\n")
}
