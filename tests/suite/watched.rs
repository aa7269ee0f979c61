//! A folder that is watched by a whole job, in real time.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rivus::connectors::{TextFileSource, Watch};
use rivus::{StreamEnvironment, WatermarkStrategy, WindowAssigner};
use tempfile::TempDir;

/// What a subtask's part of the last checkpoint takes, and how many records were read.
fn checkpointed(view: &rivus::JobView) -> (u64, u64) {
    let figures = || view.subtasks.iter().map(|task| task.figures);
    (
        figures().map(|of| of.snapshot_bytes).max().unwrap_or(0),
        figures().map(|of| of.records_in).sum(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_that_were_read_leave_a_checkpoint_as_small_as_a_hundred() {
    let dir = TempDir::new().unwrap();
    let put = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            fs::write(
                dir.path().join(format!("{number:05}")),
                format!("{number}\n"),
            )
            .unwrap();
        }
    };
    let env = StreamEnvironment::builder()
        .parallelism(3)
        .checkpoint_interval(Duration::from_millis(50))
        .build();
    let watch = Watch::every(Duration::from_millis(20))
        .settle(Duration::ZERO)
        .in_order_of_names()
        .until(dir.path().join("_DONE"));
    let numbers = TextFileSource::folder(dir.path())
        .parsed_by(str::parse::<u64>)
        .watch(watch);
    let numbers = env.from_source(numbers).collect();
    let mut job = env.start("watched").await.unwrap();
    let mut sizes = Vec::new();
    for files in [100, 10_000] {
        put(numbers.len() as u64..files);
        let read = job.wait_until(|view| checkpointed(view).1 == files).await;
        // What was received before a checkpoint is let go when that is complete, so is not in the next.
        let before = read.unwrap().checkpoints;
        let view = job.wait_until(|view| view.checkpoints >= before + 4).await;
        sizes.push(checkpointed(&view.unwrap()).0);
        assert_eq!(numbers.len() as u64, files, "all are committed by then");
    }
    assert_eq!(sizes[0], sizes[1], "bytes after 100 files and after 10,000");
    fs::write(dir.path().join("_DONE"), "").unwrap();
    tokio::time::timeout(LONG, job.wait())
        .await
        .expect("the watch ends")
        .unwrap();
    let mut numbers = numbers.values();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..10_000));
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_without_a_file_is_idle_and_windows_fire_while_the_watch_goes_on() {
    let dir = TempDir::new().unwrap();
    let put = |name: &str, numbers: std::ops::Range<i64>| {
        let lines: String = numbers.map(|n| format!("{n}\n")).collect();
        let hidden = dir.path().join(format!(".{name}"));
        fs::write(&hidden, lines).unwrap();
        fs::rename(hidden, dir.path().join(name)).unwrap();
    };
    let env = StreamEnvironment::builder()
        .parallelism(3)
        .checkpoint_interval(Duration::from_millis(50))
        .build();
    let watch = Watch::every(Duration::from_millis(20))
        .settle(Duration::ZERO)
        .until(dir.path().join("_DONE"));
    let numbers = TextFileSource::folder(dir.path())
        .parsed_by(str::parse::<i64>)
        .watch(watch);
    let strategy = WatermarkStrategy::monotonous()
        .with_timestamps(|number: &i64| *number)
        .with_idleness(Duration::from_millis(100));
    let counts = env
        .from_source(numbers)
        .assign_watermarks(strategy)
        .key_by(|_| 0)
        .window(WindowAssigner::tumbling(Duration::from_millis(10)))
        .count()
        .map(|window| (window.window.start, window.value))
        .collect();
    let job = env.start("watched").await.unwrap();
    // By then all are idle: a subtask that becomes idle as the last one takes its watermark with it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    put("a", 0..100);
    let seen = async |count: usize| {
        while counts.len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, seen(9))
        .await
        .expect("windows of the first file fire");
    put("b", 100..200);
    tokio::time::timeout(LONG, seen(19))
        .await
        .expect("windows of the second file fire");
    put("_DONE", 0..0);
    tokio::time::timeout(LONG, job.wait())
        .await
        .expect("the watch ends")
        .unwrap();
    let expected: Vec<(i64, u64)> = (0..20).map(|window| (window * 10, 10)).collect();
    assert_eq!(counts.values(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_before_a_file_that_stops_a_look_is_found_by_the_next() {
    let dir = TempDir::new().unwrap();
    let put = |name: &OsStr| fs::write(dir.path().join(name), "a line\n").unwrap();
    let no_text = OsStr::from_bytes(b"caf\xe9");
    put("before".as_ref());
    put(no_text);
    let env = StreamEnvironment::builder().build();
    let watch = Watch::every(Duration::from_millis(500))
        .settle(Duration::ZERO)
        .until(dir.path().join("_DONE"));
    let lines = TextFileSource::folder(dir.path()).watch(watch);
    let lines = env.from_source(lines).collect();
    let job = env.start("stopped").await.unwrap();
    // The first look comes to nothing; the tenth would be the last.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(lines.is_empty());
    fs::rename(dir.path().join(no_text), dir.path().join("cafe")).unwrap();
    fs::write(dir.path().join("_DONE"), "").unwrap();
    tokio::time::timeout(LONG, job.wait())
        .await
        .expect("the watch ends")
        .unwrap();
    assert_eq!(lines.values(), ["a line"; 2]);
}
