//! Who tries to lead.
//!
//! An election is advice. It hands out a lease and a term, so that usually one candidate works and the others wait;
//! but clocks drift and processes pause, so two may believe they lead. **The log fences; leases only decide who
//! tries**: whatever a leader decides is true only as an entry of the [`JobLog`](crate::JobLog), and there the older
//! one loses at its next write.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::StorageError;

/// What a campaign came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Campaign {
    /// The candidate leads, until its lease runs out unrenewed.
    Leading {
        /// Greater than every term before.
        term: u64,
    },
    /// Another leads.
    Following {
        /// When its lease runs out if it isn't renewed; campaigning earlier is in vain unless it resigns.
        until: Duration,
        /// Who.
        leader: String,
    },
}

/// What a renewal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// The candidate still leads.
    Renewed {
        /// When the lease now runs out.
        until: Duration,
    },
    /// It no longer leads, and must end itself.
    Lost {
        /// The newest term there was.
        term: u64,
        /// Who leads in it; `None` if it resigned.
        leader: Option<String>,
    },
}

/// The election's own store failed; nobody knows more about who leads than before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElectionError {
    /// The store of leases could not be read or written.
    #[error("{candidate} could not reach the leader election")]
    Store {
        /// Who asked.
        candidate: String,
        /// What went wrong.
        #[source]
        source: StorageError,
    },
}

/// A leader election by leases. `now` is the one monotonic clock, handed in.
///
/// - Terms grow strictly: each campaign that is won gets a greater one.
/// - A lease that ran out does not end a leadership; the next candidate's campaign does. Until then it can be renewed.
/// - A campaign of the leader's own name wins at once, with a new term: the process was restarted, and what is left of
///   its earlier life can renew no more.
pub trait Election: Send + Sync {
    /// Tries to become the leader.
    fn campaign(&self, candidate: &str, now: Duration) -> Result<Campaign, ElectionError>;

    /// Prolongs the lease, if the candidate still leads in this very term.
    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError>;

    /// A log holds a later term than the leader's, as after a clock was set back: terms go on above it.
    fn observe(&self, term: u64) {
        let _ = term;
    }

    /// Gives the lease up, so that the next need not wait. Does nothing for who doesn't lead in this term.
    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError>;
}

/// An election among the candidates of one process: for tests, simulation, and a job inside an application.
///
/// ```
/// use rivus_state::{Campaign, Election, InProcessElection};
/// use std::time::Duration;
///
/// let election = InProcessElection::new(Duration::from_secs(10));
/// let at = Duration::from_secs;
/// assert_eq!(election.campaign("a", at(0))?, Campaign::Leading { term: 1 });
/// assert_eq!(
///     election.campaign("b", at(3))?,
///     Campaign::Following { until: at(10), leader: "a".into() }
/// );
/// election.resign("a", 1)?;
/// assert_eq!(election.campaign("b", at(4))?, Campaign::Leading { term: 2 });
/// # Ok::<(), rivus_state::ElectionError>(())
/// ```
#[derive(Debug)]
pub struct InProcessElection {
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    term: u64,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    name: String,
    until: Duration,
}

impl InProcessElection {
    /// An election nobody has won yet, whose leases last this long.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            state: Mutex::default(),
        }
    }

    /// The same, but every term is greater than `term`. An election that forgets with its process must begin behind
    /// the terms of the process before it, or the logs take its leaders for old ones.
    #[must_use]
    pub fn after_term(self, term: u64) -> Self {
        self.state().term = term;
        self
    }

    /// Each change is a few plain assignments, so a poisoned lock holds nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Election for InProcessElection {
    fn campaign(&self, candidate: &str, now: Duration) -> Result<Campaign, ElectionError> {
        let mut state = self.state();
        if let Some(holder) = &state.holder
            && holder.name != candidate
            && now < holder.until
        {
            return Ok(Campaign::Following {
                until: holder.until,
                leader: holder.name.clone(),
            });
        }
        state.term += 1;
        state.holder = Some(Holder {
            name: candidate.to_owned(),
            until: now + self.lease,
        });
        Ok(Campaign::Leading { term: state.term })
    }

    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError> {
        let mut state = self.state();
        let newest = state.term;
        Ok(match &mut state.holder {
            Some(holder) if holder.name == candidate && newest == term => {
                holder.until = holder.until.max(now + self.lease);
                Renewal::Renewed {
                    until: holder.until,
                }
            }
            holder => Renewal::Lost {
                term: newest,
                leader: holder.as_ref().map(|holder| holder.name.clone()),
            },
        })
    }

    fn observe(&self, term: u64) {
        let mut state = self.state();
        state.term = state.term.max(term);
    }

    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError> {
        let mut state = self.state();
        if state.term == term {
            state.holder.take_if(|holder| holder.name == candidate);
        }
        Ok(())
    }
}
