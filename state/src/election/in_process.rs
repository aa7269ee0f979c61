//! An election among the candidates of one process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Campaign, Candidate, Election, ElectionError, Leader, Renewal};

/// An election among the candidates of one process: for tests, simulation, and a job inside an application.
///
/// ```
/// use rivus_state::{Campaign, Candidate, Election, InProcessElection};
/// use std::time::Duration;
///
/// let election = InProcessElection::new(Duration::from_secs(10));
/// let [a, b] = ["a", "b"].map(|name| Candidate {
///     name: name.into(),
///     address: format!("{name}.example:7000"),
///     commands: format!("{name}.example:7878"),
/// });
/// let at = Duration::from_secs;
/// assert_eq!(election.campaign(&a, at(0))?, Campaign::Leading { term: 1 });
/// assert!(matches!(election.campaign(&b, at(3))?, Campaign::Following { until, leader } if
///     until == at(10) && leader.candidate.address == "a.example:7000"));
/// election.resign("a", 1)?;
/// assert_eq!(election.campaign(&b, at(4))?, Campaign::Leading { term: 2 });
/// assert_eq!(election.leader()?.unwrap().candidate, b);
/// # Ok::<(), rivus_state::ElectionError>(())
/// ```
#[derive(Debug)]
pub struct InProcessElection {
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The greatest that was ever won or heard of.
    term: u64,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    leader: Leader,
    until: Duration,
}

impl Holder {
    fn is(&self, candidate: &str, term: u64) -> bool {
        self.leader.candidate.name == candidate && self.leader.term == term
    }
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
    fn campaign(&self, candidate: &Candidate, now: Duration) -> Result<Campaign, ElectionError> {
        let mut state = self.state();
        if let Some(holder) = &state.holder
            && holder.leader.candidate.name != candidate.name
            && now < holder.until
        {
            return Ok(Campaign::Following {
                until: holder.until,
                leader: holder.leader.clone(),
            });
        }
        state.term += 1;
        let term = state.term;
        let candidate = candidate.clone();
        state.holder = Some(Holder {
            leader: Leader { term, candidate },
            until: now + self.lease,
        });
        Ok(Campaign::Leading { term })
    }

    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError> {
        let mut state = self.state();
        let newest = state.term;
        Ok(match &mut state.holder {
            Some(holder) if holder.is(candidate, term) => {
                holder.until = holder.until.max(now + self.lease);
                Renewal::Renewed {
                    until: holder.until,
                }
            }
            holder => Renewal::Lost {
                term: newest,
                leader: holder
                    .as_ref()
                    .map(|holder| holder.leader.candidate.name.clone()),
            },
        })
    }

    fn observe(&self, term: u64) {
        let mut state = self.state();
        state.term = state.term.max(term);
    }

    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError> {
        let mut state = self.state();
        state.holder.take_if(|holder| holder.is(candidate, term));
        Ok(())
    }

    fn leader(&self) -> Result<Option<Leader>, ElectionError> {
        let state = self.state();
        Ok(state.holder.as_ref().map(|holder| holder.leader.clone()))
    }
}
