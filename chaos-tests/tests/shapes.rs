//! What the oracles take for granted of the jobs.

use rivus::JobView;
use rivus_chaos::{JobSpec, Plan, SECOND, Shape, simulate};

/// The last view of an undisturbed run, and its job.
fn undisturbed(shape: Shape, change: impl Fn(&mut JobSpec)) -> (JobSpec, JobView) {
    let mut spec = JobSpec::directed(shape, 1);
    change(&mut spec);
    let outcome = simulate(&spec, &Plan::undisturbed()).unwrap();
    assert_eq!(outcome.violations, Vec::<String>::new());
    (spec, outcome.view.unwrap())
}

#[test]
fn the_second_region_begins_with_the_second_source() {
    for chaining in [true, false] {
        let (spec, view) = undisturbed(Shape::TwoPipelines, |spec| spec.chaining = chaining);
        let sources = view.subtasks.iter().filter(|s| s.name.contains(SECOND));
        let begins = sources.map(|s| s.attempt.subtask.vertex.0).min();
        assert_eq!(
            begins,
            Some(spec.first_region().end),
            "chaining: {chaining}"
        );
    }
}
