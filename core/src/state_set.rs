//! Keyed state as its author declares it: a struct of states is the row that a key owns.
//!
//! State is row oriented: one probe finds all of a key's state, one row is written to a snapshot. A row
//! whose state is empty, and that has no timer, is removed; so clearing is all that a program must do to
//! keep its state from growing.

use std::collections::{BTreeMap, btree_map};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// Implements [`StateSet`] for a struct with named fields that are all states.
///
/// The code it makes names the crate `rivus`; `#[state(crate = "rivus_core")]` names another.
pub use rivus_macros::StateSet;

/// One state of a key: [`ValueState`], [`ListState`] or [`MapState`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "wrap it: ValueState<{Self}>, ListState<..> or MapState<.., ..>"
)]
pub trait StateField {
    /// Whether it holds nothing, so that its row may be removed.
    fn is_empty(&self) -> bool;
}

/// All state of a key, usually a struct of [`StateField`]s. Derive it.
///
/// ```
/// use rivus_core::{ListState, StateSet, ValueState};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Session {
///     started: ValueState<i64>,
///     pages: ListState<String>,
/// }
///
/// let mut session = Session::default();
/// assert!(session.is_empty());
/// session.pages.push("/".into());
/// assert!(!session.is_empty());
/// ```
///
/// A field that is not a state is refused:
///
/// ```compile_fail
/// # use rivus_core::StateSet;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")]
/// struct Session {
///     started: i64, // `i64` is not a state: wrap it in ValueState<i64>
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of states",
    note = "derive StateSet (with Default, Clone, Debug, Serialize, Deserialize) for a struct of ValueState, \
            ListState and MapState fields"
)]
pub trait StateSet:
    Default + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
    /// Whether nothing is held, so that the row may be removed.
    fn is_empty(&self) -> bool;
}

/// No state at all, only timers.
impl StateSet for () {
    fn is_empty(&self) -> bool {
        true
    }
}

/// One value, or none.
///
/// ```
/// use rivus_core::ValueState;
///
/// let mut count = ValueState::<u32>::default();
/// *count.get_or_default() += 2;
/// assert_eq!(count.get(), Some(&2));
/// count.clear();
/// assert_eq!(count.get(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueState<V>(Option<V>);

// A list of none or one: as an option, MessagePack couldn't tell Some(None) from None.
impl<V: Serialize> Serialize for ValueState<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ValueState<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = SmallVec::<[V; 1]>::deserialize(deserializer)?;
        Ok(Self(values.pop()))
    }
}

impl<V> Default for ValueState<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V> ValueState<V> {
    /// The value.
    #[inline]
    pub fn get(&self) -> Option<&V> {
        self.0.as_ref()
    }

    /// The value, to be changed.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut V> {
        self.0.as_mut()
    }

    /// The value, to be changed; its default if there was none.
    #[inline]
    pub fn get_or_default(&mut self) -> &mut V
    where
        V: Default,
    {
        self.0.get_or_insert_with(V::default)
    }

    /// Puts a value in the place of the old one.
    #[inline]
    pub fn set(&mut self, value: V) {
        self.0 = Some(value);
    }

    /// Puts in what a function makes of the old value.
    pub fn update(&mut self, with: impl FnOnce(Option<V>) -> Option<V>) {
        self.0 = with(self.0.take());
    }

    /// Takes the value out.
    #[inline]
    pub fn take(&mut self) -> Option<V> {
        self.0.take()
    }

    /// Holds nothing any more.
    #[inline]
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Values in the order in which they came.
///
/// ```
/// use rivus_core::ListState;
///
/// let mut last = ListState::<u32>::default();
/// last.push(1);
/// last.push(2);
/// last.retain(|value| *value > 1);
/// assert_eq!(last.iter().copied().collect::<Vec<_>>(), [2]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListState<V>(Vec<V>);

impl<V> Default for ListState<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> ListState<V> {
    /// Puts a value at the end.
    #[inline]
    pub fn push(&mut self, value: V) {
        self.0.push(value);
    }

    /// Takes the last value off.
    pub fn pop(&mut self) -> Option<V> {
        self.0.pop()
    }

    /// The value at a place, counted from 0.
    pub fn get(&self, index: usize) -> Option<&V> {
        self.0.get(index)
    }

