//! The final checkpoint.

use super::*;

/// One task, which has read everything after three seconds.
fn drained() -> Coordinator {
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1       |
         @3s drained      | log triggered 1!
         written          | trigger 1!",
    );
    coordinator
}

#[test]
fn the_final_checkpoint_is_triggered_at_once_and_its_commit_is_the_end() {
    Coordinator::new().play(
        "start a0#1 a1#1 b0#1 |
         @3s drained      | log triggered 1!
         written          | trigger 1!
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1! of a0 a1 b0
         stored 1         | log completed 1!
         written          | announce 1
         @100s tick       |
         committed a0#1 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1
         written          | job done
         @200s tick       |
         drained          |
         start a0#1 a1#1 b0#1 | job done",
    );
}

#[test]
fn a_drain_waits_for_the_checkpoint_that_is_under_way() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "drained    |
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1 of a0 a1 b0
         stored 1   | log completed 1
         written    | announce 1; log triggered 2!",
    );
}

#[test]
fn a_final_checkpoint_that_failed_is_tried_again_a_little_later() {
    drained().play(
        "decline a0#1 1   | log aborted 1 (slow)
         written          | call off 1
         @3.09s tick      |
         @3.1s tick       | log triggered 2!
         written          | trigger 2!",
    );
}

#[test]
fn a_final_checkpoint_does_not_need_an_interval() {
    let mut coordinator = Coordinator::with(JobOptions {
        checkpoint_interval: None,
        ..JobOptions::default()
    });
    coordinator.play(
        "start a0#1  |
         @99s tick   |
         drained     | log triggered 1!",
    );
}

#[test]
fn a_restart_during_the_final_checkpoint_waits_for_the_next_drain() {
    drained().play(
        "quiesce          | log aborted 1 (tasks are being restarted)
         written          | call off 1; quiesced
         start a0#2       |
         tick             |
         @4s drained      | log triggered 2!",
    );
}

#[test]
fn a_final_checkpoint_that_is_complete_is_final_whatever_fails_before_its_commit() {
    drained().play(
        "ack a0#1 1       | store 1! of a0
         stored 1         | log completed 1!
         written          | announce 1
         quiesce          | quiesced
         start a0#2       | announce 1
         drained          |
         @100s tick       |
         committed a0#2 1 | log committed 1
         written          | job done",
    );
}
