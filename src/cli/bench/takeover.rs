//! How long a leader's death is heard at a sink: processes that run a job at full load, whose leader is killed again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::at_least_one;
use super::comparison::verdict;
use super::probe::{Told, now, sorted_longest};
use super::processes::{Directory, JobManager, Process};
use super::stalls::Stalls;

/// The median of the longest silences after each kill may be so many times what one of a thousand exceeds without kills.
const MEDIAN_BAR: f64 = 3.0;

/// No silence may be longer.
const LONGEST_BAR: Duration = Duration::from_millis(250);

/// A takeover is over when the next leader has led for so long: by then it has heard from all tasks and begun a checkpoint.
const SETTLED: Duration = Duration::from_secs(1);

/// The next leader leads so soon: the lease, three seconds, and one more.
const LEADS_BAR: Duration = Duration::from_secs(4);

/// How long a checkpoint is waited for after a takeover, and the probe's ledger after the job.
const PATIENCE: Duration = Duration::from_secs(30);

/// How takeovers are measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leaders that are killed.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    kills: u64,
    /// Seconds from one kill to the next.
    #[arg(long, default_value_t = 4, value_parser = at_least_one::<u64>())]
    apart: u64,
    /// Seconds without a kill, before; and as many before the job, for what the machine does by itself.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    steady: u64,
    /// Milliseconds between checkpoints.
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one::<u64>())]
    checkpoint_ms: u64,
    /// Records a second; without it as many as it can.
    #[arg(long, value_parser = at_least_one::<u64>())]
    rate: Option<u64>,
    /// Tell times without holding them against their bars, as on a machine that does other things too. What is lost, comes twice or
    /// is restarted fails all the same.
    #[arg(long)]
    untimed: bool,
    /// Where the processes keep their storage, and the probe's file lies.
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            kills: 20,
            apart: 4,
            steady: 20,
            checkpoint_ms: 1_000,
            rate: None,
            untimed: false,
            directory: None,
        }
    }
}

fn is_first_life(task: &Value) -> bool {
    task["task"]
        .as_str()
        .is_some_and(|task| task.ends_with("#1"))
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let load = match args.rate {
        Some(rate) => format!("{rate} records/s"),
        None => "full load".to_owned(),
    };
    println!(
        "\ntakeover: source -> key_by -> count -> probe, 2x2, {load}, in a TaskManager of its own; a checkpoint each {} ms; \
         the leader of two JobManagers is killed {} times, {} s apart",
        args.checkpoint_ms, args.kills, args.apart
    );
    let steady = Duration::from_secs(args.steady);
    let machine = tokio::task::spawn_blocking(move || Stalls::watch(steady)).await?;
    let directory = Directory::make(args.directory.as_deref(), "takeover")?;
    let (storage, told) = (directory.file("storage"), directory.file("told"));
    let mut leader = JobManager::leading(JobManager::start(&storage)?)?;
    let _tasks = Process::start("taskmanager", &storage, &["--slots", "2"])?;
    let mut next = JobManager::standing_by(&storage)?;
    let interval = format!("{}ms", args.checkpoint_ms);
    let rate = args.rate.map(|rate| format!("--rate={rate}"));
    let mut probe = vec!["probe", "--", "--to", told.to_str().context("a path")?];
    probe.extend(rate.as_deref());
    let job = leader.submit(&interval, &probe)?;

    // Until it is under way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = now();
    tokio::time::sleep(Duration::from_secs(args.steady)).await;
    let steady = (began, now());

    let (mut kills, mut resumed) = (Vec::new(), Vec::new());
    for _ in 0..args.kills {
        let killed = now();
        drop(leader.process);
        leader = JobManager::leading(next)?;
        let led = now();
        next = JobManager::standing_by(&storage)?;
        let passed = Duration::from_nanos(now() - killed);
        let apart = Duration::from_secs(args.apart);
        tokio::time::sleep(apart.saturating_sub(passed)).await;
        kills.push((killed, led));
        resumed.push(until_a_checkpoint(&leader, &job, killed).await?);
    }
    let last = leader.answer(&["status", &job])?;
    leader.answer(&["stop", &job])?;
    let sent = records_sent(&leader.answer(&["status", &job])?);

    let told = told_in_all(&told).await?;
    let usual = told.p999(steady.0, steady.1);
    let leads = sorted(kills.iter().map(|(killed, led)| led - killed));
    let settled = SETTLED.as_nanos() as u64;
    let gaps = kills
        .iter()
        .map(|(killed, led)| told.longest(*killed, led + settled));
    // As long as a takeover takes.
    let span = middle(&leads) + settled;
    let (quiet, gaps) = (sorted_longest(&told.gaps, steady, span), sorted(gaps));
    let stalls = machine.longest_in(span);
    println!(
        "  the machine by itself, a thread for each core that only looks at the clock: it stands still in {} for {}",
        millis(span),
        spread(&stalls)
    );
    println!(
        "  without a kill: of all silences one in a thousand exceeds {}; the longest in {}: {}",
        millis(usual),
        millis(span),
        spread(&quiet)
    );
    println!(
        "  from a kill until the next leader has led for {SETTLED:?}, the longest: {}",
        spread(&gaps)
    );
    let slowest = Duration::from_nanos(leads.last().copied().unwrap_or_default());
    let leads_in_time = slowest <= LEADS_BAR;
    println!(
        "  from a kill to the next leader: {}; bar {LEADS_BAR:?}: {}",
        spread(&leads),
        verdict(leads_in_time)
    );
    let resumed = sorted(resumed.into_iter());
    let intervals = Duration::from_millis(2 * args.checkpoint_ms);
    let slowest = Duration::from_nanos(resumed.last().copied().unwrap_or_default());
    let resumes_in_time = slowest <= intervals;
    println!(
        "  from a takeover to the next checkpoint that is complete: {}; bar two intervals, {intervals:?}: {}",
        spread(&resumed),
        verdict(resumes_in_time)
    );
    let tasks = last["tasks"].as_array().context("a list of tasks")?;
    println!(
        "  {} takeovers, {} restarts, {} of {} tasks in their first life, {} checkpoints",
        last["takeovers"],
        last["restarts"],
        tasks.iter().filter(|task| is_first_life(task)).count(),
        tasks.len(),
        last["checkpoints"]
    );
    let median = middle(&gaps) as f64;
    let beside = |others: &[u64]| match middle(others) {
        0 => "?".to_owned(),
        other => format!("{:.1}", median / other as f64),
    };
    let times = median / usual as f64;
    let longest = Duration::from_nanos(gaps.last().copied().unwrap_or_default());
    println!(
        "  the median is {} times the machine's own, {} times the longest of as long without a kill, and {times:.1} times the \
         usual; bar {MEDIAN_BAR}: {}; longest {longest:.1?}; bar {LONGEST_BAR:?}: {}",
        beside(&stalls),
        beside(&quiet),
        verdict(times <= MEDIAN_BAR),
        verdict(longest <= LONGEST_BAR)
    );
    // What was lost at the very end only this shows.
    let came = told.each_once().filter(|came| *came >= sent);
    println!(
        "  at the sink: {}",
        match came {
            Some(records) => format!("{records} records, each once, in their keys' order"),
            None => "records are lost, or came twice".to_owned(),
        }
    );
    anyhow::ensure!(
        last["restarts"] == 0 && tasks.iter().all(is_first_life),
        "a takeover has restarted something: {last}"
    );
    anyhow::ensure!(came.is_some(), "the output isn't the undisturbed run's");
    let is_unheard = times <= MEDIAN_BAR && longest <= LONGEST_BAR;
    for (met, missed) in [
        (is_unheard, "a takeover is heard at the sink"),
        (leads_in_time, "a next leader came too late"),
        (
            resumes_in_time,
            "checkpoints resumed too late after a takeover",
        ),
    ] {
        anyhow::ensure!(met || args.untimed, "{missed}");
    }
    Ok(())
}

