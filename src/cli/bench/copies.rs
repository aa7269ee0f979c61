//! What copying rows at their first touch costs at the least: two loops without an engine, a table each.
//!
//! The same records, keys and rows as in the engine's checkpoint. From an instant on, a row is copied before it first
//! changes; nothing is encoded, checked, stored or kept, and rows that nobody touches are passed over. No engine that saves a
//! row before it changes can lose less than this at the same pace.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::bid::{Draft, key_of};
use super::keyed::SameHash;
use super::meter;

const LOOPS: usize = 2;
const FRAME: usize = 60 << 10;

struct Row {
    count: u64,
    text: String,
    saved: bool,
}

#[derive(Default)]
struct Shared {
    records: [AtomicU64; LOOPS],
    frozen: AtomicBool,
    stop: AtomicBool,
}

/// Records of both loops and the nanoseconds since a beginning, by tenths of a second, and the sample at which rows
/// began to be copied.
pub(crate) struct Samples {
    pub(crate) samples: Vec<(u64, u64)>,
    pub(crate) frozen_at: usize,
}

/// Runs the loops for so many samples before the instant and after it.
pub(crate) async fn run(
    keys: u64,
    bytes: usize,
    sample: Duration,
    before: usize,
    after: usize,
) -> Samples {
    let shared = Arc::new(Shared::default());
    let loops: Vec<_> = (0..LOOPS as u64)
        .map(|own| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || count(own, keys, bytes, &shared))
        })
        .collect();
    // The pace counts when every row is there.
    let begun = |shared: &Shared| {
        shared
            .records
            .iter()
            .all(|records| records.load(Relaxed) > 0)
    };
    while !begun(&shared) && !loops.iter().any(thread::JoinHandle::is_finished) {
        tokio::time::sleep(sample).await;
    }
    let base = meter::now();
    let mut samples = Vec::new();
    for number in 0..=before + after {
        if number == before {
            shared.frozen.store(true, Relaxed);
        }
        let records = shared.records.iter().map(|records| records.load(Relaxed));
        samples.push((base.elapsed().as_nanos() as u64, records.sum()));
        tokio::time::sleep(sample).await;
    }
    shared.stop.store(true, Relaxed);
    for counting in loops {
        let _ = counting.join();
    }
    Samples {
        samples,
        frozen_at: before,
    }
}

/// Counts the records of one half of the keys.
fn count(own: u64, keys: u64, bytes: usize, shared: &Shared) {
    let half = keys / LOOPS as u64;
    let mut draft = Draft::new();
    let mut rows: HashMap<String, Row, BuildHasherDefault<SameHash>> = HashMap::default();
    let first = own * half;
    for key in first..first + half {
        let row = Row {
            count: 0,
            text: "x".repeat(bytes),
            saved: false,
        };
        rows.insert(draft.bid(key, key).user, row);
    }
    let mut frame: Vec<u8> = Vec::with_capacity(FRAME + bytes);
    let mut number = own;
    while !shared.stop.load(Relaxed) {
        let frozen = shared.frozen.load(Relaxed);
        for _ in 0..1_000 {
            let bid = black_box(draft.bid(number, first + key_of(number, half)));
            number += LOOPS as u64;
            let Some(row) = rows.get_mut(bid.user.as_str()) else {
                continue;
            };
            if frozen && !row.saved {
                row.saved = true;
                frame.extend_from_slice(row.text.as_bytes());
                if frame.len() >= FRAME {
                    black_box(&mut frame).clear();
                }
            }
            row.count += 1;
            black_box((bid.user.clone(), row.count));
        }
        shared.records[own as usize].fetch_add(1_000, Relaxed);
    }
}
