//! What checkpoints of a store's files cost: the same job with them and without, in turns.
//!
//! Both are filled once. While one has its turn, the source of the other stands still, and a turn lasts until all that it
//! has set off is done, compactions too.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rivus::Storage;

use super::super::Setup;
use super::super::comparison::verdict;
use super::super::meter::{self, Reading};
use super::{Args, Filled, Scratch, filled, total};

/// A checkpoint each ten seconds may cost so much of the pace per CPU-second.
const BAR: f64 = 0.97;

/// From one look at the memory to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        let storage = Scratch::new(args, "checkpoints")?;
        let checkpoints = (interval, Storage::Directory(storage.path.clone()));
        let without = filled(setup, args, hot_keys, None).await?;
        without.stand(true).await;
        let with = filled(setup, args, hot_keys, Some(checkpoints)).await?;
        with.stand(true).await;
        let mut shares = Vec::new();
        for round in 0..args.rounds {
            let mut paces = [0.0; 2];
            for turn in [round % 2, 1 - round % 2] {
                let name = ["without", "with   "][turn as usize];
                let job = [&without, &with][turn as usize];
                paces[turn as usize] = pace(name, job, args).await?;
            }
            shares.push(paces[1] / paces[0]);
        }
        with.end().await;
        without.end().await;
        shares.sort_by(f64::total_cmp);
        let median = shares[shares.len() / 2];
        println!(
            "    with checkpoints {:.1} % of the pace without, per CPU-second ({:.1} to {:.1}); bar {:.0} %: {}",
            median * 100.0,
            shares[0] * 100.0,
            shares[shares.len() - 1] * 100.0,
            BAR * 100.0,
            verdict(median >= BAR)
        );
    }
    Ok(())
}

impl Filled {
    /// Lets its source stand still, or go on. Who stands has nothing left to do when this returns.
    async fn stand(&self, stands: bool) {
        self.stands.store(stands, Relaxed);
        if stands {
            meter::quiet().await;
        }
    }
}

/// Records per CPU-second of a turn.
async fn pace(name: &str, of: &Filled, args: &Args) -> anyhow::Result<f64> {
    let mut job = of.job.clone();
    let (reading, before) = (Reading::take(), of.arrived.load(Relaxed));
    let completed = job.view().checkpoints;
    let (mut stored, mut all, mut most) = (Vec::new(), 0, 0);
    let mut last = completed;
    let ends = tokio::time::Instant::now() + Duration::from_secs(args.seconds);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    of.stand(false).await;
    while tokio::time::Instant::now() < ends {
        tokio::select! {
            changed = job.changed() => changed?,
            _ = looks.tick() => most = most.max(total(of.backend.memory_used())),
        }
        let view = job.view();
        if view.checkpoints > last {
            last = view.checkpoints;
            // The figures of this very checkpoint come a little later.
            let figures = view.subtasks.iter().map(|subtask| subtask.figures);
            let uploaded: u64 = figures.clone().map(|figures| figures.uploaded_bytes).sum();
            stored.push(format!("{}", uploaded >> 20));
            all = figures.map(|figures| figures.snapshot_bytes).sum();
        }
    }
    of.stand(true).await;
    let (used, records) = (reading.used(), of.arrived.load(Relaxed) - before);
    let per_cpu = records as f64 / used.cpu.as_secs_f64();
    println!(
        "    {name} {:.1} thousand per CPU-second, {:.1} a second; memory at the most {} MiB of {}{}",
        per_cpu / 1e3,
        records as f64 / used.wall.as_secs_f64() / 1e3,
        most >> 20,
        args.memory,
        match stored.is_empty() {
            true => String::new(),
            false => format!(
                "; {} checkpoints, of {} MiB stored {}",
                last - completed,
                all >> 20,
                stored.join(" ")
            ),
        }
    );
    Ok(per_cpu)
}
