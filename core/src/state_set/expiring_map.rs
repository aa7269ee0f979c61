//! A map whose entries expire each by itself.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::expiring::{ExpiringField, NEVER, Ttl};
use super::shared::Shared;
use crate::event::Timestamp;
use crate::heap;

/// Values by a key of their own, in its order, each of which is forgotten when it hasn't been renewed for the
/// map's time to live. As with [`Expiring`](super::Expiring), that stands on the field; here a write or a read
/// is that of an entry.
///
/// ```
/// use rivus_core::{ExpiringMapState, StateSet};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Seen {
///     #[state(ttl = "1h")]
///     pages: ExpiringMapState<String, u32>,
/// }
///
/// let mut seen = Seen::default();
/// # seen.expire(0);
/// *seen.pages.get_or_default("/".into()) += 1;
/// # seen.expire(1_800_000);
/// seen.pages.insert("/about".into(), 1); // half an hour later
/// # seen.expire(3_600_000);
/// let pages: Vec<_> = seen.pages.keys().collect(); // after another half an hour
/// assert_eq!(pages, ["/about"]);
/// ```
#[derive(Debug)]
pub struct ExpiringMapState<K, V> {
    /// Some may have expired: they are passed over until they are swept out.
    entries: Shared<BTreeMap<K, Entry<V>>>,
    /// No entry was renewed before this. When one that was renewed then has expired, expired ones are swept out.
    oldest: Timestamp,
    /// The present time, if the engine has said it.
    now: Timestamp,
    /// What was renewed at this time or before has expired.
    expired: Timestamp,
    on_read: bool,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// Atomic only because rows may be shared between threads: whoever reads an entry renews it.
    renewed: AtomicI64,
}

impl<K, V> Default for ExpiringMapState<K, V> {
    fn default() -> Self {
        Self {
            entries: Shared::default(),
            oldest: NEVER,
            now: NEVER,
            expired: Timestamp::MIN,
            on_read: false,
        }
    }
}

impl<K, V> ExpiringMapState<K, V> {
    /// An entry's value, unless it has expired.
    #[inline]
    fn read<'a>(&self, entry: &'a Entry<V>) -> Option<&'a V> {
        if entry.renewed.load(Relaxed) <= self.expired {
            return None;
        }
        if self.on_read {
            entry.renewed.store(self.now, Relaxed);
        }
        Some(&entry.value)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        !self.entries.values().any(|entry| self.is_alive(entry))
    }

    /// Number of values. Looks at each.
    pub fn len(&self) -> usize {
        let alive = self.entries.values().filter(|entry| self.is_alive(entry));
        alive.count()
    }

    fn is_alive(&self, entry: &Entry<V>) -> bool {
        entry.renewed.load(Relaxed) > self.expired
    }
}

impl<K: Ord, V> ExpiringMapState<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).and_then(|entry| self.read(entry))
    }

    /// Keys and values, in the keys' order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, entry)| self.read(entry).map(|value| (key, value)))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in their keys' order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether the key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Ord + Clone, V: Clone> ExpiringMapState<K, V> {
    /// The value of a key, to be changed, which renews it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.to_mut().get_mut(key)?;
        let renewed = entry.renewed.get_mut();
        if *renewed <= self.expired {
            return None;
        }
        *renewed = self.now;
        Some(&mut entry.value)
    }

    /// The value of a key, to be changed, which renews it; its default if there was none.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.note_written();
        let entry = self.entries.to_mut().entry(key).or_insert_with(|| Entry {
            value: V::default(),
            renewed: AtomicI64::new(self.now),
        });
        let renewed = entry.renewed.get_mut();
        if std::mem::replace(renewed, self.now) <= self.expired {
            entry.value = V::default();
        }
        &mut entry.value
    }

    /// Puts a value in the place of the key's old one, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.note_written();
        let renewed = AtomicI64::new(self.now);
        let entry = Entry { value, renewed };
        let old = self.entries.to_mut().insert(key, entry);
        self.unless_expired(old)
    }

    /// Takes a key's value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let old = self.entries.to_mut().remove(key);
        self.unless_expired(old)
    }

    /// Keeps what a function says to keep. Renews nothing.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let expired = self.expired;
        let entries = self.entries.to_mut();
        entries.retain(|key, entry| *entry.renewed.get_mut() > expired && keep(key, &entry.value));
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        self.entries.set(BTreeMap::new());
    }

    /// An entry is about to be put in.
    fn note_written(&mut self) {
        self.oldest = match self.entries.is_empty() {
            true => self.now,
            // A clock may be set back.
            false => self.oldest.min(self.now),
        };
    }

    /// Entries that nobody has stamped yet live from now on.
    fn see_first(&mut self, now: Timestamp) {
        self.oldest = now;
        for entry in self.entries.to_mut().values_mut() {
            let renewed = entry.renewed.get_mut();
            match *renewed {
                NEVER => *renewed = now,
                renewed => self.oldest = self.oldest.min(renewed),
            }
        }
    }

    fn unless_expired(&self, entry: Option<Entry<V>>) -> Option<V> {
        entry
            .filter(|entry| self.is_alive(entry))
            .map(|entry| entry.value)
    }
}

