//! A state that is one value.

use std::mem::needs_drop;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::StateField;
use super::shared::Shared;
use crate::heap;

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
pub struct ValueState<V>(Shared<Option<V>>);

// A list of none or one: as an option, MessagePack couldn't tell Some(None) from None.
impl<V: Serialize> Serialize for ValueState<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ValueState<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = SmallVec::<[V; 1]>::deserialize(deserializer)?;
        Ok(Self(Shared::Own(values.pop())))
    }
}

impl<V> Default for ValueState<V> {
    fn default() -> Self {
        Self(Shared::default())
    }
}

impl<V> ValueState<V> {
    /// The value.
    #[inline]
    pub fn get(&self) -> Option<&V> {
        self.0.as_ref()
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.here().is_some_and(Option::is_none)
    }
}

impl<V: Clone> ValueState<V> {
    /// The value, to be changed.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut V> {
        self.0.to_mut().as_mut()
    }

    /// The value, to be changed; its default if there was none.
    #[inline]
    pub fn get_or_default(&mut self) -> &mut V
    where
        V: Default,
    {
        self.0.to_mut().get_or_insert_with(V::default)
    }

    /// Puts a value in the place of the old one.
    #[inline]
    pub fn set(&mut self, value: V) {
        self.0.set(Some(value));
    }

    /// Puts in what a function makes of the old value.
    pub fn update(&mut self, with: impl FnOnce(Option<V>) -> Option<V>) {
        let value = with(self.0.take());
        self.0.set(value);
    }

    /// Takes the value out.
    #[inline]
    pub fn take(&mut self) -> Option<V> {
        self.0.take()
    }

    /// Holds nothing any more.
    #[inline]
    pub fn clear(&mut self) {
        self.0.set(None);
    }
}

impl<V: Clone + Serialize> StateField for ValueState<V> {
    const SHARES: bool = needs_drop::<V>();

    #[inline]
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    /// Plain data is copied.
    #[inline]
    fn share(&mut self) -> Self {
        if Self::SHARES && !self.is_empty() {
            Self(self.0.share())
        } else {
            self.clone()
        }
    }

    #[inline]
    fn read_ahead(&self) {
        self.0.read_ahead();
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        self.get().map_or(0, heap::heap_bytes)
    }
}
