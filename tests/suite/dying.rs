//! A leader's process that dies at one step of what it does, as a machine that fails: before a durable write or after it, in the midst
//! of a checkpoint, a commit, a deployment, a rescale, a cancel, a failover, a takeover. However that is, the next one goes on, and the output is what it
//! would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::engine::core::job::LogEntry;
use rivus::engine::{ActorKind, Fault, Probe, Step};
use rivus::{JobArgs, JobOptions, Jobs, OnError, RestartStrategy, StreamEnvironment, UserError};
use tempfile::TempDir;

use crate::certificates::loopback;
use crate::commands::say;
use crate::processes::{Asked, Process, pause};
use crate::remote::servers::EtcdCluster;
use crate::selves;
use crate::written::csv_lines;

/// The file that says at which step the next process is to die that takes it.
const DEATH: &str = "TEST_DYING_DEATH";

/// The directory in which each process tells the steps that it has taken, in a file of its own.
const STEPS: &str = "TEST_DYING_STEPS";

/// What a leader does, as whom it does it by its own account, and the steps of it. Of an entry there is the step before it is written
/// and the one after.
const TABLE: &[(Stage, &str, &[&str], &[&str])] = &[
    (
        Stage::Begins,
        "submitted",
        &[
            "Submit",
            "Renew",
            "StartMaster",
            "Fence",
            "Replay",
            "Decide",
            "Allocate",
            "Deploy",
            "Connect",
            "AssignSplit",
            "Trigger",
            "BetweenTriggers",
            "Acknowledge",
            "StoreManifest",
            "Complete",
            "Announce",
        ],
        &[
            "SplitsFound",
            "SplitsAssigned",
            "Deployed",
            "CheckpointTriggered",
            "CheckpointCompleted",
            "CheckpointCommitted",
        ],
    ),
    (
        Stage::Rescales,
        "submitted",
        &[],
        &[
            "SavepointRequested",
            "CheckpointTriggered to stop",
            "CheckpointCompleted to stop",
            "Rescaled",
        ],
    ),
    (
        Stage::Rescales,
        "rescaled",
        &[
            "Fence", "Replay", "Decide", "Deploy", "Connect", "Trigger", "Announce",
        ],
        &["Deployed", "CheckpointTriggered", "CheckpointCompleted"],
    ),
    (
        Stage::Stops,
        "submitted",
        &["Compact"],
        &[
            "SavepointRequested",
            "CheckpointTriggered to stop",
            "CheckpointCompleted to stop",
            "CheckpointCommitted",
            "Finished",
        ],
    ),
    (
        Stage::Ends,
        "submitted",
        &[],
        &[
            "CheckpointTriggered at last",
            "CheckpointCompleted at last",
            "Finished",
        ],
    ),
    (
        Stage::Cancels,
        "submitted",
        &[],
        &["CancelRequested", "Finished"],
    ),
    (
        Stage::Restarts,
        "submitted",
        &["TaskFailed"],
        &["FailoverStarted"],
    ),
    (
        Stage::Fails,
        "submitted",
        &["TaskFailed"],
        &["FailoverStarted", "JobFailing", "Finished"],
    ),
    (
        Stage::TakesOver,
        "takes over",
        &[
            "Campaign",
            "Renew",
            "Recover",
            "StartMaster",
            "Fence",
            "Register",
            "Replay",
            "Collect",
            "Decide",
        ],
        &["CheckpointTriggered", "CheckpointCompleted"],
    ),
];

/// What somebody asks of a leader, at one step of which it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begins,
    Rescales,
    Stops,
    /// By itself: all has been read.
    Ends,
    Cancels,
    /// By itself: a number is refused, once.
    Restarts,
    /// By itself: it is refused again and again.
    Fails,
    TakesOver,
}

impl Stage {
    /// How many numbers there are, a thousand a second. All jobs but one that ends by itself are stopped long before.
    fn numbers(self) -> usize {
        match self {
            Self::Ends => 500,
            _ => 1_000_000,
        }
    }

    fn job(self) -> &'static str {
        match self {
            Self::Fails => "refusing",
            Self::Restarts => "stumbling",
            _ => "numbers",
        }
    }

    /// What the job is in the end.
    fn end(self) -> &'static str {
        match self {
            Self::Ends => "completed",
            Self::Cancels => "canceled",
            Self::Fails => "failed",
            _ => "stopped",
        }
    }
}

