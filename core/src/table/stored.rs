//! Tables over a store: rows that are needed are in memory, the others are not.
//!
//! A table in memory and one over a store are the same table; the second is a write-back cache of the store's rows.
//! Before a run of records is worked on, [`Table::load`] brings the rows of all its keys in, in one read, and makes room
//! by letting go of rows that were not needed lately; those that have changed are written first, together. While a run
//! is worked on no row leaves, so a [`RowId`] holds until the next load.
//!
//! **Snapshots** use the epochs of [`Table`]: at the barrier the store lacks what changed since it was written. Slices
//! write those rows; one that changes before its turn is written as it was. When all are written the store is
//! the table as it was at the barrier, and a scan of that moment gives the rows to the snapshot, while the store
//! goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bucket, Group, Row, RowId, Slot, Table, spread, tag};
use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::key::Key;
use crate::snapshot::RowFrames;
use crate::store::{Changes, Space, StateStore, StoreScan};

/// Bytes of the hash before a key.
const HASH: usize = 8;

/// Changes are written to the store when they have so many bytes.
const CHANGES_BYTES: usize = 1 << 20;

/// Rows that are let go of beyond those that need to go.
const TOGETHER: usize = 4_096;

/// Rows of a snapshot that are written to the store together, for somebody who waits for it.
const FLUSHED: usize = 1_024;

/// Keys of removed rows that are kept before they are taken out of the store.
const REMOVED: usize = 8_192;

/// The store below a table.
pub(super) struct Stored {
    pub(super) store: Arc<dyn StateStore>,
    /// Rows, in memory and not.
    pub(super) rows: u64,
    /// Bytes of an encoded row, on average of those that were looked at lately, in sixty-fourths.
    row_bytes: usize,
    changes: Changes,
    /// Keys of rows that were removed and are still in the store.
    removed: BTreeSet<Vec<u8>>,
    /// Where to look next for rows to let go of.
    hand: (usize, usize),
    /// Counts the loads: rows that the last one found stay.
    load: u16,
    /// The store at the barrier of the snapshot that is being written.
    scan: Option<Box<dyn StoreScan>>,
}

/// What a table over a store knows of a row in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cached {
    /// The last load that needed it.
    load: u16,
    /// Whether it was needed since the hand passed it.
    used: bool,
    state: RowState,
}

/// How a row stands to the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RowState {
    /// The store has it.
    #[default]
    Clean,
    /// The store has the key, with another value.
    Changed,
    /// The store doesn't have the key.
    New,
}

impl Cached {
    fn is_dirty(self) -> bool {
        self.state != RowState::Clean
    }
}

impl Stored {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        Self {
            store,
            rows: 0,
            row_bytes: 64 * 64,
            changes: Changes::default(),
            removed: BTreeSet::new(),
            hand: (0, 0),
            load: 0,
            scan: None,
        }
    }

    fn note_bytes(&mut self, bytes: usize) {
        self.row_bytes = self.row_bytes - self.row_bytes / 64 + bytes;
    }

    fn write(&mut self) -> Result<(), Failure> {
        if !self.changes.is_empty() {
            self.store.write(&self.changes)?;
            self.changes.clear();
        }
        Ok(())
    }

    /// Takes removed rows out of the store.
    fn write_removed(&mut self) {
        for key in std::mem::take(&mut self.removed) {
            self.changes.delete(Space::Rows, &key);
        }
    }
}

fn stored_key<Q: Serialize + ?Sized>(hash: u64, key: &Q) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(HASH + 24);
    bytes.extend_from_slice(&hash.to_be_bytes());
    codec::encode_into(key, &mut bytes)?;
    Ok(bytes)
}

fn hash_of(key: &[u8]) -> u64 {
    let mut hash = [0; HASH];
    hash.copy_from_slice(&key[..HASH]);
    u64::from_be_bytes(hash)
}

