//! Regions of jobs in processes of their own: what a failure restarts, and what it starts from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{JobArgs, JobOptions, Jobs, OnError, RestartStrategy, StreamEnvironment, UserError};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Leader, checkpoints, has_files};
use crate::dying::all_counted;
use crate::processes::Process;
use crate::selves;
use crate::written::csv_lines;

pub(crate) fn jobs(jobs: Jobs) -> Jobs {
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(100)),
        restart: RestartStrategy::FixedDelay {
            attempts: 3,
            delay: Duration::from_millis(50),
        },
        ..JobOptions::default()
    };
    let about = "Numbers; once an odd one fails, when there is a file: OUT FILE";
    jobs.job_with("straight", about, options.clone(), straight)
        .job_with("counted", about, options, counted)
}

fn numbers(env: &StreamEnvironment) -> rivus::DataStream<u64> {
    let numbers = GeneratorSource::new(|n, _| n);
    env.from_source(numbers.rate(1_000)).uid("numbers")
}

/// Fails at a number of the second split of two, if there is such a file, and takes that away.
fn fails_once(when: &str) -> impl Fn(u64) -> Result<u64, UserError> + Clone + use<> {
    let when = when.to_owned();
    move |n| match n % 2 == 1 && fs::remove_file(&when).is_ok() {
        true => Err("on purpose".into()),
        false => Ok(n),
    }
}

/// No exchange: two regions.
fn straight(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, when] = args.exactly()?;
    numbers(env)
        .try_map(fails_once(when), OnError::Fail)
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

const KEYS: u64 = 1_000;

/// All of it is one region, and its keys are so long that its state is worth files.
fn counted(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, when] = args.exactly()?;
    numbers(env)
        .try_map(fails_once(when), OnError::Fail)
        .key_by(|n| format!("{:05000}", n % KEYS))
        .count()
        .uid("counts")
        .map(|(key, count)| (key.trim_start_matches('0').to_owned(), count))
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

/// What fails.
enum Fails {
    /// Whoever comes to an odd number.
    Subtask,
    /// Whoever runs the subtask of this index.
    TaskManager(usize),
}

/// The last view of a job that ran in two TaskManagers of one slot and a store of its own each, beside a spare one, and what it wrote.
/// Something fails once, after some checkpoints behind a moment.
fn run(job: &str, is_moment: fn(&Path) -> bool, fails: Fails) -> (Value, Vec<String>) {
    let dir: TempDir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let start = |words: &[&str]| Process::start(&mut selves::command(dir.path(), words));
    let leader = Leader::of(start(&["jobmanager", "--address", "127.0.0.1:0"]));
    let task_manager = |name: &str| {
        let words = ["taskmanager", "--slots", "1", "--workers", "1"];
        let own = ["--name", name, "--rocksdb-directory", &path(name)];
        start(&[&words[..], &own].concat())
    };
    // Slots are given in the order of names.
    let mut tasks = ["a", "b"].map(|name| Some(task_manager(name)));
    let asked = &leader.asked;
    let submit = ["submit", "-p", "2", job, "--", &path("out"), &path("when")];
    let submitted = asked.answer(&submit);
    let id = submitted["id"].as_str().expect("an id");
    let storage = dir.path().join("storage");
    let begun = asked.wait_for(id, |_| is_moment(&storage));
    let more = |status: &Value, than: &Value| checkpoints(status) > checkpoints(than) + 2;
    asked.wait_for(id, |status| more(status, &begun));
    let _spare = task_manager("spare");
    match fails {
        Fails::Subtask => fs::write(path("when"), "now").expect("is written"),
        Fails::TaskManager(index) => tasks[index].take().expect("lives").kill(),
    }
    let failed = asked.wait_for(id, |status| status["restarts"] == 1);
    let last = asked.wait_for(id, |status| more(status, &failed));
    assert_eq!(last["restarts"], 1, "{last}");
    asked.answer(&["stop", id]);
    (last, csv_lines(&dir.path().join("out")))
}

fn tasks(view: &Value) -> &[Value] {
    view["tasks"].as_array().expect("a list")
}

/// Each task, and where it runs.
fn places(view: &Value) -> Vec<String> {
    let places = tasks(view).iter().map(|task| {
        let of = |what: &str| task[what].as_str().expect("is text").to_owned();
        let process = of("task_manager");
        let process = process.split('/').next().unwrap_or_default();
        format!("{} {process}", of("task"))
    });
    places.collect()
}

fn restored(view: &Value, figure: &str) -> u64 {
    let of_tasks = tasks(view).iter().filter_map(|task| task[figure].as_u64());
    of_tasks.sum()
}

/// Whether the numbers of both splits are all there, up to some.
fn judge_splits(last: &Value, written: &[String]) {
    let mut numbers: Vec<u64> = written.iter().map(|n| n.parse().expect("one")).collect();
    numbers.sort_unstable();
    // One split may have been read further.
    for split in [0, 1] {
        let of_split = numbers.iter().filter(|n| *n % 2 == split);
        let all = (split..).step_by(2).take(of_split.clone().count());
        assert!(of_split.copied().eq(all), "{last}");
    }
    assert!(!numbers.is_empty(), "{last}");
}

#[test]
fn a_subtask_that_fails_restarts_its_region_and_no_other() {
    let (last, written) = run("straight", |_| true, Fails::Subtask);
    assert_eq!(places(&last), ["v0[0]#1 a", "v0[1]#2 b"], "{last}");
    judge_splits(&last, &written);
}

#[test]
fn a_task_manager_that_dies_restarts_its_region_on_a_spare_and_no_other() {
    for (index, expected) in [
        (0, ["v0[0]#2 spare", "v0[1]#1 b"]),
        (1, ["v0[0]#1 a", "v0[1]#2 spare"]),
    ] {
        let (last, written) = run("straight", |_| true, Fails::TaskManager(index));
        assert_eq!(places(&last), expected, "{last}");
        judge_splits(&last, &written);
    }
}

#[test]
fn a_region_that_restarts_where_it_was_begins_with_files_of_its_own_processes() {
    let (last, written) = run("counted", has_files, Fails::Subtask);
    assert!(restored(&last, "restored_locally") > 0, "{last}");
    assert_eq!(restored(&last, "restored_remotely"), 0, "{last}");
    assert!(all_counted(&written) > Some(0), "{last}");
}

#[test]
fn who_survives_a_task_manager_begins_with_its_own_files_and_the_spare_with_those_of_the_storage() {
    let (last, written) = run("counted", has_files, Fails::TaskManager(0));
    let (dead, alive): (Vec<String>, _) =
        places(&last).into_iter().partition(|of| of.contains("[0]"));
    let runs_in = |of: &[String], process: &str| of.iter().all(|of| of.ends_with(process));
    assert!(runs_in(&dead, " spare") && runs_in(&alive, " b"), "{last}");
    assert!(restored(&last, "restored_locally") > 0, "{last}");
    assert!(restored(&last, "restored_remotely") > 0, "{last}");
    assert!(all_counted(&written) > Some(0), "{last}");
}
