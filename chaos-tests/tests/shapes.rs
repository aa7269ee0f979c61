//! What the oracles take for granted of the jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use rivus_chaos::{
    Committed, JobSpec, NamedRun, Outcome, Plan, SECOND, Shape, all_go_well, counted, on_all_cores,
    runs, simulate,
};

fn undisturbed(spec: &JobSpec) -> Outcome {
    let outcome = simulate(spec, &Plan::undisturbed()).expect("the job runs");
    assert_eq!(outcome.violations, Vec::<String>::new());
    outcome
}

#[test]
fn nothing_is_no_reference_for_any_shape() {
    for shape in Shape::ALL {
        let spec = JobSpec::directed(shape, 1);
        let wrong = counted(&spec, &Committed::default());
        assert!(!wrong.is_empty(), "{shape:?}");
        let beside = JobSpec {
            neighbour: Some(Duration::ZERO),
            ..spec
        };
        let more = counted(&beside, &Committed::default()).len();
        assert_eq!(more, wrong.len() + 1);
    }
}

/// What the seeds of a shape have of something, among two hundred.
fn among_the_seeds<T: Debug>(shape: Shape, of: impl Fn(&JobSpec) -> T) -> BTreeSet<String> {
    let specs = (0..200).map(JobSpec::of);
    let specs = specs.filter(|spec| spec.shape == shape);
    specs.map(|spec| format!("{:?}", of(&spec))).collect()
}

#[test]
fn two_hundred_seeds_have_each_kind_of_what_a_shape_has_kinds_of() {
    for shape in Shape::ALL {
        let places = among_the_seeds(shape, |spec| spec.rows);
        assert_eq!(places.len(), 5, "{shape:?}: {places:?}");
    }
    let written = among_the_seeds(Shape::Packed, JobSpec::written);
    let inboxes = among_the_seeds(Shape::Watched, JobSpec::inbox);
    let feeds = among_the_seeds(Shape::Fed, JobSpec::is_replayed);
    let evictors = among_the_seeds(Shape::Evicted, |spec| spec.kind(3));
    let parts = |spec: &JobSpec| spec.records as usize / spec.feed_capacity();
    let capacities = among_the_seeds(Shape::Fed, parts);
    let aggregates = among_the_seeds(Shape::Aggregates, |spec| spec.kind(3));
    let kinds = [written, inboxes, feeds, capacities, evictors, aggregates];
    assert_eq!(kinds.map(|kinds| kinds.len()), [3, 3, 2, 3, 3, 3]);
}

#[test]
fn every_shape_puts_out_as_much_as_is_counted_without_it() {
    let specs = Shape::ALL.map(|shape| JobSpec::shaped(shape, 3)).to_vec();
    let name = |spec: &JobSpec| format!("{:?}", spec.shape);
    let wrong = on_all_cores(specs, name, |spec| {
        let mut committed = undisturbed(&spec).committed;
        let wrong = counted(&spec, &committed);
        assert_eq!(wrong, Vec::<String>::new(), "{:?}", spec.shape);
        // Half of it is not enough.
        let shelves = [
            &mut committed.main,
            &mut committed.serial,
            &mut committed.came,
        ];
        let _ = shelves.map(|lines| lines.truncate(lines.len() / 2));
        (spec.shape, counted(&spec, &committed))
    });
    let by_the_clock = [Shape::Clocked, Shape::Refiring];
    for (shape, wrong) in wrong {
        assert_eq!(wrong.is_empty(), by_the_clock.contains(&shape), "{shape:?}");
    }
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
            Some(spec.first_region().vertices.end),
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
    let run = |shape| undisturbed(&JobSpec::directed(shape, 1)).committed;
    let all = |lines: &[(String, String)]| -> Vec<Vec<u64>> {
        lines.iter().map(|(_, line)| members(line)).collect()
    };
    let sessions = run(Shape::Sessions);
    let found = all(&sessions.main);
    assert!(found.iter().any(|session| session.len() == 1));
    assert!(found.iter().any(|session| session.len() > 3));

    let found = all(&run(Shape::Evicted).main);
    // Of three records or six or nine all are left, or fewer.
    assert!(found.iter().any(|window| window.len() % 3 != 0));

    let found = all(&run(Shape::CountWindows).main);
    assert!(found.iter().all(|window| window.len() == 5));
}

#[test]
fn windows_that_may_fire_again_do() {
    let committed = undisturbed(&JobSpec::directed(Shape::Refiring, 1)).committed;
    let Committed {
        main,
        serial,
        late,
        came,
        ..
    } = &committed;
    for lines in [main, serial, late, came] {
        let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (key, line) in lines {
            let (start, _) = line.split_once(':').expect("a window");
            *times.entry((key, start)).or_default() += 1;
        }
        let again = times.values().filter(|times| **times > 1).count();
        assert!(again > 20, "{again} of {} windows", times.len());
    }
}

#[test]
fn every_key_is_told_every_rule_once_whether_it_was_there_or_came() {
    let spec = JobSpec::directed(Shape::CoGrouped, 1);
    let committed = undisturbed(&spec).committed;
    let told: Vec<Vec<u64>> = (committed.late.iter())
        .filter(|(key, _)| key.starts_with("rules "))
        .map(|(_, line)| {
            line.split(' ')
                .filter_map(|word| word.parse().ok())
                .collect()
        })
        .collect();
    let records: u64 = told.iter().map(|numbers| numbers[0]).sum();
    assert_eq!(records, spec.records);
    assert!(
        told.iter()
            .all(|numbers| numbers[1] > 20 && numbers[1] == numbers[2]),
        "{told:?}"
    );
    for (lines, part) in [
        (&committed.serial, "+None"),
        (&committed.serial, "None+"),
        (&committed.main, "[]"),
    ] {
        assert!(lines.iter().any(|(_, line)| line.contains(part)), "{part}");
    }
}

#[test]
fn whatever_a_seed_breaks_each_of_these_shapes_keeps_its_promise() {
    let shapes = [
        Shape::Clocked,
        Shape::Refiring,
        Shape::CoGrouped,
        Shape::Async,
        Shape::Watched,
    ];
    let specs = shapes
        .iter()
        .flat_map(|shape| (0..runs(6)).map(|seed| JobSpec::shaped(*shape, seed)));
    let runs = specs.map(|spec| NamedRun::of_seed(module_path!(), spec));
    all_go_well(runs.collect());
}
