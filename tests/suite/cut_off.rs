//! Processes that are cut off from the etcd that elects leaders.

use serde_json::json;

use crate::cluster::{Cluster, Leader, checkpoints, nothing_restarted};
use crate::partitions::{Passes, Way, however_cut_off};
use crate::processes::pause;
use crate::remote::servers::EtcdCluster;

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
