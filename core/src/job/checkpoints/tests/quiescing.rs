//! What is under way is settled before tasks are restarted, or the job ends.

use super::*;

#[test]
fn quiesce_settles_what_is_under_way_in_every_phase_and_says_so_once() {
    let idle = || {
        let mut coordinator = Coordinator::new();
        coordinator.quietly(&[ALL]);
        coordinator
    };
    let logging = || {
        let mut coordinator = idle();
        coordinator.quietly(&["@10s tick"]);
        coordinator
    };
    let aborting = || {
        let mut coordinator = Coordinator::triggered();
        coordinator.quietly(&["decline a0#1 1"]);
        coordinator
    };
    let table = [
        (Coordinator::new(), "quiesce | quiesced"),
        (idle(), "quiesce | quiesced"),
        // Its entry is on its way: it is aborted as soon as it is written, and never triggered.
        (
            logging(),
            "quiesce |
             tick    |
             written | log aborted 1 (tasks are being restarted)
             written | call off 1; quiesced",
        ),
        (
            Coordinator::triggered(),
            "quiesce    | log aborted 1 (tasks are being restarted)
             ack b0#1 1 |
             written    | call off 1; quiesced",
        ),
        (
            Coordinator::storing(),
            "quiesce  | log aborted 1 (tasks are being restarted)
             stored 1 |
             written  | call off 1; quiesced",
        ),
        // Completion can't be taken back.
        (
            Coordinator::completing(),
            "quiesce |
             written | announce 1; quiesced",
        ),
        (
            aborting(),
            "quiesce |
             written | call off 1; quiesced",
        ),
    ];
    for (mut coordinator, script) in table {
        coordinator.play(script);
        // Nothing is triggered until the next start.
        coordinator.play(
            "@100s tick     |
             drained        |
             ack a0#1 1     |
             decline a0#1 1 |",
        );
    }
}

#[test]
fn after_a_restart_checkpoints_go_on_with_the_new_attempts() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "ack a0#1 1      |
         quiesce         | log aborted 1 (tasks are being restarted)
         written         | call off 1; quiesced
         @30s start a0#2 a1#1 b0#2 |
         @39s tick       |
         @40s tick       | log triggered 2
         written         | trigger 2
         ack a0#1 2      |
         ack a0#2 2      |
         ack a1#1 2      |
         ack b0#2 2      | store 2 of a0 a1 b0",
    );
}

#[test]
fn a_completed_checkpoint_that_is_not_committed_is_announced_again_after_a_restart() {
    Coordinator::completing().play(
        "written          | announce 1
         committed a0#1 1 |
         quiesce          | quiesced
         committed a1#1 1 |
         start a0#2 a1#1 b0#2 | announce 1
         committed a0#1 1 |
         committed a0#2 1 |
         committed a1#1 1 |
         committed b0#2 1 | log committed 1",
    );
}

#[test]
fn a_job_that_is_to_end_begins_no_checkpoint_and_sees_what_is_complete_through() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "cancel      | log aborted 1 (the job is ending)
         written     | call off 1
         @900s tick  |
         quiesce     | quiesced",
    );
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "cancel           |
         written          | announce 1
         committed a0#1 1 |
         @900s tick       |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1
         written          |
         quiesce          | quiesced",
    );
    assert_eq!(coordinator.next_tick(), None);
    // A successor knows it from the log; who was restarted has to commit again.
    let mut coordinator = Coordinator::completing();
    coordinator.quietly(&["cancel", "written"]);
    coordinator.successor(false).play(
        "start a0#2 a1#1 b0#1 | announce 1
         @900s tick       |
         committed a0#2 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1",
    );
    let mut coordinator = Coordinator::triggered();
    coordinator.quietly(&["cancel"]);
    coordinator
        .successor(false)
        .play("start a0#1=running a1#1=running b0#1=running | log aborted 1 (the job is ending)");
}
