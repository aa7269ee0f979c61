//! Rows in an order that follows from them: by the time of a timer, by the number of a pane.
//!
//! An order is not part of a snapshot's rows. In memory it is a set of places. Over a store it lies in the store too: what
//! changed lately is kept beside it ([`StoredOrder::pending`]), what comes next is read ahead ([`StoredOrder::head`]),
//! and both together are what is true. Where a snapshot is the store's files the order is in them: it is written to the
//! store at the barrier, and then not again before the files are made.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RowId, Table, VisitedRow};
use crate::failure::Failure;
use crate::key::Key;
use crate::store::{Changes, Hold, Space, StateStore};

/// Changes that are kept in memory before they go to the store. Few in this crate's tests, so that they see it happen.
const PENDING: usize = if cfg!(test) { 5 } else { 8_192 };

/// Entries that are read ahead.
const HEAD: usize = if cfg!(test) { 3 } else { 1_024 };

/// Bytes before the row's key: the list and the place.
const PREFIX: usize = 9;

/// Rows of a table in the order of a number, each row at most once for each number; then by key group, and within one as
/// the backend has it.
///
/// ```
/// use rivus_core::{KeyGroupRange, RowOrder, Table, key_hash};
///
/// let mut table: Table<String, u64> = Table::new(KeyGroupRange::of(0, 1, 128), 128);
/// let mut order = RowOrder::new(&table, 0);
/// for (key, place) in [("late", 9), ("early", 3)] {
///     let id = table.find_or_insert(key_hash(key), key, || (key.to_owned(), 0))?;
///     order.insert(place, id, &table)?;
/// }
/// let mut taken = Vec::new();
/// order.take_groups(5, 10, &mut table, &mut taken)?;
/// assert_eq!(table.key(taken[0].1), "early");
/// assert_eq!(order.first(5)?, Some(9));
/// # Ok::<(), rivus_core::Failure>(())
/// ```
pub struct RowOrder {
    kind: Kind,
}

enum Kind {
    Memory(BTreeSet<(i64, RowId)>),
    Stored(StoredOrder),
}

struct StoredOrder {
    store: Arc<dyn StateStore>,
    /// Whether changes have to wait.
    hold: Arc<Hold>,
    list: u8,
    /// By entry, what the store doesn't know yet: `true` is one that it lacks, `false` one that it still has.
    pending: BTreeMap<Vec<u8>, bool>,
    head: Option<Head>,
    /// The store has no entry before this one.
    lowest: Vec<u8>,
}

/// Entries of the store that are still there, from one on and without a gap.
struct Head {
    from: Vec<u8>,
    entries: VecDeque<Vec<u8>>,
    /// Whether the store has none after them.
    is_last: bool,
}

impl Head {
    fn covers(&self, from: &[u8]) -> bool {
        self.from.as_slice() <= from
    }

    /// An entry of the store is there again, or not any more.
    fn change(&mut self, entry: &[u8], there: bool) {
        let at = self
            .entries
            .partition_point(|other| other.as_slice() < entry);
        let found = self.entries.get(at).is_some_and(|other| other == entry);
        let within = self.covers(entry) && (self.is_last || at < self.entries.len());
        if there && within && !found {
            self.entries.insert(at, entry.to_vec());
        } else if !there && found {
            self.entries.remove(at);
        }
    }
}

/// How far an order has been read. Begins at a number's first row.
#[derive(Debug, Clone, Default)]
pub struct OrderCursor(Option<CursorAt>);

#[derive(Debug, Clone)]
enum CursorAt {
    Memory(RowId),
    Stored(Vec<u8>),
}

impl RowOrder {
    /// An order of a table's rows, empty unless it came with the rows' store. `list` tells the orders of one table apart.
    pub fn new<K: Key, V: Serialize + DeserializeOwned>(table: &Table<K, V>, list: u8) -> Self {
        let kind = match &table.stored {
            None => Kind::Memory(BTreeSet::new()),
            Some(stored) => Kind::Stored(StoredOrder {
                store: Arc::clone(&stored.store),
                hold: Arc::clone(&stored.hold),
                list,
                pending: BTreeMap::new(),
                head: None,
                lowest: vec![list],
            }),
        };
        Self { kind }
    }

