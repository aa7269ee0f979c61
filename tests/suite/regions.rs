//! Regions of jobs in processes of their own: what a failure restarts, and what it starts from.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{JobArgs, JobOptions, Jobs, OnError, RestartStrategy, StreamEnvironment, UserError};
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Leader;
use crate::processes::Process;
use crate::selves;
use crate::written::csv_lines;

const NUMBERS: u64 = 2_000;

/// The one that fails its subtask, once: after some checkpoints, and in the second split of two.
const FAILS: u64 = 1_201;

pub(crate) fn jobs(jobs: Jobs) -> Jobs {
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(100)),
        restart: RestartStrategy::FixedDelay {
            attempts: 3,
            delay: Duration::from_millis(50),
        },
        ..JobOptions::default()
    };
    let about = "Numbers, one of which fails once: OUT FILE-THAT-SAYS-IT-HAS";
    jobs.job_with("straight", about, options.clone(), straight)
        .job_with("counted", about, options, counted)
}

fn numbers(env: &StreamEnvironment) -> rivus::DataStream<u64> {
    let numbers = GeneratorSource::new(|n, _| n);
    env.from_source(numbers.count(NUMBERS).rate(1_000))
        .uid("numbers")
}

/// Fails at a number if there is no such file yet.
fn fails_once(has: &str) -> impl Fn(u64) -> Result<u64, UserError> + Clone + use<> {
    let has = has.to_owned();
    move |n| match n == FAILS && !Path::new(&has).exists() {
        true => {
            fs::write(&has, "it has")?;
            Err("on purpose".into())
        }
        false => Ok(n),
    }
}

/// No exchange: two regions.
fn straight(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, has] = args.exactly()?;
    numbers(env)
        .try_map(fails_once(has), OnError::Fail)
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

/// All of it is one region, and its keys are so long that its state is worth files.
fn counted(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, has] = args.exactly()?;
    numbers(env)
        .try_map(fails_once(has), OnError::Fail)
        .key_by(|n| format!("{n:05000}"))
        .count()
        .uid("counts")
        .map(|(key, count)| (key.trim_start_matches('0').to_owned(), count))
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

/// The last view of a job that ran in two TaskManagers of one slot and a store of its own each, and what it wrote.
fn run(job: &str) -> (Value, Vec<String>) {
    let dir: TempDir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let start = |words: &[&str]| Process::start(&mut selves::command(dir.path(), words));
    let leader = Leader::of(start(&["jobmanager", "--address", "127.0.0.1:0"]));
    let _tasks = ["one", "other"].map(|store| {
        let words = ["taskmanager", "--slots", "1", "--workers", "1"];
        let store = ["--rocksdb-directory", &path(store)];
        start(&[&words[..], &store].concat())
    });
    let asked = &leader.asked;
    let submitted = asked.answer(&["submit", "-p", "2", job, "--", &path("out"), &path("has")]);
    let id = submitted["id"].as_str().expect("an id");
    let last = asked.wait_for(id, |status| status["status"] == "completed");
    assert!(Path::new(&path("has")).exists(), "nothing failed: {last}");
    assert_eq!(last["restarts"], 1, "{last}");
    (last, csv_lines(&dir.path().join("out")))
}

fn tasks(view: &Value) -> &[Value] {
    view["tasks"].as_array().expect("a list")
}

#[test]
fn a_subtask_that_fails_restarts_its_region_and_no_other() {
    let (last, written) = run("straight");
    let attempts = tasks(&last).iter().filter_map(|task| task["task"].as_str());
    let attempts: Vec<&str> = attempts.collect();
    assert_eq!(attempts, ["v0[0]#1", "v0[1]#2"], "{last}");
    let mut numbers: Vec<String> = (0..NUMBERS).map(|n| n.to_string()).collect();
    numbers.sort();
    assert!(written == numbers, "{last}");
}

#[test]
fn a_region_that_restarts_where_it_was_begins_with_files_of_its_own_processes() {
    let (last, written) = run("counted");
    let own = tasks(&last).iter().map(|task| &task["restored_locally"]);
    let own: u64 = own.filter_map(Value::as_u64).sum();
    assert!(own > 0, "{last}");
    let mut counts: Vec<String> = (1..NUMBERS).map(|n| format!("{n},1")).collect();
    counts.push(",1".to_owned());
    counts.sort();
    assert!(written == counts, "{last}");
}