/// Records that have gone out of the sources, by their last figures.
fn records_sent(status: &Value) -> u64 {
    let tasks = status["tasks"].as_array().into_iter().flatten();
    let is_source = |task: &&Value| {
        let name = task["task"].as_str();
        name.is_some_and(|name| name.starts_with("v0["))
    };
    let sources = tasks.filter(is_source);
    let sent = sources.filter_map(|task| task["records_out"].as_u64());
    sent.sum()
}

/// What the probe has told when its job has ended.
async fn told_in_all(path: &Path) -> anyhow::Result<Told> {
    let patience = now() + PATIENCE.as_nanos() as u64;
    loop {
        let told = Told::read(path)?;
        if told.is_whole() {
            return Ok(told);
        }
        anyhow::ensure!(now() < patience, "the probe hasn't told what came in all");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Nanoseconds from the takeover that followed a kill to the next checkpoint, when that is complete.
async fn until_a_checkpoint(leader: &JobManager, job: &str, killed: u64) -> anyhow::Result<u64> {
    let patience = now() + PATIENCE.as_nanos() as u64;
    loop {
        if let Some(took) = resumed_after(killed, &leader.answer(&["logs", job])?)? {
            return Ok(took);
        }
        anyhow::ensure!(
            now() < patience,
            "no checkpoint is complete since the takeover"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The same, by the job's log; none if there is none yet.
fn resumed_after(killed: u64, log: &Value) -> anyhow::Result<Option<u64>> {
    let at = |event: &Value| event["at"].as_u64().context("a time");
    let events = log.as_array().context("a list of events")?;
    let mut events = events
        .iter()
        .skip_while(|event| event["at"].as_u64() < Some(killed / 1_000_000));
    let mut next = |word: &str| events.find(|event| event["event"] == word);
    match (next("takeover"), next("checkpoint")) {
        (Some(takeover), Some(checkpoint)) => {
            Ok(Some((at(checkpoint)? - at(takeover)?) * 1_000_000))
        }
        _ => Ok(None),
    }
}

pub(super) fn sorted(all: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<u64> = all.collect();
    all.sort_unstable();
    all
}

/// Of sorted times.
fn middle(all: &[u64]) -> u64 {
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn millis(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

/// Of sorted times the median and the ends.
pub(super) fn spread(all: &[u64]) -> String {
    match (all.first(), all.last()) {
        (Some(first), Some(last)) => format!(
            "median {} ({} to {})",
            millis(middle(all)),
            millis(*first),
            millis(*last)
        ),
        _ => "none".to_owned(),
    }
}
