//! Savepoints that are asked of a job that doesn't get to run.

use super::*;

/// A job of one task that runs, and is tried again for ever.
fn tried_for_ever() -> Job {
    let mut job = Job::submitted("a:1", JobOptions::default());
    for event in [
        "collected",
        "splits a 1",
        "written",
        "slots",
        "written",
        "ready a0#1",
    ] {
        job.quietly(event);
    }
    assert!(job.machine.is_running());
    job
}

/// Why there is no savepoint.
fn reason(times: u32) -> String {
    format!(
        "the job doesn't get to run, it has failed {times} times in a row; the last time: boom; mend that and ask again, or cancel the job"
    )
}

fn outcome(job: &Job) -> Option<String> {
    let savepoint = job.machine.state().savepoints.last();
    let outcome = savepoint.and_then(|savepoint| savepoint.outcome.clone());
    outcome.map(|outcome| outcome.expect_err("is none"))
}

#[test]
fn whoever_waits_is_told_after_the_third_failure_in_a_row() {
    let mut job = tried_for_ever();
    job.play(
        "savepoint 7 | log savepoint 7
         written     |",
    );
    for next in [2, 3] {
        restart(&mut job, next);
        assert_eq!(outcome(&job), None);
    }
    job.quietly("failed a0#3");
    job.play(&format!(
        "written | log no savepoint 7 ({}); cancel none; quiesce
         written |",
        reason(3)
    ));
    assert_eq!(outcome(&job), Some(reason(3)));
}

#[test]
fn whoever_asks_later_is_told_at_once_unless_the_job_happens_to_run() {
    let mut job = tried_for_ever();
    for next in [2, 3, 4] {
        restart(&mut job, next);
    }
    job.play(
        "savepoint 7 | log savepoint 7
         written     |",
    );
    job.quietly("failed a0#4");
    job.play(&format!(
        "written     | log no savepoint 7 ({}); cancel none; quiesce
         written     |
         savepoint 8 | log savepoint 8
         written     | log no savepoint 8 ({})",
        reason(4),
        reason(4)
    ));
}

#[test]
fn a_job_that_gets_on_between_its_failures_is_waited_for() {
    let mut job = tried_for_ever();
    job.quietly("savepoint 7");
    job.quietly("written");
    for next in 2..9 {
        restart(&mut job, next);
        match next % 2 {
            0 => job.checkpoint(next.into(), &[]),
            _ => job.now += Duration::from_secs(5),
        }
    }
    assert_eq!(outcome(&job), None);
}
