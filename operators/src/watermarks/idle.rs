//! The clock of idleness.

use rivus_core::Timestamp;

/// Measures how long a stream has been quiet while it could have had records.
#[derive(Debug)]
pub(crate) struct IdleClock {
    timeout: i64,
    /// When the stream will have been quiet for too long; none before the clock is started and once it
    /// has rung.
    deadline: Option<Timestamp>,
    /// Since when it stands still.
    stopped: Option<Timestamp>,
    /// Whether the stream has been said to be idle.
    idle: bool,
}

impl IdleClock {
    pub(crate) fn new(timeout: i64) -> Self {
        Self {
            timeout: timeout.max(1),
            deadline: None,
            stopped: None,
            idle: false,
        }
    }

    /// A record came.
    pub(crate) fn active(&mut self, now: Timestamp) {
        self.idle = false;
        self.stopped = None;
        self.deadline = Some(now.saturating_add(self.timeout));
    }

    /// Starts the clock if it never was, nor has rung.
    pub(crate) fn start(&mut self, now: Timestamp) {
        if self.deadline.is_none() && !self.idle {
            self.deadline = Some(now.saturating_add(self.timeout));
        }
    }

    /// The clock stands still from now on.
    pub(crate) fn stop(&mut self, now: Timestamp) {
        self.stopped.get_or_insert(now);
    }

    /// The clock goes on.
    pub(crate) fn go_on(&mut self, now: Timestamp) {
        if let (Some(since), Some(deadline)) = (self.stopped.take(), &mut self.deadline) {
            *deadline = deadline.saturating_add(now.saturating_sub(since).max(0));
        }
    }

    /// Whether the stream has been said to be idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }

    /// When to look again.
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        match self.stopped {
            None => self.deadline,
            Some(_) => None,
        }
    }

    /// Whether the stream has just become idle. Says so once.
    pub(crate) fn ring(&mut self, now: Timestamp) -> bool {
        let due = self.wake().is_some_and(|deadline| deadline <= now);
        if due {
            self.idle = true;
            self.deadline = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_no_record_could_come_does_not_count() {
        let mut clock = IdleClock::new(100);
        clock.active(0);
        clock.stop(60);
        assert!(!clock.ring(500), "it stands still");
        clock.go_on(1_000);
        assert_eq!(clock.wake(), Some(1_040));
        assert!(!clock.ring(1_039));
        assert!(clock.ring(1_040));
        assert!(!clock.ring(2_000), "said once");
        clock.start(2_000);
        assert_eq!(clock.wake(), None, "still idle");
        clock.active(3_000);
        assert!(clock.ring(3_100));
    }
}
