//! The one clock.

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
pub struct ManualClock(std::sync::atomic::AtomicU64);

impl ManualClock {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.0
            .fetch_add(by.as_micros() as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn unix_millis(&self) -> Timestamp {
        self.monotonic().as_millis() as Timestamp
    }
}
