//! Triggers at a window's end and by count, and the one that purges.

use rivus_core::Timestamp;

use super::WindowAssigner;
use super::trigger::{Trigger, TriggerContext, TriggerResult};
use crate::keyed::TimeDomain;

use TriggerResult::{Continue, Fire, FireAndPurge, Purge};

/// Fires at the window's end, by the clock that ends it, and again for each record that comes within the allowed
/// lateness. Windows without a trigger have this one. A global window has no end.
///
/// ```
/// use rivus_operators::{EndTrigger, PurgingTrigger};
///
/// let only_what_is_new = PurgingTrigger::of(EndTrigger); // a record within the lateness fires by itself
/// # let _ = only_what_is_new;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTrigger;

impl<T> Trigger<T> for EndTrigger {
    type State = ();

    fn on_record(&self, _: &T, _: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        fire_if(cx.register_end())
    }

    fn on_event_time(&self, ts: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        fire_if(cx.is_end(TimeDomain::Event, ts))
    }

    fn on_processing_time(&self, ts: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        fire_if(cx.is_end(TimeDomain::Processing, ts))
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, _: Vec<()>, cx: &mut TriggerContext<'_, ()>) {
        cx.register_end();
    }

    fn check(&self, windows: &WindowAssigner) -> Result<(), String> {
        match windows.is_global() {
            true => Err(
                "a global window has no end at which it could fire: give it a .trigger(..), or \
                         take .count_window(..)"
                    .to_owned(),
            ),
            false => Ok(()),
        }
    }
}

pub(super) fn fire_if(fires: bool) -> TriggerResult {
    if fires { Fire } else { Continue }
}

/// Fires when the watermark reaches the window's last millisecond, whatever the clock that ends it; and again for each
/// record after that. A global window fires at the end of the input.
///
/// ```
/// use rivus_operators::{EventTimeTrigger, Trigger};
///
/// assert!(Trigger::<u32>::needs_watermarks(&EventTimeTrigger));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeTrigger;

impl<T> Trigger<T> for EventTimeTrigger {
    type State = ();

    fn on_record(&self, _: &T, _: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        let last = cx.window().last();
        if last <= cx.watermark() {
            return Fire;
        }
        cx.register_event_timer(last);
        Continue
    }

    fn on_event_time(&self, ts: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        fire_if(ts == cx.window().last())
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, _: Vec<()>, cx: &mut TriggerContext<'_, ()>) {
        let last = cx.window().last();
        if last > cx.watermark() {
            cx.register_event_timer(last);
        }
    }

    fn needs_watermarks(&self) -> bool {
        true
    }
}

/// Fires when the wall clock has passed the window's last millisecond, whatever the clock that ends it.
///
/// ```
/// use rivus_operators::{ProcessingTimeTrigger, Trigger};
///
/// assert!(!Trigger::<u32>::needs_watermarks(&ProcessingTimeTrigger));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingTimeTrigger;

impl<T> Trigger<T> for ProcessingTimeTrigger {
    type State = ();

    fn on_record(&self, _: &T, _: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        cx.register_processing_timer(cx.window().last());
        Continue
    }

    fn on_processing_time(&self, ts: Timestamp, cx: &mut TriggerContext<'_, ()>) -> TriggerResult {
        fire_if(ts == cx.window().last())
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, _: Vec<()>, cx: &mut TriggerContext<'_, ()>) {
        cx.register_processing_timer(cx.window().last());
    }
}

/// Fires at every so many records of a window, and at nothing else: records that are left over when the window ends
/// are dropped with it.
///
/// ```
/// use rivus_operators::{CountTrigger, PurgingTrigger};
///
/// let totals_at_every_third = CountTrigger::every(3);
/// let sums_of_three = PurgingTrigger::of(CountTrigger::every(3));
/// # let _ = (totals_at_every_third, sums_of_three);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountTrigger {
    records: u64,
}

impl CountTrigger {
    /// At every `records` records.
    pub fn every(records: u64) -> Self {
        Self { records }
    }
}

impl<T> Trigger<T> for CountTrigger {
    /// Records since it fired.
    type State = u64;

    fn on_record(&self, _: &T, _: Timestamp, cx: &mut TriggerContext<'_, u64>) -> TriggerResult {
        let count = cx.state();
        *count += 1;
        if *count < self.records {
            return Continue;
        }
        *count = 0;
        Fire
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, others: Vec<u64>, cx: &mut TriggerContext<'_, u64>) {
        *cx.state() += others.into_iter().sum::<u64>();
    }

    fn check(&self, _: &WindowAssigner) -> Result<(), String> {
        match self.records {
            0 => Err("a trigger or window of 0 records never fires: give at least 1".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Forgets the records whenever another trigger fires: each result is of what came since the last one.
///
/// ```
/// use rivus_operators::{ContinuousEventTimeTrigger, PurgingTrigger};
/// use std::time::Duration;
///
/// let only_what_is_new = PurgingTrigger::of(ContinuousEventTimeTrigger::every(Duration::from_secs(1)));
/// # let _ = only_what_is_new;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgingTrigger<G> {
    inner: G,
}

impl<G> PurgingTrigger<G> {
    /// Of another trigger.
    pub fn of(inner: G) -> Self {
        Self { inner }
    }
}

fn purging(result: TriggerResult) -> TriggerResult {
    match result {
        Fire | FireAndPurge => FireAndPurge,
        Continue => Continue,
        Purge => Purge,
    }
}

impl<T, G: Trigger<T>> Trigger<T> for PurgingTrigger<G> {
    type State = G::State;

    fn on_record(
        &self,
        record: &T,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, G::State>,
    ) -> TriggerResult {
        purging(self.inner.on_record(record, ts, cx))
    }

    fn on_event_time(&self, ts: Timestamp, cx: &mut TriggerContext<'_, G::State>) -> TriggerResult {
        purging(self.inner.on_event_time(ts, cx))
    }

    fn on_processing_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, G::State>,
    ) -> TriggerResult {
        purging(self.inner.on_processing_time(ts, cx))
    }

    fn can_merge(&self) -> bool {
        self.inner.can_merge()
    }

    fn on_merge(&self, others: Vec<G::State>, cx: &mut TriggerContext<'_, G::State>) {
        self.inner.on_merge(others, cx);
    }

    fn clear(&self, cx: &mut TriggerContext<'_, G::State>) {
        self.inner.clear(cx);
    }

    fn needs_watermarks(&self) -> bool {
        self.inner.needs_watermarks()
    }

    fn check(&self, windows: &WindowAssigner) -> Result<(), String> {
        self.inner.check(windows)
    }
}
