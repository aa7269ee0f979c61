//! A state that folds values into one.

use serde::{Deserialize, Serialize};

use super::{StateField, ValueState};

/// One value that all those that are added are folded into, or none before the first.
///
/// ```
/// use rivus_core::ReducingState;
///
/// let mut longest = ReducingState::<String>::default();
/// for word in ["to", "not", "be"] {
///     longest.add(word.to_owned(), |longest, word| {
///         if word.len() > longest.len() {
///             *longest = word;
///         }
///     });
/// }
/// assert_eq!(longest.take().unwrap(), "not");
/// assert!(longest.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReducingState<V>(ValueState<V>);

impl<V> Default for ReducingState<V> {
    fn default() -> Self {
        Self(ValueState::default())
    }
}

impl<V> ReducingState<V> {
    /// What the values have been folded into.
    #[inline]
    pub fn get(&self) -> Option<&V> {
        self.0.get()
    }

    /// Whether no value was added.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Clone> ReducingState<V> {
    /// Folds a value into the one that is there; the first is there as it is.
    #[inline]
    pub fn add(&mut self, value: V, fold: impl FnOnce(&mut V, V)) {
        match self.0.get_mut() {
            Some(folded) => fold(folded, value),
            None => self.0.set(value),
        }
    }

    /// Takes it out.
    #[inline]
    pub fn take(&mut self) -> Option<V> {
        self.0.take()
    }

    /// Holds nothing any more.
    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<V: Clone + Serialize> StateField for ReducingState<V> {
    const SHARES: bool = <ValueState<V> as StateField>::SHARES;

    #[inline]
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    #[inline]
    fn share(&mut self) -> Self {
        Self(self.0.share())
    }

    #[inline]
    fn read_ahead(&self) {
        StateField::read_ahead(&self.0);
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        StateField::heap_bytes(&self.0)
    }
}
