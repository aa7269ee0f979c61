//! A keyed count at parallelism 2 beside a loop over the same records and the same hash.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rivus::engine::core::key_hash;
use rivus::{Count, Event};
use serde::{Serialize, Serializer};

use super::bid::{Draft, key_of};
use super::comparison::{Comparison, Pace};
use super::job;
use super::meter::{Reading, hop, quiet};
use super::observed::ObservedSink;
use super::source::Bids;
use super::{Setup, at_least_one, meter};

const BAR: f64 = 0.6;

/// How the keyed count is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Records of each run.
    #[arg(long, default_value_t = 10_000_000, value_parser = at_least_one::<u64>())]
    records: u64,
    /// Numbers of keys.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1_000_000], value_parser = at_least_one::<u64>())]
    keys: Vec<u64>,
    /// Rounds, each of every contestant.
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<u32>())]
    rounds: u32,
    /// No checkpoints but the last.
    #[arg(long)]
    no_checkpoints: bool,
    /// The engine counts by `reduce`, which takes its records, instead of an aggregate, which looks at them; only the engine.
    #[arg(long)]
    reduce: bool,
    /// Only the engine, for a profile.
    #[arg(long)]
    engine_only: bool,
    /// Only the loop, for a profile.
    #[arg(long)]
    loop_only: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            records: 10_000_000,
            keys: vec![1_000, 1_000_000],
            rounds: 5,
            no_checkpoints: false,
            reduce: false,
            engine_only: false,
            loop_only: false,
        }
    }
}

/// The engine's hash, so that both sides hash alike.
#[derive(Default)]
pub(crate) struct SameHash(u64);

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Hasher for SameHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = key_hash(&Bytes(bytes));
    }

    /// The end of a string, which needs no round of its own here.
    #[inline]
    fn write_u8(&mut self, _: u8) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

type Counts<K> = HashMap<K, u64, BuildHasherDefault<SameHash>>;

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    debug_assert_eq!(
        BuildHasherDefault::<SameHash>::default().hash_one("a"),
        key_hash("a")
    );
    for keys in &args.keys {
        one(setup, args, *keys).await?;
    }
    Ok(())
}

async fn one(setup: &Setup, args: &Args, keys: u64) -> anyhow::Result<()> {
    let interval = (!args.no_checkpoints).then_some(Duration::from_secs(1));
    println!(
        "\nkeyed: source -> key_by -> count -> sink, 2x2; {} records, {keys} keys, checkpoints {}",
        args.records,
        if args.no_checkpoints {
            "off"
        } else {
            "each second"
        },
    );
    if args.engine_only || args.loop_only || args.reduce {
        for _ in 0..args.rounds {
            let pace = if args.loop_only {
                owned(args.records, keys)
            } else {
                engine(setup, args.records, keys, interval, args.reduce).await?
            };
            println!("  {:.2} | {:.2}", pace.per_second(), pace.per_cpu());
            quiet().await;
        }
        return Ok(());
    }
    verify(setup, args.records, keys, interval).await?;
    let names = ["loop", "borrowed loop", "two loops", "engine"];
    let mut comparison = Comparison::new(&names);
    for _ in 0..args.rounds {
        let mut round = vec![owned(args.records, keys), borrowed(args.records, keys)];
        round.push(twice(args.records, keys));
        quiet().await;
        let before = hop();
        round.push(engine(setup, args.records, keys, interval, false).await?);
        let after = hop();
        quiet().await;
        comparison.add(round);
        println!("    from core to core in {before:?} before the engine's run, {after:?} after");
    }
    comparison.conclude(BAR);
    Ok(())
}

/// One run of each that is not measured: what the loop and the engine emit must add up to the same, or a ratio of their
/// paces says nothing.
async fn verify(
    setup: &Setup,
    records: u64,
    keys: u64,
    checkpoints: Option<Duration>,
) -> anyhow::Result<()> {
    let mut expected = 0_u64;
    count_owned(0..records, keys, |_, count| expected += count);
    let sum = Arc::new(AtomicU64::new(0));
    let env = job::environment(setup, 2, checkpoints, true);
    let observe = {
        let sum = Arc::clone(&sum);
        move |_, run: &[Event<(String, u64)>]| {
            let counts = run.iter().map(|event| event.value.1);
            sum.fetch_add(counts.sum(), Relaxed);
        }
    };
    env.from_source(Bids {
        records,
        keys,
        pace: None,
    })
    .key_by_ref(|bid| bid.user.as_str())
    .aggregate(Count::new())
    .sink_to(ObservedSink::new(observe));
    job::run(env, "keyed, verified").await?;
    let emitted = sum.load(Relaxed);
    anyhow::ensure!(
        emitted == expected,
        "the engine's counts add up to {emitted}, the loop's to {expected}: they don't do the same work"
    );
    println!(
        "  verified: all counts that are emitted add up to {expected}, in the loop and in the engine"
    );
    quiet().await;
    Ok(())
}

