//! When a window gives its results.

use rivus_core::{Record, Timestamp};

use super::{Window, WindowAssigner};
use crate::keyed::{TimeDomain, TimerSet};

/// What is to happen with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerResult {
    /// Nothing.
    Continue,
    /// It gives its results, and keeps its records.
    Fire,
    /// Its records are forgotten.
    Purge,
    /// It gives its results, and its records are forgotten.
    FireAndPurge,
}

impl TriggerResult {
    pub(super) fn fires(self) -> bool {
        matches!(self, Self::Fire | Self::FireAndPurge)
    }

    pub(super) fn purges(self) -> bool {
        matches!(self, Self::Purge | Self::FireAndPurge)
    }
}

/// Says when the windows of a stream give their results.
///
/// It is asked at each record, and at the times that it has registered. What it wants to remember of a window lies in its
/// `State`, which is part of the snapshot; so are its timers. Both go with the window.
///
/// ```
/// use rivus_operators::{Trigger, TriggerContext, TriggerResult};
///
/// /// Fires at the window's end, and before it whenever a reading is the hottest so far.
/// #[derive(Clone)]
/// struct Records;
///
/// impl Trigger<i32> for Records {
///     type State = Option<i32>;
///
///     fn on_record(&self, degrees: &i32, _ts: i64, cx: &mut TriggerContext<'_, Option<i32>>) -> TriggerResult {
///         let end = cx.window().last();
///         if end > cx.watermark() {
///             cx.register_event_timer(end);
///         }
///         if cx.state().is_some_and(|hottest| *degrees <= hottest) {
///             return TriggerResult::Continue;
///         }
///         *cx.state() = Some(*degrees);
///         TriggerResult::Fire
///     }
///
///     fn on_event_time(&self, _ts: i64, _cx: &mut TriggerContext<'_, Option<i32>>) -> TriggerResult {
///         TriggerResult::Fire
///     }
///
///     fn needs_watermarks(&self) -> bool { true }
/// }
/// ```
pub trait Trigger<T>: Clone + Send + Sync + 'static {
    /// What it keeps of a window. A new window has the default.
    type State: Record + Default + PartialEq;

    /// A record has come into a window.
    fn on_record(
        &self,
        record: &T,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult;

    /// The watermark has reached an event timer.
    fn on_event_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        let _ = (ts, cx);
        TriggerResult::Continue
    }

    /// The wall clock has passed a processing timer.
    fn on_processing_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        let _ = (ts, cx);
        TriggerResult::Continue
    }

    /// Whether it can follow windows that merge, as sessions do: see [`on_merge`](Self::on_merge).
    fn can_merge(&self) -> bool {
        false
    }

    /// Windows have become one, or one has grown. The context is of the window as it is now, with the state of the first
    /// of them and without timers; `others` are the states of the rest, in order of time.
    fn on_merge(&self, others: Vec<Self::State>, cx: &mut TriggerContext<'_, Self::State>) {
        let _ = (others, cx);
    }

    /// A window goes, with its state and its timers.
    fn clear(&self, cx: &mut TriggerContext<'_, Self::State>) {
        let _ = cx;
    }

    /// Whether it waits for watermarks: a job in which none reach it is refused.
    fn needs_watermarks(&self) -> bool {
        false
    }

    /// Refuses windows on which it would never fire, and figures that make no sense, before anything is started.
    ///
    /// # Errors
    /// One line: what is wrong, and the mend.
    fn check(&self, windows: &WindowAssigner) -> Result<(), String> {
        let _ = windows;
        Ok(())
    }
}

/// The window that a [`Trigger`] is asked about: its bounds, the trigger's state, the clocks and its timers.
///
/// ```
/// use rivus_operators::{Trigger, TriggerContext, TriggerResult};
///
/// /// Fires ten seconds after the first record, by the wall clock, and forgets.
/// #[derive(Clone)]
/// struct TenSeconds;
///
/// impl<T> Trigger<T> for TenSeconds {
///     type State = bool;
///
///     fn on_record(&self, _: &T, _: i64, cx: &mut TriggerContext<'_, bool>) -> TriggerResult {
///         if !std::mem::replace(cx.state(), true) {
///             let at = cx.processing_time() + 10_000;
///             cx.register_processing_timer(at);
///         }
///         TriggerResult::Continue
///     }
///
///     fn on_processing_time(&self, _: i64, cx: &mut TriggerContext<'_, bool>) -> TriggerResult {
///         *cx.state() = false;
///         TriggerResult::FireAndPurge
///     }
/// }
/// ```
pub struct TriggerContext<'a, S> {
    pub(super) window: Window,
    pub(super) domain: Option<TimeDomain>,
    pub(super) state: &'a mut S,
    pub(super) event_timers: &'a mut TimerSet,
    pub(super) processing_timers: &'a mut TimerSet,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
}

impl<S> TriggerContext<'_, S> {
    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// What the trigger keeps of the window.
    pub fn state(&mut self) -> &mut S {
        self.state
    }

    /// The watermark: event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time, milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }

    /// [`Trigger::on_event_time`] is called when the watermark reaches a time; for one that it has passed, at the next
    /// watermark. Registering the same time again changes nothing.
    ///
    /// A job whose watermarks don't reach the operator fails here: the timer would never fire.
    pub fn register_event_timer(&mut self, ts: Timestamp) {
        self.event_timers.insert(ts);
    }

    /// [`Trigger::on_processing_time`] is called when the wall clock has passed a time. Registering the same time again
    /// changes nothing.
    pub fn register_processing_timer(&mut self, ts: Timestamp) {
        self.processing_timers.insert(ts);
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_event_timer(&mut self, ts: Timestamp) -> bool {
        self.event_timers.remove(ts)
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_processing_timer(&mut self, ts: Timestamp) -> bool {
        self.processing_timers.remove(ts)
    }

    /// Asks for a call at the window's end, by the clock that ends it. Returns whether the window has ended before; it
    /// takes records still, within the allowed lateness.
    pub(super) fn register_end(&mut self) -> bool {
        let last = self.window.last();
        match self.domain {
            Some(TimeDomain::Event) if last <= self.watermark => return true,
            Some(TimeDomain::Event) => self.register_event_timer(last),
            Some(TimeDomain::Processing) => self.register_processing_timer(last),
            None => {}
        }
        false
    }

    /// Whether a time of a clock is the window's end.
    pub(super) fn is_end(&self, domain: TimeDomain, ts: Timestamp) -> bool {
        self.domain == Some(domain) && ts == self.window.last()
    }
}
