//! An election among the processes of one host, in a directory.
//!
//! ```text
//! <directory>/<term>        term as 20 digits; linked into place whole, by whoever leads in it. The newest counts.
//!     first 8 bytes         how often it was renewed; overwritten in place
//!     the rest              who leads, and where it is reached; framed, never changed
//! <directory>/new-<hash>    a candidate's next term, which isn't linked yet
//! ```
//!
//! - **A term is won by creating its file** (`link(2)`), so of any number of candidates one has it, and a process that
//!   dies between two steps may waste a term but never repeats one. File and directory are synced before anybody leads.
//! - **The leader holds an exclusive OS lock on its term's file**, from before the file can be seen until it resigns or
//!   dies. So who was killed is replaced at once. Others look by a *shared* lock on a file that nobody holds any more:
//!   looking never hinders anybody.
//! - **A stopped process keeps its lock.** So there is a lease too: who sees the count of renewals unchanged for as long,
//!   by its own clock, goes on to the next term. The lock on an old term's file means nothing; the log fences whoever
//!   holds it.
//! - **Only the winner of a term deletes**, and never its own file nor the one before. Who slept through that may find
//!   its term's file free again and create it; so it looks for a later term *afterwards*, and has lost if there is one.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Campaign, Candidate, Election, ElectionError, Leader, Renewal};
use crate::error::StorageError;
use crate::frame::Frame;
use crate::root::open_directory;

const LEADERSHIP: Frame = Frame {
    magic: *b"RVLD",
    kind: "leadership",
};

/// An election among processes of one host, over a directory that they share. A candidate of this process leads as long
/// as this value lives.
///
/// ```text
/// <directory>/<term>    term as 20 digits; who leads in it. The newest counts, if its file is locked.
/// ```
///
/// A leader that was killed is replaced as soon as another looks, one that was stopped after its lease.
///
/// ```
/// use rivus_state::{Campaign, Candidate, DirectoryElection, Election};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path();
/// # let candidate = |name: &str| Candidate {
/// #     name: name.into(),
/// #     address: format!("{name}.example:7000"),
/// #     commands: String::new(),
/// # };
/// let (lease, now) = (Duration::from_secs(10), Duration::ZERO);
/// let [one, another] = [DirectoryElection::open(path, lease)?, DirectoryElection::open(path, lease)?]; // processes
/// assert_eq!(one.campaign(&candidate("a"), now)?, Campaign::Leading { term: 1 });
/// assert!(matches!(another.campaign(&candidate("b"), now)?, Campaign::Following { .. }));
/// assert_eq!(another.leader()?.unwrap().candidate.address, "a.example:7000");
/// drop(one);
/// assert_eq!(another.campaign(&candidate("b"), now)?, Campaign::Leading { term: 2 });
/// # Ok::<(), rivus_state::ElectionError>(())
/// ```
#[derive(Debug)]
pub struct DirectoryElection {
    path: PathBuf,
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The candidates of this process that lead, or have not heard yet that they do no more.
    led: BTreeMap<String, Led>,
    /// The other leader, as it was when it last showed that it lives.
    seen: Option<Seen>,
    /// The greatest term that was heard of.
    heard_of: u64,
}

/// A term that was won; it is held as long as the file is open.
#[derive(Debug)]
struct Led {
    term: u64,
    file: File,
    renewals: u64,
}

#[derive(Debug)]
struct Seen {
    term: u64,
    renewals: u64,
    since: Duration,
}

/// What the newest term's file says.
struct Newest {
    leader: Leader,
    renewals: u64,
    /// Whether its leader has it locked: it is neither dead nor has it resigned.
    is_held: bool,
}

impl DirectoryElection {
    /// The election in this directory, which is created if need be, with leases that last this long. It must be on a
    /// file system of this host: over a network, locks are not what they seem.
    ///
    /// # Errors
    /// If the directory can't be created or isn't writable.
    pub fn open(path: impl AsRef<Path>, lease: Duration) -> Result<Self, ElectionError> {
        let election = Self {
            path: path.as_ref().to_owned(),
            lease,
            state: Mutex::default(),
        };
        election.doing("open the directory", open_directory(&election.path))?;
        Ok(election)
    }

