//! Savepoints: made while the job runs, through failures, and gone on from with another job.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, RollingPolicy};
use rivus::{
    Count, DataStream, Event, JobError, JobHandle, JobOutcome, JobStatus, JobView, Keyed,
    KeyedProcessFunction, MapState, Output, RestartStrategy, RocksDbBackend, Savepoint, Storage,
    StreamEnvironment, Timer, UserError, WatermarkStrategy, WindowAssigner,
};

use crate::held_back::HeldBack;
use crate::waits::under_way;
use crate::written::csv_lines;

pub const RECORDS: u64 = 4_000;
pub const KEYS: u64 = 200;

/// Where a test's job keeps its state and writes, how it runs, and how far it comes.
#[derive(Clone, Copy)]
pub struct Life<'a> {
    pub dir: &'a Path,
    pub parallelism: u32,
    pub on_disk: bool,
    /// Whether records of windows and totals are gathered before the exchange.
    pub pre_aggregate: bool,
    /// Numbers from here on don't come in this life. It is the last one, and ends, if that is none of them.
    pub until: u64,
}

/// Says after each 500 ms of event time how many records of the key there were.
#[derive(Clone)]
struct Bursts;

impl KeyedProcessFunction<u64, u64> for Bursts {
    type Out = (u64, i64, u32);
    type State = MapState<i64, u32>;

    fn process(
        &mut self,
        n: Event<u64>,
        seen: &mut Keyed<'_, u64, MapState<i64, u32>>,
        _out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let ends = n.ts - n.ts % 500 + 500;
        *seen.entry(ends).or_default() += 1;
        seen.register_event_timer(ends);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        seen: &mut Keyed<'_, u64, MapState<i64, u32>>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let count = seen.remove(&timer.ts).unwrap_or(0);
        out.emit((*seen.key(), timer.ts, count));
        Ok(())
    }
}

impl<'a> Life<'a> {
    pub fn in_memory(dir: &'a Path) -> Self {
        Self {
            dir,
            parallelism: 2,
            on_disk: false,
            pre_aggregate: true,
            until: RECORDS / 2,
        }
    }

    /// This one, but with all that is left.
    pub fn last(self) -> Self {
        Self {
            until: RECORDS,
            ..self
        }
    }

    pub fn env(&self) -> StreamEnvironment {
        let mut builder = StreamEnvironment::builder()
            .parallelism(self.parallelism)
            .checkpoint_interval(Duration::from_millis(30))
            .storage(Storage::Directory(self.dir.join("state")));
        if self.on_disk {
            let rocks = RocksDbBackend::new(self.dir.join("rows")).expect("a backend");
            builder = builder.state_backend(rocks.memory(1 << 20));
        }
        builder.build()
    }

    pub fn numbers(&self, env: &StreamEnvironment) -> DataStream<u64> {
        let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
        let numbers = HeldBack::new(numbers, &Arc::new(AtomicU64::new(self.until)));
        // Two always: one reader of both splits would find those of the one behind late.
        env.from_source(numbers)
            .uid("numbers")
            .parallelism(2)
            .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64))
            .uid("times")
            .parallelism(2)
    }

    pub fn out(&self, name: &str) -> FileSink<(u64, i64, u64)> {
        FileSink::csv(self.dir.join(name))
    }

    /// Counts, totals, windows and timers by key, each to files of its own.
    pub fn write(&self, env: &StreamEnvironment) {
        self.write_from(&self.numbers(env));
    }

    pub fn write_from(&self, numbers: &DataStream<u64>) {
        let by_key = numbers.key_by(|n| n % KEYS);
        let counts = by_key.count().uid("counts");
        counts
            .map(|(key, count)| (key, 0, count))
            .sink_to(self.out("counts"))
            .uid("counts out");
        // Told less often where records are gathered; the last one comes either way.
        let totals = match self.pre_aggregate {
            true => by_key.pre_aggregate().count(),
            false => by_key.count(),
        };
        totals
            .uid("totals")
            .filter(|(_, count)| *count == RECORDS / KEYS)
            .map(|(key, count)| (key, 0, count))
            .sink_to(self.out("totals"))
            .uid("totals out");
        let bursts = by_key.process(Bursts).uid("bursts");
        bursts
            .map(|(key, at, seen)| (key, at, u64::from(seen)))
            .sink_to(self.out("bursts"))
            .uid("bursts out");
        let windows = by_key.window(WindowAssigner::sliding(
            Duration::from_millis(1_000),
            Duration::from_millis(250),
        ));
        windows
            .pre_aggregate(self.pre_aggregate)
            .aggregate(Count::new())
            .uid("windows")
            .map(|window| (window.key, window.window.start, window.value))
            .sink_to(self.out("windows"))
            .uid("windows out");
    }

    pub async fn start(&self) -> JobHandle {
        let env = self.env();
        self.write(&env);
        env.start("numbers").await.expect("starts")
    }

    /// Begins the job, and stops it behind its first checkpoint.
    pub async fn begun_and_stopped(&self) -> Savepoint {
        let mut job = self.start().await;
        under_way(&mut job, 1).await;
        job.stop_with_savepoint().await.expect("stops")
    }

    pub async fn go_on(&self, savepoint: &Savepoint) -> JobHandle {
        let env = self.env();
        self.write(&env);
        let job = env.from_savepoint(savepoint).start("numbers").await;
        job.expect("starts")
    }
}

