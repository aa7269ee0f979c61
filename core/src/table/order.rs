//! Rows in an order that follows from them: by the time of a timer, by the number of a pane.
//!
//! An order is not part of a snapshot's rows. In memory it is a set of places. Over a store it lies in the store too: what
//! changed lately is kept beside it ([`StoredOrder::added`], [`StoredOrder::removed`]), what comes next is read ahead
//! ([`StoredOrder::heads`]), and all together are what is true. Where a snapshot is the store's files the order is in them: it
//! is written to the store at the barrier, and then not again before the files are made.
//!
//! A store takes its time to forget: whoever reads from its beginning on passes everything that has been taken out. So
//! it is never read before [`StoredOrder::lowest`].

use std::collections::{BTreeSet, VecDeque};
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

/// Places from which entries are read ahead at once: windows fire at one while others expire at the beginning.
const HEADS: usize = 2;

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
    /// Entries that the store lacks.
    added: BTreeSet<Vec<u8>>,
    /// Entries that the store still has.
    removed: BTreeSet<Vec<u8>>,
    /// The one that answered last comes first.
    heads: Vec<Head>,
    /// The store has no entry before this one but removed ones.
    lowest: Vec<u8>,
}

/// Entries of the store that aren't removed, from one on and without a gap.
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

    /// The same, and what was read from its last entry on.
    fn with(mut self, mut next: Self) -> Self {
        self.is_last = next.is_last;
        if next.entries.front() == self.entries.back() {
            next.entries.pop_front();
        }
        self.entries.append(&mut next.entries);
        // Who reads without taking out doesn't come back for the first ones.
        let surplus = self.entries.len().saturating_sub(2 * HEAD);
        if surplus > 0 {
            self.entries.drain(..surplus);
            if let Some(first) = self.entries.front() {
                self.from.clone_from(first);
            }
        }
        self
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
                added: BTreeSet::new(),
                removed: BTreeSet::new(),
                heads: Vec::new(),
                lowest: entry(list, i64::MIN, &[]),
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
                let first = order.first(entry(order.list, from, &[]))?;
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
                order.take_out(&entries)?;
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
                order.take_out(&entries)?;
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
            Kind::Stored(order) => order.added.len() + order.removed.len(),
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

/// An entry of the store: list, place, and the row's key there.
fn entry(list: u8, place: i64, key: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(PREFIX + key.len());
    entry.push(list);
    entry.extend_from_slice(&(place as u64 ^ (1 << 63)).to_be_bytes());
    entry.extend_from_slice(key);
    entry
}

impl StoredOrder {
    /// Puts a row in at a place where it isn't, or takes it out where it is.
    fn change(&mut self, place: i64, key: &[u8], there: bool) -> Result<(), Failure> {
        self.change_entry(entry(self.list, place, key), there)
    }

    fn change_entry(&mut self, entry: Vec<u8>, there: bool) -> Result<(), Failure> {
        let (same, other) = match there {
            true => (&mut self.added, &mut self.removed),
            false => (&mut self.removed, &mut self.added),
        };
        // What takes back a change that the store hasn't heard of leaves nothing to tell it.
        let takes_back = other.remove(&entry);
        // Heads hold entries of the store.
        if takes_back == there {
            for head in &mut self.heads {
                head.change(&entry, there);
            }
        }
        if takes_back {
            if there && entry < self.lowest {
                self.lowest = entry;
            }
            return Ok(());
        }
        same.insert(entry);
        if self.added.len() + self.removed.len() >= PENDING && !self.hold.is_held() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let (added, removed) = (
            std::mem::take(&mut self.added),
            std::mem::take(&mut self.removed),
        );
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let mut changes = Changes::default();
        for entry in &removed {
            changes.delete(Space::Order, entry);
        }
        for entry in &added {
            let key = |out: &mut Vec<u8>| {
                out.extend_from_slice(entry);
                Ok::<_, Failure>(())
            };
            changes.put(Space::Order, key, |_| Ok(()))?;
        }
        changes.sort();
        if let Some(first) = added.first() {
            // What was removed they didn't hold any more.
            self.heads.clear();
            if *first < self.lowest {
                self.lowest.clone_from(first);
            }
        }
        self.store.write(&changes)
    }

    /// Reads ahead from an entry on, which is not before the lowest.
    fn read_head(&mut self, from: &[u8]) -> Result<Head, Failure> {
        let mut entries = VecDeque::new();
        let (list, removed) = (self.list, &self.removed);
        let mut ended = false;
        let more = self.store.scan(Space::Order, from)?.read(&mut |entry, _| {
            ended = entry.first() != Some(&list);
            if !ended && !removed.contains(entry) {
                entries.push_back(entry.to_vec());
            }
            Ok(!ended && entries.len() < HEAD)
        })?;
        if from == self.lowest.as_slice() {
            self.lowest = match entries.front() {
                Some(first) => first.clone(),
                None => vec![list.saturating_add(1)],
            };
        }
        Ok(Head {
            from: from.to_vec(),
            entries,
            is_last: ended || !more,
        })
    }

    /// Sees to it that the first head holds the store's first entry from `from` on, or after it, and says where. It has none
    /// there if it is the last and the store has none.
    fn look(&mut self, from: &[u8], after: bool) -> Result<usize, Failure> {
        let lowest = self.lowest.clone();
        let (from, after) = match from < lowest.as_slice() {
            true => (lowest.as_slice(), false),
            false => (from, after),
        };
        let is_before = |entry: &Vec<u8>| match after {
            true => entry.as_slice() <= from,
            false => entry.as_slice() < from,
        };
        let knows = |head: &Head| {
            let reaches = head.entries.back().is_some_and(|last| !is_before(last));
            head.covers(from) && (head.is_last || reaches)
        };
        match self.heads.iter().position(knows) {
            Some(at) => self.heads[..=at].rotate_right(1),
            None => {
                let mut head = self.read_head(from)?;
                let ends_here =
                    |head: &Head| after && head.entries.back().is_some_and(|last| last == from);
                if let Some(at) = self.heads.iter().position(ends_here) {
                    head = self.heads.remove(at).with(head);
                }
                self.heads
                    .retain(|head| head.is_last || !head.entries.is_empty());
                self.heads.truncate(HEADS - 1);
                self.heads.insert(0, head);
            }
        }
        Ok(self.heads[0].entries.partition_point(is_before))
    }

    /// The first entry from `from` on that is there.
    fn first(&mut self, from: Vec<u8>) -> Result<Option<Vec<u8>>, Failure> {
        let at = self.look(&from, false)?;
        let stored = self.heads[0].entries.get(at);
        let added = self.added.range(from..).next();
        let first = match (added, stored) {
            (Some(added), Some(stored)) => Some(added.min(stored)),
            (added, stored) => added.or(stored),
        };
        Ok(first.cloned())
    }

    /// Entries of one place, after an entry if one is given, as long as there is room for the next.
    fn of_place(
        &mut self,
        place: i64,
        after: Option<&[u8]>,
        room: impl Fn(&[Vec<u8>], &[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let first = entry(self.list, place, &[]);
        let (mut from, mut is_after) = match after {
            Some(after) => (after.to_vec(), true),
            None => (first.clone(), false),
        };
        let mut entries: Vec<Vec<u8>> = Vec::new();
        loop {
            let at = self.look(&from, is_after)?;
            let head = &self.heads[0];
            let start = match is_after {
                true => Excluded(from),
                false => Included(from),
            };
            let mut added = self.added.range((start, Unbounded)).peekable();
            let mut stored = head.entries.range(at..).peekable();
            loop {
                let next = match (added.peek(), stored.peek()) {
                    (Some(one), Some(other)) if one < other => added.next(),
                    // Behind a head that isn't the last the store may have some before it.
                    (Some(_), None) if head.is_last => added.next(),
                    _ => stored.next(),
                };
                match next {
                    Some(entry) if entry[..PREFIX] == first[..] && room(&entries, entry) => {
                        entries.push(entry.clone());
                    }
                    None if !head.is_last => break,
                    _ => return Ok(entries),
                }
            }
            from = head.entries.back().cloned().unwrap_or_default();
            is_after = true;
        }
    }

    /// Takes entries out that follow one another.
    fn take_out(&mut self, entries: &[Vec<u8>]) -> Result<(), Failure> {
        for entry in entries {
            self.change_entry(entry.clone(), false)?;
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last())
            && *first <= self.lowest
            && *last >= self.lowest
        {
            self.lowest.clone_from(last);
            // What comes right after it.
            self.lowest.push(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::OperatorUid;
    use crate::key::{KeyGroupRange, key_hash};
    use crate::snapshot::RestoredState;
    use crate::store::{
        EachFound, MemoryStore, MemoryStores, StateStore, StoreImage, StoreScan, Stores,
    };

    /// A store that says where it was read from.
    #[derive(Default)]
    struct Watched {
        store: MemoryStore,
        scans: std::sync::Mutex<Vec<Vec<u8>>>,
    }

    impl StateStore for Watched {
        fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure> {
            self.store.get_many(keys, each)
        }

        fn write(&self, changes: &Changes) -> Result<(), Failure> {
            self.store.write(changes)
        }

        fn cache_bytes(&self, taken: usize) -> usize {
            self.store.cache_bytes(taken)
        }

        fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
            self.scans.lock().unwrap().push(from.to_vec());
            self.store.scan(space, from)
        }

        fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
            self.store.image()
        }
    }

    #[test]
    fn what_was_taken_out_is_not_passed_again_and_what_was_read_ahead_not_read_again() {
        const ROWS: u8 = 100;
        let store = Arc::new(Watched::default());
        let mut order = StoredOrder {
            store: Arc::clone(&store) as Arc<dyn StateStore>,
            hold: Arc::default(),
            list: 1,
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            heads: Vec::new(),
            lowest: entry(1, i64::MIN, &[]),
        };
        for place in [7, 9] {
            for key in 0..ROWS {
                order.change(place, &[key], true).unwrap();
            }
        }
        order.flush().unwrap();
        // As windows expire: a few rows at a time from the beginning, and in between a look at what fires next.
        let begin = entry(1, i64::MIN, &[]);
        let mut taken = 0;
        while order
            .first(begin.clone())
            .unwrap()
            .map(|first| place_of(&first))
            == Some(7)
        {
            let next = order.first(entry(1, 8, &[])).unwrap();
            assert_eq!(next, Some(entry(1, 9, &[0])));
            let some = order.of_place(7, None, |some, _| some.len() < 2).unwrap();
            taken += some.len();
            order.take_out(&some).unwrap();
        }
        assert_eq!(taken, usize::from(ROWS));
        // Where rows that were taken out were, a store that takes its time to forget would have to pass them: no scan but the
        // first begins there.
        let scans = store.scans.lock().unwrap();
        let of_first = scans.iter().filter(|from| place_of(from) < 8);
        let begins: Vec<&Vec<u8>> = of_first.collect();
        assert!(begins.is_sorted_by(|one, other| one < other), "{begins:?}");
        // Each but the first brings the last entry once more.
        assert!(
            begins.len() <= usize::from(ROWS) / (HEAD - 1) + 2,
            "{begins:?}"
        );
        assert!(scans.len() - begins.len() <= 2, "{scans:?}");
    }

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
