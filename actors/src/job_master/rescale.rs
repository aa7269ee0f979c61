//! Whether there is room for a job's next plan, before the job is stopped to be rescaled; and what that plan starts from: made from
//! the savepoint that the job has stopped with, and stored as a checkpoint of the job, behind its last one. Whoever leads makes the
//! same from the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorProcessingErr;
use rivus_core::job::{JobEvent, Rescaling, SavepointManifest, SavepointRequest, StartState};
use rivus_core::{CheckpointId, Failure, FailureScope, JobGraph, JobId, codec};
use rivus_state::{CheckpointStorage, StorageError, savepoint_folder, savepoint_name};

use super::log::RETRY;
use super::{JobMasterMessage, JobMasterState};
use crate::resource_manager::ResourceManagerMessage;

/// A plan's fingerprint, and what its tasks start from.
pub(crate) type Prepared = (u64, Box<StartState>);

/// How often slots are looked for before a rescale is refused: TaskManagers may be about to join, all of them if the leader is new.
const LOOKS: u32 = 4;

/// From one look to the next.
const APART: Duration = Duration::from_secs(1);

/// A rescale that slots are looked for.
#[derive(Debug, Clone, Copy)]
pub struct RescaleLook {
    request: SavepointRequest,
    /// Looks that are left after this one.
    left: u32,
}

impl RescaleLook {
    pub(super) fn first(request: SavepointRequest) -> Self {
        Self {
            request,
            left: LOOKS - 1,
        }
    }
}

impl JobMasterState {
    pub(super) fn look_for_slots(&mut self, look: RescaleLook) -> Result<(), ActorProcessingErr> {
        let parallelism = look.request.rescale_to.unwrap_or_default();
        let graph = match self.args.graph.rescaled(parallelism) {
            Ok(graph) => graph,
            Err(error) => {
                let refused = JobEvent::RefuseSavepoint(look.request, error.to_string());
                return self.decide(refused);
            }
        };
        let look = ResourceManagerMessage::LookForSlots {
            job: self.args.job,
            count: graph
                .widest()
                .map_or(0, |widest| widest.parallelism as usize),
            look,
        };
        let _ = self.args.resource_manager.cast(look);
        Ok(())
    }

    pub(super) fn slots_looked(
        &mut self,
        look: RescaleLook,
        found: Result<(), usize>,
    ) -> Result<(), ActorProcessingErr> {
        let RescaleLook { request, left } = look;
        match (found, left.checked_sub(1)) {
            (Ok(()), _) => self.decide(JobEvent::Savepoint(request)),
            (Err(_), Some(left)) => {
                let again = JobMasterMessage::LookAgain(RescaleLook { request, left });
                self.args.node.send_later(&self.myself, APART, again);
                Ok(())
            }
            (Err(available), None) => {
                let reason = format!(
                    "at parallelism {} it needs more slots than the {available} that it can have: start TaskManagers, or end other jobs",
                    request.rescale_to.unwrap_or_default()
                );
                self.decide(JobEvent::RefuseSavepoint(request, reason))
            }
        }
    }

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
    let failed = |error: StorageError| storage.failure(error);
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
