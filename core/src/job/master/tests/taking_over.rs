//! What the next leader makes of the log and of what runs.

use super::*;

#[test]
fn a_match_is_adopted_and_nothing_is_restarted() {
    let table = [
        (
            "a0#1=running a1#1=running b0#1=running",
            "checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=drained a1#1=running b0#1=running",
            "checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=drained a1#1=drained b0#1=drained",
            "checkpoints of a0#1 a1#1 b0#1 (3 known); all drained",
        ),
        // The old leader died before or while it connected them.
        (
            "a0#1=ready a1#1=ready b0#1=ready",
            "run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=running a1#1=ready b0#1=running",
            "run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        // Half deployed: it goes on where it is.
        ("a0#1=ready a1#1=building b0#1=ready", ""),
        // Unknown, and replaced: canceled. What is over is left alone.
        (
            "a0#1=running a1#1=running b0#1=running a0#9=running b7#1=ready a1#9=failed",
            "cancel a0#9 b7#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
    ];
    for (reports, expected) in table {
        let mut next = Job::running(ONE).successor();
        let actions = next.happens(&format!("collected {reports}"));
        let mut actions: Vec<&str> = actions.split("; ").collect();
        actions.sort_unstable();
        let mut expected: Vec<&str> = expected.split("; ").collect();
        expected.sort_unstable();
        assert_eq!(actions, expected, "{reports}");
        let state = next.machine.state();
        assert_eq!((state.restarts, state.takeovers), (0, 1), "{reports}");
    }
}

#[test]
fn a_deployment_that_is_under_way_is_finished_by_the_next_leader() {
    Job::running(ONE).successor().play(
        "collected a0#1=ready a1#1=building b0#1=building |
         ready b0#1 |
         ready a1#1 | run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
    );
}

#[test]
fn what_is_missing_or_over_fails_its_region_only() {
    let table = [
        ("", "c0#1 was gone when the leader took over"),
        ("c0#1=failed d0#1=running", "boom"),
        (
            "c0#1=running d0#1=canceled",
            "d0#1 was canceled while there was no leader",
        ),
        ("c0#1=running", "d0#1 was gone when the leader took over"),
        // Conflicting: an execution that has been replaced stands where the current one should.
        (
            "c0#9=running d0#1=running",
            "c0#1 was gone when the leader took over",
        ),
    ];
    for (reports, cause) in table {
        let cause = cause.replace("c0#", "v2[0]#").replace("d0#", "v3[0]#");
        let mut next = Job::running(TWO).successor();
        next.quietly(&format!("collected a0#1=running b0#1=running {reports}"));
        let entries: Vec<String> = next.queue.iter().map(entry_picture).collect();
        assert_eq!(entries, [format!("failover c0 d0 ({cause})")], "{reports}");
        next.quietly("written");
        for attempt in ["c0#1", "d0#1", "c0#9"] {
            next.quietly(&format!("canceled {attempt}"));
        }
        next.play(
            "wake 1     | request 1
             slots      | log deployed c0#2 d0#2
             written    | deploy c0#2 d0#2
             ready c0#2 |
             ready d0#2 | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2 (2 known)",
        );
        let state = next.machine.state();
        assert_eq!((state.restarts, state.restarted_by_takeover), (1, 2));
    }
}

#[test]
fn a_task_that_failed_for_good_while_there_was_no_leader_fails_the_job() {
    Job::running("a:1").successor().play(
        "collected a0#1=failed! | log failing (bad data); checkpoints of a0#1
         written  | cancel none; quiesce
         quiesced | log failed: bad data",
    );
}

#[test]
fn what_happens_between_a_report_and_the_decision_is_not_forgotten() {
    // The TaskManager reported, then its task went on; others had still to report.
    let stale = "collected a0#1=building b0#1=ready c0#1=running d0#1=running";
    let mut next = Job::running(TWO).successor();
    next.quietly("ready a0#1");
    assert_eq!(
        next.happens(stale),
        "run a0#1 b0#1; checkpoints of a0#1 b0#1 c0#1 d0#1 (4 known)"
    );
    let stale = "collected a0#1=running b0#1=running c0#1=running d0#1=running";
    let mut next = Job::running(TWO).successor();
    next.play("failed c0#1 | ");
    assert_eq!(next.happens(stale), "log failover c0 d0 (boom)");
    let mut next = Job::running(TWO).successor();
    next.play("canceled c0#1 | ");
    assert!(next.happens(stale).starts_with("log failover c0 d0"));
    let mut next = Job::running(TWO).successor();
    for attempt in ["a0#1", "b0#1", "c0#1", "d0#1"] {
        next.quietly(&format!("drained {attempt}"));
    }
    assert!(next.happens(stale).ends_with("all drained"));
}

#[test]
fn a_failover_that_was_decided_is_carried_on_by_the_next_leader() {
    let mut job = Job::running(TWO);
    job.play("failed c0#1 | log failover c0 d0 (boom)");
    // Before the entry is written there is no intent, only a failed task: the same is decided again.
    job.successor().play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=running | log failover c0 d0 (boom)",
    );
    job.play("written | cancel d0#1; quiesce");
    // From then on the intent is in the log: nothing is decided or counted again.
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=running | cancel d0#1
         canceled d0#1 | wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=canceled | cancel none; wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy c0#2 d0#2",
    );
    assert_eq!(next.machine.state().restarts, 1);
    // Deployed: the intent is done with.
    next.successor().play(
        "collected a0#1=running b0#1=running c0#2=building d0#2=running |
         ready c0#2 | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2 (4 known)",
    );
}

