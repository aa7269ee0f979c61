//! A smaller set on threads and in real time, where no run is like another.

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;

use rivus_chaos::{JobSpec, Plan, References, Shape, hush, keep_everything, run_on_threads};

const SEEDS: u64 = 18;

/// Runs at a time. Jobs wait for their clock most of the time.
const AT_ONCE: usize = 6;

/// All seeds, or the one of `RIVUS_SEED`.
fn seeds() -> Range<u64> {
    let seed = std::env::var("RIVUS_SEED").ok();
    match seed.and_then(|seed| seed.parse::<u64>().ok()) {
        Some(seed) => {
            keep_everything();
            seed..seed + 1
        }
        None => 0..SEEDS,
    }
}

/// The job of a seed: shapes from all over the list, so that there are loops, requests and files among them.
fn job(seed: u64) -> JobSpec {
    let at = seed as usize * 7 % Shape::ALL.len();
    let spec = JobSpec::shaped(Shape::ALL[at], seed);
    JobSpec {
        rows: spec.rows.for_real(),
        ..spec
    }
}

/// Runs a seed. Returns how many kills hit a living actor.
fn run(seed: u64, references: &References) -> Result<u32, String> {
    let spec = job(seed);
    let plan = Plan::on_threads(seed, &spec);
    match references.check_by(&spec, &plan, run_on_threads) {
        Ok(outcome) => Ok(outcome.kills),
        Err(failed) => Err(format!(
            "seed {seed}: {}\n{}\nas likely as not again with: \
             RIVUS_SEED={seed} cargo test -p rivus-chaos --test threads -- --nocapture",
            failed.violations.join("\n"),
            failed.story
        )),
    }
}

#[test]
fn every_kind_of_shape_is_run_on_threads() {
    let shapes: BTreeSet<Shape> = (0..SEEDS).map(|seed| job(seed).shape).collect();
    assert_eq!(shapes.len() as u64, SEEDS, "shapes come twice");
    for wanted in [Shape::Looping, Shape::Async, Shape::Straight] {
        assert!(shapes.contains(&wanted), "{wanted:?} is not among them");
    }
    let written = shapes.iter().filter(|shape| shape.writes_files());
    assert!(written.count() > 2);
}

#[test]
fn on_threads_too_the_output_is_right() {
    hush();
    let references = References::default();
    let seeds = seeds();
    let results: Vec<Result<u32, String>> = thread::scope(|scope| {
        let lane = |lane| {
            let (references, seeds) = (&references, seeds.clone());
            move || -> Vec<_> {
                let seeds = seeds.skip(lane).step_by(AT_ONCE);
                seeds.map(|seed| run(seed, references)).collect()
            }
        };
        let lanes: Vec<_> = (0..AT_ONCE).map(|at| scope.spawn(lane(at))).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap())
            .collect()
    });
    let kills: u32 = results.iter().flatten().sum();
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(
        u64::from(kills) >= seeds.end - seeds.start,
        "only {kills} kills hit a living actor"
    );
}
