//! What must be true of windows that fire by the clock, or more than once.

use std::collections::BTreeMap;

use super::by_key;
use crate::jobs::{Line, REFIRED, Reading};

/// The numbers of the records in a line, `start:1,2,3`, and where its window begins.
fn members(line: &str) -> (i64, Vec<u64>) {
    let (start, members) = line.split_once(':').unwrap_or_default();
    let ids = members.split(',').filter_map(|id| id.parse().ok());
    (start.parse().unwrap_or_default(), ids.collect())
}

/// Each key's records come one after the other, once. What still waits when the input ends gives nothing, so the last of
/// them may be missing; but not all of them.
pub fn by_the_clock(input: &BTreeMap<u64, Reading>, lines: &[Line]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut came = 0;
    for (key, lines) in by_key(lines) {
        let told: Vec<u64> = lines.iter().flat_map(|line| members(line).1).collect();
        came += told.len();
        let of_key = input
            .values()
            .filter(|reading| reading.key.to_string() == key);
        let all: Vec<u64> = of_key.map(|reading| reading.id).collect();
        if !all.starts_with(&told) {
            wrong.push(format!(
                "of key {key} came {told:?}: no first part of {all:?}"
            ));
        }
    }
    if came < input.len() / 4 {
        wrong.push(format!(
            "{came} records came by the clock, of {}",
            input.len()
        ));
    }
    wrong
}

/// What a window gives holds what it gave before, and at last all of its records.
pub fn mended(input: &BTreeMap<u64, Reading>, lines: &[Line]) -> Vec<String> {
    let mut windows: BTreeMap<(String, i64), Vec<u64>> = BTreeMap::new();
    for reading in input.values() {
        let start = reading.ts.div_euclid(REFIRED) * REFIRED;
        let window = windows.entry((reading.key.to_string(), start));
        window.or_default().push(reading.id);
    }
    let mut wrong = Vec::new();
    let mut last: BTreeMap<(String, i64), Vec<u64>> = BTreeMap::new();
    for (key, line) in lines {
        let (start, given) = members(line);
        let before = last.entry((key.clone(), start)).or_default();
        if !given.starts_with(before) {
            wrong.push(format!(
                "window {start} of key {key} gave {before:?}, and then {given:?}"
            ));
        }
        *before = given;
    }
    for (window, records) in &windows {
        let given = last.remove(window);
        if given.as_ref() != Some(records) {
            wrong.push(format!(
                "window {window:?} gave {given:?} at last, not {records:?}"
            ));
        }
    }
    wrong.extend(
        last.keys()
            .map(|window| format!("window {window:?} has no records")),
    );
    wrong.truncate(10);
    wrong
}
