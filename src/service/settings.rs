//! How a process of a service is set up, whatever its role.

use std::sync::Arc;

use rivus_actors::NodeConfig;
use rivus_state::StateBackend;

use crate::cluster::{ClusterSettings, RuntimeMode};
use crate::error::JobError;
use crate::jobs::Jobs;
use crate::storage::{Coordination, Storage};
use crate::wire::WireSettings;

/// How a process is set up.
pub(crate) struct ProcessSettings {
    pub(crate) storage: Storage,
    /// Other candidates on the same storage stand by.
    pub(crate) coordination: Coordination,
    pub(crate) node: NodeConfig,
    pub(crate) workers: usize,
    pub(crate) backend: Option<Arc<dyn StateBackend>>,
    /// None for one that is alone.
    pub(crate) wire: Option<WireSettings>,
}

impl ProcessSettings {
    /// With the jobs that are compiled into this process.
    pub(crate) fn cluster(self, jobs: &Jobs) -> Result<ClusterSettings, JobError> {
        let checked = match self.wire {
            Some(_) => self.node.check_in_cluster(),
            None => self.node.check(),
        };
        checked.map_err(JobError::Setup)?;
        Ok(ClusterSettings {
            node: self.node,
            mode: RuntimeMode::Threads {
                workers: self.workers,
            },
            storage: self.storage,
            coordination: self.coordination,
            seed: None,
            starts_at: None,
            probe: None,
            blocking: None,
            backend: self.backend,
            factories: Some(Arc::new(jobs.clone())),
            wire: self.wire,
        })
    }
}
