//! A key's live windows: those that hold records, or whose trigger remembers something.

use std::ops::Range;

use rivus_core::{Record, Timestamp, ValueState};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Window;
use crate::keyed::{TimeDomain, TimerSet};

/// When windows end for good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    /// The clock that ends them; none if they don't end.
    pub(super) domain: Option<TimeDomain>,
    /// For how long after their last millisecond they take records.
    pub(super) lateness: i64,
}

impl Lifetime {
    /// The time at which a window goes, if it goes by a clock.
    #[inline]
    pub(super) fn ends(self, domain: TimeDomain, window: Window) -> Option<Timestamp> {
        (self.domain == Some(domain)).then(|| window.last().saturating_add(self.lateness))
    }

    /// Whether a window takes no more records.
    #[inline]
    pub(super) fn is_over(self, window: Window, watermark: Timestamp) -> bool {
        self.ends(TimeDomain::Event, window)
            .is_some_and(|ends| ends <= watermark)
    }
}

/// A window of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.LiveWindow", bound = "H: Record, S: Record")]
pub(super) struct LiveWindow<H, S> {
    pub(super) window: Window,
    /// What it holds, unless that was purged.
    pub(super) held: ValueState<H>,
    /// What its trigger remembers.
    pub(super) state: S,
    pub(super) event_timers: TimerSet,
    pub(super) processing_timers: TimerSet,
}

impl<H, S: Default + PartialEq> LiveWindow<H, S> {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            held: ValueState::default(),
            state: S::default(),
            event_timers: TimerSet::default(),
            processing_timers: TimerSet::default(),
        }
    }

    pub(super) fn timers(&mut self, domain: TimeDomain) -> &mut TimerSet {
        match domain {
            TimeDomain::Event => &mut self.event_timers,
            TimeDomain::Processing => &mut self.processing_timers,
        }
    }

    /// Whether a new window would do as well.
    pub(super) fn is_as_new(&self) -> bool {
        self.held.is_empty()
            && self.event_timers.is_empty()
            && self.processing_timers.is_empty()
            && self.state == S::default()
    }

    /// When something is to be done with it next.
    #[inline]
    pub(super) fn due(&self, lifetime: Lifetime) -> Due {
        let first = |timers: &TimerSet, domain| {
            let ends = lifetime.ends(domain, self.window);
            timers.first().into_iter().chain(ends).min()
        };
        Due {
            event: first(&self.event_timers, TimeDomain::Event),
            processing: first(&self.processing_timers, TimeDomain::Processing),
        }
    }
}

/// When something is to be done next, by each clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    event: Option<Timestamp>,
    processing: Option<Timestamp>,
}

impl Due {
    pub(super) fn by(self, domain: TimeDomain) -> Option<Timestamp> {
        match domain {
            TimeDomain::Event => self.event,
            TimeDomain::Processing => self.processing,
        }
    }

    /// The earlier of both, by each clock.
    #[inline]
    pub(super) fn or(self, other: Self) -> Self {
        let earlier = |a: Option<Timestamp>, b: Option<Timestamp>| a.into_iter().chain(b).min();
        Self {
            event: earlier(self.event, other.event),
            processing: earlier(self.processing, other.processing),
        }
    }
}

/// What a key has: its live windows by their start, and where it stands in the orders of the clocks.
///
/// A row stands in each order at most once, at a time that is not after the first at which something is to be done with
/// one of its windows. A session that grows with every record leaves its row where it is; when its time comes and
/// nothing is due, the row goes to its next place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.WindowRow", bound = "H: Record, S: Record")]
pub(super) struct WindowRow<H, S> {
    pub(super) live: SmallVec<[LiveWindow<H, S>; 1]>,
    event_place: Option<Timestamp>,
    processing_place: Option<Timestamp>,
}

impl<H, S> Default for WindowRow<H, S> {
    fn default() -> Self {
        Self {
            live: SmallVec::new(),
            event_place: None,
            processing_place: None,
        }
    }
}

impl<H, S: Default + PartialEq> WindowRow<H, S> {
    /// Where the row stands in the order of a clock.
    pub(super) fn place(&self, domain: TimeDomain) -> Option<Timestamp> {
        match domain {
            TimeDomain::Event => self.event_place,
            TimeDomain::Processing => self.processing_place,
        }
    }

    pub(super) fn set_place(&mut self, domain: TimeDomain, place: Option<Timestamp>) {
        match domain {
            TimeDomain::Event => self.event_place = place,
            TimeDomain::Processing => self.processing_place = place,
        }
    }

    /// When something is to be done next with any of its windows.
    pub(super) fn due(&self, lifetime: Lifetime) -> Due {
        let dues = self.live.iter().map(|live| live.due(lifetime));
        dues.fold(Due::default(), Due::or)
    }

    /// The place of a window, which is made if there is none.
    pub(super) fn enter(&mut self, window: Window) -> usize {
        match self.live.binary_search_by_key(&window, |live| live.window) {
            Ok(at) => at,
            Err(at) => {
                self.live.insert(at, LiveWindow::new(window));
                at
            }
        }
    }

    /// Takes a window away that is as good as none. Says when something is to be done with it, if it stays.
    #[inline]
    pub(super) fn tidy(&mut self, at: usize, lifetime: Lifetime) -> Due {
        if self.live[at].is_as_new() {
            self.live.remove(at);
            return Due::default();
        }
        self.live[at].due(lifetime)
    }

    /// Windows that overlap another. No two of the row overlap each other.
    pub(super) fn overlapping(&self, window: Window) -> Range<usize> {
        let before = |live: &LiveWindow<H, S>| live.window.end <= window.start;
        let from = self.live.partition_point(before);
        let rest = &self.live[from..];
        from..from + rest.partition_point(|live| live.window.overlaps(&window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(windows: &[(i64, i64)]) -> WindowRow<(), ()> {
        let mut row = WindowRow::default();
        for (start, end) in windows {
            row.enter(Window {
                start: *start,
                end: *end,
            });
        }
        row
    }

    #[test]
    fn windows_overlap_that_have_a_time_in_common() {
        let row = row(&[(30, 40), (0, 10), (15, 20)]);
        let table = [
            ((10, 15), 1..1),
            ((9, 15), 0..1),
            ((9, 16), 0..2),
            ((20, 30), 2..2),
            ((19, 31), 1..3),
            ((-5, 0), 0..0),
            ((40, 50), 3..3),
            ((-5, 50), 0..3),
        ];
        for ((start, end), expected) in table {
            let found = row.overlapping(Window { start, end });
            assert_eq!(found, expected, "{start}..{end}");
        }
    }

    #[test]
    fn a_row_is_due_when_the_first_of_its_windows_is() {
        let mut row = row(&[(0, 10), (10, 20)]);
        let (event, processing) = (TimeDomain::Event, TimeDomain::Processing);
        let lifetime = Lifetime {
            domain: Some(event),
            lateness: 5,
        };
        let due = |row: &WindowRow<(), ()>| {
            let due = row.due(lifetime);
            (due.by(event), due.by(processing))
        };
        assert_eq!(due(&row), (Some(14), None));
        row.live[1].event_timers.insert(12);
        assert_eq!(due(&row), (Some(12), None));
        row.live[0].processing_timers.insert(7);
        row.live[1].processing_timers.insert(8);
        assert_eq!(due(&row), (Some(12), Some(7)));
    }
}
