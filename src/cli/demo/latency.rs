//! What latency the demonstration shows.
//!
//! A window's result is due when the record is made that lets the watermark pass the window's end, at the
//! slower of the source's subtasks. The latency is the time from then until the result is at the sink:
//! through the batch, the exchange by key, the watermark's merge, the window, and the sink's input. A
//! record that is made again after a failure counts from when it was made *first*, so recoveries are in
//! the figures; what they take is most of the p99. When the result becomes *visible*, with the next
//! checkpoint, is not in them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rivus::Event;
use tokio::time::Instant;

use super::job::{DISORDER, PARALLELISM, Plan, Row, SLIDE};

/// An hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Measures from the source to the sink.
pub(super) struct Latency {
    began: Instant,
    /// By subtask of the source and slide of event time: when its watermark got there first, in
    /// microseconds; 0 before.
    reached: [Vec<AtomicU64>; PARALLELISM as usize],
    delays: Mutex<Histogram<u64>>,
}

impl Latency {
    pub(super) fn new(plan: Plan) -> Self {
        let slides = plan.time(plan.records()) / SLIDE + 2;
        let slides = || (0..slides).map(|_| AtomicU64::new(0)).collect();
        // Three digits are within the histogram's bounds, whatever the machine.
        let delays = Histogram::new_with_max(LONGEST, 3).expect("an hour at three digits is valid");
        Self {
            began: Instant::now(),
            reached: std::array::from_fn(|_| slides()),
            delays: Mutex::new(delays),
        }
    }

    fn now(&self) -> u64 {
        1 + self.began.elapsed().as_micros() as u64
    }

    /// A record is made. Splits take turns at the indices.
    pub(super) fn made(&self, index: u64, at: i64) {
        let reached = &self.reached[(index % u64::from(PARALLELISM)) as usize];
        if let Some(reached) = Self::slide(at - DISORDER).and_then(|slide| reached.get(slide))
            && reached.load(Relaxed) == 0
        {
            let _ = reached.compare_exchange(0, self.now(), Relaxed, Relaxed);
        }
    }

    /// Results are at the sink.
    pub(super) fn arrived(&self, rows: &[Event<Row>]) {
        let now = self.now();
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            // The windows that the stream's end closes wait for no record.
            if let Some(due) = self.due(row.value.window.end) {
                delays.saturating_record(now.saturating_sub(due));
            }
        }
    }

    fn due(&self, end: i64) -> Option<u64> {
        let slide = Self::slide(end)?;
        let mut due = 0;
        for reached in &self.reached {
            match reached.get(slide)?.load(Relaxed) {
                0 => return None,
                at => due = due.max(at),
            }
        }
        Some(due)
    }

    fn slide(time: i64) -> Option<usize> {
        usize::try_from(time.div_euclid(SLIDE)).ok()
    }

    /// The delay that this part of the results did not exceed.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(delays.value_at_quantile(quantile))
    }
}
