//! Four chained stateless operators beside one fused loop.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rivus::Event;

use super::bid::{Bid, Draft, key_of};
use super::comparison::{Comparison, Pace};
use super::job;
use super::meter::{Reading, quiet};
use super::observed::ObservedSink;
use super::source::Bids;
use super::{Setup, at_least_one};

const BAR: f64 = 0.9;
const KEYS: u64 = 1_000;

/// Records of a run, about as the engine's.
const RUN: u64 = 256;

/// How the chain is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Records of each run.
    #[arg(long, default_value_t = 20_000_000, value_parser = at_least_one::<u64>())]
    records: u64,
    /// Rounds, each of every contestant.
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<u32>())]
    rounds: u32,
    /// Subtasks of the chain.
    #[arg(long, default_value_t = 1, value_parser = at_least_one::<u32>())]
    parallelism: u32,
    /// Only the engine, for a profile.
    #[arg(long)]
    engine_only: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            records: 20_000_000,
            rounds: 5,
            parallelism: 1,
            engine_only: false,
        }
    }
}

// The user's functions, one and the same for loop and engine.

fn to_euros(mut bid: Bid) -> Bid {
    bid.price = bid.price * 89 / 100;
    bid
}

fn is_serious(bid: &Bid) -> bool {
    bid.price >= 1 << 16
}

fn anonymous(mut bid: Bid) -> Bid {
    bid.user.truncate(9);
    bid
}

fn is_wanted(bid: &Bid) -> bool {
    !bid.auction.is_multiple_of(16)
}

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    println!(
        "\nstateless: source -> map -> filter -> map -> filter -> sink, chained, parallelism {}; \
         {} records, checkpoints each second",
        args.parallelism, args.records
    );
    if args.engine_only {
        for _ in 0..args.rounds {
            let pace = engine(setup, args, None).await?;
            println!("  {:.2} | {:.2}", pace.per_second(), pace.per_cpu());
        }
        return Ok(());
    }
    let expected = (0..args.records).fold((0, Draft::new()), |(kept, mut draft), number| {
        let bid = to_euros(draft.bid(number, key_of(number, KEYS)));
        let keeps = is_serious(&bid) && is_wanted(&anonymous(bid));
        (kept + u64::from(keeps), draft)
    });
    println!(
        "  {} of {} records get through the filters",
        expected.0, args.records
    );
    let mut comparison = Comparison::new(&["loop", "borrowed loop", "loop over runs", "engine"]);
    for _ in 0..args.rounds {
        let mut round = vec![
            owned(args.records),
            borrowed(args.records),
            over_runs(args.records),
        ];
        round.push(engine(setup, args, Some(expected.0)).await?);
        quiet().await;
        comparison.add(round);
    }
    comparison.conclude(BAR);
    Ok(())
}

#[inline(never)]
fn owned(records: u64) -> Pace {
    let reading = Reading::take();
    let mut draft = Draft::new();
    for number in 0..records {
        let bid = draft.bid(number, key_of(number, KEYS));
        let event = Event::at(bid.time as i64, black_box(bid)).map(to_euros);
        if !is_serious(&event.value) {
            continue;
        }
        let event = event.map(anonymous);
        if !is_wanted(&event.value) {
            continue;
        }
        black_box(event);
    }
    Pace {
        records,
        used: reading.used(),
    }
}

#[inline(never)]
fn borrowed(records: u64) -> Pace {
    let reading = Reading::take();
    let mut draft = Draft::new();
    for number in 0..records {
        let mut bid = black_box(draft.borrowed(number, key_of(number, KEYS)));
        bid.price = bid.price * 89 / 100;
        if bid.price < 1 << 16 {
            continue;
        }
        bid.user = &bid.user[..9];
        if bid.auction.is_multiple_of(16) {
            continue;
        }
        black_box(bid);
    }
    Pace {
        records,
        used: reading.used(),
    }
}

/// One operator after the other over runs as the engine's: what the engine could reach if it cost nothing itself.
#[inline(never)]
fn over_runs(records: u64) -> Pace {
    let reading = Reading::take();
    let mut draft = Draft::new();
    for first in (0..records).step_by(RUN as usize) {
        let numbers = first..records.min(first + RUN);
        let mut run: Vec<Event<Bid>> = Vec::with_capacity(RUN as usize);
        run.extend(numbers.map(|number| {
            let bid = draft.bid(number, key_of(number, KEYS));
            Event::at(bid.time as i64, bid)
        }));
        let run = black_box(run).into_iter();
        let mut run: Vec<_> = run.map(|event| event.map(to_euros)).collect();
        black_box(&mut run).retain(|event| is_serious(&event.value));
        let run = black_box(run).into_iter();
        let mut run: Vec<_> = run.map(|event| event.map(anonymous)).collect();
        black_box(&mut run).retain(|event| is_wanted(&event.value));
        black_box(run);
    }
    Pace {
        records,
        used: reading.used(),
    }
}

async fn engine(setup: &Setup, args: &Args, expected: Option<u64>) -> anyhow::Result<Pace> {
    let env = job::environment(setup, args.parallelism, Some(Duration::from_secs(1)), true);
    let arrived = Arc::new(AtomicU64::new(0));
    let observe = {
        let arrived = Arc::clone(&arrived);
        move |_, run: &[Event<Bid>]| {
            arrived.fetch_add(black_box(run).len() as u64, Relaxed);
        }
    };
    env.from_source(Bids {
        records: args.records,
        keys: KEYS,
        pace: None,
    })
    .map(to_euros)
    .filter(is_serious)
    .map(anonymous)
    .filter(is_wanted)
    .sink_to(ObservedSink::new(observe));
    let ran = job::run(env, "stateless").await?;
    if let Some(expected) = expected {
        job::ensure_arrived(&ran, arrived.load(Relaxed), expected)?;
    }
    println!(
        "  engine: {} checkpoints, {} threads",
        ran.result.view.checkpoints, ran.threads
    );
    Ok(Pace {
        records: args.records,
        used: ran.used,
    })
}
