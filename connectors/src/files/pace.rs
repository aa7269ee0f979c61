//! How fast lines are read.

use rivus_core::Timestamp;

/// A reader's share of a source's rate. It counts from its first line; a reader that has fallen behind catches up.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    lines_per_second: u64,
    /// How many readers share the rate.
    readers: u64,
    began: Option<Timestamp>,
    lines: u64,
}

impl Pace {
    pub(super) fn new(lines_per_second: u64, readers: u32) -> Self {
        Self {
            lines_per_second: lines_per_second.max(1),
            readers: u64::from(readers.max(1)),
            began: None,
            lines: 0,
        }
    }

    /// How many lines are due, at most `max`.
    pub(super) fn due(&mut self, now: Timestamp, max: usize) -> usize {
        let began = *self.began.get_or_insert(now);
        let passed = u128::try_from(now.saturating_sub(began)).unwrap_or(0);
        let by_now =
            passed * u128::from(self.lines_per_second) / (1_000 * u128::from(self.readers));
        let due = (by_now + 1).saturating_sub(u128::from(self.lines));
        usize::try_from(due).map_or(max, |due| due.min(max))
    }

    /// So many lines have been read.
    pub(super) fn read(&mut self, lines: usize) {
        self.lines += lines as u64;
    }

    /// When the next line is due.
    pub(super) fn next(&self, now: Timestamp) -> Timestamp {
        let wait = u128::from(self.lines) * 1_000 * u128::from(self.readers);
        let wait = wait.div_ceil(u128::from(self.lines_per_second));
        let began = self.began.unwrap_or(now);
        began.saturating_add(i64::try_from(wait).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of a reader's first lines is read, if it is asked whenever one is due.
    fn times(rate: u64, readers: u32, lines: usize) -> Vec<Timestamp> {
        let mut pace = Pace::new(rate, readers);
        let (mut now, mut times) = (1_000, Vec::new());
        while times.len() < lines {
            let due = pace.due(now, 100);
            assert!(due > 0, "asked to come at {now}");
            pace.read(due);
            times.extend(std::iter::repeat_n(now, due));
            now = pace.next(now);
        }
        times.truncate(lines);
        times
    }

    #[test]
    fn lines_come_at_their_rate_and_readers_share_it() {
        assert_eq!(times(10, 1, 4), [1_000, 1_100, 1_200, 1_300]);
        assert_eq!(times(10, 2, 3), [1_000, 1_200, 1_400]);
        assert_eq!(times(3, 1, 4), [1_000, 1_334, 1_667, 2_000]);
        assert_eq!(times(2_000, 1, 4), [1_000, 1_001, 1_001, 1_002]);
    }

    #[test]
    fn a_reader_that_has_fallen_behind_catches_up() {
        let mut pace = Pace::new(10, 1);
        assert_eq!(pace.due(0, 100), 1);
        pace.read(1);
        assert_eq!(pace.due(1_000, 100), 10);
        assert_eq!(pace.due(1_000, 4), 4);
    }
}
