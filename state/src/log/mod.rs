//! The write-once log of a job: the only place where anything becomes durably true.
//!
//! ```text
//! jobs/<job>/log/<k>         k as 20 digits, dense      created if absent, never overwritten
//! jobs/<job>/snapshot/<k>    folds all entries before k  created if absent, never overwritten
//! jobs/<job>/running#0       in a directory: locked by who runs the job (`claim_job`)
//! probe/<nonce>              see `probe`; deleted at once
//!
//! jobs/<job>/large-log/<k>-<nonce>        in another storage, if the log's own takes small values only: a payload,
//! jobs/<job>/large-snapshot/<k>-<nonce>   named by its record with its checksum
//! ```
//!
//! - **One writer per slot.** Each writer puts a nonce in. Whoever finds a slot taken reads it: its own nonce and payload
//!   mean that an earlier put, reported as failed, succeeded; anything else means that another leads, and it steps down.
//! - **Deleting** is for [`truncate_before`](JobLog::truncate_before), by the leader: entries that the newest
//!   snapshot covers, and all snapshots but the newest two. It writes nothing, so a stale leader may do it as well. And for
//!   [`delete`](JobLog::delete), when a job is over and need not be known any more: what says so goes last, so that nothing
//!   that is left of an interrupted one is a job that runs.
//! - **A freed slot must not be won.** A leader that slept through a truncation finds its next slot empty and creates it;
//!   so `append` looks for a snapshot beyond the slot *afterwards*, and if there is one it has lost. That is sound,
//!   because the snapshot was there before the slot was freed. (The second newest is kept so that a listing that runs
//!   while snapshots come and go can't miss both.) Such a stray entry lies before the newest snapshot, where nobody
//!   reads; the next truncation removes it.
//! - **What is large goes first**, under a name that only its writer has, and its record names it. So a record never lacks
//!   its payload; a payload without a record is removed by the truncation that passes its slot.

mod records;

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use rivus_core::JobId;
use uuid::Uuid;

use self::records::{Large, Records, name};
use crate::error::StorageError;
use crate::objects::{Created, ObjectStorage};

/// The logs of all jobs in one storage. See the layout and its rules in the table below.
///
/// ```text
/// jobs/<job>/log/<k>         k as 20 digits, dense       created if absent, never overwritten
/// jobs/<job>/snapshot/<k>    folds all entries before k  created if absent, never overwritten
/// ```
///
/// [`truncate_before`](Self::truncate_before) deletes what the newest snapshot covers, [`delete`](Self::delete) all of a job.
///
/// ```
/// use rivus_state::{Append, JobLog, ObjectStorage};
///
/// let log = JobLog::new(ObjectStorage::in_memory());
/// # let job = rivus_core::JobId(uuid::Uuid::from_u128(7));
/// let (ours, theirs) = (1, 2); // each leader's nonce
/// assert_eq!(log.append(job, 0, ours, b"Leader(1)")?, Append::Written);
/// assert!(matches!(log.append(job, 0, theirs, b"Leader(1)")?, Append::Lost { by } if by.nonce == ours));
/// # Ok::<(), rivus_state::StorageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct JobLog {
    records: Records,
}

/// What an append came to. An *error* means that nobody knows: append the same again, or end yourself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Append {
    /// The slot holds this very record, durably.
    Written,
    /// The slot went to another, so another leads: step down.
    Lost {
        /// What is in the slot, or the newest snapshot if the slot was already folded into it.
        by: LogRecord,
    },
}

/// One durable record of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Entry or snapshot.
    pub kind: RecordKind,
    /// An entry's slot; for a snapshot, the first slot it does not cover.
    pub index: u64,
    /// Of the leader that wrote it.
    pub nonce: u128,
    /// As handed in.
    pub payload: Bytes,
}

/// What a [`LogRecord`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// One entry.
    Entry,
    /// The fold of all entries before its index.
    Snapshot,
}

/// A job's whole log: replay the snapshot, then the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogContents {
    /// The newest snapshot.
    pub snapshot: Option<LogRecord>,
    /// The entries from the snapshot's index on (or from 0), dense.
    pub entries: Vec<LogRecord>,
}

impl LogContents {
    /// The first free slot, as far as known: where to append next.
    pub fn next_index(&self) -> u64 {
        let start = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        start + self.entries.len() as u64
    }
}

impl JobLog {
    /// The logs in this storage. Call [`probe`](Self::probe) once before you rely on a store.
    pub fn new(objects: ObjectStorage) -> Self {
        let large = None;
        Self {
            records: Records { objects, large },
        }
    }

    /// The same, but payloads of more than `over` bytes lie in another storage, where checkpoints are. For a store that
    /// takes small values only, such as etcd.
    #[must_use]
    pub fn with_large(mut self, objects: ObjectStorage, over: usize) -> Self {
        self.records.large = Some(Large { objects, over });
        self
    }

