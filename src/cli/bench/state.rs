//! Read-modify-writes of state that is larger than its memory: beside a loop that does them by hand, beside checkpoints of
//! its files (`checkpoints.rs`, below), and its way back from them.

mod checkpoints;
mod numbers;
mod restore;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rivus::{
    AggregateFunction, Event, JobHandle, JobOptions, JobStatus, RocksDbBackend, RocksDbMemory,
    RuntimeMode, Storage, StreamEnvironment,
};
use serde::{Deserialize, Serialize};

use self::numbers::Numbers;
use super::comparison::verdict;
use super::meter::{self, Reading, Used};
use super::observed::ObservedSink;
use super::rocks_loop::Loop;
use super::{Setup, at_least_one};

/// Read-modify-writes per CPU-second, of any key.
const BAR_UNIFORM: f64 = 200e3;

/// The same with nine of ten on hot keys.
const BAR_HOT: f64 = 2e6;

/// How state beyond memory is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys of the state.
    #[arg(long, default_value_t = 10_000_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Bytes that each key's state holds beside its key and a count.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// MiB of memory for blocks, memtables and rows together.
    #[arg(long, default_value_t = 256, value_parser = at_least_one::<usize>())]
    memory: usize,
    /// Nine of ten records have one of so many keys.
    #[arg(long, default_value_t = 50_000, value_parser = at_least_one::<u64>())]
    hot_keys: u64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    seconds: u64,
    /// Rows that the loop keeps in memory.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one::<usize>())]
    loop_rows: usize,
    /// Without the loop.
    #[arg(long)]
    no_loop: bool,
    /// Where the state lies, and its checkpoints.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Measure with a checkpoint each so many seconds, in turns with none.
    #[arg(long, value_parser = at_least_one::<u64>())]
    checkpoints: Option<u64>,
    /// Turns of each.
    #[arg(long, default_value_t = 3, value_parser = at_least_one::<u32>())]
    rounds: u32,
    /// Measure how long the state takes to come back from a checkpoint.
    #[arg(long)]
    restore: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            keys: 10_000_000,
            value_bytes: 64,
            memory: 256,
            hot_keys: 50_000,
            seconds: 20,
            loop_rows: 100_000,
            no_loop: false,
            directory: None,
            checkpoints: None,
            rounds: 3,
            restore: false,
        }
    }
}

impl Args {
    /// Whether it measures what the bars are for.
    fn is_the_bars(&self) -> bool {
        let of = |args: &Self| (args.keys, args.value_bytes, args.memory, args.hot_keys);
        of(self) == of(&Self::default())
    }

