//! A coordinator that is restarted under its leader, whose writes go on.

use super::*;

#[test]
fn a_coordinator_adopts_the_trigger_that_its_predecessor_was_having_written() {
    let logging = || {
        let mut coordinator = Coordinator::new();
        coordinator.quietly(&[ALL, "@10s tick"]);
        coordinator.successor(true)
    };
    // Before it has started nobody is triggered; the checkpoint is given up.
    logging().play(
        "written   | log aborted 1 (tasks are being restarted)
         start a0#1=running a1#1=running b0#1=running |
         written   | call off 1
         @20s tick | log triggered 2",
    );
    // After, it is its own.
    logging().play(
        "start a0#1=running a1#1=running b0#1=running |
         written    | trigger 1
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1 of a0 a1 b0",
    );
    // It may even have chosen the same number by then; the second entry changes nothing.
    let mut next = logging();
    next.play(
        "start a0#1=drained a1#1=drained b0#1=drained | log triggered 1!
         written    | trigger 1!
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1! of a0 a1 b0
         written    |
         stored 1   | log completed 1!
         written    | announce 1",
    );
}

#[test]
fn a_coordinator_learns_of_the_completion_that_its_predecessor_was_having_written() {
    let completing = || Coordinator::completing().successor(true);
    completing().play(
        "written  | announce 1
         start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | announce 1",
    );
    completing().play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
         written  | announce 1
         stored 1 |",
    );
    // Completed twice, or aborted as well: the first verdict counts.
    let mut twice = completing();
    twice.play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
         stored 1  | log completed 1
         written   | announce 1
         @20s tick | log triggered 2
         written   |
         written   | trigger 2",
    );
    let mut aborted = completing();
    aborted.play(
        "quiesce  | log aborted 1 (tasks are being restarted)
         written  | announce 1; quiesced
         start a0#2 a1#2 b0#2 | announce 1
         written  |",
    );
}

#[test]
fn a_coordinator_learns_of_the_abortion_that_its_predecessor_was_having_written() {
    let aborting = || {
        let mut coordinator = Coordinator::triggered();
        coordinator.quietly(&["decline a0#1 1"]);
        coordinator.successor(true)
    };
    aborting().play(
        "written | call off 1
         start a0#1=declined:1 a1#1=acked:1 b0#1=acked:1 |",
    );
    aborting().play(
        "start a0#1=declined:1 a1#1=acked:1 b0#1=acked:1 | log aborted 1 (v0[0]#1 declined while there was no leader)
         written   | call off 1
         @20s tick | log triggered 2
         written   |
         written   | trigger 2",
    );
}
