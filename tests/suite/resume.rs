//! A job outlives its process: its log and its checkpoints lie in a directory.

use std::path::Path;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{EnvironmentBuilder, JobHandle, JobId, JobStatus, Storage, StreamEnvironment};

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
    life_in(builder, dir).await
}

/// The same in any environment; only its files lie in the directory.
pub(crate) async fn life_in(builder: EnvironmentBuilder, dir: &Path) -> JobHandle {
    let env = builder.build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    env.from_source(numbers)
        .key_by(|n| n % 10)
        .count()
        .sink_to(FileSink::csv(dir.join("out")));
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        .parse()
        .expect("is one");
    env.resume("numbers", JobId(id)).await.expect("starts")
}

/// What is visible of the job's files, in order.
fn rows(dir: &Path) -> Vec<(u64, u64)> {
    let parts = std::fs::read_dir(dir.join("out")).expect("is there");
    let mut rows = Vec::new();
    for part in parts.map(|part| part.expect("is listed").path()) {
        if part.extension().is_some_and(|extension| extension == "csv") {
            let text = std::fs::read_to_string(part).expect("is read");
            rows.extend(text.lines().map(|line| {
                let (key, count) = line.split_once(',').expect("two fields");
                (key.parse().expect("a key"), count.parse().expect("a count"))
            }));
        }
    }
    rows.sort();
    rows
}

#[tokio::test]
async fn a_job_goes_on_in_the_next_process_and_writes_each_record_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = None;
    for _ in 0..3 {
        let mut job = life(dir.path()).await;
        while job.view().last_checkpoint <= last && !matches!(job.status(), JobStatus::Ended(_)) {
            job.changed().await.expect("goes on");
        }
        last = job.view().last_checkpoint;
    }
    // Another plan is refused, and nothing comes of it.
    let refused = life_of(dir.path(), 1).await.wait().await;
    let refusal = refused.expect_err("is another plan").to_string();
    assert!(refusal.contains("submitted with another plan"), "{refusal}");
    let view = life(dir.path()).await.wait().await.expect("completes").view;
    assert!(view.last_checkpoint >= last, "{view:?}");
    assert_each_record_is_written_once(dir.path());
}

#[track_caller]
pub(crate) fn assert_each_record_is_written_once(dir: &Path) {
    let counts = 1..=RECORDS / 10;
    let expected = (0..10).flat_map(|key| counts.clone().map(move |count| (key, count)));
    assert_eq!(rows(dir), expected.collect::<Vec<_>>());
}
