//! `nexmark run`: one query at full speed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use rivus::connectors::GeneratorSource;
use rivus::{
    JobResult, JobStatus, RocksDbBackend, RuntimeMode, Storage, StreamEnvironment,
    WatermarkStrategy,
};
use rivus_nexmark::{Generator, NexmarkConfig, NexmarkEvent, Query};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::outlet::{Observed, ToObserved};
use crate::process::{Reading, peak_bytes};
use crate::published;

/// What is run, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Which query: q0 to q22
    query: Query,
    #[command(flatten)]
    setting: Setting,
    /// The figures as one last line of JSON
    #[arg(long)]
    json: bool,
}

/// How queries are run.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Setting {
    /// Events to be made, such as 20M or 500k; persons, auctions and bids together. Without it as many as in the published runs: 5M,
    /// 10M or 20M, by the query
    #[arg(long, value_parser = count)]
    pub(crate) events: Option<u64>,
    /// Subtasks of every operator
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) parallelism: u32,
    /// Where state lies
    #[arg(long, value_enum, default_value_t = Backend::Rocksdb)]
    pub(crate) backend: Backend,
    /// Bytes for all memory of RocksDB together: block cache, memtables, rows that wait to be written; 256M without it
    #[arg(long, value_parser = bytes)]
    pub(crate) memory: Option<u64>,
    /// Events a second of event time; it says nothing of how fast they are read
    #[arg(long, default_value = "10M", value_parser = count)]
    pub(crate) rate: u64,
    /// Another one, other events
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// From one checkpoint's start to the next; without it 100ms to 1s, by the query, so that several fit in
    #[arg(long, value_parser = interval)]
    pub(crate) checkpoint_interval: Option<Duration>,
    /// Where state and checkpoints lie while it runs; a temporary directory if it isn't given
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

impl Setting {
    /// Refuses what says nothing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.memory.is_none() || self.backend == Backend::Rocksdb,
            "--memory is RocksDB's: leave it out, or give --backend rocksdb"
        );
        Ok(())
    }

    /// As arguments of a process that is to run like this.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![
            format!("--parallelism={}", self.parallelism),
            format!("--backend={}", self.backend),
            format!("--rate={}", self.rate),
            format!("--seed={}", self.seed),
        ];
        let interval = self.checkpoint_interval.map(humantime::format_duration);
        let interval = interval.map(|interval| interval.to_string().replace(' ', ""));
        arguments.extend(interval.map(|interval| format!("--checkpoint-interval={interval}")));
        arguments.extend(self.events.map(|events| format!("--events={events}")));
        arguments.extend(self.memory.map(|memory| format!("--memory={memory}")));
        let mut arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        if let Some(directory) = &self.directory {
            arguments.push("--directory".into());
            arguments.push(directory.into());
        }
        arguments
    }
}

/// Where state lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// In memory, checkpoints whole
    Memory,
    /// On disk, checkpoints incremental
    Rocksdb,
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Rocksdb => "rocksdb",
        })
    }
}

/// What a run came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) query: Query,
    pub(crate) backend: Backend,
    pub(crate) parallelism: u32,
    pub(crate) events: u64,
    /// Events a second of event time.
    pub(crate) rate: u64,
    pub(crate) results: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) events_per_second: f64,
    pub(crate) events_per_cpu_second: f64,
    pub(crate) peak_rss_bytes: u64,
    /// Of the largest checkpoint.
    pub(crate) state_bytes: u64,
    /// Complete before all events had been made.
    pub(crate) checkpoints: u64,
    /// What each of them took, the one at the end of the stream included.
    pub(crate) checkpoint_ms: Vec<f64>,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.setting.check()?;
    let measured = measure(args.query, &args.setting)?;
    if args.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print(&measured);
    }
    Ok(())
}

