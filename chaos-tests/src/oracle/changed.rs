//! What operators must have said that are there for the sake of other versions of the program.

use std::collections::BTreeMap;

use super::{by_key, of_source, same_by_key};
use crate::jobs::{JobSpec, Reading, Versioned, versioned};

/// The one that stays says of each record what follows from those before, whichever version it met. The one that has gone
/// numbers the first of each key's records, and the one that is new the rest, from one on.
pub(super) fn judge_versions(spec: &JobSpec, found: &Versioned) -> Vec<String> {
    let readings = of_source(spec, 0);
    let mut keys: BTreeMap<u64, Vec<&Reading>> = BTreeMap::new();
    for reading in &readings {
        keys.entry(reading.key).or_default().push(reading);
    }
    let gone = by_key(&found.gone);
    let mut expected = Versioned::default();
    for (key, readings) in &keys {
        let numbered = gone.get(key.to_string().as_str()).map_or(0, Vec::len);
        let Versioned { kept, gone, new } = versioned(readings, numbered);
        expected.kept.extend(kept);
        expected.gone.extend(gone);
        expected.new.extend(new);
    }
    [
        ("the one that stays", &expected.kept, &found.kept),
        ("the one that has gone", &expected.gone, &found.gone),
        ("the new one", &expected.new, &found.new),
    ]
    .into_iter()
    .flat_map(|(who, expected, found)| {
        let wrong = same_by_key(expected, found).into_iter();
        wrong.map(move |line| format!("{who}: {line}"))
    })
    .collect()
}
