//! Jobs whose log and checkpoints lie on other machines, under kills: of leaders, of subtasks, of whole processes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{
    Coordination, EnvironmentBuilder, EtcdOptions, JobHandle, JobId, NodeConfig, RestartStrategy,
    RuntimeMode, S3Options, Storage, StreamEnvironment,
};
use tempfile::TempDir;

use self::servers::EtcdCluster;
use crate::certificates;
use crate::cluster::{Leader, checkpoints};
use crate::processes::{Asked, Process, S3_KEYS, committed, expected, listening, rivus};
use crate::waits::checkpoint_after;
use crate::written::csv_lines;

#[path = "../../state/tests/suite/servers.rs"]
pub(crate) mod servers;

const RECORDS: u64 = 1_500;

fn process(storage: &S3Options) -> EnvironmentBuilder {
    let node = NodeConfig {
        lease: Duration::from_secs(1),
        ..NodeConfig::default()
    };
    let delay = Duration::from_millis(50);
    StreamEnvironment::builder()
        .parallelism(2)
        .node(node)
        .restart(RestartStrategy::FixedDelay { attempts: 3, delay })
        .checkpoint_interval(Duration::from_millis(50))
        .storage(Storage::S3(storage.clone()))
}

/// Numbers by their rest, counted. Whoever counts dies once.
async fn life(builder: EnvironmentBuilder, dir: &Path, dies: &'static AtomicBool) -> JobHandle {
    let env = builder.build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(1_000);
    env.from_source(numbers)
        .key_by(|n| n % 10)
        .count()
        .map(|(rest, count)| {
            let late = count > RECORDS / 20;
            assert!(!(late && dies.swap(false, Ordering::Relaxed)), "on purpose");
            (rest, count)
        })
        .sink_to(FileSink::csv(dir));
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8"
        .parse()
        .expect("is one");
    env.resume("numbers", JobId(id)).await.expect("starts")
}

/// Waits for another checkpoint; `false` if the job is over.
async fn gets_on(job: &mut JobHandle) -> bool {
    let last = job.view().last_checkpoint;
    checkpoint_after(job, last).await > last
}

/// A life that loses its leader and then dies itself, one that loses a subtask and its leader, and the lines they wrote. The second may
/// have stood by.
async fn lines_of_two_lives(
    builder: impl Fn() -> EnvironmentBuilder,
    stands_by: bool,
    dies: &'static AtomicBool,
) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = life(builder(), dir.path(), dies).await;
    assert!(gets_on(&mut first).await);
    first.kill_leader();
    assert!(gets_on(&mut first).await);
    assert!(first.view().takeovers > 0);
    let mut second = match stands_by {
        true => {
            let second = life(builder(), dir.path(), dies).await;
            assert!(gets_on(&mut first).await);
            assert_eq!(second.view().checkpoints, 0);
            drop(first);
            second
        }
        false => {
            drop(first);
            life(builder(), dir.path(), dies).await
        }
    };
    assert!(gets_on(&mut second).await);
    second.kill_leader();
    second.wait().await.expect("completes");
    assert!(!dies.load(Ordering::Relaxed), "nobody died");

    csv_lines(dir.path())
}

