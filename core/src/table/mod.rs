//! Keyed state: a typed table that is snapshotted in slices while it is written to.
//!
//! Rows lie in one array per key group, found through a small index of 8-byte buckets; the sender's
//! hash is used throughout. A row's place ([`RowId`]) holds until the row is removed, so operators keep
//! lists of places instead of keys.
//!
//! **Snapshots** are written in slices, as the table was at the barrier; see the module `frozen`.
//!
//! A table may have a [`StateStore`](crate::StateStore) below it, and then holds a part of the rows only; see the modules `stored` and `room`.

mod frozen;
mod keys;
mod known;
mod order;
mod restore;
mod room;
mod stored;
mod walk;
mod weight;

use std::borrow::Borrow;

use self::frozen::Frozen;
pub use self::order::{OrderCursor, RowOrder};
use self::stored::{Cached, Stored};
pub use self::walk::TableWalk;
use self::weight::Weighed;

use hashbrown::HashTable;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::ids::OperatorUid;
use crate::key::{Key, KeyGroup, KeyGroupRange, key_hash};
use crate::prefetch::prefetch;
use crate::schema::Schema;
use crate::snapshot::RestoredState;
use crate::store::Stores;

/// Where a row lies until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// Key group, counted from the first of the table's range.
    group: u32,
    row: u32,
}

impl RowId {
    /// Before all others.
    const FIRST: Self = Self { group: 0, row: 0 };

    /// The row's key group, counted from the first of the table's range.
    pub fn group(self) -> u32 {
        self.group
    }
}

/// Entry of the index: enough of the hash to tell rows apart, and the row's place.
#[derive(Clone, Copy)]
struct Bucket {
    tag: u32,
    row: u32,
}

enum Slot<K, V> {
    Row(Row<K, V>),
    /// Free; names the next free slot.
    Free(Option<u32>),
}

struct Row<K, V> {
    hash: u64,
    epoch: u32,
    cached: Cached,
    key: K,
    value: V,
}

struct Group<K, V> {
    index: HashTable<Bucket>,
    slots: Vec<Slot<K, V>>,
    free: Option<u32>,
}

impl<K, V> Default for Group<K, V> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: None,
        }
    }
}

/// Rows below which a table is taken to lie in the caches anyway.
const WARM_FROM: usize = 16_384;

/// Probes whose waits for memory overlap; more than a core can have under way.
const WARM_TOGETHER: usize = 64;

/// Keyed state of one operator in one subtask.
///
/// ```
/// use rivus_core::{KeyGroupRange, Table, key_hash};
///
/// let mut counts: Table<String, u64> = Table::new(KeyGroupRange::of(0, 1, 128), 128);
/// for page in ["/", "/about", "/"] {
///     let id = counts.find_or_insert(key_hash(page), page, || (page.to_owned(), 0))?;
///     *counts.value_mut(id) += 1;
/// }
/// let id = counts.find(key_hash("/"), "/").unwrap();
/// assert_eq!(*counts.value(id), 2);
/// # Ok::<(), rivus_core::CodecError>(())
/// ```
pub struct Table<K, V> {
    range: KeyGroupRange,
    max_parallelism: u32,
    groups: Vec<Group<K, V>>,
    len: usize,
    epoch: u32,
    frozen: Option<Frozen<V>>,
    /// How a row is copied for a snapshot; none if that costs more than to write it.
    share: Option<Sharing<V>>,
    /// Where the rows lie that are not in memory; none if all are.
    stored: Option<Box<Stored>>,
    /// What rows in memory take beside their places; nobody asks where all of them are in memory.
    weighed: Weighed<V>,
}

/// How rows are copied so that copy and row have in common what doesn't change.
#[derive(Debug, Clone, Copy)]
pub struct Sharing<V> {
    /// Makes the copy.
    pub copy: fn(&mut V) -> V,
    /// Asks for the memory that this will need, beside the row's own.
    pub read_ahead: fn(&V),
}

/// A row that [`Table::visit`] comes by.
#[derive(Debug, Clone, Copy)]
pub enum VisitedRow<'a> {
    /// In memory.
    Id(RowId),
    /// In the store, under this key.
    Stored(&'a [u8]),
}

