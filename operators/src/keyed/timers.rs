//! Timers: in the row, so that a snapshot has them, and in a queue, so that the next is found.
//!
//! The queue is only an order: it holds exactly the timers of the rows, and is rebuilt from them when
//! state is restored. A timer that is taken back leaves it at once, so that a key which moves its timer at
//! every record costs no more than one that doesn't.

use std::collections::BTreeSet;

use rivus_core::{RowId, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// By which clock a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeDomain {
    /// When the watermark reaches it.
    Event,
    /// When the wall clock reaches it.
    Processing,
}

/// A timer that fires.
///
/// ```
/// use rivus_operators::{TimeDomain, Timer};
///
/// fn describe(timer: Timer) -> String {
///     match timer.domain {
///         TimeDomain::Event => format!("all records up to {} have come", timer.ts),
///         TimeDomain::Processing => format!("the wall clock shows {}", timer.ts),
///     }
/// }
/// assert_eq!(describe(Timer { ts: 7, domain: TimeDomain::Processing }), "the wall clock shows 7");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// The time it was registered for.
    pub ts: Timestamp,
    /// By which clock.
    pub domain: TimeDomain,
}

/// A key's timers in one time domain, ascending, each time once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimerSet(SmallVec<[Timestamp; 1]>);

impl TimerSet {
    /// Returns whether the timer is new.
    pub(crate) fn insert(&mut self, ts: Timestamp) -> bool {
        match self.0.binary_search(&ts) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, ts);
                true
            }
        }
    }

    /// Returns whether there was such a timer.
    pub(crate) fn remove(&mut self, ts: Timestamp) -> bool {
        match self.0.binary_search(&ts) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.0.iter().copied()
    }
}

/// All timers of one time domain in the order (time, key group); and those being fired.
#[derive(Default)]
pub(crate) struct TimerQueue {
    timers: BTreeSet<(Timestamp, RowId)>,
    /// The time that is being fired.
    firing: Timestamp,
    /// Rows of one key group whose timers of that time fire, last key first.
    due: Vec<RowId>,
}

impl TimerQueue {
    #[inline]
    pub(crate) fn insert(&mut self, ts: Timestamp, row: RowId) {
        self.timers.insert((ts, row));
    }

    pub(crate) fn remove(&mut self, ts: Timestamp, row: RowId) {
        self.timers.remove(&(ts, row));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }

    /// The earliest time in the queue.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.timers.first().map(|(ts, _)| *ts)
    }

    /// Takes the next timer that is due at `until`, in the order (time, key group, key). `order` sorts rows
    /// by descending key.
    pub(crate) fn next_due(
        &mut self,
        until: Timestamp,
        order: impl FnOnce(&mut Vec<RowId>),
    ) -> Option<(Timestamp, RowId)> {
        if self.due.is_empty() {
            let (ts, first) = *self.timers.first()?;
            if ts > until {
                return None;
            }
            self.firing = ts;
            while let Some((time, row)) = self.timers.first().copied()
                && time == ts
                && row.group() == first.group()
            {
                self.timers.pop_first();
                self.due.push(row);
            }
            order(&mut self.due);
        }
        self.due.pop().map(|row| (self.firing, row))
    }
}
