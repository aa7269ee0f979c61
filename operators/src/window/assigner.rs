//! Which windows and panes a time belongs to.

use std::fmt;
use std::time::Duration;

use rivus_core::{Failure, MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp};

use super::{Window, millis};
use crate::keyed::TimeDomain;

/// How time is cut into windows.
///
/// ```
/// use rivus_operators::WindowAssigner;
/// use std::time::Duration;
///
/// let hours = WindowAssigner::tumbling(Duration::from_secs(3600));
/// let last_hour_each_minute =
///     WindowAssigner::sliding(Duration::from_secs(3600), Duration::from_secs(60));
/// assert_eq!(last_hour_each_minute.windows(0).count(), 60);
/// assert_eq!(hours.windows(3_600_000).next().unwrap().start, 3_600_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowAssigner {
    kind: WindowKind,
    domain: TimeDomain,
}

/// What windows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowKind {
    /// Of a fixed size, one every slide.
    Sliced { size: i64, slide: i64, offset: i64 },
    /// Up to a gap without records.
    Session { gap: i64 },
    /// One for each key.
    Global,
}

impl WindowAssigner {
    fn by_event_time(kind: WindowKind) -> Self {
        Self {
            kind,
            domain: TimeDomain::Event,
        }
    }

    /// Windows that follow one another.
    ///
    /// ```
    /// use rivus_operators::WindowAssigner;
    /// use std::time::Duration;
    ///
    /// let minutes = WindowAssigner::tumbling(Duration::from_secs(60));
    /// let window = minutes.windows(61_500).next().unwrap();
    /// assert_eq!((window.start, window.end), (60_000, 120_000));
    /// ```
    pub fn tumbling(size: Duration) -> Self {
        Self::sliding(size, size)
    }

    /// Windows of a size, one beginning every `slide`. If `slide` is longer than `size`, records between
    /// two windows belong to none and are passed over.
    ///
    /// ```
    /// use rivus_operators::WindowAssigner;
    /// use std::time::Duration;
    ///
    /// let assigner = WindowAssigner::sliding(Duration::from_secs(60), Duration::from_secs(20));
    /// let starts: Vec<_> = assigner.windows(61_500).map(|window| window.start).collect();
    /// assert_eq!(starts, [20_000, 40_000, 60_000]);
    /// ```
    pub fn sliding(size: Duration, slide: Duration) -> Self {
        Self::by_event_time(WindowKind::Sliced {
            size: millis(size),
            slide: millis(slide),
            offset: 0,
        })
    }

    /// A key's records as long as each follows within less than `gap` of another. A session ends `gap` after its last
    /// record.
    ///
    /// A record that comes just then begins another session (Flink would join the two, if the first has not fired yet: what
    /// comes out would depend on when the watermark came).
    ///
    /// ```
    /// use rivus_operators::WindowAssigner;
    /// use std::time::Duration;
    ///
    /// let visits = WindowAssigner::session(Duration::from_secs(60));
    /// let alone = visits.windows(1_000).next().unwrap(); // as long as no other record comes near
    /// assert_eq!((alone.start, alone.end), (1_000, 61_000));
    /// ```
    pub fn session(gap: Duration) -> Self {
        Self::by_event_time(WindowKind::Session { gap: millis(gap) })
    }

    /// One window for all records of a key, which never ends: when it gives something a [`Trigger`](super::Trigger)
    /// must say.
    ///
    /// ```
    /// use rivus_operators::{Window, WindowAssigner};
    ///
    /// assert_eq!(WindowAssigner::global().windows(7).next(), Some(Window::GLOBAL));
    /// ```
    pub fn global() -> Self {
        Self::by_event_time(WindowKind::Global)
    }

    /// By the wall clock when a record arrives, instead of the record's own time. Needs no watermarks; nothing is
    /// late; what comes out depends on how fast the job runs.
    ///
    /// ```
    /// use rivus_operators::WindowAssigner;
    /// use std::time::Duration;
    ///
    /// let minutes = WindowAssigner::tumbling(Duration::from_secs(60)).processing_time();
    /// let visits = WindowAssigner::session(Duration::from_secs(60)).processing_time();
    /// # let _ = (minutes, visits);
    /// ```
    #[must_use]
    pub fn processing_time(mut self) -> Self {
        self.domain = TimeDomain::Processing;
        self
    }

