//! Clocks, CPU time and memory of this process.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the process has used up at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    cpu: Duration,
}

/// What was used up between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// This moment.
#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Reading {
    pub(crate) fn take() -> Self {
        Self {
            at: now(),
            cpu: cpu_time(),
        }
    }

    pub(crate) fn used(self) -> Used {
        let later = Self::take();
        Used {
            wall: later.at.saturating_duration_since(self.at),
            cpu: later.cpu.saturating_sub(self.cpu),
        }
    }
}

/// CPU time of all threads, user and system, living and ended.
pub(crate) fn cpu_time() -> Duration {
    cpu_time_of("self")
}

/// The same of another process, by its number.
pub(crate) fn cpu_time_of(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The process's name, in parentheses, may hold spaces.
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum::<u64>();
    // Linux reports hundredths of a second to user space on every architecture.
    Duration::from_millis(ticks * 10)
}

/// How long a cache line takes from one core to another: on a virtual machine that is 25 or 200 nanoseconds, by where its
/// host has put its cores just now, and whatever crosses cores is as much slower.
pub(crate) fn hop() -> Duration {
    const HOPS: u64 = 200_000;
    let line = AtomicU64::new(0);
    let play = |mine: u64| {
        for hop in (mine..HOPS).step_by(2) {
            let mut spins = 0;
            while line.load(Ordering::Acquire) != hop {
                spins += 1;
                // The other one may be waiting for this core.
                match spins % 10_000 {
                    0 => std::thread::yield_now(),
                    _ => spin_loop(),
                }
            }
            line.store(hop + 1, Ordering::Release);
        }
    };
    let began = now();
    std::thread::scope(|scope| {
        scope.spawn(|| play(1));
        play(0);
    });
    began.elapsed() / HOPS as u32
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Resident memory, bytes.
pub(crate) fn resident_bytes() -> u64 {
    status("VmRSS:") * 1024
}

/// Resident memory that no file is behind, bytes.
pub(crate) fn own_bytes() -> u64 {
    status("RssAnon:") * 1024
}

/// Threads of this process.
pub(crate) fn threads() -> u64 {
    status("Threads:")
}

/// Waits until what an earlier job left behind has been cleared away.
pub(crate) async fn quiet() {
    for _ in 0..100 {
        let before = cpu_time();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if cpu_time() == before {
            return;
        }
    }
}
