//! Which of a window's records count when it fires.

use std::time::Duration;

use rivus_core::{Event, Timestamp};

use super::{Window, millis};

/// Takes records out of windows that fire. A stream with one keeps all records of its windows, whatever is made of them.
///
/// A window that fires without a record left gives nothing.
///
/// ```
/// use rivus_core::Event;
/// use rivus_operators::{Evictor, EvictorContext};
///
/// /// The hottest and the coldest reading of a window don't count.
/// struct WithoutExtremes;
///
/// impl Evictor<i32> for WithoutExtremes {
///     fn evict_before(&self, readings: &mut Vec<Event<i32>>, _cx: &EvictorContext) {
///         readings.sort_by_key(|reading| reading.value);
///         readings.pop();
///         if !readings.is_empty() {
///             readings.remove(0);
///         }
///     }
/// }
/// ```
pub trait Evictor<T>: Send + Sync + 'static {
    /// Takes records out before the results are made of the rest. They are in the order in which they came; where
    /// sessions have become one, those of the earlier come first.
    fn evict_before(&self, records: &mut Vec<Event<T>>, cx: &EvictorContext) {
        let _ = (records, cx);
    }

    /// Takes records out after the results were made, for the next time the window fires.
    fn evict_after(&self, records: &mut Vec<Event<T>>, cx: &EvictorContext) {
        let _ = (records, cx);
    }

    /// Refuses figures that make no sense, before anything is started.
    ///
    /// # Errors
    /// One line: what is wrong, and the mend.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The window that fires, and the clocks.
///
/// ```
/// use rivus_core::Event;
/// use rivus_operators::{Evictor, EvictorContext};
///
/// /// Records of the window's first second don't count.
/// struct WarmUp;
///
/// impl<T> Evictor<T> for WarmUp {
///     fn evict_before(&self, records: &mut Vec<Event<T>>, cx: &EvictorContext) {
///         let from = cx.window().start + 1_000;
///         records.retain(|record| record.ts >= from);
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EvictorContext {
    pub(super) window: Window,
    pub(super) watermark: Timestamp,
    pub(super) now: Timestamp,
}

impl EvictorContext {
    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The watermark: event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time, milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }
}

macro_rules! evicts {
    () => {
        fn evict_before(&self, records: &mut Vec<Event<T>>, _cx: &EvictorContext) {
            if !self.after {
                self.evict(records);
            }
        }

        fn evict_after(&self, records: &mut Vec<Event<T>>, _cx: &EvictorContext) {
            if self.after {
                self.evict(records);
            }
        }
    };
}

/// Only the last so many records count.
///
/// ```
/// use rivus_operators::CountEvictor;
///
/// let last_hundred = CountEvictor::keep(100);
/// let of_those_that_were_shown = CountEvictor::keep(100).after_firing();
/// # let _ = (last_hundred, of_those_that_were_shown);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CountEvictor {
    records: usize,
    after: bool,
}

impl CountEvictor {
    /// The last `records`.
    pub fn keep(records: usize) -> Self {
        Self {
            records,
            after: false,
        }
    }

    /// Takes them out after firing instead of before.
    #[must_use]
    pub fn after_firing(mut self) -> Self {
        self.after = true;
        self
    }

    fn evict<T>(&self, records: &mut Vec<Event<T>>) {
        let surplus = records.len().saturating_sub(self.records);
        records.drain(..surplus);
    }
}

impl<T: 'static> Evictor<T> for CountEvictor {
    evicts!();

    fn check(&self) -> Result<(), String> {
        match self.records {
            0 => Err(
                "an evictor or window that keeps 0 records gives nothing: keep at least 1"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

/// Only records count that are less than a time older than the latest, by their own time.
///
/// ```
/// use rivus_operators::TimeEvictor;
/// use std::time::Duration;
///
/// let last_minute = TimeEvictor::keep(Duration::from_secs(60));
/// # let _ = last_minute;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TimeEvictor {
    within: i64,
    after: bool,
}

impl TimeEvictor {
    /// Those of the last `time`.
    pub fn keep(time: Duration) -> Self {
        Self {
            within: millis(time),
            after: false,
        }
    }

    /// Takes them out after firing instead of before.
    #[must_use]
    pub fn after_firing(mut self) -> Self {
        self.after = true;
        self
    }

    fn evict<T>(&self, records: &mut Vec<Event<T>>) {
        let Some(latest) = records.iter().map(|record| record.ts).max() else {
            return;
        };
        records.retain(|record| latest.saturating_sub(record.ts) < self.within);
    }
}

impl<T: 'static> Evictor<T> for TimeEvictor {
    evicts!();

    fn check(&self) -> Result<(), String> {
        match self.within {
            0 => Err(
                "an evictor that keeps no time gives nothing: keep at least one millisecond"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

/// Only records count that differ by less than a threshold from the last one.
///
/// ```
/// use rivus_operators::DeltaEvictor;
///
/// let near_the_last = DeltaEvictor::keep_within(5.0, |reading: &f64, last: &f64| (reading - last).abs());
/// # let _ = near_the_last;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct DeltaEvictor<F> {
    threshold: f64,
    delta: F,
    after: bool,
}

impl<F> DeltaEvictor<F> {
    /// Those for which `delta` of them and the last record is below `threshold`.
    pub fn keep_within<T>(threshold: f64, delta: F) -> Self
    where
        F: Fn(&T, &T) -> f64 + Send + Sync + 'static,
    {
        Self {
            threshold,
            delta,
            after: false,
        }
    }

    /// Takes them out after firing instead of before.
    #[must_use]
    pub fn after_firing(mut self) -> Self {
        self.after = true;
        self
    }

    fn evict<T>(&self, records: &mut Vec<Event<T>>)
    where
        F: Fn(&T, &T) -> f64,
    {
        let Some(last) = records.pop() else {
            return;
        };
        records.retain(|record| (self.delta)(&record.value, &last.value) < self.threshold);
        if (self.delta)(&last.value, &last.value) < self.threshold {
            records.push(last);
        }
    }
}

impl<T: 'static, F: Fn(&T, &T) -> f64 + Send + Sync + 'static> Evictor<T> for DeltaEvictor<F> {
    evicts!();

    fn check(&self) -> Result<(), String> {
        if self.threshold > 0.0 {
            return Ok(());
        }
        Err(format!(
            "an evictor's threshold of {} keeps nothing: give one above 0",
            self.threshold
        ))
    }
}