#[test]
fn a_checkpoint_that_was_left_in_flight_is_settled_before_anything_is_restarted_or_ended() {
    let in_flight = || {
        let mut job = Job::running("a:1");
        let (id, kind) = (CheckpointId(1), CheckpointKind::Final);
        job.log.push(LogEntry::CheckpointTriggered { id, kind });
        job
    };
    // Its tasks would stand somewhere else than when it was triggered.
    in_flight().successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 0ns",
    );
    let mut job = in_flight();
    job.play("failed a0#1  | log failover a0 (boom)");
    job.quietly("written");
    job.successor().play(
        "collected a0#1=running | cancel a0#1; quiesce
         canceled a0#1 |
         quiesced      | wake 0 in 1s",
    );
    let mut job = in_flight();
    job.play("cancel       | log cancel");
    job.quietly("written");
    job.successor().play(
        "collected     | cancel none; quiesce
         quiesced      | log canceled",
    );
    // Nothing is restarted: the coordinator takes it up.
    in_flight().successor().play(
        "collected a0#1=running | checkpoints of a0#1 (1 known)
         failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce",
    );
}

#[test]
fn a_cancel_or_a_failure_that_was_logged_is_seen_through_by_the_next_leader() {
    for (intent, outcome) in [
        ("cancel", "canceled"),
        ("give-up it is enough", "failed: it is enough"),
    ] {
        let mut job = Job::running(ONE);
        job.quietly(intent);
        // Nothing was promised before the entry is written.
        job.successor().play(
            "collected a0#1=running a1#1=running b0#1=running | checkpoints of a0#1 a1#1 b0#1 (3 known)",
        );
        job.quietly("written");
        let script = format!(
            "collected a0#1=running b0#1=failed | cancel a0#1
             canceled a0#1 | log {outcome}
             written       | finish none; ended {outcome}"
        );
        job.successor().play(&script);
        let script = format!("collected | cancel none; log {outcome}");
        job.successor().play(&script);
    }
}

#[test]
fn what_a_takeover_finds_gone_is_not_charged_to_the_restart_strategy() {
    let mut job = Job::submitted(
        "a:1",
        JobOptions {
            restart: RestartStrategy::None,
            ..JobOptions::default()
        },
    );
    for event in ["collected", "splits a 3", "written", "slots", "written"] {
        job.quietly(event);
    }
    for attempt in 1..4 {
        job = job.successor();
        job.play(&format!(
            "collected     | log failover a0 (v0[0]#{attempt} was gone when the leader took over)
             written       | cancel none; wake 0 in 0ns
             wake 0        | request 1
             slots         | log deployed a0#{}",
            attempt + 1
        ));
        job.quietly("written");
    }
    let state = &job.machine.state;
    assert_eq!((state.restarts, state.restarts_charged), (3, 0));
}

#[test]
fn a_leader_that_finds_nothing_of_a_logged_deployment_deploys_it_again_under_new_numbers() {
    let mut job = Job::new("a:1");
    job.play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 1
         slots         | log deployed a0#1",
    );
    // Not logged: the attempt was never there.
    job.successor().play(
        "collected     | request 1
         slots         | log deployed a0#1",
    );
    job.quietly("written");
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | request 1
         slots         | log deployed a0#2",
    );
}

#[test]
fn a_leader_that_died_between_the_deployments_of_two_regions_leaves_the_first_as_it_is() {
    let mut job = Job::new(TWO);
    job.play(
        "collected    | find a; find c
         splits a 3   | log splits of a
         written      |",
    );
    // Only what is missing is looked for.
    job.successor().play("collected | find c");
    job.play(
        "splits c 3   | log splits of c
         written      | request 1; request 1
         slots        | log deployed a0#1 b0#1; log deployed c0#1 d0#1
         written      | deploy a0#1 b0#1",
    );
    job.successor().play(
        "collected a0#1=building b0#1=ready | request 1
         ready a0#1 | run a0#1 b0#1
         slots      | log deployed c0#1 d0#1
         written    | deploy c0#1 d0#1
         ready c0#1 |
         ready d0#1 | run c0#1 d0#1; checkpoints of a0#1 b0#1 c0#1 d0#1 (2 known)",
    );
}