    /// Puts a row in at a place where it is not yet.
    ///
    /// # Errors
    /// If the key can't be encoded or the store can't be written.
    #[inline]
    pub fn insert<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        place: i64,
        id: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Memory(set) => {
                set.insert((place, id));
                Ok(())
            }
            Kind::Stored(order) => order.change(place, &table.stored_key(id)?, true),
        }
    }

    /// Puts a row in that a visit came by.
    ///
    /// # Errors
    /// If the store can't be written.
    pub fn enter(&mut self, place: i64, row: VisitedRow<'_>) -> Result<(), Failure> {
        match (&mut self.kind, row) {
            (Kind::Memory(set), VisitedRow::Id(id)) => {
                set.insert((place, id));
                Ok(())
            }
            (Kind::Stored(order), VisitedRow::Stored(key)) => order.change(place, key, true),
            _ => Err(Failure::job("an order was given a row of another table")),
        }
    }

    /// Takes a row out of a place where it is.
    ///
    /// # Errors
    /// If the key can't be encoded or the store can't be written.
    #[inline]
    pub fn remove<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        place: i64,
        id: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Memory(set) => {
                set.remove(&(place, id));
                Ok(())
            }
            Kind::Stored(order) => order.change(place, &table.stored_key(id)?, false),
        }
    }

    /// The first place from `from` on that has a row.
    ///
    /// # Errors
    /// If the store can't be read.
    #[inline]
    pub fn first(&mut self, from: i64) -> Result<Option<i64>, Failure> {
        match &mut self.kind {
            Kind::Memory(set) => {
                let first = set.range((from, RowId::FIRST)..).next();
                Ok(first.map(|(place, _)| *place))
            }
            Kind::Stored(order) => {
                let from = order.entry(from, &[]);
                let first = order.next(&from, false)?;
                Ok(first.map(|entry| place_of(&entry)))
            }
        }
    }

    /// Takes about `limit` rows of the first place out, if it is not after `until`, and makes sure that they are in memory. Rows that were found before may not be, after this.
    ///
    /// Whole key groups: what is taken can be put in the order of its keys, whatever the backend.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn take_groups<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        until: i64,
        limit: usize,
        table: &mut Table<K, V>,
        into: &mut Vec<(i64, RowId)>,
    ) -> Result<(), Failure> {
        let Some(place) = self.first(i64::MIN)?.filter(|place| *place <= until) else {
            return Ok(());
        };
        match &mut self.kind {
            Kind::Memory(set) => {
                let room = |into: &[(i64, RowId)], next: RowId| {
                    let group = into.last().map(|(_, last)| last.group());
                    into.len() < limit || group == Some(next.group())
                };
                while let Some(next) = set.first().copied()
                    && next.0 == place
                    && room(into, next.1)
                {
                    set.pop_first();
                    into.push(next);
                }
                Ok(())
            }
            Kind::Stored(order) => {
                let group = |entry: &[u8]| table.group_of_stored(&entry[PREFIX..]);
                let entries = order.of_place(place, None, |entries, next| {
                    let last = entries.last();
                    entries.len() < limit || last.map(|last| group(last)) == Some(group(next))
                })?;
                order.take_out(place, &entries)?;
                find_all(place, &entries, table, |id| into.push((place, id)))
            }
        }
    }

    /// Takes at most `limit` rows of a place out, and makes sure that they are in memory. Rows that were found before may not
    /// be, after this.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn take<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        place: i64,
        limit: usize,
        table: &mut Table<K, V>,
        into: &mut Vec<RowId>,
    ) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Memory(set) => {
                while into.len() < limit
                    && let Some(next) = set.range((place, RowId::FIRST)..).next().copied()
                    && next.0 == place
                {
                    set.remove(&next);
                    into.push(next.1);
                }
                Ok(())
            }
            Kind::Stored(order) => {
                let entries = order.of_place(place, None, |entries, _| entries.len() < limit)?;
                order.take_out(place, &entries)?;
                find_all(place, &entries, table, |id| into.push(id))
            }
        }
    }

    /// Reads about `limit` rows of one place, after a cursor, which it moves on; none are left when none come. Makes sure
    /// that they are in memory; rows that were found before may not be, after this.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn read<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        place: i64,
        cursor: &mut OrderCursor,
        limit: usize,
        table: &mut Table<K, V>,
        into: &mut Vec<RowId>,
    ) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Memory(set) => {
                let after = match &cursor.0 {
                    Some(CursorAt::Memory(id)) => Excluded((place, *id)),
                    _ => Included((place, RowId::FIRST)),
                };
                let rows = set.range((after, Unbounded)).take(limit);
                into.extend(
                    rows.take_while(|(other, _)| *other == place)
                        .map(|(_, id)| *id),
                );
                if let Some(last) = into.last() {
                    cursor.0 = Some(CursorAt::Memory(*last));
                }
                Ok(())
            }
            Kind::Stored(order) => {
                let after = match &cursor.0 {
                    Some(CursorAt::Stored(entry)) => Some(entry.as_slice()),
                    _ => None,
                };
                let room = |entries: &[Vec<u8>], _: &[u8]| entries.len() < limit;
                let entries = order.of_place(place, after, room)?;
                if let Some(last) = entries.last() {
                    cursor.0 = Some(CursorAt::Stored(last.clone()));
                }
                find_all(place, &entries, table, |id| into.push(id))
            }
        }
    }

    /// Writes what the store doesn't know yet.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Memory(_) => Ok(()),
            Kind::Stored(order) => order.flush(),
        }
    }

    /// Entries that are in memory: all of them, or those that the store doesn't know yet.
    pub fn in_memory(&self) -> usize {
        match &self.kind {
            Kind::Memory(set) => set.len(),
            Kind::Stored(order) => order.pending.len(),
        }
    }
}

