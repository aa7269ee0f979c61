//! The one clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::event::Timestamp;

/// Where all time comes from. Implementations live outside `core`; tests and simulations drive theirs.
pub trait Clock: Send + Sync {
    /// Monotonic time since the process, or the simulation, began.
    fn monotonic(&self) -> Duration;

    /// Wall-clock time, milliseconds since the epoch.
    fn unix_millis(&self) -> Timestamp;
}

/// A clock that is moved by hand.
///
/// ```
/// use rivus_core::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::default();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.unix_millis(), 2_000);
/// ```
#[derive(Debug, Default)]
pub struct ManualClock {
    micros: AtomicU64,
    began: Timestamp,
}

impl ManualClock {
    /// One whose wall-clock time begins here.
    pub fn starting_at(began: Timestamp) -> Self {
        Self {
            micros: AtomicU64::new(0),
            began,
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.micros.fetch_add(by.as_micros() as u64, Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.micros.load(Relaxed))
    }

    fn unix_millis(&self) -> Timestamp {
        self.began + self.monotonic().as_millis() as Timestamp
    }
}
