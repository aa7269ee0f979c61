//! States that are forgotten when they weren't renewed for a while.
//!
//! Beside its state each field keeps the processing time of its last renewal, which is part of the row and so
//! of every snapshot. The engine says [`StateSet::expire`](super::StateSet::expire) before user code sees a
//! row and [`StateSet::stamp`](super::StateSet::stamp) after it. Which row is to be looked at next without
//! being touched follows from the stamps alone (`Ttl::due`): rounded up, so that a row that is renewed all
//! the time moves ten times per TTL in that order and not at every record.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StateField;
use crate::event::Timestamp;

/// A state that is empty again when it hasn't been renewed for its time to live, by the wall clock.
///
/// The time to live stands on the field: `#[state(ttl = "1h")]`, in `ms`, `s`, `m`, `h` or `d`. What renews
/// it is a write, which is any use of it as `&mut`; with `renew = "read_and_write"` any use. A list is renewed
/// and expires as a whole, and so is a map; where each entry is to live by itself, take an
/// [`ExpiringMapState`](super::ExpiringMapState). What has expired is never seen; its memory is given back at
/// most a tenth of the time to live later, whether its key comes again or not.
///
/// ```
/// use rivus_core::{Expiring, StateSet, ValueState};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Seen {
///     #[state(ttl = "1h")]
///     last: Expiring<ValueState<u32>>,
///     #[state(ttl = "7d", renew = "read_and_write")]
///     name: Expiring<ValueState<String>>,
///     total: ValueState<u64>,
/// }
///
/// let mut seen = Seen::default();
/// seen.last.set(7);
/// assert_eq!(seen.last.get(), Some(&7));
/// # seen.stamp(1_000);
/// # seen.expire(1_000 + 3_599_999);
/// # assert_eq!(seen.last.get(), Some(&7));
/// # seen.stamp(1_000 + 3_599_999); // a read renews only where that was asked for
/// # seen.expire(1_000 + 3_600_000);
/// # assert!(seen.last.is_empty());
/// ```
///
/// Without a time to live it is refused, and so is a time to live on a field that isn't expiring:
///
/// ```compile_fail
/// # use rivus_core::{Expiring, StateSet, ValueState};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")]
/// struct Seen {
///     last: Expiring<ValueState<u32>>, // for how long? add `#[state(ttl = "1h")]`
/// }
/// ```
///
/// ```compile_fail
/// # use rivus_core::{Expiring, StateSet, ValueState};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")]
/// struct Seen {
///     #[state(ttl = "1h")]
///     last: ValueState<u32>, // make it an Expiring<ValueState<u32>>
/// }
/// ```
#[derive(Debug)]
pub struct Expiring<S> {
    state: S,
    /// When it was last renewed; [`NEVER`] while it is empty.
    renewed: Timestamp,
    /// How it was used since it was last stamped. Atomic only because rows may be shared between threads.
    used: AtomicU8,
}

/// What the engine has not stamped yet: it was made by code that knows no time, such as a migration, and lives from when the engine
/// first sees it. No clock shows it, and it is written in one byte.
pub(super) const NEVER: Timestamp = -1;

/// Uses of a state.
const READ: u8 = 1;
const WRITTEN: u8 = 2;

/// For how long a state lives, and what renews it. Made by the derive macro from `#[state(ttl = "..")]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    /// Milliseconds.
    pub millis: i64,
    /// Whether a read renews it too.
    pub on_read: bool,
}

impl Ttl {
    /// By how much later than it expires a state may be looked at, so that renewals hardly change the order.
    fn slack(self) -> i64 {
        (self.millis / 10).max(1)
    }

    /// When a row is to be looked at that has a state last renewed at a time: when it has expired, rounded up.
    pub(super) fn due(self, renewed: Timestamp) -> Timestamp {
        let (expires, slack) = (renewed.saturating_add(self.millis), self.slack());
        match expires.rem_euclid(slack) {
            0 => expires,
            over => expires.saturating_add(slack - over),
        }
    }
}

