//! Splits of readers that are restarted.

use super::*;

#[test]
fn a_restarted_region_frees_exactly_the_splits_that_it_was_given_since_the_checkpoint() {
    let mut job = Job::running(WIDE);
    for event in ["needs a0#1", "needs a1#1"] {
        job.quietly(event);
        job.quietly("written");
    }
    job.checkpoint(1, &[0]);
    job.quietly("needs a0#1");
    job.quietly("written");
    assert_eq!(job.splits(), "-:0 a0#1:2 a1#1:1");
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         needs a1#1    | log a1#1 gets 3
         written       | give a1#1 3
         wake 0        | request 2
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1",
    );
    // 1 and 3 are being read next door; 0 is in the checkpoint; 2 is free again.
    assert_eq!(job.splits(), "-:0 a1#1:1,3");
    job.play(
        "ready a0#2    | run a0#2; checkpoints of a0#2 a1#1
         needs a0#2    | log a0#2 gets 2
         written       | give a0#2 2
         needs a0#2    | log a0#2 gets 4",
    );
}

#[test]
fn a_reader_that_was_given_up_gets_no_split_however_late_it_asks() {
    let mut job = Job::running("a:1");
    job.play(
        "lost t0       | log failover a0 (TaskManager t0 was lost)
         needs a0#1    |
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         needs a0#1    |
         wake 0        | request 1
         slots-but t0  | log deployed a0#2
         needs a0#1    |
         written       | deploy a0#2
         needs a0#1    |",
    );
    assert_eq!(job.splits(), "");
}

#[test]
fn an_assignment_to_a_replaced_reader_is_void() {
    let mut job = Job::running("a:1");
    restart(&mut job, 2);
    let mut state = job.machine.state.clone();
    state.apply(&LogEntry::SplitsAssigned {
        attempt: attempt("a0#1"),
        splits: vec![SplitId(0)],
    });
    let free = state.splits[&vertex("a")].next(attempt("a0#1").subtask, &BTreeSet::new());
    assert_eq!(free, Some(SplitId(0)));
}
