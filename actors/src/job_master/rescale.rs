//! What a job's next plan starts from, when it is rescaled: made from the savepoint that the job has stopped with, and stored as a
//! checkpoint of the job, behind its last one. Whoever leads makes the same from the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use rivus_core::job::{JobEvent, Rescaling, SavepointManifest, StartState};
use rivus_core::{CheckpointId, Failure, FailureScope, JobGraph, JobId, codec};
use rivus_state::{CheckpointStorage, StorageError, savepoint_folder, savepoint_name};

use super::log::RETRY;
use super::{JobMasterMessage, JobMasterState};

/// A plan's fingerprint, and what its tasks start from.
pub(crate) type Prepared = (u64, Box<StartState>);

impl JobMasterState {
    pub(super) fn prepare_rescale(&self, rescaling: Rescaling) {
        let (job, myself) = (self.args.job, self.myself.clone());
        let (graph, storage) = (
            Arc::clone(&self.args.graph),
            self.args.node.checkpoints.clone(),
        );
        let node = Arc::clone(&self.args.node);
        self.args.node.blocking.run(Box::new(move || {
            let prepared = Failure::caught(|| prepare(job, &graph, &storage, rescaling));
            match prepared {
                Err(failure) if failure.scope == FailureScope::Attempt => {
                    tracing::warn!(%job, %failure, "what the job goes on from can't be stored, again soon");
                    let again = JobMasterMessage::PrepareRescale(rescaling);
                    node.send_later(&myself, RETRY, again);
                }
                prepared => {
                    let prepared = JobEvent::RescalePrepared(prepared);
                    let _ = myself.cast(JobMasterMessage::RescalePrepared(Box::new(prepared)));
                }
            }
        }));
    }
}

fn prepare(
    job: JobId,
    graph: &JobGraph,
    storage: &CheckpointStorage,
    rescaling: Rescaling,
) -> Result<Prepared, Failure> {
    let failed = |error: StorageError| match error.is_for_good() {
        true => error.failure(),
        false => Failure::user(&error.into()),
    };
    let graph = graph.rescaled(rescaling.parallelism);
    let graph = graph.map_err(|error| Failure::job(error.to_string()))?;
    let name = savepoint_name(job, rescaling.savepoint);
    let folder = savepoint_folder(&name);
    let bytes = storage.read_savepoint(&folder).map_err(failed)?;
    let saved: SavepointManifest = codec::decode(&bytes).map_err(Failure::permanent)?;
    let start = saved.start(&graph, &BTreeSet::new(), &name, &folder);
    let (mut start, mut manifest) = start.map_err(Failure::job)?;
    let id: CheckpointId = rescaling.savepoint.next();
    (start.checkpoint, manifest.id) = (id, id);
    // The job has stopped with it.
    manifest.committed = true;
    let bytes = codec::encode(&manifest)?;
    storage.write_manifest(job, id, &bytes).map_err(failed)?;
    Ok((graph.fingerprint(), Box::new(start)))
}
