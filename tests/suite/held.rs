//! Credits across processes: what is under way to a subtask that stands still is bounded, whoever sends it.

use std::path::Path;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{JobArgs, Jobs, StreamEnvironment, UserError};
use serde_json::Value;

use crate::cluster::Leader;
use crate::processes::{Process, pause};
use crate::selves;
use crate::written::csv_lines;

const NUMBERS: u64 = 2_000_000;

const KEYS: u64 = 10;

/// The key whose subtask stands still.
const HELD: u64 = 3;

pub(crate) fn jobs(jobs: Jobs) -> Jobs {
    let about = "Counts numbers at full speed, and one key not before there is a file: OUT FILE";
    jobs.job("held", about, held)
}

fn held(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, go] = args.exactly()?;
    let go = go.to_owned();
    let numbers = GeneratorSource::new(|n, _| n).count(NUMBERS);
    env.from_source(numbers)
        .key_by(|n| n % KEYS)
        .count()
        .filter(move |(key, count)| {
            while *key == HELD && !Path::new(&go).exists() {
                pause();
            }
            *count == NUMBERS / KEYS
        })
        .sink_to(FileSink::csv(out));
    Ok(())
}

/// Records that went out of the sources, and that went into the others.
fn under_way(status: &Value) -> (u64, u64) {
    let tasks = status["tasks"].as_array().expect("a list").iter();
    let (sources, others): (Vec<_>, Vec<_>) = tasks.partition(|task| {
        let name = task["task"].as_str();
        name.is_some_and(|name| name.starts_with("v0["))
    });
    let sum = |tasks: Vec<&Value>, figure: &str| -> u64 {
        let all = tasks.iter().filter_map(|task| task[figure].as_u64());
        all.sum()
    };
    (sum(sources, "records_out"), sum(others, "records_in"))
}

#[test]
fn who_sends_to_a_subtask_that_stands_still_stops_and_goes_on_with_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let start = |words: &[&str]| Process::start(&mut selves::command(dir.path(), words));
    let leader = Leader::of(start(&["jobmanager", "--address", "127.0.0.1:0"]));
    let words = ["taskmanager", "--slots", "1", "--workers", "2"];
    let _tasks = [(); 2].map(|()| start(&words));
    let asked = &leader.asked;
    let submit = ["submit", "-p", "2", "held", "--"];
    let submitted = asked.answer(&[&submit[..], &[&path("out"), &path("go")]].concat());
    let job = submitted["id"].as_str().expect("an id");

    // Nothing more goes out for a second.
    let (mut before, mut same) = ((0, 0), 0);
    asked.wait_for(job, |status| {
        let now = under_way(status);
        same = if now == before && now.0 > 0 {
            same + 1
        } else {
            0
        };
        before = now;
        same == 20
    });
    let (out, taken) = before;
    assert!(out < NUMBERS / 4, "{out} went out");
    // Of each of two senders to each of two receivers.
    let most = 4 * 8 * 1_024;
    assert!(out - taken <= most, "{out} went out, {taken} came in");

    std::fs::write(path("go"), "now").expect("is written");
    asked.wait_for(job, |status| status["status"] == "completed");
    let mut counts = csv_lines(Path::new(&path("out")));
    counts.sort();
    let all = (0..KEYS).map(|key| format!("{key},{}", NUMBERS / KEYS));
    assert_eq!(counts, all.collect::<Vec<_>>());
}
