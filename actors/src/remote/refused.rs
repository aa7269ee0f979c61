//! How long a leader is left alone that has refused this TaskManager: what it refuses is the same the next moment, mostly, until
//! somebody mends it.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(200);

/// The longest: so long, at most, is what was mended not noticed.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// The refusals of one leader, of which each doubles the wait.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Of the leader of this term; another one may have other views.
    term: u64,
    times: u32,
    until: Duration,
}

impl Refused {
    /// The leader of a term has refused once more.
    pub(super) fn again(&mut self, term: u64, now: Duration) {
        if term != self.term {
            *self = Self::default();
        }
        self.term = term;
        let wait = FIRST.saturating_mul(1 << self.times.min(16)).min(LONGEST);
        self.times += 1;
        self.until = now + wait;
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

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_with_another_leader() {
        let (mut refused, mut now) = (Refused::default(), Duration::from_secs(60));
        let mut waits = |terms: &[u64]| {
            let waits = terms.iter().map(|term| {
                assert_eq!(refused.wait(*term, now), Duration::ZERO);
                refused.again(*term, now);
                let wait = refused.wait(*term, now);
                assert_eq!(refused.wait(*term + 1, now), Duration::ZERO);
                now += wait;
                wait.as_millis()
            });
            waits.collect::<Vec<_>>()
        };
        let growing = [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
        assert_eq!(waits(&[1; 8]), growing);
        assert_eq!(waits(&[2, 2]), [200, 400]);
    }
}
