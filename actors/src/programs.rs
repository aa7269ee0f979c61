//! The programs that a process can run: those that were handed to it, and those that it builds by their names.

use std::sync::Arc;

use rivus_core::job::ProgramRef;
use rivus_core::{Failure, JobGraph, JobId};

use crate::context::Shared;

/// Builds plans from the job factories that are compiled into the binary.
pub trait ProgramFactories: Send + Sync {
    /// The plan of a program. Runs user code; may block.
    ///
    /// # Errors
    /// One line, if there is no such factory, or it refuses its arguments, or what it writes can't run.
    fn build(&self, program: &ProgramRef) -> Result<JobGraph, Failure>;
}

/// The programs of a process.
#[derive(Default)]
pub struct Programs {
    known: Shared<JobId, Arc<JobGraph>>,
    factories: Option<Arc<dyn ProgramFactories>>,
}

impl Programs {
    /// None so far, and factories for those that have names.
    pub fn with_factories(factories: Arc<dyn ProgramFactories>) -> Self {
        Self {
            known: Shared::default(),
            factories: Some(factories),
        }
    }

    /// A job's plan, if it is at hand.
    pub fn get(&self, job: JobId) -> Option<Arc<JobGraph>> {
        self.known.get(&job)
    }

    /// Takes a job's plan.
    pub fn insert(&self, job: JobId, graph: JobGraph) {
        self.known.insert(job, Arc::new(graph));
    }

    /// Forgets a job.
    pub fn remove(&self, job: JobId) {
        self.known.remove(&job);
    }

    /// A job's plan, built if need be. Runs user code; may block.
    ///
    /// # Errors
    /// A job failure, if this process can't build it.
    pub fn obtain(
        &self,
        job: JobId,
        program: Option<&ProgramRef>,
    ) -> Result<Arc<JobGraph>, Failure> {
        if let Some(graph) = self.get(job) {
            return Ok(graph);
        }
        let Some(program) = program else {
            return Err(Failure::job(format!(
                "job {job} was written in the process that started it and runs there only: to run it on a cluster, \
                 register it as a job factory and submit it by name"
            )));
        };
        let Some(factories) = &self.factories else {
            return Err(Failure::job(format!(
                "job factory {} is not in this process, which has none: start it from a binary that registers its jobs",
                program.factory
            )));
        };
        let graph = Failure::caught(|| factories.build(program))
            .map_err(|failure| Failure::job(failure.to_string()))?;
        let graph = Arc::new(graph);
        self.known.insert(job, Arc::clone(&graph));
        Ok(graph)
    }
}