/// What a field with a time to live does as time passes: for the code that the derive macro makes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` doesn't expire",
    label = "has a `ttl`, and doesn't expire",
    note = "make it Expiring<{Self}>, or an ExpiringMapState<.., ..>; or leave the `ttl` out"
)]
pub trait ExpiringField: Sized {
    /// As [`StateField::SHARES`].
    const SHARES: bool;

    /// Whether it holds nothing, so that its row may be removed.
    fn is_vacant(&self) -> bool;

    /// When its row is to be looked at, if it holds anything: when some of it has expired, and at most a tenth of
    /// its time to live later. Follows from what is serialized.
    fn due(&self, ttl: Ttl) -> Option<Timestamp>;

    /// Forgets what has expired at a time.
    fn expire(&mut self, now: Timestamp, ttl: Ttl);

    /// Notes what was renewed at a time.
    fn stamp(&mut self, now: Timestamp, ttl: Ttl);

    /// As [`StateField::share`].
    fn share(&mut self, ttl: Ttl) -> Self;

    /// As [`StateField::read_ahead`].
    fn read_ahead(&self);

    /// As [`StateField::heap_bytes`].
    fn heap_bytes(&self) -> usize;
}

impl<S: StateField + Default + Clone> ExpiringField for Expiring<S> {
    const SHARES: bool = S::SHARES;

    #[inline]
    fn is_vacant(&self) -> bool {
        self.state.is_empty()
    }

    #[inline]
    fn due(&self, ttl: Ttl) -> Option<Timestamp> {
        (!self.state.is_empty()).then(|| ttl.due(self.renewed))
    }

    #[inline]
    fn expire(&mut self, now: Timestamp, ttl: Ttl) {
        if self.state.is_empty() {
            return;
        }
        if self.renewed == NEVER {
            self.renewed = now;
        } else if self.renewed.saturating_add(ttl.millis) <= now {
            *self = Self::default();
        }
    }

    #[inline]
    fn stamp(&mut self, now: Timestamp, ttl: Ttl) {
        let used = std::mem::take(self.used.get_mut());
        if self.state.is_empty() {
            self.renewed = NEVER;
        } else if used & WRITTEN != 0 || (ttl.on_read && used & READ != 0) {
            self.renewed = now;
        }
    }

    #[inline]
    fn share(&mut self, _ttl: Ttl) -> Self {
        Self {
            state: self.state.share(),
            renewed: self.renewed,
            used: AtomicU8::new(0),
        }
    }

    #[inline]
    fn read_ahead(&self) {
        self.state.read_ahead();
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        self.state.heap_bytes()
    }
}

impl<S: Default> Default for Expiring<S> {
    fn default() -> Self {
        Self {
            state: S::default(),
            renewed: NEVER,
            used: AtomicU8::new(0),
        }
    }
}

impl<S> Deref for Expiring<S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        // Whoever has it in hand stamps it too: no use is lost between the two.
        self.used.store(self.used.load(Relaxed) | READ, Relaxed);
        &self.state
    }
}

impl<S> DerefMut for Expiring<S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        *self.used.get_mut() |= WRITTEN;
        &mut self.state
    }
}

impl<S: Clone> Clone for Expiring<S> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            renewed: self.renewed,
            used: AtomicU8::new(self.used.load(Relaxed)),
        }
    }
}

