//! Tables over a store: rows that are needed are in memory, the others are not.
//!
//! A table in memory and one over a store are the same table; the second is a write-back cache of the store's rows.
//! Before a run of records is worked on, [`Table::load`] brings the rows of all its keys in, in one read, and makes room
//! by letting go of rows that were not needed lately (the module `room`); those that have changed are written first, together.
//! While a run is worked on no row leaves, so a [`RowId`] holds until the next load.
//!
//! **Snapshots** use the epochs of [`Table`]: at the barrier the store lacks what changed since it was written. Slices
//! write those rows; one that changes before its turn is written as it was. When all are written the store is
//! the table as it was at the barrier.
//!
//! - A *checkpoint* is the store's files ([`FrozenStore`]). Until they have been made, off this thread, what has changed
//!   since the barrier stays in memory ([`Hold`]), orders too; the table may exceed its room by that.
//! - For a *savepoint* a scan of that moment gives the rows to the snapshot, while the store goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{HASH, Missing, append_key, hash_of, stored_key};
use super::known::Known;
use super::room::MOST_CREDIT;
use super::weight::Weight;
use super::{Row, RowId, RowOrder, Slot, Table, WARM_TOGETHER};
use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::ids::OperatorUid;
use crate::key::Key;
use crate::snapshot::{RowFrames, SnapshotBuilder};
use crate::store::{Changes, FrozenStore, Hold, Holding, Space, StateStore, StoreScan};

/// Changes are written to the store when they have so many bytes.
pub(super) const CHANGES_BYTES: usize = 1 << 20;

/// Rows of a snapshot that are written to the store together, for somebody who waits for it.
const FLUSHED: usize = 1_024;

/// The store below a table.
pub(super) struct Stored {
    pub(super) store: Arc<dyn StateStore>,
    /// Rows, in memory and not.
    pub(super) rows: u64,
    /// Bytes of an encoded row, on average of those that were written and read lately, in sixty-fourths.
    row_bytes: usize,
    pub(super) changes: Changes,
    /// Keys of rows that were removed and are still in the store.
    pub(super) removed: BTreeSet<Vec<u8>>,
    /// Where to look next for rows to let go of.
    pub(super) hand: (usize, usize),
    /// Which row to weigh next, of those that have been here for long.
    pub(super) sample: (usize, usize),
    /// Rows that have come or changed since the last load and are to be weighed.
    pub(super) unweighed: Vec<RowId>,
    /// Counts changes of rows.
    pub(super) changed: u32,
    /// Counts the loads: rows that the last one found stay.
    pub(super) load: u8,
    /// Keys that the last load had to ask the store for; kept for their room.
    missing: Missing,
    /// Which keys the store may have.
    pub(super) known: Known,
    /// Bytes that rows might take when that was asked last.
    pub(super) room: usize,
    /// Whether the store has all rows that it lacked at the barrier of the snapshot that is being written.
    is_flushed: bool,
    /// The store at that barrier, for a snapshot of rows.
    scan: Option<Box<dyn StoreScan>>,
    /// Whose store it is, and what keeps it as it was at that barrier, for a snapshot that is its files.
    files: Option<(OperatorUid, Holding)>,
    pub(super) hold: Arc<Hold>,
    /// What the orders follow from, beside the rows, if they have come with the store.
    pub(super) came_with: Option<String>,
    /// What they follow from here.
    pub(super) basis: String,
}

/// What a table over a store knows of a row in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cached {
    /// The last load that needed it; the number comes again, and then it stays for one load more.
    pub(super) load: u8,
    pub(super) uses: Uses,
    state: RowState,
    /// What it takes beside its place.
    pub(super) weight: Weight,
}

/// What is known of a row's past, in one byte.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses(u8);

/// Behind two bits for visits of the hand that it may stay for stands how seldom its changes change its weight.
const STEADY: u8 = MOST_CREDIT + 1;

impl Uses {
    fn earn(&mut self) {
        if self.0 % STEADY < MOST_CREDIT {
            self.0 += 1;
        }
    }

    /// The hand comes by. Returns whether the row may stay.
    pub(super) fn spend(&mut self) -> bool {
        let may_stay = !self.0.is_multiple_of(STEADY);
        self.0 -= u8::from(may_stay);
        may_stay
    }