fn put_row<K: Serialize, V: Serialize>(
    row: &Row<K, V>,
    changes: &mut Changes,
) -> Result<usize, CodecError> {
    let before = changes.bytes();
    let key = |out: &mut Vec<u8>| {
        out.extend_from_slice(&row.hash.to_be_bytes());
        codec::encode_into(&row.key, out)
    };
    changes.put(Space::Rows, key, |out| codec::encode_into(&row.value, out))?;
    Ok(changes.bytes() - before)
}

impl<K, V> Group<K, V> {
    /// Gives the room of rows that have left back, if that is most of it. Places change.
    fn compact(&mut self) {
        let rows = self.index.len();
        if self.slots.len() < 2 * rows + 64 {
            return;
        }
        let slots = std::mem::take(self).slots;
        self.slots.reserve_exact(rows + rows / 4);
        for slot in slots {
            if let Slot::Row(row) = slot {
                let bucket = Bucket {
                    tag: tag(row.hash),
                    row: self.slots.len() as u32,
                };
                let spread_of = |bucket: &Bucket| spread(bucket.tag);
                self.index
                    .insert_unique(spread_of(&bucket), bucket, spread_of);
                self.slots.push(Slot::Row(row));
            }
        }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// The store below, if there is one.
    pub fn store(&self) -> Option<&Arc<dyn StateStore>> {
        self.stored.as_ref().map(|stored| &stored.store)
    }

    /// The key group of a key as the store has it, counted from the first of the table's range.
    pub(super) fn group_of_stored(&self, key: &[u8]) -> u32 {
        self.group_of(hash_of(key))
    }

    /// The key of a row as the store has it.
    pub(super) fn stored_key(&self, id: RowId) -> Result<Vec<u8>, CodecError> {
        let row = self.row(id);
        stored_key(row.hash, &row.key)
    }

    /// Makes sure that the rows of keys are in memory, where there are such rows; in memory already, reads ahead what
    /// they need. Rows that were found before may not be in memory after this.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub fn load<'q, Q>(&mut self, keys: impl Iterator<Item = (u64, &'q Q)>) -> Result<(), Failure>
    where
        K: std::borrow::Borrow<Q>,
        Q: Serialize + Eq + ?Sized + 'q,
    {
        if self.stored.is_none() {
            self.warm(keys.map(|(hash, _)| hash));
            return Ok(());
        }
        self.begin_load();
        let mut missing = Vec::new();
        for (hash, key) in keys {
            let group = self.group_of(hash);
            match Self::probe(&self.groups[group as usize], hash, key) {
                Some(row) => self.note_used(RowId { group, row }),
                None => missing.push(stored_key(hash, key)?),
            }
        }
        self.fetch(missing)
    }

    /// Looks at a key's row where it is, in memory or in the store. What is in memory stays as it is.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub fn peek<R>(
        &mut self,
        hash: u64,
        key: &K,
        look: impl FnOnce(&V) -> R,
    ) -> Result<Option<R>, Failure> {
        if let Some(id) = self.find(hash, key) {
            return Ok(Some(look(self.value(id))));
        }
        let Some(stored) = &mut self.stored else {
            return Ok(None);
        };
        let key = stored_key(hash, key)?;
        if stored.removed.contains(&key) {
            return Ok(None);
        }
        // A read must find what is on its way.
        stored.write()?;
        let mut value = None;
        stored.store.get_many(&[key], &mut |_, bytes| {
            value = Some(codec::decode::<V>(bytes)?);
            Ok(())
        })?;
        Ok(value.as_ref().map(look))
    }

    /// Makes sure that the rows of encoded keys are in memory, and says where.
    pub(super) fn load_stored(&mut self, keys: &[&[u8]]) -> Result<Vec<Option<RowId>>, Failure> {
        self.begin_load();
        let mut missing = Vec::new();
        let mut decoded: Vec<(u64, K)> = Vec::with_capacity(keys.len());
        for bytes in keys {
            let (hash, key): (u64, K) = (hash_of(bytes), codec::decode(&bytes[HASH..])?);
            match self.find(hash, &key) {
                Some(id) => self.note_used(id),
                None => missing.push(bytes.to_vec()),
            }
            decoded.push((hash, key));
        }
        self.fetch(missing)?;
        let found = decoded.iter().map(|(hash, key)| self.find(*hash, key));
        Ok(found.collect())
    }

