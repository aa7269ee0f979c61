//! How much of a subtask's time the slices of a snapshot take.
//!
//! While records come, slices take a part of the time that records took: other subtasks may need the core then, also
//! when this one has nothing to do. A slice ends where rows end and not where its time does, and records may have had rows written
//! ahead of their turn, which is part of the same share. What was too much is owed, and the slices of the turns that follow
//! are left out until it is paid back: over some turns the share is kept to the microsecond.
//!
//! A worker that has gone to sleep since the last slice has time that nobody asks for: slices then follow one another for a while, each as
//! short as ever, with everybody's turns between them. So a checkpoint of a job that has little to do is over long before the next one.

use std::time::Duration;

/// A slice may take this part of the turn it follows; the upload costs about half as much again.
const SHARE: u32 = 8;

/// The same where state lies in stores. What is written then is what has changed lately, and the store holds back what changes
/// meanwhile: the sooner it is over, the less is held back, and the less a failure makes the job do again.
const STORES_SHARE: u32 = 3;

/// Turns whose share may be owed at the most.
const OWED_TURNS: u32 = 32;

/// How long a slice takes in a turn without work, about: a record that comes meanwhile waits.
const IDLE_SLICE: Duration = Duration::from_micros(150);

/// Time between two slices without work, while records still come now and then.
const PAUSE: Duration = Duration::from_millis(1);

/// How long slices without work follow one another where the worker has slept since the last one.
const BURST: Duration = Duration::from_millis(3);

/// After this time without work a subtask writes its slices one after the other.
const QUIET: Duration = Duration::from_millis(10);

/// When slices may come, and how long each may take.
pub(super) struct Pace {
    /// Which part of a turn a slice may take.
    share: u32,
    /// When elements were last worked on.
    worked_at: Duration,
    /// When a turn without work may write a slice again.
    due: Duration,
    /// What slices have taken beyond their share.
    owed: Duration,
    /// How long the last turn with work took.
    turn: Duration,
    /// How often the worker had slept when the last pause began.
    slept: u64,
    /// What is left of slices that follow one another.
    burst: Duration,
}

impl Pace {
    /// Of state in memory, or in stores.
    pub(super) fn new(in_stores: bool) -> Self {
        Self {
            share: if in_stores { STORES_SHARE } else { SHARE },
            worked_at: Duration::ZERO,
            due: Duration::ZERO,
            owed: Duration::ZERO,
            turn: Duration::ZERO,
            slept: 0,
            burst: Duration::ZERO,
        }
    }

    /// A turn has ended in which elements were worked on. Returns how long a slice may take now; none if it may not begin.
    pub(super) fn after_work(&mut self, began: Duration, now: Duration) -> Option<Duration> {
        self.worked_at = now;
        self.turn = now.saturating_sub(began);
        let share = self.turn / self.share;
        let allowed = share.checked_sub(self.owed);
        self.owed = self.owed.saturating_sub(share);
        allowed
    }

    /// The same after a turn that had nothing to do, on a worker that has slept so often.
    pub(super) fn without_work(&mut self, now: Duration, slept: u64) -> Option<Duration> {
        if now >= self.due && slept != self.slept {
            self.slept = slept;
            self.burst = BURST;
        }
        let may = now >= self.due || self.is_quiet(now) || self.goes_on();
        may.then_some(IDLE_SLICE)
    }

    /// A slice took so long, what records had written ahead included. Time without work pays for all.
    pub(super) fn took(&mut self, took: Duration, allowed: Duration, worked: bool) {
        // What a simulation counts in bytes is not owed where its clock stands still.
        let most = if worked {
            self.turn / self.share * OWED_TURNS
        } else {
            Duration::ZERO
        };
        self.owed = took.saturating_sub(allowed).min(most);
        if !worked {
            self.burst = self.burst.saturating_sub(took);
        }
    }

    /// Whether the next slice without work follows at once.
    pub(super) fn goes_on(&self) -> bool {
        !self.burst.is_zero()
    }

    /// Whether no record has come for a while.
    pub(super) fn is_quiet(&self, now: Duration) -> bool {
        now.saturating_sub(self.worked_at) >= QUIET
    }

