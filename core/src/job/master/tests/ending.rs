//! Jobs that are canceled or fail.

use super::*;

/// A job that waits for its slots.
fn waiting(graph: &'static str) -> Job {
    let mut job = Job::new(graph);
    for event in ["collected", "splits a 3", "written"] {
        job.quietly(event);
    }
    job
}

#[test]
fn a_job_can_be_canceled_in_every_phase() {
    let cases = [
        // While its splits are looked for.
        (
            Job::new(ONE),
            "collected    | find a
             cancel       | log cancel
             written      | cancel none; log canceled
             splits a 3   |
             written      | finish none; ended canceled",
        ),
        // While it waits for slots.
        (
            waiting(ONE),
            "cancel       | log cancel
             written      | cancel none; log canceled
             slots        |
             written      | finish none; ended canceled",
        ),
        // While its deployment is logged, behind the cancel and before it.
        (
            waiting(ONE),
            "cancel       | log cancel
             slots        | log deployed a0#1 a1#1 b0#1
             written      | cancel none; log canceled
             written      |
             written      | finish none; ended canceled",
        ),
        (
            waiting("a:1"),
            "slots         | log deployed a0#1
             cancel        | log cancel
             written       | deploy a0#1
             written       | cancel a0#1
             canceled a0#1 | log canceled
             written       | finish none; ended canceled",
        ),
        // While it is deployed.
        (
            waiting("a:1"),
            "slots         | log deployed a0#1
             written       | deploy a0#1
             cancel        | log cancel
             ready a0#1    | run a0#1; checkpoints of a0#1
             written       | cancel a0#1; quiesce
             canceled a0#1 |
             quiesced      | log canceled
             written       | finish none; ended canceled",
        ),
        (
            waiting("a:1"),
            "slots         | log deployed a0#1
             written       | deploy a0#1
             cancel        | log cancel
             written       | cancel a0#1
             ready a0#1    |
             canceled a0#1 | log canceled
             written       | finish none; ended canceled",
        ),
        // While it runs.
        (
            Job::running(TWO),
            "cancel        | log cancel
             written       | cancel a0#1 b0#1 c0#1 d0#1; quiesce
             canceled a0#1 |
             failed b0#1   |
             lost t0       |
             quiesced      | log canceled
             cancel        |
             written       | finish none; ended canceled",
        ),
        // While a failover is logged, while its tasks end, while it waits.
        (
            Job::running(ONE),
            "failed a0#1   | log failover a0 a1 b0 (boom)
             cancel        | log cancel
             written       | cancel a1#1 b0#1; quiesce
             written       | cancel a1#1 b0#1
             canceled a1#1 |
             canceled b0#1 |
             quiesced      | log canceled",
        ),
        (
            Job::running("a:1"),
            "failed a0#1   | log failover a0 (boom)
             written       | cancel none; quiesce
             cancel        | log cancel
             written       | cancel none
             quiesced      | log canceled
             written       | finish none; ended canceled",
        ),
        (
            Job::running("a:1"),
            "failed a0#1   | log failover a0 (boom)
             written       | cancel none; quiesce
             quiesced      | wake 0 in 1s
             cancel        | log cancel
             written       | cancel none; log canceled
             wake 0        | request 1
             slots         |
             written       | finish none; ended canceled",
        ),
        // While it completes.
        (
            Job::running("a:1"),
            "drained a0#1  | all drained
             done          | log completed
             cancel        |
             written       | finish a0#1; ended completed",
        ),
    ];
    for (mut job, script) in cases {
        job.play(script);
    }
}

