//! A state that is a map.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};

use super::StateField;
use super::shared::Shared;
use crate::heap;

/// Values by a key of their own, in its order.
///
/// ```
/// use rivus_core::MapState;
///
/// let mut visits = MapState::<String, u32>::default();
/// *visits.entry("/".into()).or_default() += 1;
/// assert_eq!(visits.get("/"), Some(&1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    transparent,
    bound(deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de>")
)]
pub struct MapState<K, V>(Shared<BTreeMap<K, V>>);

impl<K, V> Default for MapState<K, V> {
    fn default() -> Self {
        Self(Shared::default())
    }
}

impl<K: Ord, V> MapState<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Keys and values in a range of keys, in their order.
    ///
    /// ```
    /// use rivus_core::MapState;
    ///
    /// let mut spent = MapState::<i64, u64>::default();
    /// for (at, cents) in [(1, 10), (5, 20), (9, 30)] {
    ///     spent.insert(at, cents);
    /// }
    /// assert_eq!(spent.range(2..).map(|(_, cents)| cents).sum::<u64>(), 50);
    /// assert_eq!(spent.range(..=5).next_back(), Some((&5, &20))); // the last one up to 5
    /// ```
    ///
    /// # Panics
    /// If the range ends before it begins.
    pub fn range<Q, R>(&self, range: R) -> btree_map::Range<'_, K, V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
        R: std::ops::RangeBounds<Q>,
    {
        self.0.range(range)
    }

    /// The least key, with its value.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.0.first_key_value()
    }

    /// The greatest key, with its value.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.0.last_key_value()
    }
}

impl<K: Ord + Clone, V: Clone> MapState<K, V> {
    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.to_mut().get_mut(key)
    }

    /// The place of a key, with its value or for one.
    pub fn entry(&mut self, key: K) -> btree_map::Entry<'_, K, V> {
        self.0.to_mut().entry(key)
    }

    /// Puts a value in the place of the key's old one, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.to_mut().insert(key, value)
    }

    /// Takes a key's value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.to_mut().remove(key)
    }

    /// Keeps what a function says to keep.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.to_mut().retain(keep);
    }

    /// Keys and values in a range of keys, the values to be changed; see [`range`](Self::range).
    ///
    /// # Panics
    /// If the range ends before it begins.
    pub fn range_mut<Q, R>(&mut self, range: R) -> btree_map::RangeMut<'_, K, V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
        R: std::ops::RangeBounds<Q>,
    {
        self.0.to_mut().range_mut(range)
    }

    /// Keys and values, in the keys' order, the values to be changed.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, K, V> {
        self.0.to_mut().iter_mut()
    }

    /// Takes everything out.
    pub fn take(&mut self) -> BTreeMap<K, V> {
        self.0.take()
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        self.0.set(BTreeMap::new());
    }
}

impl<K, V> MapState<K, V> {
    /// Keys and values, in the keys' order.
    pub fn iter(&self) -> btree_map::Iter<'_, K, V> {
        self.0.iter()
    }

    /// The keys, in order.
    pub fn keys(&self) -> btree_map::Keys<'_, K, V> {
        self.0.keys()
    }

    /// The values, in their keys' order.
    pub fn values(&self) -> btree_map::Values<'_, K, V> {
        self.0.values()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.here().is_some_and(BTreeMap::is_empty)
    }
}

impl<K: Clone + Serialize, V: Clone + Serialize> StateField for MapState<K, V> {
    const SHARES: bool = true;

    #[inline]
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    #[inline]
    fn share(&mut self) -> Self {
        if self.is_empty() {
            return Self::default();
        }
        Self(self.0.share())
    }

    #[inline]
    fn read_ahead(&self) {
        self.0.read_ahead();
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        heap::map_nodes(self.len(), size_of::<K>() + size_of::<V>())
            + heap::elements_bytes(self.keys())
            + heap::elements_bytes(self.values())
    }
}

impl<'a, K, V> IntoIterator for &'a MapState<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