/// Loads the rows of entries and finds them.
fn find_all<K: Key, V: Serialize + DeserializeOwned>(
    place: i64,
    entries: &[Vec<u8>],
    table: &mut Table<K, V>,
    mut each: impl FnMut(RowId),
) -> Result<(), Failure> {
    let keys: Vec<&[u8]> = entries.iter().map(|entry| &entry[PREFIX..]).collect();
    for id in table.load_stored(&keys)? {
        match id {
            Some(id) => each(id),
            None => {
                return Err(Failure::attempt(format!(
                    "an order names a row at {place} that is not in the store"
                )));
            }
        }
    }
    Ok(())
}

fn place_of(entry: &[u8]) -> i64 {
    let mut place = [0; 8];
    place.copy_from_slice(&entry[1..PREFIX]);
    (u64::from_be_bytes(place) ^ (1 << 63)) as i64
}

impl StoredOrder {
    /// An entry: list, place, and the row's key in the store.
    fn entry(&self, place: i64, key: &[u8]) -> Vec<u8> {
        let mut entry = Vec::with_capacity(PREFIX + key.len());
        entry.push(self.list);
        entry.extend_from_slice(&(place as u64 ^ (1 << 63)).to_be_bytes());
        entry.extend_from_slice(key);
        entry
    }

    /// Puts an entry in that isn't there, or takes one out that is.
    fn change(&mut self, place: i64, key: &[u8], there: bool) -> Result<(), Failure> {
        let entry = self.entry(place, key);
        // What takes back a change that the store hasn't heard of leaves nothing to tell it.
        let takes_back = self.pending.get(&entry) == Some(&!there);
        // The head holds entries of the store.
        if let Some(head) = &mut self.head
            && takes_back == there
        {
            head.change(&entry, there);
        }
        if takes_back {
            self.pending.remove(&entry);
            if there && entry < self.lowest {
                self.lowest = entry;
            }
            return Ok(());
        }
        self.pending.insert(entry, there);
        if self.pending.len() >= PENDING && !self.hold.is_held() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        for (entry, there) in std::mem::take(&mut self.pending) {
            if !there {
                changes.delete(Space::Order, &entry);
                continue;
            }
            if entry < self.lowest {
                self.lowest.clone_from(&entry);
            }
            let key = |out: &mut Vec<u8>| {
                out.extend_from_slice(&entry);
                Ok::<_, Failure>(())
            };
            changes.put(Space::Order, key, |_| Ok(()))?;
        }
        self.head = None;
        self.store.write(&changes)
    }

