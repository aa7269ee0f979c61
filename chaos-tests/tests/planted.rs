//! Defects planted on purpose: the suite has to catch each within its two hundred seeds.
//!
//! `cargo test -p rivus-chaos --test planted -- --nocapture`

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rivus::engine::{Defect, plant};
use rivus_chaos::{JobSpec, Plan, References, on_all_cores, simulate};

/// The budget of the normal run.
const SEEDS: u64 = 200;

/// Who found one when it was last looked for. They are asked first; where they find it no more, all others are.
const FINDERS: [(Defect, u64); 4] = [
    (Defect::LostCredit, 4),
    (Defect::CommitBeforeLog, 11),
    (Defect::BatchThroughAlignment, 56),
    (Defect::LostQueue, 40),
];

/// What a seed finds wrong with a defect, if anything. Each run has the defect planted afresh, and the
/// undisturbed run that it is compared with has none.
fn finds(references: &References, seed: u64, defect: Defect) -> Option<String> {
    let run = |spec: &JobSpec, plan: &Plan| {
        plant(Some(defect));
        let outcome = simulate(spec, plan);
        plant(None);
        outcome
    };
    let spec = JobSpec::of(seed);
    let failed = references
        .check_by(&spec, &Plan::of(seed, &spec), run)
        .err()?;
    let mut lines = failed
        .violations
        .iter()
        .filter_map(|violation| violation.lines().next());
    lines.next().map(str::to_owned)
}

#[test]
fn each_planted_defect_is_caught() {
    let defects = FINDERS.map(|(defect, _)| defect);
    let references = References::default();
    let caught: Mutex<BTreeMap<String, (u64, String)>> = Mutex::default();
    let lock = || caught.lock().unwrap_or_else(PoisonError::into_inner);
    let others = (0..SEEDS).flat_map(|seed| defects.map(|defect| (seed, defect)));
    let finders = FINDERS.map(|(defect, seed)| (seed, defect));
    on_all_cores(
        finders.into_iter().chain(others).collect(),
        |(seed, defect)| format!("{defect:?}, seed {seed}"),
        |(seed, defect)| {
            let name = format!("{defect:?}");
            // One seed is enough.
            if !lock().contains_key(&name)
                && let Some(found) = finds(&references, seed, defect)
            {
                lock().entry(name).or_insert((seed, found));
            }
        },
    );
    for (defect, (seed, violation)) in lock().iter() {
        println!("{defect} is caught by seed {seed}: {violation}");
    }
    for defect in defects {
        let name = format!("{defect:?}");
        assert!(
            lock().contains_key(&name),
            "{name} is not caught within {SEEDS} seeds"
        );
    }
}
