//! The same seed gives the same run, down to the last step; but for RocksDB, in whose place there is its stand-in here.

use rivus_chaos::{JobSpec, Move, Plan, on_all_cores, simulate};

fn job(seed: u64) -> (JobSpec, Plan) {
    let mut spec = JobSpec::of(seed);
    let mut plan = Plan::of(seed, &spec);
    spec.rows = spec.rows.stood_in();
    plan.moves = plan.moves.map(|moves| Move {
        onto: moves.onto.map(|rows| rows.stood_in()),
        ..moves
    });
    (spec, plan)
}

/// Runs a seed twice and compares the digests of everything that was seen.
fn replays(seed: u64) -> Result<(), String> {
    let (spec, plan) = job(seed);
    let run = || simulate(&spec, &plan).map_err(|error| error.to_string());
    let (one, other) = (run()?, run()?);
    if one.hash == other.hash && one.committed == other.committed {
        return Ok(());
    }
    let at = one.trace.iter().zip(&other.trace).position(|(a, b)| a != b);
    Err(format!(
        "seed {seed}: {} steps, then {}; the last {} differ from {at:?} on: {:?} and {:?}",
        one.seen,
        other.seen,
        one.trace.len(),
        at.map(|at| &one.trace[at]),
        at.map(|at| &other.trace[at]),
    ))
}

#[test]
fn the_same_seed_gives_the_same_event_hash_twice() {
    let results = on_all_cores((0..54).collect(), |seed| format!("seed {seed}"), replays);
    let differ: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn another_seed_gives_another_event_hash() {
    let hash = |seed| {
        let (spec, plan) = job(seed);
        simulate(&spec, &plan).unwrap().hash
    };
    assert_ne!(hash(1), hash(2));
}
