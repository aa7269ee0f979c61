//! A job that has failed keeps its last checkpoint, and when the mistake is mended another job goes on from it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, RollingPolicy};
use rivus::{
    EnvironmentBuilder, JobError, JobId, RestartStrategy, RocksDbBackend, Savepoint, Storage,
    StreamEnvironment,
};

use crate::resume::assert_each_record_is_written_once;
use crate::waits::{checkpoint_after, checkpoints};

fn builder(dir: &Path) -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(20))
        .restart(RestartStrategy::None)
        .storage(Storage::Directory(dir.join("state")))
}

/// Counts by ten keys, into files that stay open over checkpoints. Of a program with a mistake comes little, and that shows when it is told to.
fn write(env: &StreamEnvironment, dir: &Path, mistake: Option<&Arc<AtomicBool>>) {
    let rate = if mistake.is_some() { 200 } else { 2_000 };
    let numbers = GeneratorSource::new(|n, _| n).count(2_000).rate(rate);
    let mistake = mistake.cloned().unwrap_or_default();
    env.from_source(numbers)
        .uid("numbers")
        .map(move |n| {
            assert!(!mistake.load(Ordering::Relaxed), "a mistake");
            n
        })
        .uid("checked")
        .key_by(|n| n % 10)
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(dir.join("out")).rolling(RollingPolicy {
            max_bytes: 500,
            on_checkpoint: false,
        }))
        .uid("out");
}

async fn go_on(env: &StreamEnvironment, from: &Savepoint) -> Result<(), JobError> {
    env.from_savepoint(from).execute("numbers").await.map(drop)
}

#[tokio::test]
async fn a_job_that_has_failed_is_gone_on_with_from_its_last_checkpoint_and_nothing_is_lost_or_repeated()
 {
    for with_files in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let process = || {
            let builder = builder(dir.path());
            match with_files {
                false => builder.build(),
                true => {
                    let rocks = RocksDbBackend::new(dir.path().join("rows")).expect("a backend");
                    builder.state_backend(rocks.files_from(0)).build()
                }
            }
        };
        let env = process();
        let shows = Arc::default();
        write(&env, dir.path(), Some(&shows));
        let mut job = env.start("numbers").await.expect("starts");
        checkpoint_after(&mut job, None).await.expect("is made");
        shows.store(true, Ordering::Relaxed);
        let failed = job.clone().wait().await.expect_err("has a mistake");
        assert!(failed.to_string().contains("a mistake"), "{failed}");
        let kept = job.kept_checkpoint().expect("is kept");
        drop((env, job));

        let env = process();
        write(&env, dir.path(), None);
        go_on(&env, &kept).await.expect("completes");
        assert_each_record_is_written_once(dir.path(), 10);
    }
}

#[tokio::test]
async fn a_checkpoint_is_gone_on_from_by_the_same_plan_in_its_storage_when_its_job_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let env = builder(dir.path()).build();
    let shows = Arc::default();
    write(&env, dir.path(), Some(&shows));
    let mut job = env.start("numbers").await.expect("starts");
    let last = checkpoint_after(&mut job, None).await.expect("is made");
    let state = dir.path().join("state");
    let folder = state.join(format!("jobs/{}/checkpoints/{last}", job.id()));
    let other = builder(&dir.path().join("other")).build();
    let wider = builder(dir.path()).parallelism(3).build();

    let refusal = async |env: &StreamEnvironment, from: Savepoint| {
        write(env, dir.path(), None);
        let refused = go_on(env, &from).await.expect_err("is refused").to_string();
        assert_eq!(refused.lines().count(), 1, "{refused}");
        refused
    };
    let running = refusal(&other, Savepoint::at(&folder)).await;
    assert!(
        running.contains("isn't in the storage of this"),
        "{running}"
    );
    let running = refusal(&wider, Savepoint::at(&folder)).await;
    assert!(running.contains("its job isn't over"), "{running}");
    shows.store(true, Ordering::Relaxed);
    job.clone().wait().await.expect_err("has a mistake");
    let kept = job.kept_checkpoint().expect("is kept");
    let another = refusal(&wider, kept).await;
    assert!(another.contains("is of another plan"), "{another}");
}

#[tokio::test]
async fn a_job_whose_log_is_damaged_says_so_and_begins_from_a_savepoint_as_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let id = JobId(
        "67e55044-10b1-426f-9247-bb680e5fe0c8"
            .parse()
            .expect("is one"),
    );
    let env = builder(dir.path()).build();
    write(&env, dir.path(), None);
    let mut job = env.resume("numbers", id).await.expect("starts");
    checkpoints(&mut job, 1).await;
    let savepoint = job.savepoint().await.expect("is made");
    drop((env, job));

    let log = dir.path().join(format!("state/jobs/{id}/log"));
    let entries = std::fs::read_dir(log).expect("is there");
    let entries = entries.map(|entry| entry.expect("is listed").path());
    let last = entries.max().expect("has entries");
    std::fs::write(&last, "xyz").expect("is written");

    let env = builder(dir.path()).build();
    write(&env, dir.path(), None);
    let job = env.resume("numbers", id).await.expect("is asked for");
    let damaged = job.wait().await.expect_err("is damaged").to_string();
    let name = last.file_name().expect("has one").to_string_lossy();
    for part in [
        "the log of job 67e5504410b1426f9247bb680e5fe0c8 can't be read",
        &name,
        "bring that file back from a copy, or begin under another id, from a savepoint",
    ] {
        assert!(damaged.contains(part), "{damaged}");
    }
    write(&env, dir.path(), None);
    go_on(&env, &savepoint).await.expect("completes");
}
