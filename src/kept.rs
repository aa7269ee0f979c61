//! Going on from the last checkpoint of a job that is over and has kept it: one that has failed, or that was canceled before all of
//! its output was visible.
//!
//! A checkpoint is the job's own, and says less of itself than a savepoint: which splits there are stands in the job's log, and
//! what its subtasks wrote is for the same subtasks. So the log must be there, the plan be the same, and the folder
//! stay where it is; and as a job that is over never comes back, it is another job that goes on.
//!
//! One other job. It takes up output that the job before has begun and nobody has seen, and writes on behind it, so two of them would
//! write the same twice. Whoever goes on from a checkpoint first claims it, beside its manifest; whoever comes later is told who that
//! was. A claim is made before its job has a log: if the process dies in between, the next one goes on *as that job*, whose log then lets
//! one of them begin, however many there are. A savepoint is nobody's, and claimed by none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rivus_actors::{JobStatus, NodeContext};
use rivus_core::job::{JobOutcome, JobState, Manifest, StartState};
use rivus_core::{CheckpointId, CheckpointKind, JobGraph, JobId, codec};
use rivus_state::StorageError;
use uuid::Uuid;

use crate::error::JobError;
use crate::savepoint;

/// The job's checkpoint in a folder, by its path: `jobs/<job>/checkpoints/<n>`.
pub(crate) fn checkpoint_in(folder: &Path) -> Option<(JobId, CheckpointId)> {
    let names: Vec<&str> = folder.iter().filter_map(|name| name.to_str()).collect();
    let [.., "jobs", job, "checkpoints", number] = names.as_slice() else {
        return None;
    };
    let job = JobId(Uuid::try_parse(job).ok()?);
    Some((job, CheckpointId(number.parse().ok()?)))
}

/// Claims the checkpoint for `job`, or for whoever has claimed it and died before it began; stores where that job's subtasks find
/// what those of the job before had, and says what it begins with.
pub(crate) fn prepare(
    job: JobId,
    folder: &Path,
    (before, checkpoint): (JobId, CheckpointId),
    graph: &JobGraph,
    node: &NodeContext,
) -> Result<(JobId, StartState), JobError> {
    let refused = |reason: String| {
        JobError::Savepoint(format!("checkpoint {checkpoint} of job {before}: {reason}"))
    };
    let storage = &node.checkpoints;
    let failed = |error: StorageError| refused(storage.failure(error).message);
    let Ok(folder) = folder.canonicalize() else {
        return Err(refused(format!("there is no folder {}", folder.display())));
    };
    let own = storage.folder_on_disk(before, checkpoint);
    let own = own.and_then(|own| own.canonicalize().ok());
    if own.as_ref() != Some(&folder) {
        return Err(refused(format!(
            "{} isn't in the storage of this environment, which is the only one that a checkpoint can be gone on from in: give it that \
             directory",
            folder.display()
        )));
    }
    let log = rivus_actors::replay(&node.log, before);
    let log = log.map_err(|failure| refused(failure.message))?;
    if log == JobState::default() {
        return Err(refused(
            "the log of its job is not in the storage, where it stood how far the job had got, so nothing can go on from it: begin anew, or from a \
             savepoint"
                .to_owned(),
        ));
    }
    if log.outcome.is_none() {
        return Err(refused(
            "its job isn't over: resume that job, or stop it with a savepoint to go on from"
                .to_owned(),
        ));
    }
    match log.latest() {
        Some((latest, _)) if latest == checkpoint => {}
        Some((latest, _)) => {
            return Err(refused(format!("it isn't its last one: give {latest}")));
        }
        None => return Err(refused("its job has completed none".to_owned())),
    }
    if log.fingerprint != graph.fingerprint() {
        return Err(refused(
            "it is of another plan (other operators, uids or parallelism): run the program that it is of, at the same parallelism; only \
             from a savepoint another one goes on"
                .to_owned(),
        ));
    }
    let manifest = storage.read_manifest(before, checkpoint).map_err(failed)?;
    let manifest: Manifest =
        codec::decode(&manifest).map_err(|error| refused(error.to_string()))?;
    let parts = manifest.subtasks.values().flat_map(|of| &of.parts);
    savepoint::check_states(graph, &BTreeSet::new(), parts, storage, "")
        .map_err(|failure| refused(failure.message))?;
    let by = storage.claim_checkpoint(before, checkpoint, job);
    let by = by.map_err(failed)?;
    if by != job
        && let Some(first) = begun(by, node).map_err(refused)?
    {
        let kept = first.latest().map(|(latest, _)| latest);
        let kept = kept.and_then(|latest| storage.folder_on_disk(by, latest));
        let kept = kept.filter(|folder| folder.join("manifest").is_file());
        let claim = storage.claim_on_disk(before, checkpoint);
        let outcome = first.outcome.as_ref();
        return Err(refused(taken(
            by,
            outcome,
            kept,
            &claim.unwrap_or_default(),
        )));
    }
    let splits = log.splits.iter().map(|(source, pool)| {
        let of_source = manifest.subtasks.iter();
        let of_source = of_source.filter(|(subtask, _)| subtask.vertex == *source);
        let received = of_source.flat_map(|(_, stored)| &stored.received);
        (*source, pool.held(received))
    });
    let start = StartState {
        savepoint: format!("checkpoint {checkpoint} of job {before}"),
        checkpoint,
        splits: splits.collect(),
    };
    let manifest = Manifest {
        kind: CheckpointKind::Checkpoint,
        committed: log.uncommitted().is_none(),
        ..manifest
    };
    let bytes = codec::encode(&manifest).map_err(|error| refused(error.to_string()))?;
    storage
        .write_manifest(by, checkpoint, &bytes)
        .map_err(failed)?;
    Ok((by, start))
}

