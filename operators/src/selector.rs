//! How a record's key is found.

use std::borrow::Borrow;
use std::marker::PhantomData;

use rivus_core::{CodecError, Either, Event, Failure, Hashed, Key, RowId, Table, key_hash};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Finds the key of a record, and the key's row. Made by [`by_value`] and [`by_ref`].
pub trait KeySelector<T>: Clone + Send + Sync + 'static {
    /// What it is keyed by.
    type Key: Key;

    /// The key's stable hash.
    fn hash(&self, value: &T) -> u64;

    /// The key.
    fn key(&self, value: &T) -> Self::Key;

    /// Whether the record's key is this one.
    fn is_key(&self, key: &Self::Key, value: &T) -> bool;

    /// Brings in the rows of a run's keys; see [`Table::load`].
    ///
    /// # Errors
    /// If the store below the table can't be read.
    fn load<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<Self::Key, V>,
        run: &[Event<Hashed<T>>],
    ) -> Result<(), Failure>;

    /// Whether the record's key has a row. Over a store, the record was in the run of the last [`load`](Self::load).
    fn is_known<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<Self::Key, V>,
        hash: u64,
        value: &T,
    ) -> bool;

    /// The row of the record's key, made by `new` if there is none; see
    /// [`Table::find_or_insert`].
    ///
    /// # Errors
    /// If the row can't be encoded into the open snapshot.
    fn find<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<Self::Key, V>,
        hash: u64,
        value: &T,
        new: impl FnOnce() -> V,
    ) -> Result<RowId, CodecError>;
}

/// Computes the key anew for each record: `key_by(|r| r.user)`.
pub struct ByValue<F, K> {
    select: F,
    of: PhantomData<fn() -> K>,
}

/// Borrows the key from the record; allocates only for a key that is new: `key_by_ref(|r| &r.user)`.
pub struct ByRef<F, Q: ?Sized> {
    select: F,
    of: PhantomData<fn(&Q)>,
}

/// A selector that computes the key.
///
/// ```
/// use rivus_core::key_hash;
/// use rivus_operators::{KeySelector, by_value};
///
/// let by_length = by_value(|word: &String| word.len());
/// assert_eq!(by_length.hash(&"four".to_string()), key_hash(&4_usize));
/// ```
pub fn by_value<T, K, F>(select: F) -> ByValue<F, K>
where
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    K: Key,
{
    ByValue {
        select,
        of: PhantomData,
    }
}

/// A selector that borrows the key.
///
/// ```
/// use rivus_core::key_hash;
/// use rivus_operators::{KeySelector, by_ref};
///
/// let by_name = by_ref::<(String, u32), str, _>(|record| &record.0);
/// assert_eq!(by_name.hash(&("ann".to_string(), 7)), key_hash("ann"));
/// assert_eq!(by_name.key(&("ann".to_string(), 7)), "ann");
/// ```
pub fn by_ref<T, Q, F>(select: F) -> ByRef<F, Q>
where
    F: Fn(&T) -> &Q + Clone + Send + Sync + 'static,
    Q: ToOwned + Serialize + Ord + ?Sized + 'static,
    Q::Owned: Key,
{
    ByRef {
        select,
        of: PhantomData,
    }
}

impl<F: Clone, K> Clone for ByValue<F, K> {
    fn clone(&self) -> Self {
        Self {
            select: self.select.clone(),
            of: PhantomData,
        }
    }
}

impl<F: Clone, Q: ?Sized> Clone for ByRef<F, Q> {
    fn clone(&self) -> Self {
        Self {
            select: self.select.clone(),
            of: PhantomData,
        }
    }
}

/// Brings in rows by keys that have to be made for it. In memory only their hashes are needed.
pub(crate) fn load_made<K: Key, V: Serialize + DeserializeOwned>(
    table: &mut Table<K, V>,
    hashes: impl Iterator<Item = u64>,
    keys: impl Iterator<Item = K>,
) -> Result<(), Failure> {
    if table.store().is_none() {
        table.warm(hashes);
        return Ok(());
    }
    let keys: Vec<K> = keys.collect();
    table.load(hashes.zip(&keys))
}

impl<T, K, F> KeySelector<T> for ByValue<F, K>
where
    F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    K: Key,
{
    type Key = K;

    #[inline]
    fn hash(&self, value: &T) -> u64 {
        key_hash(&(self.select)(value))
    }

    #[inline]
    fn key(&self, value: &T) -> K {
        (self.select)(value)
    }

    #[inline]
    fn is_key(&self, key: &K, value: &T) -> bool {
        *key == (self.select)(value)
    }

    fn load<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<K, V>,
        run: &[Event<Hashed<T>>],
    ) -> Result<(), Failure> {
        let hashes = run.iter().map(|event| event.value.hash);
        let keys = run.iter().map(|event| self.key(&event.value.value));
        load_made(table, hashes, keys)
    }

    #[inline]
    fn is_known<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        hash: u64,
        value: &T,
    ) -> bool {
        table.find(hash, &(self.select)(value)).is_some()
    }

    #[inline]
    fn find<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<K, V>,
        hash: u64,
        value: &T,
        new: impl FnOnce() -> V,
    ) -> Result<RowId, CodecError> {
        let key = (self.select)(value);
        table.find_or_insert(hash, &key, || (key.clone(), new()))
    }
}

