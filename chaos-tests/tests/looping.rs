//! Loops under faults: what a checkpoint holds of them is restored, and nothing of it is lost or done twice.

use std::time::Duration;

use rivus::engine::ActorKind;
use rivus_chaos::{Arm, JobSpec, Kill, NamedRun, Plan, Rows, Shape, all_go_well, one_alone, runs};

/// Kills of subtasks while records are under way.
fn kills(seed: u64) -> Plan {
    let kill = |number: u64| Kill {
        kind: ActorKind::Subtask,
        arm: Arm::State(1),
        after: Duration::from_millis(40 + 270 * number + seed % 50),
    };
    Plan {
        seed,
        kills: (0..3).map(kill).collect(),
        ..Plan::default()
    }
}

#[test]
fn records_under_way_are_restored() {
    let of_seed = |seed: u64| {
        let spec = JobSpec {
            rows: [Rows::InMemory, Rows::InStandIn(1), Rows::InRocksDb(2_000)][seed as usize % 3],
            parallelism: 1 + seed as u32 % 2,
            wide: 1 + seed as u32 % 3,
            // Barriers wait behind records that each take a while.
            alignment_timeout: Duration::from_secs(5),
            ..JobSpec::directed(Shape::Looping, seed)
        };
        NamedRun::new(module_path!(), format!("kills/{seed}"), spec, kills(seed))
    };
    let mut with_records = 0;
    for (run, outcome) in all_go_well((0..12).map(of_seed).collect()) {
        let view = outcome.view.expect("was seen");
        assert!(view.restarts > 0, "nothing was hit: {run}");
        let restored = view
            .subtasks
            .iter()
            .map(|task| task.figures.restored_in_loop);
        with_records += u32::from(restored.sum::<u64>() > 0);
    }
    assert!(
        one_alone() || with_records > 8,
        "only {with_records} of 12 had records under way to restore"
    );
}

#[test]
fn whatever_a_seed_breaks_a_loop_ends_with_the_right_output() {
    let seeds = |shape| (0..runs(6)).map(move |seed| JobSpec::shaped(shape, seed));
    let specs = [Shape::Looping, Shape::Aligned].into_iter().flat_map(seeds);
    let runs = specs.map(|spec| NamedRun::of_seed(module_path!(), spec));
    all_go_well(runs.collect());
}
