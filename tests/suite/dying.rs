//! A leader's process that dies at one step of what it does, as a machine that fails: before a durable write or after it, in the midst
//! of a checkpoint, a commit, a deployment, a rescale, a cancel, a failover, a takeover; and around what it writes when something can't be: a
//! checkpoint, a savepoint, a rescale. However that is, the next one goes on, and the output is what it would have been.

mod jobs;
mod mortal;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fs, thread};

use rivus::engine::Step;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use self::jobs::{all_counted, jobs};
pub(crate) use self::mortal::probe;
use self::mortal::{DEATH, LOST, STEPS};
use self::table::{Stage, steps};
use crate::certificates::loopback;
use crate::commands::answer;
use crate::processes::{Asked, Process, pause};
use crate::remote::servers::EtcdCluster;
use crate::selves;
use crate::written::csv_lines;

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
        // It may not listen yet, or die as it is asked.
        let answered = answer(&self.address, question);
        answered.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a job, with a death at a step of what is asked.
    fn run(&mut self, stage: Stage, step: &str) {
        self.replace();
        self.jobs += 1;
        let run = Run::begin(self, stage, step);
        run.go_on();
        let last = run.end();
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

/// A job, and the step at which its leader dies.
struct Run<'a> {
    cluster: &'a Cluster,
    asked: Asked,
    stage: Stage,
    step: &'a str,
    out: PathBuf,
    job: String,
}

impl<'a> Run<'a> {
    /// A job that has completed a checkpoint.
    fn begin(cluster: &'a Cluster, stage: Stage, step: &'a str) -> Self {
        let mut run = Self {
            cluster,
            asked: cluster.asked(),
            stage,
            step,
            out: cluster.path(&format!("out{}", cluster.jobs)),
            job: String::new(),
        };
        if stage.is_by_itself() {
            run.condemn();
        }
        let numbers = match stage {
            Stage::Discovers => {
                run.put("first", 0..stage.numbers() / 2);
                run.folder().display().to_string()
            }
            _ => stage.numbers().to_string(),
        };
        let out = run.out.to_str().expect("is text");
        let job = stage.job();
        let submitted = run
            .asked
            .answer(&["submit", "-p", "2", job, "--", out, &numbers]);
        run.job = submitted["id"].as_str().expect("an id").to_owned();
        run.asked
            .wait_for(&run.job, |status| status["checkpoints"] != 0);
        run
    }

    /// Whoever takes the step next dies of it.
    fn condemn(&self) {
        fs::write(self.cluster.path("death"), self.step).expect("is written");
    }

    fn until_dead(&self) {
        let death = self.cluster.path("death");
        until(self.step, || !death.exists());
    }

    /// Brings the job to where its leader dies, and sees that it does.
    fn go_on(&self) {
        if !self.stage.is_by_itself() {
            self.condemn();
        }
        let (asked, job) = (&self.asked, &*self.job);
        let storage = self.cluster.path("storage");
        match self.stage {
            Stage::Begins | Stage::Ends | Stage::Restarts | Stage::Fails => {}
            Stage::Discovers => {
                let all = self.stage.numbers();
                self.put("second", all / 2..all);
            }
            Stage::Aborts => {
                let checkpoints = storage.join(format!("jobs/{job}/checkpoints"));
                let _in_the_way = InTheWay::of(&checkpoints, |id| id.to_string());
                self.until_dead();
            }
            Stage::SavepointFails => {
                let savepoints = storage.join("savepoints");
                let _in_the_way = InTheWay::of(&savepoints, |id| format!("{job}-{id}"));
                self.refused(&["savepoint", "create", job], "savepoints/");
            }
            Stage::Rescales => {
                asked.answer(&["rescale", job, "-p", "1"]);
            }
            Stage::RescaleRefused => {
                self.refused(&["rescale", job, "-p", "3"], "needs more slots");
            }
            Stage::RescaleFails => {
                let lost = self.cluster.path(LOST);
                fs::write(&lost, "").expect("is written");
                self.refused(&["rescale", job, "-p", "1"], "is missing");
                fs::remove_file(lost).expect("is there");
            }
            Stage::Stops => {
                asked.answer(&["stop", job]);
            }
            Stage::Cancels => {
                asked.answer(&["cancel", job]);
            }
            Stage::TakesOver => {
                let mut managers = self.cluster.managers.iter();
                let leader = managers.find(|manager| manager.leads());
                leader.expect("somebody leads").process.signal("-KILL");
            }
        }
        self.until_dead();
    }

    /// Asks for what can't be. Whoever leads by then says why not.
    fn refused(&self, words: &[&str], why: &str) {
        let (said, code) = self.asked.refusal(words);
        let is_so = said.contains(why) && said.lines().count() == 1;
        assert!(is_so && code == Some(1), "{}: {code:?} {said}", self.step);
    }

    /// The folder whose files a job reads.
    fn folder(&self) -> PathBuf {
        self.out.with_extension("in")
    }

    /// Puts a file of numbers there, which comes whole.
    fn put(&self, name: &str, numbers: Range<usize>) {
        let lines: String = numbers.map(|n| format!("{n}\n")).collect();
        fs::create_dir_all(self.folder()).expect("is made");
        let hidden = self.folder().join(format!(".{name}"));
        fs::write(&hidden, lines).expect("is written");
        fs::rename(hidden, self.folder().join(name)).expect("is moved");
    }

    /// Sees the job end as it should, and compares its output. Returns what it is seen as then.
    fn end(&self) -> Value {
        let (stage, step) = (self.stage, self.step);
        if stage == Stage::Discovers {
            let is_counted = || csv_lines(&self.out).len() >= stage.numbers();
            until("all files are read", is_counted);
        }
        if stage.end() == "stopped" && stage != Stage::Stops {
            self.asked.answer(&["stop", &self.job]);
        }
        let has_ended = |status: &Value| status["status"] == stage.end();
        let last = self.asked.wait_for(&self.job, has_ended);
        let counted = all_counted(&csv_lines(&self.out));
        let is_whole = match stage.counts_all() {
            true => counted == Some(stage.numbers()),
            false => counted.is_some_and(|counted| counted > 0),
        };
        assert!(is_whole, "{step}: {last}");
        // Tasks that are written down as deployed and aren't yet are deployed again, and counted as restarted. No others are.
        let were_deployed = ![": Deploy", ": AfterAppend Deployed"]
            .map(|end| step.ends_with(end))
            .contains(&true);
        let stays = were_deployed && !stage.restarts();
        assert_eq!(last["restarts"] == 0, stays, "{step}: {last}");
        last
    }
}

/// Checkpoints of a job from now on that nothing is stored of: a file has the name of each one's folder.
struct InTheWay(Vec<PathBuf>);

impl InTheWay {
    /// More than there will be meanwhile.
    const MOST: u64 = 2_000;

    fn of(folder: &Path, name: impl Fn(u64) -> String) -> Self {
        fs::create_dir_all(folder).expect("is made");
        let mut files: Vec<PathBuf> = (1..=Self::MOST).map(|id| folder.join(name(id))).collect();
        files.retain(|file| fs::File::create_new(file).is_ok());
        Self(files)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
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
    let entry = |step: &str| {
        step.split_once("Append ")
            .map(|(_, entry)| entry.to_owned())
    };
    let known: BTreeSet<String> = all.iter().filter_map(|(_, step)| entry(step)).collect();
    for step in taken.into_inner().expect("whole") {
        let is_known = entry(&step).is_none_or(|entry| known.contains(&entry));
        assert!(is_known, "{step}: nobody dies there");
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
