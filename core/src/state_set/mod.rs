//! Keyed state as its author declares it: a struct of states is the row that a key owns.
//!
//! State is row oriented: one probe finds all of a key's state, one row is written to a snapshot. A row
//! whose state is empty, and that has no timer, is removed; so clearing is all that a program must do to
//! keep its state from growing.
//!
//! **Snapshots.** A row that changes before a snapshot has written it is copied first, by [`StateSet::share`]: small fields are
//! copied, and of a text, a list or a map only the fact that row and copy have it in common. Whichever field is changed first is copied
//! then, by itself (`shared`). Whatever a program does with its row, assigning a whole field or all of them included, the copy stays
//! what it is.

mod expiring;
mod expiring_map;
mod list;
mod map;
mod reducing;
mod shared;
mod value;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::expiring::{Expiring, ExpiringField, Ttl};
pub use self::expiring_map::ExpiringMapState;
pub use self::list::ListState;
pub use self::map::MapState;
pub use self::reducing::ReducingState;
pub use self::value::ValueState;
use crate::event::Timestamp;
use crate::heap;

/// Implements [`StateSet`] for a struct with named fields that are all states.
///
/// The code it makes names the crate `rivus`; `#[state(crate = "rivus_core")]` names another.
pub use rivus_macros::StateSet;

/// One state of a key: [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`], or
/// one of the operators' own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "not a state",
    note = "wrap it: ValueState<{Self}>, ListState<..> or MapState<.., ..>; what is Expiring says for how long: \
            #[state(ttl = \"1h\")]"
)]
pub trait StateField {
    /// Whether a copy for a snapshot has something in common with it, and so costs less than writing it.
    const SHARES: bool = false;

    /// Whether it holds nothing, so that its row may be removed.
    fn is_empty(&self) -> bool;

    /// A copy as it is now, for a snapshot that is written later. What is large is not copied before it changes.
    #[inline]
    fn share(&mut self) -> Self
    where
        Self: Clone,
    {
        self.clone()
    }

    /// Asks for the memory that [`share`](Self::share) will need beside its own.
    #[inline]
    fn read_ahead(&self) {}

    /// Bytes that it takes beside its own place, about; see [`StateSet::heap_bytes`].
    fn heap_bytes(&self) -> usize;
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
    /// Whether anything in it expires. What doesn't costs nothing for it.
    const EXPIRES: bool = false;

    /// For how long its fields live. [`due`](Self::due) follows from them.
    const LIFETIMES: &'static [Ttl] = &[];

    /// Whether any field [shares](StateField::SHARES).
    const SHARES: bool = false;

    /// Whether nothing is held, so that the row may be removed.
    fn is_empty(&self) -> bool;

    /// Forgets what has expired at a processing time. The engine says so before user code sees the row.
    #[inline]
    fn expire(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// Notes what user code has renewed at a processing time. The engine says so after it.
    #[inline]
    fn stamp(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// When the row is to be looked at because something in it will have expired; follows from what was stamped.
    #[inline]
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// A copy as it is now, for a snapshot that is written later, [field by field](StateField::share).
    #[inline]
    fn share(&mut self) -> Self {
        self.clone()
    }

    /// Asks for the memory that [`share`](Self::share) will need beside its own.
    #[inline]
    fn read_ahead(&self) {}

    /// Bytes that the row takes beside its own place, about: by them a backend's memory is shared out. Asked for often, so a large
    /// list or map is known by its length and a few of its elements.
    ///
    /// States know what they take. The values in them are any type that serde can carry, and serde tells what is
    /// in them, not what holds it: a text counts as a `String`, a sequence as a `Vec` without room to spare, a map as a `BTreeMap`.
    /// What is shared, as by an `Arc`, counts for each that has it; what holds small things in its own place, or a field with `#[serde(skip)]`,
    /// isn't known.
    ///
    /// ```
    /// use rivus_core::{MapState, StateSet};
    ///
    /// let mut visits = MapState::<String, u32>::default();
    /// assert_eq!(visits.heap_bytes(), 0);
    /// visits.insert("/a/page/with/a/name/longer/than/that".into(), 1);
    /// assert!(visits.heap_bytes() >= 36);
    /// ```
    #[inline]
    fn heap_bytes(&self) -> usize {
        heap::heap_bytes(self)
    }
}

/// No state at all, only timers.
impl StateSet for () {
    fn is_empty(&self) -> bool {
        true
    }
}

/// A state by itself is a row too.
macro_rules! single_state {
    ([$($param:ident),*] $state:ty, $($bound:tt)*) => {
        impl<$($param),*> StateSet for $state where $($bound)* {
            const SHARES: bool = <$state as StateField>::SHARES;

            #[inline]
            fn is_empty(&self) -> bool {
                <$state>::is_empty(self)
            }

            #[inline]
            fn share(&mut self) -> Self {
                StateField::share(self)
            }

            #[inline]
            fn read_ahead(&self) {
                StateField::read_ahead(self);
            }

            #[inline]
            fn heap_bytes(&self) -> usize {
                StateField::heap_bytes(self)
            }
        }
    };
}

single_state!([V] ValueState<V>, V: crate::event::Record);
single_state!([V] ListState<V>, V: crate::event::Record);
single_state!([V] ReducingState<V>, V: crate::event::Record);
single_state!([K, V] MapState<K, V>, K: crate::key::Key, V: crate::event::Record);

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::codec;

    #[derive(Default, Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Visits {
        last: ValueState<i64>,
        pages: ListState<String>,
        by_page: MapState<String, u32>,
        longest: ReducingState<String>,
    }

    #[test]
    fn states_come_back_as_they_were() {
        let mut visits = Visits::default();
        for filled in [false, true] {
            if filled {
                visits.last.set(7);
                visits.pages.push("/".into());
                visits.by_page.insert("/".into(), 2);
                visits.longest.add("/".into(), |_, _| {});
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
