//! What a row and the snapshot of it have in common until the row changes it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::prefetch;

/// A value that is its owner's alone, mostly. A copy for a snapshot doesn't copy it: from then on the two have it in
/// common. Whoever changes it first takes a copy, and whoever is left with it alone takes it as it is.
///
/// It costs no room where the value leaves some bits unused, and nothing but a look at these while it is not shared. What was
/// shared once lies elsewhere until it is changed, so only what is worth it is to be shared: never what is empty.
pub(super) enum Shared<T> {
    Own(T),
    Common(Arc<T>),
}

impl<T> Shared<T> {
    /// The value, if it lies here and not elsewhere; what lies elsewhere is not empty.
    #[inline]
    pub(super) fn here(&self) -> Option<&T> {
        match self {
            Self::Own(value) => Some(value),
            Self::Common(_) => None,
        }
    }
}

impl<T: Clone + Default> Shared<T> {
    /// The value, to be changed.
    #[inline]
    pub(super) fn to_mut(&mut self) -> &mut T {
        if let Self::Common(_) = self {
            self.part();
        }
        match self {
            Self::Own(value) => value,
            Self::Common(value) => Arc::make_mut(value),
        }
    }

    /// Puts a value in the place of the old one, which is not copied.
    #[inline]
    pub(super) fn set(&mut self, value: T) {
        *self = Self::Own(value);
    }

    /// Takes the value out.
    #[inline]
    pub(super) fn take(&mut self) -> T {
        match std::mem::take(self) {
            Self::Own(value) => value,
            Self::Common(value) => Arc::unwrap_or_clone(value),
        }
    }

    /// Asks for the memory that [`share`](Self::share) will need: the count of owners, where there is one.
    #[inline]
    pub(super) fn read_ahead(&self) {
        if let Self::Common(value) = self {
            prefetch::before(Arc::as_ptr(value));
        }
    }

    /// A copy for a snapshot.
    pub(super) fn share(&mut self) -> Self {
        let common = match std::mem::take(self) {
            Self::Own(value) => Arc::new(value),
            Self::Common(value) => value,
        };
        *self = Self::Common(Arc::clone(&common));
        Self::Common(common)
    }

    #[cold]
    fn part(&mut self) {
        let value = self.take();
        self.set(value);
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Own(value) => value,
            Self::Common(value) => value,
        }
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::Own(T::default())
    }
}

/// A program's copy has nothing in common with anything.
impl<T: Clone> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self::Own(T::clone(self))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        T::eq(self, other)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        T::serialize(self, serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Own)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static COPIES: Cell<u32> = const { Cell::new(0) };
    }

    #[derive(Debug, Default, PartialEq)]
    struct Counted(u32);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            COPIES.set(COPIES.get() + 1);
            Self(self.0)
        }
    }

    #[test]
    fn only_a_change_of_what_is_in_common_copies_it_and_only_the_first_one() {
        let mut live = Shared::Own(Counted(1));
        let frozen = live.share();
        assert_eq!(*live, *frozen);
        assert_eq!(COPIES.get(), 0);
        live.to_mut().0 = 2;
        live.to_mut().0 = 3;
        assert_eq!((live.0, frozen.0, COPIES.get()), (3, 1, 1));
        let mut frozen = live.share();
        live.set(Counted(4));
        assert_eq!((live.0, frozen.take().0, COPIES.get()), (4, 3, 1));
        // The snapshot has been written.
        drop(live.share());
        live.to_mut().0 = 5;
        assert_eq!((live.take().0, COPIES.get()), (5, 1));
        assert_eq!(*live, Counted(0));
    }

    #[test]
    fn it_takes_no_room() {
        assert_eq!(size_of::<Shared<Option<u64>>>(), size_of::<Option<u64>>());
        assert_eq!(size_of::<Shared<Option<String>>>(), size_of::<String>());
        assert_eq!(size_of::<Shared<Vec<u64>>>(), size_of::<Vec<u64>>());
    }
}