/// What is visible of all files, in order.
pub fn rows(dir: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for name in ["counts", "totals", "bursts", "windows"] {
        let lines = csv_lines(&dir.join(name)).into_iter();
        rows.extend(lines.map(|line| format!("{name} {line}")));
    }
    rows.sort();
    rows
}

/// What must be visible in the end, computed by hand.
pub fn expected() -> Vec<String> {
    let mut rows = Vec::new();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut bursts: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut windows: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    for n in 0..RECORDS {
        let key = n % KEYS;
        *counts.entry(key).or_default() += 1;
        rows.push(format!("counts {key},0,{}", counts[&key]));
        *bursts.entry((key, n - n % 500 + 500)).or_default() += 1;
        let last = n as i64 - n as i64 % 250;
        for start in [last - 750, last - 500, last - 250, last] {
            *windows.entry((key, start)).or_default() += 1;
        }
    }
    let totals = counts.iter();
    rows.extend(totals.map(|(key, count)| format!("totals {key},0,{count}")));
    let bursts = bursts.iter();
    rows.extend(bursts.map(|((key, at), seen)| format!("bursts {key},{at},{seen}")));
    let windows = windows.iter();
    rows.extend(windows.map(|((key, start), seen)| format!("windows {key},{start},{seen}")));
    rows.sort();
    rows
}

/// Compares, and shows what is there and should not be, and the other way round.
pub fn assert_rows(actual: &[String], expected: &[String]) {
    let missing = |rows: &[String], others: &[String]| {
        let mut left: BTreeMap<String, i32> = BTreeMap::new();
        rows.iter()
            .for_each(|row| *left.entry(row.clone()).or_default() += 1);
        others
            .iter()
            .for_each(|row| *left.entry(row.clone()).or_default() -= 1);
        left.retain(|_, count| *count > 0);
        left
    };
    let (extra, lost) = (missing(actual, expected), missing(expected, actual));
    assert!(
        extra.is_empty() && lost.is_empty(),
        "extra {extra:?}, lost {lost:?}"
    );
}

#[tokio::test]
async fn a_stopped_job_goes_on_at_another_parallelism_and_on_the_other_backend() {
    let dir = tempfile::tempdir().expect("a directory");
    let share = RECORDS / 5;
    let life = |number: u64, parallelism, on_disk, pre_aggregate| Life {
        dir: dir.path(),
        parallelism,
        on_disk,
        pre_aggregate,
        until: number * share,
    };
    let mut job = life(1, 2, false, false).start().await;
    let lives = [
        life(2, 3, true, true),
        life(3, 1, true, true),
        life(4, 4, false, false),
        life(5, 2, true, true),
    ];
    for next in lives {
        under_way(&mut job, 2).await;
        let savepoint = job.stop_with_savepoint().await.expect("stops");
        let JobStatus::Ended(JobOutcome::Stopped { .. }) = job.status() else {
            panic!("{:?}", job.status());
        };
        job = next.go_on(&savepoint).await;
    }
    let view = job.wait().await.expect("completes").view;
    assert_eq!(view.restarts, 0);
    assert_rows(&rows(dir.path()), &expected());
}

