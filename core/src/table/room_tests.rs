//! Which rows stay in memory, counted by what a store is asked for.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::*;
use crate::ids::CheckpointId;
use crate::snapshot::{SnapshotBuilder, concat_chunks};
use crate::store::{Changes, EachFound, MemoryStores, Space, StateStore, StoreImage, StoreScan};

const WHOLE: KeyGroupRange = KeyGroupRange { start: 0, end: 16 };

/// Rows that have room.
const ROOM: usize = 1_000;

/// A store that notes what it is asked for.
struct Noting {
    store: Arc<dyn StateStore>,
    /// Keys that it was asked for, and in how many questions.
    asked: AtomicUsize,
    questions: AtomicUsize,
    /// Bytes that have room.
    room: AtomicUsize,
    /// How often rows were loaded.
    loads: AtomicUsize,
    /// The keys of each write.
    written: Mutex<Vec<Vec<Vec<u8>>>>,
}

impl StateStore for Noting {
    fn get_many(&self, keys: &[&[u8]], each: EachFound<'_>) -> Result<(), Failure> {
        self.asked.fetch_add(keys.len(), Relaxed);
        self.questions.fetch_add(1, Relaxed);
        self.store.get_many(keys, each)
    }

    fn write(&self, changes: &Changes) -> Result<(), Failure> {
        let keys = changes.iter().map(|(_, key, _)| key.to_vec()).collect();
        self.written.lock().unwrap().push(keys);
        self.store.write(changes)
    }

    fn load(&self, rows: &Changes) -> Result<(), Failure> {
        self.loads.fetch_add(1, Relaxed);
        self.store.write(rows)
    }

    fn cache_bytes(&self, _taken: usize) -> usize {
        self.room.load(Relaxed)
    }

    fn scan(&self, space: Space, from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
        self.store.scan(space, from)
    }

    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
        self.store.image()
    }
}

/// Opens the one that it is.
struct Only(Arc<Noting>);

impl Stores for Only {
    fn open(
        &self,
        _operator: &OperatorUid,
        _from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        Ok(Arc::clone(&self.0) as _)
    }
}

struct Rows {
    table: Table<u32, u64>,
    store: Arc<Noting>,
}

impl Rows {
    fn new() -> Self {
        Self::restored(ROOM, &RestoredState::default())
    }

    /// Over a store with room for so many rows.
    fn restored(room: usize, from: &RestoredState) -> Self {
        let op = OperatorUid::from("op");
        let stores = MemoryStores { cache_bytes: 0 };
        let store = Arc::new(Noting {
            store: stores.open(&op, None).unwrap(),
            asked: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            room: AtomicUsize::default(),
            loads: AtomicUsize::new(0),
            written: Mutex::default(),
        });
        let rows = Only(Arc::clone(&store));
        let bytes = room * Table::<u32, u64>::PLACE;
        store.room.store(bytes, Relaxed);
        let table = Table::restore(WHOLE, 16, &op, "rows", from, Some(&rows)).unwrap();
        Self { table, store }
    }

    fn set_room(&self, rows: usize) {
        let bytes = rows * Table::<u32, u64>::PLACE;
        self.store.room.store(bytes, Relaxed);
    }

    /// Writes a snapshot of rows.
    fn snapshot(&mut self) -> RestoredState {
        let mut snapshot = SnapshotBuilder::new(CheckpointId(1));
        let op = OperatorUid::from("op");
        self.table
            .freeze(&op, "rows", &mut [], &mut snapshot)
            .unwrap();
        while !self.table.slice(100, &mut snapshot).unwrap() {}
        RestoredState::parse(&[concat_chunks(snapshot.finish().chunks)]).unwrap()
    }

    /// Counts a record for each key, in runs of ten. Returns how many rows the store was asked for.
    fn count(&mut self, keys: impl IntoIterator<Item = u32>) -> usize {
        let before = self.store.asked.load(Relaxed);
        let keys: Vec<u32> = keys.into_iter().collect();
        for run in keys.chunks(10) {
            let hashed = run.iter().map(|key| (key_hash(key), key));
            self.table.load(hashed).unwrap();
            for key in run {
                let id = self
                    .table
                    .find_or_insert(key_hash(key), key, || (*key, 0))
                    .unwrap();
                *self.table.value_mut(id) += 1;
            }
        }
        self.store.asked.load(Relaxed) - before
    }

    fn value(&mut self, key: u32) -> u64 {
        let looked = self.table.peek(key_hash(&key), &key, |value| *value);
        looked.unwrap().unwrap()
    }
}

#[test]
fn rows_that_are_needed_again_and_again_stay_while_a_scan_passes() {
    let mut rows = Rows::new();
    let hot = || 0..200;
    for _ in 0..4 {
        rows.count(hot());
    }
    // Twice as many rows as have room, each once.
    rows.count(10_000..12_000);
    assert_eq!(rows.count(hot()), 0);
    assert_eq!(rows.value(7), 5);
}

