//! One list of promises, kept by every store below a table: RocksDB, and the one in memory.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rivus_core::{
    AttemptId, Changes, EachPiece, Failure, ImageFile, JobId, MemoryStores, Space, StateStore,
    StoreImage, StoreScan, SubtaskId, VertexId,
};
use rivus_state::{RocksDbBackend, StateBackend};
use uuid::Uuid;

fn open(backend: &dyn StateBackend, attempt: u32, operator: &str) -> Arc<dyn StateStore> {
    open_from(backend, attempt, operator, None)
}

fn open_from(
    backend: &dyn StateBackend,
    attempt: u32,
    operator: &str,
    from: Option<&dyn StoreImage>,
) -> Arc<dyn StateStore> {
    let subtask = SubtaskId {
        vertex: VertexId(1),
        index: 0,
    };
    let attempt = AttemptId { subtask, attempt };
    let stores = backend.stores(JobId(Uuid::from_u128(7)), attempt);
    stores.open(&operator.into(), from).unwrap()
}

/// An image that came from elsewhere: nobody knows what is behind it.
#[derive(Debug)]
struct Elsewhere(Arc<dyn StoreImage>);

impl StoreImage for Elsewhere {
    fn format(&self) -> &str {
        self.0.format()
    }

    fn files(&self) -> &[ImageFile] {
        self.0.files()
    }

    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure> {
        self.0.read(file, each)
    }
}

fn bytes_of(image: &dyn StoreImage, file: &ImageFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    let each = &mut |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    image.read(&file.name, each).unwrap();
    assert_eq!(bytes.len() as u64, file.bytes, "{}", file.name);
    bytes
}

/// Directories below `path` that are not empty of directories, and those that are.
fn directories(path: &Path) -> usize {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let below = entries.filter(|entry| entry.path().is_dir());
    below.map(|entry| 1 + directories(&entry.path())).sum()
}

fn put(changes: &mut Changes, space: Space, key: &[u8], value: &[u8]) {
    let append = |bytes: &'_ [u8]| {
        let bytes = bytes.to_vec();
        move |out: &mut Vec<u8>| {
            out.extend_from_slice(&bytes);
            Ok::<_, ()>(())
        }
    };
    changes.put(space, append(key), append(value)).unwrap();
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads a scan on, `at_once` entries at a time.
fn read(scan: &mut dyn StoreScan, at_once: usize) -> Entries {
    let mut entries = Vec::new();
    loop {
        let mut left = at_once;
        let more = scan.read(&mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            left -= 1;
            Ok(left > 0)
        });
        if !more.unwrap() {
            return entries;
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(bool, Vec<u8>, Vec<u8>),
    Delete(bool, Vec<u8>),
    Write,
    /// Rows of which the store has none yet.
    Load(BTreeMap<Vec<u8>, u8>),
    BeginScan(bool, Vec<u8>),
    EndScan(usize),
    Get(Vec<Vec<u8>>),
    /// Another attempt goes on with an image, which lies here or comes from elsewhere.
    GoOn(bool),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(7), Just(255)], 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        6 => (any::<bool>(), key(), value).prop_map(|(rows, key, value)| Step::Put(rows, key, value)),
        2 => (any::<bool>(), key()).prop_map(|(rows, key)| Step::Delete(rows, key)),
        2 => Just(Step::Write),
        1 => prop::collection::btree_map(key(), any::<u8>(), 1..9).prop_map(Step::Load),
        1 => (any::<bool>(), key()).prop_map(|(rows, from)| Step::BeginScan(rows, from)),
        1 => (1..5_usize).prop_map(Step::EndScan),
        2 => prop::collection::vec(key(), 0..6).prop_map(Step::Get),
        1 => any::<bool>().prop_map(Step::GoOn),
    ]
}

fn space(rows: bool) -> Space {
    if rows { Space::Rows } else { Space::Order }
}

