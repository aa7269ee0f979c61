//! What checkpoints of a store's files cost: the same job with them and without, in turns.
//!
//! Both are filled once. While one has its turn, the source of the other stands still, and a turn lasts until what it has set off is
//! done: a checkpoint of all that has changed, and compactions. The checkpoints of a job that stands have nothing to store.

use std::ops::AddAssign;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rivus::Storage;

use super::super::Setup;
use super::super::comparison::verdict;
use super::super::meter::{self, Reading};
use super::{Args, Filled, Scratch, filled, total};

/// A checkpoint each ten seconds may cost so much of the pace per CPU-second.
const BAR: f64 = 0.97;

/// From one of them to the next.
const BAR_INTERVAL: Duration = Duration::from_secs(10);

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
        without.stand(false).await?;
        let with = filled(setup, args, hot_keys, Some(checkpoints)).await?;
        with.stand(true).await?;
        // What filling has left is still merged as each has its first turn.
        for (job, has_checkpoints) in [(&without, false), (&with, true)] {
            turn(job, has_checkpoints, args).await?;
        }
        println!("    those were the first turns, from here on it counts");
        let (mut without_any, mut with_some, mut shares) = (Turn::NONE, Turn::NONE, Vec::new());
        for round in 0..args.rounds {
            let mut turns = [Turn::NONE; 2];
            for has_checkpoints in [round % 2 == 1, round % 2 == 0] {
                let job = if has_checkpoints { &with } else { &without };
                turns[usize::from(has_checkpoints)] = turn(job, has_checkpoints, args).await?;
            }
            let [one, other] = turns;
            shares.push(other.per_cpu() / one.per_cpu());
            without_any += one;
            with_some += other;
        }
        with.end().await;
        without.end().await;
        shares.sort_by(f64::total_cmp);
        let share = with_some.per_cpu() / without_any.per_cpu();
        let judged = args.is_the_bars() && interval == BAR_INTERVAL;
        println!(
            "    with checkpoints {:.1} % of the pace without, per CPU-second of all turns (one by one {:.1} to {:.1}); bar {:.0} %{}",
            share * 100.0,
            shares[0] * 100.0,
            shares[shares.len() - 1] * 100.0,
            BAR * 100.0,
            match judged {
                true => format!(": {}", verdict(share >= BAR)),
                false => ", of other keys, memory and interval".to_owned(),
            }
        );
    }
    Ok(())
}

impl Filled {
    /// Lets its source stand still until nothing is left to do: all that has changed is in a checkpoint, if there are any, and
    /// what that set off is done.
    async fn stand(&self, has_checkpoints: bool) -> anyhow::Result<()> {
        self.stands.store(true, Relaxed);
        let mut job = self.job.clone();
        let wanted = job.view().checkpoints + if has_checkpoints { 2 } else { 0 };
        while job.view().checkpoints < wanted {
            job.changed().await?;
        }
        meter::quiet().await;
        Ok(())
    }

    /// MiB that its last checkpoint has stored, and that are in it.
    fn stored(&self) -> (u64, u64) {
        let view = self.job.view();
        let figures = view.subtasks.iter().map(|subtask| subtask.figures);
        let uploaded: u64 = figures.clone().map(|figures| figures.uploaded_bytes).sum();
        let all: u64 = figures.map(|figures| figures.snapshot_bytes).sum();
        (uploaded >> 20, all >> 20)
    }
}

/// Records, and the CPU time of a turn with all that it has set off.
#[derive(Debug, Clone, Copy)]
struct Turn {
    records: u64,
    cpu: Duration,
}

impl Turn {
    const NONE: Self = Self {
        records: 0,
        cpu: Duration::ZERO,
    };

    fn per_cpu(self) -> f64 {
        self.records as f64 / self.cpu.as_secs_f64()
    }
}

impl AddAssign for Turn {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.cpu += other.cpu;
    }
}

async fn turn(of: &Filled, has_checkpoints: bool, args: &Args) -> anyhow::Result<Turn> {
    let (reading, before) = (Reading::take(), of.arrived.load(Relaxed));
    let (first, mut most, mut stored) = (of.job.view().checkpoints, 0, of.stored());
    let lasts = Duration::from_secs(args.seconds);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    of.stands.store(false, Relaxed);
    while reading.used().wall < lasts {
        looks.tick().await;
        most = most.max(total(of.backend.memory_used()));
        stored = stored.max(of.stored());
    }
    let wall = reading.used().wall;
    of.stand(has_checkpoints).await?;
    let turn = Turn {
        records: of.arrived.load(Relaxed) - before,
        cpu: reading.used().cpu,
    };
    println!(
        "    {} {:.1} thousand per CPU-second, {:.1} a second; memory at the most {} MiB of {}{}",
        if has_checkpoints {
            "with   "
        } else {
            "without"
        },
        turn.per_cpu() / 1e3,
        turn.records as f64 / wall.as_secs_f64() / 1e3,
        most >> 20,
        args.memory,
        match has_checkpoints {
            true => format!(
                "; {} checkpoints, of {} MiB at the most {} stored at once",
                of.job.view().checkpoints - first,
                stored.1,
                stored.0
            ),
            false => String::new(),
        }
    );
    Ok(turn)
}
