//! The records of logs as objects: their names, their bytes, and where a payload lies that is too large for the log's
//! own store.
//!
//! ```text
//! | nonce | payload           | an entry or snapshot, behind its frame's header
//! | 16    | 0, bytes ...      | the payload itself
//! |       | 1, JSON           | name, length and checksum of an object in the other storage, written before
//! ```

use bytes::Bytes;
use rivus_core::JobId;
use uuid::Uuid;

use super::{LogRecord, RecordKind};
use crate::checkpoints::{CheckpointStorage, SnapshotHandle};
use crate::error::StorageError;
use crate::frame::Frame;
use crate::objects::{Created, ObjectStorage};

const ENTRY: Frame = Frame {
    magic: *b"RVLE",
    kind: "job log entry",
};
const SNAPSHOT: Frame = Frame {
    magic: *b"RVLS",
    kind: "job log snapshot",
};

const HERE: u8 = 0;
const ELSEWHERE: u8 = 1;
/// Nonce and place.
const HEAD: usize = size_of::<u128>() + 1;

#[derive(Debug, Clone)]
pub(super) struct Records {
    pub(super) objects: ObjectStorage,
    pub(super) large: Option<Large>,
}

/// Where payloads of more than so many bytes lie.
#[derive(Debug, Clone)]
pub(super) struct Large {
    pub(super) objects: ObjectStorage,
    pub(super) over: usize,
}

impl Records {
    pub(super) fn create(
        &self,
        job: JobId,
        kind: RecordKind,
        index: u64,
        nonce: u128,
        payload: &[u8],
    ) -> Result<Created, StorageError> {
        let nonce_bytes = nonce.to_le_bytes();
        let bytes = match &self.large {
            Some(large) if payload.len() > large.over => {
                let name = large_name(job, kind, index, nonce);
                let handle = large.put(name, payload)?;
                // A name and two numbers: it can't fail.
                let handle =
                    serde_json::to_vec(&handle).map_err(|source| StorageError::Content {
                        name: handle.name.clone(),
                        source,
                    })?;
                kind.frame().encode(&[&nonce_bytes, &[ELSEWHERE], &handle])
            }
            _ => kind.frame().encode(&[&nonce_bytes, &[HERE], payload]),
        };
        self.objects.create(&name(job, kind, index), bytes)
    }

    pub(super) fn read(
        &self,
        job: JobId,
        kind: RecordKind,
        index: u64,
    ) -> Result<Option<LogRecord>, StorageError> {
        let name = name(job, kind, index);
        let Some(bytes) = self.objects.get(&name)? else {
            return Ok(None);
        };
        let mut body = kind.frame().decode(&name, &bytes)?;
        let Some((head, _)) = body.split_first_chunk::<HEAD>() else {
            return Err(StorageError::Length {
                name,
                expected: (bytes.len() - body.len() + HEAD) as u64,
                actual: bytes.len() as u64,
            });
        };
        let [nonce @ .., place] = *head;
        let rest = body.split_off(HEAD);
        let payload = match place {
            HERE => rest,
            _ => match self.read_large(&name, &rest) {
                // The record goes first when a log is truncated: then this was the past.
                Err(StorageError::Missing { .. }) if self.objects.get(&name)?.is_none() => {
                    return Ok(None);
                }
                payload => payload?,
            },
        };
        Ok(Some(LogRecord {
            kind,
            index,
            nonce: u128::from_le_bytes(nonce),
            payload,
        }))
    }

    fn read_large(&self, name: &str, handle: &[u8]) -> Result<Bytes, StorageError> {
        let handle: SnapshotHandle =
            serde_json::from_slice(handle).map_err(|source| StorageError::Content {
                name: name.to_owned(),
                source,
            })?;
        let Some(large) = &self.large else {
            return Err(StorageError::Missing { name: handle.name });
        };
        CheckpointStorage::new(large.objects.clone()).read_snapshot(&handle)
    }

    pub(super) fn delete(
        &self,
        job: JobId,
        kind: RecordKind,
        index: u64,
    ) -> Result<(), StorageError> {
        self.objects.delete(&name(job, kind, index))
    }

    /// Deletes the large payloads of records below these indexes: of those that are deleted, and of those that were
    /// never created because another was faster.
    pub(super) fn delete_large(
        &self,
        job: JobId,
        entries: u64,
        snapshots: u64,
    ) -> Result<(), StorageError> {
        let Some(large) = &self.large else {
            return Ok(());
        };
        for (kind, below) in [
            (RecordKind::Entry, entries),
            (RecordKind::Snapshot, snapshots),
        ] {
            let folder = large_folder(job, kind);
            for name in large.objects.list(&folder)? {
                let index = name.strip_prefix(&folder).and_then(|rest| {
                    let (index, _nonce) = rest.strip_prefix('/')?.split_once('-')?;
                    index.parse::<u64>().ok()
                });
                if index.is_some_and(|index| index < below) {
                    large.objects.delete(&name)?;
                }
            }
        }
        Ok(())
    }

    /// The indexes of all records of a kind, ascending.
    pub(super) fn indexes(&self, job: JobId, kind: RecordKind) -> Result<Vec<u64>, StorageError> {
        let folder = folder(job, kind);
        let mut indexes: Vec<u64> = self
            .objects
            .list(&folder)?
            .iter()
            .filter_map(|name| name.strip_prefix(&folder)?.strip_prefix('/')?.parse().ok())
            .collect();
        indexes.sort_unstable();
        Ok(indexes)
    }
}

impl Large {
    fn put(&self, name: String, payload: &[u8]) -> Result<SnapshotHandle, StorageError> {
        self.objects.put(&name, Bytes::copy_from_slice(payload))?;
        Ok(SnapshotHandle {
            name,
            len: payload.len() as u64,
            crc32c: crc32c::crc32c(payload),
        })
    }
}

impl RecordKind {
    fn frame(self) -> Frame {
        match self {
            Self::Entry => ENTRY,
            Self::Snapshot => SNAPSHOT,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Entry => "log",
            Self::Snapshot => "snapshot",
        }
    }
}

fn folder(job: JobId, kind: RecordKind) -> String {
    format!("jobs/{job}/{}", kind.noun())
}

pub(super) fn name(job: JobId, kind: RecordKind, index: u64) -> String {
    format!("{}/{index:020}", folder(job, kind))
}

fn large_folder(job: JobId, kind: RecordKind) -> String {
    format!("jobs/{job}/large-{}", kind.noun())
}

/// The writer's nonce is in it, so nobody else writes there.
fn large_name(job: JobId, kind: RecordKind, index: u64, nonce: u128) -> String {
    let nonce = Uuid::from_u128(nonce).simple();
    format!("{}/{index:020}-{nonce}", large_folder(job, kind))
}
