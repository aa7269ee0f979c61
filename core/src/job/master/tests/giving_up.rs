//! How often what is restarted, and when a job is given up.

use super::*;

#[test]
fn a_strategy_that_gives_up_fails_the_job() {
    let restart = RestartStrategy::None;
    let mut job = Job::submitted(
        "a:1",
        JobOptions {
            restart,
            ..JobOptions::default()
        },
    );
    job.play(
        "collected     | find a
         splits a 1    | log splits of a
         written       | request 1
         slots         | log deployed a0#1
         written       | deploy a0#1
         ready a0#1    | run a0#1; checkpoints of a0#1
         failed a0#1   | log failing (boom)
         written       | cancel none; quiesce
         quiesced      | log failed: boom
         written       | finish none; ended failed: boom",
    );
}

#[test]
fn restarts_are_counted_over_the_life_of_the_job_not_of_its_leader() {
    let mut job = Job::running("a:1");
    restart(&mut job, 2);
    restart(&mut job, 3);
    let mut next = job.successor();
    next.play(
        "collected a0#3=running | checkpoints of a0#3 (1 known)
         failed a0#3            | log failing (boom)",
    );
    job.play("failed a0#3  | log failing (boom)");
}

/// Fails tasks of two regions, `a0` and `a1`, brings them up again each time, and says what became of the job
/// after which failure. `|` is a checkpoint, `L` another leader.
fn fate(script: &str) -> String {
    let options = JobOptions {
        poison_after: Some(3),
        ..JobOptions::default()
    };
    let mut job = Job::submitted(WIDE, options);
    for event in [
        "collected",
        "splits a 10",
        "written",
        "slots",
        "written",
        "written",
    ] {
        job.quietly(event);
    }
    job.quietly("ready a0#1");
    job.quietly("ready a1#1");
    let (mut checkpoints, mut failures) = (0, 0);
    for step in script.split(", ") {
        match step {
            "|" => {
                checkpoints += 1;
                job.checkpoint(checkpoints, &[]);
            }
            "L" => {
                let running: Vec<String> = job.attempts();
                let running: Vec<String> = running.iter().map(|a| format!("{a}=running")).collect();
                job = job.successor();
                job.quietly(&format!("collected {}", running.join(" ")));
            }
            failure => {
                failures += 1;
                let [subtask, place, message] = words(failure);
                let region = usize::from(subtask == "a1");
                let last = job.attempts()[region].clone();
                let actions = job.happens(&format!("failed-in {last} {place} {message}"));
                if let Some(fate) = actions.strip_prefix("log failing ") {
                    return format!("{failures}: {fate}");
                }
                for event in [
                    "written",
                    "quiesced",
                    &format!("wake {region}"),
                    "slots",
                    "written",
                ] {
                    job.quietly(event);
                }
                let next = job.attempts()[region].clone();
                job.quietly(&format!("ready {next}"));
            }
        }
        assert!(job.machine.is_running(), "{script}: {step}");
    }
    "lives".into()
}

#[test]
fn a_failure_that_comes_again_and_again_is_poison_and_fails_the_job() {
    let poison = |what: &str| {
        format!(
            "3: ({what}; poison: the same 3 times in a row with no checkpoint in between, so it is not tried again)"
        )
    };
    let table = [
        ("a0 map boom, a0 map boom, a0 map boom", poison("boom")),
        // The words may hold what changes, and runs may end elsewhere.
        (
            "a0 map@7 one, a0 map@7 two, a0 map@7 three",
            poison("three"),
        ),
        (
            "a0 map@7 boom, a0 map@8 boom, a0 map@9 boom",
            poison("boom"),
        ),
        ("a0 map@7 one, a0 map@8 two, a0 map@9 three", "lives".into()),
        ("a0 map one, a0 map two, a0 map three", "lives".into()),
        (
            "a0 map boom, a0 sink boom, a0 map boom, a0 map boom",
            "lives".into(),
        ),
        // It got further in between.
        (
            "a0 map boom, a0 map boom, |, a0 map boom, a0 map boom",
            "lives".into(),
        ),
        // One cause that hits every region at once is one failure of each.
        (
            "a0 sink full, a1 sink full, a0 sink full, a1 sink full",
            "lives".into(),
        ),
        // What a sink's target or a source's file can't do now it may do later.
        (
            "a0 sink! away, a0 sink! away, a0 sink! away, a0 sink! away",
            "lives".into(),
        ),
        (
            "a0 file!@7 away, a0 file!@7 away, a0 file!@7 away, a0 file!@7 away",
            "lives".into(),
        ),
        // The code of the job isn't to blame for a lost process.
        ("a0 - lost, a0 - lost, a0 - lost, a0 - lost", "lives".into()),
        (
            "a0 map boom, L, a0 map boom, L, a0 map boom",
            poison("boom"),
        ),
    ];
    for (script, expected) in table {
        assert_eq!(fate(script), expected, "{script}");
    }
}

#[test]
fn a_failure_that_no_restart_can_mend_fails_the_job_at_once() {
    Job::running(TWO).play(
        "failed! a0#1  | log failing (bad data)
         written       | cancel b0#1 c0#1 d0#1; quiesce
         canceled b0#1 |
         failed c0#1   |
         quiesced      |
         canceled d0#1 | log failed: bad data
         written       | finish none; ended failed: bad data",
    );
}
