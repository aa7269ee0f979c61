//! What is left of jobs that come and go: a JobManager and a TaskManager in processes of their own, in which one job after the other is
//! submitted, runs, and is canceled. Each needs all slots, so one that is left takes the next job's place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::at_least_one;
use super::processes::{Directory, JobManager, Process};

/// Percent by which resident memory at the end may be above that after the first jobs.
const MEMORY_BAR: f64 = 5.0;

/// Fewer jobs than these say nothing about memory: what a process needs once is most of what it grows by.
const ENOUGH: u64 = 500;

/// Jobs that have ended of which the log is kept, as a file each.
const KEPT: u64 = 100;

/// How long a job may take to get somewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long what is left of the last job may take to be gone, on a machine that has a lot to do.
const SETTLES: Duration = Duration::from_secs(60);

/// Before what is left is looked at: threads that had something to wait for are gone.
const PAUSE: Duration = Duration::from_secs(2);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// How jobs come and go.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Jobs in all.
    #[arg(long, default_value_t = 1_000, value_parser = at_least_one::<u64>())]
    cycles: u64,
    /// Jobs after which is looked for the first time.
    #[arg(long, default_value_t = 100, value_parser = at_least_one::<u64>())]
    first: u64,
    /// Percent by which resident memory may grow.
    #[arg(long, default_value_t = MEMORY_BAR)]
    memory_bar: f64,
    /// Where the processes keep their storage.
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            cycles: 1_000,
            first: 100,
            memory_bar: MEMORY_BAR,
            directory: None,
        }
    }
}

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Bytes of memory that are resident.
    resident: u64,
    descriptors: usize,
    /// Those of them that are connections, or listen for some.
    sockets: usize,
    threads: usize,
}

impl Held {
    fn by(process: &Process) -> anyhow::Result<Self> {
        let own = Path::new("/proc").join(process.id().to_string());
        let status = std::fs::read_to_string(own.join("status")).context("can't read /proc")?;
        let kilobytes = status.lines().find_map(|line| {
            let figure = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
            figure.parse::<u64>().ok()
        });
        let mut held = Self {
            resident: kilobytes.context("/proc tells of no resident memory")? * 1_024,
            descriptors: 0,
            sockets: 0,
            threads: std::fs::read_dir(own.join("task"))?.count(),
        };
        for descriptor in std::fs::read_dir(own.join("fd"))? {
            // One that has been closed meanwhile is none.
            if let Ok(leads_to) = std::fs::read_link(descriptor?.path()) {
                held.descriptors += 1;
                held.sockets += usize::from(leads_to.to_string_lossy().starts_with("socket:"));
            }
        }
        Ok(held)
    }
}

/// What all of them hold.
#[derive(Debug, Clone, Copy)]
struct Left {
    leader: Held,
    tasks: Held,
    /// Files of the storage, and what jobs have written.
    files: u64,
}

impl Left {
    /// Whether nothing is there that wasn't earlier, but for so many files.
    fn is_no_more_than(&self, earlier: &Self, files: u64) -> bool {
        let fits = |now: Held, then: Held| {
            now.descriptors <= then.descriptors && now.sockets <= then.sockets
        };
        fits(self.leader, earlier.leader)
            && fits(self.tasks, earlier.tasks)
            && self.files <= earlier.files + files
    }

    fn print(&self, after: u64) {
        println!("  after {after} jobs: {} files", self.files);
        for (name, held) in [("JobManager", self.leader), ("TaskManager", self.tasks)] {
            println!(
                "    {name}: {:.1} MB resident, {} descriptors, {} of them sockets, {} threads",
                held.resident as f64 / 1e6,
                held.descriptors,
                held.sockets,
                held.threads
            );
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| match entry.path() {
        path if path.is_dir() => files(&path),
        path => vec![path],
    });
    found.collect()
}

/// The processes.
struct Cycles {
    leader: JobManager,
    tasks: Process,
    directory: Directory,
}

impl Cycles {
    fn start(within: Option<&Path>) -> anyhow::Result<Self> {
        let directory = Directory::make(within, "cycles")?;
        let storage = directory.file("storage");
        let leader = JobManager::leading(JobManager::start(&storage)?)?;
        let tasks = Process::start("taskmanager", &storage, &["--slots", "2"])?;
        Ok(Self {
            leader,
            tasks,
            directory,
        })
    }