/// All steps at which somebody dies, as a process says them.
fn steps() -> Vec<(Stage, String)> {
    let mut all = Vec::new();
    for (stage, who, steps, entries) in TABLE {
        all.extend(steps.iter().map(|step| (*stage, format!("{who}: {step}"))));
        for entry in *entries {
            all.push((*stage, format!("{who}: BeforeAppend {entry}")));
            all.push((*stage, format!("{who}: AfterAppend {entry}")));
        }
    }
    all
}

pub(crate) fn jobs(jobs: Jobs) -> Jobs {
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(100)),
        restart: RestartStrategy::FixedDelay {
            attempts: 3,
            delay: Duration::from_millis(50),
        },
        ..JobOptions::default()
    };
    let about = "Counts numbers by their last digit: OUT COUNT";
    let jobs = jobs.job_with("numbers", about, options.clone(), |env, args| {
        numbers(env, args, |_| false)
    });
    let jobs = jobs.job_with("stumbling", about, options.clone(), |env, args| {
        let is_first = |out: &str| fs::File::create_new(format!("{out}.refused")).is_ok();
        numbers(env, args, is_first)
    });
    jobs.job_with("refusing", about, options, |env, args| {
        numbers(env, args, |_| true)
    })
}

/// The number that isn't taken, if the job that writes there refuses it.
const REFUSED: u64 = 700;

fn numbers(
    env: &StreamEnvironment,
    args: &JobArgs,
    refuses: fn(&str) -> bool,
) -> Result<(), UserError> {
    let [out, count] = args.exactly()?;
    let numbers = GeneratorSource::new(|n, _| n)
        .count(count.parse()?)
        .rate(1_000);
    let to = out.to_owned();
    let take = move |n| match n == REFUSED && refuses(&to) {
        true => Err("is refused"),
        false => Ok(n),
    };
    env.from_source(numbers)
        .uid("numbers")
        .try_map(take, OnError::Fail)
        .key_by(|n| n % 10)
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

/// How many numbers were counted by a key, if each key's counts are all there, from one on and each once. A key's numbers are of one split,
/// and so in order; which split is read further is nobody's.
pub(crate) fn all_counted(written: &[String]) -> Option<usize> {
    let mut counts = BTreeMap::<&str, Vec<usize>>::new();
    for line in written {
        let (key, count) = line.split_once(',')?;
        counts.entry(key).or_default().push(count.parse().ok()?);
    }
    let is_whole = |counts: &mut Vec<usize>| {
        counts.sort_unstable();
        counts.iter().copied().eq(1..=counts.len())
    };
    counts.values_mut().all(is_whole).then_some(written.len())
}

/// Dies where it is told to, if nobody else has, and tells where it has been.
struct Mortal {
    death: PathBuf,
    steps: PathBuf,
    life: Mutex<Life>,
}

struct Life {
    /// What it leads the job for, as in the table.
    who: &'static str,
    entry: String,
    taken: BTreeSet<String>,
}

fn name_of(entry: &LogEntry) -> String {
    let whole = format!("{entry:?}");
    let word: String = whole.chars().take_while(|c| c.is_alphanumeric()).collect();
    match entry {
        LogEntry::CheckpointTriggered { kind, .. } | LogEntry::CheckpointCompleted { kind, .. } => {
            match format!("{kind:?}").split(' ').next() {
                Some("Stop") => format!("{word} to stop"),
                Some("Final") => format!("{word} at last"),
                _ => word,
            }
        }
        _ => word,
    }
}

impl Probe for Mortal {
    fn entry(&self, _label: &dyn Display, entry: &LogEntry) {
        self.life.lock().expect("whole").entry = name_of(entry);
    }

    fn at(&self, _kind: ActorKind, _label: &dyn Display, step: Step) -> Option<Fault> {
        let mut life = self.life.lock().expect("whole");
        match step {
            Step::Recover => life.who = "takes over",
            Step::Submit => life.who = "submitted",
            _ => {}
        }
        let here = match step {
            Step::BeforeAppend | Step::AfterAppend => {
                format!("{}: {step:?} {}", life.who, life.entry)
            }
            _ => format!("{}: {step:?}", life.who),
        };
        if step == Step::AfterAppend && life.entry == "Rescaled" {
            life.who = "rescaled";
        }
        let is_it = fs::read_to_string(&self.death).is_ok_and(|death| death == here);
        if is_it && fs::remove_file(&self.death).is_ok() {
            std::process::abort();
        }
        if life.taken.insert(here) {
            let taken: Vec<&str> = life.taken.iter().map(String::as_str).collect();
            let _ = fs::write(&self.steps, taken.join("\n"));
        }
        None
    }
}

/// What a process of these tests has in it.
pub(crate) fn probe() -> Option<Arc<dyn Probe>> {
    let (death, steps) = (env::var_os(DEATH)?, env::var_os(STEPS)?);
    Some(Arc::new(Mortal {
        death: death.into(),
        steps: Path::new(&steps).join(std::process::id().to_string()),
        life: Mutex::new(Life {
            who: "takes over",
            entry: String::new(),
            taken: BTreeSet::new(),
        }),
    }))
}

/// A JobManager that waits for its turn, or leads.
struct JobManager {
    process: Process,
    address: String,
}

/// Processes that share a storage. Jobs run one after the other, and whoever dies is replaced.
struct Cluster {
    dir: TempDir,
    /// Where they elect their leader and keep the job's log, if it isn't the storage.
    coordination: Option<String>,
    _etcd: Option<EtcdCluster>,
    managers: Vec<JobManager>,
    _tasks: [Process; 2],
    /// Jobs so far.
    jobs: u32,
}

fn start(dir: &Path, coordination: Option<&str>, words: &[&str]) -> Process {
    let by_etcd = coordination.map(|etcd| ["--coordination", etcd]);
    let by_etcd = by_etcd.as_ref().map_or(&[][..], |words| words);
    let mut command = selves::command(dir, &[words, by_etcd].concat());
    command
        .env(DEATH, dir.join("death"))
        .env(STEPS, dir.join("steps"));
    Process::start(&mut command)
}

impl JobManager {
    /// At an address that nobody else is given, so that it needn't be asked for it.
    fn start(dir: &Path, coordination: Option<&str>) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(25_000);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("{}:{port}", loopback());
        let process = start(dir, coordination, &["jobmanager", "--address", &address]);
        Self { process, address }
    }

    fn leads(&self) -> bool {
        let question = "GET /v1/leader HTTP/1.1\r\nhost: rivus\r\nconnection: close\r\n\r\n";
        // It may not listen yet.
        TcpStream::connect(&self.address).is_ok()
            && say(&self.address, question, true).starts_with("HTTP/1.1 200 ")
    }
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1_200 {
        if is_so() {
            return;
        }
        pause();
    }
    panic!("{what}: it never came to that");
}

