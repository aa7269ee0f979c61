//! The ready-made triggers.

use std::time::Duration;

use rivus_core::Timestamp;

use super::trigger::{Trigger, TriggerContext, TriggerResult};
use super::{WindowAssigner, millis};
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

fn fire_if(fires: bool) -> TriggerResult {
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

/// The end of the interval that a time lies in.
fn interval_end(ts: Timestamp, interval: i64) -> Timestamp {
    ts.saturating_sub(ts.rem_euclid(interval))
        .saturating_add(interval - 1)
}

fn check_interval(interval: i64) -> Result<(), String> {
    match interval {
        0 => Err(
            "a trigger's interval must be at least one millisecond: give a longer Duration"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Fires at the end of each interval of event time in which records came, and at the window's end. Intervals are counted
/// from the epoch.
///
/// ```
/// use rivus_operators::ContinuousEventTimeTrigger;
/// use std::time::Duration;
///
/// // Of a day, what has come so far, every hour.
/// let hourly = ContinuousEventTimeTrigger::every(Duration::from_secs(3_600));
/// # let _ = hourly;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousEventTimeTrigger {
    interval: i64,
}

impl ContinuousEventTimeTrigger {
    /// At the end of every interval.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval: millis(interval),
        }
    }
}

impl<T> Trigger<T> for ContinuousEventTimeTrigger {
    /// When it fires next, if records have come since it fired.
    type State = Option<Timestamp>;

    fn on_record(
        &self,
        _: &T,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        if cx.register_end() {
            return Fire;
        }
        if cx.state().is_none() {
            // A record that came late doesn't wait for a time that has passed.
            let at = interval_end(ts.max(cx.watermark().saturating_add(1)), self.interval);
            *cx.state() = Some(at);
            cx.register_event_timer(at);
        }
        Continue
    }

    fn on_event_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        if *cx.state() != Some(ts) && !cx.is_end(TimeDomain::Event, ts) {
            return Continue;
        }
        if let Some(at) = cx.state().take() {
            cx.delete_event_timer(at);
        }
        Fire
    }

    fn on_processing_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        fire_if(cx.is_end(TimeDomain::Processing, ts))
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, others: Vec<Self::State>, cx: &mut TriggerContext<'_, Self::State>) {
        cx.register_end();
        if let Some(at) = earliest(others, cx) {
            cx.register_event_timer(at);
        }
    }

    fn needs_watermarks(&self) -> bool {
        true
    }

    fn check(&self, _: &WindowAssigner) -> Result<(), String> {
        check_interval(self.interval)
    }
}

/// Of windows that have become one, the next time.
fn earliest(
    others: Vec<Option<Timestamp>>,
    cx: &mut TriggerContext<'_, Option<Timestamp>>,
) -> Option<Timestamp> {
    let own = *cx.state();
    *cx.state() = others.into_iter().chain([own]).flatten().min();
    *cx.state()
}

/// Fires at the end of each interval of processing time in which records came, and at the window's end, by the clock
/// that ends it. Intervals are counted from the epoch.
///
/// ```
/// use rivus_operators::ContinuousProcessingTimeTrigger;
/// use std::time::Duration;
///
/// // Of a day in event time, what has come so far, every second of the wall clock.
/// let watched = ContinuousProcessingTimeTrigger::every(Duration::from_secs(1));
/// # let _ = watched;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContinuousProcessingTimeTrigger {
    interval: i64,
}

impl ContinuousProcessingTimeTrigger {
    /// At the end of every interval.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval: millis(interval),
        }
    }
}

impl<T> Trigger<T> for ContinuousProcessingTimeTrigger {
    /// When it fires next, if records have come since it fired.
    type State = Option<Timestamp>;

    fn on_record(
        &self,
        _: &T,
        _: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        if cx.register_end() {
            return Fire;
        }
        if cx.state().is_none() {
            let at = interval_end(cx.processing_time(), self.interval);
            *cx.state() = Some(at);
            cx.register_processing_timer(at);
        }
        Continue
    }

    fn on_event_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        fire_if(cx.is_end(TimeDomain::Event, ts))
    }

    fn on_processing_time(
        &self,
        ts: Timestamp,
        cx: &mut TriggerContext<'_, Self::State>,
    ) -> TriggerResult {
        if *cx.state() != Some(ts) && !cx.is_end(TimeDomain::Processing, ts) {
            return Continue;
        }
        if let Some(at) = cx.state().take() {
            cx.delete_processing_timer(at);
        }
        Fire
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn on_merge(&self, others: Vec<Self::State>, cx: &mut TriggerContext<'_, Self::State>) {
        cx.register_end();
        if let Some(at) = earliest(others, cx) {
            cx.register_processing_timer(at);
        }
    }

    fn check(&self, _: &WindowAssigner) -> Result<(), String> {
        check_interval(self.interval)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_ends_before_the_next_begins_on_both_sides_of_the_epoch() {
        let table = [(0, 9), (9, 9), (10, 19), (-1, -1), (-10, -1), (-11, -11)];
        for (ts, end) in table {
            assert_eq!(interval_end(ts, 10), end, "{ts}");
        }
        assert_eq!(interval_end(i64::MAX, 10), i64::MAX);
    }
}