    /// Reads ahead from an entry on.
    fn read_head(&mut self, from: &[u8]) -> Result<Head, Failure> {
        let mut entries = VecDeque::new();
        let start = self.lowest.as_slice().max(from);
        let (list, pending) = (self.list, &self.pending);
        let mut ended = false;
        let more = self
            .store
            .scan(Space::Order, start)?
            .read(&mut |entry, _| {
                ended = entry.first() != Some(&list);
                if !ended && pending.get(entry) != Some(&false) {
                    entries.push_back(entry.to_vec());
                }
                Ok(!ended && entries.len() < HEAD)
            })?;
        if from <= self.lowest.as_slice() {
            // What lies before the first has been taken out; a store takes its time to forget.
            self.lowest = match entries.front() {
                Some(first) => first.clone(),
                None => vec![list + 1],
            };
        }
        Ok(Head {
            from: from.to_vec(),
            entries,
            is_last: ended || !more,
        })
    }

    /// The store's first entry from `from` on, or after it.
    fn stored(&mut self, from: &[u8], after: bool) -> Result<Option<Vec<u8>>, Failure> {
        let behind = |entry: &Vec<u8>| match after {
            true => entry.as_slice() > from,
            false => entry.as_slice() >= from,
        };
        let head = self.head.take();
        let head = match head.filter(|head| {
            head.covers(from) && (head.is_last || head.entries.back().is_some_and(behind))
        }) {
            Some(head) => head,
            None => self.read_head(from)?,
        };
        let at = head.entries.partition_point(|entry| !behind(entry));
        let found = head.entries.get(at).cloned();
        self.head = Some(head);
        Ok(found)
    }

    /// The first entry from `from` on, or after it, that is there.
    fn next(&mut self, from: &[u8], after: bool) -> Result<Option<Vec<u8>>, Failure> {
        let start = match after {
            true => Excluded(from.to_vec()),
            false => Included(from.to_vec()),
        };
        let mut pending = self.pending.range((start, Unbounded));
        let added = pending.find(|(_, there)| **there);
        let added = added.map(|(entry, _)| entry.clone());
        let stored = self.stored(from, after)?;
        let next = match (added, stored) {
            (Some(added), Some(stored)) => Some(added.min(stored)),
            (added, stored) => added.or(stored),
        };
        Ok(next.filter(|entry| entry.first() == Some(&self.list)))
    }

