//! Windows whose records are gathered before the exchange, beside the same without.

use std::collections::BTreeMap;
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    Avg, Count, EnvironmentBuilder, JobView, Max, RocksDbBackend, StreamEnvironment, Sum,
    WatermarkStrategy, WindowAssigner,
};

const RECORDS: u64 = 60_000;
const KEYS: u64 = 40;

/// Out of order by up to 64 ms.
fn time(n: u64) -> i64 {
    (n / 10) as i64 - (n * 7_919 % 64) as i64
}

/// A row for each window, in order; and the job as it ended.
async fn run(
    builder: EnvironmentBuilder,
    bound: u64,
    pre_aggregate: bool,
) -> (Vec<String>, JobView) {
    let env = builder
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(20))
        .build();
    let bound = Duration::from_millis(bound);
    let times = WatermarkStrategy::bounded_out_of_orderness(bound).with_timestamps(|n| time(*n));
    let size = Duration::from_millis(300);
    let windows = env
        .from_source(GeneratorSource::new(|n, _| n).count(RECORDS))
        .assign_watermarks(times)
        .key_by(|n| format!("key {}", n * n % KEYS))
        .window(WindowAssigner::sliding(size, size / 3))
        .pre_aggregate(pre_aggregate)
        .aggregate((
            (Count::new(), Sum::of(|n: &u64| *n)),
            (Max::of(|n: &u64| *n), Avg::of(|n: &u64| (n % 8) as f64)),
        ));
    let rows = windows.map(|row| format!("{row:?}")).collect();
    let view = env.execute("windows").await.expect("runs to its end").view;
    let mut rows = rows.values();
    rows.sort();
    (rows, view)
}

fn taken_in(view: &JobView, name: &str) -> u64 {
    let tasks = view.subtasks.iter();
    let named = tasks.filter(|task| task.name.contains(name));
    named.map(|task| task.figures.records_in).sum()
}

#[tokio::test]
async fn windows_give_the_same_and_fewer_records_travel() {
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = || {
        let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
        StreamEnvironment::builder().state_backend(rocks.memory(1 << 20))
    };
    let (expected, without) = run(StreamEnvironment::builder(), 64, false).await;
    assert_eq!(taken_in(&without, "window"), RECORDS);
    for builder in [StreamEnvironment::builder(), rocks()] {
        let (rows, with) = run(builder, 64, true).await;
        assert!(rows == expected, "the output differs");
        let travelled = taken_in(&with, "window");
        assert!(travelled < RECORDS / 2, "{travelled} of {RECORDS}");
    }
}

/// What is late depends on which source is ahead. But each record is in its windows or counted.
#[tokio::test]
async fn no_record_is_lost_that_isnt_counted_as_late() {
    for pre_aggregate in [false, true] {
        let env = StreamEnvironment::builder().parallelism(2).build();
        let bold = WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(5))
            .with_timestamps(|n| time(*n));
        let counts = env
            .from_source(GeneratorSource::new(|n, _| n).count(RECORDS))
            .assign_watermarks(bold)
            .key_by(|n| n % KEYS)
            .window(WindowAssigner::tumbling(Duration::from_millis(20)))
            .pre_aggregate(pre_aggregate)
            .count()
            .map(|window| window.value)
            .collect();
        let view = env.execute("late").await.expect("runs to its end").view;
        let late: u64 = view.subtasks.iter().map(|task| task.figures.late).sum();
        let counted: u64 = counts.values().iter().sum();
        assert_eq!(counted + late, RECORDS);
        assert!(late > 0, "some are late");
    }
}

/// Of an aggregate that rolls: the last result of each key, whatever comes before it, and no result that is late for whoever waits behind.
#[tokio::test]
async fn rolling_aggregates_come_to_the_same_by_fewer_records_and_none_is_late() {
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let rocks = StreamEnvironment::builder().state_backend(rocks.memory(1 << 20));
    for builder in [StreamEnvironment::builder(), rocks] {
        let env = builder
            .parallelism(2)
            .checkpoint_interval(Duration::from_millis(20))
            .build();
        let bound = WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(64));
        let sums = env
            .from_source(GeneratorSource::new(|n, _| n).count(RECORDS))
            .assign_watermarks(bound.with_timestamps(|n| time(*n)))
            .key_by(|n| n * n % KEYS)
            .pre_aggregate()
            .aggregate((Count::new(), Sum::of(|n: &u64| *n)));
        let told = sums.collect();
        let seconds = WindowAssigner::tumbling(Duration::from_secs(1));
        let windows = sums.key_by(|_| ()).window(seconds).count().collect();
        let view = env.execute("sums").await.expect("runs to its end").view;

        let mut expected = BTreeMap::new();
        for n in 0..RECORDS {
            let (count, sum) = expected.entry(n * n % KEYS).or_insert((0, 0));
            *count += 1;
            *sum += n;
        }
        let told = told.values();
        // Two senders tell of a key, and it has one home: so what is told last is all there is.
        let last: BTreeMap<_, _> = told.iter().copied().collect();
        assert_eq!(last, expected);
        let travelled = taken_in(&view, "aggregate");
        assert_eq!(told.len() as u64, travelled);
        assert!(travelled < RECORDS / 2, "{travelled} of {RECORDS}");
        let counted: u64 = windows.values().iter().map(|window| window.value).sum();
        assert_eq!(counted, travelled, "none was late");
    }
}
