//! Sources that wait for each other: how far one gets ahead, and what becomes of it when actors die.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    DataStream, JobOptions, JobResult, RuntimeMode, StreamEnvironment, Timestamp,
    WatermarkStrategy, WindowAssigner,
};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Event time from one record to the next.
const STEP: u64 = 10;

const RECORDS: u64 = 1_000;

fn environment() -> StreamEnvironment {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(1)
        .options(JobOptions {
            checkpoint_interval: Some(MS(100)),
            batch_records: 4,
            ..JobOptions::default()
        })
        .build()
}

/// Records of two sources in the order in which they were seen, behind both.
type Seen = Arc<Mutex<Vec<(bool, Timestamp)>>>;

/// Two sources with the same times. The one sends as fast as it is let, the other as time goes by.
async fn race(
    env: &StreamEnvironment,
    strategy: WatermarkStrategy<(bool, i64)>,
) -> (JobResult, Seen) {
    let seen = Seen::default();
    let source = |fast: bool| {
        let numbers = GeneratorSource::new(move |n, _| (fast, (n * STEP) as i64)).count(RECORDS);
        let numbers = match fast {
            true => numbers,
            false => numbers.rate(1_000 / STEP),
        };
        let times = strategy
            .clone()
            .with_timestamps(|record: &(bool, i64)| record.1);
        env.from_source(numbers).assign_watermarks(times)
    };
    let both: DataStream<(bool, i64)> = source(true).union(&source(false));
    let noting = Arc::clone(&seen);
    both.map(move |record| {
        noting.lock().expect("no panic").push(record);
        record
    })
    .key_by(|record| record.0)
    .window(WindowAssigner::tumbling(MS(500)))
    .count()
    .print_debug();
    let job = env.start("race").await.expect("starts");
    (job.wait().await.expect("completes"), seen)
}

/// By how much the fast source was ahead of the slow one, at most.
fn lead(seen: &Seen) -> i64 {
    let (mut slow, mut lead) = (0, 0);
    for (fast, ts) in seen.lock().expect("no panic").iter() {
        match fast {
            true => lead = lead.max(ts - slow),
            false => slow = slow.max(*ts),
        }
    }
    lead
}

#[tokio::test(start_paused = true)]
async fn a_source_gets_ahead_of_the_others_of_its_group_by_the_drift_and_no_more() {
    let all = (RECORDS * STEP) as i64;
    let (_, seen) = race(&environment(), WatermarkStrategy::monotonous()).await;
    assert!(lead(&seen) > all * 9 / 10, "nobody waits: {}", lead(&seen));

    let drift = MS(400);
    let strategy = WatermarkStrategy::monotonous().with_alignment_every("race", drift, MS(50));
    let (result, seen) = race(&environment(), strategy).await;
    // The run that brings a source beyond the limit is read whole, and some are on their way still.
    let most = 400 + 4 * 4 * STEP as i64;
    assert!(lead(&seen) > 300 && lead(&seen) <= most, "{}", lead(&seen));
    assert_eq!(seen.lock().expect("no panic").len() as u64, 2 * RECORDS);
    let sources = result.view.subtasks.iter();
    let waited: Vec<_> = sources
        .filter(|subtask| subtask.name.contains("watermarks"))
        .map(|subtask| (subtask.figures.aligning_us, subtask.figures.drift_ms))
        .collect();
    // The fast one waited nearly all the time, the slow one never for long.
    let most = waited.iter().map(|(waited, _)| *waited).max();
    let least = waited.iter().map(|(waited, _)| *waited).min();
    assert!(
        most > Some(8_000_000) && least < Some(1_000_000),
        "{waited:?}"
    );
    assert!(result.view.checkpoints > 50, "{:?}", result.view);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_waits_is_not_idle_and_one_that_is_idle_is_not_waited_for() {
    // The fast one would be idle after 100 ms, and its windows closed without it.
    let strategy = WatermarkStrategy::monotonous()
        .with_idleness(MS(100))
        .with_alignment_every("race", MS(2_000), MS(1_000));
    let (result, seen) = race(&environment(), strategy).await;
    assert_eq!(seen.lock().expect("no panic").len() as u64, 2 * RECORDS);
    let late: u64 = result.view.subtasks.iter().map(|s| s.figures.late).sum();
    assert_eq!(late, 0);

    // The first falls silent for ever; the second is not held up by it.
    let env = environment();
    let silent = GeneratorSource::new(|n, _| n as i64).rate(1);
    let lively = GeneratorSource::new(|n, _| n as i64)
        .rate(1_000)
        .count(5_000);
    let strategy = WatermarkStrategy::monotonous()
        .with_timestamps(|n: &i64| *n)
        .with_idleness(MS(50))
        .with_alignment_every("two", MS(100), MS(20));
    let _ = env
        .from_source(silent)
        .assign_watermarks(strategy.clone())
        .print();
    let got = env
        .from_source(lively)
        .assign_watermarks(strategy)
        .collect();
    let job = env.start("two").await.expect("starts");
    tokio::time::sleep(MS(7_000)).await;
    assert_eq!(got.len(), 5_000);
    job.cancel();
    assert!(job.wait().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn sources_wait_for_each_other_under_the_next_leader_too() {
    let env = environment();
    let fast = GeneratorSource::new(|n, _| n as i64 * 10).count(RECORDS);
    let slow = GeneratorSource::new(|n, _| n as i64 * 10)
        .rate(100)
        .count(RECORDS);
    let strategy = WatermarkStrategy::monotonous()
        .with_timestamps(|n: &i64| *n)
        .with_alignment_every("two", MS(200), MS(50));
    let fast = env
        .from_source(fast)
        .assign_watermarks(strategy.clone())
        .collect();
    let slow = env.from_source(slow).assign_watermarks(strategy).collect();
    let job = env.start("two").await.expect("starts");
    for _ in 0..3 {
        tokio::time::sleep(MS(1_500)).await;
        job.kill_leader();
    }
    let view = job.wait().await.expect("completes").view;
    assert_eq!((view.restarts, view.takeovers), (0, 3));
    assert_eq!((fast.len(), slow.len()), (1_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn alignment_that_cannot_work_is_refused_in_one_line() {
    let aligned = |interval| {
        WatermarkStrategy::monotonous()
            .with_timestamps(|n: &i64| *n)
            .with_alignment_every("g", MS(100), interval)
    };
    let refusal = async |write: &dyn Fn(DataStream<i64>)| {
        let env = environment();
        write(env.from_collection(vec![1, 2, 3]));
        let refused = env.start("wrong").await;
        refused
            .err()
            .map_or("started".to_owned(), |error| error.to_string())
    };
    let behind = |numbers: DataStream<i64>| {
        let crossed = numbers.rebalance().map(|n| n);
        let _ = crossed.assign_watermarks(aligned(MS(50))).print();
    };
    assert_eq!(
        refusal(&behind).await,
        "operator \"watermarks\" aligns watermarks in group \"g\", but records cross to \"map\" on their way to it, so \
         their source can't wait: call .assign_watermarks(..) right behind the source, at its parallelism"
    );
    let never = |numbers: DataStream<i64>| {
        let _ = numbers.assign_watermarks(aligned(MS(0))).print();
    };
    assert_eq!(
        refusal(&never).await,
        "operator \"watermarks\": the update interval of alignment group \"g\" is 0: give more"
    );
}
