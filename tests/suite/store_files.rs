//! Checkpoints over RocksDB are its files: stored once, shared by checkpoints, and close at hand after a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use rivus::connectors::{Collected, DiscardSink, GeneratorSource};
use rivus::{
    JobHandle, JobId, JobView, NodeConfig, RestartStrategy, RocksDbBackend, Storage,
    StreamEnvironment,
};

use crate::waits::checkpoints;

/// All files below a directory, with their paths as text.
fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // Directories may go while they are listed.
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.path() {
            below if below.is_dir() => files.extend(files_below(&below)),
            file => files.push(file),
        }
    }
    files
}

fn sum(view: &JobView, figure: impl Fn(&rivus::SubtaskFigures) -> u64) -> u64 {
    view.subtasks
        .iter()
        .map(|subtask| figure(&subtask.figures))
        .sum()
}

/// What becomes of the files of the last checkpoints on the disk of the process, as a subtask fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum LocalFiles {
    Whole,
    Damaged,
    Gone,
    NeverKept,
}

const RECORDS: u64 = 12_000;
const KEYS: u64 = 3_000;

/// Counts in one subtask, which fails once, when it is told to.
fn counting(
    dir: &Path,
    local: LocalFiles,
    fails: &Arc<AtomicBool>,
) -> (StreamEnvironment, Collected<(u64, u64)>) {
    let rocks = RocksDbBackend::new(dir).expect("a backend");
    let env = StreamEnvironment::builder()
        .checkpoint_interval(Duration::from_millis(50))
        .node(NodeConfig {
            local_recovery: local != LocalFiles::NeverKept,
            ..NodeConfig::default()
        })
        .restart(RestartStrategy::FixedDelay {
            attempts: 3,
            delay: Duration::from_millis(10),
        })
        .state_backend(rocks.memory(1 << 20).files_from(0))
        .build();
    let (dir, fails) = (dir.to_owned(), Arc::clone(fails));
    let fail_once = move |count: (u64, u64)| {
        if fails.swap(false, SeqCst) {
            // Whatever this subtask has acknowledged has its files already; nothing else can complete now.
            for file in files_below(&dir) {
                let path = file.to_string_lossy();
                if path.contains("image-") && path.ends_with(".sst") {
                    spoil(&file, local);
                }
            }
            panic!("a failure that was asked for");
        }
        count
    };
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(4_000);
    let counts = env
        .from_source(numbers)
        .key_by(|n| n % KEYS)
        .count()
        .map(fail_once)
        .collect();
    (env, counts)
}

/// The store has the same file under another name: that stays as it is.
fn spoil(file: &Path, local: LocalFiles) {
    match local {
        LocalFiles::Whole | LocalFiles::NeverKept => {}
        LocalFiles::Gone => fs::remove_file(file).expect("is there"),
        LocalFiles::Damaged => {
            let mut bytes = fs::read(file).expect("is read");
            fs::remove_file(file).expect("is there");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).expect("is written");
        }
    }
}

#[tokio::test]
async fn a_restart_begins_with_files_of_its_own_disk_if_they_are_what_was_stored() {
    for local in [
        LocalFiles::Whole,
        LocalFiles::Damaged,
        LocalFiles::Gone,
        LocalFiles::NeverKept,
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let fails = Arc::new(AtomicBool::new(false));
        let (env, counts) = counting(dir.path(), local, &fails);
        let mut job = env.start("counts").await.expect("starts");
        checkpoints(&mut job, 3).await;
        fails.store(true, SeqCst);
        let view = job.wait().await.expect("completes").view;
        assert_eq!(view.restarts, 1, "{local:?}: {view:?}");
        let here = sum(&view, |figures| figures.restored_locally);
        let there = sum(&view, |figures| figures.restored_remotely);
        match local {
            LocalFiles::Whole => assert!(here > 0 && there == 0, "{here} {there}"),
            _ => assert!(here == 0 && there > 0, "{local:?}: {here} {there}"),
        }
        let mut counts = counts.values();
        counts.sort_unstable();
        let each = RECORDS / KEYS;
        let expected: Vec<(u64, u64)> = (0..KEYS)
            .flat_map(|key| (1..=each).map(move |count| (key, count)))
            .collect();
        assert!(counts == expected, "{local:?}: the output differs");
        drop(env);
        // The job has ended, and so has the process's part of the directory: soon, for files go on the pool.
        for _ in 0..500 {
            if files_below(dir.path()).len() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            files_below(dir.path()).len(),
            1,
            "more than the lock is left"
        );
    }
}

