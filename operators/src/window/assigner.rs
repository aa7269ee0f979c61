//! Which windows and panes a time belongs to.

use std::fmt;
use std::time::Duration;

use rivus_core::{Failure, Timestamp};

use super::slices::Panes;
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
    /// late; what comes out depends on how fast the job runs. Windows that are open when a bounded input ends give
    /// nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_window_is_refused_in_one_line() {
        let failure = WindowAssigner::tumbling(Duration::ZERO)
            .panes()
            .unwrap_err();
        assert!(failure.message.contains("at least one millisecond"));
    }
}
