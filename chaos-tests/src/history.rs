//! What happened in a run, and its digest.

use std::collections::VecDeque;
use std::fmt::{Display, Write};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

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
    /// When, in microseconds, and what.
    kept: VecDeque<(u64, String)>,
    keep: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            hash: 0,
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

    /// Most of what a run does is to be observed: it should cost little.
    pub(crate) fn note(&mut self, what: impl Display) {
        let at = self.elapsed().as_micros() as u64;
        let mut text = match self.kept.len() == self.keep {
            true => self.kept.pop_front().unwrap_or_default().1,
            false => String::new(),
        };
        text.clear();
        // A String takes whatever is written.
        let _ = write!(text, "{what}");
        self.hash = xxh3_64_with_seed(text.as_bytes(), self.hash.rotate_left(1) ^ at);
        self.seen += 1;
        self.kept.push_back((at, text));
    }

    pub(crate) fn last(&self) -> Vec<String> {
        let told = |(at, what): &(u64, String)| {
            let at = *at as f64 / 1_000.0;
            format!("{at:>9.3} ms  {what}")
        };
        self.kept.iter().map(told).collect()
    }
}