fn print(measured: &Measured) {
    let or_dash = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
    println!("{}: {}", measured.query, measured.query.meaning());
    println!(
        "  {} events, {} results in {:.2} s and {:.2} CPU-seconds of all threads, the final flush with them",
        measured.events, measured.results, measured.seconds, measured.cpu_seconds
    );
    println!(
        "  {:.0} thousand events per second, {:.0} per CPU-second",
        measured.events_per_second / 1e3,
        measured.events_per_cpu_second / 1e3
    );
    let took = measured.checkpoint_ms.iter();
    println!(
        "  {:.0} MB resident at the most, {:.1} MB of state, {} checkpoints while it ran: {} ms",
        measured.peak_rss_bytes as f64 / 1e6,
        measured.state_bytes as f64 / 1e6,
        measured.checkpoints,
        took.map(|ms| format!("{ms:.0}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    println!(
        "  latency {} in the median, {} in 99 of 100 runs of results",
        or_dash(measured.latency_p50_ms),
        or_dash(measured.latency_p99_ms)
    );
}

/// Runs a query in this process.
fn measure(query: Query, setting: &Setting) -> anyhow::Result<Measured> {
    let config = NexmarkConfig {
        events: setting.events.unwrap_or_else(|| published::events(query)),
        events_per_second: setting.rate,
        seed: setting.seed,
    };
    let observed = Arc::new(Observed::new(config, setting.parallelism)?);
    let directory = directory(setting.directory.as_deref())?;
    let interval = setting.checkpoint_interval;
    let interval = interval.unwrap_or_else(|| published::checkpoint_interval(query));
    let env = environment(
        setting.backend,
        setting.memory,
        setting.parallelism,
        interval,
        directory.path(),
    )?;
    let generator = Generator::new(config);
    let late = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(4));
    let events = env.from_source(source(&generator, &observed)).uid("events");
    query.write(
        &events.assign_watermarks(late),
        &directory.path().join("files"),
        ToObserved(Arc::clone(&observed)),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("can't start a runtime")?;
    let before = Reading::take()?;
    let seen = runtime.block_on(watch(&env, query, &observed))?;
    let (seconds, cpu) = before.used()?;
    let (seconds, cpu_seconds) = (seconds.as_secs_f64(), cpu.as_secs_f64());
    Ok(Measured {
        query,
        backend: setting.backend,
        parallelism: setting.parallelism,
        events: config.events,
        rate: setting.rate,
        results: observed.results(),
        seconds,
        cpu_seconds,
        events_per_second: config.events as f64 / seconds,
        events_per_cpu_second: config.events as f64 / cpu_seconds,
        peak_rss_bytes: peak_bytes()?,
        state_bytes: seen.state_bytes,
        checkpoints: seen.checkpoints,
        checkpoint_ms: seen.checkpoint_ms,
        latency_p50_ms: observed.latency_ms(50.0),
        latency_p99_ms: observed.latency_ms(99.0),
    })
}

/// One for state and checkpoints, below another if it is given.
pub(crate) fn directory(below: Option<&Path>) -> anyhow::Result<TempDir> {
    let made = match below {
        Some(path) => {
            std::fs::create_dir_all(path).with_context(|| format!("can't make {path:?}"))?;
            tempfile::tempdir_in(path)
        }
        None => tempfile::tempdir(),
    };
    made.context("can't make a directory for state and checkpoints")
}

/// Where jobs are run: with so many bytes for RocksDB, and state and checkpoints in a directory.
pub(crate) fn environment(
    backend: Backend,
    memory: Option<u64>,
    parallelism: u32,
    checkpoint_interval: Duration,
    directory: &Path,
) -> anyhow::Result<StreamEnvironment> {
    let builder = StreamEnvironment::builder()
        .parallelism(parallelism)
        .checkpoint_interval(checkpoint_interval)
        .storage(Storage::Directory(directory.join("storage")))
        .runtime(RuntimeMode::Threads { workers: 0 });
    if backend == Backend::Memory {
        return Ok(builder.build());
    }
    let mut backend = RocksDbBackend::new(directory.join("rows")).context("can't open RocksDB")?;
    if let Some(memory) = memory {
        backend = backend.memory(memory as usize);
    }
    Ok(builder.state_backend(backend).build())
}

/// What was seen of a job while it ran.
#[derive(Debug, Default)]
struct Seen {
    state_bytes: u64,
    checkpoints: u64,
    checkpoint_ms: Vec<f64>,
}

/// Runs the job that was written, and looks at it.
async fn watch(env: &StreamEnvironment, query: Query, observed: &Observed) -> anyhow::Result<Seen> {
    let mut job = env.start(&query.to_string()).await?;
    let (mut seen, mut completed) = (Seen::default(), 0);
    loop {
        let view = job.view();
        if view.checkpoints > completed {
            completed = view.checkpoints;
            let took = view.last_checkpoint_took;
            seen.checkpoint_ms
                .extend(took.map(|took| took.as_secs_f64() * 1e3));
            if !observed.is_over() {
                seen.checkpoints = completed;
            }
        }
        let subtasks = view.subtasks.iter();
        let bytes = subtasks.map(|subtask| subtask.figures.snapshot_bytes).sum();
        seen.state_bytes = seen.state_bytes.max(bytes);
        if matches!(view.status, JobStatus::Ended(_)) || job.changed().await.is_err() {
            break;
        }
    }
    let JobResult { view } = job.wait().await?;
    anyhow::ensure!(
        view.restarts == 0,
        "it was restarted, so these are no figures: {}",
        view.last_failure.unwrap_or_default()
    );
    Ok(seen)
}

/// All events, each noted by who observes.
fn source(generator: &Generator, observed: &Arc<Observed>) -> GeneratorSource<NexmarkEvent> {
    let observed = Arc::clone(observed);
    generator.source_noted(move |number| observed.makes(number))
}

/// Reads a number such as 20M.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let units = [
        ("k", 1_000),
        ("K", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ];
    let number = in_units(text, &units).filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| "it takes a number from 1 to 1000G, such as 500k or 20M".to_owned())
}

