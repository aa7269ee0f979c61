//! A job that has failed keeps its last checkpoint, and when the mistake is mended another job goes on from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, RollingPolicy};
use rivus::engine::state::{CheckpointStorage, ObjectStorage};
use rivus::{
    CheckpointId, EnvironmentBuilder, JobError, JobId, JobOptions, RestartStrategy, RocksDbBackend,
    Savepoint, Storage, StreamEnvironment,
};

use serde_json::Value;

use crate::resume::assert_each_record_is_written_once;
use crate::service::Service;
use crate::waits::{checkpoint_after, checkpoints};
use crate::written::csv_lines;

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

/// Runs a job until it has a checkpoint and fails, and gives that one.
async fn failed(env: &StreamEnvironment, dir: &Path) -> Savepoint {
    let shows = Arc::default();
    write(env, dir, Some(&shows));
    let mut job = env.start("numbers").await.expect("starts");
    checkpoint_after(&mut job, None).await.expect("is made");
    shows.store(true, Ordering::Relaxed);
    job.clone().wait().await.expect_err("has a mistake");
    job.kept_checkpoint().expect("is kept")
}

#[tokio::test]
async fn one_job_goes_on_from_a_checkpoint_and_whoever_comes_second_is_told_which() {
    let dir = tempfile::tempdir().expect("a directory");
    let env = builder(dir.path()).build();
    let kept = failed(&env, dir.path()).await;
    let number = kept.name().to_owned();
    let folder = kept.path().expect("has a folder");
    let before = folder
        .iter()
        .rev()
        .nth(2)
        .expect("its job")
        .to_string_lossy();

    // The mistake is there still, so the next one fails too, in another process.
    let env = builder(dir.path()).build();
    let mistake = Arc::new(AtomicBool::new(true));
    write(&env, dir.path(), Some(&mistake));
    let by_another_way = Savepoint::at(folder.join("..").join(&number));
    let first = env.from_savepoint(&by_another_way).start("numbers").await;
    let first = first.expect("starts");
    first.clone().wait().await.expect_err("has a mistake");
    let its_own = first.kept_checkpoint().expect("is kept");

    let refused = async |from: &Savepoint| {
        let env = builder(dir.path()).build();
        write(&env, dir.path(), None);
        let refused = env.from_savepoint(from).start("numbers").await.err();
        refused.expect("is refused").to_string()
    };
    assert_eq!(
        refused(&kept).await,
        format!(
            "checkpoint {number} of job {before}: job {} has gone on from it, and another one would write the same once more: it is over \
             too, so go on from its own last checkpoint, {}",
            first.id(),
            its_own.path().expect("has a folder").display()
        )
    );

    let env = builder(dir.path()).build();
    write(&env, dir.path(), None);
    let mut second = env.from_savepoint(&its_own).start("numbers").await;
    let second = second.as_mut().expect("starts");
    let running = refused(&its_own).await;
    let says = format!("job {} has gone on from it", second.id());
    assert!(
        running.contains(&says)
            && running.ends_with("from a savepoint of it any number of jobs can go on"),
        "{running}"
    );
    // A savepoint is nobody's.
    checkpoints(second, 1).await;
    let savepoint = second.savepoint().await.expect("is made");
    second.clone().wait().await.expect("completes");
    assert_each_record_is_written_once(dir.path(), 10);
    for _ in 0..2 {
        let env = builder(dir.path()).build();
        write(&env, dir.path(), None);
        go_on(&env, &savepoint).await.expect("completes");
    }
    let over = refused(&its_own).await;
    let claim = its_own.path().expect("has a folder").join("claimed");
    let mend = format!("delete {} first", claim.display());
    assert!(over.ends_with(&mend), "{over}");
}

#[tokio::test]
async fn whoever_died_before_its_job_began_keeps_nobody_from_going_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let env = builder(dir.path()).build();
    let kept = failed(&env, dir.path()).await;
    let claimed = JobId(uuid::Uuid::from_u128(7));
    let names: Vec<_> = kept.path().expect("has a folder").iter().rev().collect();
    let part = |place: usize| names[place].to_str().expect("is text");
    let before = JobId(part(2).parse().expect("an id"));
    let checkpoint = CheckpointId(part(0).parse().expect("a number"));
    let objects = ObjectStorage::directory(dir.path().join("state")).expect("opens");
    let storage = CheckpointStorage::new(objects);
    let by = storage.claim_checkpoint(before, checkpoint, claimed);
    assert_eq!(by.expect("is claimed"), claimed);

    write(&env, dir.path(), None);
    let job = env.from_savepoint(&kept).start("numbers").await;
    let job = job.expect("starts");
    assert_eq!(job.id(), claimed);
    job.wait().await.expect("completes");
    assert_each_record_is_written_once(dir.path(), 10);
}

