//! Triggers that fire again and again before a window's end.

use std::time::Duration;

use rivus_core::Timestamp;

use super::trigger::{Trigger, TriggerContext, TriggerResult};
use super::triggers::fire_if;
use super::{WindowAssigner, millis};
use crate::keyed::TimeDomain;

use TriggerResult::{Continue, Fire};

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
