//! How long a leader is left alone that has refused this TaskManager: what it refuses is the same the next moment, mostly, until
//! somebody mends it. And how long the next leader is, by one whose name another has: there it is whose who comes first.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(200);

/// The longest: so long, at most, is what was mended not noticed.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// How long the other goes first with the next leader. It looks for that several times meanwhile.
const OTHER_FIRST: Duration = Duration::from_secs(2);

/// The refusals of one leader, of which each doubles the wait; none since the last one that has let this TaskManager in.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Of the leader of this term; another one may have other views.
    term: u64,
    times: u32,
    until: Duration,
    /// Whether one has refused since another TaskManager has the name.
    name_is_taken: bool,
}

impl Refused {
    /// The leader of a term has refused once more.
    pub(super) fn again(&mut self, term: u64, name_is_taken: bool, now: Duration) {
        if term != self.term {
            self.times = 0;
        }
        self.term = term;
        self.name_is_taken |= name_is_taken;
        let wait = FIRST.saturating_mul(1 << self.times.min(16)).min(LONGEST);
        self.times += 1;
        self.until = now + wait;
    }

    /// There is a leader of this term. If it is another one than has refused, whoever has the name goes first.
    pub(super) fn sees(&mut self, term: u64, now: Duration) {
        if term != self.term && self.name_is_taken {
            self.term = term;
            self.times = 0;
            self.until = now + OTHER_FIRST;
        }
    }

    /// How long the leader of a term is to be left alone yet.
    pub(super) fn wait(&self, term: u64, now: Duration) -> Duration {
        match term == self.term {
            true => self.until.saturating_sub(now),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long, in milliseconds, the leaders of these terms are left alone before each call, and after it, which they refuse.
    fn waits(terms: &[u64], name_is_taken: bool) -> Vec<(u128, u128)> {
        let (mut refused, mut now) = (Refused::default(), Duration::from_secs(60));
        let waits = terms.iter().map(|term| {
            refused.sees(*term, now);
            let before = refused.wait(*term, now);
            now += before;
            refused.again(*term, name_is_taken, now);
            let after = refused.wait(*term, now);
            now += after;
            (before.as_millis(), after.as_millis())
        });
        waits.collect()
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_with_another_leader() {
        let growing = [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
        assert_eq!(waits(&[1; 8], false), growing.map(|after| (0, after)));
        assert_eq!(waits(&[1, 1, 2], false), [(0, 200), (0, 400), (0, 200)]);
    }

    #[test]
    fn whoever_has_the_name_goes_first_with_the_next_leader() {
        let with_both = [(0, 200), (2_000, 200), (0, 400), (2_000, 200)];
        assert_eq!(waits(&[1, 2, 2, 3], true), with_both);
    }
}