impl<K: Ord + Clone + Serialize, V: Clone + Serialize> ExpiringField for ExpiringMapState<K, V> {
    const SHARES: bool = true;

    fn is_vacant(&self) -> bool {
        self.entries.here().is_some_and(BTreeMap::is_empty)
    }

    fn due(&self, ttl: Ttl) -> Option<Timestamp> {
        (!self.is_vacant()).then(|| ttl.due(self.oldest))
    }

    fn expire(&mut self, now: Timestamp, ttl: Ttl) {
        self.now = now;
        self.on_read = ttl.on_read;
        self.expired = now.saturating_sub(ttl.millis);
        if self.oldest == NEVER && !self.is_vacant() {
            self.see_first(now);
        }
        // Not at every record at which something expires: each sweep looks at all.
        if !self.is_vacant() && ttl.due(self.oldest) <= now {
            self.retain(|_, _| true);
            let renewed = self.entries.values().map(|e| e.renewed.load(Relaxed));
            self.oldest = renewed.min().unwrap_or(NEVER);
        }
    }

    /// Entries are stamped as they are used, unless the whole map was put there by who had it in hand.
    fn stamp(&mut self, now: Timestamp, ttl: Ttl) {
        if self.now == NEVER {
            self.expire(now, ttl);
        }
    }

    fn share(&mut self, ttl: Ttl) -> Self {
        // Reads that renew change what they read.
        if self.is_vacant() || ttl.on_read {
            return self.clone();
        }
        let entries = self.entries.share();
        Self { entries, ..*self }
    }

    #[inline]
    fn read_ahead(&self) {
        self.entries.read_ahead();
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        heap::map_nodes(self.entries.len(), size_of::<K>() + size_of::<Entry<V>>())
            + heap::elements_bytes(self.entries.keys())
            + heap::elements_bytes(self.entries.values())
    }
}

impl<V: Clone> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            renewed: AtomicI64::new(self.renewed.load(Relaxed)),
        }
    }
}

impl<K: Clone, V: Clone> Clone for ExpiringMapState<K, V> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            ..*self
        }
    }
}

// Pairs without a name, as Expiring is. Where the row stands in the order follows from `oldest`, so it is written too.
impl<V: Serialize> Serialize for Entry<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.value, self.renewed.load(Relaxed)).serialize(serializer)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entry<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, renewed) = Deserialize::deserialize(deserializer)?;
        let renewed = AtomicI64::new(renewed);
        Ok(Self { value, renewed })
    }
}

