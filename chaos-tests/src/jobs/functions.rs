//! What the jobs compute: functions that notice a record lost, repeated or out of place.

use rivus::{
    AggregateFunction, Event, Keyed, KeyedProcessFunction, ListState, MapState, Output, StateSet,
    Timer, Timestamp, UserError, Window, WindowFunction,
};
use serde::{Deserialize, Serialize};

use super::records::Reading;

/// A key and what was found for it.
pub type Line = (String, String);

/// Mixes a record into what has been seen; depends on the order.
pub fn fold(seen: u64, record: &Reading) -> u64 {
    let mixed = seen.rotate_left(5) ^ (record.id * 1_000 + record.value);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a rolling aggregate says of a key's records so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoFar {
    /// How many.
    pub count: u64,
    /// The last one's number.
    pub last: u64,
    /// All of them, in order.
    pub fold: u64,
}

impl SoFar {
    /// With one more record.
    pub fn and(&self, record: &Reading) -> Self {
        Self {
            count: self.count + 1,
            last: record.id,
            fold: fold(self.fold, record),
        }
    }
}

/// Folds a key's records in their order.
#[derive(Clone)]
pub struct InOrder;

impl AggregateFunction for InOrder {
    type In = Reading;
    type Acc = SoFar;
    type Out = SoFar;

    fn create(&self) -> SoFar {
        SoFar::default()
    }

    fn add(&self, acc: &mut SoFar, value: &Reading) {
        *acc = acc.and(value);
    }

    fn merge(&self, acc: &mut SoFar, other: SoFar) {
        acc.count += other.count;
    }

    fn result(&self, acc: &SoFar) -> SoFar {
        acc.clone()
    }
}

/// Lists the records of a window.
#[derive(Clone)]
pub struct Members;

impl WindowFunction<u64, Reading> for Members {
    type Out = Vec<u64>;

    fn apply(
        &mut self,
        _key: &u64,
        _window: Window,
        records: Vec<Reading>,
        out: &mut Vec<Vec<u64>>,
    ) -> Result<(), UserError> {
        out.push(records.into_iter().map(|record| record.id).collect());
        Ok(())
    }
}

/// How much event time a bucket of [`Buckets`] gathers.
const BUCKET: Timestamp = 150;

/// The last moment of the bucket of a time.
pub fn bucket_end(ts: Timestamp) -> Timestamp {
    ts.div_euclid(BUCKET) * BUCKET + BUCKET - 1
}

/// State of [`Buckets`].
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
pub struct BucketState {
    /// Records by the end of their bucket.
    open: MapState<Timestamp, Vec<Reading>>,
    /// Ends of the buckets that have been emitted.
    closed: ListState<Timestamp>,
}

/// Gathers records in buckets by hand, with an event timer at each bucket's end.
#[derive(Clone)]
pub struct Buckets;

impl KeyedProcessFunction<u64, Reading> for Buckets {
    type Out = Line;
    type State = BucketState;

    fn process(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, BucketState>,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let end = bucket_end(event.ts);
        state.register_event_timer(end);
        state.open.entry(end).or_default().push(event.value);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, u64, BucketState>,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let records = state.open.remove(&timer.ts).unwrap_or_default();
        let folded = records.iter().fold(0, fold);
        let before = state.closed.len();
        state.closed.push(timer.ts);
        out.emit((
            state.key().to_string(),
            format!("{}: {} of {before}, {folded:x}", timer.ts, records.len()),
        ));
        Ok(())
    }
}