impl Cluster {
    fn new(place: Place) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("steps")).expect("is made");
        let etcd = (place == Place::Etcd).then(|| EtcdCluster::start(1));
        let endpoint = etcd.as_ref().map(|etcd| etcd.endpoints()[0].clone());
        let coordination = endpoint.map(|endpoint| endpoint.replace("http://", "etcd://"));
        let first = JobManager::start(dir.path(), coordination.as_deref());
        let tasks = ["taskmanager", "--slots", "1", "--workers", "1"];
        let _tasks = [(); 2].map(|()| start(dir.path(), coordination.as_deref(), &tasks));
        until("the first leads", || first.leads());
        Self {
            dir,
            coordination,
            _etcd: etcd,
            managers: vec![first],
            _tasks,
            jobs: 0,
        }
    }

    /// More than may die.
    fn replace(&mut self) {
        while self.managers.len() < 4 {
            let one = JobManager::start(self.dir.path(), self.coordination.as_deref());
            self.managers.push(one);
        }
    }

    fn asked(&self) -> Asked {
        let all: Vec<&str> = self.managers.iter().map(|one| &*one.address).collect();
        Asked {
            address: all.join(","),
        }
    }

    /// How those have ended who have, by the signal that ended them.
    fn ended(&mut self) -> Vec<Option<i32>> {
        let mut ended = Vec::new();
        self.managers.retain_mut(|manager| {
            let status = manager.process.child.try_wait().expect("is a child");
            ended.extend(status.map(|status| status.signal()));
            status.is_none()
        });
        ended.sort_unstable();
        ended
    }

    /// Runs a job, with a death at a step of what is asked.
    fn run(&mut self, stage: Stage, step: &str) {
        self.replace();
        self.jobs += 1;
        let (death, asked) = (self.dir.path().join("death"), self.asked());
        let out = self.dir.path().join(format!("out{}", self.jobs));
        let told = |now: Stage| {
            if now == stage {
                fs::write(&death, step).expect("is written");
            }
        };
        let dead = |now: Stage| {
            if now == stage {
                until(step, || !death.exists());
            }
        };
        for now in [Stage::Begins, Stage::Ends, Stage::Restarts, Stage::Fails] {
            told(now);
        }
        let (count, to) = (stage.numbers(), out.to_str().expect("is text"));
        let submit = ["submit", "-p", "2", stage.job(), "--", to];
        let submitted = asked.answer(&[&submit[..], &[&count.to_string()]].concat());
        let job = submitted["id"].as_str().expect("an id");
        asked.wait_for(job, |status| status["checkpoints"] != 0);
        dead(Stage::Begins);
        dead(Stage::Restarts);
        if stage == Stage::Rescales {
            told(stage);
            asked.answer(&["rescale", job, "-p", "1"]);
            dead(stage);
        }
        if stage == Stage::TakesOver {
            told(stage);
            let leader = self.managers.iter().find(|manager| manager.leads());
            leader.expect("somebody leads").process.signal("-KILL");
            dead(stage);
        }
        match stage {
            Stage::Ends | Stage::Fails => {}
            Stage::Cancels => {
                told(stage);
                asked.answer(&["cancel", job]);
            }
            _ => {
                told(Stage::Stops);
                asked.answer(&["stop", job]);
                dead(Stage::Stops);
            }
        }
        let last = asked.wait_for(job, |status| status["status"] == stage.end());
        assert!(!death.exists(), "{step}: nobody took it");
        let written = csv_lines(&out);
        let counted = all_counted(&written);
        let is_whole = match stage {
            Stage::Ends => counted == Some(count),
            _ => counted.is_some_and(|counted| counted > 0),
        };
        assert!(is_whole, "{step}: {last}");
        // Tasks that are written down as deployed and aren't yet are deployed again, and counted as restarted. No others are.
        let were_deployed = ![": Deploy", ": AfterAppend Deployed"]
            .map(|end| step.ends_with(end))
            .contains(&true);
        let stays = were_deployed && ![Stage::Restarts, Stage::Fails].contains(&stage);
        assert_eq!(last["restarts"] == 0, stays, "{step}: {last}");
        let (aborted, killed) = (Some(6), Some(9));
        match stage {
            Stage::TakesOver => assert_eq!(self.ended(), [aborted, killed], "{step}: {last}"),
            _ => assert_eq!(self.ended(), [aborted], "{step}: {last}"),
        }
    }

    /// The steps that anybody has taken.
    fn taken(&self) -> BTreeSet<String> {
        let files = fs::read_dir(self.dir.path().join("steps")).expect("is there");
        let texts = files.map(|file| fs::read_to_string(file.expect("is listed").path()));
        let texts: Vec<String> = texts.map(|text| text.expect("is read")).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.map(str::to_owned).collect()
    }
}