    /// Makes sure that the store honours create-if-absent, with a nonce never used before.
    ///
    /// # Errors
    /// [`StorageError::NotWriteOnce`] if a second create won, or if the store doesn't know the operation.
    pub fn probe(&self, nonce: u128) -> Result<(), StorageError> {
        let name = format!("probe/{}", Uuid::from_u128(nonce).simple());
        let honoured = match self.second_create_loses(&name) {
            Err(StorageError::Store { error, .. }) if is_unsupported(&error) => false,
            other => other?,
        };
        if honoured {
            return Ok(());
        }
        Err(StorageError::NotWriteOnce {
            store: self.records.objects.to_string(),
            name,
        })
    }

    fn second_create_loses(&self, name: &str) -> Result<bool, StorageError> {
        let first = Bytes::from_static(b"first");
        let objects = &self.records.objects;
        let won = objects.create(name, first.clone())?;
        let lost = objects.create(name, Bytes::from_static(b"second"))?;
        let found = objects.get(name)?;
        objects.delete(name)?;
        Ok(won == Created::Created && lost == Created::AlreadyExists && found == Some(first))
    }

    /// Writes the record into the slot, if the slot is free and was never used.
    ///
    /// # Errors
    /// Anything but damage leaves open whether the slot was won; appending the same again finds out.
    pub fn append(
        &self,
        job: JobId,
        index: u64,
        nonce: u128,
        payload: &[u8],
    ) -> Result<Append, StorageError> {
        let claim = self.claim(job, RecordKind::Entry, index, nonce, payload);
        if matches!(claim, Ok(Append::Lost { .. })) {
            return claim;
        }
        if self.newest_floor(job)?.is_some_and(|floor| floor > index)
            && let Some(by) = self.newest_snapshot(job)?
        {
            return Ok(Append::Lost { by });
        }
        claim
    }

    /// Writes the fold of all entries before `upto`, and only those. [`Append::Lost`] means that another such fold is
    /// there already; that is as good, for both fold the same entries.
    ///
    /// # Errors
    /// [`StorageError::Compaction`] if it would cover a slot that nobody wrote.
    pub fn write_snapshot(
        &self,
        job: JobId,
        upto: u64,
        nonce: u128,
        payload: &[u8],
    ) -> Result<Append, StorageError> {
        if let Some(last) = upto.checked_sub(1)
            && self.newest_floor(job)?.is_none_or(|floor| floor < upto)
            && self.records.read(job, RecordKind::Entry, last)?.is_none()
        {
            return Err(StorageError::Compaction {
                job,
                upto,
                doing: "write a snapshot of all entries",
                reason: "the last of them was never written",
            });
        }
        self.claim(job, RecordKind::Snapshot, upto, nonce, payload)
    }

    /// Deletes the entries before `upto`, and all snapshots but the newest two. May be repeated.
    ///
    /// # Errors
    /// [`StorageError::Compaction`] if no snapshot covers them all.
    pub fn truncate_before(&self, job: JobId, upto: u64) -> Result<(), StorageError> {
        let snapshots = self.records.indexes(job, RecordKind::Snapshot)?;
        if snapshots.last().copied().unwrap_or(0) < upto {
            return Err(StorageError::Compaction {
                job,
                upto,
                doing: "delete the entries",
                reason: "no snapshot covers them all",
            });
        }
        for index in self.records.indexes(job, RecordKind::Entry)? {
            if index < upto {
                self.records.delete(job, RecordKind::Entry, index)?;
            }
        }
        let kept = snapshots.len().saturating_sub(2);
        for old in &snapshots[..kept] {
            self.records.delete(job, RecordKind::Snapshot, *old)?;
        }
        let oldest = snapshots.get(kept).copied().unwrap_or(0);
        self.records.delete_large(job, upto, oldest)
    }

    /// Deletes all of a job's log; the job must be over. Its id is as good as new then. May be repeated.
    ///
    /// # Errors
    /// The store's own.
    pub fn delete(&self, job: JobId) -> Result<(), StorageError> {
        let entries = self.records.indexes(job, RecordKind::Entry)?;
        let snapshots = self.records.indexes(job, RecordKind::Snapshot)?;
        let entries = (RecordKind::Entry, entries);
        let snapshots = (RecordKind::Snapshot, snapshots);
        // What says that the job is over goes last: without that it would run again.
        let order = match snapshots.1.last() > entries.1.last() {
            true => [entries, snapshots],
            false => [snapshots, entries],
        };
        for (kind, indexes) in order {
            for index in indexes {
                self.records.delete(job, kind, index)?;
            }
        }
        self.records.delete_large(job, u64::MAX, u64::MAX)
    }

