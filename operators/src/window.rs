//! Windows by key.
//!
//! One [`WindowOperator`] has two ways to work; what is set on it decides.
//!
//! **By panes** (`paned`): windows of a fixed size by event time. Time is cut into *panes*, the longest slices that every
//! window is made of: `gcd(size, slide)`. A record updates one pane of its key, however many windows it belongs to; a
//! window is the merge of its panes when it fires. For each pane the operator lists the rows that have it; so it finds
//! what a window must fire without looking at any other key, and needs no timers.
//!
//! Where merging is the same as adding, records are gathered by pane or session already *before* the exchange (`preaggregation`): what
//! travels is one [`Partial`] for each, and the operator merges it into its own pane or session.
//!
//! **One by one** (`live`): everything else, sessions, windows by processing time, global windows, and whatever has a
//! [`Trigger`] or an [`Evictor`] of its own. A key's row holds its live windows, each with what it has gathered, its
//! trigger's state and its timers.

mod assigner;
mod contents;
mod continuous;
mod evicting;
mod evictor;
mod join;
mod live;
mod logic;
mod operator;
mod orders;
mod paned;
mod panes;
mod partial;
mod preaggregation;
mod reached;
mod row;
mod scene;
mod slices;
mod trigger;
mod triggers;

pub use assigner::WindowAssigner;
pub use continuous::{ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger};
pub use evicting::{Evicting, MaybeEvictor};
pub use evictor::{CountEvictor, DeltaEvictor, Evictor, EvictorContext, TimeEvictor};
pub use join::{ByStream, CoWindowOperator, Grouped, Paired, Unpaired, WindowJoinOperator};
pub use logic::{WindowAggregate, WindowFunction, WindowLogic, WindowProcess, WindowReduce};
pub use operator::WindowOperator;
pub use partial::Partial;
#[cfg(test)]
pub(crate) use preaggregation::Limits;
pub use preaggregation::PreAggregation;
pub use trigger::{Trigger, TriggerContext, TriggerResult};
pub use triggers::{
    CountTrigger, EndTrigger, EventTimeTrigger, ProcessingTimeTrigger, PurgingTrigger,
};

use std::time::Duration;

use rivus_core::{MIN_TIMESTAMP, Timestamp};
use serde::{Deserialize, Serialize};

/// A stretch of time; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "rivus.Window")]
pub struct Window {
    /// The first time in it, milliseconds since the epoch.
    pub start: Timestamp,
    /// The first time after it.
    pub end: Timestamp,
}

impl Window {
    /// All of time: the window of [`WindowAssigner::global`] and of windows by count.
    pub const GLOBAL: Self = Self {
        start: Timestamp::MIN,
        end: Timestamp::MAX,
    };

    /// A record's session, if it stays the only one.
    pub(crate) fn session(ts: Timestamp, gap: i64) -> Self {
        let start = ts.min(Timestamp::MAX - 1);
        Self {
            start,
            end: start.saturating_add(gap),
        }
    }

    /// The window's last millisecond, at which it fires; its results' time.
    ///
    /// ```
    /// use rivus_operators::Window;
    ///
    /// assert_eq!(Window { start: 0, end: 60_000 }.last(), 59_999);
    /// ```
    pub fn last(&self) -> Timestamp {
        // No watermark at all is no time at which anything could fire.
        self.end.saturating_sub(1).max(MIN_TIMESTAMP + 1)
    }

    /// Whether the two have a time in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The shortest window around both.
    pub(crate) fn around(&self, other: &Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
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
#[serde(rename = "rivus.Windowed")]
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
