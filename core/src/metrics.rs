//! A subtask's counters: written by its actor, read by whoever watches.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{MIN_TIMESTAMP, Timestamp};

/// Live counters of one attempt. Relaxed: each is right by itself, not in relation to the others.
#[derive(Debug)]
pub struct SubtaskMetrics {
    /// Records taken in.
    pub records_in: AtomicU64,
    /// Records sent out, or written by a sink.
    pub records_out: AtomicU64,
    /// Records that came too late for their window, those that went to a side output for that among them.
    pub late: AtomicU64,
    /// Records that came too late for some of their windows, and are in the others.
    pub partly_late: AtomicU64,
    /// Records that a function refused and lines that a source could not read, where they are to be skipped.
    pub skipped: AtomicU64,
    /// Time spent working, microseconds.
    pub busy_us: AtomicU64,
    /// Time spent with work at hand and no credit, microseconds.
    pub backpressured_us: AtomicU64,
    /// Time spent with nothing to do, microseconds.
    pub idle_us: AtomicU64,
    /// Time spent waiting for others of a source's alignment group, microseconds.
    pub aligning_us: AtomicU64,
    /// By how much its watermark was ahead of the least of its alignment group when that was last announced, milliseconds.
    pub drift_ms: AtomicI64,
    /// Event time that all inputs have reached, or that its own watermark strategy has.
    pub watermark: AtomicI64,
    /// Snapshots stored.
    pub snapshots: AtomicU64,
    /// Bytes of the last snapshot, files of stores included.
    pub snapshot_bytes: AtomicU64,
    /// Those of them that were stored for it; the rest had been before.
    pub uploaded_bytes: AtomicU64,
    /// Bytes of stores' files that the attempt began with, from this process's disk.
    pub restored_locally: AtomicU64,
    /// Bytes of stores' files that the attempt began with, from the storage.
    pub restored_remotely: AtomicU64,
    /// Rows of keyed state.
    pub state_rows: AtomicU64,
    /// Bytes queued at the inputs.
    pub queued_bytes: AtomicU64,
    /// Records that have come round a loop and wait to go round again.
    pub in_loop: AtomicU64,
    /// Records under way in a loop that it was restored with.
    pub restored_in_loop: AtomicU64,
    /// When the turn began that is under way, microseconds of the monotonic clock and one; 0 between turns.
    turn_began_us: AtomicU64,
    /// The operator of the chain whose code ran last, and one.
    running: AtomicUsize,
}

impl Default for SubtaskMetrics {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            records_in: zero(),
            records_out: zero(),
            late: zero(),
            partly_late: zero(),
            skipped: zero(),
            busy_us: zero(),
            backpressured_us: zero(),
            idle_us: zero(),
            aligning_us: zero(),
            drift_ms: AtomicI64::new(0),
            watermark: AtomicI64::new(MIN_TIMESTAMP),
            snapshots: zero(),
            snapshot_bytes: zero(),
            uploaded_bytes: zero(),
            restored_locally: zero(),
            restored_remotely: zero(),
            state_rows: zero(),
            queued_bytes: zero(),
            in_loop: zero(),
            restored_in_loop: zero(),
            turn_began_us: zero(),
            running: AtomicUsize::default(),
        }
    }
}

/// Counters of one attempt at one moment. Every attempt begins at 0: what its predecessors counted is not in
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskFigures {
    /// Records taken in.
    pub records_in: u64,
    /// Records sent out, or written by a sink.
    pub records_out: u64,
    /// Records that came too late for their window, those that went to a side output for that among them.
    pub late: u64,
    /// Records that came too late for some of their windows, and are in the others.
    pub partly_late: u64,
    /// Records that a function refused and lines that a source could not read, where they are to be skipped.
    pub skipped: u64,
    /// Time spent working, microseconds.
    pub busy_us: u64,
    /// Time spent with work at hand and no credit, microseconds.
    pub backpressured_us: u64,
    /// Time spent with nothing to do, microseconds.
    pub idle_us: u64,
    /// Time spent waiting for others of a source's alignment group, microseconds.
    pub aligning_us: u64,
    /// By how much its watermark was ahead of the least of its alignment group when that was last announced, milliseconds.
    pub drift_ms: i64,
    /// Event time that all inputs have reached, or that its own watermark strategy has.
    pub watermark: Timestamp,
    /// Snapshots stored.
    pub snapshots: u64,
    /// Bytes of the last snapshot, files of stores included.
    pub snapshot_bytes: u64,
    /// Those of them that were stored for it; the rest had been before.
    pub uploaded_bytes: u64,
    /// Bytes of stores' files that the attempt began with, from this process's disk.
    pub restored_locally: u64,
    /// Bytes of stores' files that the attempt began with, from the storage.
    pub restored_remotely: u64,
    /// Rows of keyed state.
    pub state_rows: u64,
    /// Bytes queued at the inputs.
    pub queued_bytes: u64,
    /// Records that have come round a loop and wait to go round again.
    pub in_loop: u64,
    /// Records under way in a loop that it was restored with.
    pub restored_in_loop: u64,
}