// A pair without a name: as a struct, two of them would be two types of one name to the schema.
impl<S: Serialize> Serialize for Expiring<S> {
    fn serialize<Out: Serializer>(&self, serializer: Out) -> Result<Out::Ok, Out::Error> {
        (&self.state, self.renewed).serialize(serializer)
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Expiring<S> {
    fn deserialize<In: Deserializer<'de>>(deserializer: In) -> Result<Self, In::Error> {
        let (state, renewed) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            state,
            renewed,
            used: AtomicU8::new(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ListState, StateSet, ValueState};
    use super::*;
    use crate::codec;
    use crate::schema::Schema;

    const TTL: Ttl = Ttl {
        millis: 100,
        on_read: false,
    };

    const ON_READ: Ttl = Ttl {
        on_read: true,
        ..TTL
    };

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    #[state(crate = "crate")]
    struct Row {
        #[state(ttl = "100ms")]
        last: Expiring<ValueState<u32>>,
        #[state(ttl = "1s", renew = "read_and_write")]
        all: Expiring<ListState<u32>>,
        total: ValueState<u32>,
    }

    #[test]
    fn a_write_renews_and_a_read_only_where_that_was_asked_for() {
        type Use = fn(&mut Expiring<ValueState<u32>>);
        let (read, write): (Use, Use) = (|state| assert!(state.get().is_some()), |s| s.set(2));
        let table: [(Ttl, Use, Option<Timestamp>); 5] = [
            (TTL, |_| {}, Some(110)),
            (TTL, read, Some(110)),
            (TTL, write, Some(160)),
            (ON_READ, read, Some(160)),
            (ON_READ, |state| state.clear(), None),
        ];
        for (ttl, how, due) in table {
            let mut state = Expiring::<ValueState<u32>>::default();
            state.set(1);
            Expiring::stamp(&mut state, 10, ttl);
            how(&mut state);
            Expiring::stamp(&mut state, 60, ttl);
            assert_eq!(Expiring::due(&state, ttl), due, "{ttl:?}");
        }
    }

    #[test]
    fn states_of_a_row_expire_each_by_itself() {
        let mut row = Row::default();
        assert_eq!(row.due(), None);
        row.all.push(1);
        row.total.set(1);
        row.stamp(0);
        assert_eq!(row.due(), Some(1_000));
        row.last.set(1);
        row.stamp(7);
        assert_eq!(row.due(), Some(110));
        row.expire(106);
        assert!(!row.last.is_empty());
        row.expire(107);
        assert!(row.last.is_empty() && !row.all.is_empty());
        assert_eq!(row.due(), Some(1_000));
        row.expire(1_000);
        assert!(row.all.is_empty() && !StateSet::is_empty(&row));
        assert_eq!(row.due(), None);
    }

    #[test]
    fn the_stamps_are_part_of_the_row_and_its_schema_is_known() {
        let mut row = Row::default();
        row.last.set(5);
        row.stamp(40);
        let mut back: Row = codec::decode(&codec::encode(&row).unwrap()).unwrap();
        assert_eq!(back.due(), Some(140));
        back.expire(140);
        assert!(StateSet::is_empty(&back));
        assert!(Schema::of::<Row>().to_string().starts_with("Row {"));
    }

    #[test]
    fn what_was_never_stamped_lives_from_when_it_is_first_seen() {
        // A migration makes such a state, which is written before anybody has seen it.
        let mut made = Row::default();
        made.last.set(5);
        let mut row: Row = codec::decode(&codec::encode(&made).unwrap()).unwrap();
        assert!(row.due() < Some(1_000_000), "it is looked at at once");
        row.expire(1_000_000);
        assert_eq!(row.due(), Some(1_000_100));
        row.expire(1_000_099);
        assert_eq!(row.last.get(), Some(&5));
        row.expire(1_000_100);
        assert!(StateSet::is_empty(&row));
    }

    proptest! {
        #[test]
        fn a_row_is_looked_at_when_its_state_has_expired_and_hardly_later(
            millis in prop_oneof![1..50_i64, 1..i64::MAX], renewed in any::<i64>(),
        ) {
            let ttl = Ttl { millis, on_read: false };
            let (expires, due) = (renewed.saturating_add(millis), ttl.due(renewed));
            prop_assert!(due >= expires);
            prop_assert!(due.saturating_sub(expires) < (millis / 10).max(1) || due == i64::MAX);
        }
    }
}