    /// Asks by a connection of its own.
    fn ask(&self, path: &str, what: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("http://{}/v1/{path}", self.leader.address);
        let agent = ureq::Agent::new_with_defaults();
        let mut response = match what {
            None => agent.get(url).call()?,
            Some(what) => agent.post(url).send_json(what)?,
        };
        Ok(response.body_mut().read_json()?)
    }

    async fn until(&self, job: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let began = super::meter::now();
        loop {
            let status = self.ask(&format!("jobs/{job}"), None)?;
            if is_so(&status) {
                return Ok(());
            }
            let waited = began.elapsed();
            anyhow::ensure!(waited < PATIENCE, "it never came to that: {status}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A job that comes, completes a checkpoint, and goes.
    async fn cycle(&self) -> anyhow::Result<()> {
        let out = self.directory.file("out").display().to_string();
        let job = json!({
            "job": "clicks",
            "args": ["--out", out, "--rate", "10000"],
            "parallelism": 2,
            "checkpoint_interval_ms": 20
        });
        let submitted = self.ask("jobs", Some(job))?;
        let job = submitted["id"].as_str().context("an id")?;
        let has_checkpoint = |status: &Value| status["checkpoints"] != 0;
        self.until(job, has_checkpoint).await?;
        self.ask(&format!("jobs/{job}/cancel"), Some(Value::Null))?;
        self.until(job, |status| status["status"] == "canceled")
            .await
    }

    /// Of the storage, and what jobs have written.
    fn files(&self) -> Vec<PathBuf> {
        let storage = files(&self.directory.file("storage"));
        [storage, files(&self.directory.file("out"))].concat()
    }

    fn left(&self) -> anyhow::Result<Left> {
        Ok(Left {
            leader: Held::by(&self.leader.process)?,
            tasks: Held::by(&self.tasks)?,
            files: self.files().len() as u64,
        })
    }

    /// What is left when it has become no more than is expected: a job's end is told before all of it is gone.
    async fn settled(&self, is_expected: impl Fn(&Left) -> bool) -> anyhow::Result<Left> {
        let began = super::meter::now();
        loop {
            let left = self.left()?;
            if is_expected(&left) || began.elapsed() > SETTLES {
                return Ok(left);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let Args {
        cycles,
        first,
        memory_bar,
        ..
    } = *args;
    anyhow::ensure!(
        first < cycles,
        "--first {first} is not before the last of --cycles {cycles}: give less"
    );
    println!(
        "\ncycles: {cycles} jobs, each submitted, run at parallelism 2 up to its first checkpoint, and canceled, in a JobManager and a \
         TaskManager of 2 slots"
    );
    let all = Cycles::start(args.directory.as_deref())?;
    for _ in 0..first {
        all.cycle().await?;
    }
    tokio::time::sleep(PAUSE).await;
    let early = all.left()?;
    early.print(first);
    for _ in first..cycles {
        all.cycle().await?;
    }
    let more_files = cycles.min(KEPT) - first.min(KEPT);
    let is_expected = |left: &Left| left.is_no_more_than(&early, more_files);
    all.settled(is_expected).await?;
    // As long as was waited before the first look.
    tokio::time::sleep(PAUSE).await;
    let late = all.settled(is_expected).await?;
    late.print(cycles);
    let grown = [(late.leader, early.leader), (late.tasks, early.tasks)]
        .map(|(late, early)| late.resident as f64 / early.resident as f64);
    let met = grown
        .iter()
        .all(|grown| (*grown - 1.0) * 100.0 <= memory_bar);
    println!(
        "  resident memory: JobManager {:+.1} %, TaskManager {:+.1} %; bar {:+.1} %: {}",
        (grown[0] - 1.0) * 100.0,
        (grown[1] - 1.0) * 100.0,
        memory_bar,
        if met { "met" } else { "missed" }
    );
    anyhow::ensure!(
        met || cycles < ENOUGH,
        "jobs have left memory: more than is allowed"
    );
    if !is_expected(&late) {
        for file in all.files() {
            println!("  {}", file.display());
        }
    }
    anyhow::ensure!(
        is_expected(&late),
        "jobs have left something: the {more_files} files more of logs that are kept, and nothing else, were to be there"
    );
    Ok(())
}
