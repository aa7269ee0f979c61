//! What rows are said to take of memory against what an allocator has given for them.

#![expect(
    unsafe_code,
    reason = "an allocator that counts can't be written without"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rivus_core::{
    Changes, EachFound, Expiring, ExpiringMapState, Failure, KeyGroupRange, ListState, MapState,
    OperatorUid, ReducingState, RestoredState, Space, StateSet, StateStore, StoreImage, StoreScan,
    Stores, Table, ValueState, codec, key_hash,
};
use serde::{Deserialize, Serialize};

thread_local! {
    static TAKEN: Cell<isize> = const { Cell::new(0) };
}

/// Counts what this thread has taken, in the sizes in which blocks are given.
struct Counting;

/// As mimalloc gives them: one word or pairs of them, from 64 bytes on four sizes to a doubling.
fn given(layout: Layout) -> isize {
    let size = layout.size();
    let step = match size {
        ..=8 => 8,
        9..=64 => 16,
        _ => 1 << ((size - 1).ilog2() - 2),
    };
    size.next_multiple_of(step) as isize
}

// SAFETY: the system's allocator does all there is to do.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + given(layout));
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        TAKEN.set(TAKEN.get() - given(layout));
        // SAFETY: as for the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is made, and the bytes that are taken for it.
fn counted<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get();
    let made = make();
    (made, (TAKEN.get() - before) as usize)
}

#[track_caller]
fn assert_near(told: usize, taken: usize, what: &str) {
    let quarter = taken / 4;
    assert!(
        told.abs_diff(taken) <= quarter,
        "{what}: {told} bytes are said, {taken} were taken"
    );
}

/// A row that has grown, and the same as a store gives it back.
#[track_caller]
fn check<S: StateSet>(what: &str, fill: impl FnOnce(&mut S)) {
    let (grown, taken) = counted(|| {
        let mut row = S::default();
        fill(&mut row);
        row
    });
    assert_near(grown.heap_bytes(), taken, what);
    let bytes = codec::encode(&grown).expect("it can be written");
    let (read, taken) = counted(|| codec::decode::<S>(&bytes).expect("it can be read"));
    assert_near(read.heap_bytes(), taken, &format!("{what}, read"));
}

/// Not in their order.
fn numbers(n: u64) -> impl Iterator<Item = u64> {
    (0..n).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    at: Option<i64>,
    who: String,
    lines: Vec<Line>,
    notes: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    what: String,
    pieces: u32,
    cents: Option<u64>,
}