    /// The values.
    pub fn iter(&self) -> std::slice::Iter<'_, V> {
        self.0.iter()
    }

    /// The values, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.0.iter_mut()
    }

    /// The values as a slice.
    pub fn as_slice(&self) -> &[V] {
        &self.0
    }

    /// Keeps what a function says to keep.
    pub fn retain(&mut self, keep: impl FnMut(&V) -> bool) {
        self.0.retain(keep);
    }

    /// Puts values in the place of all old ones.
    pub fn set(&mut self, values: Vec<V>) {
        self.0 = values;
    }

    /// Takes some values out.
    ///
    /// # Panics
    /// If the range ends past the list's end.
    pub fn drain(&mut self, range: impl std::ops::RangeBounds<usize>) -> std::vec::Drain<'_, V> {
        self.0.drain(range)
    }

    /// Takes all values out.
    pub fn take(&mut self) -> Vec<V> {
        std::mem::take(&mut self.0)
    }

    /// Holds nothing any more, and gives the memory back.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Extend<V> for ListState<V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        self.0.extend(values);
    }
}

impl<'a, V> IntoIterator for &'a ListState<V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

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
pub struct MapState<K, V>(BTreeMap<K, V>);

impl<K, V> Default for MapState<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
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

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The place of a key, with its value or for one.
    pub fn entry(&mut self, key: K) -> btree_map::Entry<'_, K, V> {
        self.0.entry(key)
    }

    /// Puts a value in the place of the key's old one, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes a key's value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Keeps what a function says to keep.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(keep);
    }

    /// Keys and values, in the keys' order.
    pub fn iter(&self) -> btree_map::Iter<'_, K, V> {
        self.0.iter()
    }

    /// Keys and values, the values to be changed.
    pub fn iter_mut(&mut self) -> btree_map::IterMut<'_, K, V> {
        self.0.iter_mut()
    }

    /// The keys, in order.
    pub fn keys(&self) -> btree_map::Keys<'_, K, V> {
        self.0.keys()
    }

    /// The values, in their keys' order.
    pub fn values(&self) -> btree_map::Values<'_, K, V> {
        self.0.values()
    }

    /// Takes everything out.
    pub fn take(&mut self) -> BTreeMap<K, V> {
        std::mem::take(&mut self.0)
    }
}

impl<K, V> MapState<K, V> {
    /// Holds nothing any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a, K, V> IntoIterator for &'a MapState<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A state by itself is a row too.
macro_rules! single_state {
    ([$($param:ident),*] $state:ty, $($bound:tt)*) => {
        impl<$($param),*> StateField for $state {
            #[inline]
            fn is_empty(&self) -> bool {
                <$state>::is_empty(self)
            }
        }

        impl<$($param),*> StateSet for $state where $($bound)* {
            #[inline]
            fn is_empty(&self) -> bool {
                <$state>::is_empty(self)
            }
        }
    };
}

single_state!([V] ValueState<V>, V: crate::event::Record);
single_state!([V] ListState<V>, V: crate::event::Record);
single_state!([K, V] MapState<K, V>, K: crate::key::Key, V: crate::event::Record);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[derive(Default, Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Visits {
        last: ValueState<i64>,
        pages: ListState<String>,
        by_page: MapState<String, u32>,
    }

    #[test]
    fn states_come_back_as_they_were() {
        let mut visits = Visits::default();
        for filled in [false, true] {
            if filled {
                visits.last.set(7);
                visits.pages.push("/".into());
                visits.by_page.insert("/".into(), 2);
            }
            let bytes = codec::encode(&visits).unwrap();
            assert_eq!(codec::decode::<Visits>(&bytes).unwrap(), visits);
        }
    }

    #[test]
    fn a_value_that_is_none_is_still_a_value() {
        let mut value = ValueState::<Option<u32>>::default();
        value.set(None);
        let bytes = codec::encode(&value).unwrap();
        assert_eq!(
            codec::decode::<ValueState<Option<u32>>>(&bytes).unwrap(),
            value
        );
    }

    #[test]
    fn an_update_that_returns_none_leaves_nothing() {
        let mut value = ValueState::default();
        value.update(|old: Option<u32>| Some(old.unwrap_or(0) + 1));
        assert_eq!(value.get(), Some(&1));
        value.update(|_| None);
        assert!(value.is_empty());
    }
}
