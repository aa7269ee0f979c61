//! A folder that is watched by a whole job, in real time.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use rivus::connectors::TextFileSource;
use rivus::{StreamEnvironment, WatermarkStrategy, WindowAssigner};
use tempfile::TempDir;

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
    let numbers = TextFileSource::folder(dir.path())
        .parsed_by(str::parse::<i64>)
        .watch(Duration::from_millis(20))
        .settle(Duration::ZERO)
        .until(dir.path().join("_DONE"));
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
