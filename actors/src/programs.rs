//! The programs that a process can run: those that were handed to it, and those that it builds by their names.

use std::sync::{Arc, Mutex, PoisonError};

use rivus_core::job::ProgramRef;
use rivus_core::{Failure, GraphError, JobGraph, JobId};

use crate::context::Shared;

/// Builds plans from the job factories that are compiled into the binary.
pub trait ProgramFactories: Send + Sync {
    /// The plan of a program. Runs user code; may block.
    ///
    /// # Errors
    /// One line, if there is no such factory, or it refuses its arguments, or what it writes can't run.
    fn build(&self, program: &ProgramRef) -> Result<JobGraph, Failure>;
}

/// A parallelism, and the plan at it.
type Rescaled = (u32, Arc<JobGraph>);

/// A plan as it was written, and at the last other parallelism that it was asked for: whoever asks for state asks often.
#[derive(Clone)]
struct Program {
    written: Arc<JobGraph>,
    rescaled: Arc<Mutex<Option<Rescaled>>>,
}

impl Program {
    fn new(written: Arc<JobGraph>) -> Self {
        Self {
            written,
            rescaled: Arc::default(),
        }
    }

    fn at(self, parallelism: u32) -> Result<Arc<JobGraph>, GraphError> {
        let mut rescaled = self.rescaled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, graph)) = &*rescaled
            && *of == parallelism
        {
            return Ok(Arc::clone(graph));
        }
        let graph = Arc::new(self.written.rescaled(parallelism)?);
        *rescaled = Some((parallelism, Arc::clone(&graph)));
        Ok(graph)
    }
}

/// The programs of a process.
#[derive(Default)]
pub struct Programs {
    known: Shared<JobId, Program>,
    factories: Option<Arc<dyn ProgramFactories>>,
}

impl Programs {
    /// None so far, and factories for those that have names.
    pub fn with_factories(factories: Arc<dyn ProgramFactories>) -> Self {
        Self {
            factories: Some(factories),
            ..Self::default()
        }
    }

    /// A job's plan, if it is at hand.
    pub fn get(&self, job: JobId) -> Option<Arc<JobGraph>> {
        self.known.get(&job).map(|program| program.written)
    }

    /// A job's plan at the parallelism that the job was given, if it was given one.
    ///
    /// # Errors
    /// If it can't run so.
    pub fn at(
        &self,
        job: JobId,
        parallelism: Option<u32>,
    ) -> Result<Option<Arc<JobGraph>>, GraphError> {
        match (self.known.get(&job), parallelism) {
            (Some(program), Some(parallelism)) => program.at(parallelism).map(Some),
            (program, _) => Ok(program.map(|program| program.written)),
        }
    }

    /// Takes a job's plan.
    pub fn insert(&self, job: JobId, graph: JobGraph) {
        self.known.insert(job, Program::new(Arc::new(graph)));
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
        self.known.insert(job, Program::new(Arc::clone(&graph)));
        Ok(graph)
    }
}
