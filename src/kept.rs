//! Going on from the last checkpoint of a job that is over and has kept it: one that has failed, or that was canceled before all of
//! its output was visible.
//!
//! A checkpoint is the job's own, and says less of itself than a savepoint: which splits there are stands in the job's log, and
//! what its subtasks wrote is for the same subtasks. So the log must be there, the plan be the same, and the folder
//! stay where it is; and as a job that is over never comes back, it is another job that goes on.

use std::path::Path;

use rivus_actors::NodeContext;
use rivus_core::job::{Manifest, StartState};
use rivus_core::{CheckpointId, CheckpointKind, JobGraph, JobId, codec};
use rivus_state::StorageError;
use uuid::Uuid;

use crate::error::JobError;

/// The job's checkpoint in a folder, by its path: `jobs/<job>/checkpoints/<n>`.
pub(crate) fn checkpoint_in(folder: &Path) -> Option<(JobId, CheckpointId)> {
    let names: Vec<&str> = folder.iter().filter_map(|name| name.to_str()).collect();
    let [.., "jobs", job, "checkpoints", number] = names.as_slice() else {
        return None;
    };
    let job = JobId(Uuid::try_parse(job).ok()?);
    Some((job, CheckpointId(number.parse().ok()?)))
}

/// Stores where the subtasks of `job` find what those of a job that is over had, and says what it begins with.
pub(crate) fn prepare(
    job: JobId,
    folder: &Path,
    (before, checkpoint): (JobId, CheckpointId),
    graph: &JobGraph,
    node: &NodeContext,
) -> Result<StartState, JobError> {
    let refused = |reason: String| {
        JobError::Savepoint(format!("checkpoint {checkpoint} of job {before}: {reason}"))
    };
    let failed = |error: StorageError| refused(error.failure().message);
    let storage = &node.checkpoints;
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
    let splits = log.splits.iter().map(|(source, pool)| {
        let of_source = manifest.subtasks.iter();
        let of_source = of_source.filter(|(subtask, _)| subtask.vertex == *source);
        let received = of_source.flat_map(|(_, stored)| &stored.received);
        (*source, pool.saved(received))
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
        .write_manifest(job, checkpoint, &bytes)
        .map_err(failed)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

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
