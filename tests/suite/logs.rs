//! `rivus logs`: a job's story, by whichever JobManager is asked, when the job is over too.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::cluster::{Cluster, Leader, checkpoints};
use crate::processes::{Asked, rivus};

/// What has happened but for checkpoints, whose number and fate are as it comes.
fn without_checkpoints(events: &[Value]) -> Vec<Value> {
    let is_one = |event: &&Value| {
        ["checkpoint", "aborted"]
            .iter()
            .any(|of| event["event"] == *of)
    };
    let others = events.iter().filter(|event| !is_one(event));
    others.cloned().collect()
}

/// What has happened to a job.
fn story(asked: &Asked, job: &str) -> Vec<Value> {
    let told = asked.answer(&["logs", job]);
    without_checkpoints(told.as_array().expect("a list"))
}

fn words(events: &[Value]) -> Vec<&str> {
    let words = events.iter().map(|event| &event["event"]);
    words.map(|word| word.as_str().expect("a word")).collect()
}

#[test]
fn a_jobs_story_is_told_by_any_job_manager_and_survives_leaders_and_its_own_end() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let lost = cluster.task_manager("2", &["--name", "lost"]);
    let (second, asked) = cluster.asked_standby(&[]);
    let job = cluster.submit(&asked, 28_000);
    let mut following = rivus()
        .args(["logs", "-f", "--json", "clicks", "--address"])
        .arg(&asked.address)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    asked.wait_for(&job, |status| checkpoints(status) > 2);
    first.process.kill();
    let second = Leader::of(second);
    let before = checkpoints(&asked.answer(&["status", &job]));
    asked.wait_for(&job, |status| checkpoints(status) > before + 1);
    let _kept = cluster.task_manager("2", &["--name", "kept"]);
    lost.kill();
    asked.wait_for(&job, |status| {
        status["restarts"] == 1 && status["status"] == "running"
    });
    asked.answer(&["savepoint", "create", "clicks"]);
    asked.answer(&["rescale", "clicks", "-p", "1"]);
    let last = cluster.completed(&asked, &job, 28_000);

    let by_id = story(&asked, &job);
    let expected = [
        "submitted",
        "led",
        "deployed",
        "takeover",
        "failed",
        "deployed",
        "asked",
        "savepoint",
        "asked",
        "savepoint",
        "rescaled",
        "led",
        "deployed",
        "ended",
    ];
    assert_eq!(words(&by_id), expected, "{by_id:#?}");
    let failed = &by_id[4];
    assert_eq!(failed["task_manager"], "lost/tm-0", "{failed}");
    let says = failed["message"].as_str().expect("is text");
    assert!(says.contains("TaskManager lost/tm-0 was lost"), "{says}");
    let ended = &by_id[13];
    assert_eq!(ended["message"], "completed", "{ended}");
    assert_eq!(ended["at"], last["ended_at"], "{ended}");
    let times: Vec<i64> = by_id
        .iter()
        .filter_map(|event| event["at"].as_i64())
        .collect();
    assert_eq!(times.len(), by_id.len());
    assert!(times.is_sorted(), "{times:?}");

    // Whoever followed has seen all of it, once each, and its end.
    let lines = BufReader::new(following.stdout.take().expect("is piped")).lines();
    let lines = lines.map(|line| serde_json::from_str(&line.expect("is read")).expect("is JSON"));
    let followed: Vec<Value> = lines.collect();
    assert!(following.wait().expect("ends").success());
    let numbers = followed.iter().map(|event| event["number"].as_u64());
    let numbers: Vec<u64> = numbers.map(|number| number.expect("is one")).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(without_checkpoints(&followed), by_id);

    // A leader that finds it in the storage knows as much, by its name too, and when it ended.
    second.process.kill();
    let third = cluster.leader(&[]);
    assert_eq!(story(&third.asked, "clicks"), by_id);
    let listed = third.asked.answer(&["list"]);
    assert_eq!(listed[0]["ended_at"], last["ended_at"], "{listed}");

    let shown = rivus()
        .args(["logs", "clicks", "--address", &third.asked.address])
        .output()
        .expect("runs");
    let shown = String::from_utf8(shown.stdout).expect("is text");
    let first = shown.lines().next().expect("a line");
    let (at, rest) = first.split_once("  ").expect("a time and more");
    assert!(at.ends_with('Z') && at.len() == 24, "{first}");
    assert!(
        rest.starts_with("submitted   as \"clicks\": clicks --out "),
        "{first}"
    );
    let (said, code) = third.asked.refusal(&["logs", "nothing"]);
    assert_eq!(code, Some(1));
    let says = "error: there is no job \"nothing\": list shows those that there are\n";
    assert_eq!(said, says);
}
