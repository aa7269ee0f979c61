//! What a table needs of a store on disk: two ordered maps of bytes, written in batches.
//!
//! ```text
//! rows    key-hash:u64 key          -> value            both MessagePack; the hash is big-endian, so that key
//!                                                       groups, its high bits, lie together
//! order   list:u8 place:i64 row-key -> nothing          the place is big-endian with its sign turned over
//! ```

mod image;
mod memory;

pub use self::image::{EachPiece, FrozenStore, ImageFile, StoreImage, files_refused};
pub(crate) use self::image::{Hold, Holding};
pub use self::memory::{MemoryStore, MemoryStores};

use std::ops::Range;
use std::sync::Arc;

use crate::failure::Failure;
use crate::ids::OperatorUid;

/// One of a store's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Rows by key.
    Rows,
    /// What follows from the rows and is asked for in order: timers, panes.
    Order,
}

/// Takes a row that was found: the place of its key among those that were asked for, and its value.
pub type EachFound<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), Failure>;

/// Takes an entry, key and value, and says whether it wants another.
pub type EachEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<bool, Failure>;

/// Where the rows of one operator in one subtask lie that are not in memory.
pub trait StateStore: Send + Sync {
    /// Looks rows up, and hands those that are there to `each` with the place of their key among `keys`.
    ///
    /// # Errors
    /// If the store can't be read, or whatever `each` returns.
    fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure>;

    /// Writes all changes, in their order.
    ///
    /// # Errors
    /// If the store can't be written.
    fn write(&self, changes: &Changes) -> Result<(), Failure>;

    /// Writes rows of which it has none yet, many and in any order.
    ///
    /// # Errors
    /// If the store can't be written.
    fn load(&self, rows: &Changes) -> Result<(), Failure> {
        self.write(rows)
    }

    /// Bytes that rows of the table above may take in memory at the moment. They take `taken` now, by the table's estimate.
    fn cache_bytes(&self, taken: usize) -> usize;

    /// All entries from a key on, as they are now, whatever is written while they are read.
    ///
    /// # Errors
    /// If the store can't be read.
    fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure>;

    /// Bytes of rows from which on files cost a checkpoint less than the rows themselves.
    fn files_from(&self) -> u64 {
        0
    }

    /// Files that hold what is in the store. It takes its time; whoever wants the store as it is now sees to it that
    /// nothing is written meanwhile.
    ///
    /// # Errors
    /// If the store or its files can't be written.
    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure>;

    /// An image has been made, and changes may come again: a time for what nobody waits for.
    fn imaged(&self) {}
}

/// Entries of one moment, in the order of their keys.
pub trait StoreScan: Send {
    /// Hands the next entry to `each`, which says whether it wants another. Returns whether there may be more.
    ///
    /// # Errors
    /// If the store can't be read, or whatever `each` returns.
    fn read(&mut self, each: EachEntry<'_>) -> Result<bool, Failure>;
}

/// Opens stores for the operators of one attempt.
pub trait Stores: Send + Sync {
    /// A store for an operator: one that holds what an image does, or an empty one.
    ///
    /// # Errors
    /// One line that names the place, if it can't be opened, or says why the image can't be.
    fn open(
        &self,
        operator: &OperatorUid,
        from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure>;
}

/// Changes on their way into a store.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    bytes: Vec<u8>,
    all: Vec<(Space, Range<usize>, Option<Range<usize>>)>,
}

impl Changes {
    /// Puts an entry in the place of whatever the key had.
    ///
    /// # Errors
    /// Whatever `key` and `value` return, which append to the bytes that they are given.
    pub fn put<E>(
        &mut self,
        space: Space,
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        key(&mut self.bytes)?;
        let middle = self.bytes.len();
        value(&mut self.bytes)?;
        let value = middle..self.bytes.len();
        self.all.push((space, start..middle, Some(value)));
        Ok(())
    }

    /// Takes an entry away.
    pub fn delete(&mut self, space: Space, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.all.push((space, start..self.bytes.len(), None));
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Brings them into the order of their keys, in which a memtable takes them at a tenth of the price. The changes of one key stay in
    /// their order.
    ///
    /// ```
    /// use rivus_core::{Changes, Space};
    ///
    /// let mut changes = Changes::default();
    /// for key in ["b", "a", "b"] {
    ///     changes.delete(Space::Rows, key.as_bytes());
    /// }
    /// changes.sort();
    /// assert!(changes.iter().map(|(_, key, _)| key).eq([b"a", b"b", b"b"]));
    /// ```
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |(space, key, _): &(Space, Range<usize>, Option<Range<usize>>)| {
            (*space, &bytes[key.clone()])
        };
        self.all.sort_by(|one, other| key(one).cmp(&key(other)));
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all changes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.all.clear();
    }

    /// Space, key, and the new value or none.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &[u8], Option<&[u8]>)> {
        self.all.iter().map(|(space, key, value)| {
            let value = value.clone().map(|value| &self.bytes[value]);
            (*space, &self.bytes[key.clone()], value)
        })
    }
}
