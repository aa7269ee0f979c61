//! Runs a query in a job whose actors die, by tokio's paused clock.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::testing::JobTest;
use rivus::{DataStream, Record, RocksDbBackend, WatermarkStrategy};
use rivus_nexmark::{Generator, NexmarkConfig, NexmarkEvent};

/// A little more than a minute of event time, its events 10 ms apart, so that each has a time of its own.
pub(crate) const WORLD: NexmarkConfig = NexmarkConfig {
    events: 6_500,
    events_per_second: 100,
    seed: 7,
};

/// Events read a second: three seconds of the job's clock, in which three checkpoints are due.
const READ: u64 = 2_000;

pub(crate) fn events() -> Vec<NexmarkEvent> {
    Generator::new(WORLD).events().collect()
}

/// How a query is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Undisturbed,
    Killed,
    KilledOnRocksDb,
}

/// A query's output, run in each way, is handed on to be compared.
pub(crate) fn each_way<T: Record>(
    query: impl Fn(&DataStream<NexmarkEvent>) -> DataStream<T>,
    compare: impl Fn(Vec<T>),
) {
    each_way_lasting(0, query, compare);
}

/// The same in a job that goes on for so many seconds, the last of them without a bid.
pub(crate) fn each_way_lasting<T: Record>(
    seconds: u64,
    query: impl Fn(&DataStream<NexmarkEvent>) -> DataStream<T>,
    compare: impl Fn(Vec<T>),
) {
    for how in [How::Undisturbed, How::Killed, How::KilledOnRocksDb] {
        println!("{how:?}");
        compare(run(seconds, &query, how));
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn run<T: Record>(
    seconds: u64,
    query: &impl Fn(&DataStream<NexmarkEvent>) -> DataStream<T>,
    how: How,
) -> Vec<T> {
    let directory = tempfile::tempdir().unwrap();
    let test = JobTest::with(11, |settings| match how {
        How::KilledOnRocksDb => {
            let backend = RocksDbBackend::new(directory.path()).unwrap();
            // Of so little state files, too, and not all of it in memory.
            let backend = backend.memory(1 << 20).files_from(1 << 10);
            settings.parallelism(2).state_backend(backend)
        }
        How::Undisturbed | How::Killed => settings.parallelism(2),
    });
    let source = Generator::new(WORLD).source().rate(READ);
    let mut events = test.environment().from_source(source).uid("events");
    if seconds > 0 {
        let somebody = Generator::new(WORLD).event(0);
        let now_and_then = GeneratorSource::new(move |_, _| somebody.clone());
        let now_and_then = now_and_then.timestamps(NexmarkEvent::date_time).rate(1);
        let source = now_and_then.count(seconds);
        events = events.union(&test.environment().from_source(source).uid("persons"));
    }
    let events = events.assign_watermarks(WatermarkStrategy::monotonous());
    let output = query(&events).uid("answers").collect();
    let mut job = test.start().await.unwrap();
    if how != How::Undisturbed {
        job.advance(Duration::from_millis(1_300)).await;
        job.kill("answers").await.unwrap();
        job.kill_leader().await.unwrap();
        job.advance(Duration::from_millis(1_400)).await;
        job.kill("events").await.unwrap();
    }
    let view = job.finish().await.unwrap();
    // A subtask that no other one feeds or reads is a region of its own.
    let restarts = match how {
        How::Undisturbed => 0..=0,
        How::Killed | How::KilledOnRocksDb => 2..=4,
    };
    assert!(restarts.contains(&view.restarts), "{:?}", view.last_failure);
    output.values()
}

/// The same rows, in whatever order.
pub(crate) fn same<T: Debug>(output: &[T], expected: &[T]) {
    let sorted = |rows: &[T]| {
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort_unstable();
        rows
    };
    assert!(!expected.is_empty(), "a question without an answer");
    let (output, expected) = (sorted(output), sorted(expected));
    let difference = output
        .iter()
        .zip(&expected)
        .find(|(one, other)| one != other);
    assert_eq!(output.len(), expected.len(), "rows; {difference:?}");
    assert_eq!(difference, None);
}

/// Of rows that stand in the place of earlier ones, the last of each key.
pub(crate) fn last<T: Clone, K: Ord>(output: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let by_key: BTreeMap<K, &T> = output.iter().map(|row| (key(row), row)).collect();
    by_key.into_values().cloned().collect()
}
