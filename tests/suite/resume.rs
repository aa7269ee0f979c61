//! A job outlives its process: its log and its checkpoints lie in a directory.

use std::path::Path;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{EnvironmentBuilder, JobHandle, JobId, Storage, StreamEnvironment};

use crate::waits::checkpoint_after;
use crate::written::csv_lines;

const RECORDS: u64 = 2_000;

/// A life of the program: begins the job, or goes on with it. It ends when the handle is dropped.
async fn life(dir: &Path) -> JobHandle {
    life_of(dir, 2).await
}

async fn life_of(dir: &Path, parallelism: u32) -> JobHandle {
    let builder = StreamEnvironment::builder()
        .parallelism(parallelism)
        .checkpoint_interval(Duration::from_millis(20))
        .storage(Storage::Directory(dir.join("state")));
    life_in(builder, dir, 10).await
}

/// The same in any environment, with so many keys; only its files lie in the directory.
pub(crate) async fn life_in(builder: EnvironmentBuilder, dir: &Path, keys: u64) -> JobHandle {
    let env = builder.build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    env.from_source(numbers)
        .key_by(move |n| n % keys)
        .count()
        .sink_to(FileSink::csv(dir.join("out")));
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        .parse()
        .expect("is one");
    env.resume("numbers", JobId(id)).await.expect("starts")
}

#[tokio::test]
async fn a_job_goes_on_in_the_next_process_and_writes_each_record_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = None;
    for _ in 0..3 {
        let mut job = life(dir.path()).await;
        last = checkpoint_after(&mut job, last).await;
    }
    // Another plan is refused, and nothing comes of it.
    let refused = life_of(dir.path(), 1).await.wait().await;
    let refusal = refused.expect_err("is another plan").to_string();
    assert!(refusal.contains("submitted with another plan"), "{refusal}");
    let view = life(dir.path()).await.wait().await.expect("completes").view;
    assert!(view.last_checkpoint >= last, "{view:?}");
    assert_each_record_is_written_once(dir.path(), 10);
}

#[track_caller]
pub(crate) fn assert_each_record_is_written_once(dir: &Path, keys: u64) {
    let counts = 1..=RECORDS / keys;
    let lines = (0..keys).flat_map(|key| counts.clone().map(move |n| format!("{key},{n}")));
    let mut expected: Vec<String> = lines.collect();
    expected.sort();
    assert_eq!(csv_lines(&dir.join("out")), expected);
}
