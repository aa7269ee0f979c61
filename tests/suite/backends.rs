//! The same job with all its state in memory, and with most of it on disk.

use std::path::Path;
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    Count, EnvironmentBuilder, JobHandle, RocksDbBackend, Storage, StreamEnvironment, Sum,
    WatermarkStrategy, WindowAssigner,
};

use crate::resume::{assert_each_record_is_written_once, life_in};
use crate::waits::checkpoint_after;

const RECORDS: u64 = 300_000;
const KEYS: u64 = 60_000;

fn key(n: u64) -> String {
    format!("a key that takes some room, number {}", n * 7_919 % KEYS)
}

/// Counts, sums and windows of many keys; all output, in order.
async fn run(builder: EnvironmentBuilder) -> Vec<String> {
    let env = builder
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .build();
    let keyed = env
        .from_source(GeneratorSource::new(|n, _| n).count(RECORDS))
        .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64))
        .key_by(|n| key(*n));
    let last = keyed
        .aggregate((Count::new(), Sum::of(|n: &u64| *n)))
        .filter(|(_, (count, _))| *count == RECORDS / KEYS)
        .collect();
    let windows = keyed
        .window(WindowAssigner::tumbling(Duration::from_secs(50)))
        .aggregate(Count::new())
        .collect();
    let view = env.execute("many keys").await.expect("completes").view;
    assert_eq!(view.restarts, 0);
    let last = last.values().into_iter().map(|row| format!("{row:?}"));
    let windows = windows.values().into_iter().map(|row| format!("{row:?}"));
    let mut all: Vec<String> = last.chain(windows).collect();
    all.sort();
    all
}

#[tokio::test]
async fn the_output_is_the_same_with_a_hundredth_of_the_memory() {
    let in_memory = run(StreamEnvironment::builder()).await;
    assert_eq!(in_memory.len() as u64, KEYS + RECORDS);
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let builder = StreamEnvironment::builder().state_backend(rocks.memory(1 << 20));
    assert!(run(builder).await == in_memory, "the output differs");
}

/// So many that they are not all in memory.
const KEYS_OF_A_LIFE: u64 = 1_000;

/// A life of the program on one backend or the other.
async fn life(dir: &Path, on_disk: bool) -> JobHandle {
    let mut builder = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(20))
        .storage(Storage::Directory(dir.join("state")));
    if on_disk {
        let rocks = RocksDbBackend::new(dir.join("rows")).expect("a backend");
        builder = builder.state_backend(rocks.memory(1 << 20).files_from(0));
    }
    life_in(builder, dir, KEYS_OF_A_LIFE).await
}

#[tokio::test]
async fn a_job_goes_on_on_disk_and_not_back_but_by_a_savepoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = None;
    for on_disk in [false, true, true] {
        let mut job = life(dir.path(), on_disk).await;
        last = checkpoint_after(&mut job, last).await;
    }
    // Files of a store are nothing that memory could read. The job is as it was.
    let refused = life(dir.path(), false).await.wait().await;
    let refusal = refused.expect_err("lies in files").to_string();
    assert!(
        refusal.contains("files of state backend RocksDB, which state in memory can't read")
            && refusal.contains("resume the job with the backend that it had"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
    let job = life(dir.path(), true).await;
    let view = job.wait().await.expect("completes").view;
    assert!(view.last_checkpoint >= last, "{view:?}");
    assert_each_record_is_written_once(dir.path(), KEYS_OF_A_LIFE);
}

#[tokio::test]
async fn a_backend_with_too_little_memory_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let builder = StreamEnvironment::builder().state_backend(rocks.memory(0));
    let env = builder.build();
    env.from_collection(vec![1, 2, 3]).print();
    let refused = env.execute("numbers").await;
    let refusal = refused.expect_err("has no memory").to_string();
    assert!(
        refusal.contains("memory of 0 bytes") && refusal.contains("give .memory(1048576)"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
}
