//! Whose a split is: a reader's first, and those of readers that are restarted.

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

/// Two readers that run, and a source that goes on looking. It has found one split, which the first reader has read.
fn looking() -> Job {
    let mut job = Job::new(WIDE);
    for event in ["collected", "splits a 1+", "written", "slots"] {
        job.quietly(event);
    }
    job.write_all();
    job.play(
        "ready a0#1 | run a0#1
         ready a1#1 | run a1#1; checkpoints of a0#1 a1#1
         needs a0#1 | log a0#1 gets 0
         written    | give a0#1 0
         needs a0#1 | give a0#1 nothing yet",
    );
    job
}

#[test]
fn a_first_split_that_is_found_by_a_later_look_is_left_to_a_reader_that_has_not_asked() {
    looking().play(
        "discovered a 2 | log 2 more of a
         written        | log a0#1 gets 2; look a in 5s
         written        | give a0#1 2
         needs a0#1     | give a0#1 nothing yet
         needs a1#1     | log a1#1 gets 1
         written        | give a1#1 1
         look a         | look a
         discovered a 1 | log 1 more of a
         written        | log a0#1 gets 3; look a in 5s",
    );
}

#[test]
fn the_next_leader_leaves_the_first_splits_to_their_readers_too() {
    // Both were found, and the first reader's next was promised and not logged.
    let mut job = Job::running(WIDE);
    job.play(
        "needs a0#1 | log a0#1 gets 0
         written    | give a0#1 0
         needs a0#1 | log a0#1 gets 2",
    );
    job.successor().play(
        "collected a0#1=running+needs+got:0 a1#1=running | log a0#1 gets 2; checkpoints of a0#1 a1#1 (2 known)
         written    | give a0#1 2
         needs a1#1 | log a1#1 gets 1",
    );
    // The second reader's is found by a look of the next leader, and given by the one after that.
    let mut next = looking().successor();
    next.play(
        "collected a0#1=running+needs+got:0 a1#1=running | give a0#1 nothing yet; look a; checkpoints of a0#1 a1#1 (2 known)
         discovered a 2 | log 2 more of a
         written        | log a0#1 gets 2; look a in 5s",
    );
    next.successor().play(
        "collected a0#1=running+needs+got:0 a1#1=running+needs \
         | log a0#1 gets 2; log a1#1 gets 1; look a; checkpoints of a0#1 a1#1 (2 known)",
    );
}

#[test]
fn a_reader_that_fails_before_it_asks_has_its_first_split_when_it_is_back() {
    let mut job = looking();
    job.checkpoint(1, &[0]);
    job.play(
        "failed a1#1    | log failover a1 (boom)
         written        | cancel none; quiesce
         quiesced       | wake 1 in 1s
         discovered a 2 | log 2 more of a
         written        | log a0#1 gets 2; look a in 5s
         written        | give a0#1 2
         needs a0#1     | give a0#1 nothing yet
         wake 1         | request 2
         slots          | log deployed a1#2 @1
         written        | deploy a1#2 @1
         ready a1#2     | run a1#2; checkpoints of a0#1 a1#2
         needs a1#2     | log a1#2 gets 1",
    );
}

#[test]
fn a_reader_that_goes_back_has_its_own_splits_again_and_none_that_is_anothers_first() {
    let mut job = looking();
    job.play(
        "discovered a 2 | log 2 more of a
         written        | log a0#1 gets 2; look a in 5s
         written        | give a0#1 2
         failed a0#1    | log failover a0 (boom)
         written        | cancel none; quiesce
         quiesced       | wake 0 in 1s
         wake 0         | request 2
         slots          | log deployed a0#2
         written        | deploy a0#2
         ready a0#2     | run a0#2; checkpoints of a0#2 a1#1
         needs a0#2     | log a0#2 gets 0
         written        | give a0#2 0
         needs a0#2     | log a0#2 gets 2
         written        | give a0#2 2
         needs a0#2     | give a0#2 nothing yet
         needs a1#1     | log a1#1 gets 1",
    );
}
