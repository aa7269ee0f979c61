//! Jobs that go on as another version of their program: an operator has gone, one is new, and state has another form. And jobs that
//! begin at a savepoint of one that went on. What they commit is the undisturbed run's, whoever dies meanwhile.

use std::time::Duration;

use rivus::engine::{ActorKind, Step};
use rivus_chaos::{
    Arm, Change, FAULTS, Injection, JobSpec, Move, NamedRun, Plan, Rows, Shape, all_go_well,
};

const SEED: u64 = 5;

/// Where rows lie.
const PLACES: [Rows; 3] = [Rows::InMemory, Rows::InRocksDb(1), Rows::InStandIn(1)];

/// A short job that is stopped after about a quarter of its time, behind a savepoint with which it goes on.
fn changed(shape: Shape, rows: Rows, change: Change) -> (JobSpec, Plan) {
    let spec = JobSpec {
        rows,
        records: 256,
        // Not with the bursts: what the last one gave is still to be committed when the savepoint is made.
        checkpoint_interval: Duration::from_millis(100),
        // Barriers wait behind requests, and behind what goes round in a loop.
        alignment_timeout: Duration::from_secs(5),
        ..JobSpec::directed(shape, SEED)
    };
    let moves = Move {
        after: spec.lasts() / 4 + Duration::from_millis(5),
        before: 1,
        wide: 3,
        rescale_to: None,
        onto: None,
        changed: Some(change),
    };
    let plan = Plan {
        seed: SEED,
        moves: Some(moves),
        ..Plan::default()
    };
    (spec, plan)
}

#[test]
fn a_job_of_every_shape_with_one_generator_goes_on_as_another_program() {
    let mut runs = Vec::new();
    let shapes = Shape::ALL.into_iter().filter(|shape| shape.is_generated());
    // Each change comes with rows in memory, and with rows in RocksDB.
    for (at, shape) in shapes.enumerate() {
        let (rows, change) = (PLACES[at % 2], Change::ALL[at % Change::ALL.len()]);
        let (spec, plan) = changed(shape, rows, change);
        let name = format!("{shape:?}/{rows:?}/{change:?}");
        runs.push(NamedRun::new(module_path!(), name, spec, plan));
    }
    for (run, outcome) in all_go_well(runs) {
        assert!(outcome.changed, "it is the same as ever: {run}");
        let versions = outcome.committed.versions.expect("there are several");
        assert!(!versions.gone.is_empty(), "nothing came before: {run}");
        assert!(!versions.new.is_empty(), "nothing came after: {run}");
        let begun_again = outcome.committed.begun_again.is_some();
        assert_eq!(begun_again, run.spec.may_begin_again(), "{run}");
    }
}

#[test]
fn whoever_dies_while_a_job_becomes_another_program_nothing_is_lost() {
    let mut runs = Vec::new();
    let writes = [Step::BeforeAppend, Step::AfterAppend].map(|step| (ActorKind::JobMaster, step));
    let first = Step::ALL.map(|cell| (cell, 1));
    let later = writes.map(|cell| [2, 4].map(|every| (cell, every)));
    let strikes = first.into_iter().chain(later.into_iter().flatten());
    for (at, ((kind, step), every)) in strikes.enumerate() {
        let shape = [Shape::Tumbling, Shape::Rolling][at / 2 % 2];
        let change = Change::ALL[at / PLACES.len() % Change::ALL.len()];
        let (spec, mut plan) = changed(shape, PLACES[at % PLACES.len()], change);
        let fault = FAULTS[(at + at / 3 + at / 9) % FAULTS.len()];
        plan.moves = plan.moves.map(|moves| Move {
            before: u32::from(at % 6 == 0),
            ..moves
        });
        plan.injections = vec![Injection {
            kind,
            step,
            entry: None,
            fault,
            arm: Arm::Moving,
            every,
            times: 2,
        }];
        let name = format!("{kind:?}/{step:?}/{fault:?}/{every}/{change:?}");
        runs.push(NamedRun::new(module_path!(), name, spec, plan));
    }
    let outcomes = all_go_well(runs);
    let all = outcomes.len();
    let struck = outcomes.iter().filter(|run| !run.1.hits.is_empty()).count();
    let changed = outcomes.iter().filter(|run| run.1.changed).count();
    assert!(struck >= all * 3 / 4, "{struck} of {all} were struck");
    assert!(changed >= all * 3 / 4, "{changed} of {all} changed");
}
