//! How a table over a store comes back: from the store's files, which are opened and not read, or from rows, which are loaded many at
//! a time while they are read. Orders come with the files, or are rebuilt from the rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{HASH, append_key, hash_of};
use super::known::Known;
use super::stored::Stored;
use super::{Table, VisitedRow};
use crate::codec;
use crate::evolution::Evolution;
use crate::failure::Failure;
use crate::ids::OperatorUid;
use crate::key::Key;
use crate::snapshot::{StoredRows, evolve};
use crate::store::{Changes, Space, Stores, files_refused};

/// Bytes of rows that are loaded together, if the store has room for them: they take half of it, for it sorts them, too. Few in
/// this crate's tests, so that they see it happen.
const LOADED_BYTES: usize = if cfg!(test) { 100 } else { 16 << 20 };

/// So many in any case: each load is a file of its own.
const LEAST_LOADED_BYTES: usize = if cfg!(test) { 50 } else { 256 << 10 };

impl Stored {
    /// Comes by all rows, unless the orders that follow from them and the basis have come with the store.
    pub(super) fn visit<V: DeserializeOwned>(
        &mut self,
        basis: &str,
        mut each: impl FnMut(VisitedRow<'_>, &V) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        basis.clone_into(&mut self.basis);
        match self.came_with.take() {
            Some(came) if came == basis => return Ok(()),
            Some(_) => self.forget_orders()?,
            None => {}
        }
        self.store.scan(Space::Rows, &[])?.read(&mut |key, value| {
            each(VisitedRow::Stored(key), &codec::decode(value)?)?;
            Ok(true)
        })?;
        Ok(())
    }

    /// Writes all rows anew that were of another type. What follows from them is forgotten.
    fn evolve<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        operator: &OperatorUid,
        state: &str,
        evolution: &Evolution<'_>,
    ) -> Result<(), Failure> {
        let mut rows = self.store.scan(Space::Rows, &[])?;
        let mut row = Vec::new();
        rows.read(&mut |key, value| {
            row.clear();
            row.extend_from_slice(&key[HASH..]);
            row.extend_from_slice(value);
            evolve(evolution, operator, state, &row, |row| {
                self.changes.delete(Space::Rows, key);
                self.put::<K, V>(hash_of(key), row)
            })?;
            self.write_if_many()?;
            Ok(true)
        })?;
        self.came_with = None;
        self.forget_orders()
    }

    /// Takes all orders out of the store.
    fn forget_orders(&mut self) -> Result<(), Failure> {
        let mut order = self.store.scan(Space::Order, &[])?;
        order.read(&mut |entry, _| {
            self.changes.delete(Space::Order, entry);
            self.write_if_many()?;
            Ok(true)
        })?;
        self.write()
    }

    /// Puts a row of a snapshot among the changes.
    fn put<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        hash: u64,
        body: &[u8],
    ) -> Result<(), Failure> {
        // Decoded and encoded again: what can't be read is found now, and all rows are of one form.
        let (key, value): (K, V) = codec::decode_row(body)?;
        let key = |out: &mut Vec<u8>| append_key(hash, &key, out);
        let value = |out: &mut Vec<u8>| codec::encode_into(&value, out);
        self.known.add(hash, self.rows, self.room);
        Ok(self.changes.put(Space::Rows, key, value)?)
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// Opens the store with its files of a checkpoint.
    pub(super) fn restore_image(
        &mut self,
        operator: &OperatorUid,
        state: &str,
        rows: StoredRows<'_>,
        stores: Option<&dyn Stores>,
    ) -> Result<(), Failure> {
        let image = rows.image.ok_or_else(|| {
            Failure::job(format!(
                "the checkpoint doesn't name the files that hold state \"{state}\" of operator {operator}"
            ))
        })?;
        let Some(stores) = stores else {
            return Err(files_refused(operator, image.format(), "state in memory"));
        };
        let mut stored = Stored::new(stores.open(operator, Some(&**image))?);
        stored.rows = rows.rows;
        stored.known = Known::All;
        stored.came_with = Some(rows.basis.to_owned());
        if let Some(evolution) = &rows.evolution {
            stored.evolve::<K, V>(operator, state, evolution)?;
        }
        self.stored = Some(Box::new(stored));
        Ok(())
    }

    /// Puts a row of a snapshot into the store.
    pub(super) fn restore_stored(&mut self, hash: u64, body: &[u8]) -> Result<(), Failure> {
        let Some(stored) = &mut self.stored else {
            return Ok(());
        };
        stored.rows += 1;
        stored.put::<K, V>(hash, body)?;
        let bytes = stored.changes.bytes();
        let room = stored.set_room(bytes + stored.known.bytes()) / 2;
        if bytes >= room.clamp(LEAST_LOADED_BYTES, LOADED_BYTES) {
            stored.store.load(&stored.changes)?;
            stored.changes.clear();
        }
        Ok(())
    }

    /// Writes what a restore has left over.
    pub(super) fn end_restore(&mut self) -> Result<(), Failure> {
        match &mut self.stored {
            Some(stored) => {
                stored.write()?;
                stored.changes = Changes::default();
                stored.set_room(stored.known.bytes());
                Ok(())
            }
            None => Ok(()),
        }
    }
}
