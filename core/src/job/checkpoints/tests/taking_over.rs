//! Another leader takes over.

use super::*;

#[test]
fn a_checkpoint_in_flight_is_adopted_if_every_task_acknowledges_it() {
    // What is reported of 1, which the old leader had triggered; and what follows.
    let table = [
        // All: it completes, and the trigger that goes out again changes nothing.
        (
            "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
             stored 1   | log completed 1
             written    | announce 1",
        ),
        // Some: the others acknowledge it now, even if no source had heard of it.
        (
            "start a0#1=acked:1 a1#1=running b0#1=running | trigger 1
             ack a1#1 1 |
             ack b0#1 1 | store 1 of a0 a1 b0
             stored 1   | log completed 1",
        ),
        (
            "start a0#1=running a1#1=running b0#1=running | trigger 1
             ack a1#1 1 |
             ack b0#1 1 |
             ack a0#1 1 | store 1 of a0 a1 b0",
        ),
        // An acknowledgement of another one is none of this.
        (
            "start a0#1=acked:0 a1#1=acked:1 b0#1=acked:1 | trigger 1
             ack a0#1 1 | store 1 of a0 a1 b0",
        ),
        // A task that was restarted since stands somewhere else, whatever its predecessor had said.
        (
            "start a0#2 a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | log aborted 1 (tasks were restarted when the leader took over)
             written    | call off 1",
        ),
        // Declined while nobody led.
        (
            "start a0#1=acked:1 a1#1=declined:1 b0#1=running | log aborted 1 (v0[1]#1 declined while there was no leader)
             written    | call off 1",
        ),
        (
            "start a0#1=acked:1 a1#1=declined:7 b0#1=running | log aborted 1 (v0[1]#1 declined while there was no leader)
             written    | call off 1",
        ),
        (
            "start a0#1=running a1#1=declined:0 b0#1=running | trigger 1",
        ),
    ]
    .map(|script| script.0);
    for script in table {
        Coordinator::triggered().successor(false).play(script);
    }
}

#[test]
fn what_tasks_say_before_the_coordinator_has_started_is_not_forgotten() {
    // Their reports are older than that.
    Coordinator::triggered().successor(false).play(
        "ack a1#1 1 |
         ack b0#1 1 |
         ack b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1; store 1 of a0 a1 b0",
    );
    Coordinator::triggered().successor(false).play(
        "decline a1#1 1 |
         decline b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1; log aborted 1 (slow)
         written         | call off 1",
    );
    Coordinator::triggered().successor(false).play(
        "decline b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1",
    );
    let mut drained = Coordinator::new();
    drained.play(
        "drained |
         start a0#1=running | log triggered 1!",
    );
}

#[test]
fn a_checkpoint_in_flight_that_nobody_takes_up_times_out() {
    Coordinator::triggered().successor(false).play(
        "@69s tick |
         @70s tick | log aborted 1 (it took longer than 60s)
         written   | call off 1",
    );
}

#[test]
fn a_leader_may_die_at_each_step_of_a_checkpoint_before_and_after_the_write() {
    let all = "start a0#1=running a1#1=running b0#1=running";
    let acked = "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1";
    // Before `Triggered` is written there is nothing, and the number may be used.
    let mut logging = Coordinator::new();
    logging.quietly(&[ALL, "@10s tick"]);
    let mut next = logging.successor(false);
    next.play(&format!("{all} |\n@20s tick | log triggered 1"));
    // After, the checkpoint goes on.
    logging.quietly(&["written"]);
    logging.successor(false).play(&format!("{all} | trigger 1"));
    // The manifest may be stored already; it is stored again, the same.
    let store = format!("{acked} | trigger 1; store 1 of a0 a1 b0");
    Coordinator::storing().successor(false).play(&store);
    // Before `Completed` is written it is as if the manifest weren't there.
    let mut completing = Coordinator::completing();
    completing.successor(false).play(&store);
    // After, it is announced, again if need be.
    completing.quietly(&["written"]);
    completing.successor(false).play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | announce 1
         committed a0#1 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1",
    );
    // Before and after `Aborted`.
    let mut aborting = Coordinator::triggered();
    aborting.quietly(&["decline a0#1 1"]);
    let mut next = aborting.successor(false);
    next.play(
        "start a0#1=declined:1 a1#1=running b0#1=running | log aborted 1 (v0[0]#1 declined while there was no leader)",
    );
    aborting.quietly(&["written"]);
    let mut next = aborting.successor(false);
    next.play(&format!("{all} |\n@20s tick | log triggered 2"));
    // Before and after `Committed`.
    completing.quietly(&["committed a0#1 1", "committed a1#1 1", "committed b0#1 1"]);
    let mut next = completing.successor(false);
    next.play(&format!("{all} | announce 1"));
    completing.quietly(&["written"]);
    completing.successor(false).play(&format!("{all} |"));
}

#[test]
fn a_leader_may_die_between_the_last_commit_and_the_jobs_end() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&[
        "start a0#1",
        "drained",
        "written",
        "ack a0#1 1",
        "stored 1",
        "written",
        "committed a0#1 1",
    ]);
    coordinator.successor(false).play(
        "start a0#1=drained | announce 1
         committed a0#1 1   | log committed 1
         written            | job done",
    );
    coordinator.quietly(&["written"]);
    coordinator.successor(false).play(
        "start a0#1=drained | job done
         @99s tick          |",
    );
}

#[test]
fn a_final_checkpoint_in_flight_does_not_end_a_job_whose_tasks_were_restarted() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", "drained", "written"]);
    coordinator.successor(false).play(
        "start a0#2 b0#1=drained | log aborted 1 (tasks were restarted when the leader took over)
         written     | call off 1
         @12s tick   | log triggered 2",
    );
    coordinator
        .successor(false)
        .play("start a0#1=drained b0#1=acked:1 | trigger 1!");
}

#[test]
fn a_job_has_drained_only_if_every_task_says_so() {
    // One region was adopted drained, the other was restarted and has just begun.
    Coordinator::new().play("start a0#1=drained b0#2 |");
    Coordinator::new().play("start a0#1=drained b0#1=running |");
    Coordinator::new().play("start a0#1=drained b0#1=drained | log triggered 1!");
    Coordinator::new().play("start a0#1 |");
}

#[test]
fn numbers_are_never_used_again_by_whoever_coordinates() {
    let mut coordinator = Coordinator::new();
    let mut last = 0;
    for round in 1..30 {
        coordinator.quietly(&["start a0#1", &format!("@{}s tick", round * 100), "written"]);
        last += 1;
        // Each ends otherwise: completed, declined, left by its leader.
        match round % 3 {
            0 => coordinator.quietly(&[
                &format!("ack a0#1 {last}"),
                &format!("stored {last}"),
                "written",
            ]),
            1 => coordinator.quietly(&[&format!("decline a0#1 {last}"), "written"]),
            _ => {
                coordinator = coordinator.successor(false);
                coordinator.quietly(&[&format!("start a0#1=declined:{last}"), "written"]);
            }
        }
    }
    let triggered = coordinator.log.iter().filter_map(|entry| match entry {
        LogEntry::CheckpointTriggered { id, .. } => Some(id.0),
        _ => None,
    });
    let triggered: Vec<u64> = triggered.collect();
    assert!(triggered.is_sorted_by(|a, b| a < b), "{triggered:?}");
    assert!(triggered.len() >= 28, "{triggered:?}");
}
