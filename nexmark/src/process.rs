//! What this process uses up.

use std::time::{Duration, Instant};

/// What it has used up at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    cpu: Duration,
}

impl Reading {
    #[allow(clippy::disallowed_methods)] // A benchmark measures real time.
    pub(crate) fn take() -> Self {
        Self {
            at: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// Time by the clock and of all processors since then.
    pub(crate) fn used(self) -> (Duration, Duration) {
        let later = Self::take();
        (later.at - self.at, later.cpu.saturating_sub(self.cpu))
    }
}

/// CPU time of all threads, user and system, living and ended.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The process's name, in parentheses, may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let times = fields.skip(11).take(2);
    let ticks: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    // Linux reports hundredths of a second to user space on every architecture.
    Duration::from_millis(ticks * 10)
}

/// The most memory that was resident, bytes.
pub(crate) fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
