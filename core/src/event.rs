//! Records and their time.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Milliseconds since the epoch, in event time or in processing time.
pub type Timestamp = i64;

/// The watermark before any record: nothing is known.
pub const MIN_TIMESTAMP: Timestamp = i64::MIN;

/// The watermark after the last record: everything has been seen.
pub const MAX_TIMESTAMP: Timestamp = i64::MAX;

/// A record and the time at which it happened.
///
/// ```
/// use rivus_core::Event;
///
/// let click = Event::at(1_000, "ann").map(str::len);
/// assert_eq!((click.ts, click.value), (1_000, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename = "rivus.Event")]
pub struct Event<T> {
    /// Event time, milliseconds since the epoch. [`MIN_TIMESTAMP`] until one was assigned.
    pub ts: Timestamp,
    /// The record.
    pub value: T,
}

impl<T> Event<T> {
    /// A record at a time.
    pub fn at(ts: Timestamp, value: T) -> Self {
        Self { ts, value }
    }

    /// The same time, another record.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Event<U> {
        Event {
            ts: self.ts,
            value: f(self.value),
        }
    }
}

/// What can flow through a stream: anything serde can carry.
///
/// Implemented for every type that qualifies; never implemented by hand.
pub trait Record: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}

impl<T> Record for T where T: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {}

/// A record of a keyed stream, with the hash that its sender computed from the key.
///
/// The hash names the key group and probes the state table, so a key is hashed once on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "rivus.Hashed")]
pub struct Hashed<T> {
    /// [`key_hash`](crate::key_hash) of the record's key.
    pub hash: u64,
    /// The record.
    pub value: T,
}
