//! The same job with all its state in memory, and with most of it on disk.

use std::path::Path;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::engine::core::CheckpointId;
use rivus::{
    Count, EnvironmentBuilder, JobHandle, JobId, JobStatus, RocksDbBackend, Storage,
    StreamEnvironment, Sum, WatermarkStrategy, WindowAssigner,
};

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
    let env = builder.build();
    let numbers = GeneratorSource::new(|n, _| n).count(4_000).rate(4_000);
    env.from_source(numbers)
        .key_by(|n| n % 1_000)
        .count()
        .sink_to(FileSink::csv(dir.join("out")));
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        .parse()
        .expect("is one");
    env.resume("numbers", JobId(id)).await.expect("starts")
}

/// Waits until a job has completed a checkpoint after `last`, if one is given. Returns its last one.
async fn checkpointed(job: &mut JobHandle, last: Option<CheckpointId>) -> Option<CheckpointId> {
    while job.view().last_checkpoint <= last && !matches!(job.status(), JobStatus::Ended(_)) {
        job.changed().await.expect("goes on");
    }
    job.view().last_checkpoint
}

#[tokio::test]
async fn a_job_goes_on_on_disk_and_not_back_but_by_a_savepoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = None;
    for on_disk in [false, true, true] {
        let mut job = life(dir.path(), on_disk).await;
        last = checkpointed(&mut job, last).await;
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
    let mut rows = Vec::new();
    for part in std::fs::read_dir(dir.path().join("out")).expect("is there") {
        let part = part.expect("is listed").path();
        if part.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(part).expect("is read");
            rows.extend(text.lines().map(str::to_owned));
        }
    }
    rows.sort();
    let counts = (0..1_000).flat_map(|key| (1..=4).map(move |count| format!("{key},{count}")));
    let mut expected: Vec<String> = counts.collect();
    expected.sort();
    assert_eq!(rows, expected);
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