    /// Reads all of a job's log: the newest snapshot and what follows it. Empty for an unknown job.
    ///
    /// # Errors
    /// Names the entry that is missing or damaged.
    pub fn read_all(&self, job: JobId) -> Result<LogContents, StorageError> {
        let mut snapshot = self.newest_snapshot(job)?;
        loop {
            let start = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
            let entries = self.entries(job, start);
            // The leader may have compacted the log while we read: what we looked for was gone, or another has written where it was.
            if self.newest_floor(job)?.is_none_or(|floor| floor <= start) {
                return entries.map(|entries| LogContents { snapshot, entries });
            }
            snapshot = self.newest_snapshot(job)?;
        }
    }

    /// Reads the entries from `index` on, dense, to the end. Empty if there are none yet.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if that entry was folded into a snapshot and is gone; else names the entry that is
    /// missing or damaged.
    pub fn read_from(&self, job: JobId, index: u64) -> Result<Vec<LogRecord>, StorageError> {
        let read = self.entries(job, index);
        let incomplete = match &read {
            Ok(entries) => entries.is_empty(),
            Err(error) => matches!(error, StorageError::Gap { .. }),
        };
        if incomplete && let Some(upto) = self.newest_floor(job)?.filter(|upto| *upto > index) {
            return Err(StorageError::Compacted { job, index, upto });
        }
        read
    }

    /// All jobs that have a log, running and ended.
    pub fn jobs(&self) -> Result<Vec<JobId>, StorageError> {
        let mut jobs = Vec::new();
        for job in self.folders()? {
            if !self.records.indexes(job, RecordKind::Entry)?.is_empty()
                || !self.records.indexes(job, RecordKind::Snapshot)?.is_empty()
            {
                jobs.push(job);
            }
        }
        Ok(jobs)
    }

    /// The jobs that have anything here.
    pub(crate) fn folders(&self) -> Result<Vec<JobId>, StorageError> {
        let folders = self.records.objects.folders("jobs")?;
        let ids = folders
            .iter()
            .filter_map(|folder| Uuid::try_parse(folder).ok()); // others are not ours
        Ok(ids.map(JobId).collect())
    }

    /// Where a job's log lies, if that is a directory.
    pub(crate) fn folder_on_disk(&self, job: JobId) -> Option<PathBuf> {
        self.records.objects.on_disk(&format!("jobs/{job}"))
    }

    pub(crate) fn check_root(&self) -> Result<(), StorageError> {
        self.records.objects.check_root()
    }

    /// Creates the object, or finds out who did. An error of the create is doubtful: the object itself is asked.
    fn claim(
        &self,
        job: JobId,
        kind: RecordKind,
        index: u64,
        nonce: u128,
        payload: &[u8],
    ) -> Result<Append, StorageError> {
        let doubt = match self.records.create(job, kind, index, nonce, payload) {
            Ok(Created::Created) => return Ok(Append::Written),
            Ok(Created::AlreadyExists) => StorageError::Missing {
                name: name(job, kind, index),
            },
            Err(error) => error,
        };
        match self.records.read(job, kind, index) {
            Ok(Some(found)) if found.nonce == nonce && found.payload == payload => {
                Ok(Append::Written)
            }
            Ok(Some(by)) => Ok(Append::Lost { by }),
            Err(damage) if damage.is_damage() => Err(damage),
            Ok(None) | Err(_) => Err(doubt),
        }
    }

    fn entries(&self, job: JobId, from: u64) -> Result<Vec<LogRecord>, StorageError> {
        let last = self
            .records
            .indexes(job, RecordKind::Entry)?
            .last()
            .copied();
        let mut entries = Vec::new();
        // Not the listing decides what is there: it may miss an entry that was written while it ran.
        for index in from.. {
            match self.records.read(job, RecordKind::Entry, index)? {
                Some(entry) => entries.push(entry),
                None if last.is_some_and(|last| index <= last) => {
                    let name = name(job, RecordKind::Entry, index);
                    return Err(StorageError::Gap { job, name });
                }
                None => break,
            }
        }
        Ok(entries)
    }

    fn newest_floor(&self, job: JobId) -> Result<Option<u64>, StorageError> {
        Ok(self
            .records
            .indexes(job, RecordKind::Snapshot)?
            .last()
            .copied())
    }

    fn newest_snapshot(&self, job: JobId) -> Result<Option<LogRecord>, StorageError> {
        let mut floor = self.newest_floor(job)?;
        loop {
            let Some(upto) = floor else { return Ok(None) };
            if let Some(snapshot) = self.records.read(job, RecordKind::Snapshot, upto)? {
                return Ok(Some(snapshot));
            }
            // Deleted since it was listed, so two newer ones must be there by now; or none, if the job's log goes.
            floor = self.newest_floor(job)?;
            if floor.is_some_and(|newer| newer <= upto) {
                return Err(StorageError::Missing {
                    name: name(job, RecordKind::Snapshot, upto),
                });
            }
        }
    }
}

impl fmt::Display for JobLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.objects.fmt(f)
    }
}

fn is_unsupported(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }
    )
}
