//! Defects planted on purpose: the suite has to catch each within its two hundred seeds.
//!
//! `cargo test -p rivus-chaos --features planted-defects --test planted -- --nocapture`
#![cfg(feature = "planted-defects")]

use rivus::engine::{Defect, plant};
use rivus_chaos::{JobSpec, Plan, References, hush, simulate};

/// The budget of the normal run.
const SEEDS: u64 = 200;

/// So many of the seeds that catch a defect are looked for.
const NAMED: usize = 3;

/// The first seeds that catch a defect, with what they found. Each run has the defect planted afresh, and
/// the undisturbed run that it is compared with has none. One test for all: a defect is planted in the whole
/// process.
fn caught(defect: Defect) -> Vec<(u64, String)> {
    let references = References::default();
    let run = |spec: &JobSpec, plan: &Plan| {
        plant(Some(defect));
        let outcome = simulate(spec, plan);
        plant(None);
        outcome
    };
    let catches = |seed| {
        let spec = JobSpec::of(seed);
        let plan = Plan::of(seed, &spec);
        let failed = references.check_by(&spec, &plan, run).err()?;
        let what = failed
            .violations
            .iter()
            .find_map(|violation| violation.lines().next());
        Some((seed, what?.to_owned()))
    };
    (0..SEEDS).filter_map(catches).take(NAMED).collect()
}

#[test]
fn each_planted_defect_is_caught() {
    hush();
    let defects = [
        Defect::LostCredit,
        Defect::CommitBeforeLog,
        Defect::BatchThroughAlignment,
        Defect::LostQueue,
    ];
    let mut missed = Vec::new();
    for defect in defects {
        let caught = caught(defect);
        for (seed, violation) in &caught {
            println!("{defect:?} is caught by seed {seed}: {violation}");
        }
        if caught.is_empty() {
            missed.push(defect);
        }
    }
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS} seeds: {missed:?}"
    );
}
