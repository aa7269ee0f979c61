//! What user code has in hand: a key's state, its timers, the times.

use std::ops::{Deref, DerefMut};

use rivus_core::{StateSet, Timestamp};
use serde::{Deserialize, Serialize};

use super::queues::TimerChange;
use crate::keyed::timers::{TimeDomain, TimerSet};

/// A key's row: its state and its timers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename = "rivus.ProcessRow", bound = "S: StateSet")]
pub(super) struct ProcessRow<S> {
    pub(super) state: S,
    pub(super) event_timers: TimerSet,
    pub(super) processing_timers: TimerSet,
}

impl<S: StateSet> ProcessRow<S> {
    /// The state, if there is any beside timers.
    pub(super) fn shown(&self) -> Option<&S> {
        (!self.state.is_empty()).then_some(&self.state)
    }

    /// A copy for a snapshot.
    pub(super) fn share(&mut self) -> Self {
        Self {
            state: self.state.share(),
            event_timers: self.event_timers.clone(),
            processing_timers: self.processing_timers.clone(),
        }
    }

    /// Asks for what that needs.
    pub(super) fn read_ahead(&self) {
        self.state.read_ahead();
    }

    /// What the row has beside its place.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.state.heap_bytes()
            + self.event_timers.heap_bytes()
            + self.processing_timers.heap_bytes()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.event_timers.is_empty() && self.processing_timers.is_empty() && self.state.is_empty()
    }
}

/// The state of the key whose record or timer is being worked on; derefs to the state, and knows the
/// key, the times, and the key's timers.
///
/// ```
/// use rivus_core::{Event, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedProcessFunction, Output, Timer};
///
/// /// Says which devices have been silent for a minute, by the wall clock.
/// #[derive(Clone)]
/// struct Silent;
///
/// impl KeyedProcessFunction<String, u32> for Silent {
///     type Out = String;
///     type State = ValueState<i64>;
///
///     fn process(
///         &mut self, _reading: Event<u32>, alarm: &mut Keyed<'_, String, Self::State>, _out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if let Some(earlier) = alarm.take() {
///             alarm.delete_processing_timer(earlier);
///         }
///         let at = alarm.processing_time() + 60_000;
///         alarm.register_processing_timer(at);
///         alarm.set(at);
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, _timer: Timer, alarm: &mut Keyed<'_, String, Self::State>, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         alarm.clear();
///         out.emit(format!("{} is silent since event time {}", alarm.key(), alarm.watermark()));
///         Ok(())
///     }
/// }
/// ```
pub struct Keyed<'a, K, S> {
    pub(super) key: &'a K,
    pub(super) row: &'a mut ProcessRow<S>,
    pub(super) changed: &'a mut Vec<TimerChange>,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
}

impl<K, S> Keyed<'_, K, S> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &K {
        self.key
    }

    /// The watermark: event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time, milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }

    /// Fires when the watermark reaches a time; one that it has passed fires at the next watermark.
    /// Registering the same time again changes nothing.
    ///
    /// A job whose watermarks don't reach the operator fails here: the timer would never fire.
    pub fn register_event_timer(&mut self, ts: Timestamp) {
        if self.row.event_timers.insert(ts) {
            self.changed.push((TimeDomain::Event, ts, true));
        }
    }

    /// Fires when the wall clock reaches a time. Registering the same time again changes nothing.
    pub fn register_processing_timer(&mut self, ts: Timestamp) {
        if self.row.processing_timers.insert(ts) {
            self.changed.push((TimeDomain::Processing, ts, true));
        }
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_event_timer(&mut self, ts: Timestamp) -> bool {
        let was = self.row.event_timers.remove(ts);
        if was {
            self.changed.push((TimeDomain::Event, ts, false));
        }
        was
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_processing_timer(&mut self, ts: Timestamp) -> bool {
        let was = self.row.processing_timers.remove(ts);
        if was {
            self.changed.push((TimeDomain::Processing, ts, false));
        }
        was
    }
}

impl<K, S> Deref for Keyed<'_, K, S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.row.state
    }
}

impl<K, S> DerefMut for Keyed<'_, K, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        &mut self.row.state
    }
}
