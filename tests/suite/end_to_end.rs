//! Whole jobs in this process: what a user would write first.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, ThreadId};
use std::time::Duration;

use rivus::connectors::{BadLine, DiscardSink, GeneratorSource, TextFileSource};
use rivus::{
    Count, Event, JobError, JobOptions, JobStatus, ParallelInstance, ReadStatus, RuntimeMode,
    Shares, SideOutputTag, Source, SourceReader, StreamEnvironment, SubtaskFigures, Timestamp,
    UserError, WatermarkStrategy, WindowAssigner, Windowed,
};
use serde::{Deserialize, Serialize};

fn counted(mut rows: Vec<Windowed<u32, u64>>) -> Vec<(u32, i64, u64)> {
    rows.sort();
    rows.into_iter()
        .map(|row| (row.key, row.window.start, row.value))
        .collect()
}

fn expected(events: &[Event<u32>], size: i64) -> Vec<(u32, i64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for event in events {
        *counts
            .entry((event.value, event.ts.div_euclid(size) * size))
            .or_insert(0) += 1;
    }
    counts
        .into_iter()
        .map(|((key, start), count)| (key, start, count))
        .collect()
}

fn events(count: i64) -> Vec<Event<u32>> {
    (0..count)
        .map(|n| Event::at(n * 7, (n * n % 13) as u32))
        .collect()
}

