//! From a new job to one that runs, and what its readers get.

use super::*;

#[test]
fn a_new_job_finds_its_splits_gets_slots_and_logs_every_attempt_before_it_is_deployed() {
    Job::new(ONE).play(
        "collected    | find a
         splits a 3   | log splits of a
         written      | request 2
         slots        | log deployed a0#1 a1#1 b0#1
         written      | deploy a0#1 a1#1 b0#1
         ready a0#1   |
         ready b0#1   |
         ready a1#1   | run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1",
    );
}

#[test]
fn checkpoints_begin_when_the_last_region_runs() {
    Job::new(TWO).play(
        "collected    | find a; find c
         splits c 3   | log splits of c
         written      |
         splits a 3   | log splits of a
         written      | request 1; request 1
         slots        | log deployed a0#1 b0#1; log deployed c0#1 d0#1
         written      | deploy a0#1 b0#1
         ready a0#1   |
         ready b0#1   | run a0#1 b0#1
         written      | deploy c0#1 d0#1
         ready c0#1   |
         ready d0#1   | run c0#1 d0#1; checkpoints of a0#1 b0#1 c0#1 d0#1",
    );
}

#[test]
fn a_source_whose_splits_cannot_be_found_fails_the_job() {
    Job::new(ONE).play(
        "collected    | find a
         splits a ?   | log failing (no such file)
         written      | cancel none; log failed: no such file
         written      | finish none; ended failed: no such file",
    );
}

#[test]
fn a_new_resource_manager_is_asked_again_by_those_who_wait() {
    let mut job = Job::new(ONE);
    job.play(
        "rm-changed   |
         collected    | find a
         splits a 3   | log splits of a
         written      | request 2
         rm-changed   | request 2
         slots        | log deployed a0#1 a1#1 b0#1
         rm-changed   |",
    );
}

#[test]
fn splits_are_handed_out_in_order_and_logged_before_they_are_sent() {
    let mut job = Job::running(WIDE);
    // The first that asks is the second: it has a first split of its own.
    job.play(
        "needs a1#1   | log a1#1 gets 1
         written      | give a1#1 1
         needs a1#1   | log a1#1 gets 2
         needs a0#1   | log a0#1 gets 0
         written      | give a1#1 2
         written      | give a0#1 0
         needs a0#1   | log a0#1 gets 3
         needs a0#9   |
         needs b0#1   |",
    );
    assert_eq!(job.splits(), "a0#1:0 a1#1:1,2");
}

#[test]
fn a_reader_that_asks_when_all_are_handed_out_is_told_that_there_are_no_more() {
    let mut job = Job::new("a:1");
    job.play(
        "collected    | find a
         splits a 1   | log splits of a
         written      | request 1
         slots        | log deployed a0#1
         written      | deploy a0#1
         ready a0#1   | run a0#1; checkpoints of a0#1
         needs a0#1   | log a0#1 gets 0
         written      | give a0#1 0
         needs a0#1   | give a0#1 no more",
    );
}

/// A job of two readers whose source goes on looking, all running; it has found two splits so far.
fn watching() -> Job {
    let mut job = Job::new("a:2");
    job.play(
        "collected    | find a
         splits a 1+  | log splits of a
         written      | look a; request 2; request 2
         slots        | log deployed a0#1; log deployed a1#1
         written      | deploy a0#1
         written      | deploy a1#1
         ready a0#1   | run a0#1
         ready a1#1   | run a1#1; checkpoints of a0#1 a1#1
         needs a0#1   | log a0#1 gets 0
         written      | give a0#1 0
         needs a1#1   | give a1#1 nothing yet
         discovered a 1 | log 1 more of a
         written      | log a1#1 gets 1; look a in 5s
         written      | give a1#1 1",
    );
    job
}

#[test]
fn a_reader_that_asks_too_early_gets_what_is_found_later_and_is_told_at_last_that_there_is_no_more()
{
    let mut job = watching();
    job.play(
        "needs a0#1      | give a0#1 nothing yet
         needs a1#1      | give a1#1 nothing yet
         look a          | look a
         discovered a 0  | look a in 5s
         look a          | look a
         discovered a 3  | log 3 more of a
         written         | log a0#1 gets 2; log a1#1 gets 3; look a in 5s
         written         | give a0#1 2
         written         | give a1#1 3
         needs a1#1      | log a1#1 gets 4
         written         | give a1#1 4
         needs a1#1      | give a1#1 nothing yet
         look a          | look a
         discovered a 0! | log 0 more of a at last
         written         | give a1#1 no more
         needs a0#1      | give a0#1 no more",
    );
    assert_eq!(job.splits(), "a0#1:0,2 a1#1:1,3,4");
}

#[test]
fn a_new_leader_looks_on_and_what_its_predecessor_found_and_did_not_log_is_found_again() {
    let mut job = watching();
    job.play(
        "needs a0#1     | give a0#1 nothing yet
         look a         | look a
         discovered a 1 | log 1 more of a",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running+needs+got:0 a1#1=running+got:1 | give a0#1 nothing yet; look a; checkpoints of a0#1 a1#1 (2 known)
         discovered a 1 | log 1 more of a
         written        | log a0#1 gets 2; look a in 5s
         written        | give a0#1 2",
    );
}

#[test]
fn a_restarted_reader_waits_anew_and_its_predecessor_gets_nothing() {
    let mut job = watching();
    job.play(
        "needs a0#1     | give a0#1 nothing yet
         failed a0#1    | log failover a0 (boom)
         written        | cancel none; quiesce
         quiesced       | wake 0 in 1s
         wake 0         | request 2
         slots          | log deployed a0#2
         written        | deploy a0#2
         ready a0#2     | run a0#2; checkpoints of a0#2 a1#1
         needs a0#2     | log a0#2 gets 0
         written        | give a0#2 0
         needs a0#2     | give a0#2 nothing yet
         discovered a 1 | log 1 more of a
         written        | log a0#2 gets 2; look a in 5s",
    );
}

#[test]
fn a_look_that_fails_is_taken_again_and_fails_the_job_if_that_does_not_help() {
    let mut job = watching();
    for _ in 1..crate::source::DISCOVERY_TRIES {
        job.play("discovered a no | look a in 5s");
    }
    job.play(
        "discovered a 0  | look a in 5s
         discovered a no | look a in 5s",
    );
    for _ in 2..crate::source::DISCOVERY_TRIES {
        job.play("discovered a no | look a in 5s");
    }
    job.play("discovered a no | log failing (cannot list)");
}

#[test]
fn the_coordinator_is_told_when_all_have_drained_and_sees_the_job_through() {
    Job::running(ONE).play(
        "drained a0#1 |
         drained a1#1 |
         drained a1#1 |
         drained b0#1 | all drained
         done         | log completed
         written      | finish a0#1 a1#1 b0#1; ended completed",
    );
}
