//! Which row has something to do next, by either clock.

use rivus_core::{Failure, Key, Record, RowId, RowOrder, Table, TaskContext, Timestamp};

use super::row::{Due, WindowRow};
use crate::keyed::{TimeDomain, TimerQueue};

/// The clocks.
const DOMAINS: [TimeDomain; 2] = [TimeDomain::Event, TimeDomain::Processing];

/// Rows in the orders of both clocks, each where [`WindowRow::place`] says.
pub(super) struct Orders {
    event: TimerQueue,
    processing: TimerQueue,
    /// The wake that was asked for last; later ones are implied.
    armed: Option<Timestamp>,
    /// A source from which no watermarks come, so that event timers would wait for ever.
    unmarked_source: Option<String>,
}

impl Orders {
    pub(super) fn new<K: Key, V: Record>(
        table: &Table<K, V>,
        unmarked_source: Option<&str>,
    ) -> Self {
        Self {
            event: TimerQueue::new(table, 0),
            processing: TimerQueue::new(table, 1),
            armed: None,
            unmarked_source: unmarked_source.map(str::to_owned),
        }
    }

    /// Both, for a snapshot.
    pub(super) fn all(&mut self) -> [&mut RowOrder; 2] {
        [self.event.order(), self.processing.order()]
    }

    /// The orders follow from the rows.
    pub(super) fn restore<K: Key, H: Record, S: Record + Default + PartialEq>(
        &mut self,
        table: &mut Table<K, WindowRow<H, S>>,
    ) -> Result<(), Failure> {
        table.visit("", |id, row| {
            for domain in DOMAINS {
                if let Some(place) = row.place(domain) {
                    self.of(domain).enter(place, id)?;
                }
            }
            Ok(())
        })
    }

    fn of(&mut self, domain: TimeDomain) -> &mut TimerQueue {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }

    /// Takes the next row out that stands at `until` or before, and gets it ready to be changed.
    pub(super) fn take_next<K: Key, H: Record, S: Record + Default + PartialEq>(
        &mut self,
        domain: TimeDomain,
        until: Timestamp,
        table: &mut Table<K, WindowRow<H, S>>,
    ) -> Result<Option<(Timestamp, RowId)>, Failure> {
        let next = self.of(domain).next_due(until, table)?;
        if let Some((_, id)) = next {
            table.touch(id)?;
            table.value_mut(id).set_place(domain, None);
        }
        Ok(next)
    }

    /// Puts a row that has changed where it belongs; or takes it away, if it has no windows any more. `due` is of the
    /// windows that have changed: nothing else becomes due before the row's place.
    #[inline]
    pub(super) fn settle<K: Key, H: Record, S: Record + Default + PartialEq>(
        &mut self,
        id: RowId,
        table: &mut Table<K, WindowRow<H, S>>,
        due: Due,
    ) -> Result<(), Failure> {
        let is_gone = table.value(id).live.is_empty();
        for domain in DOMAINS {
            let (place, due) = (table.value(id).place(domain), due.by(domain));
            if domain == TimeDomain::Event
                && due.is_some()
                && let Some(source) = &self.unmarked_source
            {
                return Err(Failure::job(format!(
                    "its trigger registers an event timer, but no watermarks reach it from \"{source}\": \
                     call .assign_watermarks(..) between the two"
                )));
            }
            let is_earlier = due.is_some_and(|due| place.is_none_or(|place| due < place));
            if !is_earlier && !is_gone {
                continue;
            }
            if let Some(place) = place {
                self.of(domain).remove(place, id, table)?;
            }
            if let Some(due) = due {
                self.of(domain).insert(due, id, table)?;
            }
            table.value_mut(id).set_place(domain, due);
        }
        if is_gone {
            table.remove(id)?;
        }
        Ok(())
    }

    /// Asks to be woken when the clock has passed the earliest time.
    #[inline]
    pub(super) fn arm(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        if let Some(earliest) = self.processing.earliest()?
            && self.armed.is_none_or(|armed| earliest < armed)
        {
            self.armed = Some(earliest);
            cx.wake_at(earliest.saturating_add(1));
        }
        Ok(())
    }

    /// A wake has come, whoever asked for it.
    pub(super) fn wake_is_used_up(&mut self) {
        self.armed = None;
    }
}