#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32
}

/// The group is the hash's high bits, the same for all in it; the index needs others, well spread.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// An empty table for a range of key groups.
    pub fn new(range: KeyGroupRange, max_parallelism: u32) -> Self {
        codec::look_at::<K, K>();
        codec::look_at::<V, V>();
        Self {
            range,
            max_parallelism,
            groups: (0..range.len()).map(|_| Group::default()).collect(),
            len: 0,
            epoch: 0,
            frozen: None,
            share: None,
            stored: None,
            weighed: Weighed::default(),
        }
    }

    /// A table that starts from what snapshots hold of it; over a store, if there are `stores`.
    ///
    /// # Errors
    /// If a row can't be read, or was written with a schema that this one can't follow, or the store can't be written.
    pub fn restore(
        range: KeyGroupRange,
        max_parallelism: u32,
        operator: &OperatorUid,
        state: &str,
        from: &RestoredState,
        stores: Option<&dyn Stores>,
    ) -> Result<Self, Failure> {
        let mut table = Self::new(range, max_parallelism);
        let schema = Schema::of_rows::<K, V>();
        if let Some(rows) = from.stored(operator, state, &schema)? {
            table.restore_image(operator, state, rows, stores)?;
            return Ok(table);
        }
        if let Some(stores) = stores {
            let stored = Stored::new(stores.open(operator, None)?);
            table.stored = Some(Box::new(stored));
        }
        from.rows(
            operator,
            state,
            &schema,
            range,
            max_parallelism,
            |hash, body| {
                if table.stored.is_some() {
                    return table.restore_stored(hash, body);
                }
                let (key, value) = codec::decode_row(body)?;
                table.place_row(hash, key, value);
                Ok(())
            },
        )?;
        table.end_restore()?;
        Ok(table)
    }

    /// Rows that change during a snapshot are kept as copies until their turn; for values that are copied for
    /// less than it costs to write them. Over a store, rows go there instead.
    #[must_use]
    pub fn sharing(mut self, share: Sharing<V>) -> Self {
        self.share = Some(share);
        self
    }

    /// How many bytes a value has beside its place; without a word it is measured as serde tells it.
    #[must_use]
    pub fn measured(mut self, heap_bytes: fn(&V) -> usize) -> Self {
        self.weighed.heap_bytes = heap_bytes;
        self
    }

    /// Number of rows, in memory and in the store.
    pub fn len(&self) -> usize {
        match &self.stored {
            Some(stored) => stored.rows as usize,
            None => self.len,
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Comes by all rows of a table that has just been restored, in the store too: to rebuild the orders that follow from
    /// them. By none if the orders have come with the store and were made on the same `basis`: what they follow from beside
    /// the rows, such as a time to live.
    ///
    /// # Errors
    /// If the store can't be read, or whatever `each` returns.
    pub fn visit(
        &mut self,
        basis: &str,
        mut each: impl FnMut(VisitedRow<'_>, &V) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match &mut self.stored {
            None => self
                .ids()
                .try_for_each(|id| each(VisitedRow::Id(id), self.value(id))),
            Some(stored) => stored.visit(basis, each),
        }
    }

    /// The row of a key.
    #[inline]
    pub fn find<Q>(&self, hash: u64, key: &Q) -> Option<RowId>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let group = self.group_of(hash);
        let row = Self::probe(&self.groups[group as usize], hash, key)?;
        Some(RowId { group, row })
    }

    /// The row of a key, made by `new` if there is none. Its value may be changed: if a snapshot is
    /// being written, the row is saved for it first. Over a store, the key was among those of the last [`load`](Self::load).
    ///
    /// # Errors
    /// If the row can't be encoded into the open snapshot.
    #[inline]
    pub fn find_or_insert<Q>(
        &mut self,
        hash: u64,
        key: &Q,
        new: impl FnOnce() -> (K, V),
    ) -> Result<RowId, CodecError>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let group = self.group_of(hash);
        match Self::probe(&self.groups[group as usize], hash, key) {
            Some(row) => {
                let id = RowId { group, row };
                self.touch(id)?;
                Ok(id)
            }
            None => {
                let (key, value) = new();
                let id = self.place_row(hash, key, value);
                if self.stored.is_some() {
                    self.note_inserted(id)?;
                }
                Ok(id)
            }
        }
    }

    /// Must be called before a row found by other means is changed: saves it for the open snapshot.
    ///
    /// # Errors
    /// If the row can't be encoded.
    #[inline]
    pub fn touch(&mut self, id: RowId) -> Result<(), CodecError> {
        if self.stored.is_some() {
            return self.touch_stored(id);
        }
        match &mut self.frozen {
            None => Ok(()),
            Some(frozen) => match &mut self.groups[id.group as usize].slots[id.row as usize] {
                Slot::Row(row) if row.epoch != self.epoch => {
                    row.epoch = self.epoch;
                    frozen.save(row, self.share.as_ref())
                }
                _ => Ok(()),
            },
        }
    }

    /// A row's key and value, unless it was removed. Its place may belong to another key by now.
    #[inline]
    pub fn get(&self, id: RowId) -> Option<(&K, &V)> {
        match self.groups[id.group as usize].slots.get(id.row as usize)? {
            Slot::Row(row) => Some((&row.key, &row.value)),
            Slot::Free(_) => None,
        }
    }

    /// Reads ahead what the records with these hashes will need, if the table is larger than a cache.
    ///
    /// One probe after the other waits for memory at each step; here the same step of many probes is done
    /// together, and their waits overlap.
    pub fn warm(&self, hashes: impl Iterator<Item = u64>) {
        if self.len < WARM_FROM {
            return;
        }
        let mut together = [0; WARM_TOGETHER];
        let mut count = 0;
        for hash in hashes {
            together[count] = hash;
            count += 1;
            if count == WARM_TOGETHER {
                self.warm_rows(&together);
                count = 0;
            }
        }
        self.warm_rows(&together[..count]);
    }

    /// Reads up to [`WARM_TOGETHER`] rows ahead.
    fn warm_rows(&self, hashes: &[u64]) {
        let mut found = [(0_u32, 0_u32); WARM_TOGETHER];
        let mut count = 0;
        for hash in hashes {
            let group = self.group_of(*hash);
            let tag = tag(*hash);
            let index = &self.groups[group as usize].index;
            if let Some(bucket) = index.find(spread(tag), |bucket| bucket.tag == tag) {
                found[count] = (group, bucket.row);
                count += 1;
            }
        }
        let rows = found[..count].iter().filter_map(|(group, row)| {
            match &self.groups[*group as usize].slots[*row as usize] {
                Slot::Row(row) => Some(row),
                Slot::Free(_) => None,
            }
        });
        rows.clone().for_each(prefetch);
        // The key's own memory, which is compared; and what a snapshot will need of the row.
        std::hint::black_box(
            rows.clone()
                .fold(0, |hashes, row| hashes ^ key_hash(&row.key)),
        );
        if self.frozen.is_some() {
            let needed = self
                .share
                .as_ref()
                .map_or(codec::read_ahead as fn(&V), |share| share.read_ahead);
            rows.filter(|row| row.epoch != self.epoch)
                .for_each(|row| needed(&row.value));
        }
    }

    /// A row's key.
    ///
    /// # Panics
    /// If the row was removed.
    #[inline]
    pub fn key(&self, id: RowId) -> &K {
        &self.row(id).key
    }

    /// A row's value.
    ///
    /// # Panics
    /// If the row was removed.
    #[inline]
    pub fn value(&self, id: RowId) -> &V {
        &self.row(id).value
    }

    /// A row's value, to be changed; the row was found by [`find_or_insert`](Self::find_or_insert) or
    /// [`touch`](Self::touch)ed in this turn.
    ///
    /// # Panics
    /// If the row was removed.
    #[inline]
    pub fn value_mut(&mut self, id: RowId) -> &mut V {
        self.row_mut(id).1
    }

    /// A row's key and its value, to be changed as by [`value_mut`](Self::value_mut).
    ///
    /// # Panics
    /// If the row was removed.
    #[inline]
    pub fn row_mut(&mut self, id: RowId) -> (&K, &mut V) {
        match &mut self.groups[id.group as usize].slots[id.row as usize] {
            Slot::Row(row) => (&row.key, &mut row.value),
            Slot::Free(_) => panic!("row {id:?} was removed"),
        }
    }

    /// Removes a row; an open snapshot still gets it.
    ///
    /// # Errors
    /// If the row can't be encoded into the open snapshot.
    pub fn remove(&mut self, id: RowId) -> Result<Option<(K, V)>, CodecError> {
        self.touch(id)?;
        if self.stored.is_some() {
            self.note_removed(id)?;
        }
        Ok(self.free(id))
    }

    /// Takes a row out of memory.
    fn free(&mut self, id: RowId) -> Option<(K, V)> {
        let group = &mut self.groups[id.group as usize];
        let slot = &mut group.slots[id.row as usize];
        let Slot::Row(row) = slot else {
            return None;
        };
        let tag = tag(row.hash);
        let freed = std::mem::replace(slot, Slot::Free(group.free));
        group.free = Some(id.row);
        self.len -= 1;
        if let Ok(entry) = group
            .index
            .find_entry(spread(tag), |bucket| bucket.row == id.row)
        {
            entry.remove();
        }
        match freed {
            Slot::Row(row) => {
                self.weighed.left(&row);
                Some((row.key, row.value))
            }
            Slot::Free(_) => None,
        }
    }

    /// All rows in memory, by key group and then in the order of their places.
    fn ids(&self) -> impl Iterator<Item = RowId> + '_ {
        self.groups.iter().enumerate().flat_map(|(group, rows)| {
            rows.slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| matches!(slot, Slot::Row(_)))
                .map(move |(row, _)| RowId {
                    group: group as u32,
                    row: row as u32,
                })
        })
    }

    #[inline]
    fn group_of(&self, hash: u64) -> u32 {
        let group = KeyGroup::of(hash, self.max_parallelism);
        debug_assert!(
            self.range.contains(group),
            "a key of group {} reached a subtask that owns {:?}",
            group.0,
            self.range,
        );
        u32::from(group.0 - self.range.start)
    }

    #[inline]
    fn probe<Q>(group: &Group<K, V>, hash: u64, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let tag = tag(hash);
        let same = |bucket: &Bucket| {
            bucket.tag == tag
                && matches!(&group.slots[bucket.row as usize],
                    Slot::Row(row) if row.key.borrow() == key)
        };
        group.index.find(spread(tag), same).map(|bucket| bucket.row)
    }

    /// Puts a row into memory whose key is not there.
    fn place_row(&mut self, hash: u64, key: K, value: V) -> RowId {
        let group_index = self.group_of(hash);
        let group = &mut self.groups[group_index as usize];
        let slot = Slot::Row(Row {
            hash,
            epoch: self.epoch,
            cached: Cached::default(),
            key,
            value,
        });
        let row = match group.free {
            Some(row) => {
                if let Slot::Free(next) = group.slots[row as usize] {
                    group.free = next;
                }
                group.slots[row as usize] = slot;
                row
            }
            None => {
                // What is counted byte by byte grows in smaller steps.
                if self.stored.is_some() && group.slots.len() == group.slots.capacity() {
                    group.slots.reserve_exact(group.slots.len() / 4 + 4);
                }
                group.slots.push(slot);
                (group.slots.len() - 1) as u32
            }
        };
        let tag = tag(hash);
        group
            .index
            .insert_unique(spread(tag), Bucket { tag, row }, |bucket| {
                spread(bucket.tag)
            });
        self.len += 1;
        RowId {
            group: group_index,
            row,
        }
    }

    #[inline]
    fn row(&self, id: RowId) -> &Row<K, V> {
        match &self.groups[id.group as usize].slots[id.row as usize] {
            Slot::Row(row) => row,
            Slot::Free(_) => panic!("row {id:?} was removed"),
        }
    }
}

#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;