    fn numbers(&self, hot_keys: u64) -> Numbers {
        Numbers {
            keys: self.keys,
            hot_keys,
            stands: Arc::default(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// Counts, beside something to carry.
#[derive(Clone)]
struct Carrying {
    bytes: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) count: u64,
    text: String,
}

impl AggregateFunction for Carrying {
    type In = u64;
    type Acc = Carried;
    type Out = u64;

    fn create(&self) -> Carried {
        Carried {
            count: 0,
            text: "x".repeat(self.bytes),
        }
    }

    fn add(&self, acc: &mut Carried, _: &u64) {
        acc.count += 1;
    }

    fn merge(&self, acc: &mut Carried, other: Carried) {
        acc.count += other.count;
    }

    fn result(&self, acc: &Carried) -> u64 {
        acc.count
    }
}

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    if args.restore {
        return restore::run(setup, args).await;
    }
    if let Some(seconds) = args.checkpoints {
        return checkpoints::run(setup, args, Duration::from_secs(seconds)).await;
    }
    println!(
        "\nstate: source -> keyed count -> sink on RocksDB, 2x2; {} keys of {} bytes, {} MiB for all of its memory, \
         no checkpoints; the loop with {} rows in memory",
        args.keys, args.value_bytes, args.memory, args.loop_rows
    );
    for (hot_keys, bar) in [(0, BAR_UNIFORM), (args.hot_keys, BAR_HOT)] {
        println!(
            "  {}:",
            match hot_keys {
                0 => "uniform".to_owned(),
                hot => format!("90 % of {hot} hot keys"),
            }
        );
        let by_hand = match args.no_loop {
            true => None,
            false => Some(by_hand(args, hot_keys).await?),
        };
        let pace = by_engine(setup, args, hot_keys).await?;
        let of_loop =
            by_hand.map(|by_hand| format!("{:.0} % of the loop; ", 100.0 * pace / by_hand));
        println!(
            "    {}bar {:.0} thousand per CPU-second{}",
            of_loop.unwrap_or_default(),
            bar / 1e3,
            match args.is_the_bars() {
                true => format!(": {}", verdict(pace >= bar)),
                false => ", of other keys and memory".to_owned(),
            }
        );
    }
    Ok(())
}

/// A directory beside the state that goes with this.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(args: &Args, name: &str) -> std::io::Result<Self> {
        let path = args
            .directory()
            .join(format!("bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Prints a pace, and returns it: read-modify-writes per CPU-second.
fn report(who: &str, keys: u64, filled: Used, records: u64, used: Used) -> f64 {
    let pace = records as f64 / used.cpu.as_secs_f64();
    println!(
        "    {who}: {:.0} thousand read-modify-writes per CPU-second, {:.0} a second; filled with {:.0} thousand per CPU-second",
        pace / 1e3,
        records as f64 / used.wall.as_secs_f64() / 1e3,
        keys as f64 / filled.cpu.as_secs_f64() / 1e3,
    );
    pace
}

/// The loop's pace.
async fn by_hand(args: &Args, hot_keys: u64) -> anyhow::Result<f64> {
    let own = args
        .directory()
        .join(format!("rivus-loop-{}", std::process::id()));
    let new = Carrying {
        bytes: args.value_bytes,
    }
    .create();
    let mut by_hand = Loop::open(&own, args.loop_rows, new)?;
    let numbers = args.numbers(hot_keys);
    let mut keys = (0..).map(|number| numbers.key(number));
    let filling = Reading::take();
    let mut filled = 0;
    while filled < args.keys {
        filled += by_hand.count(&mut keys)?;
    }
    let filling = filling.used();
    tokio::time::sleep(SETTLING).await;
    let (reading, mut records) = (Reading::take(), 0);
    while reading.used().wall < Duration::from_secs(args.seconds) {
        for _ in 0..64 {
            records += by_hand.count(&mut keys)?;
        }
    }
    let pace = report("by hand  ", args.keys, filling, records, reading.used());
    drop(by_hand);
    std::fs::remove_dir_all(&own)?;
    meter::quiet().await;
    Ok(pace)
}

/// What filling leaves behind is settled before anything is measured.
const SETTLING: Duration = Duration::from_secs(5);

/// A job that has been given all keys once, and goes on with read-modify-writes.
struct Filled {
    env: StreamEnvironment,
    backend: RocksDbBackend,
    job: JobHandle,
    /// Records that have reached the sink.
    arrived: Arc<AtomicU64>,
    /// Whether its source is to stand still.
    stands: Arc<AtomicBool>,
    /// What filling it took.
    filling: Used,
}

async fn filled(
    setup: &Setup,
    args: &Args,
    hot_keys: u64,
    checkpoints: Option<(Duration, Storage)>,
) -> anyhow::Result<Filled> {
    let backend = RocksDbBackend::new(args.directory())?.memory(args.memory << 20);
    let (interval, storage) = checkpoints.unzip();
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .storage(storage.unwrap_or(Storage::Memory))
        .options(JobOptions {
            checkpoint_interval: interval,
            batch_records: setup.batch,
            ..JobOptions::default()
        })
        .runtime(RuntimeMode::Threads {
            workers: setup.workers,
        })
        .state_backend(backend.clone())
        .build();
    let keys = args.keys;
    let arrived = Arc::new(AtomicU64::new(0));
    let observe = {
        let arrived = Arc::clone(&arrived);
        move |_, run: &[Event<(u64, u64)>]| {
            arrived.fetch_add(run.len() as u64, Relaxed);
        }
    };
    let numbers = args.numbers(hot_keys);
    let stands = Arc::clone(&numbers.stands);
    env.from_source(numbers)
        .parallelism(1)
        .key_by(|key| *key)
        .aggregate(Carrying {
            bytes: args.value_bytes,
        })
        .sink_to(ObservedSink::new(observe));
    let filling = Reading::take();
    let job = env.start("state").await?;
    while arrived.load(Relaxed) < keys {
        anyhow::ensure!(
            !matches!(job.status(), JobStatus::Ended(_)),
            "the job ended: {:?}",
            job.status()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Filled {
        env,
        backend,
        job,
        arrived,
        stands,
        filling: filling.used(),
    })
}

/// Bytes of all kinds.
fn total(memory: RocksDbMemory) -> usize {
    memory.rows + memory.memtables + memory.blocks + memory.indexes
}

impl Filled {
    async fn end(self) {
        self.job.cancel();
        let _ = self.job.wait().await;
        drop((self.env, self.backend));
        meter::quiet().await;
    }
}

/// The engine's pace.
async fn by_engine(setup: &Setup, args: &Args, hot_keys: u64) -> anyhow::Result<f64> {
    let filled = filled(setup, args, hot_keys, None).await?;
    let arrived = &filled.arrived;
    tokio::time::sleep(SETTLING).await;
    let (reading, before) = (Reading::take(), arrived.load(Relaxed));
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (used, records) = (reading.used(), arrived.load(Relaxed) - before);
    let pace = report("by engine", args.keys, filled.filling, records, used);
    let memory = filled.backend.memory_used();
    let RocksDbMemory {
        rows,
        memtables,
        blocks,
        indexes,
    } = memory;
    println!(
        "    memory, MiB: rows {}, memtables {}, blocks {}, indexes and filters {}, together {}; the process's own {}, \
         with mapped files {}",
        rows >> 20,
        memtables >> 20,
        blocks >> 20,
        indexes >> 20,
        total(memory) >> 20,
        meter::own_bytes() >> 20,
        meter::resident_bytes() >> 20,
    );
    filled.end().await;
    Ok(pace)
}
