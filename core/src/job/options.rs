//! What a job's author can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::restart::RestartStrategy;

/// What a restart may do to records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckpointMode {
    /// Each has its effect once. Barriers are waited for, or overtake, as
    /// [`unaligned_after`](JobOptions::unaligned_after) says.
    #[default]
    ExactlyOnce,
    /// None is lost, some may have their effect twice: barriers are never waited for, and what comes behind one on
    /// one channel may be in the snapshot before the others' barriers have come. Savepoints are exact all the same.
    AtLeastOnce,
}

/// Settings of one job; part of the log's first entry.
///
/// ```
/// use rivus_core::job::{JobOptions, RestartStrategy};
/// use std::time::Duration;
///
/// let options = JobOptions {
///     checkpoint_interval: Some(Duration::from_secs(1)),
///     restart: RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_secs(5) },
///     ..JobOptions::default()
/// };
/// assert_eq!(options.retained_checkpoints, 1);
/// ```
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
    /// What a restart may do to records.
    pub checkpoint_mode: CheckpointMode,
    /// A periodic checkpoint's barrier that is held up longer in a subtask overtakes what is queued and parked before it, which
    /// becomes part of the checkpoint; zero: at once. `None`: it waits. Savepoints are always aligned.
    pub unaligned_after: Option<Duration>,
    /// How many checkpoints in a row may fail before the job does. `None`: any number.
    pub tolerable_checkpoint_failures: Option<u32>,
    /// How many completed checkpoints are kept.
    pub retained_checkpoints: usize,
    /// What happens after a failure.
    pub restart: RestartStrategy,
    /// Whatever [`restart`](Self::restart) says, the job fails when a region has failed so often in a row in the
    /// code of the same operator, with the same message or at the same position of the source, and no checkpoint was
    /// completed in between. What a source, a sink or a request meets [outside](crate::Failure::outside) the job doesn't
    /// count, nor does what keeps an operator from starting. `None`: never for that.
    pub poison_after: Option<u32>,
    /// How long a job that is to end waits for what it can't stop: first for the commits of a checkpoint that is complete, then for user
    /// code to return. Then it ends all the same.
    pub cancellation_timeout: Duration,
    /// Records in a full batch.
    pub batch_records: usize,
    /// Bytes in a full batch.
    pub batch_bytes: usize,
    /// Bytes that may wait at the inputs of one subtask, beyond the two batches that a channel is opened with; and as many
    /// at its outputs while a barrier overtakes.
    pub input_bytes: usize,
    /// Bytes of records that a subtask may keep in memory which have come round a loop and wait to go round again. With a
    /// state backend that keeps rows on disk its share of that backend's memory counts instead, and what is beyond it goes to
    /// disk; without one the job fails when there are more.
    pub loop_bytes: usize,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            checkpoint_interval: Some(Duration::from_secs(10)),
            checkpoint_timeout: Duration::from_secs(600),
            checkpoint_pause: Duration::ZERO,
            alignment_timeout: Duration::from_secs(60),
            checkpoint_mode: CheckpointMode::ExactlyOnce,
            unaligned_after: None,
            tolerable_checkpoint_failures: None,
            retained_checkpoints: 1,
            restart: RestartStrategy::default(),
            poison_after: Some(5),
            cancellation_timeout: Duration::from_secs(30),
            batch_records: 1_024,
            batch_bytes: 1 << 20,
            // About what a core's second-level cache holds: more under way is only read from memory again.
            input_bytes: 512 << 10,
            loop_bytes: 256 << 20,
        }
    }
}

impl JobOptions {
    /// Refuses what can't work.
    ///
    /// # Errors
    /// One line that names the option and the mend.
    pub fn check(&self) -> Result<(), String> {
        let zeros = [
            ("checkpoint_timeout", self.checkpoint_timeout.is_zero()),
            ("alignment_timeout", self.alignment_timeout.is_zero()),
            ("cancellation_timeout", self.cancellation_timeout.is_zero()),
            ("batch_records", self.batch_records == 0),
            ("batch_bytes", self.batch_bytes == 0),
            ("loop_bytes", self.loop_bytes == 0),
            ("poison_after", self.poison_after == Some(0)),
        ];
        if let Some((option, _)) = zeros.iter().find(|(_, zero)| *zero) {
            return Err(format!("option {option} is 0: give more"));
        }
        if self
            .checkpoint_interval
            .is_some_and(|every| every.is_zero())
        {
            return Err(
                "option checkpoint_interval is 0: give more, or None for no checkpoints".into(),
            );
        }
        if let Some(after) = self.unaligned_after {
            if self.checkpoint_mode == CheckpointMode::AtLeastOnce {
                return Err(
                    "option unaligned_after is given, and checkpoint_mode is AtLeastOnce, where no barrier waits: \
                     leave one of them out"
                        .into(),
                );
            }
            if after >= self.alignment_timeout {
                return Err(format!(
                    "option unaligned_after is {after:?}, and a checkpoint is given up after alignment_timeout, \
                     {:?}: give less",
                    self.alignment_timeout
                ));
            }
        }
        self.restart.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(initial: u64, max: u64, factor: f64, jitter: f64) -> JobOptions {
        JobOptions {
            restart: RestartStrategy::ExponentialDelay {
                initial: Duration::from_secs(initial),
                max: Duration::from_secs(max),
                factor,
                jitter,
                reset_after: Duration::ZERO,
            },
            ..JobOptions::default()
        }
    }

    #[test]
    fn an_option_that_cannot_work_is_refused_by_its_name() {
        let plain = JobOptions::default;
        let zero = Duration::ZERO;
        #[rustfmt::skip]
        let refused = [
            (JobOptions { batch_records: 0, ..plain() }, "batch_records is 0"),
            (JobOptions { batch_bytes: 0, ..plain() }, "batch_bytes is 0"),
            (JobOptions { loop_bytes: 0, ..plain() }, "loop_bytes is 0"),
            (JobOptions { poison_after: Some(0), ..plain() }, "poison_after is 0"),
            (JobOptions { checkpoint_timeout: zero, ..plain() }, "checkpoint_timeout is 0"),
            (JobOptions { alignment_timeout: zero, ..plain() }, "alignment_timeout is 0"),
            (JobOptions { checkpoint_interval: Some(zero), ..plain() }, "checkpoint_interval is 0"),
            (JobOptions { cancellation_timeout: zero, ..plain() }, "cancellation_timeout is 0"),
            (JobOptions { unaligned_after: Some(zero), checkpoint_mode: CheckpointMode::AtLeastOnce, ..plain() }, "AtLeastOnce"),
            (JobOptions { unaligned_after: Some(plain().alignment_timeout), ..plain() }, "unaligned_after is 60s"),
            (exponential(1, 2, -1.0, 0.1), "factor -1"),
            (exponential(1, 2, f64::NAN, 0.1), "factor NaN"),
            (exponential(1, 2, f64::INFINITY, 0.1), "factor inf"),
            (exponential(1, 2, 2.0, 1.5), "jitter 1.5"),
            (exponential(3, 2, 2.0, 0.1), "initial 3s"),
        ];
        for (options, named) in refused {
            let error = options.check().unwrap_err();
            assert!(error.contains(named) && !error.contains('\n'), "{error}");
        }
        assert_eq!(plain().check(), Ok(()));
        let at_once = JobOptions {
            unaligned_after: Some(zero),
            ..plain()
        };
        assert_eq!(at_once.check(), Ok(()));
        assert_eq!(exponential(0, 2, 1.0, 0.0).check(), Ok(()));
    }
}
