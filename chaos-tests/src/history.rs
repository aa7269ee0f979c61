//! What happened in a run, and its digest.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

/// So many observations are kept, to be printed with a failure.
const KEPT: usize = 60;

static KEEP_ALL: AtomicBool = AtomicBool::new(false);

/// From now on every run of this process keeps all that happens, to be printed with a failure.
pub fn keep_everything() {
    KEEP_ALL.store(true, Relaxed);
}

/// Whether all that happens is kept.
pub(crate) fn keeps_everything() -> bool {
    KEEP_ALL.load(Relaxed)
}

/// Observations in order: a digest of all, and the last of them.
pub(crate) struct History {
    started: Instant,
    pub(crate) hash: u64,
    pub(crate) seen: u64,
    kept: VecDeque<String>,
    keep: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            hash: 0xcbf2_9ce4_8422_2325,
            seen: 0,
            kept: VecDeque::new(),
            keep: match keeps_everything() {
                true => usize::MAX,
                false => KEPT,
            },
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn note(&mut self, what: &str) {
        let at = self.elapsed().as_micros() as u64;
        for byte in at.to_le_bytes().into_iter().chain(what.bytes()) {
            // FNV-1a: any digest would do, this one needs nothing.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.seen += 1;
        if self.kept.len() == self.keep {
            self.kept.pop_front();
        }
        let at = at as f64 / 1_000.0;
        self.kept.push_back(format!("{at:>9.3} ms  {what}"));
    }

    pub(crate) fn last(&self) -> Vec<String> {
        self.kept.iter().cloned().collect()
    }
}
