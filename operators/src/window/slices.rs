//! The arithmetic of windows of a fixed size.

use std::ops::RangeInclusive;

use rivus_core::{MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp};

use super::Window;

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
    pub(super) fn of(size: i64, slide: i64, offset: i64) -> Self {
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
        let mut windows = self.numbers(ts);
        std::iter::from_fn(move || Some(self.window(windows.next()?)))
    }

    /// Their numbers.
    pub(super) fn numbers(&self, ts: Timestamp) -> RangeInclusive<i64> {
        let pane = self.pane(ts);
        self.first_window(pane)..=self.last_window(pane)
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

    use std::time::Duration;

    use super::super::WindowAssigner;
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
}
