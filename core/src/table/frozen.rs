//! Snapshots of a table: each row once, as it was at the barrier, in slices, while the table is written to.
//!
//! [`Table::freeze`] begins an *epoch*. A slice writes the next rows that are older than the epoch. A row that is asked for meanwhile
//! may change before its turn, so it is saved first and takes the epoch's number; a row born meanwhile carries it from the
//! start. How a row is saved depends on what it is made of:
//!
//! - One that is of one piece is written ahead of its turn, into the very frames that go to the storage: nothing is
//!   copied that would not have been written anyway.
//! - One that has something to share ([`StateSet::share`](crate::StateSet::share)) is *kept*: a copy of its small fields that has the
//!   large ones in common with the row. A record that changes a counter doesn't pay for the text beside it, and
//!   slices write copies as they write rows, at their own pace.
//!
//! Nothing of this is left in the rows: a snapshot that is given up is dropped with what was kept for it.

use std::collections::VecDeque;
use std::vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Row, RowOrder, Sharing, Slot, Table};
use crate::codec::{self, CodecError};
use crate::failure::Failure;
use crate::ids::OperatorUid;
use crate::key::Key;
use crate::schema::Schema;
use crate::snapshot::{RowFrames, SectionHeader, SectionId, SnapshotBuilder};

/// A scan under way.
pub(super) struct Frozen<V> {
    section: SectionId,
    /// Where the scan is.
    pub(super) group: usize,
    pub(super) row: usize,
    /// Rows written and not yet handed on, some of them ahead of their turn.
    pub(super) rows: RowFrames,
    /// Bytes written or copied ahead of their turn since the last slice.
    ahead: u64,
    kept: Kept<V>,
}

impl<V: Serialize> Frozen<V> {
    /// Saves a row as it is now.
    pub(super) fn save<K: Serialize>(
        &mut self,
        row: &mut Row<K, V>,
        share: Option<&Sharing<V>>,
    ) -> Result<(), CodecError> {
        match share {
            Some(share) => {
                self.ahead += size_of::<KeptRow<V>>() as u64;
                self.kept
                    .push(row.hash, &row.key, (share.copy)(&mut row.value))
            }
            None => {
                self.ahead += write_row(row, &mut self.rows)? as u64;
                Ok(())
            }
        }
    }
}

/// Copies of rows that wait for a slice, in the order in which they were saved.
struct Kept<V> {
    /// All but the last are full.
    filling: VecDeque<Chunk<V>>,
    /// What slices are at.
    writing: Option<Writing<V>>,
}

/// In pieces, so that none grows by being moved, and each is given back when it has been written.
struct Chunk<V> {
    rows: Vec<KeptRow<V>>,
    /// The rows' keys, encoded, one after the other.
    keys: Vec<u8>,
}

struct KeptRow<V> {
    hash: u64,
    /// Where its key ends among the chunk's.
    key_end: u32,
    value: V,
}

struct Writing<V> {
    rows: vec::IntoIter<KeptRow<V>>,
    keys: Vec<u8>,
    /// Where the next row's key begins.
    key: usize,
}

/// Bytes of a chunk: what the allocator has at hand.
const CHUNK_BYTES: usize = 32 << 10;

/// Room for a row's key; more is taken if need be.
const KEY_BYTES: usize = 12;

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self {
            filling: VecDeque::new(),
            writing: None,
        }
    }
}

impl<V: Serialize> Kept<V> {
    fn is_empty(&self) -> bool {
        self.filling.is_empty() && self.writing.is_none()
    }

    fn push<K: Serialize>(&mut self, hash: u64, key: &K, value: V) -> Result<(), CodecError> {
        let full = |chunk: &Chunk<V>| chunk.rows.len() == chunk.rows.capacity();
        if self.filling.back().is_none_or(full) {
            let rows = (CHUNK_BYTES / size_of::<KeptRow<V>>()).max(1);
            self.filling.push_back(Chunk {
                rows: Vec::with_capacity(rows),
                keys: Vec::with_capacity(rows * KEY_BYTES),
            });
        }
        if let Some(chunk) = self.filling.back_mut() {
            codec::encode_into(key, &mut chunk.keys)?;
            chunk.rows.push(KeptRow {
                hash,
                key_end: chunk.keys.len() as u32,
                value,
            });
        }
        Ok(())
    }

