//! Event-time windows by key.
//!
//! Time is cut into *panes*, the longest slices that every window is made of: `gcd(size, slide)`. A record
//! updates one pane of its key, however many windows it belongs to; a window is the merge of its panes
//! when it fires. For each pane the operator lists the rows that have it; so it finds what a window must
//! fire without looking at any other key, and needs no timers.

mod assigner;
mod join;
mod logic;
mod operator;
mod panes;

pub use assigner::WindowAssigner;
pub use join::{ByStream, CoWindowOperator, Grouped, Paired, Unpaired, WindowJoinOperator};
pub use logic::{WindowAggregate, WindowFunction, WindowLogic, WindowProcess, WindowReduce};
pub use operator::WindowOperator;

use std::time::Duration;

use rivus_core::Timestamp;
use serde::{Deserialize, Serialize};

/// A stretch of event time; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first time in it, milliseconds since the epoch.
    pub start: Timestamp,
    /// The first time after it.
    pub end: Timestamp,
}

/// What a window of a key gives.
///
/// ```
/// use rivus_operators::{Window, Windowed};
///
/// let views = Windowed { key: "/".to_owned(), window: Window { start: 0, end: 60_000 }, value: 7 };
/// let Windowed { key, window, value } = views;
/// assert_eq!(format!("{key} from {} to {}: {value}", window.start, window.end), "/ from 0 to 60000: 7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Windowed<K, R> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
    /// What its records give.
    pub value: R,
}

/// A duration in whole milliseconds; the longest there is, if it is longer.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
