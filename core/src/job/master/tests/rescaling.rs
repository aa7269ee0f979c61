//! From one plan to the next, and leaders that die on the way.

use super::*;

/// A job that has stopped with checkpoint 3, to go on with four readers instead of two.
fn stopped() -> Job {
    let mut job = Job::running(ONE);
    job.stop_to_rescale(3, 4);
    job
}

/// The same when its savepoint is committed, and its tasks are told to end.
fn committed() -> Job {
    let mut job = stopped();
    job.play(
        "committed 3   |
         done          | cancel a0#1 a1#1 b0#1; quiesce",
    );
    job
}

/// The same when the last of them is over.
fn over() -> Job {
    let mut job = committed();
    job.play(
        "quiesced      |
         canceled a0#1 |
         canceled a1#1 |
         canceled b0#1 | prepare 4 from 3",
    );
    job
}

#[test]
fn the_new_plan_begins_when_the_savepoint_is_committed_and_the_last_old_task_is_over() {
    let mut job = committed();
    job.play(
        "canceled a0#1 |
         quiesced      |
         failed b0#1   |
         needs a1#1    |
         done          |
         canceled a1#1 | prepare 4 from 3
         prepared 4    | log rescaled to 4 @4
         written       | begin again",
    );
    let mut next = job.at("a:4; b:1= <- a~hash");
    assert_eq!(next.machine.state().parallelism, Some(4));
    // No attempt of the old plan has such a number.
    next.play(
        "collected     | read 4
         manifest 4    | request 4
         slots         | log deployed a0#2 a1#2 a2#2 a3#2 b0#2 @4
         written       | deploy a0#2 a1#2 a2#2 a3#2 b0#2 @4",
    );
}

#[test]
fn until_its_savepoint_is_committed_a_job_that_is_rescaled_is_as_any() {
    let mut job = stopped();
    job.play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1; quiesce",
    );
    // The next leader restarts it from the savepoint, whose commits are still owed.
    let mut next = stopped().successor();
    next.play(
        "collected a0#1=failed a1#1=running b0#1=running | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1",
    );
}

#[test]
fn a_leader_that_finds_the_savepoint_committed_goes_on_with_the_rescale() {
    let mut job = stopped();
    job.quietly("committed 3");
    let mut next = job.successor();
    next.play(
        "collected a0#1=running a1#1=running b0#1=failed | cancel a0#1 a1#1
         canceled a1#1 |
         lost t0       | prepare 4 from 3
         prepared 4    | log rescaled to 4 @4",
    );
    // Nobody has written that: the one after that does the same.
    let mut after = next.successor();
    after.play(
        "collected     | cancel none; prepare 4 from 3
         late a0#1=running | cancel a0#1
         prepared 4    | log rescaled to 4 @4
         written       | begin again",
    );
}

#[test]
fn a_rescale_that_can_not_be_leaves_the_job_on_its_plan_from_the_savepoint() {
    let mut job = over();
    job.play(
        "prepared ?    | log not rescaled (it is damaged)
         written       | begin again",
    );
    let state = job.machine.state();
    let outcome = state.savepoints[0].outcome.clone();
    assert_eq!(outcome, Some(Err("it is damaged".into())));
    assert_eq!((state.parallelism, state.rescaling), (None, None));
    let mut next = job.successor();
    next.play(
        "collected     | log failover a0 a1 b0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 3
         manifest 3    | request 2
         slots         | log deployed a0#2 a1#2 b0#2 @3",
    );
}

#[test]
fn a_job_whose_end_is_asked_for_meanwhile_is_not_rescaled() {
    let mut job = committed();
    job.play(
        "cancel        | log cancel
         written       | cancel a0#1 a1#1 b0#1
         quiesced      |
         canceled a0#1 |
         canceled a1#1 |
         canceled b0#1 | log canceled
         written       | finish none; ended canceled",
    );
    over().play(
        "cancel        | log cancel
         written       | cancel none; log canceled
         prepared 4    |",
    );
}
