//! Jobs that are rescaled in their midst, while leaders and tasks die: what they commit is the undisturbed run's.

use std::time::Duration;

use rivus::engine::{ActorKind, Step};
use rivus_chaos::{
    Arm, FAULTS, Injection, JobSpec, Move, Plan, References, Rows, Shape, WORKERS, hush,
    on_all_cores,
};

/// A leader's step around something durable, or one that follows from it.
const STEPS: [(ActorKind, Step); 6] = [
    (ActorKind::JobMaster, Step::BeforeAppend),
    (ActorKind::JobMaster, Step::AfterAppend),
    (ActorKind::JobMaster, Step::Decide),
    (ActorKind::CheckpointCoordinator, Step::StoreManifest),
    (ActorKind::CheckpointCoordinator, Step::Complete),
    (ActorKind::CheckpointCoordinator, Step::Announce),
];

/// A job that is rescaled after some checkpoints, to twice its parallelism or half of it.
fn rescaled(rows: Rows, rescale_to: u32) -> (JobSpec, Plan) {
    let spec = JobSpec {
        wide: 4,
        rows,
        ..JobSpec::directed(Shape::Tumbling, 7)
    };
    let moves = Move {
        after: Duration::from_millis(250),
        before: 0,
        wide: 4,
        rescale_to: Some(rescale_to),
        onto: None,
        changed: None,
    };
    let plan = Plan {
        seed: 7,
        moves: Some(moves),
        ..Plan::default()
    };
    (spec, plan)
}

/// Runs them all; says which of them went wrong, and how. Returns how often each had another leader.
fn check(runs: Vec<(String, JobSpec, Plan)>) -> Vec<(String, u32)> {
    let references = References::default();
    let name = |run: &(String, JobSpec, Plan)| run.0.clone();
    let results = on_all_cores(runs, name, |(name, spec, plan)| {
        let checked = references.check(&spec, &plan);
        let outcome = checked.map_err(|failed| {
            format!("{name}: {}\n{}", failed.violations.join("; "), failed.story)
        })?;
        let view = outcome.view.ok_or_else(|| format!("{name}: no view"))?;
        let wanted = plan.moves.and_then(|moves| moves.rescale_to);
        if view.parallelism != wanted {
            return Err(format!(
                "{name}: it ended at parallelism {:?}",
                view.parallelism
            ));
        }
        Ok((name, view.takeovers))
    });
    let (takeovers, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    takeovers.into_iter().flatten().collect()
}

#[test]
fn a_leader_dies_before_and_after_each_write_around_a_rescale() {
    hush();
    let mut runs = Vec::new();
    for (at, (kind, step)) in STEPS.into_iter().enumerate() {
        for every in 1..=30 {
            let fault = FAULTS[(at + every as usize) % FAULTS.len()];
            let rows = [Rows::InStandIn(1), Rows::InMemory][every as usize % 2];
            let (spec, mut plan) = rescaled(rows, [1, 4][every as usize / 2 % 2]);
            plan.injections = vec![Injection {
                kind,
                step,
                entry: None,
                fault,
                arm: Arm::State(1),
                every,
                times: 2,
            }];
            runs.push((format!("{kind:?}/{step:?}/{fault:?}/{every}"), spec, plan));
        }
    }
    let takeovers = check(runs);
    // A coordinator is followed by another under the same leader.
    let spared = takeovers.iter().filter(|(_, count)| *count == 0);
    let spared: Vec<&String> = spared.map(|(name, _)| name).collect();
    let of_writes = spared.iter().filter(|name| name.contains("Append"));
    assert_eq!(of_writes.count(), 0, "no leader died in {spared:?}");
}

#[test]
fn tasks_die_around_a_rescale() {
    hush();
    let steps = Step::ALL.into_iter();
    let of_workers = steps.filter(|(kind, _)| WORKERS.contains(kind));
    let mut runs = Vec::new();
    for (at, (kind, step)) in of_workers.enumerate() {
        for every in [1, 3, 7] {
            let fault = FAULTS[(at + every as usize) % FAULTS.len()];
            let rows = [Rows::InStandIn(1), Rows::InMemory][at % 2];
            let (spec, mut plan) = rescaled(rows, [1, 4][(every as usize / 3) % 2]);
            plan.injections = vec![Injection {
                kind,
                step,
                entry: None,
                fault,
                arm: Arm::State(3),
                every,
                times: 3,
            }];
            runs.push((format!("{kind:?}/{step:?}/{fault:?}/{every}"), spec, plan));
        }
    }
    check(runs);
}
