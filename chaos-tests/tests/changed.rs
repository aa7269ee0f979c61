//! Jobs that go on as another version of their program: an operator has gone, one is new, and state has another form. And jobs that
//! begin at a savepoint of one that went on. What they commit is the undisturbed run's, whoever dies meanwhile.

use std::time::Duration;

use rivus::engine::{ActorKind, Step};
use rivus_chaos::{
    Arm, Change, FAULTS, Injection, JobSpec, Move, Outcome, Plan, References, Rows, Shape, hush,
    on_all_cores,
};

const SEED: u64 = 5;

/// Where rows lie.
const PLACES: [Rows; 3] = [Rows::InMemory, Rows::InRocksDb(1), Rows::InStandIn(1)];

/// A run, and what it is called.
type Named = (String, JobSpec, Plan);

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

/// Runs them all; says which of them went wrong, and how.
fn all_right(runs: Vec<Named>) -> Vec<(Named, Outcome)> {
    hush();
    let references = References::default();
    let results = on_all_cores(
        runs,
        |run| run.0.clone(),
        |run| {
            let (name, spec, plan) = &run;
            match references.check(spec, plan) {
                Ok(outcome) => Ok((run, outcome)),
                Err(failed) => {
                    let violations = failed.violations.join("; ");
                    Err(format!("{name}: {violations}\n{}", failed.story))
                }
            }
        },
    );
    let (right, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let failed: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    right.into_iter().flatten().collect()
}

#[test]
fn a_job_of_every_shape_with_one_generator_goes_on_as_another_program() {
    let mut runs = Vec::new();
    let shapes = Shape::ALL.into_iter().filter(|shape| shape.is_generated());
    // Each change comes with rows in memory, and with rows in RocksDB.
    for (at, shape) in shapes.enumerate() {
        let (rows, change) = (PLACES[at % 2], Change::ALL[at % Change::ALL.len()]);
        let (spec, plan) = changed(shape, rows, change);
        runs.push((format!("{shape:?}, {rows:?}, {change:?}"), spec, plan));
    }
    for ((name, spec, _), outcome) in all_right(runs) {
        assert!(outcome.changed, "{name} is the same as ever");
        let versions = outcome.committed.versions.expect("there are several");
        assert!(!versions.gone.is_empty(), "{name}: nothing came before");
        assert!(!versions.new.is_empty(), "{name}: nothing came after");
        let begun_again = outcome.committed.begun_again.is_some();
        assert_eq!(begun_again, spec.may_begin_again(), "{name}");
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
        let name = format!("{kind:?}/{step:?}/{fault:?}/{every}, {change:?}");
        runs.push((name, spec, plan));
    }
    let all = runs.len();
    let outcomes = all_right(runs);
    let struck = outcomes.iter().filter(|run| !run.1.hits.is_empty()).count();
    let changed = outcomes.iter().filter(|run| run.1.changed).count();
    assert!(struck >= all * 3 / 4, "{struck} of {all} were struck");
    assert!(changed >= all * 3 / 4, "{changed} of {all} changed");
}
