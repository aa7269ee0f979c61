//! Processes that are cut off from what they share: from the etcd that elects them, from the S3 that holds their checkpoints.

use std::path::Path;
use std::process::Command;

use crate::cluster::{Cluster, Leader, RATE, checkpoints, nothing_restarted};
use crate::partitions::{Passes, Way, however_cut_off};
use crate::processes::{Asked, Process, committed, expected, pause, rivus};
use crate::remote::servers::{self, EtcdCluster};

const CLICKS: u64 = 40_000;

/// An etcd, the words of whoever reaches it, and of who does by a way.
fn etcd_and_a_way() -> (EtcdCluster, String, String, Way) {
    let (etcd, way) = (EtcdCluster::start(1), Way::new());
    let endpoint = etcd.endpoints().join(",").replace("http://", "");
    way.lead_to(&endpoint);
    let (straight, by_way) = (
        format!("etcd://{endpoint}"),
        format!("etcd://{}", way.address),
    );
    (etcd, straight, by_way, way)
}

#[test]
fn a_leader_that_does_not_reach_etcd_is_left_for_one_that_does_and_no_task_restarts() {
    however_cut_off(|passes| {
        let (cluster, (_etcd, straight, by_way, way)) = (Cluster::new(), etcd_and_a_way());
        let straight = ["--coordination", &*straight];
        let first = cluster.leader(&["--coordination", &by_way]);
        let second = cluster.asked_standby(&straight).0;
        let _tasks = cluster.task_manager("2", &straight);
        let job = cluster.submit(&first.asked, CLICKS);
        first.asked.wait_for(&job, |status| checkpoints(status) > 3);
        way.let_pass(passes);
        let second = Leader::of(second);
        let asked = &second.asked;
        let taken = asked.wait_for(&job, |status| status["status"] == "running");
        way.let_pass(Passes::Both);
        // Whoever led before changes nothing when it hears of it.
        let on = asked.wait_for(&job, |status| {
            checkpoints(status) > checkpoints(&taken) + 10
        });
        assert_eq!(on["takeovers"], 1, "{passes:?}: {on}");
        assert!(nothing_restarted(&on), "{passes:?}: {on}");
        cluster.completed(asked, &job, CLICKS);
        assert_eq!(first.asked.answer(&["status", &job])["status"], "completed");
    });
}

#[test]
fn a_task_manager_that_does_not_reach_etcd_works_on_and_is_taken_over_when_it_does() {
    however_cut_off(|passes| {
        let (cluster, (_etcd, straight, by_way, way)) = (Cluster::new(), etcd_and_a_way());
        let straight = ["--coordination", &*straight];
        let first = cluster.leader(&straight);
        let second = cluster.asked_standby(&straight).0;
        let _tasks = cluster.task_manager("2", &["--coordination", &by_way]);
        let job = cluster.submit(&first.asked, CLICKS);
        let before = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
        way.let_pass(passes);
        // It follows the leader that it has.
        first.asked.wait_for(&job, |status| {
            checkpoints(status) > checkpoints(&before) + 10
        });
        first.process.kill();
        let second = Leader::of(second);
        // Its tasks go on, and nobody knows of them.
        for _ in 0..20 {
            pause();
        }
        way.let_pass(Passes::Both);
        let asked = &second.asked;
        let taken = asked.wait_for(&job, |status| status["status"] == "running");
        let on = asked.wait_for(&job, |status| checkpoints(status) > checkpoints(&taken) + 3);
        assert_eq!(on["takeovers"], 1, "{passes:?}: {on}");
        assert!(nothing_restarted(&on), "{passes:?}: {on}");
        cluster.completed(asked, &job, CLICKS);
    });
}

/// A process whose checkpoints are in S3, which it reaches by a way.
fn in_s3(role: &str, prefix: &str, way: &Way, coordination: &str, here: &Path) -> Command {
    let mut command = rivus();
    command
        .args([
            role,
            "--storage",
            &format!("s3://state/{prefix}"),
            "--lease",
            "1s",
        ])
        .args(["--s3-endpoint", &format!("http://{}", way.address)])
        .args(["--coordination", coordination])
        .env("RIVUS_S3_REGION", "us-east-1")
        .env("RIVUS_S3_ACCESS_KEY", "tests")
        .env("RIVUS_S3_SECRET_KEY", "no secret")
        .current_dir(here);
    command
}

#[test]
fn checkpoints_wait_for_whoever_does_not_reach_s3_and_records_do_not() {
    let _bucket = servers::s3("state");
    let s3 = servers::s3_endpoint().replace("http://", "");
    however_cut_off(|passes| {
        for cut in ["jobmanager", "taskmanager"] {
            let prefix = format!("{cut}-{passes:?}");
            let (_etcd, etcd, _, _) = etcd_and_a_way();
            let ways = [Way::new(), Way::new()];
            ways.iter().for_each(|way| way.lead_to(&s3));
            let [leads, works] = &ways;
            let dir = tempfile::tempdir().expect("a directory");
            let mut leader = in_s3("jobmanager", &prefix, leads, &etcd, dir.path());
            leader.args(["--address", "127.0.0.1:0"]);
            let leader = Leader::of(Process::start(&mut leader));
            let mut tasks = in_s3("taskmanager", &prefix, works, &etcd, dir.path());
            tasks.args(["--slots", "2", "--workers", "1"]);
            let mut tasks = Process::start(&mut tasks);
            assert!(tasks.line().contains("2 slots; data at "));

            let out = dir.path().join("out");
            let job = submitted(&leader.asked, &out);
            let asked = &leader.asked;
            asked.wait_for(&job, |status| checkpoints(status) > 3);
            let way = if cut == "jobmanager" { leads } else { works };
            way.let_pass(passes);
            let before = asked.answer(&["status", &job]);
            // Two seconds' records are read, and at most the checkpoint that was being stored is completed.
            let without = asked.wait_for(&job, |status| {
                records_read(status) > records_read(&before) + 2 * RATE
            });
            let taken = checkpoints(&without) - checkpoints(&before);
            assert!(
                taken <= 1,
                "{cut} {passes:?}: {taken} checkpoints without S3"
            );
            way.let_pass(Passes::Both);
            let on = asked.wait_for(&job, |status| {
                checkpoints(status) > checkpoints(&without) + 3
            });
            assert!(nothing_restarted(&on), "{cut} {passes:?}: {on}");
            let last = asked.wait_for(&job, |status| status["status"] == "completed");
            assert_eq!(committed(&out), expected(CLICKS, RATE), "{last}");
        }
    });
}

fn submitted(asked: &Asked, out: &Path) -> String {
    let (rate, count) = (RATE.to_string(), CLICKS.to_string());
    let submit = [
        "submit",
        "-p",
        "2",
        "--checkpoint-interval",
        "100ms",
        "clicks",
        "--",
    ];
    let clicks = [
        "--rate",
        &rate,
        "--count",
        &count,
        "--out",
        out.to_str().expect("is text"),
    ];
    let submitted = asked.answer(&[&submit[..], &clicks].concat());
    submitted["id"].as_str().expect("an id").to_owned()
}

/// Records that the job's source has read.
fn records_read(status: &serde_json::Value) -> u64 {
    let tasks = status["tasks"].as_array().expect("a list").iter();
    let sources = tasks.filter(|task| {
        task["task"]
            .as_str()
            .is_some_and(|name| name.starts_with("v0["))
    });
    sources
        .filter_map(|task| task["records_out"].as_u64())
        .sum()
}
