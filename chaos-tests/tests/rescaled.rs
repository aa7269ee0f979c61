//! Jobs that are rescaled in their midst, while leaders and tasks die: what they commit is the undisturbed run's.

use std::time::Duration;

use rivus::engine::{ActorKind, Step};
use rivus_chaos::{
    Arm, FAULTS, Injection, JobSpec, Move, NamedRun, Plan, Rows, Shape, WORKERS, all_go_well,
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
        // As long again as it takes until it is rescaled, and longer.
        records: 800,
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

/// Makes them all, each of which ends at the parallelism that it is rescaled to. Returns how often each had another leader.
fn check(runs: Vec<NamedRun>) -> Vec<(NamedRun, u32)> {
    let went_well = all_go_well(runs).into_iter();
    let takeovers = went_well.map(|(run, outcome)| {
        let view = outcome.view.expect("was seen");
        let wanted = run.plan.moves.and_then(|moves| moves.rescale_to);
        assert_eq!(view.parallelism, wanted, "{run}");
        (run, view.takeovers)
    });
    takeovers.collect()
}

#[test]
fn a_leader_dies_before_and_after_each_write_around_a_rescale() {
    let mut runs = Vec::new();
    for (at, (kind, step)) in STEPS.into_iter().enumerate() {
        for every in 1..=24 {
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
            let name = format!("{kind:?}/{step:?}/{fault:?}/{every}");
            runs.push(NamedRun::new(module_path!(), name, spec, plan));
        }
    }
    for (run, takeovers) in check(runs) {
        // A coordinator is followed by another under the same leader.
        let by_a_coordinator = !run.name.contains("Append");
        assert!(by_a_coordinator || takeovers > 0, "no leader died: {run}");
    }
}

#[test]
fn tasks_die_around_a_rescale() {
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
            let name = format!("{kind:?}/{step:?}/{fault:?}/{every}");
            runs.push(NamedRun::new(module_path!(), name, spec, plan));
        }
    }
    check(runs);
}