impl<T, Q, F> KeySelector<T> for ByRef<F, Q>
where
    F: Fn(&T) -> &Q + Clone + Send + Sync + 'static,
    Q: ToOwned + Serialize + Ord + ?Sized + 'static,
    Q::Owned: Key,
{
    type Key = Q::Owned;

    #[inline]
    fn hash(&self, value: &T) -> u64 {
        key_hash((self.select)(value))
    }

    #[inline]
    fn key(&self, value: &T) -> Q::Owned {
        (self.select)(value).to_owned()
    }

    #[inline]
    fn is_key(&self, key: &Q::Owned, value: &T) -> bool {
        key.borrow() == (self.select)(value)
    }

    fn load<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<Q::Owned, V>,
        run: &[Event<Hashed<T>>],
    ) -> Result<(), Failure> {
        let keys = run.iter().map(|event| {
            let Hashed { hash, value } = &event.value;
            (*hash, (self.select)(value))
        });
        table.load(keys)
    }

    #[inline]
    fn is_known<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<Q::Owned, V>,
        hash: u64,
        value: &T,
    ) -> bool {
        table.find(hash, (self.select)(value)).is_some()
    }

    #[inline]
    fn find<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<Q::Owned, V>,
        hash: u64,
        value: &T,
        new: impl FnOnce() -> V,
    ) -> Result<RowId, CodecError> {
        let key = (self.select)(value);
        debug_assert!(key.to_owned().borrow() == key);
        table.find_or_insert(hash, key, || (key.to_owned(), new()))
    }
}

/// Finds the key of a record of either of two streams.
#[derive(Clone)]
pub struct ByEither<S, R> {
    first: S,
    second: R,
}

/// A selector for records of two streams that are keyed alike.
///
/// ```
/// use rivus_core::Either;
/// use rivus_operators::{KeySelector, by_either, by_ref, by_value};
///
/// let name = by_ref::<(String, u32), str, _>(|person| &person.0);
/// let from = by_value(|letter: &String| letter.split(' ').next().unwrap_or_default().to_owned());
/// let by_name = by_either(name, from);
/// assert_eq!(by_name.key(&Either::First(("ann".to_owned(), 7))), "ann");
/// assert_eq!(by_name.key(&Either::Second("ann writes".to_owned())), "ann");
/// ```
pub fn by_either<S, R>(first: S, second: R) -> ByEither<S, R> {
    ByEither { first, second }
}

impl<A, B, S, R> KeySelector<Either<A, B>> for ByEither<S, R>
where
    S: KeySelector<A>,
    R: KeySelector<B, Key = S::Key>,
{
    type Key = S::Key;

    #[inline]
    fn hash(&self, value: &Either<A, B>) -> u64 {
        match value {
            Either::First(value) => self.first.hash(value),
            Either::Second(value) => self.second.hash(value),
        }
    }

    #[inline]
    fn key(&self, value: &Either<A, B>) -> S::Key {
        match value {
            Either::First(value) => self.first.key(value),
            Either::Second(value) => self.second.key(value),
        }
    }

    #[inline]
    fn is_key(&self, key: &S::Key, value: &Either<A, B>) -> bool {
        match value {
            Either::First(value) => self.first.is_key(key, value),
            Either::Second(value) => self.second.is_key(key, value),
        }
    }

    fn load<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<S::Key, V>,
        run: &[Event<Hashed<Either<A, B>>>],
    ) -> Result<(), Failure> {
        let hashes = run.iter().map(|event| event.value.hash);
        let keys = run.iter().map(|event| self.key(&event.value.value));
        load_made(table, hashes, keys)
    }

    #[inline]
    fn is_known<V: Serialize + DeserializeOwned>(
        &self,
        table: &Table<S::Key, V>,
        hash: u64,
        value: &Either<A, B>,
    ) -> bool {
        match value {
            Either::First(value) => self.first.is_known(table, hash, value),
            Either::Second(value) => self.second.is_known(table, hash, value),
        }
    }

    #[inline]
    fn find<V: Serialize + DeserializeOwned>(
        &self,
        table: &mut Table<S::Key, V>,
        hash: u64,
        value: &Either<A, B>,
        new: impl FnOnce() -> V,
    ) -> Result<RowId, CodecError> {
        match value {
            Either::First(value) => self.first.find(table, hash, value, new),
            Either::Second(value) => self.second.find(table, hash, value, new),
        }
    }
}