    pub(super) fn steady(self) -> u8 {
        self.0 / STEADY
    }

    pub(super) fn set_steady(&mut self, steady: u8) {
        self.0 = self.0 % STEADY + steady * STEADY;
    }
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
    pub(super) fn is_dirty(self) -> bool {
        self.state != RowState::Clean
    }
}

impl Stored {
    pub(super) fn new(store: Arc<dyn StateStore>) -> Self {
        let room = store.cache_bytes(0);
        Self {
            store,
            rows: 0,
            row_bytes: 64 * 64,
            changes: Changes::default(),
            removed: BTreeSet::new(),
            hand: (0, 0),
            sample: (0, 0),
            unweighed: Vec::new(),
            changed: 0,
            load: 0,
            missing: Missing::default(),
            known: Known::none(),
            room,
            is_flushed: false,
            scan: None,
            files: None,
            hold: Arc::default(),
            came_with: None,
            basis: String::new(),
        }
    }

    /// The barrier has come; the snapshot is the rows, or the files of the operator's store if it takes those and they are
    /// worth it. Returns which.
    pub(super) fn freeze(
        &mut self,
        files_of: Option<&OperatorUid>,
        orders: &mut [&mut RowOrder],
    ) -> Result<bool, Failure> {
        self.thaw();
        self.is_flushed = false;
        self.write_removed();
        if let Some(operator) = files_of.filter(|_| self.is_worth_files()) {
            // As they would be when they have changed somewhat more.
            orders.iter_mut().try_for_each(|order| order.write())?;
            self.files = Some((operator.clone(), self.hold.hold()));
        }
        Ok(self.files.is_some())
    }

    /// Whether the store's files cost a checkpoint less than its rows do.
    fn is_worth_files(&self) -> bool {
        self.rows.saturating_mul(self.row_bytes() as u64) >= self.store.files_from()
    }

    /// The snapshot is not wanted any more, or doesn't need the table any more.
    pub(super) fn thaw(&mut self) {
        self.scan = None;
        self.files = None;
    }

    /// The store has all that it lacked at the barrier.
    fn flushed(&mut self) -> Result<(), Failure> {
        self.write()?;
        self.is_flushed = true;
        if self.files.is_none() {
            self.scan = Some(self.store.scan(Space::Rows, &[])?);
        }
        Ok(())
    }

    pub(super) fn write_if_many(&mut self) -> Result<(), Failure> {
        match self.changes.bytes() {
            ..CHANGES_BYTES => Ok(()),
            _ => self.write(),
        }
    }

    /// Says what is taken, and asks how many bytes rows may take.
    pub(super) fn set_room(&mut self, taken: usize) -> usize {
        self.room = self.store.cache_bytes(taken);
        self.known.fit(self.room);
        self.room
    }

    pub(super) fn note_bytes(&mut self, bytes: usize) {
        self.row_bytes = self.row_bytes - self.row_bytes / 64 + bytes;
    }

