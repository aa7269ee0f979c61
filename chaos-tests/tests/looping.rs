//! Loops under faults: what a checkpoint holds of them is restored, and nothing of it is lost or done twice.

use std::time::Duration;

use rivus::engine::ActorKind;
use rivus_chaos::{Arm, JobSpec, Kill, Outcome, Plan, References, Rows, Shape, on_all_cores, runs};

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

/// The run under the plan, which must have come to what the undisturbed one does.
fn judged(spec: &JobSpec, plan: &Plan) -> Outcome {
    match References::default().check(spec, plan) {
        Ok(outcome) => outcome,
        Err(failed) => panic!(
            "seed {}: {:?}\n{}",
            failed.seed, failed.violations, failed.story
        ),
    }
}

#[test]
fn records_under_way_are_restored() {
    let name = |seed: &u64| format!("seed {seed}");
    let with_records = on_all_cores((0..12).collect(), name, |seed| {
        let spec = JobSpec {
            rows: [Rows::InMemory, Rows::InStandIn(1), Rows::InRocksDb(2_000)][seed as usize % 3],
            parallelism: 1 + seed as u32 % 2,
            wide: 1 + seed as u32 % 3,
            // Barriers wait behind records that each take a while.
            alignment_timeout: Duration::from_secs(5),
            ..JobSpec::directed(Shape::Looping, seed)
        };
        let outcome = judged(&spec, &kills(seed));
        let view = outcome.view.as_ref().expect("was seen");
        assert!(view.restarts > 0, "seed {seed}: nothing was hit");
        let restored = view
            .subtasks
            .iter()
            .map(|task| task.figures.restored_in_loop);
        restored.sum::<u64>() > 0
    });
    let with_records = with_records.into_iter().filter(|with| *with).count();
    assert!(
        with_records > 8,
        "only {with_records} of 12 had records under way to restore"
    );
}

#[test]
fn whatever_a_seed_breaks_a_loop_ends_with_the_right_output() {
    let seeds = |shape| (0..runs(6)).map(move |seed| JobSpec::shaped(shape, seed));
    let specs = [Shape::Looping, Shape::Aligned].into_iter().flat_map(seeds);
    let name = |spec: &JobSpec| format!("{:?}, seed {}", spec.shape, spec.seed);
    on_all_cores(specs.collect(), name, |spec| {
        judged(&spec, &Plan::of(spec.seed, &spec));
    });
}