    fn begin_load(&mut self) {
        let Some(stored) = &mut self.stored else {
            return;
        };
        stored.load = stored.load.wrapping_add(1);
        // Rows grow after they were read: one is measured anew.
        let (group, at) = stored.hand;
        let slot = self.groups.get(group).and_then(|group| group.slots.get(at));
        if let Some(Slot::Row(row)) = slot {
            stored.note_bytes(codec::encoded_len(&row.key) + codec::encoded_len(&row.value));
        }
    }

    fn note_used(&mut self, id: RowId) {
        let load = self.stored.as_ref().map_or(0, |stored| stored.load);
        if let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] {
            row.cached.load = load;
            row.cached.used = true;
        }
    }

    /// Reads rows from the store.
    fn fetch(&mut self, mut missing: Vec<Vec<u8>>) -> Result<(), Failure> {
        missing.sort_unstable();
        missing.dedup();
        self.make_room(missing.len())?;
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        missing.retain(|key| !stored.removed.contains(key));
        if missing.is_empty() {
            return Ok(());
        }
        // A read must find what is on its way.
        stored.write()?;
        let (store, load) = (Arc::clone(&stored.store), stored.load);
        let mut bytes = Vec::new();
        let mut rows = Vec::with_capacity(missing.len());
        store.get_many(&missing, &mut |at, value| {
            bytes.push(missing[at].len() + value.len());
            let key: K = codec::decode(&missing[at][HASH..])?;
            let value: V = codec::decode(value)?;
            rows.push((hash_of(&missing[at]), key, value));
            Ok(())
        })?;
        bytes.into_iter().for_each(|bytes| stored.note_bytes(bytes));
        for (hash, key, value) in rows {
            let id = self.place_row(hash, key, value);
            if let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] {
                row.cached = Cached {
                    load,
                    used: true,
                    state: RowState::Clean,
                };
            }
        }
        Ok(())
    }

    /// How many rows may be in memory.
    fn capacity(&self) -> usize {
        self.stored.as_ref().map_or(usize::MAX, |stored| {
            // What a row takes decoded, beside its slot, is taken to be what it takes encoded, and half as much for
            // the allocator.
            let row = size_of::<Slot<K, V>>() + 16 + stored.row_bytes * 3 / 128;
            (stored.store.cache_bytes() / row).max(1)
        })
    }

    /// Lets go of rows until so many more have room.
    fn make_room(&mut self, more: usize) -> Result<(), Failure> {
        if !self.is_flushing()
            && let Some(stored) = &mut self.stored
            && stored.removed.len() >= REMOVED
        {
            stored.write_removed();
            stored.write()?;
        }
        let capacity = self.capacity();
        if self.len + more <= capacity {
            return Ok(());
        }
        // Some more than needed, so that changes go to the store in large batches; not so many that it takes long.
        let slack = (capacity / 16).min(TOGETHER);
        let target = capacity.saturating_sub(more).saturating_sub(slack);
        self.let_go(target)?;
        if self.len + more > capacity && self.is_flushing() {
            // What changed since the barrier can't go before the snapshot has what was there before it.
            while !self.flush_rows(usize::MAX)? {}
            self.let_go(target)?;
        }
        match &mut self.stored {
            Some(stored) => stored.write(),
            None => Ok(()),
        }
    }

    /// Whether rows that changed before the barrier are still being written.
    fn is_flushing(&self) -> bool {
        let scans = self
            .stored
            .as_ref()
            .is_some_and(|stored| stored.scan.is_some());
        self.frozen.is_some() && !scans
    }

    /// Lets go of rows that were not needed lately, until no more than `target` are left or enough have been looked at.
    fn let_go(&mut self, target: usize) -> Result<(), Failure> {
        let (flushing, epoch) = (self.is_flushing(), self.epoch);
        let Some(mut stored) = self.stored.take() else {
            return Ok(());
        };
        if !flushing {
            stored.write_removed();
        }
        // Rows that are all in use are looked at over several loads; until then there are somewhat more than have room.
        let mut looks = 8 * (self.len.saturating_sub(target) + TOGETHER) + self.groups.len();
        while self.len > target && looks > 0 {
            looks -= 1;
            let (group, at) = stored.hand;
            let Some(slot) = self.groups[group].slots.get_mut(at) else {
                if !flushing {
                    self.groups[group].compact();
                }
                stored.hand = ((group + 1) % self.groups.len(), 0);
                continue;
            };
            stored.hand.1 += 1;
            let Slot::Row(row) = slot else { continue };
            if row.cached.load == stored.load
                || (flushing && row.cached.is_dirty() && row.epoch == epoch)
            {
                continue;
            }
            if std::mem::take(&mut row.cached.used) {
                continue;
            }
            if row.cached.is_dirty() {
                let bytes = put_row(row, &mut stored.changes)?;
                stored.note_bytes(bytes);
                if stored.changes.bytes() >= CHANGES_BYTES {
                    stored.write()?;
                }
            }
            let id = RowId {
                group: group as u32,
                row: at as u32,
            };
            self.free(id);
        }
        self.stored = Some(stored);
        Ok(())
    }

    /// Notes that a row is about to change; if it has to be in the store as it is now, puts it there.
    #[inline(never)]
    pub(super) fn touch_stored(&mut self, id: RowId) -> Result<(), CodecError> {
        let flushing = self.is_flushing();
        let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] else {
            return Ok(());
        };
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        if flushing && row.cached.is_dirty() && row.epoch != self.epoch {
            let bytes = put_row(row, &mut stored.changes)?;
            stored.note_bytes(bytes);
            row.cached.state = RowState::Clean;
        }
        row.epoch = self.epoch;
        if row.cached.state == RowState::Clean {
            row.cached.state = RowState::Changed;
        }
        Ok(())
    }

    /// A row is new.
    pub(super) fn note_inserted(&mut self, id: RowId) -> Result<(), CodecError> {
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        stored.rows += 1;
        let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] else {
            return Ok(());
        };
        let known =
            !stored.removed.is_empty() && stored.removed.remove(&stored_key(row.hash, &row.key)?);
        row.cached = Cached {
            load: stored.load,
            used: true,
            state: if known {
                RowState::Changed
            } else {
                RowState::New
            },
        };
        Ok(())
    }

    /// A row is about to go for good.
    pub(super) fn note_removed(&mut self, id: RowId) -> Result<(), CodecError> {
        let Slot::Row(row) = &self.groups[id.group as usize].slots[id.row as usize] else {
            return Ok(());
        };
        if let Some(stored) = &mut self.stored {
            stored.rows -= 1;
            if row.cached.state != RowState::New {
                stored.removed.insert(stored_key(row.hash, &row.key)?);
            }
        }
        Ok(())
    }

    /// The barrier has come.
    pub(super) fn freeze_stored(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.scan = None;
            stored.write_removed();
        }
    }

    /// The snapshot is not wanted any more.
    pub(super) fn thaw_stored(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.scan = None;
        }
    }

    /// Writes about `rows` more rows of the frozen table. Returns whether that were all.
    pub(super) fn slice_stored(&mut self, rows: usize) -> Result<bool, Failure> {
        if self.is_flushing() {
            self.flush_rows(rows)?;
            return Ok(false);
        }
        let (Some(frozen), Some(stored)) = (&mut self.frozen, &mut self.stored) else {
            return Ok(true);
        };
        let Some(scan) = &mut stored.scan else {
            return Ok(true);
        };
        let mut left = rows.max(1);
        let more = scan.read(&mut |key, value| {
            append_row(key, value, &mut frozen.rows)?;
            left -= 1;
            Ok(left > 0)
        })?;
        Ok(!more)
    }

    /// Writes about `rows` more of the rows that differ from the store, as they were at the barrier. Returns whether the
    /// store has them all now; then the scan begins.
    fn flush_rows(&mut self, rows: usize) -> Result<bool, Failure> {
        let (Some(frozen), Some(stored)) = (&mut self.frozen, &mut self.stored) else {
            return Ok(true);
        };
        let mut budget = rows;
        while budget > 0 && frozen.group < self.groups.len() {
            let slots = &mut self.groups[frozen.group].slots;
            let end = slots.len().min(frozen.row.saturating_add(budget));
            for slot in &mut slots[frozen.row.min(end)..end] {
                if let Slot::Row(row) = slot
                    && row.cached.is_dirty()
                    && row.epoch != self.epoch
                {
                    let bytes = put_row(row, &mut stored.changes)?;
                    stored.note_bytes(bytes);
                    row.cached.state = RowState::Clean;
                }
            }
            budget = budget.saturating_sub(end.saturating_sub(frozen.row));
            frozen.row = end;
            if end == slots.len() {
                frozen.group += 1;
                frozen.row = 0;
                budget = budget.saturating_sub(1);
            }
        }
        if stored.changes.bytes() >= CHANGES_BYTES {
            stored.write()?;
        }
        if frozen.group < self.groups.len() {
            return Ok(false);
        }
        stored.write()?;
        stored.scan = Some(stored.store.scan(Space::Rows, &[])?);
        Ok(true)
    }

    /// Writes what the rows of the next group have changed to the store, so that a scan finds all. Returns whether that was
    /// the last.
    pub(super) fn settle(&mut self, group: &mut usize) -> Result<bool, Failure> {
        // What changed since a barrier can't go before the snapshot has what was there before it.
        if self.is_flushing() {
            self.flush_rows(FLUSHED)?;
            return Ok(false);
        }
        let Some(stored) = &mut self.stored else {
            return Ok(true);
        };
        if let Some(rows) = self.groups.get_mut(*group) {
            for slot in &mut rows.slots {
                if let Slot::Row(row) = slot
                    && row.cached.is_dirty()
                {
                    let bytes = put_row(row, &mut stored.changes)?;
                    stored.note_bytes(bytes);
                    row.cached.state = RowState::Clean;
                }
            }
            *group += 1;
            return Ok(false);
        }
        stored.write_removed();
        stored.write()?;
        Ok(true)
    }

    /// Puts a row of a snapshot into the store.
    pub(super) fn restore_stored(&mut self, hash: u64, body: &[u8]) -> Result<(), Failure> {
        let mut rest = body;
        let _: K = codec::decode_prefix(&mut rest)?;
        let key = &body[..body.len() - rest.len()];
        // Decoded and encoded again: what can't be read is found now, and all rows are of one form.
        let value: V = codec::decode_prefix(&mut rest)?;
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let append_key = |out: &mut Vec<u8>| {
            out.extend_from_slice(&hash.to_be_bytes());
            out.extend_from_slice(key);
            Ok::<_, Failure>(())
        };
        let append_value = |out: &mut Vec<u8>| Ok(codec::encode_into(&value, out)?);
        stored.changes.put(Space::Rows, append_key, append_value)?;
        stored.rows += 1;
        if stored.changes.bytes() >= CHANGES_BYTES {
            stored.write()?;
        }
        Ok(())
    }

    /// Writes what a restore has left over.
    pub(super) fn end_restore(&mut self) -> Result<(), Failure> {
        match &mut self.stored {
            Some(stored) => stored.write(),
            None => Ok(()),
        }
    }
}

/// A row of the store as a snapshot has it.
fn append_row(key: &[u8], value: &[u8], out: &mut RowFrames) -> Result<(), CodecError> {
    let body = |out: &mut Vec<u8>| {
        out.extend_from_slice(&key[HASH..]);
        out.extend_from_slice(value);
        Ok(())
    };
    out.row(hash_of(key), body)?;
    Ok(())
}
