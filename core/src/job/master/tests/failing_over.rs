//! Regions that fail or are lost, and restart.

use super::*;

#[test]
fn one_region_fails_over_while_the_other_runs_on_untouched() {
    let mut job = Job::running(TWO);
    job.play(
        "failed c0#1   | log failover c0 d0 (boom)
         written       | cancel d0#1; quiesce
         canceled d0#1 |
         quiesced      | wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy c0#2 d0#2
         ready c0#2    |
         ready d0#2    | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2",
    );
    let state = job.machine.state();
    assert_eq!((state.restarts, state.restarted_by_takeover), (1, 0));
}

#[test]
fn a_region_is_not_restarted_before_its_tasks_are_over_and_checkpoints_are_quiet() {
    // In whatever order the three come.
    for order in ["cbq", "cqb", "bcq", "bqc", "qbc", "qcb"] {
        let mut job = Job::running(ONE);
        job.play(
            "failed a0#1   | log failover a0 a1 b0 (boom)
             written       | cancel a1#1 b0#1; quiesce",
        );
        for (place, what) in order.chars().enumerate() {
            let event = match what {
                'c' => "canceled a1#1",
                'b' => "canceled b0#1",
                _ => "quiesced",
            };
            let actions = job.happens(event);
            assert_eq!(actions.is_empty(), place < 2, "{order}: {event}: {actions}");
        }
    }
}

#[test]
fn the_end_of_an_earlier_wait_does_not_shorten_a_later_one() {
    let mut job = Job::running("a:1");
    for event in ["failed a0#1", "written", "quiesced"] {
        job.quietly(event);
    }
    // What was given up for lost comes back meanwhile, and ends: the region waits anew.
    job.play(
        "late a0#1=running | cancel a0#1
         canceled a0#1     | wake 0 in 0ns
         wake 0#1          |
         wake 0#2          | request 1
         wake 0#2          |",
    );
}

#[test]
fn what_is_known_of_replaced_executions_is_forgotten() {
    let mut job = Job::running("a:1");
    for _ in 0..5 {
        let last = job.attempts()[0].clone();
        for event in [
            &*format!("drained {last}"),
            &format!("failed {last}"),
            "written",
            "quiesced",
            "wake 0",
            "slots",
            "written",
        ] {
            job.quietly(event);
        }
        let next = job.attempts()[0].clone();
        job.quietly(&format!("ready {next}"));
        if job.machine.is_running() {
            job.machine.restart = RestartState::default();
        }
    }
    assert!(job.machine.is_running() && job.attempts() == ["a0#6"]);
    assert!(job.machine.over.is_empty() && job.machine.drained.is_empty());
}

#[test]
fn a_second_region_that_fails_meanwhile_waits_for_the_same_quiet() {
    Job::running(TWO).play(
        "failed a0#1   | log failover a0 b0 (boom)
         written       | cancel b0#1; quiesce
         failed d0#1   | log failover c0 d0 (boom)
         canceled b0#1 |
         quiesced      | wake 0 in 1s
         written       | cancel c0#1
         canceled c0#1 | wake 1 in 1s
         wake 0        | request 1
         slots         | log deployed a0#2 b0#2
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy a0#2 b0#2
         written       | deploy c0#2 d0#2
         ready a0#2    |
         ready b0#2    | run a0#2 b0#2
         ready c0#2    |
         ready d0#2    | run c0#2 d0#2; checkpoints of a0#2 b0#2 c0#2 d0#2",
    );
}

#[test]
fn several_failures_of_one_region_are_one_failover() {
    Job::running(ONE).play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         failed a1#1   |
         written       | cancel b0#1; quiesce
         failed b0#1   |
         quiesced      | wake 0 in 1s",
    );
}

#[test]
fn a_region_that_fails_while_it_is_deployed_fails_over_too() {
    Job::new(ONE).play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 2
         slots         | log deployed a0#1 a1#1 b0#1
         written       | deploy a0#1 a1#1 b0#1
         ready a0#1    |
         failed b0#1   | log failover a0 a1 b0 (boom)
         ready a1#1    |
         written       | cancel a0#1 a1#1
         canceled a0#1 |
         canceled a1#1 | wake 0 in 1s
         wake 0        | request 2
         slots         | log deployed a0#2 a1#2 b0#2",
    );
}

#[test]
fn what_an_old_attempt_says_changes_nothing() {
    let mut job = Job::running(ONE);
    job.play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1; quiesce
         quiesced      |
         canceled a1#1 |
         canceled b0#1 | wake 0 in 1s
         wake 0        | request 2
         slots         | log deployed a0#2 a1#2 b0#2
         written       | deploy a0#2 a1#2 b0#2
         ready a0#1    |
         failed a0#1   |
         failed! a0#1  |
         drained a0#1  |
         needs a0#1    |
         canceled b0#1 |
         ready a0#2    |
         ready a1#2    |
         ready b0#2    | run a0#2 a1#2 b0#2; checkpoints of a0#2 a1#2 b0#2",
    );
}

#[test]
fn a_restart_begins_from_the_latest_checkpoint_whose_manifest_is_read_if_it_is_not_known() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[0]);
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         wake 0        | request 1
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1
         ready a0#2    | run a0#2; checkpoints of a0#2",
    );
    let mut next = job.successor();
    next.play(
        "collected     | log failover a0 (v0[0]#2 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         manifest 1    | request 1
         slots         | log deployed a0#3 @1
         written       | deploy a0#3 @1",
    );
}

