//! Savepoints: made while the job runs, through failures, and gone on from with another job.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, RollingPolicy};
use rivus::{
    Count, DataStream, Event, JobError, JobHandle, JobOutcome, JobStatus, JobView, Keyed,
    KeyedProcessFunction, MapState, Output, RestartStrategy, RocksDbBackend, Savepoint, Storage,
    StreamEnvironment, Timer, UserError, WatermarkStrategy, WindowAssigner,
};

use crate::waits::checkpoints;
use crate::written::csv_lines;

const RECORDS: u64 = 4_000;
const KEYS: u64 = 200;

/// Where a test's job keeps its state and writes, and how it runs.
struct Life<'a> {
    dir: &'a Path,
    parallelism: u32,
    on_disk: bool,
    /// Whether records of windows are gathered before the exchange.
    pre_aggregate: bool,
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
    fn in_memory(dir: &'a Path) -> Self {
        Self {
            dir,
            parallelism: 2,
            on_disk: false,
            pre_aggregate: true,
        }
    }

    fn env(&self) -> StreamEnvironment {
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

    fn numbers(&self, env: &StreamEnvironment) -> DataStream<u64> {
        // So long that there is something left in each life, however slow the machine.
        let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(1_000);
        // Two always: one reader of both splits would find those of the one behind late.
        env.from_source(numbers)
            .uid("numbers")
            .parallelism(2)
            .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64))
            .uid("times")
            .parallelism(2)
    }

    fn out(&self, name: &str) -> FileSink<(u64, i64, u64)> {
        FileSink::csv(self.dir.join(name))
    }

    /// Counts, windows and timers by key, each to files of its own.
    fn write(&self, env: &StreamEnvironment) {
        let by_key = self.numbers(env).key_by(|n| n % KEYS);
        let counts = by_key.count().uid("counts");
        counts
            .map(|(key, count)| (key, 0, count))
            .sink_to(self.out("counts"))
            .uid("counts out");
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

    async fn start(&self) -> JobHandle {
        let env = self.env();
        self.write(&env);
        env.start("numbers").await.expect("starts")
    }

    /// Begins the job, and stops it behind its first checkpoint.
    async fn begun_and_stopped(&self) -> Savepoint {
        let mut job = self.start().await;
        checkpoints(&mut job, 1).await;
        job.stop_with_savepoint().await.expect("stops")
    }

    async fn go_on(&self, savepoint: &Savepoint) -> JobHandle {
        let env = self.env();
        self.write(&env);
        let job = env.from_savepoint(savepoint).start("numbers").await;
        job.expect("starts")
    }
}

/// What is visible of all files, in order.
fn rows(dir: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for name in ["counts", "bursts", "windows"] {
        let lines = csv_lines(&dir.join(name)).into_iter();
        rows.extend(lines.map(|line| format!("{name} {line}")));
    }
    rows.sort();
    rows
}

/// What must be visible in the end, computed by hand.
fn expected() -> Vec<String> {
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
    let bursts = bursts.iter();
    rows.extend(bursts.map(|((key, at), seen)| format!("bursts {key},{at},{seen}")));
    let windows = windows.iter();
    rows.extend(windows.map(|((key, start), seen)| format!("windows {key},{start},{seen}")));
    rows.sort();
    rows
}

