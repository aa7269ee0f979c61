//! Jobs that are stopped in their midst and go on on the other backend: what they commit is the undisturbed run's.

use std::time::Duration;

use rivus_chaos::{JobSpec, Move, NamedRun, Plan, Rows, Shape, all_go_well};

const SEED: u64 = 5;

#[test]
fn a_job_of_every_shape_goes_on_on_the_other_backend() {
    let (memory, disk) = (Rows::InMemory, Rows::InRocksDb(1));
    let both = [(memory, disk), (disk, memory)];
    let shapes = Shape::ALL.into_iter();
    let runs = shapes.flat_map(|shape| both.map(|(rows, onto)| moved(shape, rows, onto)));
    for (run, outcome) in all_go_well(runs.collect()) {
        assert!(outcome.moved_over, "it didn't move: {run}");
    }
}

/// A short job that is stopped after about a quarter of its time.
fn moved(shape: Shape, rows: Rows, onto: Rows) -> NamedRun {
    let spec = JobSpec {
        rows,
        records: 600,
        // Barriers wait behind requests, and behind what goes round in a loop.
        alignment_timeout: Duration::from_secs(5),
        ..JobSpec::directed(shape, SEED)
    };
    let moves = Move {
        after: spec.lasts() / 4,
        before: 1,
        wide: 3,
        rescale_to: None,
        onto: Some(onto),
        changed: None,
    };
    let plan = Plan {
        seed: SEED,
        moves: Some(moves),
        ..Plan::default()
    };
    NamedRun::new(module_path!(), format!("{shape:?}/{rows:?}"), spec, plan)
}
