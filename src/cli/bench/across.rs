//! What it costs that a job lies in two processes: the same job in two TaskManagers of one slot each, and in one of two, in turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use rivus::connectors::GeneratorSource;
use rivus::{
    DataStream, Event, JobArgs, StreamEnvironment, UserError, WatermarkStrategy, WindowAssigner,
};
use serde_json::Value;

use super::at_least_one;
use super::bid::{Bid, Draft, key_of};
use super::comparison::verdict;
use super::meter;
use super::observed::ObservedSink;
use super::processes::{Directory, JobManager, Process};

/// Two processes must do so many percent of what one does.
const BAR: f64 = 60.0;

/// Before a job is under way.
const WARMING: Duration = Duration::from_secs(4);

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Turns of each.
    #[arg(long, default_value_t = 3, value_parser = at_least_one::<u32>())]
    rounds: u32,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 10, value_parser = at_least_one::<u64>())]
    seconds: u64,
    /// Keys of the bids.
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Where the processes keep their storage.
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            rounds: 3,
            seconds: 10,
            keys: 10_000,
            directory: None,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Counts in sliding windows.
    Count,
    /// Joins two streams in tumbling windows.
    Join,
}

#[derive(Parser)]
struct Windows {
    /// What to do in windows
    kind: Kind,
    /// Keys of the bids
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
}

/// Records of one millisecond of event time.
const PER_MILLISECOND: u64 = 100;

fn bids(env: &StreamEnvironment, name: &str, keys: u64) -> DataStream<Bid> {
    let bids = GeneratorSource::new(move |n, _| {
        let mut bid = Draft::new().bid(n, key_of(n, keys));
        bid.time = n / PER_MILLISECOND;
        bid
    });
    let times = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(1))
        .with_timestamps(|bid: &Bid| bid.time as i64);
    env.from_source(bids)
        .uid(name)
        .assign_watermarks(times)
        .uid(&format!("{name} times"))
}

/// Bids in windows, as many as it can.
pub(crate) fn windows(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let Windows { kind, keys } = args.parse()?;
    if keys == 0 {
        return Err("--keys is 0: give more".into());
    }
    let first = bids(env, "bids", keys);
    let observe = |_: u32, _: &[Event<u64>]| {};
    let out = match kind {
        Kind::Count => {
            let sliding = WindowAssigner::sliding(Duration::from_secs(10), Duration::from_secs(2));
            let counts = first.key_by_ref(|bid| bid.user.as_str()).window(sliding);
            counts.count().uid("counts").map(|row| row.value)
        }
        Kind::Join => {
            let second = bids(env, "others", keys);
            let joined = first.join(&second);
            let windows = joined
                .on(|bid| bid.user.clone(), |other| other.user.clone())
                .window(WindowAssigner::tumbling(Duration::from_millis(50)));
            let sums = windows.apply(|bid, other| bid.price + other.price);
            sums.map(|row| row.value)
        }
    };
    out.sink_to(ObservedSink::new(observe)).uid("out");
    Ok(())
}

/// Records that the sources of a job have read. Of what they send one may stand for many.
fn read(status: &Value) -> u64 {
    let tasks = status["tasks"].as_array().into_iter().flatten();
    let sources = tasks.filter(|task| {
        let name = task["name"].as_str().unwrap_or_default();
        name.starts_with("bids") || name.starts_with("others") || name.starts_with("source")
    });
    let read = sources.map(|task| task["records_in"].as_u64().unwrap_or_default());
    read.sum()
}

/// Runs a job for a while on TaskManagers with so many slots each; returns thousands of records a CPU-second, and a second.
async fn turn(args: &Args, storage: &Path, slots: &[&str], kind: &str) -> anyhow::Result<[f64; 2]> {
    let leader = JobManager::leading(JobManager::start(storage)?)?;
    let start = |slots: &&str| {
        let options = ["--slots", slots, "--workers", slots];
        Process::start("taskmanager", storage, &options)
    };
    let tasks = slots.iter().map(start);
    let tasks: Vec<Process> = tasks.collect::<anyhow::Result<_>>()?;
    let keys = args.keys.to_string();
    let job = leader.submit("1s", &["windows", "--", kind, "--keys", &keys])?;
    tokio::time::sleep(WARMING).await;
    let cpu = || -> Duration {
        let processes = tasks.iter().chain([&leader.process]);
        processes.map(Process::cpu_time).sum()
    };
    let (at, used, before) = (meter::now(), cpu(), leader.answer(&["status", &job])?);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let after = leader.answer(&["status", &job])?;
    let (wall, used) = (at.elapsed(), cpu().saturating_sub(used));
    leader.answer(&["cancel", &job])?;
    anyhow::ensure!(after["restarts"] == 0, "it has restarted: {after}");
    let records = (read(&after) - read(&before)) as f64 / 1e3;
    anyhow::ensure!(records > 0.0, "no records: {after}");
    Ok([records / used.as_secs_f64(), records / wall.as_secs_f64()])
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    println!(
        "\nacross: bids in windows, 2x2, {} keys, a checkpoint each second: two TaskManagers of one slot beside one of two, {} turns of {} s each",
        args.keys, args.rounds, args.seconds
    );
    let directory = Directory::make(args.directory.as_deref(), "across")?;
    for (kind, what) in [("count", "sliding-window count"), ("join", "window join")] {
        println!("  {what}");
        let mut ratios = Vec::new();
        for round in 0..args.rounds {
            let storage = |name: &str| directory.file(&format!("{kind}-{name}-{round}"));
            let one = turn(args, &storage("one"), &["2"], kind).await?;
            let two = turn(args, &storage("two"), &["1", "1"], kind).await?;
            let ratio = 100.0 * two[0] / one[0];
            println!(
                "    one process {:.0} thousand per CPU-second ({:.0} a second), two {:.0} ({:.0}): {ratio:.1} %",
                one[0], one[1], two[0], two[1]
            );
            ratios.push(ratio);
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        println!(
            "    median {median:.1} %; bar {BAR} %: {}",
            verdict(median >= BAR)
        );
    }
    Ok(())
}