/// More would take days.
const MOST: u64 = 1_000_000_000_000;

/// Reads a number of bytes such as 256M, a mebibyte being 2^20 bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("k", 1 << 10),
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
    ];
    let number = in_units(text.strip_suffix("iB").unwrap_or(text), &units);
    let number = number.filter(|number| (1 << 20..=1 << 40).contains(number));
    number.ok_or_else(|| "it takes a number of bytes from 1M to 1024G, such as 256M".to_owned())
}

fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    number.and_then(|number| number.checked_mul(unit))
}

/// Reads a duration of at least a millisecond.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(1) {
        return Err("it takes a time of at least 1ms, such as 500ms or 10s".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units_and_nothing_else() {
        for (text, number) in [
            ("1", Some(1)),
            ("500k", Some(500_000)),
            ("20M", Some(20_000_000)),
            ("0", None),
            ("+5", None),
            ("M", None),
            ("1.5M", None),
            ("2000G", None),
        ] {
            assert_eq!(count(text).ok(), number, "{text}");
        }
        for (text, number) in [
            ("256M", Some(256 << 20)),
            ("256MiB", Some(256 << 20)),
            ("1G", Some(1 << 30)),
            ("1048576", Some(1 << 20)),
            ("1k", None),
            ("1MiBiB", None),
        ] {
            assert_eq!(bytes(text).ok(), number, "{text}");
        }
        assert_eq!(interval("1500us").ok(), Some(Duration::from_micros(1_500)));
        assert!(interval("0s").is_err() && interval("soon").is_err());
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        setting: Setting,
    }

    #[test]
    fn another_process_is_told_what_this_one_was() {
        let given = [
            "nexmark",
            "--events=1500k",
            "--memory=64M",
            "--checkpoint-interval=1500us",
            "--directory=a b",
            "--parallelism=3",
            "--rate=1k",
            "--seed=9",
        ];
        let setting = <Line as clap::Parser>::parse_from(given).setting;
        let mut told = vec![OsString::from("nexmark")];
        told.extend(setting.arguments());
        let again = <Line as clap::Parser>::parse_from(told).setting;
        assert_eq!(format!("{setting:?}"), format!("{again:?}"));
    }
}
