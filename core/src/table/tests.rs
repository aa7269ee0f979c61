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
    table.freeze(&uid, "s", &mut [], &mut snapshot).unwrap();
    while !table.slice(1_000, &mut snapshot).unwrap() {}
    let restored = restored(snapshot);
    let back = Table::restore(WHOLE, 16, &uid, "s", &restored, None).unwrap();
    back.ids()
        .map(|id| (*back.key(id), *back.value(id)))
        .collect()
}

/// What a snapshot holds; files of stores are made only now.
fn restored(mut snapshot: SnapshotBuilder) -> RestoredState {
    let frozen = snapshot.take_stores();
    let bytes = concat_chunks(snapshot.finish().chunks);
    let mut restored = RestoredState::parse(&[bytes]).unwrap();
    for store in frozen {
        restored.add_image(store.operator.clone(), store.image().unwrap());
    }
    restored
}

fn builder(id: u64, takes_files: bool) -> SnapshotBuilder {
    let builder = SnapshotBuilder::new(CheckpointId(id));
    match takes_files {
        true => builder.with_files(),
        false => builder,
    }
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
        after in prop::collection::vec(step(), 0..120),
        cache_bytes in prop_oneof![Just(None), Just(Some(1)), Just(Some(1_500))],
        files in any::<bool>(),
    ) {
        let uid = OperatorUid::from("op");
        let stores = cache_bytes.map(|cache_bytes| MemoryStores { cache_bytes });
        let stores = stores.as_ref().map(|stores| stores as &dyn Stores);
        let empty = RestoredState::default();
        let mut table = Table::restore(WHOLE, 16, &uid, "s", &empty, stores).unwrap();
        let mut model = BTreeMap::new();
        let mut snapshot = builder(1, files);
        for step in before {
            change(&mut model, &step);
            match step {
                Step::Add(key, by) => add(&mut table, key, by),
                Step::Delete(key) => delete(&mut table, key),
                // A checkpoint that comes to nothing.
                Step::Slice(rows) => {
                    if table.slice(rows, &mut snapshot).unwrap() {
                        table.freeze(&uid, "s", &mut [], &mut snapshot).unwrap();
                    }
                }
                Step::Abort => table.thaw(),
            }
        }
        // What was left of those is given up.
        drop(snapshot);
        let frozen = model.clone();
        let mut snapshot = builder(2, files);
        table.freeze(&uid, "s", &mut [], &mut snapshot).unwrap();
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
        // The table is through; files of its store have not been made yet.
        for step in after {
            change(&mut model, &step);
            match step {
                Step::Add(key, by) => add(&mut table, key, by),
                Step::Delete(key) => delete(&mut table, key),
                Step::Slice(_) | Step::Abort => {}
            }
        }
        let restored = restored(snapshot);
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
    table.freeze(&uid, "s", &mut [], &mut snapshot).unwrap();
    while !table.slice(100, &mut snapshot).unwrap() {}
    let restored = restored(snapshot);
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

/// An order's entries, all of them taken out.
fn entries(table: &mut Table<u32, i64>, order: &mut RowOrder) -> Vec<(i64, u32)> {
    let mut entries = Vec::new();
    loop {
        let mut taken = Vec::new();
        order.take_groups(i64::MAX, 3, table, &mut taken).unwrap();
        if taken.is_empty() {
            entries.sort_unstable();
            return entries;
        }
        entries.extend(taken.iter().map(|(place, id)| (*place, *table.key(*id))));
    }
}

proptest! {
    #[test]
    fn orders_come_back_with_the_files_as_they_were_at_the_barrier(
        rounds in prop::collection::vec(
            prop::collection::vec((0..9_i64, 0..30_u32, any::<bool>()), 0..40),
            3..7,
        ),
        cache_bytes in prop_oneof![Just(1), Just(1_500)],
    ) {
        let uid = OperatorUid::from("op");
        let stores = MemoryStores { cache_bytes };
        let empty = RestoredState::default();
        let mut table = Table::restore(WHOLE, 16, &uid, "s", &empty, Some(&stores)).unwrap();
        table.visit("1h", |_, _| Ok(())).unwrap();
        let mut order = RowOrder::new(&table, 1);
        let mut model = std::collections::BTreeSet::new();
        let mut id = 0;
        // Each round but the last ends with a barrier; slices follow in the next, and files after that.
        let mut open: Option<(SnapshotBuilder, std::collections::BTreeSet<(i64, u32)>)> = None;
        for changes in rounds {
            let half = changes.len() / 2;
            for (number, (place, key, there)) in changes.into_iter().enumerate() {
                if number == half && let Some((snapshot, _)) = &mut open {
                    while !table.slice(2, snapshot).unwrap() {}
                }
                add(&mut table, key, 1);
                let row = table.find(key_hash(&key), &key).unwrap();
                if there && model.insert((place, key)) {
                    order.insert(place, row, &table).unwrap();
                } else if !there && model.remove(&(place, key)) {
                    order.remove(place, row, &table).unwrap();
                }
            }
            if let Some((mut snapshot, at_barrier)) = open.take() {
                while !table.slice(2, &mut snapshot).unwrap() {}
                let restored = restored(snapshot);
                let mut back: Table<u32, i64> =
                    Table::restore(WHOLE, 16, &uid, "s", &restored, Some(&stores)).unwrap();
                back.visit("1h", |_, _| panic!("a row was read to rebuild an order that has come")).unwrap();
                let mut order = RowOrder::new(&back, 1);
                let expected: Vec<(i64, u32)> = at_barrier.into_iter().collect();
                prop_assert_eq!(entries(&mut back, &mut order), expected);
            }
            id += 1;
            let mut snapshot = builder(id, true);
            table.freeze(&uid, "s", &mut [&mut order], &mut snapshot).unwrap();
            open = Some((snapshot, model.clone()));
        }
        let expected: Vec<(i64, u32)> = model.into_iter().collect();
        prop_assert_eq!(entries(&mut table, &mut order), expected);
    }
}

/// A value before and after its type got another field.
mod forms {
    #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    pub(super) struct Old {
        pub(super) count: u64,
    }

    #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    #[serde(rename = "Old")]
    pub(super) struct New {
        #[serde(default)]
        pub(super) name: String,
        pub(super) count: u64,
    }
}

