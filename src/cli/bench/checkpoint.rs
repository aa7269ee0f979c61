//! Throughput and pauses while a large state is checkpointed under full load.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivus::{DataStream, Event};

use super::bid::Bid;
use super::comparison::verdict;
use super::copies;
use super::document::{Document, Documents, HasDocument, WholeDocument};
use super::job;
use super::latency::Weighty;
use super::meter;
use super::observed::{Barriers, ObservedSink};
use super::source::Bids;
use super::{Setup, at_least_one};

const BAR_PAUSE: Duration = Duration::from_millis(50);
const BAR_SHARE: f64 = 0.7;
const WRITERS: usize = 2;

/// How a checkpoint is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys of the state.
    #[arg(long, default_value_t = 1_000_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Bytes that each key's state holds beside its key.
    #[arg(long, default_value_t = 1_000)]
    value_bytes: usize,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 15, value_parser = at_least_one::<u64>())]
    interval: u64,
    /// Checkpoints that are measured.
    #[arg(long, default_value_t = 2, value_parser = at_least_one::<u64>())]
    checkpoints: u64,
    /// What a key's state is made of.
    #[arg(long, value_enum, default_value_t = State::Fields)]
    state: State,
}

/// What is kept by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// A set of states in a process function: a document, and counters that each record changes.
    Fields,
    /// The same, whose rows are written whole before they change.
    Whole,
    /// The accumulator of an aggregate function, which nobody can look into.
    Opaque,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            keys: 1_000_000,
            value_bytes: 1_000,
            interval: 15,
            checkpoints: 2,
            state: State::Fields,
        }
    }
}

/// What each sink writer has seen.
#[derive(Default)]
struct Writer {
    records: AtomicU64,
    /// Nanoseconds from the start of the last run.
    last: AtomicU64,
    /// Waits of more than a few milliseconds between two runs: end and length, nanoseconds.
    waits: Mutex<Vec<(u64, u64)>>,
}

const WORTH_NOTING: u64 = 3_000_000;

/// Records of all writers every tenth of a second.
const SAMPLE: Duration = Duration::from_millis(100);
const SAMPLES_A_SECOND: usize = 10;

pub(crate) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<()> {
    println!(
        "\ncheckpoint: source -> keyed state -> sink, 2x2, full load; {} keys of {} bytes ({:?}), checkpoints {} s apart",
        args.keys, args.value_bytes, args.state, args.interval
    );
    let env = job::environment(setup, 2, Some(Duration::from_secs(args.interval)), true);
    let base = meter::now();
    let barriers = Barriers::since(base);
    let writers: Arc<[Writer; WRITERS]> = Arc::default();
    let observe = {
        let writers = Arc::clone(&writers);
        move |index: u32, run: &[Event<(String, (u64, u64))>]| {
            let writer = &writers[index as usize % WRITERS];
            let now = base.elapsed().as_nanos() as u64;
            let waited = now - writer.last.swap(now, Relaxed);
            if waited > WORTH_NOTING {
                let mut waits = writer.waits.lock().unwrap_or_else(PoisonError::into_inner);
                waits.push((now, waited));
            }
            writer.records.fetch_add(run.len() as u64, Relaxed);
        }
    };
    let bids = env.from_source(Bids {
        records: u64::MAX,
        keys: args.keys,
        pace: None,
    });
    let kept = match args.state {
        State::Fields => documents::<Document>(&bids, args.value_bytes),
        State::Whole => documents::<WholeDocument>(&bids, args.value_bytes),
        State::Opaque => {
            let keyed = bids.key_by_ref(|bid| bid.user.as_str());
            keyed.aggregate(Weighty {
                bytes: args.value_bytes,
            })
        }
    };
    kept.sink_to(ObservedSink::new(observe).barriers(&barriers));
    let job = env.start("checkpoint").await?;
    let mut samples: Vec<(u64, u64)> = Vec::new();
    let mut cpu: Vec<(u64, u64)> = Vec::new();
    let mut completed = 0;
    let mut checkpoints = Vec::new();
    let mut peak = 0;
    let mut ticks = tokio::time::interval(SAMPLE);
    // A few seconds after the last one show that the pace comes back.
    let mut left = None;
    while left != Some(0) {
        ticks.tick().await;
        let now = base.elapsed().as_nanos() as u64;
        let records = writers.iter().map(|writer| writer.records.load(Relaxed));
        samples.push((now, records.sum()));
        cpu.push((now, meter::cpu_time().as_nanos() as u64));
        peak = peak.max(meter::resident_bytes());
        let view = job.view();
        if view.checkpoints > completed {
            completed = view.checkpoints;
            // What the leader says, or, where another leads by now, the barrier's arrival.
            let began = match view.last_checkpoint_took {
                Some(took) => (now.saturating_sub(took.as_nanos() as u64)).min(barriers.last()),
                None => barriers.last(),
            };
            checkpoints.push((began, now));
        }
        left = match left {
            None if completed >= args.checkpoints => Some(3 * SAMPLES_A_SECOND),
            left => left.map(|left| left - 1),
        };
    }
    let view = job.view();
    let bytes: u64 = view
        .subtasks
        .iter()
        .map(|subtask| subtask.figures.snapshot_bytes)
        .sum();
    println!(
        "  {} threads; snapshots of {:.0} MB in all; resident at most {} MB; {} restarts, {} takeovers",
        meter::threads(),
        bytes as f64 / 1e6,
        peak >> 20,
        view.restarts,
        view.takeovers
    );
    let mut quiet_since = 0;
    let mut before = None;
    for (number, (began, ended)) in checkpoints.iter().enumerate() {
        // The pace of four quiet seconds; where there were none, that of those before an earlier checkpoint.
        if began.saturating_sub(quiet_since) > 5_000_000_000 {
            before = pace_before(*began, &samples);
        }
        match before {
            Some(before) => report(
                number + 1,
                (*began, *ended),
                before,
                (&samples[..], &cpu[..]),
                &writers,
            ),
            None => println!("  checkpoint {} began too early to be measured", number + 1),
        }
        quiet_since = *ended;
    }
    job.cancel();
    let _ = job.wait().await;
    drop(env);
    meter::quiet().await;
    report_copies(args).await;
    Ok(())
}

