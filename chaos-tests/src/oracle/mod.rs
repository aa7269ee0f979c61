//! What must be true of a run's output.

mod changed;
mod counted;
mod outside;
mod refired;

use std::collections::{BTreeMap, BTreeSet};

use crate::jobs::{Barriers, Committed, JobSpec, Line, Reading, Shape, fold, straightened};
use rivus::connectors::SplitMix;

pub use self::counted::counted;

/// Compares what the job alone has put out.
fn judge_own(spec: &JobSpec, undisturbed: &Committed, run: &Committed) -> Vec<String> {
    let may_repeat = spec.barriers == Barriers::PassBy;
    let mut wrong = match spec.shape {
        Shape::Fed if spec.is_replayed() => outside::replayed(spec, undisturbed, run),
        Shape::Fed => outside::at_most_once(run),
        Shape::Socket => outside::heard(&input(spec), run),
        Shape::Straight => same_by_key(&straightened(spec), &run.main),
        Shape::Clocked => [&run.main, &run.serial]
            .map(|lines| refired::by_the_clock(&input(spec), lines))
            .concat(),
        Shape::Refiring => [&run.main, &run.serial, &run.late, &run.came]
            .map(|lines| refired::mended(&input(spec), lines))
            .concat(),
        _ => match spec.is_confluent() {
            true if may_repeat => none_lost(&undisturbed.main, &run.main),
            true => [
                same_by_key(&undisturbed.main, &run.main),
                same_by_key(&undisturbed.serial, &run.serial),
                same_by_key(&undisturbed.late, &run.late),
            ]
            .concat(),
            false if may_repeat => each_somewhere(spec, run),
            false => accepted_and_serial(spec, run),
        },
    };
    if let Some(versions) = &run.versions {
        wrong.extend(changed::judge_versions(spec, versions));
    }
    wrong
}

/// Compares a run with the undisturbed one. Returns what is wrong.
pub fn judge(spec: &JobSpec, undisturbed: &Committed, run: &Committed) -> Vec<String> {
    let mut wrong = judge_own(spec, undisturbed, run);
    if let Some(begun_again) = &run.begun_again {
        let again = judge_own(spec, undisturbed, begun_again).into_iter();
        wrong.extend(again.map(|line| format!("the job from its savepoint: {line}")));
    }
    if spec.shape.writes_files() {
        // So at each moment what was committed of a key was a first part of it.
        let appeared = same_by_key(&undisturbed.main, &run.appeared);
        wrong.extend(
            appeared
                .into_iter()
                .map(|line| format!("as it appeared, {line}")),
        );
    }
    let beside = match spec.barriers == Barriers::PassBy {
        true => none_lost(&undisturbed.neighbour, &run.neighbour),
        false => same_by_key(&undisturbed.neighbour, &run.neighbour),
    };
    wrong.extend(
        beside
            .into_iter()
            .map(|line| format!("the job beside it: {line}")),
    );
    wrong
}

/// Compares a run that was ended with the undisturbed one: each key's lines are the first of those, and there are some. Returns
/// what is wrong.
pub fn judge_begun(undisturbed: &Committed, run: &Committed) -> Vec<String> {
    let mut wrong = [&run.main, &run.appeared]
        .map(|lines| begun(&undisturbed.main, lines))
        .concat();
    if run.main.is_empty() {
        wrong.push("nothing was committed before the end".into());
    }
    wrong
}

/// Each key has the first of the results that it should have, in the same order.
fn begun(expected: &[Line], found: &[Line]) -> Vec<String> {
    let (expected, found) = (by_key(expected), by_key(found));
    let is_begun = |key, found| expected.get(key).is_some_and(|all| all.starts_with(found));
    let keys = found.iter().filter(|(key, found)| !is_begun(*key, *found));
    keys.map(|(key, _)| difference(key, &expected, &found))
        .collect()
}

fn by_key(lines: &[Line]) -> BTreeMap<&str, Vec<&str>> {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in lines {
        keys.entry(key).or_default().push(value);
    }
    keys
}

/// Each key has the same results in the same order; so all of it is the same as a multiset.
fn same_by_key(expected: &[Line], found: &[Line]) -> Vec<String> {
    let (expected, found) = (by_key(expected), by_key(found));
    let keys: BTreeSet<&str> = expected.keys().chain(found.keys()).copied().collect();
    let differs = |key: &&str| expected.get(key) != found.get(key);
    keys.into_iter()
        .filter(differs)
        .map(|key| difference(key, &expected, &found))
        .collect()
}

fn difference(
    key: &str,
    expected: &BTreeMap<&str, Vec<&str>>,
    found: &BTreeMap<&str, Vec<&str>>,
) -> String {
    let nothing = Vec::new();
    let expected = expected.get(key).unwrap_or(&nothing);
    let found = found.get(key).unwrap_or(&nothing);
    let same = expected
        .iter()
        .zip(found)
        .take_while(|(e, f)| e == f)
        .count();
    format!(
        "key {key}: {} results instead of {}; from result {same} on there is {:?} instead of {:?}",
        found.len(),
        expected.len(),
        found.get(same),
        expected.get(same),
    )
}

