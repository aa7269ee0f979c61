//! What must be true of records that come from outside and may not come again, and of what is sent there.

use std::collections::{BTreeMap, BTreeSet};

use super::{accepted_or_late, same_by_key};
use crate::jobs::{Committed, JobSpec, Line, Reading};

/// A feed that is read again: each process has all that it was given exactly once, and nobody's record is missing. An actor
/// is told everything exactly once by each process, and if it passes over repeats, once at all.
pub fn replayed(spec: &JobSpec, undisturbed: &Committed, run: &Committed) -> Vec<String> {
    let came = match came(run) {
        Ok(came) => came,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = in_order_of_delivery(&came, run);
    let all: BTreeSet<u64> = came.values().flatten().copied().collect();
    let missing = (0..spec.records).filter(|id| !all.contains(id));
    wrong.extend(missing.map(|id| format!("record {id} never came")));
    wrong.extend(all_of_the_last(&came, run, 0));
    let mut told = BTreeSet::new();
    let again = run.outside.told.iter().filter(|line| !told.insert(*line));
    wrong.extend(again.map(|(delivery, line)| {
        format!("the actor of process {delivery} was told {line:?} twice")
    }));
    wrong.extend(same_by_key(
        &once(&undisturbed.outside.told),
        &once(&run.outside.told),
    ));
    wrong.truncate(10);
    wrong
}

/// A feed that is not read again: what one process was given comes at most once, and what is lost is counted. An actor that
/// is told at once has heard what is committed.
pub fn at_most_once(run: &Committed) -> Vec<String> {
    let came = match came(run) {
        Ok(came) => came,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = in_order_of_delivery(&came, run);
    wrong.extend(all_of_the_last(&came, run, run.outside.lost));
    let told: BTreeSet<&Line> = run.outside.told.iter().map(|(_, line)| line).collect();
    let untold = run.came.iter().filter(|line| !told.contains(line));
    wrong.extend(untold.map(|line| format!("the actor was never told {line:?}")));
    wrong.truncate(10);
    wrong
}

/// Lines of a socket: of each connection a first part, since a failure loses what was heard after the last checkpoint; of
/// the last one all. Each that came is in its window, once.
pub fn heard(input: &BTreeMap<u64, Reading>, run: &Committed) -> Vec<String> {
    let came = match came(run) {
        Ok(came) => came,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = Vec::new();
    for (connection, came) in &came {
        let handed = run.outside.handed.get(connection);
        if !handed.is_some_and(|handed| handed.starts_with(came)) {
            wrong.push(format!(
                "of connection {connection} came {came:?}: no first part of {handed:?}"
            ));
        }
    }
    wrong.extend(all_of_the_last(&came, run, 0));
    let (times, elsewhere) = accepted_or_late(input, run);
    wrong.extend(elsewhere);
    let once: BTreeMap<u64, u32> = came.values().flatten().map(|id| (*id, 1)).collect();
    for id in times.keys().chain(once.keys()) {
        let (times, came) = (times.get(id), once.get(id));
        if times != came {
            wrong.push(format!(
                "record {id} came {came:?} times and is in {times:?} windows"
            ));
        }
    }
    wrong.truncate(10);
    wrong
}

/// What came, by delivery.
fn came(run: &Committed) -> Result<BTreeMap<u64, Vec<u64>>, String> {
    let mut deliveries: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (delivery, id) in &run.came {
        let (Ok(delivery), Ok(id)) = (delivery.parse(), id.parse()) else {
            return Err(format!("what came can't be read: {delivery} {id}"));
        };
        deliveries.entry(delivery).or_default().push(id);
    }
    Ok(deliveries)
}

/// Nothing of a delivery comes twice, or before what was handed over before it, or without having been.
fn in_order_of_delivery(came: &BTreeMap<u64, Vec<u64>>, run: &Committed) -> Vec<String> {
    let mut wrong = Vec::new();
    for (delivery, came) in came {
        let handed = run.outside.handed.get(delivery).into_iter().flatten();
        let mut handed = handed.copied();
        if let Some(id) = came.iter().find(|id| !handed.any(|other| other == **id)) {
            wrong.push(format!(
                "record {id} of delivery {delivery} came twice, out of order, or was never handed over"
            ));
        }
    }
    wrong
}

/// Of the last delivery all has come that isn't lost.
fn all_of_the_last(came: &BTreeMap<u64, Vec<u64>>, run: &Committed, lost: u64) -> Option<String> {
    let (delivery, handed) = run.outside.handed.last_key_value()?;
    let came = came.get(delivery).map_or(0, Vec::len) as u64;
    (came + lost != handed.len() as u64).then(|| {
        format!(
            "{came} records came of delivery {delivery}, which was the last, and {lost} are lost, of {}",
            handed.len()
        )
    })
}

/// What an actor that passes over repeats is told.
fn once(told: &[(u64, Line)]) -> Vec<Line> {
    let mut seen = BTreeSet::new();
    let first = told.iter().filter(|(_, line)| seen.insert(line));
    first.map(|(_, line)| line.clone()).collect()
}
