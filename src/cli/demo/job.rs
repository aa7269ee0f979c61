//! The job of the demonstration: clicks of users, counted in sliding windows.
//!
//! A click is a function of the seed and its index alone, so both runs see the same ones. Event time
//! follows the index, shaken by up to [`DISORDER`].

use std::sync::Arc;
use std::time::Duration;

use rivus::connectors::{Collected, DiscardSink, GeneratorSource};
use rivus::{AggregateFunction, StreamEnvironment, WatermarkStrategy, WindowAssigner, Windowed};
use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// Subtasks of each step.
pub(super) const PARALLELISM: u32 = 2;
/// How many users click.
pub(super) const KEYS: u64 = 1_000;
/// By how many milliseconds clicks are out of order.
pub(super) const DISORDER: i64 = 50;
/// From one window to the next, in milliseconds.
pub(super) const SLIDE: i64 = 100;
/// Windows that each click belongs to.
const OVERLAP: i64 = 10;
/// The window's name, by which its subtasks are found in a view.
pub(super) const WINDOW: &str = "tallies";

/// What the job emits: how many clicks of a user lay in a window, and which.
pub(super) type Row = Windowed<u64, Tally>;

/// Which records are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub seed: u64,
    pub seconds: u64,
    pub rate: u64,
}

impl Plan {
    /// How many records there are.
    pub(super) fn records(self) -> u64 {
        self.seconds * self.rate
    }

    /// The sum of all windows' counts, if none is lost or counted twice.
    pub(super) fn counted(self) -> u64 {
        self.records() * OVERLAP as u64
    }

    /// The event time of a record before it is shaken.
    pub(super) fn time(self, index: u64) -> i64 {
        (index * 1_000 / self.rate) as i64
    }
}

/// A click of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Click {
    index: u64,
    user: u64,
    at: i64,
}

/// Which clicks there were: their number, and the sum of their scrambled indices. One that is lost and
/// another that is counted twice leave the number as it is, but not the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Tally {
    pub records: u64,
    pub fingerprint: u64,
}

#[derive(Clone)]
struct TallyClicks;

impl AggregateFunction for TallyClicks {
    type In = Click;
    type Acc = Tally;
    type Out = Tally;

    fn create(&self) -> Tally {
        Tally {
            records: 0,
            fingerprint: 0,
        }
    }

    fn add(&self, acc: &mut Tally, click: &Click) {
        let scrambled = (click.index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.merge(
            acc,
            Tally {
                records: 1,
                fingerprint: scrambled ^ (scrambled >> 29),
            },
        );
    }

    fn merge(&self, acc: &mut Tally, other: Tally) {
        acc.records += other.records;
        acc.fingerprint = acc.fingerprint.wrapping_add(other.fingerprint);
    }

    fn result(&self, acc: &Tally) -> Tally {
        *acc
    }
}

/// Writes the job; at its pace and measured if there is somebody to measure.
pub(super) fn write(
    env: &StreamEnvironment,
    plan: Plan,
    latency: Option<&Arc<Latency>>,
) -> Collected<Row> {
    let made = latency.cloned();
    let mut source = GeneratorSource::new(move |index, rng| {
        let at = plan.time(index) - rng.below(DISORDER as u64) as i64;
        if let Some(latency) = &made {
            latency.made(index, at);
        }
        // The smaller of two: some users click more than others.
        let user = rng.below(KEYS).min(rng.below(KEYS));
        Click { index, user, at }
    })
    .seed(plan.seed)
    .count(plan.records())
    .timestamps(|click| click.at);
    if latency.is_some() {
        source = source.rate(plan.rate);
    }
    let slide = Duration::from_millis(SLIDE as u64);
    let window = WindowAssigner::sliding(slide * OVERLAP as u32, slide);
    let disorder = Duration::from_millis(DISORDER as u64);
    let tallies = env
        .from_source(source)
        .name("clicks")
        .assign_watermarks(WatermarkStrategy::bounded_out_of_orderness(disorder))
        .key_by(|click| click.user)
        .window(window)
        .aggregate(TallyClicks)
        .name(WINDOW);
    if let Some(latency) = latency {
        let latency = Arc::clone(latency);
        let arrived = move |rows: &[rivus::Event<Row>]| latency.arrived(rows);
        tallies
            .sink_to(DiscardSink::new().probe(arrived))
            .name("latency");
    }
    tallies.collect()
}
