//! Processes that are cut off from what they share: from the etcd that elects leaders, from the S3 that holds checkpoints.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Leader, RATE, checkpoints, nothing_restarted};
use crate::partitions::{Passes, Way, however_cut_off};
use crate::processes::pause;
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
        let straight = ["--coordination", &*straight, "--collect-timeout", "1m"];
        let first = cluster.leader(&straight);
        let second = cluster.asked_standby(&straight).0;
        let _tasks = cluster.task_manager("2", &["--coordination", &by_way]);
        let job = cluster.submit(&first.asked, 1_000_000);
        let before = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
        way.let_pass(passes);
        // It follows the leader that it has.
        first.asked.wait_for(&job, |status| {
            checkpoints(status) > checkpoints(&before) + 30
        });
        first.process.kill();
        let second = Leader::of(second);
        // Its tasks go on, and nobody knows of them.
        for _ in 0..20 {
            pause();
        }
        let asked = &second.asked;
        let waits = asked.answer(&["status", &job]);
        assert_eq!(waits["status"], "recovering", "{passes:?}: {waits}");
        assert_eq!(asked.answer(&["taskmanagers"]), json!([]), "{passes:?}");
        way.let_pass(Passes::Both);
        let taken = asked.wait_for(&job, |status| status["status"] == "running");
        let on = asked.wait_for(&job, |status| checkpoints(status) > checkpoints(&taken) + 3);
        assert_eq!(on["takeovers"], 1, "{passes:?}: {on}");
        assert!(nothing_restarted(&on), "{passes:?}: {on}");
        cluster.stopped(asked, &job);
    });
}

/// Records that the job's source has read.
fn records_read(status: &Value) -> u64 {
    let tasks = status["tasks"].as_array().expect("a list").iter();
    let is_source = |task: &&Value| {
        let name = task["task"].as_str();
        name.is_some_and(|name| name.starts_with("v0["))
    };
    let sources = tasks.filter(is_source);
    let read = sources.filter_map(|task| task["records_in"].as_u64());
    read.sum()
}

#[test]
fn checkpoints_wait_for_whoever_does_not_reach_s3_and_records_do_not() {
    let s3 = servers::s3_endpoint().replace("http://", "");
    however_cut_off(|passes| {
        let (_etcd, etcd, _, _) = etcd_and_a_way();
        for cut in ["jobmanager", "taskmanager"] {
            let (cluster, ways) = (Cluster::new(), [Way::new(), Way::new()]);
            ways.iter().for_each(|way| way.lead_to(&s3));
            let storage = format!("s3://state/{cut}-{passes:?}");
            let endpoints = ways.each_ref().map(|way| format!("http://{}", way.address));
            let by = |endpoint| {
                let shared = ["--coordination", &*etcd, "--storage", &*storage];
                [&shared[..], &["--s3-endpoint", endpoint]].concat()
            };
            let leader = cluster.leader(&by(&*endpoints[0]));
            let _tasks = cluster.task_manager("2", &by(&*endpoints[1]));
            let asked = &leader.asked;
            let job = cluster.submit(asked, 1_000_000);
            asked.wait_for(&job, |status| checkpoints(status) > 1);
            let way = &ways[usize::from(cut == "taskmanager")];
            way.let_pass(passes);
            let before = asked.answer(&["status", &job]);
            // Two seconds' records are read, and at most the checkpoint is complete that was being stored.
            let without = asked.wait_for(&job, |status| {
                records_read(status) > records_read(&before) + 2 * RATE
            });
            let taken = checkpoints(&without) - checkpoints(&before);
            assert!(taken <= 1, "{cut} {passes:?}: {taken} without S3");
            way.let_pass(Passes::Both);
            let on = asked.wait_for(&job, |status| {
                checkpoints(status) > checkpoints(&without) + 1
            });
            assert!(nothing_restarted(&on), "{cut} {passes:?}: {on}");
            cluster.stopped(asked, &job);
        }
    });
}