impl<K: Serialize, V: Serialize> Serialize for ExpiringMapState<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.oldest, &self.entries).serialize(serializer)
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de>
    for ExpiringMapState<K, V>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (oldest, entries) = Deserialize::deserialize(deserializer)?;
        Ok(Self {
            entries,
            oldest,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec;
    use crate::schema::Schema;

    type Map = ExpiringMapState<u8, u32>;

    #[derive(Debug, Clone)]
    enum Step {
        Pass(i64),
        Insert(u8, u32),
        Change(u8),
        Count(u8),
        Get(u8),
        Remove(u8),
        Keys,
        Anew,
        Made,
        Reload,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..6_u8;
        prop_oneof![
            4 => (0..40_i64).prop_map(Step::Pass),
            2 => (key.clone(), 0..9_u32).prop_map(|(key, value)| Step::Insert(key, value)),
            1 => key.clone().prop_map(Step::Change),
            2 => key.clone().prop_map(Step::Count),
            2 => key.clone().prop_map(Step::Get),
            1 => key.prop_map(Step::Remove),
            1 => Just(Step::Keys),
            1 => Just(Step::Anew),
            1 => Just(Step::Made),
            1 => Just(Step::Reload),
        ]
    }

    proptest! {
        #[test]
        fn entries_expire_each_by_itself_and_are_swept_out_in_time(
            steps in prop::collection::vec(step(), 0..80), on_read in any::<bool>(),
        ) {
            let ttl = Ttl { millis: 100, on_read };
            let mut map = Map::default();
            let mut now = 1_000;
            map.expire(now, ttl);
            // By key, the value and the time of its last renewal.
            let mut model: BTreeMap<u8, (u32, i64)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Pass(time) => {
                        // As the engine does: at the time that the row asked for, and at the next record.
                        let until = now + time;
                        while let Some(due) = map.due(ttl).filter(|due| *due <= until) {
                            map.expire(due, ttl);
                            prop_assert!(map.due(ttl).is_none_or(|next| next > due));
                        }
                        now = until;
                        map.expire(now, ttl);
                        model.retain(|_, (_, renewed)| *renewed + 100 > now);
                        // What is left of expired entries has no more than a tenth of the time to live to go.
                        let left = map.entries.values();
                        let oldest = left.map(|entry| entry.renewed.load(Relaxed)).min();
                        prop_assert!(oldest.is_none_or(|oldest| oldest + 110 > now));
                    }
                    Step::Insert(key, value) => {
                        let old = model.insert(key, (value, now)).map(|(old, _)| old);
                        prop_assert_eq!(map.insert(key, value), old);
                    }
                    Step::Change(key) => {
                        let expected = model.get_mut(&key).map(|entry| {
                            *entry = (entry.0 + 1, now);
                            entry.0
                        });
                        let changed = map.get_mut(&key).map(|value| {
                            *value += 1;
                            *value
                        });
                        prop_assert_eq!(changed, expected);
                    }
                    Step::Count(key) => {
                        let entry = model.entry(key).or_default();
                        *entry = (entry.0 + 1, now);
                        *map.get_or_default(key) += 1;
                    }
                    Step::Get(key) => {
                        let entry = model.get_mut(&key);
                        let expected = entry.map(|(value, renewed)| {
                            if on_read {
                                *renewed = now;
                            }
                            *value
                        });
                        prop_assert_eq!(map.get(&key).copied(), expected);
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(map.remove(&key), model.remove(&key).map(|(old, _)| old));
                    }
                    Step::Keys => {
                        if on_read {
                            model.values_mut().for_each(|(_, renewed)| *renewed = now);
                        }
                        let keys: Vec<u8> = map.keys().copied().collect();
                        prop_assert_eq!(keys, model.keys().copied().collect::<Vec<_>>());
                    }
                    Step::Anew => {
                        // What user code puts there, between two words of the engine.
                        let mut anew = Map::default();
                        for (key, value) in map.iter() {
                            anew.insert(*key, *value);
                        }
                        map = anew;
                        map.stamp(now, ttl);
                        model.values_mut().for_each(|(_, renewed)| *renewed = now);
                    }
                    Step::Made => {
                        // What a migration makes, and nobody sees before it is written.
                        let mut made = Map::default();
                        for (key, (value, _)) in &model {
                            made.insert(*key, *value);
                        }
                        map = codec::decode(&codec::encode(&made).unwrap()).unwrap();
                        map.expire(now, ttl);
                        model.values_mut().for_each(|(_, renewed)| *renewed = now);
                    }
                    Step::Reload => {
                        let due = map.due(ttl);
                        map = codec::decode(&codec::encode(&map).unwrap()).unwrap();
                        prop_assert_eq!(map.due(ttl), due);
                        map.expire(now, ttl);
                    }
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn two_maps_of_a_row_have_a_schema() {
        type Row = (Map, ExpiringMapState<String, bool>);
        let schema = Schema::of::<Row>().to_string();
        assert!(
            !schema.contains("ExpiringMapState"),
            "only a name: {schema}"
        );
    }
}
