//! Jobs that read two streams together do what their shapes promise.

use std::collections::BTreeSet;

use rivus_chaos::{JobSpec, Plan, Shape, simulate};

/// What an undisturbed job puts out.
fn lines(shape: Shape) -> Vec<(String, String)> {
    let spec = JobSpec::directed(shape, 7);
    let outcome = simulate(&spec, &Plan::undisturbed()).expect("the job runs");
    assert_eq!(outcome.violations, Vec::<String>::new());
    outcome.committed.main
}

#[test]
fn each_shape_makes_something_of_both_streams() {
    let rules = lines(Shape::BroadcastRules);
    let counts: BTreeSet<&str> = rules
        .iter()
        .filter_map(|(_, line)| line.split(' ').nth(1))
        .collect();
    assert!(
        counts.len() > 10,
        "rules come one after the other: {counts:?}"
    );
    let joined = lines(Shape::WindowJoin);
    for part in ["None+Some", "+None"] {
        assert!(joined.iter().any(|(_, line)| line.contains(part)), "{part}");
    }
    let pairs = lines(Shape::IntervalJoin);
    let apart = pairs
        .iter()
        .map(|(_, apart)| apart.parse::<i64>().expect("a number"));
    assert!(apart.clone().all(|apart| (-20..35).contains(&apart)));
    assert_eq!(apart.max(), Some(34));
}
