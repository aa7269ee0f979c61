//! All processes of a cluster, replaced one after the other while a job runs: an upgrade, or machines that are taken away.

use crate::cluster::{Cluster, Leader, checkpoints};
use crate::processes::{Asked, Process};

/// Tells a process to stop, and sees it end by itself.
fn ends(mut process: Process) {
    process.signal("-TERM");
    assert!(process.child.wait().expect("ends").success());
}

/// Waits for some more checkpoints.
fn goes_on(asked: &Asked, job: &str) {
    let before = checkpoints(&asked.answer(&["status", job]));
    asked.wait_for(job, |status| {
        status["status"] == "running" && checkpoints(status) > before + 2
    });
}

#[test]
fn every_process_is_replaced_under_load_and_nothing_is_lost_or_twice() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let old = [(); 2].map(|()| cluster.task_manager("1", &[]));
    let (second, _) = cluster.asked_standby(&[]);
    let job = cluster.submit(&first.asked, 80_000);
    goes_on(&first.asked, &job);

    // The one that stands by, and then the one that leads.
    ends(second);
    let (third, _) = cluster.asked_standby(&[]);
    goes_on(&first.asked, &job);
    ends(first.process);
    let leader = Leader::of(third);
    let (_fourth, _) = cluster.asked_standby(&[]);
    goes_on(&leader.asked, &job);
    let so_far = leader.asked.answer(&["status", &job]);
    assert_eq!(
        (&so_far["takeovers"], &so_far["restarts"]),
        (&1.into(), &0.into()),
        "{so_far}"
    );

    let mut new = Vec::new();
    for old in old {
        new.push(cluster.task_manager("1", &[]));
        ends(old);
        goes_on(&leader.asked, &job);
    }
    let last = cluster.completed(&leader.asked, &job, 80_000);
    // Each of them had a part of the only region.
    assert_eq!(last["restarts"], 2, "{last}");
}
