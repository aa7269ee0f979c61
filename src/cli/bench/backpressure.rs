//! Memory while a sink stands still under full load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rivus::{Count, Event, JobOptions};

use super::comparison::verdict;
use super::job;
use super::meter;
use super::observed::ObservedSink;
use super::source::Bids;
use super::{Setup, at_least_one};

const PARALLELISM: u32 = 2;

/// How backpressure is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys of the state.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Seconds for which the sink stands still.
    #[arg(long, default_value_t = 10, value_parser = at_least_one::<u64>())]
    seconds: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            keys: 100_000,
            seconds: 10,
        }
    }
}

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    // A worker for each subtask: the sink holds up nobody else while it sleeps.
    let setup = &Setup {
        workers: 2 * PARALLELISM as usize + 1,
        ..setup.clone()
    };
    println!(
        "\nbackpressure: source -> key_by -> count, 2x2, -> one sink that stops for {} s; {} keys",
        args.seconds, args.keys
    );
    let options = JobOptions::default();
    let receivers = u64::from(PARALLELISM + 1);
    let channels = u64::from(PARALLELISM * PARALLELISM + PARALLELISM);
    let budget = receivers * options.input_bytes as u64 + channels * options.batch_bytes as u64;
    let env = job::environment(setup, PARALLELISM, Some(Duration::from_secs(1)), true);
    let stopped = Arc::new(AtomicBool::new(false));
    let records = Arc::new(AtomicU64::new(0));
    let observe = {
        let (stopped, records) = (Arc::clone(&stopped), Arc::clone(&records));
        move |_, run: &[Event<(String, u64)>]| {
            while stopped.load(Relaxed) {
                pause(Duration::from_millis(10));
            }
            records.fetch_add(run.len() as u64, Relaxed);
        }
    };
    env.from_source(Bids {
        records: u64::MAX,
        keys: args.keys,
        pace: None,
    })
    .key_by_ref(|bid| bid.user.as_str())
    .aggregate(Count::new())
    .rebalance()
    .sink_to(ObservedSink::new(observe))
    .parallelism(1);
    let job = env.start("backpressure").await?;
    let print = |phase: &str| {
        let view = job.view();
        let resident = meter::resident_bytes();
        println!(
            "  {phase}: resident {:.1} MB; {} records at the sink; {} checkpoints",
            resident as f64 / 1e6,
            records.load(Relaxed),
            view.checkpoints
        );
        resident
    };
    let mut before = 0;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        before = before.max(print("running"));
    }
    stopped.store(true, Relaxed);
    let mut during = 0;
    for _ in 0..args.seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        during = during.max(print("stopped"));
    }
    stopped.store(false, Relaxed);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        print("running");
    }
    let grown = during.saturating_sub(before);
    let verdict = verdict(grown <= budget);
    println!(
        "  budget of what may be under way {:.1} MB ({receivers} receivers of {} KiB, a batch of at most {} KiB on each \
         of {channels} channels); resident memory has grown by {:.1} MB since the sink stopped: {verdict}",
        budget as f64 / 1e6,
        options.input_bytes >> 10,
        options.batch_bytes >> 10,
        grown as f64 / 1e6
    );
    job.cancel();
    let _ = job.wait().await;
    drop(env);
    meter::quiet().await;
    Ok(())
}

/// What a sink with a dead disk does.
#[allow(clippy::disallowed_methods)] // To stand still is what is measured.
fn pause(length: Duration) {
    std::thread::sleep(length);
}
