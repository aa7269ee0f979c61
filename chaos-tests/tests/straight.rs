//! Jobs without an exchange: as many regions as subtasks, all of which share the splits of one source.

use std::time::Duration;

use rivus::RestartStrategy;
use rivus::engine::ActorKind;
use rivus_chaos::{Arm, JobSpec, Kill, NamedRun, Plan, Scope, Shape, all_go_well, one_alone};

/// A job of three regions, in one process.
fn three_regions(seed: u64) -> JobSpec {
    JobSpec {
        parallelism: 3,
        task_managers: 1,
        ..JobSpec::directed(Shape::Straight, seed)
    }
}

/// So many of a kind are killed, one after the other.
fn kills(kind: ActorKind, times: u64, scope: Scope, seed: u64) -> Plan {
    let kill = |number: u64| Kill {
        kind,
        arm: Arm::State(1),
        after: Duration::from_millis(35 + 290 * number + seed % 50),
    };
    Plan {
        seed,
        scope,
        kills: (0..times).map(kill).collect(),
        ..Plan::default()
    }
}

#[test]
fn a_region_that_dies_is_restarted_alone() {
    let of_seed = |seed| {
        let plan = kills(ActorKind::Subtask, 2, Scope::FirstRegion, seed);
        NamedRun::new(
            module_path!(),
            format!("region/{seed}"),
            three_regions(seed),
            plan,
        )
    };
    let runs = (0..8).map(of_seed);
    for (run, outcome) in all_go_well(runs.collect()) {
        assert!(outcome.confined, "{run}");
        let restarts = outcome.view.expect("was seen").restarts;
        assert_eq!(restarts, outcome.kills, "{run}");
    }
}

#[test]
fn when_everything_dies_every_split_is_read_once_all_the_same() {
    let kinds = [ActorKind::TaskManager, ActorKind::JobTasks];
    let of_seed = |seed| {
        let plan = kills(kinds[seed as usize % 2], 2, Scope::Everywhere, seed);
        NamedRun::new(
            module_path!(),
            format!("everything/{seed}"),
            three_regions(seed),
            plan,
        )
    };
    let runs = (0..8).map(of_seed);
    for (run, outcome) in all_go_well(runs.collect()) {
        let restarts = outcome.view.expect("was seen").restarts;
        assert!(restarts >= 3, "{restarts} regions were restarted: {run}");
    }
}

#[test]
fn whatever_a_seed_breaks_the_regions_share_what_there_is_to_read() {
    let of_seed = |seed| NamedRun::of_seed(module_path!(), JobSpec::shaped(Shape::Straight, seed));
    let runs = all_go_well((0..40).map(of_seed).collect());
    let by_strategy = |wanted: fn(&RestartStrategy) -> bool| {
        let specs = (0..40).map(|seed| JobSpec::shaped(Shape::Straight, seed));
        specs.filter(|spec| wanted(&spec.restart)).count()
    };
    assert!(by_strategy(|s| matches!(s, RestartStrategy::FixedDelay { .. })) > 4);
    assert!(by_strategy(|s| matches!(s, RestartStrategy::FailureRate { .. })) > 4);
    let confined = runs.iter().filter(|(_, outcome)| outcome.confined).count();
    assert!(
        one_alone() || confined > 6,
        "{confined} times one region was restarted"
    );
}

#[test]
fn what_runs_several_regions_dies_once_and_that_is_one_failure() {
    let of_kind = |kind| {
        let spec = JobSpec {
            restart: RestartStrategy::FixedDelay {
                attempts: 1,
                delay: Duration::from_millis(50),
            },
            ..three_regions(1)
        };
        let plan = kills(kind, 1, Scope::Everywhere, 1);
        NamedRun::new(module_path!(), format!("once/{kind:?}"), spec, plan)
    };
    let kinds = [ActorKind::TaskManager, ActorKind::JobTasks];
    for (run, outcome) in all_go_well(kinds.map(of_kind).to_vec()) {
        assert_eq!(outcome.kills, 1, "{run}");
        let restarts = outcome.view.expect("was seen").restarts;
        assert_eq!(restarts, 3, "not every region was restarted once: {run}");
    }
}
