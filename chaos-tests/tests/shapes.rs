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
