//! What Apache Flink 2.3.0 took for the same queries: Nexmark's own source, queries and published configuration (mini-batch,
//! incremental checkpoints), on two cores; thousand events per CPU-second of the worker process, generator included.

use std::time::Duration;

use rivus_nexmark::{NexmarkConfig, Query};

use crate::run::{Backend, Measured};

const ROCKSDB: [Option<u64>; 23] = [
    Some(532),
    Some(544),
    Some(597),
    Some(442),
    Some(75),
    Some(115),
    None, // q6 doesn't run there
    Some(58),
    Some(348),
    Some(45),
    None, // q10 was not measured
    Some(74),
    Some(278),
    None, // nor q13
    Some(567),
    Some(154),
    Some(32),
    Some(278),
    Some(138),
    Some(88),
    Some(58),
    Some(257),
    Some(392),
];

/// Thousand events per CPU-second, where that was measured: of as many events, on as many cores, at the same rate.
pub(crate) fn flink(measured: &Measured) -> Option<u64> {
    let Measured { query, backend, .. } = *measured;
    let is_alike = measured.events == events(query)
        && measured.parallelism == 2
        && measured.rate == NexmarkConfig::default().events_per_second;
    let figure = match (backend, query.number()) {
        (Backend::Rocksdb, number) => ROCKSDB[usize::from(number)],
        (Backend::Memory, 5) => Some(210),
        (Backend::Memory, 8) => Some(386),
        (Backend::Memory, 11) => Some(257),
        (Backend::Memory, _) => None,
    };
    figure.filter(|_| is_alike)
}

/// How many events that run had.
pub(crate) fn events(query: Query) -> u64 {
    match query.number() {
        0..=3 | 8 | 14 | 21 | 22 => 20_000_000,
        5 | 12 | 15 | 17 => 10_000_000,
        _ => 5_000_000,
    }
}

/// At least three checkpoints are to be complete before the last event is made: what keeps little goes through all events in a second.
pub(crate) fn checkpoint_interval(query: Query) -> Duration {
    Duration::from_millis(match query.number() {
        3 => 40,
        7 | 11 => 70,
        0..=2 | 13 | 14 | 21 | 22 => 100,
        8 => 150,
        4 | 5 | 17 => 200,
        12 | 20 => 300,
        9 => 400,
        18 | 19 => 700,
        16 => 1_000,
        _ => 500,
    })
}
