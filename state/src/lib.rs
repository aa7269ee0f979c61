//! What outlives a process: checkpoints, the job log, and who may lead.
//!
//! Everything durable goes through [`ObjectStorage`]: named objects, written whole or not at all, in memory or in a
//! directory. It is synchronous, and it blocks; so an actor never calls it in a handler but gives the work to a
//! [`Blocking`] and is told by a message.
//!
//! - [`CheckpointStorage`] keeps snapshots and manifests, and savepoints. A manifest makes nothing true by itself.
//! - [`JobLog`] does: the write-once log of a job. Its only primitive is *create if absent*, and whoever loses a slot
//!   steps down. So the log fences old leaders.
//! - [`StateBackend`] is where keyed state lies that has no room in memory: [`RocksDbBackend`]. A checkpoint of it is its
//!   files; [`LocalCopies`] of the last ones spare a restart the way to the storage.
//! - [`Election`] decides who tries to lead. It may be wrong for a while; the log is not.
//!
//! Every object carries a magic number, a version, a length and a checksum, or is named by a handle that does;
//! damage is a [`StorageError`] that names the object. Time and randomness (nonces) are handed in by the caller, and
//! [`StorageFaults`] lets a test make any single operation fail, so a whole cluster replays from one seed.

mod backend;
mod blocking;
mod checkpoints;
mod claim;
mod drive;
mod election;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod faults;
mod files;
mod folders;
mod frame;
mod identity;
mod local;
mod log;
mod memory;
#[cfg(any(feature = "etcd", feature = "s3"))]
mod network;
mod objects;
mod rocks;
mod root;
#[cfg(feature = "s3")]
mod s3;
mod serving;
mod writer;

pub use backend::StateBackend;
pub use blocking::{Blocking, Inline, Pool};
pub use checkpoints::{
    CheckpointStorage, SAVEPOINTS, SnapshotHandle, SnapshotWriter, checkpoint_folder,
    savepoint_folder, savepoint_name,
};
pub use claim::{ClaimedJob, JobClaim};
#[cfg(feature = "etcd")]
pub use election::EtcdElection;
pub use election::{
    Campaign, Candidate, DirectoryElection, Election, ElectionError, InProcessElection, Leader,
    Renewal,
};
pub use error::StorageError;
#[cfg(feature = "etcd")]
pub use etcd::{Etcd, EtcdError, EtcdOptions};
pub use faults::{Fault, StorageFaults, StorageOp};
pub use files::{StoredImage, StoredSnapshot};
pub use identity::StorageIdentity;
pub use local::{LocalCopies, LocalCopy};
pub use log::{Append, JobLog, LogContents, LogRecord, RecordKind};
pub use objects::{Created, ObjectStorage};
pub use rocks::{RocksDbBackend, RocksDbMemory};
#[cfg(feature = "s3")]
pub use s3::{S3Credentials, S3Options};
pub use writer::{ObjectWriter, WrittenObject};