/// What is known of a job that has been begun with; none if it hasn't.
fn begun(job: JobId, node: &NodeContext) -> Result<Option<JobState>, String> {
    let state = rivus_actors::replay(&node.log, job).map_err(|failure| failure.message)?;
    let view = node.views.watch(job);
    let is_under_way =
        view.is_some_and(|view| !matches!(view.borrow().status, JobStatus::Ended(_)));
    let is_known = state != JobState::default() || is_under_way;
    Ok(is_known.then_some(state))
}

/// Why a job can't go on from a checkpoint that another one has claimed, and what can be done instead. `kept` is the last checkpoint of
/// that one, if it has failed in its turn.
fn taken(by: JobId, outcome: Option<&JobOutcome>, kept: Option<PathBuf>, claim: &Path) -> String {
    let first =
        format!("job {by} has gone on from it, and another one would write the same once more");
    match (outcome, kept) {
        (None, _) => format!(
            "{first}: leave it to that one, or resume it if its process has died; from a savepoint of it any number of jobs can go on"
        ),
        (Some(JobOutcome::Failed(_) | JobOutcome::Canceled), Some(kept)) => format!(
            "{first}: it is over too, so go on from its own last checkpoint, {}",
            kept.display()
        ),
        _ => format!(
            "{first}: it is over, and nothing is left to go on with; if what it has written is gone and wanted again, delete {} first",
            claim.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::Failure;

    use super::*;

    #[test]
    fn whoever_comes_second_is_told_who_was_first_and_what_there_is_to_go_on_with() {
        let by = JobId(Uuid::from_u128(7));
        let failed = JobOutcome::Failed(Failure::job("a mistake"));
        let own = || Some(PathBuf::from("state/jobs/7/checkpoints/13"));
        let claim = Path::new("state/jobs/6/checkpoints/12/claimed");
        for (outcome, kept, mend) in [
            (
                None,
                own(),
                "from a savepoint of it any number of jobs can go on",
            ),
            (
                Some(&failed),
                own(),
                "go on from its own last checkpoint, state/jobs/7/checkpoints/13",
            ),
            (
                Some(&JobOutcome::Canceled),
                own(),
                "go on from its own last checkpoint, state/jobs/7/checkpoints/13",
            ),
            (
                Some(&JobOutcome::Canceled),
                None,
                "delete state/jobs/6/checkpoints/12/claimed first",
            ),
            (
                Some(&JobOutcome::Completed),
                own(),
                "delete state/jobs/6/checkpoints/12/claimed first",
            ),
        ] {
            let told = taken(by, outcome, kept, claim);
            let begins = format!(
                "job {by} has gone on from it, and another one would write the same once more: "
            );
            assert!(told.starts_with(&begins) && told.ends_with(mend), "{told}");
        }
    }

    #[test]
    fn a_checkpoint_is_known_by_its_path() {
        let id = "67e5504410b1426f9247bb680e5fe0c8";
        let job = JobId(Uuid::try_parse(id).expect("is one"));
        for (path, found) in [
            (format!("state/jobs/{id}/checkpoints/12"), Some(12)),
            (format!("/a/jobs/{id}/checkpoints/12/"), Some(12)),
            (format!("state/savepoints/{id}-12"), None),
            (format!("state/jobs/{id}/checkpoints"), None),
            ("state/jobs/mine/checkpoints/12".to_owned(), None),
        ] {
            let found = found.map(|number| (job, CheckpointId(number)));
            assert_eq!(checkpoint_in(Path::new(&path)), found, "{path}");
        }
    }
}
