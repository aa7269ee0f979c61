//! Processes that are silent for longer than is borne: TaskManagers that are stopped, leaders whom nobody follows.

use crate::cluster::{Cluster, Leader, checkpoints, nothing_restarted};
use crate::partitions::SOON;
use crate::processes::logged;

/// After how long without a leader tasks end.
const SURVIVE: [&str; 2] = ["--task-survival-timeout", "2s"];

#[test]
fn a_task_manager_that_is_stopped_is_replaced_by_a_spare_and_changes_nothing_when_it_wakes() {
    let cluster = Cluster::new();
    let Leader { asked, process, .. } = cluster.leader(&SOON);
    let task_manager = |name| {
        let options = [&SOON[..], &["--name", name]].concat();
        cluster.task_manager("1", &options)
    };
    let (stopped, _other) = (task_manager("stopped"), task_manager("other"));
    let job = cluster.submit(&asked, 40_000);
    asked.wait_for(&job, |status| checkpoints(status) > 3);
    let _spare = task_manager("spare");
    stopped.signal("-STOP");
    let restarted = asked.wait_for(&job, |status| {
        status["restarts"] != 0 && status["status"] == "running"
    });
    let before = checkpoints(&restarted);
    asked.wait_for(&job, |status| checkpoints(status) > before + 3);
    // Its tasks go on where they were: into files that nobody commits, and to peers that don't hear them.
    stopped.signal("-CONT");
    let woken = asked.wait_for(&job, |status| {
        checkpoints(status) > before + 20 || status["status"] == "completed"
    });
    assert_eq!(woken["restarts"], restarted["restarts"], "{woken}");
    assert_eq!(woken["takeovers"], 0, "{woken}");
    cluster.completed(&asked, &job, 40_000);
    drop(process);
}

#[test]
fn tasks_that_nobody_leads_end_after_a_while_and_the_next_leader_starts_them_from_their_checkpoint()
{
    let cluster = Cluster::new();
    let first = cluster.leader(&SOON);
    let log = cluster.path("log");
    let options = [&SOON[..], &SURVIVE].concat();
    let _tasks = cluster.logging_task_manager("2", &options, &log);
    let job = cluster.submit(&first.asked, 40_000);
    let running = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    assert!(nothing_restarted(&running), "{running}");
    first.process.kill();
    logged(&log, "no leader for too long, tasks end");

    let second = cluster.leader(&SOON);
    let restarted = second.asked.wait_for(&job, |status| {
        status["restarts"] != 0 && status["status"] == "running"
    });
    assert_eq!(restarted["takeovers"], 1, "{restarted}");
    let before = checkpoints(&restarted);
    second
        .asked
        .wait_for(&job, |status| checkpoints(status) > before + 3);
    cluster.completed(&second.asked, &job, 40_000);
}
