//! Two jobs that write into one folder, each of which may go on as often as it likes: both have what they have undisturbed, and whoever
//! reads one's files while it runs sees nothing of the other.

use std::time::Duration;

use rivus::engine::ActorKind;
use rivus_chaos::{Arm, JobSpec, Kill, NamedRun, Outcome, Plan, Shape, all_go_well, one_alone};

/// Of the shapes that write files, one after the other.
fn shape(seed: u64) -> Shape {
    let mut written = Shape::ALL.into_iter().filter(|shape| shape.writes_files());
    let place = seed as usize % written.clone().count();
    written.nth(place).expect("there are some")
}

#[test]
fn whatever_a_seed_breaks_jobs_of_one_folder_have_their_own_files() {
    let of_seed = |seed| {
        let spec = JobSpec {
            neighbour: Some(Duration::from_millis(seed % 3 * 200)),
            ..JobSpec::shaped(shape(seed), seed)
        };
        NamedRun::of_seed(module_path!(), spec)
    };
    let runs = all_go_well((0..24).map(of_seed).collect());
    let restarted = runs.iter().filter(|(_, outcome)| {
        let view = outcome.view.as_ref();
        view.is_some_and(|view| view.restarts > 0)
    });
    assert!(one_alone() || restarted.count() > 6);
}

#[test]
fn whatever_dies_of_both_jobs_takes_nothing_of_the_other_along() {
    let of_seed = |seed| {
        let spec = JobSpec {
            neighbour: Some(Duration::ZERO),
            ..JobSpec::directed(shape(seed), seed)
        };
        let kill = |number: u64| Kill {
            kind: [ActorKind::JobTasks, ActorKind::TaskManager][number as usize % 2],
            arm: Arm::State(1),
            after: Duration::from_millis(35 + 290 * number + seed % 50),
        };
        let plan = Plan {
            seed,
            kills: (0..4).map(kill).collect(),
            ..Plan::default()
        };
        NamedRun::new(module_path!(), format!("both/{seed}"), spec, plan)
    };
    let runs = (0..8).map(of_seed);
    for (run, Outcome { kills, .. }) in all_go_well(runs.collect()) {
        assert!(kills >= 2, "{kills} kills hit a living actor: {run}");
    }
}
