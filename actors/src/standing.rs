//! Whether a process leads, for whoever wants to ask it something.

use tokio::sync::watch;

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It doesn't lead. Another process may.
    By,
    /// It leads, and still looks which jobs there are.
    Looking {
        /// Its term.
        term: u64,
    },
    /// It leads, and all jobs are in its views.
    Leading {
        /// Its term.
        term: u64,
    },
}

/// Where this process stands, as it changes.
pub struct Stand(watch::Sender<Standing>);

impl Default for Stand {
    fn default() -> Self {
        Self(watch::Sender::new(Standing::By))
    }
}

impl Stand {
    /// Watches where it stands.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    /// A leader begins here.
    pub(crate) fn begins(&self, term: u64) {
        self.0.send_replace(Standing::Looking { term });
    }

    /// The leader of a term has looked at all jobs in the storage. If that was another's term, nothing follows from it.
    pub(crate) fn knows_all(&self, term: u64) {
        self.0.send_if_modified(|now| {
            let is_so = *now == Standing::Looking { term };
            if is_so {
                *now = Standing::Leading { term };
            }
            is_so
        });
    }

    /// Nobody leads here any more.
    pub(crate) fn steps_down(&self) {
        self.0.send_replace(Standing::By);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_leader_has_seen_says_nothing_of_the_next() {
        let stand = Stand::default();
        let now = stand.watch();
        stand.begins(1);
        stand.steps_down();
        stand.knows_all(1);
        assert_eq!(*now.borrow(), Standing::By);
        stand.begins(2);
        stand.knows_all(1);
        assert_eq!(*now.borrow(), Standing::Looking { term: 2 });
        stand.knows_all(2);
        assert_eq!(*now.borrow(), Standing::Leading { term: 2 });
    }
}
