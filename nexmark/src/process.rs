//! What this process uses up.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;

static START: OnceLock<Instant> = OnceLock::new();

/// The program starts.
pub(crate) fn start() {
    since_start();
}

/// The time since then.
#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
pub(crate) fn since_start() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}

/// What it has used up at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    cpu: Duration,
}

impl Reading {
    #[allow(clippy::disallowed_methods)] // A benchmark measures real time.
    pub(crate) fn take() -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu: cpu_time()?,
        })
    }

    /// Time by the clock and of all processors since then.
    pub(crate) fn used(self) -> anyhow::Result<(Duration, Duration)> {
        let later = Self::take()?;
        let cpu = later.cpu.saturating_sub(self.cpu);
        anyhow::ensure!(
            !cpu.is_zero(),
            "it took less than the hundredth of a second that processor time is told in: give it more --events"
        );
        Ok((later.at - self.at, cpu))
    }
}

/// CPU time of all threads, user and system, living and ended.
fn cpu_time() -> anyhow::Result<Duration> {
    let path = "/proc/self/stat";
    let stat = std::fs::read_to_string(path).with_context(|| format!("can't read {path}"))?;
    // The process's name, in parentheses, may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let times: Vec<u64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    anyhow::ensure!(times.len() == 2, "{path} doesn't say what it should");
    // Linux reports hundredths of a second to user space on every architecture.
    Ok(Duration::from_millis(times.iter().sum::<u64>() * 10))
}

/// The most memory that was resident, bytes.
pub(crate) fn peak_bytes() -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let status = std::fs::read_to_string(path).with_context(|| format!("can't read {path}"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let kilobytes = kilobytes.with_context(|| format!("{path} doesn't say what it should"))?;
    Ok(kilobytes * 1024)
}