    /// Writes up to so many rows. Returns whether none is left.
    fn write(&mut self, rows: usize, out: &mut RowFrames) -> Result<bool, CodecError> {
        let mut budget = rows;
        while budget > 0 {
            if self.writing.is_none() {
                self.writing = self.filling.pop_front().map(|chunk| Writing {
                    rows: chunk.rows.into_iter(),
                    keys: chunk.keys,
                    key: 0,
                });
            }
            let Some(Writing { rows, keys, key }) = &mut self.writing else {
                break;
            };
            let next = rows.as_slice();
            for row in &next[..budget.min(next.len())] {
                codec::read_ahead(&row.value);
            }
            for row in rows.by_ref().take(budget) {
                let end = row.key_end as usize;
                out.row(row.hash, |out| {
                    out.extend_from_slice(&keys[*key..end]);
                    codec::encode_into(&row.value, out)
                })?;
                *key = end;
                budget -= 1;
            }
            if rows.len() == 0 {
                self.writing = None;
            }
        }
        Ok(self.is_empty())
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// Begins a snapshot of the table as it is now, and of all of its `orders`. A scan still under way is given up: its
    /// checkpoint has been declined.
    ///
    /// # Errors
    /// If the section's header can't be encoded, or the store can't be written.
    pub fn freeze(
        &mut self,
        operator: &OperatorUid,
        state: &str,
        orders: &mut [&mut RowOrder],
        snapshot: &mut SnapshotBuilder,
    ) -> Result<(), Failure> {
        let section = snapshot.section(&SectionHeader {
            operator: operator.clone(),
            state: state.to_owned(),
            schema: Some(Schema::of_rows::<K, V>()),
            is_rows: true,
        })?;
        self.give_back()?;
        self.epoch += 1;
        if let Some(stored) = &mut self.stored {
            let files_of = snapshot.takes_files().then_some(operator);
            if stored.freeze(files_of, orders)? {
                snapshot.stored(section, stored.rows, &stored.basis);
            }
        }
        self.frozen = Some(Frozen {
            section,
            group: 0,
            row: 0,
            rows: RowFrames::default(),
            ahead: 0,
            kept: Kept::default(),
        });
        Ok(())
    }

    /// Gives up a snapshot that is no longer wanted.
    pub fn thaw(&mut self) {
        self.frozen = None;
        if let Some(stored) = &mut self.stored {
            stored.thaw();
        }
    }

    /// Writes about `rows` more rows into the snapshot and hands a frame on. Returns whether the snapshot now holds the
    /// whole table.
    ///
    /// # Errors
    /// If a row can't be encoded, or the store can't be read or written.
    pub fn slice(&mut self, rows: usize, snapshot: &mut SnapshotBuilder) -> Result<bool, Failure> {
        let scanned = match &self.stored {
            Some(_) => self.slice_stored(rows, snapshot)?,
            None => self.slice_rows(rows, snapshot)?,
        };
        let Some(frozen) = &mut self.frozen else {
            return Ok(true);
        };
        if scanned {
            frozen.rows.seal();
        }
        // Records may have filled more frames than the storage should be given at once.
        snapshot.row_frame(frozen.section, &mut frozen.rows);
        let done = scanned && frozen.rows.is_empty();
        if done {
            self.thaw();
        }
        Ok(done)
    }

    /// Encodes about `rows` more rows. Returns whether those were the last.
    fn slice_rows(
        &mut self,
        rows: usize,
        snapshot: &mut SnapshotBuilder,
    ) -> Result<bool, CodecError> {
        let Some(frozen) = &mut self.frozen else {
            return Ok(true);
        };
        snapshot.note_written_ahead(std::mem::take(&mut frozen.ahead));
        let mut budget = rows;
        while budget > 0 && frozen.group < self.groups.len() {
            let slots = &mut self.groups[frozen.group].slots;
            let end = slots.len().min(frozen.row + budget);
            for slot in &slots[frozen.row..end] {
                if let Slot::Row(row) = slot
                    && row.epoch != self.epoch
                {
                    codec::read_ahead(&row.key);
                    codec::read_ahead(&row.value);
                }
            }
            for slot in &mut slots[frozen.row..end] {
                if let Slot::Row(row) = slot
                    && row.epoch != self.epoch
                {
                    row.epoch = self.epoch;
                    write_row(row, &mut frozen.rows)?;
                }
            }
            budget -= end - frozen.row;
            frozen.row = end;
            if end == slots.len() {
                frozen.group += 1;
                frozen.row = 0;
                // An empty group costs a step too, or thousands of them would make a slice long.
                budget = budget.saturating_sub(1);
            }
        }
        // What lies still is written first: the less of it is left, the less has to be saved.
        let scanned = frozen.group == self.groups.len();
        Ok(scanned && frozen.kept.write(budget, &mut frozen.rows)?)
    }
}

fn write_row<K: Serialize, V: Serialize>(
    row: &Row<K, V>,
    out: &mut RowFrames,
) -> Result<usize, CodecError> {
    out.row(row.hash, |out| {
        codec::encode_into(&row.key, out)?;
        codec::encode_into(&row.value, out)
    })
}

#[cfg(test)]
mod tests;