#[test]
fn rows_that_are_needed_all_the_time_are_never_read_again() {
    let mut rows = Rows::new();
    rows.count(10_000..30_000);
    for _ in 0..2 {
        rows.count(0..200);
    }
    let questions = rows.store.questions.load(Relaxed);
    let mut asked = 0;
    for round in 0..200 {
        let cold = 10_000 + 100 * round;
        asked += rows.count((0..200).chain(cold..cold + 100));
    }
    // Twenty times as many cold rows as have room came by, each run in one question.
    assert_eq!(asked, 200 * 100);
    let questions = rows.store.questions.load(Relaxed) - questions;
    assert_eq!(questions, 200 * 100 / 10);
    assert!(rows.table.len <= ROOM, "{} rows", rows.table.len);
}

#[test]
fn a_store_is_hardly_asked_for_what_it_does_not_have() {
    let room = 4 * ROOM;
    let mut rows = Rows::restored(room, &RestoredState::default());
    let asked = rows.count(0..5_000);
    assert!(asked < 100, "asked for {asked} of 5000");
    // Whatever has left is found, after a restore too.
    let snapshot = rows.snapshot();
    let mut restored = Rows::restored(room, &snapshot);
    for rows in [&mut rows, &mut restored] {
        rows.count(0..5_000);
        assert!((0..5_000).all(|key| rows.value(key) == 2));
        let asked = rows.count(10_000..15_000);
        assert!(asked < 250, "asked for {asked} of 5000");
    }
    assert_eq!(restored.table.len(), 10_000);
}

#[test]
fn what_tells_which_keys_are_new_ends_when_there_is_less_room() {
    let mut rows = Rows::new();
    rows.count(0..100);
    rows.count(1_000..3_000);
    rows.count(0..100);
    rows.set_room(30);
    // Hot rows have room, if nothing else has it.
    for _ in 0..10 {
        rows.count(0..20);
    }
    assert_eq!(rows.count(0..20), 0);
    assert!((0..20).all(|key| rows.value(key) == 13));
}

#[test]
fn many_records_of_one_new_key_want_room_for_one() {
    let mut rows = Rows::new();
    for _ in 0..4 {
        rows.count(0..ROOM as u32 - 20);
    }
    for new in 0..5 {
        rows.count([10_000 + new; 10]);
    }
    assert_eq!(rows.count(0..ROOM as u32 - 20), 0);
}

/// Keys come, go for good and come again, more than have room, through snapshots and restores.
#[test]
fn rows_are_what_was_done_to_them_whatever_is_known_of_the_store() {
    for room in [10, 40, 150, 400, 2_000] {
        let mut rows = Rows::restored(room, &RestoredState::default());
        let mut expected = std::collections::BTreeMap::<u32, u64>::new();
        for step in 0..600_u32 {
            let first = key_hash(&(room, step)) as u32 % 900;
            let run = first..first + 10;
            match step % 100 {
                99 => {
                    let snapshot = rows.snapshot();
                    rows = Rows::restored(room, &snapshot);
                }
                step if step % 3 == 2 => {
                    let keys: Vec<u32> = run.collect();
                    let hashed = keys.iter().map(|key| (key_hash(key), key));
                    rows.table.load(hashed).unwrap();
                    for key in keys {
                        if let Some(id) = rows.table.find(key_hash(&key), &key) {
                            rows.table.remove(id).unwrap();
                        }
                        expected.remove(&key);
                    }
                }
                _ => {
                    rows.count(run.clone());
                    run.for_each(|key| *expected.entry(key).or_default() += 1);
                }
            }
            assert_eq!(rows.table.len(), expected.len());
        }
        for (key, count) in &expected {
            assert_eq!(rows.value(*key), *count, "{key}, with room for {room}");
        }
    }
}

#[test]
fn a_row_that_was_hot_once_leaves_in_the_end() {
    let mut rows = Rows::new();
    for _ in 0..10 {
        rows.count(0..200);
    }
    rows.count(10_000..20_000);
    assert_eq!(rows.count(0..200), 200);
    assert_eq!(rows.value(7), 11);
}

#[test]
fn what_leaves_is_written_in_the_order_of_the_keys() {
    let mut rows = Rows::new();
    rows.count(0..5_000);
    let written = rows.store.written.lock().unwrap();
    let keys: usize = written.iter().map(Vec::len).sum();
    assert!(keys >= 4_000, "{keys} rows were written");
    for keys in &*written {
        // The hand may have come by the last key group and begun anew.
        let turns = keys.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(turns <= 1, "{turns} turns among {} keys", keys.len());
    }
}

#[test]
fn an_operator_that_nothing_comes_to_gives_back_at_a_checkpoint_what_it_may_not_have_any_more() {
    let mut rows = Rows::new();
    rows.count(0..ROOM as u32);
    rows.set_room(ROOM / 4);
    assert!(rows.table.len > ROOM / 2, "{} rows", rows.table.len);
    rows.snapshot();
    assert!(rows.table.len <= ROOM / 4, "{} rows", rows.table.len);
    assert_eq!((rows.table.len(), rows.value(7)), (ROOM, 1));
}

#[test]
fn a_restore_takes_less_at_once_where_there_is_less_room() {
    let mut rows = Rows::new();
    rows.count(0..200);
    let snapshot = rows.snapshot();
    let loads = |room| {
        let restored = Rows::restored(room, &snapshot);
        assert_eq!(restored.table.len(), 200);
        restored.store.loads.load(Relaxed)
    };
    let (narrow, wide) = (loads(0), loads(ROOM));
    assert!(
        wide > 0 && narrow > 3 * wide / 2,
        "{narrow} and {wide} loads"
    );
}
