//! What the oracles take for granted of the jobs.

use rivus_chaos::{JobSpec, Outcome, Plan, SECOND, Shape, simulate};

fn undisturbed(spec: &JobSpec) -> Outcome {
    let outcome = simulate(spec, &Plan::undisturbed()).expect("the job runs");
    assert_eq!(outcome.violations, Vec::<String>::new());
    outcome
}

#[test]
fn the_second_region_begins_with_the_second_source() {
    for chaining in [true, false] {
        let spec = JobSpec {
            chaining,
            ..JobSpec::directed(Shape::TwoPipelines, 1)
        };
        let view = undisturbed(&spec).view.unwrap();
        let sources = view.subtasks.iter().filter(|s| s.name.contains(SECOND));
        let begins = sources.map(|s| s.attempt.subtask.vertex.0).min();
        assert_eq!(
            begins,
            Some(spec.first_region().end),
            "chaining: {chaining}"
        );
    }
}

#[test]
fn nobody_waits_for_a_source_subtask_that_is_idle() {
    let spec = JobSpec::directed(Shape::Idle, 1);
    let late = undisturbed(&spec).committed.late.len() as u64;
    // Windows were closed while it slept, so much of its half of the records came too late.
    assert!(late > spec.records / 8, "{late} are late");
}

/// The numbers of the records in a line of a window.
fn members(line: &str) -> Vec<u64> {
    let (_, members) = line.split_once(':').unwrap_or_default();
    let members = members.split_once(' ').map_or(members, |(of, _)| of);
    let ids = members.split(',').filter_map(|id| id.parse().ok());
    ids.collect()
}

#[test]
fn windows_of_every_kind_hold_what_they_should() {
    let run = |shape| {
        let spec = JobSpec::directed(shape, 1);
        (spec.records as usize, undisturbed(&spec).committed)
    };
    let all = |lines: &[(String, String)]| -> Vec<Vec<u64>> {
        lines.iter().map(|(_, line)| members(line)).collect()
    };
    let (records, sessions) = run(Shape::Sessions);
    let found = all(&sessions.main);
    assert_eq!(found.iter().map(Vec::len).sum::<usize>(), records);
    assert!(found.iter().any(|session| session.len() == 1));
    assert!(found.iter().any(|session| session.len() > 3));
    let counts = sessions.serial.iter().flat_map(|(_, line)| members(line));
    assert_eq!(counts.sum::<u64>() as usize, records);

    let (records, evicted) = run(Shape::Evicted);
    let found = all(&evicted.main);
    assert!(found.len() > records / 6);
    // Of three records or six or nine all are left, or fewer.
    assert!(found.iter().any(|window| window.len() % 3 != 0));

    let (records, counted) = run(Shape::CountWindows);
    let found = all(&counted.main);
    assert!(found.len() > records / 6);
    assert!(found.iter().all(|window| window.len() == 5));
    assert!(counted.serial.len() > records / 4);
}
