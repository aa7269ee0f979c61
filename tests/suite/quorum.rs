//! Processes whose leader is elected by an etcd of three members: a leader that sleeps past its lease, an etcd that can't decide, and a
//! leader that is killed.

use crate::cluster::{Cluster, Leader, checkpoints, nothing_restarted};
use crate::partitions::{Way, behind};
use crate::processes::{Asked, committed, pause};
use crate::remote::servers::EtcdCluster;

/// Waits until something is so.
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1_200 {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("it never came to that");
}

#[test]
fn tasks_and_their_records_go_on_while_etcd_can_not_decide_who_leads() {
    let mut etcd = EtcdCluster::start(3);
    let endpoints = etcd.endpoints().join(",").replace("http://", "");
    let coordination = format!("etcd://{endpoints}");
    let options = ["--coordination", &*coordination, "--lease", "3s"];
    let (cluster, way) = (Cluster::new(), Way::new());
    let first = cluster.leader(&options);
    let (second, standing_by) = cluster.asked_standby(&options);
    // What one of them says to the other can be seen to pass.
    let seen = ["--data-advertised", &way.address];
    let (_left, data) = cluster.asked_task_manager("1", &[&options[..], &seen].concat());
    way.lead_to(behind(&data));
    let _right = cluster.task_manager("1", &options);
    let both = format!("{},{}", first.asked.address, standing_by.address);
    let both = Asked { address: both };
    let job = cluster.submit(&both, 1_000_000);
    let before = both.wait_for(&job, |status| checkpoints(status) > 3);

    // The leader sleeps for longer than its lease, and changes nothing when it wakes.
    first.process.signal("-STOP");
    let second = Leader::of(second);
    let after = second.asked.wait_for(&job, |status| {
        checkpoints(status) > checkpoints(&before) + 3
    });
    first.process.signal("-CONT");
    let woken = second.asked.wait_for(&job, |status| {
        checkpoints(status) > checkpoints(&after) + 10
    });
    assert_eq!(woken["takeovers"], 1, "{woken}");
    assert!(nothing_restarted(&woken), "{woken}");

    // Nobody can be elected, nor anything be written to the log.
    etcd.kill(0);
    etcd.kill(1);
    until(|| both.refusal(&["list", "--command-timeout", "200ms"]).1 == Some(3));
    let visible = committed(&cluster.out()).len();
    let carried = way.carried();
    until(|| way.carried() > carried + 20_000);
    // What a leader had announced before may have become visible since.
    assert!(committed(&cluster.out()).len() <= visible + 22);

    etcd.restart(0);
    etcd.restart(1);
    both.answer(&["list", "--command-timeout", "60s"]);
    let before = checkpoints(&woken);
    let on = both.wait_for(&job, |status| checkpoints(status) > before + 10);
    assert!(nothing_restarted(&on), "{on}");

    // The leader dies, and the one that had slept leads again.
    second.process.kill();
    let before = checkpoints(&on);
    let last = both.wait_for(&job, |status| checkpoints(status) > before + 10);
    let takeovers = [&on, &last].map(|status| status["takeovers"].as_u64());
    assert!(takeovers[1] > takeovers[0], "{last}");
    assert!(nothing_restarted(&last), "{last}");
    cluster.stopped(&both, &job);
}