#[test]
fn rows_in_files_are_written_anew_when_their_type_is_another() {
    let uid = OperatorUid::from("op");
    let stores = MemoryStores { cache_bytes: 1 };
    let empty = RestoredState::default();
    let mut table: Table<u32, forms::Old> =
        Table::restore(WHOLE, 16, &uid, "s", &empty, Some(&stores)).unwrap();
    let mut order = RowOrder::new(&table, 0);
    for key in 0..50 {
        table.load(std::iter::once((key_hash(&key), &key))).unwrap();
        let count = u64::from(key);
        let new = || (key, forms::Old { count });
        let id = table.find_or_insert(key_hash(&key), &key, new).unwrap();
        order.insert(7, id, &table).unwrap();
    }
    let mut snapshot = builder(1, true);
    table
        .freeze(&uid, "s", &mut [&mut order], &mut snapshot)
        .unwrap();
    while !table.slice(9, &mut snapshot).unwrap() {}
    let restored = restored(snapshot);
    let mut table: Table<u32, forms::New> =
        Table::restore(WHOLE, 16, &uid, "s", &restored, Some(&stores)).unwrap();
    let mut visited = 0;
    // The orders are rebuilt from the rows.
    table
        .visit("", |_, row| {
            assert_eq!(row.name, "");
            visited += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((visited, table.len()), (50, 50));
    assert_eq!(RowOrder::new(&table, 0).first(i64::MIN).unwrap(), None);
    let found = table.peek(key_hash(&9_u32), &9, |row| row.count).unwrap();
    assert_eq!(found, Some(9));
    // With state in memory they can't be read.
    let refused = Table::<u32, forms::New>::restore(WHOLE, 16, &uid, "s", &restored, None);
    let refusal = refused.err().unwrap().message;
    assert!(
        refusal.contains("files of state backend memory") && refusal.contains("savepoint"),
        "{refusal}"
    );
}

#[test]
fn orders_in_files_are_made_anew_when_they_follow_from_something_else() {
    let uid = OperatorUid::from("op");
    let stores = MemoryStores { cache_bytes: 1 };
    let mut from = RestoredState::default();
    // Each row stands at as many hours as it lives, and is put there whenever that is another number.
    for (lives, visited) in [("1", 0), ("1", 0), ("2", 9), ("2", 0)] {
        let mut table: Table<u32, i64> =
            Table::restore(WHOLE, 16, &uid, "s", &from, Some(&stores)).unwrap();
        let place: i64 = lives.parse().unwrap();
        let mut order = RowOrder::new(&table, 0);
        let mut seen = 0;
        let enter = |row: VisitedRow<'_>, _: &i64| {
            seen += 1;
            order.enter(place, row)
        };
        table.visit(lives, enter).unwrap();
        assert_eq!(seen, visited);
        for key in 0..9 {
            add(&mut table, key, 1);
            let row = table.find(key_hash(&key), &key).unwrap();
            if *table.value(row) == 1 {
                order.insert(place, row, &table).unwrap();
            }
        }
        let mut snapshot = builder(1, true);
        table
            .freeze(&uid, "s", &mut [&mut order], &mut snapshot)
            .unwrap();
        while !table.slice(9, &mut snapshot).unwrap() {}
        from = restored(snapshot);
        let expected: Vec<(i64, u32)> = (0..9).map(|key| (place, key)).collect();
        assert_eq!(entries(&mut table, &mut order), expected);
    }
}
