//! A job outlives its process: its log and its checkpoints lie in a directory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::engine::state::ObjectStorage;
use rivus::{EnvironmentBuilder, JobError, JobHandle, JobId, Storage, StreamEnvironment};

use crate::processes::Process;
use crate::waits::checkpoint_after;
use crate::written::csv_lines;

const RECORDS: u64 = 2_000;

/// A life of the program: begins the job, or goes on with it. It ends when the handle is dropped.
async fn life(dir: &Path) -> JobHandle {
    life_of(dir, 2).await
}

/// Begins a life in a directory in which another may be under way.
async fn begin(dir: &Path) -> Result<JobHandle, JobError> {
    let builder = in_directory(dir, 2);
    begin_in(builder, dir, 10).await
}

async fn life_of(dir: &Path, parallelism: u32) -> JobHandle {
    life_in(in_directory(dir, parallelism), dir, 10).await
}

fn in_directory(dir: &Path, parallelism: u32) -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .parallelism(parallelism)
        .checkpoint_interval(Duration::from_millis(20))
        .storage(Storage::Directory(dir.join("state")))
}

/// The same in any environment, with so many keys; only its files lie in the directory.
pub(crate) async fn life_in(builder: EnvironmentBuilder, dir: &Path, keys: u64) -> JobHandle {
    begin_in(builder, dir, keys).await.expect("starts")
}

async fn begin_in(
    builder: EnvironmentBuilder,
    dir: &Path,
    keys: u64,
) -> Result<JobHandle, JobError> {
    let env = builder.build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    env.from_source(numbers)
        .key_by(move |n| n % keys)
        .count()
        .sink_to(FileSink::csv(dir.join("out")));
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        .parse()
        .expect("is one");
    env.resume("numbers", JobId(id)).await
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

/// Tells the test below that it is the process that is to be killed, and in which directory it runs the job.
const LIVES_IN: &str = "RIVUS_TEST_LIVES_IN";

#[tokio::test]
async fn a_process_has_its_job_to_itself_until_it_is_killed() {
    if let Some(dir) = std::env::var_os(LIVES_IN) {
        let mut job = life(Path::new(&dir)).await;
        checkpoint_after(&mut job, None).await;
        println!("it runs");
        std::future::pending::<()>().await;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let this = std::env::current_exe().expect("is known");
    let mut other = Process::start(
        Command::new(this)
            .args(["resume::a_process_has_its_job_to_itself_until_it_is_killed"])
            .args(["--exact", "--nocapture"])
            .env(LIVES_IN, dir.path()),
    );
    loop {
        let line = other.line();
        assert!(!line.is_empty(), "it has ended");
        if line.contains("it runs") {
            break;
        }
    }
    let refused = begin(dir.path()).await.err().expect("runs elsewhere");
    let state = dir.path().join("state");
    let says = format!(
        "job 67e5504410b1426f9247bb680e5fe0c8 is being run by another process, or another environment of this one, with its state in {}",
        state.display()
    );
    assert!(refused.to_string().starts_with(&says), "{refused}");
    other.kill();
    let view = life(dir.path()).await.wait().await.expect("completes").view;
    assert_eq!(view.takeovers, 1);
    assert_each_record_is_written_once(dir.path(), 10);
}

#[tokio::test]
async fn of_two_environments_of_one_process_the_second_is_refused_until_the_first_is_gone_or_has_its_end()
 {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = life(dir.path()).await;
    checkpoint_after(&mut first, None).await;
    let refused = begin(dir.path()).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|refused| refused.contains("is being run by another process")));
    drop(first);
    let second = life(dir.path()).await;
    second.clone().wait().await.expect("completes");
    // A job that is over may be asked how it ended.
    life(dir.path()).await.wait().await.expect("has completed");
    drop(second);
    assert_each_record_is_written_once(dir.path(), 10);
}

#[tokio::test]
async fn where_nothing_is_locked_the_process_that_a_job_is_taken_from_ends_with_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let objects = ObjectStorage::in_memory();
    let builder = || {
        StreamEnvironment::builder()
            .checkpoint_interval(Duration::from_millis(20))
            .storage(Storage::Objects(objects.clone()))
    };
    let mut first = life_in(builder(), dir.path(), 10).await;
    checkpoint_after(&mut first, None).await;
    let second = life_in(builder(), dir.path(), 10).await;
    let taken = first.wait().await.expect_err("is taken away").to_string();
    let says = "another process goes on with job 67e5504410b1426f9247bb680e5fe0c8";
    assert!(
        taken.contains(says) && taken.lines().count() == 1,
        "{taken}"
    );
    let view = second.wait().await.expect("completes").view;
    assert_eq!(view.takeovers, 1);
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