#[test]
fn a_job_that_is_to_end_sees_a_complete_checkpoints_commits_through_first() {
    let complete = |graph: &'static str| {
        let mut job = Job::running(graph);
        job.checkpoint(1, &[]);
        job
    };
    // Everybody is there: they go on until it is confirmed.
    complete("a:1").play(
        "cancel        | log cancel
         written       | give commits up in 30s
         needs a0#1    |
         committed 1   | cancel a0#1; quiesce
         quiesced      |
         canceled a0#1 | log canceled
         too-long      |
         written       | finish none; ended canceled",
    );
    // One is being decided when the end is asked for.
    let mut job = Job::running("a:1");
    job.play(
        "triggered 1   |
         cancel        | log cancel
         written       | give commits up in 30s
         completed 1   |
         committed 1   | cancel a0#1; quiesce",
    );
    let mut job = Job::running("a:1");
    job.play(
        "triggered 1   |
         cancel        | log cancel
         written       | give commits up in 30s
         aborted 1     | cancel a0#1; quiesce",
    );
    // Who has died, and whose commits died too, is started once more to commit.
    complete("a:1").play(
        "failed! a0#1  | log failing (bad data)
         written       | give commits up in 30s; log failover a0 (bad data)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 0ns
         wake 0        | request 1
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1 to commit
         ready a0#2    | run a0#2; checkpoints of a0#2
         committed 1   | cancel a0#2; quiesce
         quiesced      |
         canceled a0#2 | log failed: bad data",
    );
    // Its target is away: again, until that has taken long enough.
    let mut job = complete("a:1");
    job.play("failed! a0#1 | log failing (bad data)");
    for event in [
        "written",
        "written",
        "quiesced",
        "wake 0",
        "slots",
        "written",
        "ready a0#2",
    ] {
        job.quietly(event);
    }
    job.play(
        "failed a0#2   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         too-long      | cancel none; log failed: bad data
         wake 0        | request 1
         slots         |",
    );
    // What it has to commit can't be.
    let mut job = complete("a:1");
    job.play("cancel | log cancel");
    for event in [
        "written",
        "failed a0#1",
        "written",
        "quiesced",
        "wake 0",
        "slots",
        "written",
        "ready a0#2",
    ] {
        job.quietly(event);
    }
    job.play(
        "failed! a0#2 | cancel none; quiesce
         quiesced     | log canceled",
    );
}

#[test]
fn the_next_leader_sees_commits_through_before_it_ends_the_job() {
    let mut job = Job::running(ONE);
    job.checkpoint(1, &[]);
    job.quietly("cancel");
    job.quietly("written");
    job.successor().play(
        "collected a0#1=running a1#1=running b0#1=running | \
            checkpoints of a0#1 a1#1 b0#1 (3 known); give commits up in 30s
         committed 1 | cancel a0#1 a1#1 b0#1; quiesce",
    );
    job.successor().play(
        "collected a0#1=running a1#1=failed b0#1=running | \
            log failover a0 a1 b0 (boom); give commits up in 30s
         written | cancel a0#1 b0#1",
    );
    // Its processes are gone.
    job.successor().play(
        "collected | log failover a0 a1 b0 (v0[0]#1 was gone when the leader took over); give commits up in 30s",
    );
}

#[test]
fn a_job_that_the_coordinator_gives_up_ends_as_failed() {
    Job::running("a:1").play(
        "give-up too many checkpoints failed | log failing (too many checkpoints failed)
         written       | cancel a0#1; quiesce
         quiesced      |
         canceled a0#1 | log failed: too many checkpoints failed
         give-up again |
         written       | finish none; ended failed: too many checkpoints failed",
    );
}

#[test]
fn a_terminal_job_is_never_revived() {
    let mut job = Job::running(ONE);
    job.play(
        "cancel        | log cancel
         written       | cancel a0#1 a1#1 b0#1; quiesce
         quiesced      |
         canceled a0#1 |
         canceled a1#1 |
         canceled b0#1 | log canceled
         written       | finish none; ended canceled",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=failed | finish a0#1; ended canceled
         cancel         |
         failed a0#1    |
         lost t0        |
         needs a0#1     |
         give-up really |
         done           |
         wake 0         |
         slots          |",
    );
    // Whoever reports later is told as well.
    next.play("late a1#1=running | finish a1#1");
}