    /// Windows begin this much later; for days of a time zone, say. Changes nothing for sessions and global windows.
    ///
    /// ```
    /// use rivus_operators::WindowAssigner;
    /// use std::time::Duration;
    ///
    /// // Days of a zone that is two hours ahead of UTC begin at 22:00 UTC.
    /// let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    /// let days = WindowAssigner::tumbling(hours(24)).with_offset(hours(22));
    /// assert_eq!(days.windows(0).next().unwrap().start, -2 * 3_600_000);
    /// ```
    pub fn with_offset(mut self, by: Duration) -> Self {
        if let WindowKind::Sliced { slide, offset, .. } = &mut self.kind {
            *offset = millis(by);
            if *slide > 0 {
                *offset %= *slide;
            }
        }
        self
    }

    /// The windows that a time belongs to, earliest first; of a session the one that a record there is by itself.
    pub fn windows(&self, ts: Timestamp) -> impl Iterator<Item = Window> + use<> {
        let (sliced, one) = match self.kind {
            WindowKind::Sliced {
                size,
                slide,
                offset,
            } => {
                let is_sound = size.min(slide) > 0;
                (is_sound.then(|| Panes::of(size, slide, offset)), None)
            }
            WindowKind::Session { gap } => (None, Some(Window::session(ts, gap))),
            WindowKind::Global => (None, Some(Window::GLOBAL)),
        };
        let sliced = sliced.into_iter().flat_map(move |panes| panes.windows(ts));
        sliced.chain(one)
    }

    pub(crate) fn kind(&self) -> WindowKind {
        self.kind
    }

    /// By which clock windows end; none if they don't.
    pub(crate) fn domain(&self) -> Option<TimeDomain> {
        (self.kind != WindowKind::Global).then_some(self.domain)
    }

    /// Whether a key has one window, which never ends.
    pub fn is_global(&self) -> bool {
        self.kind == WindowKind::Global
    }

    /// Whether windows make no progress without watermarks.
    pub fn needs_watermarks(&self) -> bool {
        self.domain() == Some(TimeDomain::Event)
    }

    /// The panes of windows of a fixed size.
    ///
    /// # Errors
    /// A job failure if windows are empty or don't advance, or have no fixed size.
    pub(crate) fn panes(&self) -> Result<Panes, Failure> {
        match self.kind {
            WindowKind::Sliced {
                size,
                slide,
                offset,
            } if size.min(slide) > 0 => Ok(Panes::of(size, slide, offset)),
            WindowKind::Sliced { .. } => Err(Failure::job(
                "a window's size and slide must be at least one millisecond: give a longer Duration",
            )),
            WindowKind::Session { .. } | WindowKind::Global => Err(Failure::job(
                "windows without a size have no panes; this is a defect in Rivus",
            )),
        }
    }
}

/// For people, and to tell whether a snapshot's windows are these.
impl fmt::Display for WindowAssigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = match self.domain {
            TimeDomain::Event => "event time",
            TimeDomain::Processing => "processing time",
        };
        match self.kind {
            WindowKind::Sliced {
                size,
                slide,
                offset,
            } => write!(
                f,
                "{:?} ms (size, slide, offset) by {clock}",
                [size, slide, offset]
            ),
            // The gap may change: sessions that are open keep theirs.
            WindowKind::Session { .. } => write!(f, "sessions by {clock}"),
            WindowKind::Global => write!(f, "global"),
        }
    }
}

/// Panes and windows by number: pane `p` begins at `p * pane + offset`, window `w` at
/// `w * slide + offset`. Times that don't fit are taken to be the first or the last there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panes {
    size: i64,
    slide: i64,
    offset: i64,
    pane: i64,
    /// Panes in a window.
    pub(crate) per_window: i64,
    /// Panes in a slide.
    pub(crate) per_slide: i64,
}