#[tokio::test]
async fn a_savepoint_is_whole_by_itself_and_may_be_moved() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let mut job = life.start().await;
    under_way(&mut job, 2).await;
    let savepoint = job.savepoint().await.expect("is made");
    assert_eq!(job.status(), JobStatus::Running);
    job.cancel();
    job.wait().await.expect_err("is canceled");
    // The first job has written more since; all that is forgotten with its files.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let moved = elsewhere.path().join("kept");
    std::fs::rename(savepoint.path().expect("has a folder"), &moved).expect("moves");
    for name in ["counts", "totals", "bursts", "windows"] {
        // What was visible at the savepoint is not known here; so only what follows from state is looked at.
        std::fs::remove_dir_all(dir.path().join(name)).expect("is removed");
    }
    std::fs::remove_dir_all(dir.path().join("state")).expect("is removed");
    let job = Life {
        parallelism: 3,
        on_disk: true,
        ..life.last()
    };
    let refused = {
        let env = job.env();
        job.write(&env);
        let gone = env.from_savepoint(&savepoint).start("numbers").await;
        gone.err().expect("is gone").to_string()
    };
    assert!(refused.contains("is no savepoint"), "{refused}");
    let env = job.env();
    job.write(&env);
    let unknown = env.from_savepoint(&Savepoint::at(&moved));
    let unknown = unknown.drop_state_of("nobody").start("numbers").await;
    let refused = unknown.err().expect("is unknown").to_string();
    assert!(refused.contains("\"nobody\""), "{refused}");
    // It was refused before anything was copied.
    assert!(!dir.path().join("state/jobs").exists());
    job.write(&env);
    let mut again = env.from_savepoint(&Savepoint::at(&moved));
    for sink in ["counts out", "bursts out", "windows out"] {
        again = again.drop_state_of(sink);
    }
    again.execute("numbers").await.expect("completes");
    let (rows, all) = (rows(dir.path()), expected());
    assert!(rows.iter().all(|row| all.binary_search(row).is_ok()));
    let last: Vec<&String> = all
        .iter()
        .filter(|row| row.starts_with("counts") && row.ends_with(&format!(",{}", RECORDS / KEYS)))
        .collect();
    assert_eq!(last.len() as u64, KEYS);
    assert!(last.iter().all(|row| rows.binary_search(row).is_ok()));
}

#[tokio::test]
async fn a_job_that_is_drained_fires_what_was_not_due() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let mut job = life.start().await;
    under_way(&mut job, 2).await;
    job.drain_with_savepoint().await.expect("stops");
    let rows = rows(dir.path());
    let count = |name: &str| -> u64 {
        let rows = rows.iter().filter_map(|row| row.strip_prefix(name));
        rows.map(|row| row.rsplit(',').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    let records = rows.iter().filter(|row| row.starts_with("counts")).count() as u64;
    assert!(0 < records && records < RECORDS, "{records}");
    assert_eq!((count("bursts"), count("windows")), (records, 4 * records));
}

#[tokio::test]
async fn a_request_outlives_the_leader_that_it_was_told_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let mut job = life.start().await;
    under_way(&mut job, 1).await;
    let (savepoint, ()) = tokio::join!(job.stop_with_savepoint(), async { job.kill_leader() });
    let savepoint = savepoint.expect("is made all the same");
    assert_eq!(job.view().restarts, 0);
    let job = life.last().go_on(&savepoint).await;
    job.wait().await.expect("completes");
    assert_rows(&rows(dir.path()), &expected());
}

