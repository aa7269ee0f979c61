//! What a program says about its records' time.

use std::marker::PhantomData;
use std::time::Duration;

use rivus_core::{Event, MIN_TIMESTAMP, Timestamp, WatermarkAlignment};

/// How a stream's records get their time, and what its watermarks are.
///
/// ```
/// use rivus_operators::WatermarkStrategy;
/// use std::time::Duration;
///
/// type Request = (i64, String);
/// let strategy = WatermarkStrategy::<Request>::bounded_out_of_orderness(Duration::from_secs(5))
///     .with_timestamps(|request: &Request| request.0)
///     .with_idleness(Duration::from_secs(60));
/// ```
pub struct WatermarkStrategy<T, G = BoundedOutOfOrderness, S = KeepTimestamps> {
    pub(crate) generator: G,
    pub(crate) timestamps: S,
    pub(crate) idleness: Option<Duration>,
    pub(crate) alignment: Option<WatermarkAlignment>,
    of: PhantomData<fn(T)>,
}

impl<T, G: Clone, S: Clone> Clone for WatermarkStrategy<T, G, S> {
    fn clone(&self) -> Self {
        Self {
            generator: self.generator.clone(),
            timestamps: self.timestamps.clone(),
            idleness: self.idleness,
            alignment: self.alignment.clone(),
            of: PhantomData,
        }
    }
}

impl<T> WatermarkStrategy<T> {
    /// Records come out of order by at most `bound`; what comes later than that is late.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    /// use std::time::Duration;
    ///
    /// // Requests of the last five seconds may come in any order.
    /// let strategy = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(5))
    ///     .with_timestamps(|request: &(String, i64)| request.1);
    /// ```
    pub fn bounded_out_of_orderness(bound: Duration) -> Self {
        Self::with(BoundedOutOfOrderness::new(bound))
    }

    /// Times never fall.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    ///
    /// // A log that one process writes, line after line.
    /// let strategy = WatermarkStrategy::monotonous().with_timestamps(|line: &(i64, String)| line.0);
    /// ```
    pub fn monotonous() -> Self {
        Self::with(BoundedOutOfOrderness::new(Duration::ZERO))
    }
}

impl<T, F> WatermarkStrategy<T, Punctuated<F>>
where
    F: Fn(&T, Timestamp) -> Option<Timestamp> + Clone + Send + Sync + 'static,
{
    /// Some records say what the watermark is: the function finds it, given the record and its time.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    ///
    /// // An empty line says that everything before it has come.
    /// let strategy = WatermarkStrategy::punctuated(|line: &String, ts| line.is_empty().then_some(ts));
    /// ```
    pub fn punctuated(watermark: F) -> Self {
        Self::with(Punctuated {
            watermark,
            seen: None,
        })
    }
}

impl<T, G: WatermarkGenerator<T>> WatermarkStrategy<T, G> {
    /// By a generator of one's own.
    ///
    /// ```
    /// use rivus_operators::{WatermarkGenerator, WatermarkStrategy};
    ///
    /// /// Trusts the clock of the record that came last.
    /// #[derive(Clone)]
    /// struct Latest(Option<i64>);
    ///
    /// impl WatermarkGenerator<String> for Latest {
    ///     fn on_event(&mut self, ts: i64, _value: &String) {
    ///         self.0 = Some(ts);
    ///     }
    ///     fn on_run(&mut self) -> Option<i64> {
    ///         self.0
    ///     }
    /// }
    ///
    /// let strategy = WatermarkStrategy::custom(Latest(None));
    /// ```
    pub fn custom(generator: G) -> Self {
        Self::with(generator)
    }
}

impl<T, G> WatermarkStrategy<T, G> {
    fn with(generator: G) -> Self {
        Self {
            generator,
            timestamps: KeepTimestamps,
            idleness: None,
            alignment: None,
            of: PhantomData,
        }
    }
}

impl<T, G, S> WatermarkStrategy<T, G, S> {
    /// Finds a record's time, milliseconds since the epoch, in the record. Without this the source's own
    /// times stand.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    ///
    /// let seconds = |click: &(String, i64)| click.1 * 1_000; // to milliseconds
    /// let strategy = WatermarkStrategy::monotonous().with_timestamps(seconds);
    /// ```
    pub fn with_timestamps<F>(self, timestamp: F) -> WatermarkStrategy<T, G, TimestampsBy<F>>
    where
        F: Fn(&T) -> Timestamp + Clone + Send + Sync + 'static,
    {
        WatermarkStrategy {
            generator: self.generator,
            timestamps: TimestampsBy(timestamp),
            idleness: self.idleness,
            alignment: self.alignment,
            of: PhantomData,
        }
    }

    /// Downstream doesn't wait for a subtask that has had no record for this long, by processing time,
    /// though it could have had one.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    /// use std::time::Duration;
    ///
    /// // At night most partitions have nothing to say; windows fire nevertheless.
    /// let strategy = WatermarkStrategy::<String>::monotonous().with_idleness(Duration::from_secs(60));
    /// ```
    pub fn with_idleness(mut self, timeout: Duration) -> Self {
        self.idleness = Some(timeout);
        self
    }