/// Records counted by key and window.
fn counts(lines: &[Line]) -> BTreeMap<(&str, &str), u64> {
    let mut counts = BTreeMap::new();
    for (key, line) in lines {
        if let Some((window, count)) = line.split_once(':') {
            let count = count.parse::<u64>().unwrap_or_default();
            *counts.entry((key.as_str(), window)).or_default() += count;
        }
    }
    counts
}

/// Where records may come twice: every window has counted at least those that it should.
fn none_lost(expected: &[Line], found: &[Line]) -> Vec<String> {
    let found = counts(found);
    let mut wrong = Vec::new();
    for ((key, start), count) in counts(expected) {
        let counted = found.get(&(key, start)).copied().unwrap_or_default();
        if counted < count {
            wrong.push(format!(
                "window {start} of key {key} has counted {counted} records instead of {count}"
            ));
        }
    }
    wrong
}

/// Where records may come twice: each is accepted or late, in its own window, and aggregated.
fn each_somewhere(spec: &JobSpec, run: &Committed) -> Vec<String> {
    let input = input(spec);
    let (times, mut wrong) = accepted_or_late(&input, run);
    let folded = run.serial.iter();
    let folded = folded.filter_map(|(_, line)| line.split(' ').nth(1)?.parse().ok());
    let folded: BTreeSet<u64> = folded.collect();
    for id in input.keys() {
        if !times.contains_key(id) {
            wrong.push(format!("record {id} is neither accepted nor late"));
        }
        if !folded.contains(id) {
            wrong.push(format!("record {id} was never aggregated"));
        }
    }
    wrong.truncate(10);
    wrong
}

/// All records of all sources.
fn input(spec: &JobSpec) -> BTreeMap<u64, Reading> {
    let sources = (0..spec.sources()).flat_map(|source| of_source(spec, source));
    sources.map(|reading| (reading.id, reading)).collect()
}

/// The records of a source.
fn of_source(spec: &JobSpec, source: u64) -> Vec<Reading> {
    let make = |index| {
        let mut rng = SplitMix::of(spec.seed + source, index);
        let mut reading = Reading::generate(spec, index, &mut rng);
        reading.id += source * spec.records;
        reading
    };
    (0..spec.records).map(make).collect()
}

fn accepted_and_serial(spec: &JobSpec, run: &Committed) -> Vec<String> {
    let input = input(spec);
    let mut wrong = exactly_once(&input, run);
    for (key, results) in by_key(&run.serial) {
        if let Err(reason) = serial_order(key, &results, &input, spec.records) {
            wrong.push(format!("the rolling aggregate of key {key}: {reason}"));
        }
    }
    let folded: usize = run.serial.len();
    if folded != input.len() {
        wrong.push(format!(
            "{folded} records were aggregated instead of {}",
            input.len()
        ));
    }
    wrong.truncate(10);
    wrong
}

/// Accepted plus late records are the input, each exactly once and in its own window and key.
fn exactly_once(input: &BTreeMap<u64, Reading>, run: &Committed) -> Vec<String> {
    let (mut times, mut wrong) = accepted_or_late(input, run);
    for id in input.keys() {
        let found = times.remove(id).unwrap_or_default();
        if found != 1 {
            wrong.push(format!("record {id} is accepted or late {found} times"));
        }
    }
    wrong.extend(
        times
            .keys()
            .map(|id| format!("record {id} is not in the input")),
    );
    wrong
}

/// How often each record is accepted or late, and which are in a window of another time or key.
fn accepted_or_late(
    input: &BTreeMap<u64, Reading>,
    run: &Committed,
) -> (BTreeMap<u64, u32>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for (key, window) in &run.main {
        let Some((start, members)) = window.split_once(':') else {
            continue;
        };
        let start: i64 = start.parse().unwrap_or_default();
        for id in members.split(',').filter_map(|id| id.parse::<u64>().ok()) {
            *times.entry(id).or_default() += 1;
            let fits = input.get(&id).is_some_and(|reading| {
                reading.key.to_string() == *key && (start..start + 200).contains(&reading.ts)
            });
            if !fits {
                wrong.push(format!("record {id} is in window {start} of key {key}"));
            }
        }
    }
    for (_, id) in &run.late {
        *times.entry(id.parse().unwrap_or(u64::MAX)).or_default() += 1;
    }
    (times, wrong)
}

/// A key's rolling results follow from its records in some order, in which each source's records stand in
/// their own order.
fn serial_order(
    key: &str,
    results: &[&str],
    input: &BTreeMap<u64, Reading>,
    of_a_source: u64,
) -> Result<(), String> {
    let (mut folded, mut last) = (0, [None::<u64>; 2]);
    for (at, result) in results.iter().enumerate() {
        let fields: Vec<u64> = result.split(' ').filter_map(|f| f.parse().ok()).collect();
        let [count, id, told] = fields[..] else {
            return Err(format!("can't be read: {result}"));
        };
        let reading = input
            .get(&id)
            .filter(|reading| reading.key.to_string() == key);
        let reading = reading.ok_or(format!("record {id} is not of this key"))?;
        folded = fold(folded, reading);
        let source = (id / of_a_source) as usize;
        if count != at as u64 + 1 || told != folded {
            return Err(format!(
                "result {at} ({result}) does not follow from the ones before"
            ));
        }
        if last[source].is_some_and(|last| last >= id) {
            return Err(format!(
                "record {id} comes after {:?} of its own source",
                last[source]
            ));
        }
        last[source] = Some(id);
    }
    Ok(())
}
