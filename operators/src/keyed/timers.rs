//! Timers: in the row, so that a snapshot has them, and in a queue, so that the next is found.
//!
//! The queue is only an order: it holds exactly the timers of the rows. When state is restored it is rebuilt from them, or
//! comes with their store. A timer that is taken back leaves it at once, so that a key which moves its timer at
//! every record costs no more than one that doesn't.

use std::cmp::Ordering;

use rivus_core::{Failure, Key, RowId, RowOrder, Table, Timestamp, VisitedRow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// By which clock a timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.TimeDomain")]
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
#[serde(rename = "rivus.Timer")]
pub struct Timer {
    /// The time it was registered for.
    pub ts: Timestamp,
    /// By which clock.
    pub domain: TimeDomain,
}

/// A key's timers in one time domain, ascending, each time once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.TimerSet")]
pub(crate) struct TimerSet(SmallVec<[Timestamp; 1]>);

impl TimerSet {
    /// What it has beside its place.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match self.0.spilled() {
            true => self.0.capacity() * size_of::<Timestamp>(),
            false => 0,
        }
    }

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

    #[inline]
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.0.first().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub(crate) fn contains(&self, ts: Timestamp) -> bool {
        self.0.binary_search(&ts).is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.0.iter().copied()
    }
}

/// All timers of one time domain in the order (time, key group); and those being fired.
pub(crate) struct TimerQueue {
    order: RowOrder,
    /// The first time in the order, if it has been looked up since the order changed there.
    first: Option<Option<Timestamp>>,
    /// Rows of one time whose timers fire, the next one last.
    due: Vec<(Timestamp, RowId)>,
    /// The key group whose timers fire, while no other one may come before those that are due.
    firing: Option<u32>,
}

/// Timers that are taken out of the order together, about: whole key groups.
const TOGETHER: usize = 256;

impl TimerQueue {
    /// Of a table's rows; `list` tells the time domains apart.
    pub(crate) fn new<K: Key, V: Serialize + DeserializeOwned>(
        table: &Table<K, V>,
        list: u8,
    ) -> Self {
        Self {
            order: RowOrder::new(table, list),
            first: None,
            due: Vec::new(),
            firing: None,
        }
    }

    #[inline]
    pub(crate) fn insert<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        ts: Timestamp,
        row: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        if let Some(first) = &mut self.first {
            *first = Some(first.map_or(ts, |first| first.min(ts)));
        }
        self.order.insert(ts, row, table)?;
        self.put_back(ts, table)
    }

    /// A timer has come that may be earlier than those that are due: other key groups have to wait for it.
    fn put_back<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        ts: Timestamp,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        let (Some(firing), Some((due, _))) = (self.firing, self.due.first().copied()) else {
            return Ok(());
        };
        if ts > due {
            return Ok(());
        }
        let others = self.due.partition_point(|(_, row)| row.group() != firing);
        for (due, row) in self.due.drain(..others) {
            self.order.insert(due, row, table)?;
        }
        self.first = None;
        Ok(())
    }

    /// Puts a timer in of a row that a visit came by.
    pub(crate) fn enter(&mut self, ts: Timestamp, row: VisitedRow<'_>) -> Result<(), Failure> {
        self.first = None;
        self.order.enter(ts, row)
    }

    pub(crate) fn remove<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        ts: Timestamp,
        row: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        if self.first == Some(Some(ts)) {
            self.first = None;
        }
        self.order.remove(ts, row, table)
    }

    /// The earliest time in the queue.
    #[inline]
    pub(crate) fn earliest(&mut self) -> Result<Option<Timestamp>, Failure> {
        match self.first {
            Some(first) => Ok(first),
            None => {
                let first = self.order.first(Timestamp::MIN)?;
                self.first = Some(first);
                Ok(first)
            }
        }
    }

    /// Takes the next timer that is due at `until`, in the order (time, key group, key). Whether it is still wanted its row
    /// knows.
    pub(crate) fn next_due<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        until: Timestamp,
        table: &mut Table<K, V>,
    ) -> Result<Option<(Timestamp, RowId)>, Failure> {
        if self.due.is_empty() {
            if self.earliest()?.is_none_or(|first| first > until) {
                return Ok(None);
            }
            self.first = None;
            let (order, due) = (&mut self.order, &mut self.due);
            order.take_groups(until, TOGETHER, table, due)?;
            sort_due(due, &|a, b| table.key(a).cmp(table.key(b)));
        }
        let next = self.due.pop();
        self.firing = next.map(|(_, row)| row.group());
        Ok(next)
    }

    /// The order itself, for a snapshot: between two controls nothing has been taken out of it.
    pub(crate) fn order(&mut self) -> &mut RowOrder {
        debug_assert!(self.due.is_empty(), "a barrier while timers fire");
        &mut self.order
    }

    /// Whether rows have been taken out that were not asked for yet. They can be found as long as no others are
    /// brought in.
    pub(crate) fn has_taken(&self) -> bool {
        !self.due.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.order.in_memory()
    }
}

/// The next one last. Compiled once, whatever keys and values are.
fn sort_due(due: &mut [(Timestamp, RowId)], by_key: &dyn Fn(RowId, RowId) -> Ordering) {
    due.sort_by(|(_, a), (_, b)| {
        let groups = b.group().cmp(&a.group());
        groups.then_with(|| by_key(*b, *a))
    });
}
