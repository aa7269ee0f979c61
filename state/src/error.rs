//! What can go wrong with durable objects, each in one line that names the object.

use std::io;
use std::path::PathBuf;

use rivus_core::{CheckpointId, CodecError, Failure, JobId};

#[cfg(feature = "etcd")]
use crate::etcd::EtcdError;
use crate::faults::StorageOp;

/// What went wrong, with which object, and while doing what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directory can't be created or written.
    #[error("cannot use {} as storage: {}", path.display(), directory_mend(source))]
    OpenDirectory {
        /// The directory as configured.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The directory isn't there any more, or another one has its name. What was to be done was not.
    #[error(
        "the storage {} has vanished (it was deleted, or its mount fell away) and is not made anew: bring it back, or stop all processes",
        path.display()
    )]
    Vanished {
        /// The directory.
        path: PathBuf,
    },
    /// A job's lock can't be taken or made.
    #[error("could not lock {path:?}: make it writable for this user")]
    Claim {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The bucket can't be used.
    #[error(
        "cannot use the bucket {bucket:?} as storage: correct its name, region, endpoint or credentials"
    )]
    Bucket {
        /// The bucket as configured.
        bucket: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name is no object name (empty segment, `..`).
    #[error("{name:?} is not a valid object name")]
    Name {
        /// The name.
        name: String,
        /// Which rule it breaks.
        #[source]
        source: object_store::path::Error,
    },
    /// The store refused or failed. After a write, nobody knows whether it happened.
    #[error("could not {op} {name:?} in {store}: {}", one_line(error))]
    Store {
        /// What we were doing.
        op: StorageOp,
        /// The object.
        name: String,
        /// The store, as it describes itself.
        store: String,
        /// What it said, with all causes: it repeats them in what it says.
        error: Box<object_store::Error>,
    },
    /// The same of etcd.
    #[cfg(feature = "etcd")]
    #[error("could not {op} {name:?}")]
    Etcd {
        /// What we were doing.
        op: StorageOp,
        /// The object.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<EtcdError>,
    },
    /// No thread could be started to reach the store.
    #[error("could not {op} {name:?}: no thread for it could be started")]
    Thread {
        /// What we were doing.
        op: StorageOp,
        /// The object.
        name: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A test made the operation fail.
    #[error("could not {op} {name:?}: a fault was injected")]
    Injected {
        /// What we were doing.
        op: StorageOp,
        /// The object.
        name: String,
    },
    /// The file that it was to be a link to can't be read.
    #[error("{name:?} was not published: {} can't be read", file.display())]
    LinkedFile {
        /// The object.
        name: String,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// An earlier write of this object failed, so it can't be finished.
    #[error("{name:?} was not published: an earlier part of it could not be written")]
    Unfinished {
        /// The object.
        name: String,
    },
    /// The object isn't there.
    #[error("{name:?} is missing")]
    Missing {
        /// The object.
        name: String,
    },
    /// The object is shorter or longer than it says of itself, or than its handle says.
    #[error("{name:?} is {}: {actual} bytes instead of {expected}", if actual < expected { "truncated" } else { "too long" })]
    Length {
        /// The object.
        name: String,
        /// How long it must be (at least, when not even its header is complete).
        expected: u64,
        /// How long it is.
        actual: u64,
    },
    /// The object's bytes are not those that were written.
    #[error("{name:?} is damaged: checksum {actual:#010x} instead of {expected:#010x}")]
    Checksum {
        /// The object.
        name: String,
        /// The crc32c it was written with.
        expected: u32,
        /// The crc32c of what is there.
        actual: u32,
    },
    /// The object is of another kind, or damaged at its very start.
    #[error("{name:?} is not a {kind}: its first bytes are {found:?}")]
    Kind {
        /// The object.
        name: String,
        /// What it should be.
        kind: &'static str,
        /// Its first four bytes.
        found: [u8; 4],
    },
    /// The object was written by a version of Rivus this one can't read.
    #[error(
        "{name:?} has format version {found}, this build reads {supported}: use a newer build of Rivus"
    )]
    Version {
        /// The object.
        name: String,
        /// Its version.
        found: u16,
        /// The newest version known here.
        supported: u16,
    },
    /// The object is whole, but doesn't say what it should.
    #[error("{name:?} can't be understood")]
    Content {
        /// The object.
        name: String,
        /// What doesn't fit.
        #[source]
        source: serde_json::Error,
    },
    /// A snapshot's bytes are not those that were written, or are those of another version.
    #[error("{name:?} can't be read")]
    Snapshot {
        /// The object.
        name: String,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// Another manifest of this checkpoint is there, with other content. It was left untouched.
    #[error("checkpoint {checkpoint} of job {job} already has another manifest, {name:?}")]
    ManifestExists {
        /// The job.
        job: JobId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The manifest that is there.
        name: String,
    },
    /// A manifest is whole, and still not one.
    #[error(
        "the manifest of checkpoint {checkpoint} of job {job} can't be read: it was written by another version of Rivus"
    )]
    ManifestUnreadable {
        /// The job.
        job: JobId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// An entry is missing although later ones are there.
    #[error("the log of job {job} has a gap: {name:?} is missing, but later entries are there")]
    Gap {
        /// The job.
        job: JobId,
        /// The missing entry.
        name: String,
    },
    /// The entries asked for were folded into a snapshot.
    #[error(
        "the log of job {job} no longer holds entry {index}: read from its snapshot, which covers all before {upto}"
    )]
    Compacted {
        /// The job.
        job: JobId,
        /// The entry asked for.
        index: u64,
        /// The first entry that the newest snapshot does not cover.
        upto: u64,
    },
    /// The snapshot would cover, or the truncation delete, entries it must not.
    #[error("refused to {doing} before entry {upto} of job {job}: {reason}")]
    Compaction {
        /// The job.
        job: JobId,
        /// Up to which entry, exclusive.
        upto: u64,
        /// What was asked for.
        doing: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The store doesn't honour create-if-absent, so the job log can't rest on it.
    #[error(
        "{store} does not honour create-if-absent (a second create of {name:?} was not refused), so it cannot hold a job log: choose another store"
    )]
    NotWriteOnce {
        /// The store, as it describes itself.
        store: String,
        /// The object that was to be created twice.
        name: String,
    },
}

