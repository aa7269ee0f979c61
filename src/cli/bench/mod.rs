//! `rivus bench`: the project's bars, measured beside a hand-written loop in the same process.
//!
//! | subcommand | bar |
//! |---|---|
//! | `keyed` | source, `key_by`, count, sink at parallelism 2: at least 60 % of the loop, per CPU-second |
//! | `stateless` | four chained stateless operators: at least 90 % of the loop, per CPU-second |
//! | `latency` | 100,000 records/s, four actors, 100 MB of state, a checkpoint each second: p99 at most 2 ms |
//! | `checkpoint` | 1 GB of state: no pause over 50 ms, every second at least 70 % of the pace before |
//! | `backpressure` | a sink that stops for 10 s: memory stays within the configured budget |
//! | `state` | 10 million keys on RocksDB with 256 MiB: 200,000 read-modify-writes per CPU-second, 2 million on hot keys |
//! | `takeover` | the leader killed twenty times under full load: the median silence at a sink at most 3 times the usual, none over 250 ms |
//! | `lost` | a TaskManager killed with a spare at 500 MB of state: the first new output within 2 s |
//! | `across` | two TaskManager processes of one slot: at least 60 % of one of two, per CPU-second |
//! | `cycles` | a thousand jobs submitted and canceled: no descriptor, connection, slot or file is left, memory at most 5 % above that after a hundred |
//!
//! Loop and engine take turns, so that whatever else the machine does hits both; what counts is the
//! median of the ratios of neighbouring runs.

mod across;
mod backpressure;
mod bid;
mod checkpoint;
mod comparison;
mod copies;
mod cycles;
mod document;
mod job;
mod keyed;
mod latency;
mod lost;
mod meter;
mod observed;
mod probe;
mod processes;
mod rocks_loop;
mod source;
mod stalls;
mod state;
mod stateless;
mod takeover;

use std::path::PathBuf;

use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use clap::{Args as ClapArgs, Subcommand};
use rivus::Storage;

pub(crate) use self::across::windows;
pub(crate) use self::probe::probe;

/// Measure the engine on this machine.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    bench: Bench,
    /// Records in a full batch.
    #[arg(long, global = true, default_value_t = rivus::JobOptions::default().batch_records, value_parser = at_least_one::<usize>())]
    batch: usize,
    /// Directory for checkpoints; without it they are kept in memory.
    #[arg(long, global = true)]
    storage: Option<PathBuf>,
    /// Workers that subtasks run on; 0: one per core.
    #[arg(long, global = true, default_value_t = 0)]
    workers: usize,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A keyed count at parallelism 2 beside a loop, for 1,000 and for a million keys.
    Keyed(keyed::Args),
    /// Four chained stateless operators beside a loop.
    Stateless(stateless::Args),
    /// Latency through four actors with state and checkpoints.
    Latency(latency::Args),
    /// Throughput and pauses while a large state is checkpointed.
    Checkpoint(checkpoint::Args),
    /// Memory while a sink stands still.
    Backpressure(backpressure::Args),
    /// State on disk that is larger than its memory.
    State(state::Args),
    /// What a leader's death sounds like at a sink, with processes of this binary.
    Takeover(takeover::Args),
    /// What a TaskManager's death costs, with processes of this binary.
    Lost(lost::Args),
    /// Two TaskManagers of one slot beside one of two, with processes of this binary.
    Across(across::Args),
    /// What is left of jobs that are submitted and canceled, in processes of this binary.
    Cycles(cycles::Args),
    /// All of them, with their defaults.
    All,
}

/// Reads how many there are to be of something: with none there would be nothing to measure, or to wait for.
fn at_least_one<T: TryFrom<u64> + Clone + Send + Sync>() -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(1..)
}

/// What all benchmarks have in common.
#[derive(Debug, Clone)]
struct Setup {
    batch: usize,
    storage: Option<PathBuf>,
    workers: usize,
}

impl Setup {
    fn storage(&self) -> Storage {
        match &self.storage {
            Some(path) => Storage::Directory(path.clone()),
            None => Storage::Memory,
        }
    }
}

/// Runs what was asked for and prints figures.
///
/// # Errors
/// If a job can't be run.
pub fn run(args: Args) -> anyhow::Result<()> {
    let setup = Setup {
        batch: args.batch,
        storage: args.storage,
        workers: args.workers,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("can't start a runtime")?;
    job::print_machine(&setup);
    runtime.block_on(async {
        match args.bench {
            Bench::Keyed(args) => keyed::run(&setup, &args).await,
            Bench::Stateless(args) => stateless::run(&setup, &args).await,
            Bench::Latency(args) => latency::run(&setup, &args).await,
            Bench::Checkpoint(args) => checkpoint::run(&setup, &args).await,
            Bench::Backpressure(args) => backpressure::run(&setup, &args).await,
            Bench::State(args) => state::run(&setup, &args).await,
            Bench::Takeover(args) => takeover::run(&args).await,
            Bench::Lost(args) => lost::run(&args).await,
            Bench::Across(args) => across::run(&args).await,
            Bench::Cycles(args) => cycles::run(&args).await,
            Bench::All => {
                keyed::run(&setup, &keyed::Args::default()).await?;
                stateless::run(&setup, &stateless::Args::default()).await?;
                latency::run(&setup, &latency::Args::default()).await?;
                checkpoint::run(&setup, &checkpoint::Args::default()).await?;
                backpressure::run(&setup, &backpressure::Args::default()).await?;
                state::run(&setup, &state::Args::default()).await?;
                takeover::run(&takeover::Args::default()).await?;
                lost::run(&lost::Args::default()).await?;
                across::run(&across::Args::default()).await?;
                cycles::run(&cycles::Args::default()).await
            }
        }
    })
}
