//! What is to happen to rows, in the order of its time.

use rivus_core::{Failure, Key, RowId, RowOrder, StateSet, Table, TaskContext, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::keyed::timers::{TimeDomain, TimerQueue};

/// A timer of the present key that was registered, or taken back.
pub(super) type TimerChange = (TimeDomain, Timestamp, bool);

/// The order of the timers by time domain, and of rows whose states expire. What a row is in for follows from
/// the row, so it is in none of them after it has gone.
pub(super) struct Queues {
    pub(super) event: TimerQueue,
    pub(super) processing: TimerQueue,
    /// Rows that hold what expires, each once, at [`StateSet::due`].
    pub(super) expiry: TimerQueue,
    /// What the record or timer that is being worked on has changed.
    pub(super) changed: Vec<TimerChange>,
    /// The wake that was asked for last; later ones are implied.
    armed: Option<Timestamp>,
}

impl Queues {
    pub(super) fn new<K: Key, V: Serialize + DeserializeOwned>(table: &Table<K, V>) -> Self {
        Self {
            event: TimerQueue::new(table, 0),
            processing: TimerQueue::new(table, 1),
            expiry: TimerQueue::new(table, 2),
            changed: Vec::new(),
            armed: None,
        }
    }

    pub(super) fn of(&mut self, domain: TimeDomain) -> &mut TimerQueue {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }

    /// All orders, for a snapshot.
    pub(super) fn orders(&mut self) -> [&mut RowOrder; 3] {
        [
            self.event.order(),
            self.processing.order(),
            self.expiry.order(),
        ]
    }

    /// Puts the changes of a row's timers into the order.
    pub(super) fn apply<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        id: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        let mut changed = std::mem::take(&mut self.changed);
        for (domain, ts, registered) in changed.drain(..) {
            let queue = self.of(domain);
            if registered {
                queue.insert(ts, id, table)?;
            } else {
                queue.remove(ts, id, table)?;
            }
        }
        self.changed = changed;
        Ok(())
    }

    /// Moves a row from when it was to be looked at to when it is now.
    pub(super) fn move_due<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        id: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        if let Some(from) = from {
            self.expiry.remove(from, id, table)?;
        }
        match to {
            Some(to) => self.expiry.insert(to, id, table),
            None => Ok(()),
        }
    }

    /// Asks to be woken for the earliest processing timer, and for the row that is to be looked at first.
    #[inline]
    pub(super) fn arm<S: StateSet>(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        let mut earliest = self.processing.earliest()?;
        if S::EXPIRES {
            let expiry = self.expiry.earliest()?;
            earliest = earliest.into_iter().chain(expiry).min();
        }
        if let Some(earliest) = earliest
            && self.armed.is_none_or(|armed| earliest < armed)
        {
            self.armed = Some(earliest);
            cx.wake_at(earliest);
        }
        Ok(())
    }

    /// The wake that was asked for has come, whoever it was for.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::{KeyGroupRange, MIN_TIMESTAMP, ValueState, key_hash};
    use serde::Deserialize;

    use super::super::handle::{Keyed, ProcessRow};
    use super::*;

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    #[state(crate = "rivus_core")]
    struct Ends {
        ends: ValueState<Timestamp>,
    }

    #[test]
    fn a_timer_that_is_moved_a_thousand_times_is_one_timer() {
        let mut table: Table<u32, ProcessRow<Ends>> = Table::new(KeyGroupRange::of(0, 1, 8), 8);
        let new = || (7, ProcessRow::default());
        let id = table.find_or_insert(key_hash(&7_u32), &7, new).unwrap();
        let mut queues = Queues::new(&table);
        for click in 0..1_000 {
            let (key, row) = table.row_mut(id);
            let mut keyed = Keyed {
                key,
                row,
                changed: &mut queues.changed,
                watermark: MIN_TIMESTAMP,
                now: 0,
            };
            if let Some(ends) = keyed.ends.take() {
                assert!(keyed.delete_event_timer(ends));
                assert!(keyed.delete_processing_timer(ends));
            }
            keyed.ends.set(click + 30);
            keyed.register_event_timer(click + 30);
            keyed.register_processing_timer(click + 30);
            queues.apply(id, &table).unwrap();
        }
        assert_eq!(queues.event.len(), 1);
        assert_eq!(queues.processing.len(), 1);
    }
}