fn order(n: u64) -> Order {
    let line = |pieces| Line {
        what: format!("a thing that is called number {n}"),
        pieces,
        cents: Some(5),
    };
    Order {
        id: n,
        at: Some(7),
        who: format!("somebody whose number is {n}"),
        lines: (0..3).map(line).collect(),
        notes: [("gift wrapped".to_owned(), vec![n; 4])].into(),
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
struct Everything {
    count: ValueState<u64>,
    name: ValueState<String>,
    longest: ReducingState<String>,
    pages: ListState<String>,
    by_page: MapState<String, u32>,
    #[state(ttl = "1h")]
    last: Expiring<ValueState<Order>>,
    #[state(ttl = "1h")]
    lately: ExpiringMapState<u64, u64>,
}

#[test]
fn a_row_takes_about_what_it_says() {
    check::<Everything>("nothing", |_| {});
    check("a number", |row: &mut ValueState<u64>| row.set(7));
    for len in [20, 300, 70_000] {
        let fill = |row: &mut ValueState<String>| row.set("x".repeat(len));
        check(&format!("a text of {len}"), fill);
    }
    for len in [1, 11, 12, 40, 1_000, 20_000] {
        let in_order = |row: &mut MapState<u64, u32>| {
            (0..len).for_each(|n| {
                row.insert(n, 1);
            });
        };
        check(&format!("a map of {len} numbers in order"), in_order);
        let mixed = |row: &mut MapState<u64, u32>| {
            numbers(len).for_each(|n| {
                row.insert(n, 1);
            });
        };
        check(&format!("a map of {len} numbers"), mixed);
        let texts = |row: &mut MapState<String, u32>| {
            numbers(len).for_each(|n| {
                row.insert(format!("/{n}"), 1);
            });
        };
        check(&format!("a map of {len} texts"), texts);
        let pushed = |row: &mut ListState<u64>| numbers(len).for_each(|n| row.push(n));
        check(&format!("a list of {len} numbers"), pushed);
        let pushed = |row: &mut ListState<String>| row.extend(numbers(len).map(|n| n.to_string()));
        check(&format!("a list of {len} texts"), pushed);
        let orders = |row: &mut ListState<Order>| row.extend((0..len.min(1_000)).map(order));
        check(&format!("a list of {len} orders"), orders);
        let nested = |row: &mut MapState<u64, BTreeMap<u64, String>>| {
            numbers(len.min(1_000)).for_each(|n| {
                row.insert(n, numbers(20).map(|n| (n, format!("page {n}"))).collect());
            });
        };
        check(&format!("a map of {len} maps"), nested);
        let hashed = |row: &mut ValueState<HashMap<u64, u64>>| {
            row.set(numbers(len).map(|n| (n, n)).collect());
        };
        // How full a hash map is can't be seen: between half and all of it.
        if len == 1_000 {
            check("a hash map", hashed);
        }
    }
    check("a bit of everything", |row: &mut Everything| {
        row.count.set(7);
        row.name.set("a name that is not short".into());
        row.longest.add("longer than the others".into(), |_, _| {});
        row.pages.extend(numbers(30).map(|n| n.to_string()));
        numbers(30).for_each(|n| {
            row.by_page.insert(n.to_string(), 1);
            row.lately.insert(n, n);
        });
        row.last.set(order(1));
    });
}

#[test]
fn how_it_is_written_does_not_make_it_larger() {
    /// Not to be read, only measured.
    fn told<T: rivus_core::Record>(value: T) -> usize {
        let mut state = ValueState::default();
        state.set(value);
        state.heap_bytes()
    }
    assert_eq!(told(std::time::Duration::from_secs(1)), 0);
    assert_eq!(told(std::net::IpAddr::from([127, 0, 0, 1])), 0);
    assert_eq!(told(rivus_core::JobId(uuid::Uuid::from_u128(7))), 0);
    assert_eq!(told(Box::new((1_u64, 2_u64))), 16);
    assert_eq!(told(vec![None::<u64>; 8]), told(vec![0_u64; 8]));
}

#[test]
fn a_large_map_is_not_walked_through() {
    thread_local! {
        static LOOKED: Cell<usize> = const { Cell::new(0) };
    }

    #[derive(Debug, Clone, Deserialize)]
    struct Seen(String);

    impl Serialize for Seen {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            LOOKED.set(LOOKED.get() + 1);
            self.0.serialize(serializer)
        }
    }

    let mut map = MapState::default();
    let mut list = ListState::default();
    let mut nested = ValueState::default();
    for n in 0..10_000_u32 {
        map.insert(n, Seen("x".repeat(40)));
        list.push(Seen("x".repeat(40)));
    }
    nested.set((
        list.as_slice().to_vec(),
        map.iter()
            .map(|(n, seen)| (*n, seen.clone()))
            .collect::<BTreeMap<_, _>>(),
    ));
    let least = 10_000 * 40;
    assert!(
        map.heap_bytes() > least && list.heap_bytes() > least && nested.heap_bytes() > 2 * least
    );
    assert!(LOOKED.get() <= 4 * 8, "{} were looked at", LOOKED.get());
}

/// A store that forgets what it is given, and notes what it is told that rows take.
#[derive(Default)]
struct Forgetful {
    told: Arc<AtomicUsize>,
    room: usize,
}

impl Stores for Forgetful {
    fn open(
        &self,
        _operator: &OperatorUid,
        _from: Option<&dyn StoreImage>,
    ) -> Result<Arc<dyn StateStore>, Failure> {
        let (told, room) = (Arc::clone(&self.told), self.room);
        Ok(Arc::new(Self { told, room }))
    }
}

impl StateStore for Forgetful {
    fn get_many(&self, _keys: &[&[u8]], _each: EachFound<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn write(&self, _changes: &Changes) -> Result<(), Failure> {
        Ok(())
    }

    fn cache_bytes(&self, taken: usize) -> usize {
        self.told.store(taken, Relaxed);
        self.room
    }

    fn scan(&self, _space: Space, _from: &[u8]) -> Result<Box<dyn StoreScan>, Failure> {
        Err(Failure::attempt("nothing is kept"))
    }

    fn image(&self) -> Result<Arc<dyn StoreImage>, Failure> {
        Err(Failure::attempt("nothing is kept"))
    }
}

/// Counts records of keys, in runs of a hundred, by what they are said to hold. Returns what the rows are said to take, and do.
fn run<S: StateSet>(
    room: usize,
    records: u64,
    key_of: impl Fn(u64) -> u64,
    add: impl Fn(&mut S, u64),
) -> (usize, usize) {
    let stores = Forgetful {
        room,
        ..Forgetful::default()
    };
    let told = Arc::clone(&stores.told);
    let (table, taken) = counted(|| {
        let range = KeyGroupRange::of(0, 1, 16);
        let restored = RestoredState::default();
        let mut table: Table<String, S> =
            Table::restore(range, 16, &"op".into(), "rows", &restored, Some(&stores))
                .expect("a table");
        table = table.measured(S::heap_bytes);
        let keys: Vec<String> = (0..records).map(|n| format!("key {}", key_of(n))).collect();
        for (run, keys) in keys.chunks(100).enumerate() {
            let hashed = keys.iter().map(|key| (key_hash(key), key));
            table.load(hashed).expect("rows");
            for (at, key) in keys.iter().enumerate() {
                let hash = key_hash(key);
                let new = || (key.clone(), S::default());
                let id = table.find_or_insert(hash, key, new).expect("a row");
                add(table.value_mut(id), (100 * run + at) as u64);
            }
        }
        table
            .load(std::iter::empty::<(u64, &String)>())
            .expect("room");
        table
    });
    drop(table);
    (told.load(Relaxed), taken)
}

#[test]
fn rows_in_memory_take_about_what_their_store_is_told() {
    let everything = usize::MAX / 2;
    let visits = |row: &mut MapState<String, u32>, n: u64| {
        *row.entry(format!("/{}", n % 997)).or_default() += 1;
    };
    let (told, taken) = run(everything, 20_000, |n| n % 400, visits);
    assert_near(told, taken, "maps");
    // Half of all records are of three keys.
    let (told, taken) = run(
        everything,
        20_000,
        |n| if n % 2 == 0 { n % 3 } else { n },
        visits,
    );
    assert_near(told, taken, "many small maps and a few large ones");
    let names = |row: &mut ValueState<String>, n: u64| row.set(format!("somebody called {n}"));
    let (told, taken) = run(everything, 30_000, |n| n, names);
    assert_near(told, taken, "texts");
    let listed = |row: &mut ListState<Order>, n: u64| row.push(order(n));
    let (told, taken) = run(everything, 5_000, |n| n % 700, listed);
    assert_near(told, taken, "lists of orders");
    let counts = |row: &mut ValueState<u64>, _: u64| *row.get_or_default() += 1;
    let (told, taken) = run(everything, 30_000, |n| n, counts);
    assert_near(told, taken, "counts");
}

#[test]
fn rows_keep_to_their_room() {
    let room = 2 << 20;
    let visits = |row: &mut MapState<u64, u64>, n: u64| {
        (0..20).for_each(|at| {
            row.insert(n + at, at);
        });
    };
    let (told, taken) = run(room, 30_000, |n| n, visits);
    assert!(told <= room, "{told} bytes are said");
    // Beside its rows a table keeps changes that go to the store a megabyte at a time, and a run's keys.
    assert!(
        taken <= room + (2 << 20) + room / 4,
        "{taken} bytes were taken"
    );
}