#[test]
fn a_service_goes_on_from_the_last_checkpoint_of_a_job_that_has_failed_in_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let (input, out) = (at("in.txt"), at("out"));
    // Whose last line is no text.
    let mut text = "to be or not to be\n".repeat(40_000).into_bytes();
    text.extend(b"\xff\n");
    std::fs::write(&input, &text).expect("is written");
    let count = ["--input", input.to_str().expect("is text")];
    let count = [&["word_count", "--"], &count[..], &["--out"]].concat();
    let count = [&count[..], &[out.to_str().expect("is text")]].concat();
    let often = ["--checkpoint-interval", "10ms"];

    let service = Service::start(&at("storage"), &[]);
    let id = |submitted: Value| submitted["id"].as_str().expect("an id").to_owned();
    let failed = id(service.answer(&[&["submit"], &often[..], &count].concat()));
    let status = service.wait_for(&failed, |status| status["status"] == "failed");
    let kept = status["kept_checkpoint"].as_str().expect("is kept");
    drop(service); // killed

    let service = Service::start(&at("storage"), &[]);
    let from = [&["submit"], &often[..], &["--from-savepoint", kept]].concat();
    let (wider, code) = service.refusal(&[&from[..], &["-p", "2"], &count].concat());
    assert!(wider.contains("is of another plan"), "{wider}");
    assert_eq!(code, Some(1));
    let end = text.len();
    text[end - 2] = b'I';
    std::fs::write(&input, &text).expect("is mended");
    let first = id(service.answer(&[&from[..], &count].concat()));
    let (second, _) = service.refusal(&[&from[..], &count].concat());
    let says = format!("job {first} has gone on from it");
    assert!(
        second.contains(&says) && second.lines().count() == 1,
        "{second}"
    );
    service.wait_for(&first, |status| status["status"] == "completed");
    let words = [
        ("i", 1),
        ("to", 80_000),
        ("be", 80_000),
        ("or", 40_000),
        ("not", 40_000),
    ];
    let counts = words
        .iter()
        .flat_map(|(word, times)| (1..=*times).map(move |n| format!("{word},{n}")));
    let mut expected: Vec<String> = counts.collect();
    expected.sort();
    assert!(csv_lines(&out) == expected, "each count stands there once");
}

#[tokio::test]
async fn a_checkpoint_is_gone_on_from_by_the_same_plan_in_its_storage_when_its_job_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    // None of them goes while it is looked at.
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(20)),
        restart: RestartStrategy::None,
        retained_checkpoints: usize::MAX,
        ..JobOptions::default()
    };
    let env = builder(dir.path()).options(options).build();
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
    let another = refusal(&wider, kept.clone()).await;
    assert!(another.contains("is of another plan"), "{another}");

    let numbers = GeneratorSource::new(|n, _| n).count(2_000).rate(2_000);
    env.from_source(numbers)
        .uid("numbers")
        .map(|n| n)
        .uid("checked")
        .key_by(|n| (n % 10).to_string())
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(dir.path().join("out")))
        .uid("out");
    let unread = go_on(&env, &kept).await.expect_err("is refused");
    let says =
        "\"rows\" of operator counts: its key was u64 and is String, and state is found by its key";
    assert!(unread.to_string().contains(says), "{unread}");
    let claim = kept.path().expect("has a folder").join("claimed");
    assert!(!claim.exists(), "nobody has claimed it by that");
    write(&env, dir.path(), None);
    go_on(&env, &kept).await.expect("completes");
    assert_each_record_is_written_once(dir.path(), 10);
}

#[tokio::test]
async fn a_job_is_gone_on_with_from_its_last_checkpoint_however_many_others_have_ended_since() {
    let dir = tempfile::tempdir().expect("a directory");
    let env = builder(dir.path()).build();
    let shows = Arc::default();
    write(&env, dir.path(), Some(&shows));
    let mut job = env.start("numbers").await.expect("starts");
    checkpoint_after(&mut job, None).await.expect("is made");
    shows.store(true, Ordering::Relaxed);
    job.clone().wait().await.expect_err("has a mistake");
    let kept = job.kept_checkpoint().expect("is kept");

    let short = async || {
        let _ = env.from_collection(vec![1_u64]).collect();
        let short = env.start("short").await.expect("starts");
        short.clone().wait().await.expect("completes");
        short.id()
    };
    let log = |job: JobId| {
        ["log", "snapshot"].map(|part| dir.path().join(format!("state/jobs/{job}/{part}")))
    };
    let is_empty = |part: &PathBuf| {
        std::fs::read_dir(part).map_or(true, |mut entries| entries.next().is_none())
    };
    let is_gone = |job: JobId| log(job).iter().all(is_empty);
    let first = short().await;
    for _ in 0..100 {
        short().await;
    }
    // Its turn comes after that of the one that has failed.
    while !is_gone(first) {
        short().await;
    }
    assert!(!is_gone(job.id()));
    write(&env, dir.path(), None);
    go_on(&env, &kept).await.expect("completes");
    assert_each_record_is_written_once(dir.path(), 10);

    for part in log(job.id()).iter().filter(|part| part.is_dir()) {
        std::fs::remove_dir_all(part).expect("is removed");
    }
    write(&env, dir.path(), None);
    let refused = go_on(&env, &kept).await.expect_err("is refused");
    let refused = refused.to_string();
    assert!(
        refused.contains("the log of its job is not in the storage")
            && refused.lines().count() == 1,
        "{refused}"
    );
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
