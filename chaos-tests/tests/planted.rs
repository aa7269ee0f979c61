//! Defects planted on purpose: the suite has to catch each within its two hundred seeds.
//!
//! `cargo test -p rivus-chaos --features planted-defects --test planted -- --nocapture`
#![cfg(feature = "planted-defects")]

use rivus::engine::{Defect, plant};
use rivus_chaos::{check, hush};

/// The budget of the normal run.
const SEEDS: u64 = 200;

/// Plants a defect and looks for the first seed that catches it. One test for all: a defect is planted in
/// the whole process.
fn caught(defect: Defect) -> Option<(u64, String)> {
    plant(Some(defect));
    let found = (0..SEEDS).find_map(|seed| {
        let failed = check(seed).err()?;
        Some((seed, failed.violations.join("\n  ")))
    });
    plant(None);
    found
}

#[test]
fn each_planted_defect_is_caught() {
    hush();
    let defects = [
        Defect::LostCredit,
        Defect::CommitBeforeLog,
        Defect::BatchThroughAlignment,
    ];
    let mut missed = Vec::new();
    for defect in defects {
        match caught(defect) {
            Some((seed, violations)) => {
                println!("{defect:?} is caught by seed {seed}:\n  {violations}");
            }
            None => missed.push(defect),
        }
    }
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS} seeds: {missed:?}"
    );
}