/// Compares, and shows what is there and should not be, and the other way round.
fn assert_rows(actual: &[String], expected: &[String]) {
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
    let life = |parallelism, on_disk, pre_aggregate| Life {
        dir: dir.path(),
        parallelism,
        on_disk,
        pre_aggregate,
    };
    let mut job = life(2, false, false).start().await;
    let lives = [
        (3, true, true),
        (1, true, true),
        (4, false, false),
        (2, true, true),
    ];
    let mut lives = lives.into_iter();
    loop {
        checkpoints(&mut job, 2).await;
        let Some((parallelism, on_disk, pre_aggregate)) = lives.next() else {
            break;
        };
        let savepoint = job.stop_with_savepoint().await.expect("stops");
        let JobStatus::Ended(JobOutcome::Stopped { .. }) = job.status() else {
            panic!("{:?}", job.status());
        };
        job = life(parallelism, on_disk, pre_aggregate)
            .go_on(&savepoint)
            .await;
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
    checkpoints(&mut job, 2).await;
    let savepoint = job.savepoint().await.expect("is made");
    assert_eq!(job.status(), JobStatus::Running);
    job.cancel();
    job.wait().await.expect_err("is canceled");
    // The first job has written more since; all that is forgotten with its files.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let moved = elsewhere.path().join("kept");
    std::fs::rename(savepoint.path().expect("has a folder"), &moved).expect("moves");
    for name in ["counts", "bursts", "windows"] {
        // What was visible at the savepoint is not known here; so only what follows from state is looked at.
        std::fs::remove_dir_all(dir.path().join(name)).expect("is removed");
    }
    std::fs::remove_dir_all(dir.path().join("state")).expect("is removed");
    let job = Life {
        parallelism: 3,
        on_disk: true,
        ..life
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
async fn a_job_that_does_not_fit_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let savepoint = life.begun_and_stopped().await;
    let without_bursts = |env: &StreamEnvironment| {
        let by_key = life.numbers(env).key_by(|n| n % KEYS);
        let counts = by_key.count().uid("counts");
        counts
            .map(|(key, count)| (key, 0, count))
            .sink_to(life.out("counts"))
            .uid("counts out");
    };
    let env = life.env();
    without_bursts(&env);
    let refused = env.from_savepoint(&savepoint).start("fewer").await;
    let refusal = refused.err().expect("does not fit").to_string();
    assert!(
        refusal.contains("state of operator \"bursts\"") && !refusal.contains('\n'),
        "{refusal}"
    );
    without_bursts(&env);
    let dropped = env.from_savepoint(&savepoint).drop_state_of("burst");
    let refusal = dropped.start("fewer").await.err().expect("is unknown");
    assert!(
        refusal.to_string().contains("no operator of that uid"),
        "{refusal}"
    );

    let other_groups = StreamEnvironment::builder()
        .max_parallelism(64)
        .storage(Storage::Directory(dir.path().join("state")))
        .build();
    life.write(&other_groups);
    let refused = other_groups.from_savepoint(&savepoint).start("fewer").await;
    let refusal = refused.err().expect("does not fit").to_string();
    assert!(refusal.contains(".max_parallelism(128)"), "{refusal}");

    without_bursts(&env);
    let mut fewer = env.from_savepoint(&savepoint);
    for uid in ["bursts", "bursts out", "windows", "windows out"] {
        fewer = fewer.drop_state_of(uid);
    }
    fewer.execute("fewer").await.expect("completes");
    let counts = |rows: Vec<String>| -> Vec<String> {
        let counts = rows.into_iter().filter(|row| row.starts_with("counts"));
        counts.collect()
    };
    assert_eq!(counts(rows(dir.path())), counts(expected()));
}

#[tokio::test]
async fn a_job_that_is_drained_fires_what_was_not_due() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let mut job = life.start().await;
    checkpoints(&mut job, 2).await;
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
    checkpoints(&mut job, 1).await;
    let (savepoint, ()) = tokio::join!(job.stop_with_savepoint(), async { job.kill_leader() });
    let savepoint = savepoint.expect("is made all the same");
    assert_eq!(job.view().restarts, 0);
    let job = life.go_on(&savepoint).await;
    job.wait().await.expect("completes");
    assert_rows(&rows(dir.path()), &expected());
}

/// Three versions of a program whose state changes, and a function that keeps it.
mod versions {
    /// A version: what it keeps by key, and what it makes of it.
    macro_rules! version {
        ($name:ident, { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }, |$state:ident| $work:expr) => {
            pub mod $name {
                use rivus::{Event, Keyed, KeyedProcessFunction, Output, StateSet, UserError, ValueState};
                use serde::{Deserialize, Serialize};

                #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
                pub struct Seen {
                    $($(#[$attribute])* pub $field: ValueState<$type>,)*
                }

                #[derive(Clone)]
                pub struct Count;

                impl KeyedProcessFunction<u64, u64> for Count {
                    type Out = (u64, String);
                    type State = Seen;

                    fn process(
                        &mut self,
                        _n: Event<u64>,
                        $state: &mut Keyed<'_, u64, Seen>,
                        out: &mut Output<'_, (u64, String)>,
                    ) -> Result<(), UserError> {
                        let count: String = $work;
                        out.emit((*$state.key(), count));
                        Ok(())
                    }
                }
            }
        };
    }

    version!(first, { count: u32, gone: String, }, |seen| {
        seen.gone.set("something".to_owned());
        *seen.count.get_or_default() += 1;
        seen.count.get().expect("is set").to_string()
    });
    version!(second, { #[serde(default)] new: bool, count: u64, }, |seen| {
        seen.new.set(true);
        *seen.count.get_or_default() += 1;
        seen.count.get().expect("is set").to_string()
    });
    version!(third, { count: String, }, |seen| {
        let before = seen.count.take().unwrap_or_default();
        let count = before.parse::<u64>().unwrap_or(0) + 1;
        seen.count.set(count.to_string());
        count.to_string()
    });
    version!(unkept, { count: bool, }, |seen| seen.count.is_empty().to_string());
}

fn migrated(old: versions::second::Seen) -> versions::third::Seen {
    let mut seen = versions::third::Seen::default();
    if let Some(count) = old.count.get() {
        seen.count.set(count.to_string());
    }
    seen
}

#[tokio::test]
async fn state_follows_its_type_from_version_to_version_of_the_program() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life::in_memory(dir.path());
    let write = |env: &StreamEnvironment, version: u32| {
        let by_key = life.numbers(env).key_by(|n| n % KEYS);
        let counts = match version {
            1 => by_key.process(versions::first::Count),
            2 => by_key.process(versions::second::Count),
            3 => by_key.process(versions::third::Count),
            _ => by_key.process(versions::unkept::Count),
        };
        let out = FileSink::csv(dir.path().join("counts"));
        counts
            .uid("counts")
            .map(|(key, count)| (key, 0, count))
            .sink_to(out)
            .uid("out");
    };
    let env = life.env();
    write(&env, 1);
    let mut job = env.start("first").await.expect("starts");
    checkpoints(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");

    let contents = savepoint.inspect(true).expect("is whole");
    let counts = contents.operators.iter().find(|o| o.uid == "counts");
    let states = &counts.expect("is there").states;
    let state = states.iter().find(|s| s.name == "rows").expect("has rows");
    assert!(
        state.keys > Some(0) && state.keys <= Some(KEYS),
        "{:?}",
        state.keys
    );
    let schema = state.schema.as_deref().expect("has a schema");
    assert!(
        schema.contains("Seen { count: [u32], gone: [String] }"),
        "{schema}"
    );

    write(&env, 4);
    let refused = env.from_savepoint(&savepoint).execute("other").await;
    let refusal = refused.expect_err("is of another form").to_string();
    assert!(
        refusal.contains("field \"count\" of Seen was u32 and is bool") && !refusal.contains('\n'),
        "{refusal}"
    );

    write(&env, 2);
    let job = env.from_savepoint(&savepoint).start("second").await;
    let mut job = job.expect("starts");
    checkpoints(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");

    write(&env, 3);
    env.migrate("Sene", |old: versions::second::Seen| migrated(old));
    let refusal = env.from_savepoint(&savepoint).start("third").await;
    let refusal = refusal.err().expect("is mistyped").to_string();
    assert!(
        refusal.contains("such as \"Seen\"") && !refusal.contains('\n'),
        "{refusal}"
    );
    write(&env, 3);
    env.migrate_state_of("counts", "Seen", migrated);
    let third = env.from_savepoint(&savepoint).start("third").await;
    let mut third = third.expect("starts");
    checkpoints(&mut third, 2).await;
    let savepoint = third.stop_with_savepoint().await.expect("stops");

    // The function is part of the program, and what has the present form stays as it is.
    write(&env, 3);
    env.migrate_state_of("counts", "Seen", migrated);
    let again = env.from_savepoint(&savepoint);
    again.execute("third, again").await.expect("completes");
    let counts = expected()
        .into_iter()
        .filter(|row| row.starts_with("counts"));
    assert_eq!(rows(dir.path()), counts.collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operator_of_the_same_uid_that_keeps_no_such_state_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let life = Life {
        dir: dir.path(),
        parallelism: 2,
        on_disk: false,
        pre_aggregate: true,
    };
    let out = |stream: DataStream<(u64, u64)>| {
        let out = FileSink::csv(dir.path().join("counts"));
        stream.uid("counts").sink_to(out).uid("out");
    };
    let env = life.env();
    out(life.numbers(&env).key_by(|n| n % KEYS).count());
    let mut job = env.start("counts").await.expect("starts");
    checkpoints(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");
    let other = |env: &StreamEnvironment| out(life.numbers(env).map(|n| (n % KEYS, 1)));
    other(&env);
    let refused = env.from_savepoint(&savepoint).execute("other").await;
    let refusal = refused.expect_err("keeps nothing").to_string();
    assert!(
        refusal.contains("of operator counts") && refusal.contains(".drop_state_of(\"counts\")"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
    other(&env);
    let dropped = env.from_savepoint(&savepoint).drop_state_of("counts");
    dropped.execute("other").await.expect("completes");
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
    for line in [
        "stop of job \"numbers\"",
        " keys, ",
        "every length, checksum and row",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let json = inspect(&folder, &["--json"]).expect("is whole");
    let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    assert_eq!(json["operators"][0]["uid"], "numbers");
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
    let numbers = || {
        let numbers = GeneratorSource::new(|n, _| n).count(600).rate(2_000);
        env.from_source(numbers).uid("numbers").parallelism(1)
    };
    let first = numbers().collect();
    let mut job = env.start("first").await.expect("starts");
    checkpoints(&mut job, 2).await;
    let savepoint = job.stop_with_savepoint().await.expect("stops");
    let before = first.values();
    assert!(!before.is_empty());
    let second = numbers().collect();
    let job = env.from_savepoint(&savepoint).execute("second").await;
    job.expect("completes");
    assert_eq!(
        [before, second.values()].concat(),
        (0..600).collect::<Vec<_>>()
    );
}

/// Numbers by key, in files that stay open over checkpoints, of a job that makes none of its own accord. It fails once when it is told
/// to.
fn write_counted(env: &StreamEnvironment, dir: &Path, fails: &Arc<AtomicBool>) {
    let fails = Arc::clone(fails);
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    env.from_source(numbers)
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
        write_counted(&env, dir.path(), &fails);
        let mut job = env.start("numbers").await.expect("starts");
        let written = |view: &JobView| {
            let subtasks = view.subtasks.iter();
            subtasks.map(|subtask| subtask.figures.records_out).max() > Some(500)
        };
        job.wait_until(written).await.expect("writes");
        let savepoint = job.savepoint().await.expect("is made");
        fails.store(true, Ordering::Relaxed);
        let again = |view: &JobView| view.restarts == 1 && written(view);
        let view = job.wait_until(again).await.expect("writes again");
        assert_eq!(view.last_checkpoint, None, "it goes back to its beginning");
        job.cancel();
        assert!(matches!(job.wait().await, Err(JobError::Canceled)));
        drop(env);

        let env = process();
        write_counted(&env, dir.path(), &Arc::default());
        let job = env.from_savepoint(&savepoint).execute("numbers").await;
        job.expect("completes");
        let mut expected: Vec<String> = (0..RECORDS)
            .map(|n| format!("{},{}", n % KEYS, n / KEYS + 1))
            .collect();
        expected.sort();
        assert_eq!(csv_lines(&dir.path().join("out")), expected);
    }
}
