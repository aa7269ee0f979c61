//! The same seed gives the same run, down to the last step; but for RocksDB, in whose place there is its stand-in here. And what a
//! command names is made again.

use rivus_chaos::{Ending, JobSpec, Move, NamedRun, Plan, Shape, on_all_cores, run_all, simulate};

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

/// Nothing is broken, and it is to end so.
fn undisturbed(name: &str, ending: Ending) -> NamedRun {
    let plan = Plan {
        ending,
        ..Plan::undisturbed()
    };
    let spec = JobSpec::directed(Shape::Tumbling, 1);
    NamedRun::new("straight", name.to_owned(), spec, plan)
}

#[test]
fn a_run_that_goes_wrong_prints_the_command_that_makes_it_again() {
    // It completes.
    let runs = vec![undisturbed("never/7", Ending::Failed)];
    let told = run_all(runs, None).expect_err("goes wrong");
    let (_, command) = told.rsplit_once("replay with: ").expect("a command");
    assert_eq!(
        command,
        "RIVUS_RUN='never/7' cargo test -p rivus-chaos --test straight -- --nocapture"
    );
}

#[test]
fn the_run_that_a_command_names_is_made_and_no_other() {
    let runs = ["ever/7", "ever/70", "never/7"].map(|name| undisturbed(name, Ending::Completed));
    let made = |name| run_all(runs.to_vec(), Some(name)).expect("goes well");
    let names = made("ever/7").into_iter().map(|(run, _)| run.name);
    assert_eq!(names.collect::<Vec<_>>(), ["ever/7"]);
    assert!(made("ever/8").is_empty());
}
