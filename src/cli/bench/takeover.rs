//! How long a leader's death is heard at a sink: processes that run a job at full load, whose leader is killed again and again.

mod probe;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

pub(crate) use self::probe::probe;
use self::probe::{Told, now};
use super::at_least_one;

/// The median of the longest silences after each kill may be so many times what one of a thousand exceeds without kills.
const MEDIAN_BAR: f64 = 3.0;

/// No silence may be longer.
const LONGEST_BAR: Duration = Duration::from_millis(250);

/// How takeovers are measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leaders that are killed.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    kills: u64,
    /// Seconds from one kill to the next.
    #[arg(long, default_value_t = 4, value_parser = at_least_one::<u64>())]
    apart: u64,
    /// Seconds without a kill, before.
    #[arg(long, default_value_t = 20, value_parser = at_least_one::<u64>())]
    steady: u64,
    /// Milliseconds between checkpoints.
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one::<u64>())]
    checkpoint_ms: u64,
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
            directory: None,
        }
    }
}

/// What goes when the measurement is over, however it ends.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process of this binary; killed when it is let go.
struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(role: &str, storage: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let mut child = command(&[role, "--storage"])?
            .arg(storage)
            .args(options)
            // Whoever is killed is missed; that is what is asked for.
            .env("RIVUS_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start a {role}"))?;
        let said = child.stdout.take().context("is piped")?;
        Ok(Self {
            child,
            said: BufReader::new(said),
        })
    }

    /// Waits for the line that begins so, and gives the word behind it.
    fn says(&mut self, begins: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(begins) {
                let word = rest.split([';', ' ']).next().unwrap_or_default();
                return Ok(word.trim_end_matches(':').to_owned());
            }
            line.clear();
        }
        anyhow::bail!("a process has ended without a line that begins with {begins:?}")
    }
}

/// A JobManager, and where commands go.
struct JobManager {
    process: Process,
    address: String,
}

impl JobManager {
    fn start(storage: &Path) -> anyhow::Result<Process> {
        Process::start("jobmanager", storage, &["--address", "127.0.0.1:0"])
    }

    fn leading(mut process: Process) -> anyhow::Result<Self> {
        let address = process.says("listening on ")?;
        Ok(Self { process, address })
    }

    fn standing_by(storage: &Path) -> anyhow::Result<Process> {
        let mut process = Self::start(storage)?;
        process.says("standing by at ")?;
        Ok(process)
    }

    /// What a command answers.
    fn answer(&self, words: &[&str]) -> anyhow::Result<Value> {
        let (name, rest) = words.split_first().context("a command")?;
        let mut asking = command(&[name, "--json", "--address", &self.address])?;
        let output = asking.args(rest).output()?;
        anyhow::ensure!(
            output.status.success(),
            "rivus {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn command(words: &[&str]) -> anyhow::Result<Command> {
    let binary = std::env::current_exe().context("this binary isn't found")?;
    let mut command = Command::new(binary);
    command.args(words);
    Ok(command)
}

fn is_first_life(task: &Value) -> bool {
    task["task"]
        .as_str()
        .is_some_and(|task| task.ends_with("#1"))
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    println!(
        "\ntakeover: source -> key_by -> count -> probe, 2x2, full load, in a TaskManager of its own; a checkpoint each {} ms; \
         the leader of two JobManagers is killed {} times, {} s apart",
        args.checkpoint_ms, args.kills, args.apart
    );
    let own = format!("rivus-takeover-{}", std::process::id());
    let within = args.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = Directory(within.join(own));
    std::fs::create_dir_all(&directory.0).with_context(|| {
        format!(
            "can't make {}: give another --directory",
            directory.0.display()
        )
    })?;
    let (storage, told) = (directory.0.join("storage"), directory.0.join("told"));
    let mut leader = JobManager::leading(JobManager::start(&storage)?)?;
    let _tasks = Process::start("taskmanager", &storage, &["--slots", "2"])?;
    let mut next = JobManager::standing_by(&storage)?;
    let interval = format!("{}ms", args.checkpoint_ms);
    let submit = ["submit", "-p", "2", "--checkpoint-interval", &interval];
    let probe = ["probe", "--", "--to", told.to_str().context("a path")?];
    let job = leader.answer(&[&submit[..], &probe].concat())?;
    let job = job["id"].as_str().context("an id")?.to_owned();

    // Until it is under way.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = now();
    tokio::time::sleep(Duration::from_secs(args.steady)).await;
    let steady = (began, now());

    let mut kills = Vec::new();
    for _ in 0..args.kills {
        let killed = now();
        drop(leader.process);
        leader = JobManager::leading(next)?;
        let led = now();
        next = JobManager::standing_by(&storage)?;
        let passed = Duration::from_nanos(now() - killed);
        let apart = Duration::from_secs(args.apart);
        tokio::time::sleep(apart.saturating_sub(passed)).await;
        kills.push((killed, led, now()));
    }
    let last = leader.answer(&["status", &job])?;
    leader.answer(&["cancel", &job])?;

    let told = Told::read(&told)?;
    let usual = told.p999(steady.0, steady.1);
    let span = Duration::from_secs(args.apart).as_nanos() as u64;
    let spans = (steady.0..steady.1).step_by(span as usize);
    let quiet = spans.map(|from| told.longest(from, from + span));
    let gaps = kills
        .iter()
        .map(|(killed, _, until)| told.longest(*killed, *until));
    let leads = kills.iter().map(|(killed, led, _)| led - killed);
    let (quiet, gaps, leads) = (sorted(quiet), sorted(gaps), sorted(leads));
    println!(
        "  without a kill: of all silences one in a thousand exceeds {}; the longest in {} s: {}",
        millis(usual),
        args.apart,
        spread(&quiet)
    );
    println!(
        "  with a kill, the longest in {} s: {}",
        args.apart,
        spread(&gaps)
    );
    println!("  from a kill to the next leader: {}", spread(&leads));
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
    let times = median / usual as f64;
    let longest = Duration::from_nanos(gaps.last().copied().unwrap_or_default());
    println!(
        "  the median is {:.1} times the longest of as long without a kill, and {times:.1} times the usual; bar {MEDIAN_BAR}: {}; \
         longest {longest:.1?}; bar {LONGEST_BAR:?}: {}",
        median / middle(&quiet) as f64,
        verdict(times <= MEDIAN_BAR),
        verdict(longest <= LONGEST_BAR)
    );
    anyhow::ensure!(
        last["restarts"] == 0 && tasks.iter().all(is_first_life),
        "a takeover has restarted something: {last}"
    );
    Ok(())
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

fn sorted(all: impl Iterator<Item = u64>) -> Vec<u64> {
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
fn spread(all: &[u64]) -> String {
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