/// What `rivus savepoint inspect` prints, or the line with which it fails.
fn inspect(folder: &Path, options: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rivus"))
        .args(["savepoint", "inspect"])
        .arg(folder)
        .args(options)
        .output()
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("is text");
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let savepoint = life.begun_and_stopped().await;
    let folder = savepoint.path().expect("has a folder").to_owned();
    let files = savepoint.inspect(true).expect("is whole").files;
    let largest = files
        .iter()
        .max_by_key(|file| file.bytes)
        .expect("has files");
    let path = folder.join(&largest.name);
    let mut bytes = std::fs::read(&path).expect("is read");
    let shown = inspect(&folder, &["--verify"]).expect("is whole");
    let schema = savepoint.inspect(false).expect("is whole").operators;
    let schema = schema.iter().flat_map(|operator| &operator.states);
    let schema = schema.filter_map(|state| state.schema.as_ref()).next();
    let schema = schema.expect("a state has one").to_string();
    for line in [
        "stop of job \"numbers\"",
        " keys, ",
        &schema,
        &largest.name,
        &format!("crc32c {}", largest.crc32c),
        "every length, checksum and row",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json = inspect(&folder, &["--json"]).expect("is whole");
    let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    assert_eq!(json["operators"][0]["uid"], "numbers");
    let files = json["files"].as_array().expect("a list");
    let shown = files.iter().find(|file| file["name"] == *largest.name);
    let shown = shown.expect("is listed");
    assert_eq!(shown["bytes"], largest.bytes);
    assert_eq!(shown["crc32c"], largest.crc32c.to_string());
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("is written");
    savepoint.inspect(false).expect("its head is whole");
    let damaged = savepoint.inspect(true).expect_err("is damaged").to_string();
    assert!(
        damaged.contains(&largest.name) && !damaged.contains('\n'),
        "{damaged}"
    );
}

#[tokio::test]
async fn what_a_stopped_job_has_shown_the_next_one_does_not_show_again() {
    let env = StreamEnvironment::builder()
        .checkpoint_interval(Duration::from_millis(30))
        .build();
    let numbers = |until| {
        let numbers = GeneratorSource::new(|n, _| n).count(600).rate(2_000);
        let numbers = HeldBack::new(numbers, &Arc::new(AtomicU64::new(until)));
        env.from_source(numbers).uid("numbers").parallelism(1)
    };
    let first = numbers(300).collect();
    let mut job = env.start("first").await.expect("starts");
    under_way(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");
    let before = first.values();
    assert!(!before.is_empty());
    let second = numbers(600).collect();
    let job = env.from_savepoint(&savepoint).execute("second").await;
    job.expect("completes");
    assert_eq!(
        [before, second.values()].concat(),
        (0..600).collect::<Vec<_>>()
    );
}

/// Numbers by key, in files that stay open over checkpoints, of a job that makes none of its own accord. It fails once when it is told
/// to.
fn write_counted(
    env: &StreamEnvironment,
    dir: &Path,
    until: &Arc<AtomicU64>,
    fails: &Arc<AtomicBool>,
) {
    let fails = Arc::clone(fails);
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    env.from_source(HeldBack::new(numbers, until))
        .uid("numbers")
        .map(move |n| {
            assert!(!fails.swap(false, Ordering::Relaxed), "told to fail");
            n
        })
        .uid("checked")
        .key_by(|n| n % KEYS)
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(dir.join("out")).rolling(RollingPolicy {
            max_bytes: 500,
            on_checkpoint: false,
        }))
        .uid("out");
}

#[tokio::test]
async fn a_savepoint_of_a_job_that_went_back_behind_it_is_gone_on_from_and_each_record_is_written_once()
 {
    for on_disk in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let process = || {
            let mut builder = StreamEnvironment::builder()
                .parallelism(2)
                .checkpoint_interval(Duration::from_secs(3_600))
                .restart(RestartStrategy::FixedDelay {
                    attempts: 3,
                    delay: Duration::from_millis(1),
                })
                .storage(Storage::Directory(dir.path().join("state")));
            if on_disk {
                let rocks = RocksDbBackend::new(dir.path().join("rows")).expect("a backend");
                builder = builder.state_backend(rocks.memory(1 << 20));
            }
            builder.build()
        };
        let (env, fails) = (process(), Arc::default());
        let until = Arc::new(AtomicU64::new(RECORDS / 2));
        write_counted(&env, dir.path(), &until, &fails);
        let mut job = env.start("numbers").await.expect("starts");
        let written = |view: &JobView| {
            let subtasks = view.subtasks.iter();
            subtasks.map(|subtask| subtask.figures.records_out).max() > Some(500)
        };
        job.wait_until(written).await.expect("writes");
        let savepoint = job.savepoint().await.expect("is made");
        fails.store(true, Ordering::Relaxed);
        // All that were there may be through by now: others must come to fail with.
        until.store(RECORDS - 1, Ordering::Relaxed);
        let again = |view: &JobView| view.restarts == 1 && written(view);
        let view = job.wait_until(again).await.expect("writes again");
        assert_eq!(view.last_checkpoint, None, "it goes back to its beginning");
        job.cancel();
        assert!(matches!(job.wait().await, Err(JobError::Canceled)));
        drop(env);

        let env = process();
        until.store(RECORDS, Ordering::Relaxed);
        write_counted(&env, dir.path(), &until, &Arc::default());
        let job = env.from_savepoint(&savepoint).execute("numbers").await;
        job.expect("completes");
        let mut expected: Vec<String> = (0..RECORDS)
            .map(|n| format!("{},{}", n % KEYS, n / KEYS + 1))
            .collect();
        expected.sort();
        assert_eq!(csv_lines(&dir.path().join("out")), expected);
    }
}
