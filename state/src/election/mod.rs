//! Who tries to lead, and where it is found.
//!
//! An election is advice. It hands out a lease and a term, so that usually one candidate works and the others wait;
//! but clocks drift and processes pause, so two may believe they lead. **The log fences; leases only decide who
//! tries**: whatever a leader decides is true only as an entry of the [`JobLog`](crate::JobLog), and there the older
//! one loses at its next write.
//!
//! | election | candidates | a killed leader is replaced | a stopped one |
//! |---|---|---|---|
//! | [`InProcessElection`] | of one process | after its lease | after its lease |
//! | [`DirectoryElection`] | processes of one host | at once: its OS lock is gone | after its lease |
//! | `EtcdElection` | anywhere | after its lease | after its lease |

mod directory;
#[cfg(feature = "etcd")]
mod etcd;
mod in_process;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::StorageError;
#[cfg(feature = "etcd")]
use crate::etcd::EtcdError;

pub use directory::DirectoryElection;
#[cfg(feature = "etcd")]
pub use etcd::EtcdElection;
pub use in_process::InProcessElection;

/// Who contends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// A name that no other candidate has. Who campaigns under the leader's own name takes its place.
    pub name: String,
    /// Where TaskManagers of other processes reach it if it wins; empty where none can.
    pub address: String,
    /// Where it answers commands if it wins; empty where it answers none.
    pub commands: String,
}

/// Who leads, as far as the election knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leader {
    /// Its term.
    pub term: u64,
    /// Who it is, and where it is reached.
    pub candidate: Candidate,
}

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
        /// When its lease runs out if it isn't renewed; campaigning earlier is in vain unless it resigns or dies.
        until: Duration,
        /// Who.
        leader: Leader,
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
        /// Who leads in it; `None` if nobody does.
        leader: Option<String>,
    },
}

/// The election's own store failed; nobody knows more about who leads than before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElectionError {
    /// The directory can't be used for it.
    #[error(
        "could not {doing} of the election in {path:?}: it must be a directory of this host, writable for this user"
    )]
    Directory {
        /// What we were doing.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// What is there of a leader isn't what was written.
    #[error("nobody can be elected: delete what is damaged, while no process runs")]
    Damaged {
        /// What, and how.
        #[source]
        source: StorageError,
    },
    /// The etcd cluster refused or failed.
    #[cfg(feature = "etcd")]
    #[error("{who} could not reach the leader election")]
    Etcd {
        /// Who asked.
        who: String,
        /// What went wrong.
        #[source]
        source: EtcdError,
    },
}

/// A leader election by leases. `now` is the one monotonic clock of the caller's process, handed in; no two processes'
/// clocks are ever compared.
///
/// - Terms grow strictly: each campaign that is won gets a greater one.
/// - A lease that ran out does not end a leadership; the next candidate's campaign does. Until then it can be renewed.
/// - A campaign of the leader's own name wins at once, with a new term: the process was restarted, and what is left of
///   its earlier life can renew no more.
pub trait Election: Send + Sync {
    /// Tries to become the leader. Whoever wins can be found by its address from that moment on.
    fn campaign(&self, candidate: &Candidate, now: Duration) -> Result<Campaign, ElectionError>;

    /// Prolongs the lease, if the candidate still leads in this very term.
    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError>;

    /// A log holds a later term than the leader's, as after an election's store was lost: terms that are won from here
    /// go on above it.
    fn observe(&self, term: u64) {
        let _ = term;
    }

    /// Gives the lease up, so that the next need not wait. Does nothing for who doesn't lead in this term.
    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError>;

    /// The end of a process whose candidates' names begin like this: what one of them leads is given up, so that the next
    /// process need not wait. What others lead stays theirs.
    fn leave(&self, process: &str) -> Result<(), ElectionError> {
        match self.leader()? {
            Some(Leader { term, candidate }) if candidate.name.starts_with(process) => {
                self.resign(&candidate.name, term)
            }
            _ => Ok(()),
        }
    }

    /// Who leads, for those who look for it without contending. It may be gone by now, or its lease have run out.
    fn leader(&self) -> Result<Option<Leader>, ElectionError>;
}
