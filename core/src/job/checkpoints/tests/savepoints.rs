//! Savepoints, and jobs that are stopped with one.

use super::*;

/// Two tasks, and the triggers of a savepoint of some kind.
fn triggered(kind: &str) -> Coordinator {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", &format!("asked {kind}"), "written"]);
    coordinator
}

/// The same when it is stored, and that is about to be written.
fn stored(kind: &str) -> Coordinator {
    let mut coordinator = triggered(kind);
    coordinator.quietly(&["ack a0#1 1", "ack b0#1 1", "stored 1"]);
    coordinator
}

#[test]
fn a_savepoint_is_made_at_once_and_nothing_is_committed_for_it() {
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         asked s          | log triggered 1s
         written          | trigger 1s
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1s of a0 a1 b0
         stored 1         | log completed 1s
         written          | call off 1
         @10s tick        | log triggered 2",
    );
    let state = JobState::replay(&coordinator.log);
    assert_eq!(state.savepoints[0].outcome, Some(Ok(CheckpointId(1))));
    assert_eq!(state.latest(), None, "the job doesn't start again from it");
}

#[test]
fn savepoints_wait_for_what_is_under_way_and_for_one_another() {
    Coordinator::triggered().play(
        "asked s          |
         asked s          |
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1 of a0 a1 b0
         stored 1         | log completed 1
         written          | announce 1; log triggered 2s
         written          | trigger 2s
         decline b0#1 2   | log aborted 2 (slow)
         written          | call off 2; log savepoint failed (slow); log triggered 3s",
    );
}

#[test]
fn a_savepoint_that_gives_way_to_a_restart_is_made_afterwards() {
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         asked s          | log triggered 1s
         written          | trigger 1s
         quiesce          | log aborted 1 (tasks are being restarted)
         written          | call off 1; quiesced
         start a0#2 a1#2 b0#2 | log triggered 2s",
    );
    // So does the next leader's coordinator, which finds the request in the log.
    let mut next = coordinator.successor(false);
    next.play("start a0#2=running a1#2=running b0#2=running | log triggered 2s");
}

#[test]
fn a_job_that_is_stopped_is_done_when_all_is_committed() {
    for kind in ["x", "d"] {
        stored(kind).play(
            "written          | announce 1
             asked s          |
             @30s tick        |
             committed a0#1 1 |
             committed b0#1 1 | log committed 1
             written          | job done",
        );
        // A region that fails in between commits again, and takes no other checkpoint.
        let mut again = stored(kind);
        again.quietly(&["written"]);
        again.play(
            "quiesce          | quiesced
             start a0#2 b0#2  | announce 1
             @30s tick        |
             committed a0#2 1 |
             committed b0#2 1 | log committed 1
             written          | job done",
        );
    }
}

#[test]
fn sources_that_hold_for_a_stop_that_failed_are_told_by_the_next_leader_too() {
    let mut coordinator = triggered("x");
    coordinator.quietly(&["decline b0#1 1"]);
    coordinator.play("written | call off 1; log savepoint failed (slow)");
    coordinator.quietly(&["written"]);
    let mut next = coordinator.successor(false);
    next.play("start a0#1=running b0#1=running | call off 1");
}

#[test]
fn a_savepoint_of_a_job_that_has_read_everything_comes_before_its_last_checkpoint() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", "asked s", "drained", "written"]);
    coordinator.play(
        "ack a0#1 1       |
         ack b0#1 1       | store 1s of a0 b0
         stored 1         | log completed 1s
         written          | call off 1; log triggered 2!",
    );
}
