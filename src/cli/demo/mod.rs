//! `rivus demo`: a job under fire beside the same job in peace.
//!
//! A keyed sliding-window job runs for a while at a steady pace. Every few seconds one of its actors is
//! killed: a subtask, the job's master, the checkpoint coordinator, whatever [`victims`] finds alive; and
//! the leading JobManager twice. Then the same job runs again, with the same seed and the same number of
//! records, as fast as it can and undisturbed, and what both have committed is compared.

mod fire;
mod job;
mod latency;
mod report;
mod screen;
mod victims;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;
use rivus::{RestartStrategy, StreamEnvironment};
use tokio::time::Instant;

use job::{PARALLELISM, Plan};
use latency::Latency;
use report::{Comparison, Report};
use screen::Screen;
use victims::Victims;

use crate::cli;

/// Run a job, kill its actors and its leader, and compare the output with an undisturbed run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds of records; recoveries come on top
    #[arg(long, default_value_t = 25, value_parser = RangedU64ValueParser::<u64>::new().range(2..=3_600))]
    seconds: u64,
    /// Records a second
    #[arg(long, default_value_t = 100_000, value_parser = RangedU64ValueParser::<u64>::new().range(1_000..=10_000_000))]
    rate: u64,
    /// Which records are made, and which actors are killed
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print the result as a JSON object on the last line
    #[arg(long)]
    json: bool,
}

/// Runs the demonstration. The exit code says whether the outputs were the same.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("can't start a runtime")?;
    let report = runtime.block_on(demonstrate(args))?;
    cli::say(&report.to_string());
    if args.json {
        cli::say(&serde_json::to_string(&report)?);
    }
    Ok(if report.is_exact() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn demonstrate(args: &Args) -> anyhow::Result<Report> {
    let plan = Plan {
        seed: args.seed,
        seconds: args.seconds,
        rate: args.rate,
    };
    let screen = Screen::new(plan);
    screen.say(&format!(
        "{} records, {} a second, counted by {} keys in windows of 1 s every 100 ms, parallelism {PARALLELISM}",
        plan.records(),
        plan.rate,
        job::KEYS,
    ));

    let victims = Arc::new(Victims::default());
    let latency = Arc::new(Latency::new(plan));
    let env = environment().probe(victims.clone()).build();
    let disturbed = job::write(&env, plan, Some(&latency));
    let began = Instant::now();
    let handle = env.start("demo under fire").await?;
    let run = fire::watch(&handle, plan, &victims, &latency, &screen).await?;
    let took = began.elapsed();
    drop((env, handle));

    screen.say("the same job again, undisturbed and as fast as it can ...");
    let env = environment().build();
    let undisturbed = job::write(&env, plan, None);
    env.execute("demo in peace").await?;
    let expected = undisturbed.values();
    let counted: u64 = expected.iter().map(|row| row.value.records).sum();
    ensure!(
        counted == plan.counted(),
        "the undisturbed run counted {counted} records instead of {}",
        plan.counted(),
    );
    screen.end();
    let comparison = Comparison::of(&expected, &disturbed.values());
    Ok(Report::new(plan, took, run, &latency, comparison))
}

/// Checkpoints twice a second, so that a recovery goes back by little.
fn environment() -> rivus::EnvironmentBuilder {
    StreamEnvironment::builder()
        .parallelism(PARALLELISM)
        .checkpoint_interval(Duration::from_millis(500))
        .restart(RestartStrategy::FixedDelay {
            attempts: u32::MAX,
            delay: Duration::from_millis(100),
        })
}