#[test]
fn a_manifest_that_cannot_be_read_fails_the_job() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         manifest ?    | log failing (its checksum doesn't match)
         slots         |
         written       | cancel none; log failed: its checksum doesn't match",
    );
}

#[test]
fn the_manifest_of_a_checkpoint_that_was_aborted_does_not_take_the_place_of_the_one_to_start_from()
{
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         wake 0        | request 1",
    );
    // Its storing had begun before the failure, and ends only now.
    let late = job.manifest(CheckpointId(2));
    job.machine.set_manifest(late);
    job.play("slots         | log deployed a0#2 @1");
}

#[test]
fn a_lost_task_manager_takes_its_tasks_with_it() {
    let mut job = Job::running(ONE);
    // t0 runs a0 and b0.
    job.play(
        "lost t0       | log failover a0 a1 b0 (TaskManager t0 was lost)
         written       | cancel a1#1; quiesce
         quiesced      |
         canceled a1#1 | wake 0 in 1s
         wake 0        | request 2
         slots-but t0  | log deployed a0#2 a1#2 b0#2
         written       | deploy a0#2 a1#2 b0#2",
    );
    // What still has its place keeps it.
    assert_eq!(job.places(), [2, 1, 2]);
    Job::running(ONE).play(
        "lost t9       |
         failed a1#1   | log failover a0 a1 b0 (boom)
         lost t0       |
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s",
    );
    // The last that is waited for.
    Job::running(ONE).play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1; quiesce
         quiesced      |
         canceled b0#1 |
         lost t1       | wake 0 in 1s",
    );
}

#[test]
fn a_region_that_lost_its_slot_does_not_take_that_of_a_region_that_goes_on() {
    for (lost, places) in [("t0", [2, 1]), ("t1", [0, 2])] {
        let index = lost.trim_start_matches('t');
        let mut job = Job::running(WIDE);
        job.quietly(&format!("lost {lost}"));
        job.write_all();
        for event in ["quiesced", &format!("wake {index}")] {
            job.quietly(event);
        }
        let deployed = format!("log deployed a{index}#2");
        job.play(&format!("slots-but {lost} | {deployed}"));
        job.write_all();
        assert_eq!(job.places(), places, "{lost}");
    }
}

#[test]
fn a_slot_that_is_given_away_is_not_given_again_before_that_is_written() {
    let mut job = Job::running(WIDE);
    for lost in ["lost t0", "lost t1"] {
        job.quietly(lost);
        job.write_all();
    }
    // The second grant comes while the first region's deployment is on its way to the log.
    for event in [
        "quiesced",
        "wake 0",
        "slots-but t0",
        "wake 1",
        "slots-but t1",
    ] {
        job.quietly(event);
    }
    job.write_all();
    assert_eq!(job.places(), [2, 0]);
}

#[test]
fn regions_that_are_lost_in_one_event_are_one_failure() {
    for delay in [Duration::ZERO, Duration::from_secs(5)] {
        let restart = RestartStrategy::FixedDelay { attempts: 1, delay };
        let options = JobOptions {
            restart,
            ..JobOptions::default()
        };
        let mut job = Job::submitted(WIDE, options);
        job.play(
            "collected     | find a
             splits a 10   | log splits of a
             written       | request 2; request 2
             slots-of t0   | log deployed a0#1; log deployed a1#1
             written       | deploy a0#1
             written       | deploy a1#1",
        );
        job.quietly("ready a0#1");
        job.quietly("ready a1#1");
        let lost =
            "log failover a0 (TaskManager t0 was lost); log failover a1 (TaskManager t0 was lost)";
        job.play(&format!("lost t0 | {lost}"));
        job.write_all();
        job.quietly("quiesced");
        assert_eq!(job.machine.state.restarts_charged, 1);
        // Once all have been tried again, the next failure is one more.
        for event in ["wake 0", "wake 1", "slots-but t0"] {
            job.quietly(event);
        }
        job.write_all();
        for event in ["ready a0#2", "ready a1#2"] {
            job.quietly(event);
        }
        job.play("failed a0#2 | log failing (boom)");
    }
}

#[test]
fn slots_that_are_lost_before_they_are_used_are_asked_for_again() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    // The answer to what was asked for before.
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         slots         |
         lost t0       |
         manifest 1    | request 1
         slots-but t0  | log deployed a0#2 @1",
    );
}

#[test]
fn slots_are_asked_for_where_the_files_of_the_checkpoint_can_be_read() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    let mut next = job.successor();
    next.play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1",
    );
    let mut manifest = next.manifest(CheckpointId(1));
    let parts = manifest.subtasks.values_mut().flat_map(|s| &mut s.parts);
    parts.for_each(|part| {
        part.stores.push(StoredFiles {
            operator: "sums".into(),
            format: "RocksDB".to_owned(),
            files: Vec::new(),
        });
    });
    let read = JobEvent::ManifestRead(Ok(Box::new(manifest)));
    let actions = next.machine.on_event(read, Duration::ZERO);
    let backend = Some("RocksDB".to_owned());
    assert_eq!(actions, [JobAction::RequestSlots { count: 1, backend }]);
    next.play("rm-changed | request 1 with RocksDB");
}

#[test]
fn a_task_manager_that_is_lost_while_a_deployment_is_logged_fails_the_region_when_it_is() {
    Job::new(ONE).play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 2
         slots         | log deployed a0#1 a1#1 b0#1
         lost t1       |
         written       | deploy a0#1 a1#1 b0#1; log failover a0 a1 b0 (TaskManager t1 was lost)
         written       | cancel a0#1 b0#1
         canceled a0#1 |
         canceled b0#1 | wake 0 in 1s",
    );
}
