//! The records of a key that may still meet others.

use std::collections::BTreeMap;

use rivus_core::{Event, Failure, Record, Timestamp};
use serde::{Deserialize, Serialize};

use super::Interval;

/// Pairs given between two looks at the buffer and the clock.
const STEP: usize = 64;

/// A stream's records of a key, by time; those of one time in the order in which they came.
pub(super) type Kept<T> = BTreeMap<Timestamp, Vec<T>>;

/// A key's row: the records that may still meet others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.Waiting", bound = "A: Record, B: Record")]
pub(super) struct Waiting<A, B> {
    pub(super) first: Kept<A>,
    pub(super) second: Kept<B>,
}

impl<A, B> Default for Waiting<A, B> {
    fn default() -> Self {
        Self {
            first: Kept::new(),
            second: Kept::new(),
        }
    }
}

/// The records with their times.
pub(super) fn events<T>(kept: &Kept<T>) -> Vec<Event<&T>> {
    let times = kept.iter();
    times
        .flat_map(|(ts, same)| same.iter().map(|value| Event::at(*ts, value)))
        .collect()
}

/// The watermark at which the earliest of some records meets no other any more.
fn expires<T>(kept: &Kept<T>, waits: i64) -> Option<Timestamp> {
    let (ts, _) = kept.first_key_value()?;
    Some(ts.saturating_add(waits))
}

/// Drops those that meet no other any more.
pub(super) fn drop_expired<T>(kept: &mut Kept<T>, waits: i64, watermark: Timestamp) {
    while expires(kept, waits).is_some_and(|expires| expires <= watermark) {
        kept.pop_first();
    }
}

impl<A, B> Waiting<A, B> {
    /// The watermark at which something of it is to go.
    pub(super) fn expires(&self, interval: Interval) -> Option<Timestamp> {
        let first = expires(&self.first, interval.first_waits());
        let second = expires(&self.second, interval.second_waits());
        first.into_iter().chain(second).min()
    }
}

/// Calls `each` for some of the records from one place to a time. Returns the place after them, unless all were met.
pub(super) fn some_of<T>(
    kept: &Kept<T>,
    from: (Timestamp, usize),
    until: Timestamp,
    mut each: impl FnMut(Event<&T>) -> Result<(), Failure>,
) -> Result<Option<(Timestamp, usize)>, Failure> {
    if from.0 > until {
        return Ok(None);
    }
    let mut left = STEP;
    for (ts, same) in kept.range(from.0..=until) {
        let met = if *ts == from.0 { from.1 } else { 0 };
        for (index, value) in same.iter().enumerate().skip(met) {
            if left == 0 {
                return Ok(Some((*ts, index)));
            }
            left -= 1;
            each(Event::at(*ts, value))?;
        }
    }
    Ok(None)
}
