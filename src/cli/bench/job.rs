//! Running a benchmark's job.

use std::time::Duration;

use rivus::{JobOptions, JobResult, RuntimeMode, StreamEnvironment};

use super::Setup;
use super::meter::{self, Reading, Used};

/// An environment with the benchmark's settings.
pub(crate) fn environment(
    setup: &Setup,
    parallelism: u32,
    checkpoints: Option<Duration>,
    chaining: bool,
) -> StreamEnvironment {
    StreamEnvironment::builder()
        .parallelism(parallelism)
        .chaining(chaining)
        .options(JobOptions {
            checkpoint_interval: checkpoints,
            batch_records: setup.batch,
            ..JobOptions::default()
        })
        .storage(setup.storage())
        .runtime(RuntimeMode::Threads {
            workers: setup.workers,
        })
        .build()
}

/// What a job came to.
pub(crate) struct Ran {
    pub(crate) used: Used,
    pub(crate) result: JobResult,
    pub(crate) threads: u64,
}

/// Runs a bounded job, from its start to the commit of its last checkpoint.
pub(crate) async fn run(env: StreamEnvironment, name: &str) -> anyhow::Result<Ran> {
    let reading = Reading::take();
    let result = env.execute(name).await?;
    let used = reading.used();
    let threads = meter::threads();
    drop(env);
    Ok(Ran {
        used,
        result,
        threads,
    })
}

/// A pace counts only if every record arrived, and none of them twice.
///
/// # Errors
/// If records are missing or too many, or something was restarted.
pub(crate) fn ensure_arrived(ran: &Ran, arrived: u64, expected: u64) -> anyhow::Result<()> {
    let restarts = ran.result.view.restarts;
    anyhow::ensure!(
        arrived == expected && restarts == 0,
        "{arrived} records reached the sink where {expected} were due, after {restarts} restarts"
    );
    Ok(())
}

/// Says on what it is measured.
pub(crate) fn print_machine(setup: &Setup) {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name\t: "))
        .unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    println!(
        "{model}, {cores} cores, load {load}; batches of {}; checkpoints {}",
        setup.batch,
        match &setup.storage {
            Some(path) => format!("in {}", path.display()),
            None => "in memory".to_owned(),
        }
    );
}
