//! Timers: in the row, so that a snapshot has them, and in a queue, so that the next is found.
//!
//! The queue is only an order. It is rebuilt from the rows when state is restored, deleting a timer
//! leaves its entry behind, and an entry counts only if the row still has the timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

    pub(crate) fn contains(&self, ts: Timestamp) -> bool {
        self.0.binary_search(&ts).is_ok()
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
    heap: BinaryHeap<Reverse<(Timestamp, RowId)>>,
    /// The time that is being fired.
    firing: Timestamp,
    /// Rows of one key group whose timers of that time fire, last key first.
    due: Vec<RowId>,
}

impl TimerQueue {
    #[inline]
    pub(crate) fn push(&mut self, ts: Timestamp, row: RowId) {
        self.heap.push(Reverse((ts, row)));
    }

    /// The earliest time in the queue; its timer may have been deleted.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((ts, _))| *ts)
    }

    /// The next timer that is due at `until`, in the order (time, key group, key). `order` sorts rows by
    /// descending key.
    pub(crate) fn next_due(
        &mut self,
        until: Timestamp,
        order: impl FnOnce(&mut Vec<RowId>),
    ) -> Option<(Timestamp, RowId)> {
        if self.due.is_empty() {
            let Reverse((ts, first)) = *self.heap.peek()?;
            if ts > until {
                return None;
            }
            self.firing = ts;
            while let Some(Reverse((time, row))) = self.heap.peek().copied()
                && time == ts
                && row.group() == first.group()
            {
                self.heap.pop();
                // A timer that was deleted and registered again is there twice.
                if self.due.last() != Some(&row) {
                    self.due.push(row);
                }
            }
            order(&mut self.due);
        }
        self.due.pop().map(|row| (self.firing, row))
    }
}