    /// What a panic may leave half done is a term that was won and not told, which is as if it had been resigned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All terms that have a file, ascending.
    fn terms(&self) -> Result<Vec<u64>, ElectionError> {
        let read = || -> io::Result<Vec<u64>> {
            let mut terms = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                terms.extend(entry?.file_name().to_str().and_then(term_of));
            }
            terms.sort_unstable();
            Ok(terms)
        };
        self.doing("list the terms", read())
    }

    fn newest(&self) -> Result<Option<Newest>, ElectionError> {
        loop {
            let Some(term) = self.terms()?.pop() else {
                return Ok(None);
            };
            match File::open(self.file(term)) {
                Ok(file) => return self.read(term, file).map(Some),
                // Deleted by the winner of a later term.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return self.doing("read a term", Err(error)),
            }
        }
    }

    fn read(&self, term: u64, mut file: File) -> Result<Newest, ElectionError> {
        let name = self.file(term).display().to_string();
        let is_held = match file.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return self.doing("look at the lock", Err(error)),
        };
        let mut bytes = Vec::new();
        self.doing("read a term", file.read_to_end(&mut bytes))?;
        let mut bytes = Bytes::from(bytes);
        let damaged = |source| ElectionError::Damaged { source };
        let Some((renewals, _)) = bytes.split_first_chunk() else {
            return Err(damaged(StorageError::Length {
                name,
                expected: size_of::<u64>() as u64,
                actual: bytes.len() as u64,
            }));
        };
        let renewals = u64::from_le_bytes(*renewals);
        let framed = bytes.split_off(size_of::<u64>());
        let body = LEADERSHIP.decode(&name, &framed).map_err(damaged)?;
        let candidate = serde_json::from_slice(&body)
            .map_err(|source| damaged(StorageError::Content { name, source }))?;
        Ok(Newest {
            leader: Leader { term, candidate },
            renewals,
            is_held,
        })
    }

    /// Creates the term's file, unless another does or a later one is there.
    fn claim(&self, term: u64, candidate: &Candidate) -> Result<Option<File>, ElectionError> {
        let scratch = format!("new-{:08x}", crc32c::crc32c(candidate.name.as_bytes()));
        let scratch = self.path.join(scratch);
        // What is left of an earlier life may be a term's file by another name: it is not to be written to.
        self.doing("prepare a term", remove(&scratch))?;
        let prepared = self.prepare(&scratch, candidate);
        let mine = match prepared.and_then(|file| {
            fs::hard_link(&scratch, self.file(term))?;
            Ok(file)
        }) {
            Ok(file) => Some(file),
            // Another was faster, or campaigns by the same name.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            Err(error) if error.kind() == ErrorKind::NotFound && self.path.is_dir() => None,
            Err(error) => return self.doing("write a term", Err(error)),
        };
        self.doing("prepare a term", remove(&scratch))?;
        let synced = File::open(&self.path).and_then(|directory| directory.sync_all());
        self.doing("sync the terms", synced)?;
        let newest = self.terms()?.pop();
        Ok(mine.filter(|_| newest == Some(term)))
    }

    /// A term's file under a name that nobody looks for: complete, durable, and locked.
    fn prepare(&self, scratch: &Path, candidate: &Candidate) -> io::Result<File> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(scratch)?;
        file.try_lock()?;
        let body = serde_json::to_vec(candidate)?;
        file.write_all(&0_u64.to_le_bytes())?;
        file.write_all(&LEADERSHIP.encode(&[&body]))?;
        file.sync_all()?;
        Ok(file)
    }

    /// Deletes the files of old terms, all but the last before this one.
    fn forget_before(&self, term: u64) -> Result<(), ElectionError> {
        let mut old = self.terms()?;
        old.retain(|old| *old < term);
        old.pop();
        for old in old {
            self.doing("delete an old term", remove(&self.file(old)))?;
        }
        Ok(())
    }

    fn file(&self, term: u64) -> PathBuf {
        self.path.join(format!("{term:020}"))
    }

    fn doing<T>(&self, doing: &'static str, result: io::Result<T>) -> Result<T, ElectionError> {
        result.map_err(|source| ElectionError::Directory {
            doing,
            path: self.path.clone(),
            source,
        })
    }
}

impl State {
    /// When the leader's lease runs out, as far as can be seen from here.
    fn until(&mut self, newest: &Newest, lease: Duration, now: Duration) -> Duration {
        let (term, renewals) = (newest.leader.term, newest.renewals);
        let unchanged = |seen: &&Seen| (seen.term, seen.renewals) == (term, renewals);
        let since = self.seen.as_ref().filter(unchanged);
        let since = since.map_or(now, |seen| seen.since);
        self.seen = Some(Seen {
            term,
            renewals,
            since,
        });
        since + lease
    }
}

impl Election for DirectoryElection {
    fn campaign(&self, candidate: &Candidate, now: Duration) -> Result<Campaign, ElectionError> {
        let mut state = self.state();
        loop {
            let newest = self.newest()?;
            if let Some(newest) = &newest
                && newest.is_held
                && newest.leader.candidate.name != candidate.name
            {
                let until = state.until(newest, self.lease, now);
                if now < until {
                    let leader = newest.leader.clone();
                    return Ok(Campaign::Following { until, leader });
                }
            }
            state.led.remove(&candidate.name);
            let newest = newest.map_or(0, |newest| newest.leader.term);
            let term = newest.max(state.heard_of) + 1;
            if let Some(file) = self.claim(term, candidate)? {
                state.heard_of = term;
                let led = Led {
                    term,
                    file,
                    renewals: 0,
                };
                state.led.insert(candidate.name.clone(), led);
                if let Err(error) = self.forget_before(term) {
                    tracing::warn!(%error, "files of old terms are left");
                }
                return Ok(Campaign::Leading { term });
            }
        }
    }

    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError> {
        let mut state = self.state();
        let newest = self.newest()?;
        let newest_term = newest.as_ref().map_or(0, |newest| newest.leader.term);
        if let Some(led) = state.led.get_mut(candidate)
            && led.term == term
            && term == newest_term
        {
            led.renewals += 1;
            let renewals = led.renewals.to_le_bytes();
            let written = led
                .file
                .rewind()
                .and_then(|()| led.file.write_all(&renewals));
            self.doing("renew a term", written)?;
            let until = now + self.lease;
            return Ok(Renewal::Renewed { until });
        }
        let held = newest.filter(|newest| newest.is_held);
        Ok(Renewal::Lost {
            term: newest_term,
            leader: held.map(|newest| newest.leader.candidate.name),
        })
    }

    fn observe(&self, term: u64) {
        let mut state = self.state();
        state.heard_of = state.heard_of.max(term);
    }

    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError> {
        let mut state = self.state();
        if state.led.get(candidate).is_some_and(|led| led.term == term) {
            state.led.remove(candidate);
        }
        Ok(())
    }

    fn leader(&self) -> Result<Option<Leader>, ElectionError> {
        let held = self.newest()?.filter(|newest| newest.is_held);
        Ok(held.map(|newest| newest.leader))
    }
}

fn term_of(name: &str) -> Option<u64> {
    let term = name.parse().ok()?;
    (name == format!("{term:020}")).then_some(term)
}

/// Removes a file. That it isn't there is fine.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