impl StorageError {
    /// Whether the object itself is wrong (truncated, damaged, foreign), so that asking again won't help.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Length { .. }
                | Self::Checksum { .. }
                | Self::Kind { .. }
                | Self::Version { .. }
                | Self::Content { .. }
                | Self::Snapshot { .. }
        )
    }

    /// The object that isn't there any more, or not as it was written: a copy of it would help.
    pub(crate) fn lost(&self) -> Option<&str> {
        match self {
            Self::Length { name, .. }
            | Self::Checksum { name, .. }
            | Self::Kind { name, .. }
            | Self::Content { name, .. }
            | Self::Snapshot { name, .. }
            | Self::Missing { name } => Some(name),
            _ => None,
        }
    }

    /// Whether the object is damaged or gone, so that asking again won't help.
    pub fn is_for_good(&self) -> bool {
        self.is_damage() || matches!(self, Self::Missing { .. })
    }

    /// The failure of whoever needs the object: one that no restart can mend, if the object is damaged or gone.
    pub fn failure(self) -> Failure {
        match self.is_for_good() {
            true => Failure::permanent(self),
            false => Failure::user(&self.into()),
        }
    }
}

/// What is to be done about a directory.
fn directory_mend(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "it is a file, or lies in one: give a directory"
        }
        io::ErrorKind::StorageFull => "make room on its disk",
        _ => "create it, or make it writable for this user",
    }
}

/// What a server said may have been meant for a screen.
fn one_line(error: &object_store::Error) -> String {
    let said = error.to_string();
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}
