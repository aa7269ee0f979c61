//! What checkpoints of a store's files cost: the same job with them and without, in turns.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rivus::Storage;

use super::super::Setup;
use super::super::meter::Reading;
use super::{Args, Scratch, filled};

/// A checkpoint each ten seconds may cost so much of the pace per CPU-second.
const BAR: f64 = 0.97;

/// What one turn came to.
struct Turn {
    per_cpu: f64,
    per_second: f64,
}

pub(crate) async fn run(setup: &Setup, args: &Args, interval: Duration) -> anyhow::Result<()> {
    println!(
        "\nstate: source -> keyed count -> sink on RocksDB, 2x2; {} keys of {} bytes, {} MiB for all of its memory, \
         a checkpoint each {interval:?} in turns with none, {} s each",
        args.keys, args.value_bytes, args.memory, args.seconds
    );
    for hot_keys in [0, args.hot_keys] {
        let name = match hot_keys {
            0 => "uniform".to_owned(),
            hot => format!("90 % of {hot} hot keys"),
        };
        println!("  {name}");
        let mut shares = Vec::new();
        for round in 0..args.rounds {
            let order = [round % 2 == 0, round % 2 == 1];
            let mut paces = [0.0; 2];
            for with in order {
                let turn = one(setup, args, hot_keys, with.then_some(interval)).await?;
                paces[usize::from(with)] = turn.per_cpu;
                println!(
                    "    {} {:.1} thousand per CPU-second, {:.1} a second",
                    if with { "with   " } else { "without" },
                    turn.per_cpu / 1e3,
                    turn.per_second / 1e3,
                );
            }
            shares.push(paces[1] / paces[0]);
        }
        shares.sort_by(f64::total_cmp);
        let median = shares[shares.len() / 2];
        println!(
            "    with checkpoints {:.1} % of the pace without, per CPU-second ({:.1} to {:.1}); bar {:.0} %: {}",
            median * 100.0,
            shares[0] * 100.0,
            shares[shares.len() - 1] * 100.0,
            BAR * 100.0,
            if median >= BAR { "met" } else { "missed" }
        );
    }
    Ok(())
}

async fn one(
    setup: &Setup,
    args: &Args,
    hot_keys: u64,
    interval: Option<Duration>,
) -> anyhow::Result<Turn> {
    let storage = Scratch::new(args, "checkpoints")?;
    let checkpoints = interval.map(|interval| {
        let storage = Storage::Directory(storage.path.clone());
        (interval, storage)
    });
    let filled = filled(setup, args, hot_keys, checkpoints).await?;
    // What the filling left behind is settled first; with checkpoints, a whole one is stored.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut job = filled.job.clone();
    let begun = job.view().checkpoints;
    while interval.is_some() && job.view().checkpoints < begun + 2 {
        job.changed().await?;
    }
    let (reading, before) = (Reading::take(), filled.arrived.load(Relaxed));
    let completed = job.view().checkpoints;
    let (mut stored, mut all) = (Vec::new(), 0);
    let ends = tokio::time::Instant::now() + Duration::from_secs(args.seconds);
    let mut last = completed;
    while let Ok(changed) = tokio::time::timeout_at(ends, job.changed()).await {
        changed?;
        let view = job.view();
        if view.checkpoints > last {
            last = view.checkpoints;
            // The figures of this very checkpoint come a little later.
            let figures = view.subtasks.iter().map(|subtask| subtask.figures);
            stored.push(
                figures
                    .clone()
                    .map(|figures| figures.uploaded_bytes)
                    .sum::<u64>(),
            );
            all = figures.map(|figures| figures.snapshot_bytes).sum();
        }
    }
    let (used, records) = (reading.used(), filled.arrived.load(Relaxed) - before);
    if interval.is_some() {
        let stored: Vec<String> = stored
            .iter()
            .map(|bytes| format!("{}", bytes >> 20))
            .collect();
        println!(
            "      {} checkpoints; of {} MiB there were stored, in MiB: {}",
            last - completed,
            all >> 20,
            stored.join(" ")
        );
    }
    filled.end().await;
    Ok(Turn {
        per_cpu: records as f64 / used.cpu.as_secs_f64(),
        per_second: records as f64 / used.wall.as_secs_f64(),
    })
}