fn documents<S: HasDocument>(
    bids: &DataStream<Bid>,
    bytes: usize,
) -> DataStream<(String, (u64, u64))> {
    let keyed = bids.key_by_ref(|bid| bid.user.as_str());
    keyed.process(Documents::<S>::of(bytes))
}

/// The least that a checkpoint under this load costs anybody who copies rows before they change.
async fn report_copies(args: &Args) {
    let (before, after) = (2 * SAMPLES_A_SECOND, 3 * SAMPLES_A_SECOND);
    let ran = copies::run(args.keys, args.value_bytes, SAMPLE, before, after).await;
    let (samples, frozen) = (&ran.samples, ran.frozen_at);
    let pace = rate(samples[0], samples[frozen]);
    let worst = (frozen.saturating_sub(1)..samples.len() - SAMPLES_A_SECOND)
        .map(|start| rate(samples[start], samples[start + SAMPLES_A_SECOND]) / pace)
        .fold(f64::INFINITY, f64::min);
    let tenths: Vec<String> = (frozen..frozen + SAMPLES_A_SECOND)
        .map(|start| {
            format!(
                "{:.0}",
                rate(samples[start], samples[start + 1]) / pace * 100.0
            )
        })
        .collect();
    println!(
        "  two loops without an engine that copy each row at its first touch and do nothing else with it: \
         {:.2} M records/s before; worst second {:.0} %\n    by tenths of a second: {}",
        pace / 1e6,
        worst * 100.0,
        tenths.join(" ")
    );
}

/// Records a second between two samples.
fn rate(from: (u64, u64), to: (u64, u64)) -> f64 {
    (to.1 - from.1) as f64 / ((to.0 - from.0).max(1) as f64 / 1e9)
}

fn pace_before(began: u64, samples: &[(u64, u64)]) -> Option<f64> {
    let last = samples
        .partition_point(|sample| sample.0 < began)
        .checked_sub(1)?;
    let first = last.checked_sub(4 * SAMPLES_A_SECOND)?;
    Some(rate(samples[first], samples[last]))
}

/// A count since the beginning, by the nanoseconds since then.
type Counted = [(u64, u64)];

fn report(
    number: usize,
    (began, ended): (u64, u64),
    before: f64,
    (samples, cpu): (&Counted, &Counted),
    writers: &[Writer; WRITERS],
) {
    let first = samples.partition_point(|sample| sample.0 < began);
    let last = samples
        .partition_point(|sample| sample.0 < ended)
        .min(samples.len() - 1);
    // Every second that lies in the checkpoint or overlaps it, wherever it begins.
    let from = first.saturating_sub(1);
    let seconds = (from..=last).filter(|start| start + SAMPLES_A_SECOND < samples.len());
    let cores = |start: usize| rate(cpu[start], cpu[start + SAMPLES_A_SECOND]) / 1e9;
    let pace = |start: usize| rate(samples[start], samples[start + SAMPLES_A_SECOND]) / before;
    let cores_before = first
        .checked_sub(4 * SAMPLES_A_SECOND)
        .map_or(f64::NAN, |start| rate(cpu[start], cpu[first - 1]) / 1e9);
    let worst_of = |share: &dyn Fn(usize) -> f64| {
        let shares = seconds.clone().map(|start| (share(start), start));
        let worst = shares.min_by(|a, b| a.0.total_cmp(&b.0));
        worst.unwrap_or((f64::INFINITY, 0))
    };
    let (worst, worst_at) = worst_of(&pace);
    // Where others took a core away, less was done by less.
    let (worst_of_cpu, _) = worst_of(&|start| pace(start) * cores_before / cores(start));
    let mut waits: Vec<u64> = Vec::new();
    for writer in writers {
        let all = writer.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let within = all
            .iter()
            .filter(|(end, length)| *end > began && end - length < ended);
        waits.extend(within.map(|(_, length)| length));
    }
    let longest = Duration::from_nanos(waits.iter().copied().max().unwrap_or(0));
    println!(
        "  checkpoint {number}: {:.2} s; {:.2} M records/s before; worst second {:.0} % per CPU-second, {:.0} % by the clock (this \
         process had {:.2} cores in it, {:.2} before); longest pause of a writer {longest:.1?}, {} over {} ms",
        (ended - began) as f64 / 1e9,
        before / 1e6,
        worst_of_cpu * 100.0,
        worst * 100.0,
        cores(worst_at),
        cores_before,
        waits.len(),
        WORTH_NOTING / 1_000_000
    );
    let tenths: Vec<String> = (from..(last + 5).min(samples.len() - 1))
        .map(|start| {
            format!(
                "{:.0}",
                rate(samples[start], samples[start + 1]) / before * 100.0
            )
        })
        .collect();
    println!(
        "    % of the pace before, by tenths of a second: {}",
        tenths.join(" ")
    );
    println!(
        "    bars: pause {BAR_PAUSE:?}: {}; every second {:.0} % per CPU-second: {}, by the clock: {}",
        verdict(longest <= BAR_PAUSE),
        BAR_SHARE * 100.0,
        verdict(worst_of_cpu >= BAR_SHARE),
        verdict(worst >= BAR_SHARE)
    );
}