fn clamp(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Panes {
    fn of(size: i64, slide: i64, offset: i64) -> Self {
        let pane = gcd(size, slide);
        Self {
            size,
            slide,
            offset,
            pane,
            per_window: size / pane,
            per_slide: slide / pane,
        }
    }

    /// Window size, slide and offset in milliseconds.
    pub(crate) fn figures(&self) -> [i64; 3] {
        [self.size, self.slide, self.offset]
    }

    /// The windows that a time belongs to, earliest first.
    pub(crate) fn windows(self, ts: Timestamp) -> impl Iterator<Item = Window> {
        let pane = self.pane(ts);
        (self.first_window(pane)..=self.last_window(pane)).map(move |window| self.window(window))
    }

    /// The pane that a time lies in.
    pub(crate) fn pane(&self, ts: Timestamp) -> i64 {
        match ts.checked_sub(self.offset) {
            Some(since) => since.div_euclid(self.pane),
            None => {
                let since = i128::from(ts) - i128::from(self.offset);
                clamp(since.div_euclid(i128::from(self.pane)))
            }
        }
    }

    /// The pane's first time, and the first after it.
    pub(crate) fn bounds(&self, pane: i64) -> (Timestamp, Timestamp) {
        let start = i128::from(pane) * i128::from(self.pane) + i128::from(self.offset);
        (clamp(start), clamp(start + i128::from(self.pane)))
    }

    /// The first window that the pane is part of. If it is after the last one, there is none.
    pub(crate) fn first_window(&self, pane: i64) -> i64 {
        let before = i128::from(pane) - i128::from(self.per_window);
        clamp(before.div_euclid(i128::from(self.per_slide)) + 1)
    }

    /// The last window that the pane is part of.
    pub(crate) fn last_window(&self, pane: i64) -> i64 {
        pane.div_euclid(self.per_slide)
    }

    /// A window's first and its last pane.
    pub(crate) fn of_window(&self, window: i64) -> (i64, i64) {
        let first = i128::from(window) * i128::from(self.per_slide);
        (clamp(first), clamp(first + i128::from(self.per_window) - 1))
    }

    fn end(&self, window: i64) -> i128 {
        i128::from(window) * i128::from(self.slide)
            + i128::from(self.offset)
            + i128::from(self.size)
    }

    /// A window's bounds.
    pub(crate) fn window(&self, window: i64) -> Window {
        let end = self.end(window);
        Window {
            start: clamp(end - i128::from(self.size)),
            end: clamp(end),
        }
    }

    /// The watermark at which the window fires, or `after` that; which is also its results' time.
    pub(crate) fn fires_at(&self, window: i64, after: i64) -> Timestamp {
        // No watermark at all is no time at which anything could fire.
        clamp(self.end(window) - 1 + i128::from(after)).max(MIN_TIMESTAMP + 1)
    }

    /// The first window that has not fired at a watermark.
    pub(crate) fn first_unfired(&self, watermark: Timestamp) -> i64 {
        match watermark {
            MIN_TIMESTAMP => return i64::MIN,
            MAX_TIMESTAMP => return i64::MAX,
            _ => {}
        }
        let last_end = i128::from(watermark) + 1 - i128::from(self.offset) - i128::from(self.size);
        clamp(last_end.div_euclid(i128::from(self.slide)) + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assigner(size: u64, slide: u64, offset: u64) -> WindowAssigner {
        WindowAssigner::sliding(Duration::from_millis(size), Duration::from_millis(slide))
            .with_offset(Duration::from_millis(offset))
    }

    proptest! {
        #[test]
        fn a_time_belongs_to_every_window_around_it_and_to_no_other(
            size in 1..50_u64, slide in 1..50_u64, offset in 0..60_u64, ts in -500..500_i64,
        ) {
            let assigner = assigner(size, slide, offset);
            let got: Vec<_> = assigner.windows(ts).collect();
            let mut expected = Vec::new();
            let begin = (offset % slide) as i64;
            for number in -1_000..1_000_i64 {
                let start = number * slide as i64 + begin;
                if start <= ts && ts < start + size as i64 {
                    expected.push(Window { start, end: start + size as i64 });
                }
            }
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn windows_fire_in_order_and_none_is_forgotten(
            size in 1..50_u64, slide in 1..50_u64, offset in 0..60_u64, watermark in -500..500_i64,
        ) {
            let panes = assigner(size, slide, offset).panes().unwrap();
            let first = panes.first_unfired(watermark);
            prop_assert!(panes.fires_at(first, 0) > watermark);
            prop_assert!(panes.fires_at(first - 1, 0) <= watermark);
        }

        #[test]
        fn no_time_overflows(
            size in 1..u64::MAX, slide in 1..u64::MAX, offset in 0..u64::MAX,
            ts in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()],
        ) {
            let panes = assigner(size, slide, offset).panes().unwrap();
            let pane = panes.pane(ts);
            let (start, end) = panes.bounds(pane);
            // Panes of a millisecond have no room for an offset at the beginning of time.
            prop_assert!(start.saturating_sub(panes.offset) <= ts && ts <= end);
            for window in [panes.first_window(pane), panes.last_window(pane)] {
                panes.window(window);
                panes.of_window(window);
                panes.fires_at(window, i64::MAX);
            }
            panes.first_unfired(ts);
        }
    }

    #[test]
    fn an_empty_window_is_refused_in_one_line() {
        let failure = WindowAssigner::tumbling(Duration::ZERO)
            .panes()
            .unwrap_err();
        assert!(failure.message.contains("at least one millisecond"));
    }
}
