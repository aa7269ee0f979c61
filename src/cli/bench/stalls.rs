//! How long a machine that is busy stands still by itself: threads that do nothing but look at the clock, as many as it has cores.

use std::thread;
use std::time::{Duration, Instant};

use super::probe::{Gap, TOLD, sorted_longest};

/// When such threads stood still, if for as long as a silence that is told, nanoseconds since it began.
pub(super) struct Stalls {
    gaps: Vec<Gap>,
    watched: u64,
}

impl Stalls {
    /// Looks for so long, on a thread for each core.
    pub(super) fn watch(time: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let gaps = thread::scope(|scope| {
            let watching: Vec<_> = (0..cores).map(|_| scope.spawn(|| gaps(time))).collect();
            let gaps = watching.into_iter().filter_map(|thread| thread.join().ok());
            gaps.flatten().collect()
        });
        Self {
            gaps,
            watched: time.as_nanos() as u64,
        }
    }

    /// The longest of each span, sorted, nanoseconds.
    pub(super) fn longest_in(&self, span: u64) -> Vec<u64> {
        sorted_longest(&self.gaps, (0, self.watched), span)
    }
}

/// Of one thread.
#[allow(clippy::disallowed_methods)] // A benchmark measures real time.
fn gaps(time: Duration) -> Vec<Gap> {
    let (mut gaps, mut last, began) = (Vec::new(), 0, Instant::now());
    while u128::from(last) < time.as_nanos() {
        let at = began.elapsed().as_nanos() as u64;
        let took = at - last;
        if took >= TOLD {
            gaps.push(Gap { ended: at, took });
        }
        last = at;
    }
    gaps
}