fn check(backend: &dyn StateBackend, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut attempt = 1;
    let mut store = open(backend, attempt, "an operator");
    // Of the images that a store was opened with and has made itself: what has a name keeps it.
    let mut lasting: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut model: BTreeMap<(Space, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let mut written = model.clone();
    let mut changes = Changes::default();
    let mut scan: Option<(Box<dyn StoreScan>, Entries)> = None;
    for step in steps {
        match step {
            Step::Put(rows, key, value) => {
                put(&mut changes, space(*rows), key, value);
                model.insert((space(*rows), key.clone()), value.clone());
            }
            Step::Delete(rows, key) => {
                changes.delete(space(*rows), key);
                model.remove(&(space(*rows), key.clone()));
            }
            Step::Write => {
                store.write(&changes).unwrap();
                changes.clear();
                written.clone_from(&model);
            }
            Step::Load(rows) => {
                store.write(&changes).unwrap();
                changes.clear();
                let mut loaded = Changes::default();
                let is_new = |key: &&Vec<u8>| !model.contains_key(&(Space::Rows, (*key).clone()));
                // Whatever their order.
                let new: Vec<&Vec<u8>> = rows.keys().rev().filter(is_new).collect();
                for key in new {
                    put(&mut loaded, Space::Rows, key, &[rows[key]]);
                    model.insert((Space::Rows, key.clone()), vec![rows[key]]);
                }
                if !loaded.is_empty() {
                    store.load(&loaded).unwrap();
                }
                written.clone_from(&model);
            }
            Step::BeginScan(rows, from) => {
                let space = space(*rows);
                let entries = written.range((space, from.clone())..);
                let of_space = entries.take_while(|((other, _), _)| *other == space);
                let entries = of_space.map(|((_, key), value)| (key.clone(), value.clone()));
                scan = Some((store.scan(space, from).unwrap(), entries.collect()));
            }
            Step::EndScan(at_once) => {
                if let Some((mut scan, expected)) = scan.take() {
                    prop_assert_eq!(read(&mut *scan, *at_once), expected);
                }
            }
            Step::GoOn(here) => {
                let image = store.image().unwrap();
                let files = image.files().iter().filter(|file| file.is_lasting);
                let mut present = BTreeMap::new();
                for file in files {
                    let bytes = bytes_of(&*image, file);
                    if let Some(before) = lasting.get(&file.name) {
                        prop_assert_eq!(before, &bytes, "{} has changed", file.name);
                    }
                    present.insert(file.name.clone(), bytes);
                }
                lasting = present;
                attempt += 1;
                let elsewhere = Elsewhere(Arc::clone(&image));
                let image: &dyn StoreImage = if *here { &*image } else { &elsewhere };
                store = open_from(backend, attempt, "an operator", Some(image));
                changes.clear();
                model.clone_from(&written);
                scan = None;
            }
            Step::Get(keys) => {
                let mut keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                keys.sort();
                keys.dedup();
                let mut found = Vec::new();
                let each = &mut |at: usize, value: &[u8]| {
                    found.push((keys[at].to_vec(), value.to_vec()));
                    Ok(())
                };
                store.get_many(&keys, each).unwrap();
                let there = keys.iter().filter_map(|key| {
                    let value = written.get(&(Space::Rows, key.to_vec()))?;
                    Some((key.to_vec(), value.clone()))
                });
                prop_assert_eq!(&found, &there.collect::<Vec<_>>());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_holds_what_was_written_and_a_scan_what_was_there_when_it_began(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let rocks = RocksDbBackend::new(directory.path()).unwrap().memory(4 << 20);
        let memory = MemoryStores { cache_bytes: 1 };
        let backends: [&dyn StateBackend; 2] = [&memory, &rocks];
        for backend in backends {
            check(backend, &steps)?;
        }
    }
}

#[test]
fn attempts_and_operators_have_stores_of_their_own_which_go_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let backend = RocksDbBackend::new(directory.path()).unwrap();
    let empty = directories(directory.path());
    let mut changes = Changes::default();
    put(&mut changes, Space::Rows, b"key", b"value");
    let first = open(&backend, 1, "a/b: c");
    first.write(&changes).unwrap();
    for (attempt, operator) in [(2, "a/b: c"), (1, "another")] {
        let other = open(&backend, attempt, operator);
        assert_eq!(read(&mut *other.scan(Space::Rows, &[]).unwrap(), 9), []);
    }
    // A scan outlives its store, and the files the scan.
    let mut scan = first.scan(Space::Rows, &[]).unwrap();
    drop(first);
    assert_eq!(read(&mut *scan, 1), [(b"key".to_vec(), b"value".to_vec())]);
    assert!(directories(directory.path()) > empty);
    drop(scan);
    assert_eq!(directories(directory.path()), empty);
    drop(backend);
    assert_eq!(directories(directory.path()), 0);
}

#[test]
fn an_image_outlives_its_store_and_its_files_go_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let backend = RocksDbBackend::new(directory.path()).unwrap();
    let empty = directories(directory.path());
    let mut changes = Changes::default();
    put(&mut changes, Space::Rows, b"key", b"value");
    put(&mut changes, Space::Order, b"place", b"");
    let store = open(&backend, 1, "one");
    store.write(&changes).unwrap();
    let image = store.image().unwrap();
    // What comes later is not in it.
    put(&mut changes, Space::Rows, b"later", b"value");
    store.write(&changes).unwrap();
    drop(store);
    let again = open_from(&backend, 2, "one", Some(&*image));
    drop(image);
    let rows = read(&mut *again.scan(Space::Rows, &[]).unwrap(), 9);
    assert_eq!(rows, [(b"key".to_vec(), b"value".to_vec())]);
    let order = read(&mut *again.scan(Space::Order, &[]).unwrap(), 9);
    assert_eq!(order, [(b"place".to_vec(), Vec::new())]);
    drop(again);
    assert_eq!(directories(directory.path()), empty);
}

#[test]
fn files_of_another_backend_are_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let rocks = RocksDbBackend::new(directory.path()).unwrap();
    let memory = MemoryStores { cache_bytes: 1 };
    let backends: [&dyn StateBackend; 2] = [&memory, &rocks];
    for (one, other) in [(0, 1), (1, 0)] {
        let image = open(backends[one], 1, "sums").image().unwrap();
        let subtask = SubtaskId {
            vertex: VertexId(1),
            index: 0,
        };
        let attempt = AttemptId {
            subtask,
            attempt: 2,
        };
        let stores = backends[other].stores(JobId(Uuid::from_u128(7)), attempt);
        let refused = stores.open(&"sums".into(), Some(&*image));
        let refusal = refused.err().unwrap().message;
        assert!(
            refusal.contains("operator sums") && refusal.contains("from a savepoint"),
            "{refusal}"
        );
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn what_a_killed_process_left_goes_when_the_next_one_comes() {
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("rivus-1-0");
    let living = directory.path().join("rivus-2-0");
    let foreign = [
        "rivus-storage",
        "rivus-backup",
        "rivus-3-0",
        "rivus-4-x",
        "not-ours",
    ];
    let foreign = foreign.map(|name| directory.path().join(name));
    for path in [&left, &living].into_iter().chain(&foreign) {
        std::fs::create_dir_all(path.join("a store")).unwrap();
    }
    // Of all these only what has a process's name and an owner is a process's.
    std::fs::File::create(foreign[0].join("owner")).unwrap();
    // A process died when it had not got that far, too.
    std::fs::create_dir(directory.path().join("rivus.coming")).unwrap();
    // As the operating system leaves it when a process has died; and as it is while one lives.
    std::fs::File::create(left.join("owner")).unwrap();
    let owner = std::fs::File::create(living.join("owner")).unwrap();
    owner.lock().unwrap();
    let backend = RocksDbBackend::new(directory.path()).unwrap();
    assert_eq!([&left, &living].map(|path| path.exists()), [false, true]);
    for path in foreign {
        assert!(path.join("a store").exists(), "{} is gone", path.display());
    }
    // Others of this process are not gone either.
    let store = open(&backend, 1, "one");
    let other = RocksDbBackend::new(directory.path()).unwrap();
    let mut changes = Changes::default();
    put(&mut changes, Space::Rows, b"key", b"value");
    store.write(&changes).unwrap();
    store.image().unwrap();
    drop((other, owner));
}

#[test]
fn stores_that_are_open_together_share_the_memory() {
    let directory = tempfile::tempdir().unwrap();
    let backend = RocksDbBackend::new(directory.path())
        .unwrap()
        .memory(64 << 20);
    let first = open(&backend, 1, "one");
    let alone = first.cache_bytes(5_000);
    let second = open(&backend, 1, "two");
    let shares = [first.cache_bytes(6_000), second.cache_bytes(1_000)];
    assert_eq!(shares, [alone / 2; 2]);
    assert_eq!(backend.memory_used().rows, 7_000);
    drop(second);
    assert_eq!(backend.memory_used().rows, 6_000);
    assert_eq!(first.cache_bytes(0), alone);
    assert_eq!(alone, (64 << 20) / 3 * 2 + 1);
}

#[test]
fn rows_give_way_to_memtables_that_have_more_than_their_third() {
    let directory = tempfile::tempdir().unwrap();
    let memory = 1 << 20;
    let backend = RocksDbBackend::new(directory.path())
        .unwrap()
        .memory(memory);
    let store = open(&backend, 1, "one");
    let mut changes = Changes::default();
    put(&mut changes, Space::Rows, b"key", &[7; 200_000]);
    store.write(&changes).unwrap();
    // It is flushed when more is written.
    let (room, used) = (store.cache_bytes(0), backend.memory_used());
    assert!(used.memtables > memory / 3, "{used:?}");
    assert!(room <= memory - used.memtables, "{room} beside {used:?}");
}

#[test]
fn what_an_idle_store_holds_is_not_given_to_another() {
    let directory = tempfile::tempdir().unwrap();
    let backend = RocksDbBackend::new(directory.path())
        .unwrap()
        .memory(64 << 20);
    let idle = open(&backend, 1, "one");
    let all = idle.cache_bytes(0);
    idle.cache_bytes(all);
    let busy = open(&backend, 1, "two");
    let part = all / 2;
    // Nothing is left, and without anything it wouldn't get on.
    assert_eq!(busy.cache_bytes(0), part / 8);
    // What the idle one may have is asked for at its checkpoints.
    assert_eq!(idle.cache_bytes(all), part);
    idle.cache_bytes(all - part / 2);
    assert_eq!(busy.cache_bytes(0), part / 2);
    idle.cache_bytes(part);
    assert_eq!(busy.cache_bytes(part), part);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = RocksDbBackend::new(file.path()).unwrap_err().to_string();
    let name = file.path().display().to_string();
    assert!(error.contains(&name) && !error.contains('\n'), "{error}");
}
