//! What a job's author can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::restart::RestartStrategy;

/// Settings of one job; part of the log's first entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobOptions {
    /// Time from one checkpoint's start to the next. `None`: only the final one of a bounded job.
    pub checkpoint_interval: Option<Duration>,
    /// A checkpoint that takes longer is aborted.
    pub checkpoint_timeout: Duration,
    /// Least time from one checkpoint's end to the next one's start.
    pub checkpoint_pause: Duration,
    /// A subtask that waits longer for the last barrier declines the checkpoint.
    pub alignment_timeout: Duration,
    /// How many checkpoints in a row may fail before the job does. `None`: any number.
    pub tolerable_checkpoint_failures: Option<u32>,
    /// How many completed checkpoints are kept.
    pub retained_checkpoints: usize,
    /// What happens after a failure.
    pub restart: RestartStrategy,
    /// Records in a full batch.
    pub batch_records: usize,
    /// Bytes in a full batch.
    pub batch_bytes: usize,
    /// Bytes that may wait at the inputs of one subtask, beyond a batch per channel.
    pub input_bytes: usize,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Some(Duration::from_secs(10)),
            checkpoint_timeout: Duration::from_secs(600),
            checkpoint_pause: Duration::ZERO,
            alignment_timeout: Duration::from_secs(60),
            tolerable_checkpoint_failures: None,
            retained_checkpoints: 1,
            restart: RestartStrategy::default(),
            batch_records: 1_024,
            batch_bytes: 1 << 20,
            // About what a core's second-level cache holds: more under way is only read from memory again.
            input_bytes: 512 << 10,
        }
    }
}