    /// Bytes of an encoded row, on average.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes / 64
    }

    pub(super) fn write(&mut self) -> Result<(), Failure> {
        if !self.changes.is_empty() {
            // What leaves is in order by groups; what a checkpoint writes isn't.
            self.changes.sort();
            self.store.write(&self.changes)?;
            self.changes.clear();
        }
        Ok(())
    }

    /// Puts a row among the changes: the store has it as it is now.
    pub(super) fn put_row<K: Serialize, V: Serialize>(
        &mut self,
        row: &mut Row<K, V>,
    ) -> Result<(), CodecError> {
        let before = self.changes.bytes() + HASH;
        let key = |out: &mut Vec<u8>| append_key(row.hash, &row.key, out);
        let value = |out: &mut Vec<u8>| codec::encode_into(&row.value, out);
        self.changes.put(Space::Rows, key, value)?;
        self.note_bytes(self.changes.bytes() - before);
        if row.cached.state == RowState::New {
            self.known.add(row.hash, self.rows, self.room);
        }
        row.cached.state = RowState::Clean;
        Ok(())
    }

    /// Takes removed rows out of the store.
    pub(super) fn write_removed(&mut self) {
        for key in std::mem::take(&mut self.removed) {
            self.changes.delete(Space::Rows, &key);
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
        let mut missing = self.begin_load();
        let mut together = Vec::with_capacity(WARM_TOGETHER);
        for key in keys {
            together.push(key);
            if together.len() == WARM_TOGETHER {
                self.look_up(&mut together, &mut missing)?;
            }
        }
        self.look_up(&mut together, &mut missing)?;
        self.fetch(missing)
    }

    /// Looks up to [`WARM_TOGETHER`] keys up together, and notes which have no row in memory.
    fn look_up<Q>(
        &mut self,
        together: &mut Vec<(u64, &Q)>,
        missing: &mut Missing,
    ) -> Result<(), Failure>
    where
        K: std::borrow::Borrow<Q>,
        Q: Serialize + Eq + ?Sized,
    {
        let mut hashes = [0; WARM_TOGETHER];
        for (place, (hash, _)) in hashes.iter_mut().zip(&*together) {
            *place = *hash;
        }
        self.warm_rows(&hashes[..together.len()]);
        for (hash, key) in together.drain(..) {
            match self.find(hash, key) {
                Some(id) => self.note_used(id),
                None if self.may_be_stored(hash) => missing.push(hash, key)?,
                None => missing.push_new(hash),
            }
        }
        Ok(())
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
        if !stored.known.may_have(hash) {
            return Ok(None);
        }
        let key = stored_key(hash, key)?;
        if stored.removed.contains(&key) {
            return Ok(None);
        }
        // A read must find what is on its way.
        stored.write()?;
        let mut value = None;
        stored.store.get_many(&[&key], &mut |_, bytes| {
            value = Some(codec::decode::<V>(bytes)?);
            Ok(())
        })?;
        Ok(value.as_ref().map(look))
    }

    /// Makes sure that the rows of encoded keys are in memory, and says where.
    pub(super) fn load_stored(&mut self, keys: &[&[u8]]) -> Result<Vec<Option<RowId>>, Failure> {
        let mut missing = self.begin_load();
        let mut decoded: Vec<(u64, K)> = Vec::with_capacity(keys.len());
        for bytes in keys {
            let (hash, key): (u64, K) = (hash_of(bytes), codec::decode(&bytes[HASH..])?);
            match self.find(hash, &key) {
                Some(id) => self.note_used(id),
                None => missing.push_stored(bytes),
            }
            decoded.push((hash, key));
        }
        self.fetch(missing)?;
        let found = decoded.iter().map(|(hash, key)| self.find(*hash, key));
        Ok(found.collect())
    }

    /// Begins a load; keys that are missing are to be put where nothing is yet.
    fn begin_load(&mut self) -> Missing {
        self.weigh_lately();
        let Some(stored) = &mut self.stored else {
            return Missing::default();
        };
        stored.load = stored.load.wrapping_add(1);
        let mut missing = std::mem::take(&mut stored.missing);
        missing.clear();
        missing
    }

    #[inline]
    fn may_be_stored(&mut self, hash: u64) -> bool {
        let stored = self.stored.as_mut();
        stored.is_some_and(|stored| stored.known.look(hash))
    }

    fn note_used(&mut self, id: RowId) {
        let load = self.stored.as_ref().map_or(0, |stored| stored.load);
        if let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] {
            row.cached.load = load;
            row.cached.uses.earn();
        }
    }

    /// Reads rows from the store.
    fn fetch(&mut self, mut missing: Missing) -> Result<(), Failure> {
        missing.sort();
        self.make_room(missing.rows())?;
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        let is_there = |key: &&[u8]| !stored.removed.contains(*key);
        let keys: Vec<&[u8]> = missing.iter().filter(is_there).collect();
        if !keys.is_empty() {
            // A read must find what is on its way.
            stored.write()?;
            let store = Arc::clone(&stored.store);
            store.get_many(&keys, &mut |at, value| {
                let (hash, key) = (hash_of(keys[at]), &keys[at][HASH..]);
                self.place_stored(
                    hash,
                    codec::decode(key)?,
                    codec::decode(value)?,
                    key.len() + value.len(),
                );
                Ok(())
            })?;
        }
        if let Some(stored) = &mut self.stored {
            stored.missing = missing;
        }
        Ok(())
    }

    /// Puts a row into memory that has just been read.
    fn place_stored(&mut self, hash: u64, key: K, value: V, bytes: usize) {
        let id = self.place_row(hash, key, value);
        let (Some(stored), Slot::Row(row)) = (
            &mut self.stored,
            &mut self.groups[id.group as usize].slots[id.row as usize],
        ) else {
            return;
        };
        stored.note_bytes(bytes);
        row.cached.load = stored.load;
        self.weighed.weigh(row);
    }

    /// Whether rows that changed before the barrier are still being written.
    pub(super) fn is_flushing(&self) -> bool {
        let flushed = self.stored.as_ref().is_some_and(|stored| stored.is_flushed);
        self.frozen.is_some() && !flushed
    }

    /// Whether what changed since the barrier must not reach the store yet.
    pub(super) fn holds_back(&self) -> bool {
        let held = self
            .stored
            .as_ref()
            .is_some_and(|stored| stored.hold.is_held());
        held || self.is_flushing()
    }

    /// Notes that a row is about to change; if it has to be in the store as it is now, puts it there.
    #[inline]
    pub(super) fn touch_stored(&mut self, id: RowId) -> Result<(), CodecError> {
        self.note_changed(id);
        if let Slot::Row(row) = &self.groups[id.group as usize].slots[id.row as usize]
            && row.epoch == self.epoch
            && row.cached.is_dirty()
        {
            return Ok(());
        }
        self.touch_anew(id)
    }

    /// Notes that a row is about to change that didn't since the barrier or since it was written.
    #[inline(never)]
    fn touch_anew(&mut self, id: RowId) -> Result<(), CodecError> {
        let flushing = self.is_flushing();
        let Slot::Row(row) = &mut self.groups[id.group as usize].slots[id.row as usize] else {
            return Ok(());
        };
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        if flushing && row.cached.is_dirty() && row.epoch != self.epoch {
            stored.put_row(row)?;
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
        let is_stored =
            !stored.removed.is_empty() && stored.removed.remove(&stored_key(row.hash, &row.key)?);
        stored.unweighed.push(id);
        row.cached = Cached {
            load: stored.load,
            uses: Uses::default(),
            weight: Weight::default(),
            state: if is_stored {
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

    /// Writes about `rows` more rows of the frozen table. Returns whether that were all.
    pub(super) fn slice_stored(
        &mut self,
        rows: usize,
        snapshot: &mut SnapshotBuilder,
    ) -> Result<bool, Failure> {
        if self.is_flushing() {
            self.flush_rows(rows)?;
            return Ok(false);
        }
        let (Some(frozen), Some(stored)) = (&mut self.frozen, &mut self.stored) else {
            return Ok(true);
        };
        if let Some((operator, holding)) = stored.files.take() {
            let store = Arc::clone(&stored.store);
            snapshot.add_store(FrozenStore::new(operator, store, holding));
            return Ok(true);
        }
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
    /// store has them all now.
    pub(super) fn flush_rows(&mut self, rows: usize) -> Result<bool, Failure> {
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
                    stored.put_row(row)?;
                    self.weighed.weigh(row);
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
        stored.write_if_many()?;
        if frozen.group < self.groups.len() {
            return Ok(false);
        }
        stored.flushed()?;
        Ok(true)
    }

    /// Writes what the rows of the next group have changed to the store, so that a scan finds all; what must not get there
    /// yet it notes in `lacking`, if the store doesn't have the key. Returns whether that was the last.
    pub(super) fn settle(
        &mut self,
        group: &mut usize,
        lacking: &mut BTreeSet<Vec<u8>>,
    ) -> Result<bool, Failure> {
        // What changed since a barrier can't go before the snapshot has what was there before it.
        if self.is_flushing() {
            self.flush_rows(FLUSHED)?;
            return Ok(false);
        }
        let (holds_back, epoch) = (self.holds_back(), self.epoch);
        let Some(stored) = &mut self.stored else {
            return Ok(true);
        };
        if let Some(rows) = self.groups.get_mut(*group) {
            for slot in &mut rows.slots {
                let Slot::Row(row) = slot else { continue };
                if holds_back && row.epoch == epoch {
                    if row.cached.state == RowState::New {
                        lacking.insert(stored_key(row.hash, &row.key)?);
                    }
                } else if row.cached.is_dirty() {
                    stored.put_row(row)?;
                }
            }
            *group += 1;
            return Ok(false);
        }
        if !holds_back {
            stored.write_removed();
        }
        stored.write()?;
        Ok(true)
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
