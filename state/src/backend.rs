//! Where keyed state lies beside the rows that are needed now.

use std::fmt::Debug;

use rivus_core::{AttemptId, JobId, MemoryStores, Stores};

/// Gives every attempt of a subtask stores of its own.
pub trait StateBackend: Debug + Send + Sync {
    /// Refuses settings that can't work, before any job starts.
    ///
    /// # Errors
    /// One line that names the setting and the mend.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// What files of its stores are called, and those that they can be opened with.
    fn format(&self) -> &str;

    /// Stores for an attempt.
    fn stores(&self, job: JobId, attempt: AttemptId) -> Box<dyn Stores>;
}

/// A backend whose stores are in memory: for simulations, which thereby go through all that a store on disk needs.
impl StateBackend for MemoryStores {
    fn format(&self) -> &str {
        Self::FORMAT
    }

    fn stores(&self, _job: JobId, _attempt: AttemptId) -> Box<dyn Stores> {
        Box::new(*self)
    }
}