fn each_once() -> Vec<String> {
    let counts = 1..=RECORDS / 10;
    let lines = (0..10).flat_map(|rest| counts.clone().map(move |n| format!("{rest},{n}")));
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_job_in_s3_writes_each_record_once_whoever_dies() {
    static DIES: AtomicBool = AtomicBool::new(true);
    let bucket = servers::s3("state");
    let lines = lines_of_two_lives(|| process(&bucket), false, &DIES).await;
    assert_eq!(lines, each_once());
}

#[tokio::test]
async fn a_job_with_its_log_in_etcd_and_checkpoints_in_s3_writes_each_record_once_whoever_dies() {
    static DIES: AtomicBool = AtomicBool::new(true);
    let (bucket, etcd) = (servers::s3("state"), servers::etcd());
    let builder = || process(&bucket).coordination(Coordination::Etcd(etcd.clone()));
    let lines = lines_of_two_lives(builder, true, &DIES).await;
    assert_eq!(lines, each_once());
}

/// A machine: processes, and a disk on which they keep what is theirs.
struct Machine {
    disk: TempDir,
    processes: Vec<Process>,
}

impl Machine {
    fn new() -> Self {
        Self {
            disk: tempfile::tempdir().expect("a directory"),
            processes: Vec::new(),
        }
    }

    /// A process there, whose storage and coordination are elsewhere.
    fn process(&self, etcd: &EtcdCluster, role: &str, options: &[&str]) -> Process {
        let endpoints = etcd.endpoints().join(",").replace("http://", "");
        let mut command = rivus();
        command
            .args([role, "--storage", "s3://state/machines", "--lease", "1s"])
            .args(["--coordination", &format!("etcd://{endpoints}")])
            .args(["--s3-endpoint", &servers::s3_endpoint()])
            .args(options)
            .envs(S3_KEYS)
            .current_dir(self.disk.path());
        Process::start(&mut command)
    }

    /// A TaskManager, whose state is on its disk.
    fn runs_tasks(&mut self, etcd: &EtcdCluster) {
        let options = [
            "--workers",
            "1",
            "--slots",
            "2",
            "--rocksdb-directory",
            "rows",
        ];
        let mut process = self.process(etcd, "taskmanager", &options);
        assert!(process.line().contains("2 slots; data at "));
        self.processes.push(process);
    }

    /// Its processes end without a word, and its disk is gone.
    fn lose(self) {
        self.processes.into_iter().for_each(Process::kill);
    }
}

/// Asks for clicks, whose results lie where no machine is lost.
fn submit(asked: &Asked, out: &Path) -> String {
    let submit = ["submit", "-p", "2", "--checkpoint-interval", "100ms"];
    let clicks = ["clicks", "--", "--rate", "4000", "--count", "20000"];
    let out = ["--out", out.to_str().expect("is text")];
    let submitted = asked.answer(&[&submit[..], &clicks, &out].concat());
    submitted["id"].as_str().expect("an id").to_owned()
}

#[test]
fn machines_that_are_lost_with_their_disks_take_nothing_along_that_lies_in_s3_and_etcd() {
    let _bucket = servers::s3("state");
    let etcd = EtcdCluster::start(1);
    let dir = tempfile::tempdir().expect("a directory");
    let here = ["--address", "127.0.0.1:0"];

    // Leader and tasks on one machine, and the same on another.
    let out = dir.path().join("several");
    let (mut first, mut second) = (Machine::new(), Machine::new());
    let leader = Leader::of(first.process(&etcd, "jobmanager", &here));
    let mut standby = second.process(&etcd, "jobmanager", &here);
    assert!(standby.line().starts_with("standing by at "));
    first.runs_tasks(&etcd);
    let job = submit(&leader.asked, &out);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 3);
    second.runs_tasks(&etcd);
    first.processes.push(leader.process);
    first.lose();
    let leader = Leader::of(standby);
    let last = leader
        .asked
        .wait_for(&job, |status| status["status"] == "completed");
    assert_eq!(last["takeovers"], 1, "{last}");
    assert_ne!(last["restarts"], 0, "{last}");
    assert_eq!(committed(&out), expected(20_000, 4_000));
    leader.process.kill();
    second.lose();

    // All in one process, and then in another elsewhere.
    let out = dir.path().join("one");
    let all = [&here[..], &["--rocksdb-directory", "rows"]].concat();
    let cluster = |machine: &Machine| {
        let mut process = machine.process(&etcd, "cluster", &all);
        let line = loop {
            let line = process.line();
            if !line.starts_with("standing by at ") {
                break line;
            }
        };
        let address = listening(&line);
        (process, Asked { address })
    };
    let (mut first, second) = (Machine::new(), Machine::new());
    let (process, asked) = cluster(&first);
    let job = submit(&asked, &out);
    asked.wait_for(&job, |status| checkpoints(status) > 3);
    first.processes.push(process);
    first.lose();
    let (_process, asked) = cluster(&second);
    let last = asked.wait_for(&job, |status| status["status"] == "completed");
    assert_eq!(last["takeovers"], 1, "{last}");
    assert_eq!(committed(&out), expected(20_000, 4_000));
}