#[test]
fn splits_that_were_assigned_and_not_received_are_sent_again() {
    let mut job = Job::running("a:1");
    job.play(
        "needs a0#1 | log a0#1 gets 0
         written    | give a0#1 0
         needs a0#1 | log a0#1 gets 1",
    );
    let table = [
        // (before or after the second entry is written, what is reported, what is done)
        (false, "running+got:0", ""),
        (false, "running+got:0+needs", "log a0#1 gets 1"),
        (false, "running+needs", "give a0#1 0"),
        (true, "running+got:0+needs", "give a0#1 1"),
        (true, "running+needs", "give a0#1 0,1"),
        (true, "running+got:0,1", ""),
        (true, "running+got:0,1+needs", "log a0#1 gets 2"),
    ];
    for (written, report, expected) in table {
        let mut next = job.successor();
        if written {
            next = {
                let mut job = Job::led(job.graph, job.options.clone(), job.log.clone());
                job.log.extend(self::written(&["a0#1 1"]));
                job.machine = Job::led(job.graph, job.options.clone(), job.log.clone()).machine;
                job.successor()
            };
        }
        let actions = next.happens(&format!("collected a0#1={report}"));
        let checkpoints = "checkpoints of a0#1 (1 known)";
        let rest = actions.strip_suffix(checkpoints).expect(&actions);
        assert_eq!(rest.trim_end_matches("; "), expected, "{written} {report}");
    }
}

/// `attempt split` assignments.
fn written(assignments: &[&str]) -> Vec<LogEntry> {
    let assignments = assignments.iter().map(|text| {
        let (who, id) = text.split_once(' ').unwrap();
        LogEntry::SplitsAssigned {
            attempt: attempt(who),
            splits: vec![SplitId(id.parse().unwrap())],
        }
    });
    assignments.collect()
}

#[test]
fn a_reader_that_waits_when_all_splits_are_gone_is_told_so_by_the_next_leader() {
    let mut job = Job::new("a:1");
    job.play(
        "collected     | find a
         splits a 0    | log splits of a
         written       | request 1
         slots         | log deployed a0#1
         written       | deploy a0#1",
    );
    job.successor()
        .play("collected a0#1=running+needs | give a0#1 no more; checkpoints of a0#1 (1 known)");
}

#[test]
fn a_late_report_is_compared() {
    // What runs as the log says is left alone, what the log doesn't know is canceled.
    let running = || {
        let mut next = Job::running(ONE).successor();
        next.quietly("collected a0#1=running a1#1=running b0#1=running");
        next
    };
    running().play("late a0#1=running b0#1=drained |");
    running().play("late a0#9=running b0#9=failed | cancel a0#9");
    // It was given up for lost, and its region's failover decided: it must end before the next attempt.
    let mut next = Job::running(ONE).successor();
    next.play(
        "collected a0#1=running b0#1=running | log failover a0 a1 b0 (v0[1]#1 was gone when the leader took over)
         late a1#1=running |
         written           | cancel a0#1 a1#1 b0#1
         canceled a0#1     |
         canceled b0#1     |
         canceled a1#1     | wake 0 in 1s",
    );
    let mut next = Job::running(ONE).successor();
    next.play(
        "collected a0#1=running b0#1=running | log failover a0 a1 b0 (v0[1]#1 was gone when the leader took over)
         written           | cancel a0#1 b0#1
         late a1#1=running | cancel a1#1
         canceled a0#1     |
         canceled b0#1     |
         canceled a1#1     | wake 0 in 1s",
    );
    // The same while it waits, and while it looks for slots.
    let mut next = Job::running("a:1").successor();
    next.play(
        "collected         | log failover a0 (v0[0]#1 was gone when the leader took over)
         written           | cancel none; wake 0 in 0ns
         late a0#1=running | cancel a0#1
         wake 0            |
         canceled a0#1     | wake 0 in 0ns
         wake 0            | request 1
         late a0#1=failed  |
         late a0#1=running | cancel a0#1
         slots             |
         canceled a0#1     | wake 0 in 0ns
         wake 0            | request 1
         slots             | log deployed a0#2
         late a0#1=running | cancel a0#1
         written           | deploy a0#2
         late a0#1=running | cancel a0#1",
    );
    // A job that is being ended waits for it too.
    let mut next = Job::running("a:2").successor();
    next.play(
        "cancel            | log cancel
         written           | cancel a0#1 a1#1
         collected a0#1=running | cancel a0#1
         late a1#1=running | cancel a1#1
         canceled a0#1     |
         canceled a1#1     | log canceled",
    );
}

#[test]
fn a_late_report_of_a_failure_is_a_failure() {
    let mut next = Job::running(ONE).successor();
    next.quietly("collected a0#1=running a1#1=running b0#1=running");
    next.play(
        "late b0#1=failed | log failover a0 a1 b0 (boom)
         late b0#1=failed |",
    );
}

#[test]
fn only_the_answer_to_a_question_makes_checkpoints_quiet() {
    Job::running("a:1").play(
        "quiesced    |
         failed a0#1 | log failover a0 (boom)
         written     | cancel none; quiesce
         quiesced    | wake 0 in 1s",
    );
}
