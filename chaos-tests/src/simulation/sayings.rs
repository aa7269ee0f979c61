//! What a job may say when it is asked for its state: whatever fails, it is what a first part of the key's records makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use rivus::{JobHandle, ListState, QueryError, Timestamp, Window};

use crate::jobs::{
    ASKED, BUCKETS, Barriers, JobSpec, Reading, Shape, SoFar, WINDOW, WINDOWS, bucket_end,
};

/// What is right, of each key.
pub(super) enum Sayings {
    /// The state of a rolling aggregate is one of these.
    Rolling(BTreeMap<u64, Vec<SoFar>>),
    /// The buckets that are closed, which are asked for by the state's name, are the first of these.
    Closed(BTreeMap<u64, Vec<Timestamp>>),
    /// The windows that are open are among these, and hold no more records than are told here.
    Open(BTreeMap<u64, BTreeMap<Timestamp, u64>>),
}

impl Sayings {
    /// Those of a job whose keys' records have an order, and count once.
    pub(super) fn of(spec: &JobSpec) -> Option<Self> {
        if spec.barriers == Barriers::PassBy {
            return None;
        }
        match spec.shape {
            Shape::Rolling | Shape::Packed => Some(Self::Rolling(first_parts(spec))),
            Shape::Timers => Some(Self::Closed(buckets(spec))),
            Shape::Tumbling => Some(Self::Open(windows(spec))),
            _ => None,
        }
    }

    pub(super) fn keys(&self) -> Vec<u64> {
        match self {
            Self::Rolling(parts) => parts.keys().copied().collect(),
            Self::Closed(ends) => ends.keys().copied().collect(),
            Self::Open(windows) => windows.keys().copied().collect(),
        }
    }

    /// Whether it is asked for a state by its name.
    pub(super) fn are_by_name(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Asks a job for a key. Returns what is wrong with the answer, if anything is; none if there is nothing to say.
    pub(super) async fn ask(
        &self,
        job: &JobHandle,
        key: u64,
    ) -> Result<Option<Result<(), String>>, QueryError> {
        Ok(match self {
            Self::Rolling(parts) => {
                let said: Option<SoFar> = job.query(ASKED, &key).await?;
                said.map(|said| right_if(parts[&key].contains(&said), &said))
            }
            Self::Closed(ends) => {
                let said: Option<ListState<Timestamp>> =
                    job.query_state(BUCKETS, "closed", &key).await?;
                said.map(|said| right_if(ends[&key].starts_with(said.as_slice()), &said))
            }
            Self::Open(windows) => {
                let said: Option<Vec<(Window, u64)>> = job.query(WINDOWS, &key).await?;
                let is_one = |(window, count): &(Window, u64)| {
                    let all = windows[&key].get(&window.start);
                    all.is_some_and(|all| (1..=*all).contains(count))
                };
                said.map(|said| right_if(said.iter().all(is_one), &said))
            }
        })
    }
}

fn right_if(is_right: bool, said: &impl Debug) -> Result<(), String> {
    match is_right {
        true => Ok(()),
        false => Err(format!("{said:?}")),
    }
}

/// What the first records of each key make, however many.
fn first_parts(spec: &JobSpec) -> BTreeMap<u64, Vec<SoFar>> {
    let mut parts: BTreeMap<u64, Vec<SoFar>> = BTreeMap::new();
    for reading in Reading::all(spec) {
        let parts = parts.entry(reading.key).or_default();
        let next = parts.last().cloned().unwrap_or_default().and(&reading);
        parts.push(next);
    }
    parts
}

/// The ends of each key's buckets, in the order in which they close.
fn buckets(spec: &JobSpec) -> BTreeMap<u64, Vec<Timestamp>> {
    let mut buckets: BTreeMap<u64, BTreeSet<Timestamp>> = BTreeMap::new();
    for reading in Reading::all(spec) {
        let buckets = buckets.entry(reading.key).or_default();
        buckets.insert(bucket_end(reading.ts));
    }
    let buckets = buckets.into_iter();
    buckets
        .map(|(key, ends)| (key, ends.into_iter().collect()))
        .collect()
}

/// The starts of each key's windows, and how many records they hold at last.
fn windows(spec: &JobSpec) -> BTreeMap<u64, BTreeMap<Timestamp, u64>> {
    let mut windows: BTreeMap<u64, BTreeMap<Timestamp, u64>> = BTreeMap::new();
    for reading in Reading::all(spec) {
        let windows = windows.entry(reading.key).or_default();
        let start = reading.ts - reading.ts.rem_euclid(WINDOW);
        *windows.entry(start).or_default() += 1;
    }
    windows
}
