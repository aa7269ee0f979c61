use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::CheckpointId;
use crate::snapshot::{SnapshotBuilder, concat_chunks};
use crate::store::MemoryStores;

const WHOLE: KeyGroupRange = KeyGroupRange { start: 0, end: 16 };

fn add(table: &mut Table<u32, i64>, key: u32, by: i64) {
    table.load(std::iter::once((key_hash(&key), &key))).unwrap();
    let id = table
        .find_or_insert(key_hash(&key), &key, || (key, 0))
        .unwrap();
    *table.value_mut(id) += by;
}

fn delete(table: &mut Table<u32, i64>, key: u32) {
    table.load(std::iter::once((key_hash(&key), &key))).unwrap();
    if let Some(id) = table.find(key_hash(&key), &key) {
        table.remove(id).unwrap();
    }
}

/// What a snapshot taken now would hold.
fn contents(table: &mut Table<u32, i64>) -> BTreeMap<u32, i64> {
    let uid = OperatorUid::from("op");
    let mut snapshot = SnapshotBuilder::new(CheckpointId(7));
    table.freeze(&uid, "s", &mut snapshot).unwrap();
    while !table.slice(1_000, &mut snapshot).unwrap() {}
    let restored = RestoredState::parse(&[concat_chunks(snapshot.finish().chunks)]).unwrap();
    let back = Table::restore(WHOLE, 16, &uid, "s", &restored, None).unwrap();
    back.ids()
        .map(|id| (*back.key(id), *back.value(id)))
        .collect()
}

fn change(model: &mut BTreeMap<u32, i64>, step: &Step) {
    match step {
        Step::Add(key, by) => *model.entry(*key).or_default() += by,
        Step::Delete(key) => drop(model.remove(key)),
        Step::Slice(_) | Step::Abort => {}
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(u32, i64),
    Delete(u32),
    Slice(usize),
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u32, 1..9_i64).prop_map(|(key, by)| Step::Add(key, by)),
        2 => (0..40_u32).prop_map(Step::Delete),
        1 => (1..8_usize).prop_map(Step::Slice),
        1 => Just(Step::Abort),
    ]
}

proptest! {
    #[test]
    fn a_snapshot_holds_the_table_as_it_was_at_the_barrier_whatever_happens_meanwhile(
        before in prop::collection::vec(step(), 0..120),
        during in prop::collection::vec(step(), 0..120),
        cache_bytes in prop_oneof![Just(None), Just(Some(1)), Just(Some(1_500))],
    ) {
        let uid = OperatorUid::from("op");
        let stores = cache_bytes.map(|cache_bytes| MemoryStores { cache_bytes });
        let stores = stores.as_ref().map(|stores| stores as &dyn Stores);
        let empty = RestoredState::default();
        let mut table = Table::restore(WHOLE, 16, &uid, "s", &empty, stores).unwrap();
        let mut model = BTreeMap::new();
        let mut snapshot = SnapshotBuilder::new(CheckpointId(1));
        for step in before {
            change(&mut model, &step);
            match step {
                Step::Add(key, by) => add(&mut table, key, by),
                Step::Delete(key) => delete(&mut table, key),
                // A checkpoint that comes to nothing.
                Step::Slice(rows) => {
                    if table.slice(rows, &mut snapshot).unwrap() {
                        table.freeze(&uid, "s", &mut snapshot).unwrap();
                    }
                }
                Step::Abort => table.thaw(),
            }
        }
        let frozen = model.clone();
        let mut snapshot = SnapshotBuilder::new(CheckpointId(2));
        table.freeze(&uid, "s", &mut snapshot).unwrap();
        for step in during {
            change(&mut model, &step);
            match step {
                Step::Add(key, by) => add(&mut table, key, by),
                Step::Delete(key) => delete(&mut table, key),
                Step::Slice(rows) => { table.slice(rows, &mut snapshot).unwrap(); }
                Step::Abort => {}
            }
        }
        while !table.slice(3, &mut snapshot).unwrap() {}
        let restored = RestoredState::parse(&[concat_chunks(snapshot.finish().chunks)]).unwrap();
        let mut back = Table::restore(WHOLE, 16, &uid, "s", &restored, stores).unwrap();
        prop_assert_eq!(back.len(), frozen.len());
        prop_assert_eq!(contents(&mut back), frozen);
        prop_assert_eq!(table.len(), model.len());
        prop_assert_eq!(contents(&mut table), model);
    }
}

#[test]
fn a_state_written_as_another_type_is_refused_in_one_line() {
    let uid = OperatorUid::from("op");
    let mut table: Table<u32, String> = Table::new(WHOLE, 16);
    table
        .find_or_insert(key_hash(&1_u32), &1, || (1, "x".into()))
        .unwrap();
    let mut snapshot = SnapshotBuilder::new(CheckpointId(1));
    table.freeze(&uid, "s", &mut snapshot).unwrap();
    while !table.slice(100, &mut snapshot).unwrap() {}
    let restored = RestoredState::parse(&[concat_chunks(snapshot.finish().chunks)]).unwrap();
    let Err(failure) = Table::<u32, u64>::restore(WHOLE, 16, &uid, "s", &restored, None) else {
        panic!("accepted");
    };
    assert!(failure.message.contains("operator op"), "{failure}");
}

/// A table of text over a store, with so many bytes of room above it.
fn stored(cache_bytes: usize) -> Table<u32, String> {
    let stores = MemoryStores { cache_bytes };
    let empty = RestoredState::default();
    Table::restore(WHOLE, 16, &"op".into(), "s", &empty, Some(&stores)).unwrap()
}

fn append(table: &mut Table<u32, String>, key: u32, text: &str) {
    table.load(std::iter::once((key_hash(&key), &key))).unwrap();
    let new = || (key, String::new());
    let id = table.find_or_insert(key_hash(&key), &key, new).unwrap();
    table.value_mut(id).push_str(text);
}

#[test]
fn rows_that_grow_leave_when_they_have_no_room() {
    let mut table = stored(200_000);
    for _ in 0..20 {
        for key in 0..100 {
            append(&mut table, key, &"x".repeat(1_000));
        }
    }
    assert_eq!(table.len(), 100);
    // 2 MB in all; what is in memory is measured by samples.
    assert!(table.len < 30, "{} rows in memory", table.len);
    table.load(std::iter::once((key_hash(&7_u32), &7))).unwrap();
    let id = table.find(key_hash(&7_u32), &7).unwrap();
    assert_eq!(table.value(id).len(), 20_000);
}

#[test]
fn the_room_of_rows_that_have_left_is_given_back_whatever_their_key_group() {
    let mut table = stored(200_000);
    let mut keys: Vec<u32> = (0..100_000).collect();
    keys.sort_by_key(key_hash);
    for key in keys {
        append(&mut table, key, "x");
    }
    assert_eq!(table.len(), 100_000);
    let slots: usize = table.groups.iter().map(|group| group.slots.len()).sum();
    // A group is looked at when the hand comes by its end; the last few thousand rows are still there.
    assert!(slots < 20_000, "{slots} slots");
}
