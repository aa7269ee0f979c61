//! How long a record takes from source to sink, through four actors, with state and checkpoints.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use rivus::{AggregateFunction, Event};
use serde::{Deserialize, Serialize};

use super::bid::Bid;
use super::comparison::verdict;
use super::job;
use super::meter::{self, Reading};
use super::observed::ObservedSink;
use super::source::{Bids, Pace};
use super::{Setup, at_least_one};

const BAR: Duration = Duration::from_millis(2);

/// How latency is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Records a second.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one::<u64>())]
    rate: u64,
    /// Keys of the state.
    #[arg(long, default_value_t = 500_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Bytes that each key's state holds beside its key.
    #[arg(long, default_value_t = 200)]
    value_bytes: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    seconds: u64,
    /// Milliseconds between checkpoints; 0: none.
    #[arg(long, default_value_t = 1_000)]
    checkpoint_ms: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            rate: 100_000,
            keys: 500_000,
            value_bytes: 200,
            seconds: 20,
            checkpoint_ms: 1_000,
        }
    }
}

/// When a record was read and when it had been due, nanoseconds.
type Times = (u64, u64);

/// Counts, keeps something large beside, and passes the record's times on.
#[derive(Clone)]
pub(crate) struct Weighty {
    pub(crate) bytes: usize,
}

/// What [`Weighty`] keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Weight {
    count: u64,
    last: Times,
    ballast: String,
}

impl AggregateFunction for Weighty {
    type In = Bid;
    type Acc = Weight;
    type Out = Times;

    fn create(&self) -> Weight {
        Weight {
            count: 0,
            last: (0, 0),
            ballast: "x".repeat(self.bytes),
        }
    }

    fn add(&self, weight: &mut Weight, bid: &Bid) {
        weight.count += 1;
        weight.last = (bid.auction, bid.time);
    }

    fn merge(&self, weight: &mut Weight, other: Weight) {
        weight.count += other.count;
    }

    fn result(&self, weight: &Weight) -> Times {
        weight.last
    }
}

/// What the sink has seen: from source to sink, and from when the record was due.
struct Seen {
    from_source: Histogram<u64>,
    from_due: Histogram<u64>,
}

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    println!(
        "\nlatency: source -> map -> keyed state -> sink, four actors; {} records/s, {} keys of {} bytes, \
         a checkpoint each {} ms",
        args.rate, args.keys, args.value_bytes, args.checkpoint_ms
    );
    let interval = (args.checkpoint_ms > 0).then(|| Duration::from_millis(args.checkpoint_ms));
    let env = job::environment(setup, 1, interval, false);
    let base = meter::now();
    let seen = Arc::new(Mutex::new(Seen {
        from_source: histogram()?,
        from_due: histogram()?,
    }));
    let measuring = Arc::new(AtomicBool::new(false));
    let observe = {
        let (seen, measuring) = (Arc::clone(&seen), Arc::clone(&measuring));
        move |_, run: &[Event<(String, Times)>]| {
            if measuring.load(Relaxed) {
                let now = base.elapsed().as_nanos() as u64;
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for event in run {
                    let (read, due) = event.value.1;
                    seen.from_source.saturating_record(now.saturating_sub(read));
                    seen.from_due.saturating_record(now.saturating_sub(due));
                }
            }
        }
    };
    env.from_source(Bids {
        records: u64::MAX,
        keys: args.keys,
        pace: Some(Pace {
            per_second: args.rate,
            base,
        }),
    })
    .map(|bid| bid)
    .key_by_ref(|bid| bid.user.as_str())
    .aggregate(Weighty {
        bytes: args.value_bytes,
    })
    .sink_to(ObservedSink::new(observe));
    let job = env.start("latency").await?;
    // The state is built up first; then everything settles.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = job.view();
    let reading = Reading::take();
    measuring.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    measuring.store(false, Relaxed);
    let used = reading.used();
    let view = job.view();
    let threads = meter::threads();
    job.cancel();
    let _ = job.wait().await;
    drop(env);
    meter::quiet().await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "  {} checkpoints in {:.1} s, last took {:?}; {} records at the sink; {:.0} % of a core; \
         {} threads; {} restarts, {} takeovers",
        view.checkpoints - before.checkpoints,
        used.wall.as_secs_f64(),
        view.last_checkpoint_took.unwrap_or_default(),
        seen.from_source.len(),
        used.cpu.as_secs_f64() / used.wall.as_secs_f64() * 100.0,
        threads,
        view.restarts,
        view.takeovers
    );
    for subtask in &view.subtasks {
        println!(
            "  {} {}: {} rows of state, last snapshot {:.1} MB",
            subtask.attempt,
            subtask.name,
            subtask.figures.state_rows,
            subtask.figures.snapshot_bytes as f64 / 1e6
        );
    }
    anyhow::ensure!(
        !seen.from_source.is_empty(),
        "no record reached the sink in time"
    );
    print_latency("from source to sink", &seen.from_source);
    print_latency("from when it was due", &seen.from_due);
    let p99 = Duration::from_nanos(seen.from_source.value_at_quantile(0.99));
    println!("  p99 {p99:.2?}; bar {BAR:?}: {}", verdict(p99 <= BAR));
    if let Some(due) = (args.seconds * 1_000).checked_div(args.checkpoint_ms) {
        let made = view.checkpoints - before.checkpoints;
        // One may have begun before, and one be under way.
        let in_time = made + 1 >= due;
        println!("  {made} of {due} checkpoints: {}", verdict(in_time));
    }
    Ok(())
}

/// Up to a minute, to three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn print_latency(what: &str, histogram: &Histogram<u64>) {
    let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile));
    println!(
        "  {what}: p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, max {:.2?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        Duration::from_nanos(histogram.max())
    );
}
