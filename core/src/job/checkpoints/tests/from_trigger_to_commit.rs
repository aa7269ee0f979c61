//! From the trigger to the commit, and how often.

use super::*;

#[test]
fn a_checkpoint_is_logged_triggered_stored_logged_announced_and_committed() {
    Coordinator::new().play(
        "tick             |
         start a0#1 a1#1 b0#1 |
         @9s tick         |
         @10s tick        | log triggered 1
         written          | trigger 1
         ack a0#1 1       |
         ack b0#1 1       |
         ack a0#1 1       |
         ack a1#1 1       | store 1 of a0 a1 b0
         stored 1         | log completed 1
         written          | announce 1
         committed a0#1 1 |
         committed b0#1 1 |
         committed b0#1 1 |
         committed a1#1 1 | log committed 1
         written          |
         @19s tick        |
         @20s tick        | log triggered 2",
    );
}

#[test]
fn nothing_counts_before_its_entry_is_written() {
    // Acknowledgements cannot be, before the trigger is; a checkpoint is not complete before its entry.
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         @10s tick        | log triggered 1
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       |
         decline b0#1 1   |
         written          | trigger 1",
    );
    Coordinator::completing().play(
        "committed a0#1 1 |
         decline a0#1 1   |
         stored 1         |
         unstored 1       |
         written          | announce 1",
    );
}

#[test]
fn acknowledgements_of_other_attempts_and_other_checkpoints_are_ignored() {
    Coordinator::triggered().play(
        "ack a0#2 1     |
         ack a0#0 1     |
         ack c0#1 1     |
         ack a0#1 2     |
         ack a0#1 0     |
         decline a0#2 1 |
         decline c0#1 1 |
         decline a0#1 2 |
         ack a1#1 1     |
         ack b0#1 1     |
         ack a0#1 1     | store 1 of a0 a1 b0
         stored 2       |
         stored 1       | log completed 1",
    );
}

#[test]
fn commits_count_for_every_checkpoint_below_and_only_from_those_who_take_part() {
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "written          | announce 1
         committed a0#2 1 |
         committed a0#1 0 |
         committed a0#1 1 |
         committed a1#1 2 |
         committed b0#1 1 | log committed 1",
    );
    // The next one takes over what the last had still to commit.
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "written          | announce 1
         committed a0#1 1 |
         @20s tick        | log triggered 2
         written          | trigger 2
         committed a1#1 1 |
         ack a0#1 2       |
         ack a1#1 2       |
         ack b0#1 2       | store 2 of a0 a1 b0
         stored 2         | log completed 2
         written          | announce 2
         committed b0#1 1 |
         committed a0#1 2 |
         committed a1#1 2 |
         committed b0#1 2 | log committed 2",
    );
}

#[test]
fn what_goes_wrong_aborts_the_checkpoint_and_the_next_has_another_number() {
    let table = [
        (Coordinator::triggered(), "decline b0#1 1", "slow"),
        (
            Coordinator::triggered(),
            "@70s tick",
            "it took longer than 60s",
        ),
        (
            Coordinator::storing(),
            "@70s tick",
            "it took longer than 60s",
        ),
        (
            Coordinator::storing(),
            "unstored 1",
            "its manifest could not be stored: disk full",
        ),
    ];
    for (mut coordinator, event, reason) in table {
        coordinator.play(&format!(
            "{event}     | log aborted 1 ({reason})
             ack b0#1 1  |
             stored 1    |
             unstored 1  |
             @80s tick   |
             written     | call off 1; log triggered 2"
        ));
    }
}

#[test]
fn time_that_runs_out_on_the_log_itself_aborts_nothing() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&[ALL, "@10s tick"]);
    coordinator.play("@200s tick | ");
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "@200s tick | 
         written    | announce 1; log triggered 2",
    );
}

#[test]
fn checkpoints_keep_their_distance() {
    // Interval from start to start, pause from end to start; none at all without an interval.
    let with = |interval, pause| {
        let mut coordinator = Coordinator::with(JobOptions {
            checkpoint_interval: interval,
            checkpoint_pause: Duration::from_secs(pause),
            ..JobOptions::default()
        });
        coordinator.quietly(&["start a0#1"]);
        let mut starts = Vec::new();
        for second in 1..60 {
            let happened = coordinator.happens(&format!("@{second}s tick"));
            if happened.starts_with("log triggered") {
                starts.push(second);
                // Each takes two seconds.
                let done = format!("@{}s written", second + 2);
                coordinator.quietly(&["written", "ack a0#1 1"]);
                let id = starts.len();
                coordinator.quietly(&[&format!("ack a0#1 {id}"), &format!("stored {id}"), &done]);
            }
        }
        starts
    };
    let ten = Some(Duration::from_secs(10));
    assert_eq!(with(ten, 0), [10, 20, 30, 40, 50]);
    assert_eq!(with(ten, 15), [15, 32, 49]);
    assert_eq!(with(None, 0), [0_u32; 0]);
}

#[test]
fn the_coordinator_is_woken_when_there_is_something_to_do_and_only_then() {
    let mut coordinator = Coordinator::new();
    let table = [
        // (what happens, seconds to the next tick)
        ("@1s tick", None),
        ("start a0#1", Some(10)),
        ("@4s tick", Some(7)),
        // While an entry is being written only the log can help.
        ("@11s tick", None),
        ("@12s written", Some(59)),
        ("ack a0#1 1", Some(59)),
        ("stored 1", None),
        ("@13s written", Some(8)),
        ("quiesce", None),
        ("@20s start a0#2", Some(10)),
        // The final checkpoint is triggered at once.
        ("@22s drained", None),
        ("written", Some(60)),
        ("ack a0#2 2", Some(60)),
        ("stored 2", None),
        // From now on it waits for commits.
        ("written", None),
        ("committed a0#2 2", None),
        ("written", None),
    ];
    for (event, expected) in table {
        coordinator.quietly(&[event]);
        assert_eq!(coordinator.next_tick(), expected, "after {event}");
    }
}
