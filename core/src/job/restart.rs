//! Restart strategies: whether a failed region is tried again, and when.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens after a failure that a restart might mend.
///
/// ```
/// use rivus_core::job::{RestartDecision, RestartState, RestartStrategy};
/// use std::time::Duration;
///
/// // Three failures within a minute are too many.
/// let second = Duration::from_secs(1);
/// let strategy = RestartStrategy::FailureRate { failures: 2, interval: 60 * second, delay: second };
/// let mut state = RestartState::default();
/// let decisions = [0, 10, 20].map(|at| state.on_failure(&strategy, at * second, 0.5));
/// let again = RestartDecision::After(second);
/// assert_eq!(decisions, [again, again, RestartDecision::GiveUp]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RestartStrategy {
    /// The job fails.
    None,
    /// Tried again a number of times.
    FixedDelay {
        /// How often in the job's life.
        attempts: u32,
        /// The wait before each.
        delay: Duration,
    },
    /// Tried again for ever, after waits that grow until the job has been healthy for a while: so a job outlives a source
    /// or a sink's target that is away for hours. Only code that fails again and again in the same way is given up, as
    /// [`poison_after`](super::JobOptions::poison_after) says.
    ExponentialDelay {
        /// The first wait.
        initial: Duration,
        /// The longest wait.
        max: Duration,
        /// By how much each wait is longer than the one before, at least 1.
        factor: f64,
        /// Part of the wait that is random, 0 to 1, so that many jobs don't return at once.
        jitter: f64,
        /// After so long without a failure the wait is the first one again.
        reset_after: Duration,
    },
    /// Tried again unless failures come too often.
    FailureRate {
        /// How many failures are borne; one more is too many.
        failures: u32,
        /// In what time.
        interval: Duration,
        /// The wait before each try.
        delay: Duration,
    },
}

impl RestartStrategy {
    /// Refuses numbers that no wait can be made of.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self::ExponentialDelay {
            initial,
            max,
            factor,
            jitter,
            ..
        } = self
        else {
            return Ok(());
        };
        let refused = if !(factor.is_finite() && *factor >= 1.0) {
            format!("factor {factor}: give a number from 1 up")
        } else if !(0.0..=1.0).contains(jitter) {
            format!("jitter {jitter}: give a number from 0 to 1")
        } else if initial > max {
            format!("initial {initial:?} is longer than max {max:?}: raise max")
        } else {
            return Ok(());
        };
        Err(format!("option restart, ExponentialDelay: {refused}"))
    }
}

impl Default for RestartStrategy {
    fn default() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.1,
            reset_after: Duration::from_secs(600),
        }
    }
}

/// What to do after one failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Try again after a wait.
    After(Duration),
    /// The job fails.
    GiveUp,
}

/// What a strategy remembers.
#[derive(Debug, Clone, Default)]
pub struct RestartState {
    decided: Duration,
    failures: VecDeque<Duration>,
    count: u32,
    last_wait: Duration,
}

impl RestartState {
    /// What is left to remember of so many restarts under earlier leaders: their number.
    pub fn after(restarts: u32) -> Self {
        Self {
            count: restarts,
            ..Self::default()
        }
    }

    /// Decides after a failure at `now`. `random` lies in 0..1, from the one seed.
    pub fn on_failure(
        &mut self,
        strategy: &RestartStrategy,
        now: Duration,
        random: f64,
    ) -> RestartDecision {
        let decision = self.decide(strategy, now, random);
        if let RestartDecision::After(wait) = decision {
            self.decided = wait;
        }
        decision
    }

    /// The wait that was decided last.
    pub fn decided(&self) -> Duration {
        self.decided
    }

    fn decide(
        &mut self,
        strategy: &RestartStrategy,
        now: Duration,
        random: f64,
    ) -> RestartDecision {
        self.count += 1;
        match strategy {
            RestartStrategy::None => RestartDecision::GiveUp,
            RestartStrategy::FixedDelay { attempts, .. } if self.count > *attempts => {
                RestartDecision::GiveUp
            }
            RestartStrategy::FixedDelay { delay, .. } => RestartDecision::After(*delay),
            RestartStrategy::ExponentialDelay {
                initial,
                max,
                factor,
                jitter,
                reset_after,
            } => {
                let healthy = self
                    .failures
                    .back()
                    .is_none_or(|last| now.saturating_sub(*last) > *reset_after);
                let wait = if healthy {
                    *initial
                } else {
                    times(self.last_wait, *factor).min(*max)
                };
                self.last_wait = wait;
                self.failures.clear();
                self.failures.push_back(now);
                let spread = 1.0 + jitter * (2.0 * random - 1.0);
                RestartDecision::After(times(wait, spread.max(0.0)))
            }
            RestartStrategy::FailureRate {
                failures,
                interval,
                delay,
            } => {
                self.failures.push_back(now);
                while self
                    .failures
                    .front()
                    .is_some_and(|first| now.saturating_sub(*first) > *interval)
                {
                    self.failures.pop_front();
                }
                if self.failures.len() > *failures as usize {
                    RestartDecision::GiveUp
                } else {
                    RestartDecision::After(*delay)
                }
            }
        }
    }
}

/// A multiple of a wait; the longest there is if that is too long for one.
fn times(wait: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures at these seconds; the waits in milliseconds, `x` for giving up.
    fn waits(strategy: &RestartStrategy, failures: &[u64]) -> String {
        let mut state = RestartState::default();
        let words: Vec<String> = failures
            .iter()
            .map(
                |at| match state.on_failure(strategy, Duration::from_secs(*at), 0.5) {
                    RestartDecision::After(wait) => wait.as_millis().to_string(),
                    RestartDecision::GiveUp => "x".into(),
                },
            )
            .collect();
        words.join(" ")
    }

    #[test]
    fn waits_in_pictures() {
        let second = Duration::from_secs(1);
        let fixed = RestartStrategy::FixedDelay {
            attempts: 2,
            delay: second,
        };
        assert_eq!(waits(&RestartStrategy::None, &[1]), "x");
        assert_eq!(waits(&fixed, &[1, 2, 900]), "1000 1000 x");
        let rate = RestartStrategy::FailureRate {
            failures: 2,
            interval: second * 10,
            delay: second,
        };
        assert_eq!(waits(&rate, &[1, 2, 30, 31, 32]), "1000 1000 1000 1000 x");
        let exponential = RestartStrategy::ExponentialDelay {
            initial: second,
            max: second * 5,
            factor: 2.0,
            jitter: 0.1,
            reset_after: second * 60,
        };
        let expected = "1000 2000 4000 5000 1000";
        assert_eq!(waits(&exponential, &[1, 2, 3, 4, 100]), expected);
        let steep = RestartStrategy::ExponentialDelay {
            initial: second,
            max: second * 5,
            factor: f64::MAX,
            jitter: 0.0,
            reset_after: second * 60,
        };
        assert_eq!(waits(&steep, &[1, 2, 3]), "1000 5000 5000");
    }
}