/// A state of which little changes after a while.
fn mostly_cold(dir: &Path, storage: &Path) -> StreamEnvironment {
    let rocks = RocksDbBackend::new(dir).expect("a backend");
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .storage(Storage::Directory(storage.to_owned()))
        .state_backend(rocks.memory(1 << 20).files_from(100_000))
        .build();
    let key = |n: u64, _: &mut _| if n < 60_000 { n } else { n % 50 };
    env.from_source(GeneratorSource::new(key).rate(60_000))
        .key_by(|n| format!("a key that takes some room, number {n}"))
        .count()
        .sink_to(DiscardSink::new());
    env
}

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

async fn resumed(env: &StreamEnvironment) -> JobHandle {
    let id = JobId(ID.parse().expect("is one"));
    env.resume("cold", id).await.expect("starts")
}

#[tokio::test]
async fn a_checkpoint_stores_what_has_changed_and_clean_up_leaves_what_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = dir.path().join("state");
    let env = mostly_cold(dir.path(), &storage);
    let mut job = resumed(&env).await;
    // Until most of the state has been stored before.
    loop {
        job.changed().await.expect("goes on");
        let view = job.view();
        let all = sum(&view, |figures| figures.snapshot_bytes);
        let uploaded = sum(&view, |figures| figures.uploaded_bytes);
        assert!(uploaded <= all, "{uploaded} of {all}");
        if all > 400_000 && uploaded < all / 4 {
            break;
        }
    }
    // The process goes on with it where it was, from the storage.
    drop((env, job));
    let env = mostly_cold(dir.path(), &storage);
    let mut job = resumed(&env).await;
    let restored = |view: &JobView| sum(view, |figures| figures.restored_remotely) > 400_000;
    let view = job.wait_until(restored).await.expect("goes on");
    // The one that the new process began with.
    assert_eq!(view.restarts, 1, "{view:?}");
    assert_eq!(sum(&view, |figures| figures.restored_locally), 0);
    // Subtasks say one after the other how many rows they have.
    let whole = |view: &JobView| sum(view, |figures| figures.state_rows) >= 60_000;
    job.wait_until(whole).await.expect("goes on");
    // When it ends nothing of it is left.
    job.cancel();
    let _ = job.wait().await;
    // It goes once the end is told, while its environment lives.
    let left = || {
        let files = files_below(&storage).into_iter();
        let mut of_stores = files.filter(|file| file.to_string_lossy().contains("/files/"));
        of_stores.next()
    };
    let gone = async {
        while left().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await;
    assert!(gone.is_ok(), "{:?}", left());
    drop(env);
}

#[tokio::test]
async fn a_damaged_file_of_a_checkpoint_is_named_and_ends_the_job() {
    for extension in ["sst", "snapshot"] {
        a_damaged_file(extension).await;
    }
}

async fn a_damaged_file(extension: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = dir.path().join("state");
    let env = mostly_cold(dir.path(), &storage);
    let mut job = resumed(&env).await;
    // Until it is large enough for files.
    let large = |view: &JobView| sum(view, |figures| figures.snapshot_bytes) >= 400_000;
    let known = job.wait_until(large).await.expect("goes on").checkpoints;
    // It has been acknowledged, and is complete by the next one at the latest.
    let complete = |view: &JobView| view.checkpoints > known;
    job.wait_until(complete).await.expect("goes on");
    drop((env, job));
    for file in files_below(&storage) {
        if file.extension().is_some_and(|of_file| of_file == extension) {
            // The process that ended may still clear up: what goes now nobody needs.
            let Ok(mut bytes) = fs::read(&file) else {
                continue;
            };
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).expect("is written");
        }
    }
    let env = mostly_cold(dir.path(), &storage);
    // To try again wouldn't help.
    let failed = resumed(&env).await.wait().await;
    let failure = failed.expect_err("is damaged").to_string();
    let what = format!(".{extension}\" is damaged: checksum");
    let folder = storage.canonicalize().expect("is there");
    let place = format!(": bring {}/jobs/", folder.display());
    let mend = format!(".{extension} back from a copy, or go on from a savepoint that is whole");
    for part in ["operator ", &what, &place, &mend] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
}
