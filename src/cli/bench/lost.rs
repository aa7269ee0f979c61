//! What a TaskManager's death costs: of processes that keep a large state one is killed, and a spare goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::at_least_one;
use super::bid::key_of;
use super::comparison::verdict;
use super::probe::{SUBTASKS, Told, now};
use super::processes::{Directory, JobManager, Process};
use super::takeover::{sorted, spread};

/// New output must come so soon, in milliseconds.
const BAR: u64 = 2_000;

/// After which it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How it is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TaskManagers that are killed, one after the other.
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<u64>())]
    kills: u64,
    /// Keys of the state.
    #[arg(long, default_value_t = 2_000_000, value_parser = at_least_one::<u64>())]
    keys: u64,
    /// Bytes that each key's state holds beside its key and two numbers.
    #[arg(long, default_value_t = 240)]
    value_bytes: usize,
    /// Records a second.
    #[arg(long, default_value_t = 100_000, value_parser = at_least_one::<u64>())]
    rate: u64,
    /// Milliseconds between checkpoints.
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one::<u64>())]
    checkpoint_ms: u64,
    /// Milliseconds after a kill until new output must be there.
    #[arg(long, default_value_t = BAR)]
    bar_ms: u64,
    /// Commit all that comes out to files too, and hold them against what must have come out.
    #[arg(long)]
    committed: bool,
    /// Keep the state in memory instead of in RocksDB.
    #[arg(long)]
    in_memory: bool,
    /// Where the processes keep state and storage, and the probe's file lies.
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            kills: 5,
            keys: 2_000_000,
            value_bytes: 240,
            rate: 100_000,
            checkpoint_ms: 1_000,
            bar_ms: BAR,
            committed: false,
            in_memory: false,
            directory: None,
        }
    }
}

