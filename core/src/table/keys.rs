//! Keys as a store has them: the hash, and the key encoded.

use std::ops::Range;

use serde::Serialize;

use crate::codec::{self, CodecError};

/// Bytes of the hash before a key.
pub(super) const HASH: usize = 8;

pub(super) fn stored_key<Q: Serialize + ?Sized>(hash: u64, key: &Q) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(HASH + 24);
    append_key(hash, key, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn append_key<Q: Serialize + ?Sized>(
    hash: u64,
    key: &Q,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    out.extend_from_slice(&hash.to_be_bytes());
    codec::encode_into(key, out)
}

pub(super) fn hash_of(key: &[u8]) -> u64 {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&key[..HASH]);
    u64::from_be_bytes(hash)
}

/// Keys that are missing in memory, those that the store may have one after the other in one buffer.
#[derive(Default)]
pub(super) struct Missing {
    bytes: Vec<u8>,
    /// Hash, and where the key lies.
    all: Vec<(u64, Range<usize>)>,
    /// Hashes of others, which the store doesn't have.
    new: Vec<u64>,
}

impl Missing {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.all.clear();
        self.new.clear();
    }

    pub(super) fn push<Q: Serialize + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
    ) -> Result<(), CodecError> {
        let start = self.bytes.len();
        append_key(hash, key, &mut self.bytes)?;
        self.all.push((hash, start..self.bytes.len()));
        Ok(())
    }

    pub(super) fn push_stored(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.all.push((hash_of(key), start..self.bytes.len()));
    }

    /// The store doesn't have a key.
    pub(super) fn push_new(&mut self, hash: u64) {
        self.new.push(hash);
    }

    /// For how many rows there must be room, once they are sorted.
    pub(super) fn rows(&self) -> usize {
        self.all.len() + self.new.len()
    }

    /// Puts them into the store's order, each once.
    pub(super) fn sort(&mut self) {
        let Self { bytes, all, new } = self;
        new.sort_unstable();
        new.dedup();
        // The hash is what a key begins with, so that the rest is hardly ever looked at.
        all.sort_unstable_by(|(hash, key), (other_hash, other)| {
            let keys = || bytes[key.clone()].cmp(&bytes[other.clone()]);
            hash.cmp(other_hash).then_with(keys)
        });
        all.dedup_by(|(hash, key), (other_hash, other)| {
            hash == other_hash && bytes[key.clone()] == bytes[other.clone()]
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.all.iter().map(|(_, key)| &self.bytes[key.clone()])
    }
}