impl SubtaskMetrics {
    /// A turn begins; the code in it may be a user's and not return.
    pub fn turn_begins(&self, now: Duration) {
        self.turn_began_us
            .store(now.as_micros() as u64 + 1, Relaxed);
    }

    /// The turn is over.
    pub fn turn_ends(&self) {
        self.turn_began_us.store(0, Relaxed);
    }

    /// When the turn began that is under way.
    pub fn turn_began(&self) -> Option<Duration> {
        let began = self.turn_began_us.load(Relaxed);
        began.checked_sub(1).map(Duration::from_micros)
    }

    /// Code of an operator of the chain runs now.
    #[inline]
    pub(crate) fn runs(&self, operator: usize) {
        self.running.store(operator + 1, Relaxed);
    }

    /// The operator of the chain whose code ran last.
    pub fn running(&self) -> Option<usize> {
        self.running.load(Relaxed).checked_sub(1)
    }

    /// Adds to a counter that only its own actor writes, which is cheaper than an atomic addition.
    #[inline]
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed) + by, Relaxed);
    }

    /// The counters at this moment.
    pub fn figures(&self) -> SubtaskFigures {
        SubtaskFigures {
            records_in: self.records_in.load(Relaxed),
            records_out: self.records_out.load(Relaxed),
            late: self.late.load(Relaxed),
            partly_late: self.partly_late.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            busy_us: self.busy_us.load(Relaxed),
            backpressured_us: self.backpressured_us.load(Relaxed),
            idle_us: self.idle_us.load(Relaxed),
            aligning_us: self.aligning_us.load(Relaxed),
            drift_ms: self.drift_ms.load(Relaxed),
            watermark: self.watermark.load(Relaxed),
            snapshots: self.snapshots.load(Relaxed),
            snapshot_bytes: self.snapshot_bytes.load(Relaxed),
            uploaded_bytes: self.uploaded_bytes.load(Relaxed),
            restored_locally: self.restored_locally.load(Relaxed),
            restored_remotely: self.restored_remotely.load(Relaxed),
            state_rows: self.state_rows.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
            in_loop: self.in_loop.load(Relaxed),
            restored_in_loop: self.restored_in_loop.load(Relaxed),
        }
    }
}

/// How a subtask spent its time since its attempt began; the parts add up to 1, or are all 0 before its first turn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shares {
    /// Working.
    pub busy: f64,
    /// With work at hand and no credit.
    pub backpressured: f64,
    /// With nothing to do.
    pub idle: f64,
    /// Waiting for others of a source's alignment group.
    pub aligning: f64,
}

impl SubtaskFigures {
    /// How the subtask spent its time, from the attempt's start to this moment.
    ///
    /// ```
    /// use rivus_core::SubtaskMetrics;
    ///
    /// let metrics = SubtaskMetrics::default();
    /// SubtaskMetrics::add(&metrics.busy_us, 300);
    /// SubtaskMetrics::add(&metrics.idle_us, 100);
    /// assert_eq!(metrics.figures().shares().busy, 0.75);
    /// ```
    pub fn shares(&self) -> Shares {
        let all = self.busy_us + self.backpressured_us + self.idle_us + self.aligning_us;
        let share = |part: u64| part as f64 / all.max(1) as f64;
        Shares {
            busy: share(self.busy_us),
            backpressured: share(self.backpressured_us),
            idle: share(self.idle_us),
            aligning: share(self.aligning_us),
        }
    }
}
