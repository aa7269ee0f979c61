//! `nexmark run`: one query at full speed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use rivus::connectors::GeneratorSource;
use rivus::{
    JobOptions, JobResult, RocksDbBackend, RuntimeMode, Storage, StreamEnvironment,
    WatermarkStrategy,
};
use rivus_nexmark::{Generator, NexmarkConfig, NexmarkEvent, Query};
use serde::{Deserialize, Serialize};

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
    /// Bytes for all memory of RocksDB together: block cache, memtables, rows that wait to be written; such as 256M
    #[arg(long, default_value = "256M", value_parser = bytes)]
    pub(crate) memory: u64,
    /// Events a second of event time; it says nothing of how fast they are read
    #[arg(long, default_value = "10M", value_parser = count)]
    pub(crate) rate: u64,
    /// Another one, other events
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// From one checkpoint's start to the next
    #[arg(long, default_value = "500ms", value_parser = humantime::parse_duration)]
    pub(crate) checkpoint_interval: Duration,
    /// Where state and checkpoints lie while it runs; a temporary directory if it isn't given
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

impl Setting {
    /// As arguments of a process that is to run like this.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--parallelism={}", self.parallelism),
            format!("--backend={}", self.backend),
            format!("--memory={}", self.memory),
            format!("--rate={}", self.rate),
            format!("--seed={}", self.seed),
            format!(
                "--checkpoint-interval={}ms",
                self.checkpoint_interval.as_millis()
            ),
        ];
        arguments.extend(self.events.map(|events| format!("--events={events}")));
        let directory = self.directory.as_ref();
        arguments.extend(directory.map(|path| format!("--directory={}", path.display())));
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
    pub(crate) results: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) events_per_second: f64,
    pub(crate) events_per_cpu_second: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) state_bytes: u64,
    pub(crate) checkpoints: u64,
    pub(crate) last_checkpoint_ms: Option<f64>,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
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
    println!(
        "  {:.0} MB resident at the most, {:.1} MB of state, {} checkpoints, the last in {}",
        measured.peak_rss_bytes as f64 / 1e6,
        measured.state_bytes as f64 / 1e6,
        measured.checkpoints,
        or_dash(measured.last_checkpoint_ms)
    );
    println!(
        "  latency {} in the median, {} in 99 of 100 runs of results",
        or_dash(measured.latency_p50_ms),
        or_dash(measured.latency_p99_ms)
    );
}

/// Runs a query in this process.
pub(crate) fn measure(query: Query, setting: &Setting) -> anyhow::Result<Measured> {
    let config = NexmarkConfig {
        events: setting.events.unwrap_or_else(|| published::events(query)),
        events_per_second: setting.rate,
        seed: setting.seed,
    };
    let observed = Arc::new(Observed::new(config)?);
    let temporary = match &setting.directory {
        Some(path) => {
            std::fs::create_dir_all(path).with_context(|| format!("can't make {path:?}"))?;
            tempfile::tempdir_in(path)
        }
        None => tempfile::tempdir(),
    };
    let directory = temporary.context("can't make a directory for state and checkpoints")?;
    let options = JobOptions {
        checkpoint_interval: Some(setting.checkpoint_interval),
        ..JobOptions::default()
    };
    let mut builder = StreamEnvironment::builder()
        .parallelism(setting.parallelism)
        .options(options)
        .storage(Storage::Directory(directory.path().join("storage")))
        .runtime(RuntimeMode::Threads { workers: 0 });
    if setting.backend == Backend::Rocksdb {
        let backend = RocksDbBackend::new(directory.path().join("rows"))
            .context("can't open RocksDB")?
            .memory(setting.memory as usize);
        builder = builder.state_backend(backend);
    }
    let env = builder.build();
    let generator = Generator::new(config);
    let events = env
        .from_source(source(&generator, &observed))
        .uid("events")
        .assign_watermarks(WatermarkStrategy::bounded_out_of_orderness(
            Duration::from_secs(4),
        ));
    query.write(&events, ToObserved(Arc::clone(&observed)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("can't start a runtime")?;
    let before = Reading::take();
    let JobResult { view } = runtime.block_on(env.execute(&query.to_string()))?;
    let (seconds, cpu) = before.used();
    anyhow::ensure!(
        view.restarts == 0,
        "it was restarted, so these are no figures: {}",
        view.last_failure.unwrap_or_default()
    );
    let (seconds, cpu_seconds) = (seconds.as_secs_f64(), cpu.as_secs_f64());
    let took = view.last_checkpoint_took;
    let states = view.subtasks.iter();
    Ok(Measured {
        query,
        backend: setting.backend,
        parallelism: setting.parallelism,
        events: config.events,
        results: observed.results(),
        seconds,
        cpu_seconds,
        events_per_second: config.events as f64 / seconds,
        events_per_cpu_second: config.events as f64 / cpu_seconds,
        peak_rss_bytes: peak_bytes(),
        state_bytes: states.map(|subtask| subtask.figures.snapshot_bytes).sum(),
        checkpoints: view.checkpoints,
        last_checkpoint_ms: took.map(|took| took.as_secs_f64() * 1e3),
        latency_p50_ms: observed.latency_ms(50.0),
        latency_p99_ms: observed.latency_ms(99.0),
    })
}

/// All events, each noted by who observes.
fn source(generator: &Generator, observed: &Arc<Observed>) -> GeneratorSource<NexmarkEvent> {
    let observed = Arc::clone(observed);
    generator.source_noted(move |number| observed.makes(number))
}

/// Reads a number such as 20M.
fn count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let number = number.and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "it takes a number from 1, such as 500k or 20M".to_owned())
}

/// Reads a number of bytes such as 256M, a mebibyte being 2^20 bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches("iB");
    let (digits, unit) = match digits.char_indices().last() {
        Some((at, 'k' | 'K')) => (&digits[..at], 1 << 10),
        Some((at, 'M')) => (&digits[..at], 1 << 20),
        Some((at, 'G')) => (&digits[..at], 1 << 30),
        _ => (digits, 1),
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    let number = number.and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| "it takes a number of bytes from 1, such as 256M".to_owned())
}