    /// The next slice without work comes after a pause, which is returned.
    pub(super) fn pause(&mut self, now: Duration, slept: u64) -> Duration {
        self.due = now + PAUSE;
        self.slept = slept;
        self.burst = Duration::ZERO;
        PAUSE
    }

    /// The next slice may come at once.
    pub(super) fn hurry(&mut self) {
        self.due = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// Slices that take 50 microseconds whatever they are allowed, after turns of so long. Returns their share of the
    /// turns' time.
    fn share_of(turn: u64, in_stores: bool) -> f64 {
        let mut pace = Pace::new(in_stores);
        let (mut now, mut sliced) = (us(0), us(0));
        let turns = 1_000;
        for _ in 0..turns {
            let began = now;
            now += us(turn);
            if let Some(allowed) = pace.after_work(began, now) {
                pace.took(us(50), allowed, true);
                now += us(50);
                sliced += us(50);
            }
        }
        sliced.as_secs_f64() / us(turn * turns).as_secs_f64()
    }

    #[test]
    fn slices_keep_their_share_though_they_end_where_rows_end() {
        for (in_stores, part) in [(false, SHARE), (true, STORES_SHARE)] {
            for turn in [60, 100, 299, 301, 1_000, 7_000] {
                let share = share_of(turn, in_stores);
                // One slice a turn is the most there is.
                let most = 50.0 / turn as f64;
                let expected = most.min(1.0 / f64::from(part));
                assert!((share - expected).abs() < 0.01, "{turn} us: {share}");
            }
        }
    }

    #[test]
    fn a_turn_without_work_pays_for_all_and_waits_for_its_pause_unless_it_is_quiet() {
        let mut pace = Pace::new(false);
        let allowed = pace.after_work(us(0), us(600));
        assert_eq!(allowed, Some(us(600) / SHARE));
        pace.took(us(500), us(75), true);
        assert_eq!(pace.after_work(us(1_100), us(1_700)), None);
        assert_eq!(pace.without_work(us(1_800), 0), Some(IDLE_SLICE));
        pace.took(IDLE_SLICE, IDLE_SLICE, false);
        assert_eq!(pace.pause(us(2_000), 0), PAUSE);
        assert_eq!(pace.without_work(us(2_900), 0), None);
        assert_eq!(pace.without_work(us(3_000), 0), Some(IDLE_SLICE));
        assert_eq!(pace.after_work(us(3_000), us(3_600)), Some(us(600) / SHARE));
        assert!(!pace.is_quiet(us(13_599)));
        assert!(pace.is_quiet(us(13_600)));
        pace.pause(us(13_600), 0);
        assert_eq!(pace.without_work(us(13_601), 0), Some(IDLE_SLICE));
    }

    #[test]
    fn slices_follow_one_another_for_a_while_where_the_worker_has_slept() {
        let mut pace = Pace::new(false);
        pace.after_work(us(0), us(100));
        pace.pause(us(100), 7);
        assert_eq!(pace.without_work(us(900), 8), None, "it is a pause");
        let slices = (BURST.as_micros() / IDLE_SLICE.as_micros()) as u64;
        for n in 0..slices {
            let now = us(1_100 + 200 * n);
            // Records that come in between hold nothing up.
            pace.after_work(now, now);
            assert_eq!(pace.without_work(now, 8), Some(IDLE_SLICE));
            assert!(pace.goes_on(), "slice {n}");
            pace.took(IDLE_SLICE, IDLE_SLICE, false);
        }
        assert!(!pace.goes_on());
        pace.pause(us(6_000), 8);
        assert_eq!(pace.without_work(us(7_000), 8), Some(IDLE_SLICE));
        assert!(!pace.goes_on(), "the worker has had others to work for");
        assert!(pace.without_work(us(7_100), 9).is_some() && pace.goes_on());
        pace.pause(us(7_200), 9);
        assert!(!pace.goes_on(), "a pause ends it");
    }

    #[test]
    fn where_the_clock_stands_still_every_turn_may_write_a_piece() {
        let mut pace = Pace::new(false);
        for _ in 0..3 {
            assert_eq!(pace.after_work(us(5), us(5)), Some(us(0)));
            pace.took(us(70), us(0), true);
        }
    }
}