    /// Entries of one place, after an entry if one is given, as long as there is room for the next.
    fn of_place(
        &mut self,
        place: i64,
        after: Option<&[u8]>,
        room: impl Fn(&[Vec<u8>], &[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let mut entries: Vec<Vec<u8>> = Vec::new();
        let first = self.entry(place, &[]);
        let mut last = after.map(<[u8]>::to_vec);
        loop {
            let next = match &last {
                Some(last) => self.next(last, true)?,
                None => self.next(&first, false)?,
            };
            match next {
                Some(entry) if entry[..PREFIX] == first[..] && room(&entries, &entry) => {
                    last = Some(entry.clone());
                    entries.push(entry);
                }
                _ => return Ok(entries),
            }
        }
    }

    fn take_out(&mut self, place: i64, entries: &[Vec<u8>]) -> Result<(), Failure> {
        entries
            .iter()
            .try_for_each(|entry| self.change(place, &entry[PREFIX..], false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::OperatorUid;
    use crate::key::{KeyGroupRange, key_hash};
    use crate::snapshot::RestoredState;
    use crate::store::{MemoryStores, Stores};

    const WHOLE: KeyGroupRange = KeyGroupRange { start: 0, end: 4 };

    #[derive(Debug, Clone)]
    enum Step {
        Insert(i64, u32),
        Remove(i64, u32),
        First(i64),
        TakeGroups(i64, usize),
        Take(i64, usize),
        Read(i64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (place, key) = (-3..6_i64, 0..12_u32);
        prop_oneof![
            6 => (place.clone(), key.clone()).prop_map(|(place, key)| Step::Insert(place, key)),
            2 => (place.clone(), key).prop_map(|(place, key)| Step::Remove(place, key)),
            2 => place.clone().prop_map(Step::First),
            2 => (place.clone(), 1..4_usize)
                .prop_map(|(until, limit)| Step::TakeGroups(until, limit)),
            1 => (place.clone(), 1..4_usize).prop_map(|(place, limit)| Step::Take(place, limit)),
            1 => (place, 1..4_usize).prop_map(|(place, limit)| Step::Read(place, limit)),
        ]
    }

    fn table(cache_bytes: Option<usize>) -> Table<u32, u32> {
        let stores = cache_bytes.map(|cache_bytes| MemoryStores { cache_bytes });
        let stores = stores.as_ref().map(|stores| stores as &dyn Stores);
        let uid = OperatorUid::from("op");
        Table::restore(WHOLE, 4, &uid, "s", &RestoredState::default(), stores).unwrap()
    }

    fn row(table: &mut Table<u32, u32>, key: u32) -> RowId {
        table.load(std::iter::once((key_hash(&key), &key))).unwrap();
        table
            .find_or_insert(key_hash(&key), &key, || (key, key))
            .unwrap()
    }

    proptest! {
        #[test]
        fn an_order_is_a_set_of_places_and_rows_wherever_it_lies(
            steps in prop::collection::vec(step(), 0..80),
            cache_bytes in prop_oneof![Just(None), Just(Some(1)), Just(Some(700))],
        ) {
            let mut table = table(cache_bytes);
            let mut order = RowOrder::new(&table, 1);
            // Beside it, another that must stay as it is.
            let mut other = RowOrder::new(&table, 2);
            let id = row(&mut table, 5);
            other.insert(0, id, &table).unwrap();
            let mut model: BTreeSet<(i64, u32)> = BTreeSet::new();
            let of_place = |model: &BTreeSet<(i64, u32)>, place| -> Vec<u32> {
                let of_place = model.range((place, 0)..=(place, u32::MAX));
                of_place.map(|(_, key)| *key).collect()
            };
            for step in steps {
                match step {
                    Step::Insert(place, key) if model.insert((place, key)) => {
                        let id = row(&mut table, key);
                        order.insert(place, id, &table).unwrap();
                    }
                    Step::Remove(place, key) if model.remove(&(place, key)) => {
                        let id = row(&mut table, key);
                        order.remove(place, id, &table).unwrap();
                    }
                    Step::Insert(..) | Step::Remove(..) => {}
                    Step::First(from) => {
                        let first = model.range((from, 0)..).next().map(|(place, _)| *place);
                        prop_assert_eq!(order.first(from).unwrap(), first);
                    }
                    Step::TakeGroups(until, limit) => {
                        let mut taken = Vec::new();
                        order.take_groups(until, limit, &mut table, &mut taken).unwrap();
                        let first = model.first().map(|(place, _)| *place);
                        let first = first.filter(|first| *first <= until);
                        prop_assert_eq!(taken.first().map(|(place, _)| *place), first);
                        let groups: Vec<u32> = taken.iter().map(|(_, id)| id.group()).collect();
                        prop_assert!(groups.is_sorted());
                        for (place, id) in &taken {
                            prop_assert!(model.remove(&(*place, *table.key(*id))));
                        }
                        let Some(place) = first else { continue };
                        let rest = of_place(&model, place);
                        prop_assert!(taken.len() >= limit || rest.is_empty());
                        for key in rest {
                            let id = row(&mut table, key);
                            prop_assert!(!groups.contains(&id.group()), "a group was torn");
                        }
                    }
                    Step::Take(place, limit) => {
                        let mut taken = Vec::new();
                        order.take(place, limit, &mut table, &mut taken).unwrap();
                        prop_assert_eq!(taken.len(), limit.min(of_place(&model, place).len()));
                        for id in taken {
                            prop_assert!(model.remove(&(place, *table.key(id))));
                        }
                    }
                    Step::Read(place, limit) => {
                        let mut cursor = OrderCursor::default();
                        let mut keys = Vec::new();
                        loop {
                            let mut some = Vec::new();
                            order.read(place, &mut cursor, limit, &mut table, &mut some).unwrap();
                            if some.is_empty() {
                                break;
                            }
                            prop_assert!(some.len() <= limit);
                            keys.extend(some.iter().map(|id| *table.key(*id)));
                        }
                        keys.sort_unstable();
                        prop_assert_eq!(keys, of_place(&model, place));
                    }
                }
            }
            prop_assert_eq!(other.first(i64::MIN).unwrap(), Some(0));
        }
    }
}
