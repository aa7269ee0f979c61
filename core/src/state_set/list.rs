//! A state that is a list.

use serde::{Deserialize, Serialize};

use super::StateField;
use super::shared::Shared;
use crate::heap;

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
pub struct ListState<V>(Shared<Vec<V>>);

impl<V> Default for ListState<V> {
    fn default() -> Self {
        Self(Shared::default())
    }
}

impl<V> ListState<V> {
    /// The value at a place, counted from 0.
    pub fn get(&self, index: usize) -> Option<&V> {
        self.0.get(index)
    }

    /// The values.
    pub fn iter(&self) -> std::slice::Iter<'_, V> {
        self.0.iter()
    }

    /// The values as a slice.
    pub fn as_slice(&self) -> &[V] {
        &self.0
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.here().is_some_and(Vec::is_empty)
    }
}

impl<V: Clone> ListState<V> {
    /// Puts a value at the end.
    #[inline]
    pub fn push(&mut self, value: V) {
        self.0.to_mut().push(value);
    }

    /// Takes the last value off.
    pub fn pop(&mut self) -> Option<V> {
        self.0.to_mut().pop()
    }

    /// The values, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.0.to_mut().iter_mut()
    }

    /// Keeps what a function says to keep.
    pub fn retain(&mut self, keep: impl FnMut(&V) -> bool) {
        self.0.to_mut().retain(keep);
    }

    /// Puts values in the place of all old ones.
    pub fn set(&mut self, values: Vec<V>) {
        self.0.set(values);
    }

    /// Takes some values out.
    ///
    /// # Panics
    /// If the range ends past the list's end.
    pub fn drain(&mut self, range: impl std::ops::RangeBounds<usize>) -> std::vec::Drain<'_, V> {
        self.0.to_mut().drain(range)
    }

    /// Takes all values out.
    pub fn take(&mut self) -> Vec<V> {
        self.0.take()
    }

    /// Holds nothing any more, and gives the memory back.
    pub fn clear(&mut self) {
        self.0.set(Vec::new());
    }
}

impl<V: Clone + Serialize> StateField for ListState<V> {
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
        heap::list_bytes(&self.0)
    }
}

impl<V: Clone> Extend<V> for ListState<V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, values: I) {
        self.0.to_mut().extend(values);
    }
}

impl<'a, V> IntoIterator for &'a ListState<V> {
    type Item = &'a V;
    type IntoIter = std::slice::Iter<'a, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
