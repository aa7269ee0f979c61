//! Keyed state: an update of a known key, and a slice of a snapshot.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rivus::engine::core::{
    CheckpointId, KeyGroupRange, OperatorUid, SnapshotBuilder, Table, key_hash,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MAX_PARALLELISM: u32 = 128;
const UPDATES: usize = 1_024;
const SLICE_ROWS: usize = 128;

/// Keys in a random order, with their hashes.
fn keys(count: u64) -> Vec<(u64, String)> {
    (0..count)
        .map(|number| {
            let key = format!("user-{number:08x}");
            (key_hash(key.as_str()), key)
        })
        .collect()
}

fn table<V>(keys: &[(u64, String)], value: V) -> Table<String, V>
where
    V: Clone + serde::Serialize + serde::de::DeserializeOwned,
{
    let mut table = Table::new(KeyGroupRange::of(0, 1, MAX_PARALLELISM), MAX_PARALLELISM);
    for (hash, key) in keys {
        let row = table.find_or_insert(*hash, key.as_str(), || (key.clone(), value.clone()));
        assert!(row.is_ok());
    }
    table
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("table_update");
    group.throughput(Throughput::Elements(UPDATES as u64));
    for count in [1_000, 1_000_000] {
        let mut keys = keys(count);
        let mut counts = table(&keys, 0_u64);
        // By hash is a random order.
        keys.sort_unstable();
        let mut at = 0;
        group.bench_function(format!("{count} keys"), |b| {
            b.iter(|| {
                for _ in 0..UPDATES {
                    at = (at + 7_919) % keys.len();
                    let (hash, key) = &keys[at];
                    if let Ok(id) = counts.find_or_insert(*hash, key.as_str(), || (key.clone(), 0))
                    {
                        *counts.value_mut(id) += 1;
                    }
                }
            });
        });
    }
    group.finish();
}

fn slices(c: &mut Criterion) {
    let mut group = c.benchmark_group("snapshot_slice");
    for bytes in [8, 1_000] {
        let keys = keys(50_000);
        let mut rows = table(&keys, "x".repeat(bytes));
        let uid = OperatorUid::from("bench");
        let mut checkpoint = 0;
        let mut snapshot = SnapshotBuilder::new(CheckpointId(0));
        group.throughput(Throughput::Elements(SLICE_ROWS as u64));
        group.bench_function(format!("{SLICE_ROWS} rows of {bytes} bytes"), |b| {
            b.iter(|| {
                drop(snapshot.take_ready());
                if rows.slice(SLICE_ROWS, &mut snapshot).unwrap_or(true) {
                    checkpoint += 1;
                    snapshot = SnapshotBuilder::new(CheckpointId(checkpoint));
                    let frozen = rows.freeze(&uid, "rows", &mut [], &mut snapshot);
                    assert!(black_box(frozen).is_ok());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, updates, slices);
criterion_main!(benches);
