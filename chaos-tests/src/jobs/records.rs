//! The records that jobs read.

use std::fmt;
use std::str::FromStr;

use rivus::Timestamp;
use rivus::connectors::SplitMix;
use serde::{Deserialize, Serialize};

use super::spec::JobSpec;

/// Event time of the first record.
pub const FIRST: Timestamp = 1_000_000;

/// Event time from one record to the next.
const STEP: Timestamp = 5;

/// By how much records are out of order, at most.
pub const DISORDER: Timestamp = 40;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Its number: no two have the same.
    pub id: u64,
    /// Its key.
    pub key: u64,
    /// Its event time.
    pub ts: Timestamp,
    /// What it says.
    pub value: u64,
}

impl Reading {
    /// Record `index` of a job. All records of a key are in one split of the generator, so that their
    /// order is given.
    pub fn generate(spec: &JobSpec, index: u64, rng: &mut SplitMix) -> Self {
        let lanes = u64::from(spec.parallelism);
        // Some keys are hot, so that some channels are blocked while others are not.
        let key = rng.below(spec.keys).min(rng.below(spec.keys));
        Self {
            id: index,
            key: index % lanes + lanes * key,
            ts: FIRST + index as Timestamp * STEP - rng.below(DISORDER as u64) as Timestamp,
            value: rng.below(1_000),
        }
    }

    /// All records of a job.
    pub fn all(spec: &JobSpec) -> Vec<Self> {
        let make = |index| Self::generate(spec, index, &mut SplitMix::of(spec.seed, index));
        (0..spec.records).map(make).collect()
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.id, self.key, self.ts, self.value)
    }
}

impl FromStr for Reading {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("not a reading: {line}");
        let fields: Vec<&str> = line.split(',').collect();
        let [id, key, ts, value] = fields[..] else {
            return Err(bad());
        };
        Ok(Self {
            id: id.parse().map_err(|_| bad())?,
            key: key.parse().map_err(|_| bad())?,
            ts: ts.parse().map_err(|_| bad())?,
            value: value.parse().map_err(|_| bad())?,
        })
    }
}