fn window_job(
    env: &StreamEnvironment,
    events: Vec<Event<u32>>,
) -> rivus::connectors::Collected<Windowed<u32, u64>> {
    env.from_events(events)
        .assign_watermarks(WatermarkStrategy::bounded_out_of_orderness(
            Duration::from_millis(100),
        ))
        .key_by(|value| *value)
        .window(WindowAssigner::tumbling(Duration::from_secs(1)))
        .aggregate(Count::new())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_windowed_count_runs_on_one_thread_with_a_virtual_clock() {
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .runtime(RuntimeMode::Current)
        .seed(1)
        .build();
    let input = events(20_000);
    let out = window_job(&env, input.clone());
    let result = env.execute("count").await.unwrap();
    assert_eq!(counted(out.values()), expected(&input, 1_000));
    assert!(matches!(result.view.status, JobStatus::Ended(_)));
}

#[tokio::test]
async fn a_windowed_count_runs_on_threads() {
    let env = StreamEnvironment::builder().parallelism(2).build();
    let input = events(200_000);
    let out = window_job(&env, input.clone());
    env.execute("count").await.unwrap();
    assert_eq!(counted(out.values()), expected(&input, 1_000));
}

#[tokio::test(start_paused = true)]
async fn windows_fire_though_no_record_of_one_subtask_gets_as_far_as_the_watermarks() {
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_secs(1))
        .runtime(RuntimeMode::Current)
        .seed(1)
        .build();
    let strategy = WatermarkStrategy::monotonous()
        .with_timestamps(|number: &u64| *number as i64)
        .with_idleness(Duration::from_secs(1));
    // One of the source's two subtasks makes the odd numbers, without end.
    let out = env
        .from_source(GeneratorSource::new(|index, _| index).rate(1_000))
        .filter(|number| number % 2 == 0)
        .assign_watermarks(strategy)
        .key_by(|number| number % 10)
        .window(WindowAssigner::tumbling(Duration::from_millis(100)))
        .count()
        .collect();
    let mut job = env.start("even numbers").await.unwrap();
    let fires = async {
        while out.is_empty() {
            job.changed().await.unwrap();
        }
    };
    let fired = tokio::time::timeout(Duration::from_secs(60), fires).await;
    fired.expect("windows fire while the input lasts");
    job.cancel();
    assert!(matches!(job.wait().await, Err(JobError::Canceled)));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_change_of_a_job_that_is_over_is_told_so() {
    let env = StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(1)
        .build();
    for canceled in [false, true] {
        let numbers = GeneratorSource::new(|index, _| index).rate(1_000);
        let numbers = match canceled {
            true => numbers,
            false => numbers.count(100),
        };
        let _out = env.from_source(numbers).collect();
        let mut job = env.start("numbers").await.unwrap();
        if canceled {
            job.cancel();
        }
        let last_change = async {
            loop {
                if let Err(told) = job.changed().await {
                    break told;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(3_600), last_change).await;
        match told.expect("nothing will change any more") {
            JobError::Ended => assert!(!canceled),
            JobError::Canceled => assert!(canceled),
            other => panic!("{other}"),
        }
        assert!(matches!(job.status(), JobStatus::Ended(_)));
    }
}

/// A record that knows which thread made it, and tells on which it was dropped.
#[derive(Debug, Serialize, Deserialize)]
struct Native {
    key: u32,
    #[serde(skip)]
    born: Option<ThreadId>,
}

static DROPPED_AT_HOME: AtomicU64 = AtomicU64::new(0);
static DROPPED_ABROAD: AtomicU64 = AtomicU64::new(0);

impl Native {
    fn new(key: u32) -> Self {
        let born = Some(thread::current().id());
        Self { key, born }
    }
}

impl Clone for Native {
    fn clone(&self) -> Self {
        Self::new(self.key)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let place = match self.born == Some(thread::current().id()) {
            true => &DROPPED_AT_HOME,
            false => &DROPPED_ABROAD,
        };
        place.fetch_add(1, Relaxed);
    }
}

#[tokio::test]
async fn records_are_dropped_where_they_were_made() {
    let records = 200_000_u64;
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .runtime(RuntimeMode::Threads { workers: 2 })
        .build();
    let counts = env
        .from_source(GeneratorSource::new(|n, _| n).count(records))
        .map(|n| Native::new((n % 1_000) as u32))
        .key_by(|native| native.key)
        .aggregate(Count::new())
        .filter(|(_, count)| *count == 200)
        .collect();
    env.execute("natives").await.unwrap();
    assert_eq!(counts.len(), 1_000);
    drop(env);
    let home = DROPPED_AT_HOME.load(Relaxed);
    let abroad = DROPPED_ABROAD.load(Relaxed);
    assert_eq!(home + abroad, records, "each is dropped once");
    // Half of the records stay on their worker anyway, and the last credits of a channel go back to nobody.
    assert!(home > records * 9 / 10, "at home {home}, abroad {abroad}");
}

/// A source of `records` at most `rate` a second, and behind it a subtask that takes half a millisecond for each. What both have counted.
#[allow(clippy::disallowed_methods)] // A subtask that takes its time is what is looked at.
async fn figures(records: u64, rate: u64) -> [SubtaskFigures; 2] {
    let env = StreamEnvironment::builder()
        .parallelism(1)
        .options(JobOptions {
            batch_records: 10,
            ..JobOptions::default()
        })
        .build();
    env.from_source(GeneratorSource::new(|n, _| n).count(records).rate(rate))
        .rebalance()
        .map(|number| {
            thread::sleep(Duration::from_micros(500));
            number
        })
        .collect();
    let result = env.execute("slow").await.expect("it runs to its end");
    let subtasks = result.view.subtasks;
    subtasks
        .iter()
        .map(|subtask| subtask.figures)
        .collect::<Vec<_>>()
        .try_into()
        .expect("two subtasks")
}

#[tokio::test]
async fn figures_say_what_was_taken_and_given_and_who_holds_whom_up() {
    let [source, slow] = figures(2_000, 1_000_000).await;
    for task in [&source, &slow] {
        assert_eq!((task.records_in, task.records_out), (2_000, 2_000));
        let Shares {
            busy,
            backpressured,
            idle,
            aligning,
        } = task.shares();
        assert!((busy + backpressured + idle + aligning - 1.0).abs() < 1e-9);
    }
    assert!(source.shares().backpressured > 0.5, "{source:?}");
    assert!(slow.shares().busy > 0.5, "{slow:?}");
    assert!(slow.shares().backpressured < 0.1, "{slow:?}");
    // The other way round: it waits for records, of which there are few.
    let [source, slow] = figures(30, 20).await;
    assert!(source.shares().idle > 0.5, "{source:?}");
    assert!(slow.shares().idle > 0.5, "{slow:?}");
}

#[tokio::test]
async fn bad_lines_are_told_from_good_ones_where_the_lines_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("numbers.txt");
    std::fs::write(&path, "1\ntwo\n3\n").expect("is written");
    let env = StreamEnvironment::builder().parallelism(4).build();
    let bad: SideOutputTag<BadLine> = SideOutputTag::new("bad");
    let source = TextFileSource::new(&path)
        .parsed_by(str::parse::<u32>)
        .collecting_bad_lines();
    let numbers = env.from_source(source).parallelism(1).bad_lines_to(&bad);
    numbers.side_output(&bad).sink_to(DiscardSink::new());
    numbers.sink_to(DiscardSink::new());
    let result = env.execute("numbers").await.expect("runs");
    let subtasks = result.view.subtasks.iter();
    let parsing = subtasks.filter(|subtask| subtask.name.contains("parsed"));
    assert_eq!(parsing.count(), 1);
}

/// Two splits for each reader. A record says who read which.
struct SideBySide;

impl Source for SideBySide {
    type Out = (u32, u32);
    type Split = u32;
    type Reader = Side;

    fn splits(&self, parallelism: u32) -> Result<Vec<u32>, UserError> {
        Ok((0..2 * parallelism).collect())
    }

    fn reader(&self, instance: ParallelInstance) -> Result<Side, UserError> {
        let splits = Vec::new();
        Ok(Side {
            instance,
            splits,
            since: None,
        })
    }
}

/// All but the first are slow to ask for a split.
struct Side {
    instance: ParallelInstance,
    splits: Vec<u32>,
    since: Option<Timestamp>,
}

impl SourceReader for Side {
    type Out = (u32, u32);
    type Split = u32;

    fn add_split(&mut self, split: u32) -> Result<(), UserError> {
        self.splits.push(split);
        Ok(())
    }

    fn read(
        &mut self,
        out: &mut Vec<Event<(u32, u32)>>,
        _max: usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let begins = *self.since.get_or_insert(now) + 100 * i64::from(self.instance.index);
        if now < begins {
            return Ok(ReadStatus::Later(begins));
        }
        let read = self.splits.drain(..);
        out.extend(read.map(|split| Event::at(0, (self.instance.index, split))));
        Ok(ReadStatus::SplitsDone)
    }

    fn snapshot(&self) -> Vec<u32> {
        self.splits.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_done_with_its_first_split_takes_over_nobody_elses_first() {
    let env = StreamEnvironment::builder()
        .parallelism(3)
        .runtime(RuntimeMode::Current)
        .build();
    let read = env.from_source(SideBySide).collect();
    env.execute("side by side").await.expect("finishes");
    let mut read = read.values();
    read.sort_by_key(|(_, split)| *split);
    let readers: Vec<u32> = read.iter().map(|(reader, _)| *reader).collect();
    // The first of them reads all that comes behind, since the others ask later.
    assert_eq!(readers, [0, 1, 2, 0, 0, 0]);
}