    /// The source waits while its watermark is ahead of the least in its group by more than `max_drift`. In a group are all
    /// subtasks of all sources whose strategies name it; they must agree on the drift. Subtasks say once a second how far
    /// they are, so one may be ahead by what it reads in that time more.
    ///
    /// Idle subtasks hold nobody up. One that waits for others isn't idle by that.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    /// use std::time::Duration;
    ///
    /// // Orders of a year are read beside payments that come as they are made: a join need not keep all of them.
    /// let strategy = WatermarkStrategy::<String>::monotonous().with_alignment("shop", Duration::from_secs(60));
    /// ```
    pub fn with_alignment(self, group: &str, max_drift: Duration) -> Self {
        self.with_alignment_every(group, max_drift, Duration::from_secs(1))
    }

    /// The same, with subtasks that say how far they are at another interval.
    ///
    /// ```
    /// use rivus_operators::WatermarkStrategy;
    /// use std::time::Duration;
    ///
    /// let (minute, often) = (Duration::from_secs(60), Duration::from_millis(100));
    /// let strategy = WatermarkStrategy::<String>::monotonous().with_alignment_every("shop", minute, often);
    /// ```
    pub fn with_alignment_every(
        mut self,
        group: &str,
        max_drift: Duration,
        update_interval: Duration,
    ) -> Self {
        self.alignment = Some(WatermarkAlignment {
            group: group.into(),
            max_drift,
            update_interval,
        });
        self
    }

    /// With whose its watermarks are aligned, if they are.
    pub fn alignment(&self) -> Option<&WatermarkAlignment> {
        self.alignment.as_ref()
    }
}

/// Finds a record's time.
pub trait TimestampAssigner<T>: Clone + Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn timestamp(&self, event: &Event<T>) -> Timestamp;
}

/// The source's own times stand.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepTimestamps;

impl<T> TimestampAssigner<T> for KeepTimestamps {
    #[inline]
    fn timestamp(&self, event: &Event<T>) -> Timestamp {
        event.ts
    }
}

/// A function finds the time.
#[derive(Debug, Clone, Copy)]
pub struct TimestampsBy<F>(F);

impl<T, F: Fn(&T) -> Timestamp + Clone + Send + Sync + 'static> TimestampAssigner<T>
    for TimestampsBy<F>
{
    #[inline]
    fn timestamp(&self, event: &Event<T>) -> Timestamp {
        (self.0)(&event.value)
    }
}

/// Makes watermarks. A watermark `w` asserts that no record at or before `w` will follow.
///
/// Times are only ever asserted forwards: a lower watermark than the last one is not passed on.
///
/// ```
/// use rivus_operators::{BoundedOutOfOrderness, WatermarkGenerator};
/// use std::time::Duration;
///
/// let mut generator = BoundedOutOfOrderness::new(Duration::from_millis(100));
/// generator.on_event(1_000, &"a record");
/// generator.on_event(950, &"a late one");
/// // One at 900 may still come.
/// assert_eq!(WatermarkGenerator::<&str>::on_run(&mut generator), Some(899));
/// ```
pub trait WatermarkGenerator<T>: Clone + Send + Sync + 'static {
    /// Sees a record.
    fn on_event(&mut self, ts: Timestamp, value: &T);

    /// A run has been seen: what can be asserted now?
    fn on_run(&mut self) -> Option<Timestamp>;

    /// Goes on after a recovery, from the greatest time that had been seen.
    fn restore(&mut self, max_ts: Timestamp) {
        let _ = max_ts;
    }
}

/// Stays behind the greatest time seen by a bound.
#[derive(Debug, Clone, Copy)]
pub struct BoundedOutOfOrderness {
    bound: i64,
    max_ts: Timestamp,
}

impl BoundedOutOfOrderness {
    /// With a bound.
    pub fn new(bound: Duration) -> Self {
        Self {
            bound: crate::window::millis(bound),
            max_ts: MIN_TIMESTAMP,
        }
    }
}

impl<T> WatermarkGenerator<T> for BoundedOutOfOrderness {
    #[inline]
    fn on_event(&mut self, ts: Timestamp, _value: &T) {
        self.max_ts = self.max_ts.max(ts);
    }

    fn on_run(&mut self) -> Option<Timestamp> {
        // Records of the greatest time itself may still follow.
        let watermark = self.max_ts.checked_sub(self.bound)?.checked_sub(1)?;
        Some(watermark)
    }

    fn restore(&mut self, max_ts: Timestamp) {
        self.max_ts = self.max_ts.max(max_ts);
    }
}

/// Takes watermarks from the records themselves.
#[derive(Debug, Clone)]
pub struct Punctuated<F> {
    watermark: F,
    seen: Option<Timestamp>,
}

impl<T, F> WatermarkGenerator<T> for Punctuated<F>
where
    F: Fn(&T, Timestamp) -> Option<Timestamp> + Clone + Send + Sync + 'static,
{
    #[inline]
    fn on_event(&mut self, ts: Timestamp, value: &T) {
        self.seen = self.seen.max((self.watermark)(value, ts));
    }

    fn on_run(&mut self) -> Option<Timestamp> {
        self.seen
    }
}