#[inline(always)]
fn count_owned(numbers: impl Iterator<Item = u64>, keys: u64, mut emit: impl FnMut(&str, u64)) {
    let mut counts: Counts<String> = HashMap::default();
    let mut draft = Draft::new();
    for number in numbers {
        let bid = draft.bid(number, key_of(number, keys));
        let event = Event::at(bid.time as i64, black_box(bid));
        let count = match counts.get_mut(event.value.user.as_str()) {
            Some(count) => count,
            None => counts.entry(event.value.user.clone()).or_insert(0),
        };
        *count += 1;
        let emitted = black_box(Event::at(event.ts, (event.value.user.clone(), *count)));
        emit(&emitted.value.0, emitted.value.1);
    }
}

fn owned(records: u64, keys: u64) -> Pace {
    let reading = Reading::take();
    count_owned(0..records, keys, |_, _| {});
    Pace {
        records,
        used: reading.used(),
    }
}

/// The loop on two threads, each with half of the records: what two cores do to one another.
fn twice(records: u64, keys: u64) -> Pace {
    let reading = Reading::take();
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || count_owned((half..records).step_by(2), keys, |_, _| {}));
        }
    });
    Pace {
        records,
        used: reading.used(),
    }
}

/// Nothing is allocated but the keys of the map.
fn borrowed(records: u64, keys: u64) -> Pace {
    let reading = Reading::take();
    let mut counts: Counts<String> = HashMap::default();
    let mut draft = Draft::new();
    for number in 0..records {
        let bid = black_box(draft.borrowed(number, key_of(number, keys)));
        let count = match counts.get_mut(bid.user) {
            Some(count) => count,
            None => counts.entry(bid.user.to_owned()).or_insert(0),
        };
        *count += 1;
        black_box(Event::at(bid.time as i64, (bid.user, *count)));
    }
    drop(counts);
    Pace {
        records,
        used: reading.used(),
    }
}

/// Counts what arrives at a sink.
fn counting<T>(arrived: &Arc<AtomicU64>) -> impl Fn(u32, &[Event<T>]) + Clone + use<T> {
    let arrived = Arc::clone(arrived);
    move |_, run| {
        arrived.fetch_add(black_box(run).len() as u64, Relaxed);
    }
}

async fn engine(
    setup: &Setup,
    records: u64,
    keys: u64,
    checkpoints: Option<Duration>,
    reduce: bool,
) -> anyhow::Result<Pace> {
    let env = job::environment(setup, 2, checkpoints, true);
    let arrived = Arc::new(AtomicU64::new(0));
    let bids = env
        .from_source(Bids {
            records,
            keys,
            pace: None,
        })
        .key_by_ref(|bid| bid.user.as_str());
    if reduce {
        bids.reduce(|sum, bid| sum.price = sum.price.wrapping_add(bid.price))
            .sink_to(ObservedSink::new(counting(&arrived)));
    } else {
        bids.aggregate(Count::new())
            .sink_to(ObservedSink::new(counting(&arrived)));
    }
    let ran = job::run(env, "keyed").await?;
    job::ensure_arrived(&ran, arrived.load(Relaxed), records)?;
    let figures = ran
        .result
        .view
        .subtasks
        .iter()
        .map(|subtask| subtask.figures);
    let written: u64 = figures.clone().map(|figures| figures.snapshot_bytes).sum();
    println!(
        "  engine: {} checkpoints, last snapshot {:.1} MB, {} threads, {:.2} s of CPU in {:.2} s, resident {} MB",
        ran.result.view.checkpoints,
        written as f64 / 1e6,
        ran.threads,
        ran.used.cpu.as_secs_f64(),
        ran.used.wall.as_secs_f64(),
        meter::resident_bytes() >> 20,
    );
    Ok(Pace {
        records,
        used: ran.used,
    })
}
