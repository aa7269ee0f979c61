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
    let spec = JobSpec::directed(Shape::Connected, 7);
    let told = lines(Shape::Connected);
    let counts = told.iter().filter_map(|(_, line)| line.split(' ').nth(1));
    let told: u64 = counts.filter_map(|count| count.parse::<u64>().ok()).sum();
    assert_eq!(told, 2 * spec.records);
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
    let pairs = joined.iter().filter(|(_, line)| !line.contains("None"));
    assert!(pairs.count() > 1_000);
    let pairs = lines(Shape::IntervalJoin);
    assert!(pairs.len() > 1_000);
    let apart = pairs
        .iter()
        .map(|(_, apart)| apart.parse::<i64>().expect("a number"));
    assert!(apart.clone().all(|apart| (-20..35).contains(&apart)));
    assert_eq!(apart.max(), Some(34));
    let counted = lines(Shape::Partitioned);
    let counts = counted.iter().filter_map(|(_, line)| line.split_once(':'));
    let counted: u64 = counts
        .filter_map(|(_, count)| count.parse::<u64>().ok())
        .sum();
    assert_eq!(counted, spec.records);
}