/// Where leaders are elected and logs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Directory,
    Etcd,
}

/// Clusters side by side: most of it is waiting. Steps go round among them, so that each place has some of every kind.
const PLACES: [Place; 3] = [Place::Directory, Place::Directory, Place::Etcd];

#[test]
fn each_step_of_the_table_is_one() {
    let known: BTreeSet<String> = Step::ALL
        .iter()
        .map(|(_, step)| format!("{step:?}"))
        .collect();
    for (_, step) in steps() {
        let (_, step) = step.split_once(": ").expect("who, and which");
        let step = step.split(' ').next().expect("a word");
        assert!(known.contains(step), "{step}");
    }
}

#[test]
fn a_leader_may_die_at_each_step_before_each_write_and_after_it() {
    let all = steps();
    let taken = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for (number, place) in PLACES.into_iter().enumerate() {
            let own = all.iter().skip(number).step_by(PLACES.len());
            let taken = &taken;
            scope.spawn(move || {
                let mut cluster = Cluster::new(place);
                for (stage, step) in own {
                    cluster.run(*stage, step);
                }
                taken.lock().expect("whole").append(&mut cluster.taken());
            });
        }
    });
    // Whatever else is written follows from a death that comes in between.
    let follows = ["CheckpointAborted", "FailoverStarted", "SavepointFailed"];
    let entry = |step: &str| {
        step.split_once("Append ")
            .map(|(_, entry)| entry.to_owned())
    };
    let known: BTreeSet<String> = all.iter().filter_map(|(_, step)| entry(step)).collect();
    for step in taken.into_inner().expect("whole") {
        let is_known = |entry: String| known.contains(&entry) || follows.contains(&&*entry);
        assert!(
            entry(&step).is_none_or(is_known),
            "{step}: nobody dies there"
        );
    }
    let mut counts = BTreeMap::new();
    for (stage, step) in &all {
        let kind = step.split(' ').find(|word| word.ends_with("Append"));
        *counts.entry((*stage, kind.unwrap_or("other"))).or_insert(0) += 1;
    }
    println!(
        "leaders have died at {} steps, two of three by a directory and one by etcd: {counts:?}",
        all.len()
    );
}