#[tokio::test]
async fn stores_that_can_not_be_used_are_refused_with_the_mend() {
    let nowhere = "http://127.0.0.1:1";
    let etcd = Coordination::Etcd(EtcdOptions::new([nowhere]));
    let simulated = || StreamEnvironment::builder().runtime(RuntimeMode::Current);
    let forgetful = Storage::S3(servers::s3("forgetful"));
    for (builder, says) in [
        (
            StreamEnvironment::builder().storage(forgetful.clone()),
            ["does not honour create-if-absent", "choose another store"],
        ),
        (
            StreamEnvironment::builder().coordination(etcd.clone()),
            [nowhere, "start it, or give its endpoints"],
        ),
        (
            simulated().storage(forgetful),
            ["the storage in S3", "use Storage::Memory"],
        ),
        (
            simulated().coordination(etcd),
            [nowhere, "use Coordination::InProcess"],
        ),
    ] {
        let env = builder.build();
        env.from_collection(vec![1]).print();
        let error = env.execute("refused").await.unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        for part in says {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_in_a_savepoint_in_s3_is_seen_from_the_command_line_too() {
    let bucket = servers::s3_below("state", "inspected");
    let env = process(&bucket).build();
    let numbers = env.from_source(GeneratorSource::new(|n, _| n).rate(1_000));
    let counts = numbers.uid("numbers").key_by(|n| n % 10).count();
    counts.uid("counts").collect();
    let job = env.start("counts").await.expect("starts");
    let savepoint = job.stop_with_savepoint().await.expect("stops");
    assert_eq!(savepoint.path(), None);
    let name = savepoint.name();

    let storage = Storage::S3(bucket);
    let looked = tokio::task::spawn_blocking({
        let savepoint = savepoint.clone();
        move || savepoint.inspect_in(&storage, true)
    });
    let contents = looked.await.expect("looks").expect("is whole");
    assert!(contents.verified && contents.operators.iter().any(|o| o.uid == "counts"));

    let inspect = |place: &str| {
        let mut command = rivus();
        command.args(["savepoint", "inspect", place, "--verify", "--json"]);
        command.args(["--s3-endpoint", &servers::s3_endpoint()]);
        command.envs(S3_KEYS).output().expect("runs")
    };
    let shown = inspect(&format!("s3://state/inspected/savepoints/{name}"));
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{said}");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("is JSON");
    let expected = serde_json::to_value(&contents).expect("is JSON");
    assert_eq!(shown, expected);
    for (place, says) in [
        (
            "s3://state/inspected/savepoints",
            "error: there is no savepoint: \"savepoint\" is missing; give the place of one, which ends in savepoints/NAME\n",
        ),
        (
            "gs://state/inspected",
            "error: there is no gs:// in this build: give a directory or s3://BUCKET/PREFIX\n",
        ),
    ] {
        let refused = inspect(place);
        assert_eq!(refused.status.code(), Some(1), "{place}");
        assert_eq!(String::from_utf8_lossy(&refused.stderr), says);
    }
}

#[test]
fn an_etcd_that_is_not_there_is_told_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = rivus();
    command.args([
        "cluster",
        "--address",
        "127.0.0.1:0",
        "--coordination",
        "etcd://127.0.0.1:1",
    ]);
    let refused = command
        .arg("--storage")
        .arg(dir.path())
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8(refused.stderr).expect("is text");
    assert_eq!(
        said,
        "error: no etcd answers at http://127.0.0.1:1 (Connection refused (os error 111)): start it, or give its \
         endpoints\n"
    );
}