/// Waits until a job's status is as it should be.
async fn until(
    leader: &JobManager,
    job: &str,
    is_so: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let patience = now() + PATIENCE.as_nanos() as u64;
    loop {
        let status = leader.answer(&["status", job])?;
        if is_so(&status) {
            return Ok(status);
        }
        anyhow::ensure!(now() < patience, "it takes too long: {status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Bytes of all files below a directory.
fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What was committed: keys, their counts, and the numbers of the records that they were counted by.
#[derive(Debug)]
struct Committed {
    rows: Vec<(u64, u64, u64)>,
}

impl Committed {
    fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut rows = Vec::new();
        for entry in std::fs::read_dir(directory).context("nothing was committed")? {
            let path = entry?.path();
            // Others are being written, or were when their process was killed.
            if path.extension().is_none_or(|extension| extension != "csv") {
                continue;
            }
            for line in std::fs::read_to_string(&path)?.lines() {
                let fields: Result<Vec<u64>, _> = line.split(',').map(str::parse).collect();
                match fields.as_deref() {
                    Ok([key, count, number]) => rows.push((*key, *count, *number)),
                    _ => anyhow::bail!("{}: no result: {line:?}", path.display()),
                }
            }
        }
        Ok(Self { rows })
    }

    /// Whether the numbers of each of the source's splits came once each, from its first to some last one, each for the key that it has,
    /// and each key was counted from one on without a step left out or taken twice. In which order two splits' records come is open.
    fn is_right(&self, keys: u64) -> bool {
        let mut numbers = [const { Vec::new() }; SUBTASKS];
        let mut counts = vec![Vec::new(); keys as usize];
        for &(key, count, number) in &self.rows {
            let Some(before) = count.checked_sub(1).filter(|_| key == key_of(number, keys)) else {
                return false;
            };
            numbers[number as usize % SUBTASKS].push(number / SUBTASKS as u64);
            counts[key as usize].push(before);
        }
        let each_once = |of: &mut Vec<u64>| {
            of.sort_unstable();
            of.iter().copied().eq(0..of.len() as u64)
        };
        !self.rows.is_empty()
            && numbers.iter_mut().all(each_once)
            && counts.iter_mut().all(each_once)
    }
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    println!(
        "\nlost: source -> key_by -> aggregate -> probe, 2x2, {} records a second, {} keys of {} bytes {}, a checkpoint each {} ms; \
         of two TaskManagers that run it one is killed {} times, and a spare takes its place",
        args.rate,
        args.keys,
        args.value_bytes,
        if args.in_memory {
            "in memory"
        } else {
            "in RocksDB"
        },
        args.checkpoint_ms,
        args.kills
    );
    let directory = Directory::make(args.directory.as_deref(), "lost")?;
    let (storage, told) = (directory.file("storage"), directory.file("told"));
    let rows = directory.file("rows");
    let mut options = vec!["--slots", "1", "--workers", "2"];
    if !args.in_memory {
        options.extend(["--rocksdb-directory", rows.to_str().context("a path")?]);
    }
    let leader = JobManager::leading(JobManager::start(&storage)?)?;
    let task_manager = || Process::start("taskmanager", &storage, &options);
    let mut running = vec![task_manager()?, task_manager()?];
    let (keys, bytes) = (args.keys.to_string(), args.value_bytes.to_string());
    let (rate, to) = (args.rate.to_string(), told.to_str().context("a path")?);
    // As from a log that others write: what is behind is read as fast as it can be.
    let since = (now() / 1_000_000).to_string();
    let probe = ["probe", "--", "--to", to, "--rate", &rate, "--keys", &keys];
    let probe = [&probe[..], &["--since", &since]].concat();
    let mut probe = [&probe[..], &["--value-bytes", &bytes]].concat();
    let out = directory.file("out");
    if args.committed {
        probe.extend(["--out", out.to_str().context("a path")?]);
    }
    let job = leader.submit(&format!("{}ms", args.checkpoint_ms), &probe)?;

    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let filling = Duration::from_secs(args.keys.div_ceil(args.rate));
    tokio::time::sleep(filling).await;
    let completed = |status: &Value| number(&status["checkpoints"]);
    let mut last = until(&leader, &job, |status| completed(status) > 0).await?;
    if !args.in_memory {
        println!("  {} MiB of files", size(&rows) >> 20);
    }
    let mut took = Vec::new();
    for _ in 0..args.kills {
        running.push(task_manager()?);
        let so_far = completed(&last);
        until(&leader, &job, |status| completed(status) > so_far + 2).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let killed = now();
        drop(running.remove(0));
        let new = loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Some(new) = Told::read(&told)?.all_new_after(killed, 2) {
                break new;
            }
            let waited = Duration::from_nanos(now() - killed);
            anyhow::ensure!(
                waited < PATIENCE,
                "nothing new has come for {waited:?}: {}",
                leader.answer(&["status", &job])?
            );
        };
        took.push(new - killed);
        let so_far = completed(&last);
        last = until(&leader, &job, |status| completed(status) > so_far).await?;
    }
    // What is under way is committed by a stop.
    let end = if args.committed { "stop" } else { "cancel" };
    leader.answer(&[end, &job])?;
    let took = sorted(took.into_iter());
    println!(
        "  from the kill to new output of both subtasks: {}",
        spread(&took)
    );
    println!(
        "  {} restarts, {} checkpoints",
        last["restarts"], last["checkpoints"]
    );
    if args.committed {
        let rows = Committed::read(&out)?;
        let right = rows.is_right(args.keys);
        println!(
            "  {} results committed, each once and as it must be: {right}",
            rows.rows.len()
        );
        anyhow::ensure!(right, "what was committed isn't what must come out");
    }
    let longest = Duration::from_nanos(took.last().copied().unwrap_or_default());
    let bar = Duration::from_millis(args.bar_ms);
    println!(
        "  longest {longest:.2?}; bar {bar:?}: {}",
        verdict(longest <= bar)
    );
    anyhow::ensure!(
        number(&last["restarts"]) == args.kills,
        "something else has restarted: {last}"
    );
    anyhow::ensure!(longest <= bar, "new output came too late");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_twice_or_wrong_is_seen() {
        let keys = 3;
        let mut counts = [0; 3];
        let right: Vec<_> = (0..100)
            .map(|number| {
                let key = key_of(number, keys);
                counts[key as usize] += 1;
                (key, counts[key as usize], number)
            })
            .collect();
        let is_right = |rows: Vec<_>| Committed { rows }.is_right(keys);
        assert!(is_right(right.clone()));
        assert!(!is_right(Vec::new()));
        let changed = |change: fn(&mut Vec<(u64, u64, u64)>)| {
            let mut rows = right.clone();
            change(&mut rows);
            is_right(rows)
        };
        assert!(!changed(|rows| {
            rows.remove(50);
        }));
        assert!(!changed(|rows| rows.push(rows[50])));
        // A count that a failure took back and another that it didn't.
        assert!(!changed(|rows| rows[50].1 += 1));
        assert!(!changed(|rows| rows[50].0 = (rows[50].0 + 1) % 3));
        assert!(!changed(|rows| rows[50].0 = 7));
        assert!(!changed(|rows| rows[50].1 = 0));
        // The last ones of a split may not have been read yet.
        assert!(changed(|rows| rows.truncate(99)));
    }
}
