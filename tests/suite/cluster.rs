//! JobManagers and TaskManagers in processes of their own, any of which may be killed.
//!
//! Each test runs `clicks`, whose results are known without an engine, and compares what was committed.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::partitions::SOON;
use crate::processes::{
    Asked, Process, S3_KEYS, committed, expected, listening, logged, pause, rivus,
};
use crate::written::csv_lines;

/// Clicks a second.
pub(crate) const RATE: u64 = 4_000;

/// Processes that share a storage.
pub(crate) struct Cluster {
    dir: TempDir,
}

/// A JobManager that leads.
pub(crate) struct Leader {
    pub(crate) process: Process,
    pub(crate) asked: Asked,
    /// Where TaskManagers connect.
    pub(crate) control: String,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, role: &str, options: &[&str]) -> Command {
        let mut command = rivus();
        command.arg(role);
        if !options.contains(&"--storage") {
            command.arg("--storage").arg(self.path("storage"));
        }
        if options.contains(&"--s3-endpoint") {
            command.envs(S3_KEYS);
        }
        if !options.contains(&"--lease") {
            command.args(["--lease", "1s"]);
        }
        command.args(options);
        command
    }

    fn process(&self, role: &str, options: &[&str]) -> Process {
        Process::start(&mut self.command(role, options))
    }

    fn job_manager(&self, options: &[&str]) -> Process {
        self.process(
            "jobmanager",
            &[&["--address", "127.0.0.1:0"], options].concat(),
        )
    }

    pub(crate) fn leader(&self, options: &[&str]) -> Leader {
        Leader::of(self.job_manager(options))
    }

    /// One whose log is in a file.
    pub(crate) fn logging_leader(&self, options: &[&str], log: &Path) -> Leader {
        let options = [&["--address", "127.0.0.1:0"], options].concat();
        let mut command = self.command("jobmanager", &options);
        Leader::of(Process::start_logging(&mut command, log))
    }

    /// One that waits for its turn.
    fn standby(&self) -> Process {
        self.asked_standby(&[]).0
    }

    /// One that waits for its turn, and may be asked.
    pub(crate) fn asked_standby(&self, options: &[&str]) -> (Process, Asked) {
        let mut process = self.job_manager(options);
        let line = process.line();
        let address = line.strip_prefix("standing by at ");
        let address = address.unwrap_or_else(|| panic!("{line}")).split(": ");
        let address = address.take(1).collect();
        (process, Asked { address })
    }

    pub(crate) fn task_manager(&self, slots: &str, options: &[&str]) -> Process {
        self.asked_task_manager(slots, options).0
    }

    /// One, and where it takes records.
    pub(crate) fn asked_task_manager(&self, slots: &str, options: &[&str]) -> (Process, String) {
        let wanted = ["--workers", "1", "--slots", slots];
        let mut process = self.process("taskmanager", &[&wanted[..], options].concat());
        let address = data_address(&process.line());
        (process, address)
    }

    /// One whose log is in a file, and where it takes records.
    pub(crate) fn logging_task_manager(
        &self,
        slots: &str,
        options: &[&str],
        log: &Path,
    ) -> (Process, String) {
        let wanted = ["--workers", "1", "--slots", slots];
        let mut command = self.command("taskmanager", &[&wanted[..], options].concat());
        let mut process = Process::start_logging(&mut command, log);
        let address = data_address(&process.line());
        (process, address)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    /// Asks for so many clicks.
    pub(crate) fn submit(&self, leader: &Asked, clicks: u64) -> String {
        let (out, rate, count) = (self.out(), RATE.to_string(), clicks.to_string());
        let out = out.to_str().expect("is text");
        let submitted = leader.answer(&[
            "submit",
            "-p",
            "2",
            "--checkpoint-interval",
            "100ms",
            "clicks",
            "--",
            "--out",
            out,
            "--rate",
            &rate,
            "--count",
            &count,
        ]);
        submitted["id"].as_str().expect("an id").to_owned()
    }

    /// The job's last view, after its output was compared with what it has to be.
    pub(crate) fn completed(&self, leader: &Asked, job: &str, clicks: u64) -> Value {
        let last = leader.wait_for(job, |status| status["status"] == "completed");
        assert_eq!(committed(&self.out()), expected(clicks, RATE), "{last}");
        last
    }

    /// Stops a job and compares its output: whole windows of whole seconds.
    pub(crate) fn stopped(&self, leader: &Asked, job: &str) {
        leader.answer(&["stop", job]);
        let rows = committed(&self.out());
        let windows: BTreeSet<i64> = rows.keys().map(|(window, _)| *window).collect();
        assert_eq!(rows, expected(windows.len() as u64 * RATE, RATE));
    }
}

/// Where a TaskManager takes records, by the line that it says.
fn data_address(line: &str) -> String {
    let (_, address) = line
        .split_once("slots; data at ")
        .unwrap_or_else(|| panic!("{line}"));
    address.split(';').next().unwrap_or_default().to_owned()
}

impl Leader {
    /// A JobManager, when it leads.
    pub(crate) fn of(mut process: Process) -> Self {
        let line = process.line();
        let (_, control) = line.split_once("TaskManagers at ").expect("a JobManager's");
        let (control, _) = control.split_once(';').expect("and more");
        Self {
            asked: Asked {
                address: listening(&line),
            },
            control: control.to_owned(),
            process,
        }
    }
}

pub(crate) fn checkpoints(status: &Value) -> u64 {
    status["checkpoints"].as_u64().expect("a number")
}

/// Whether all tasks are in their first life.
pub(crate) fn nothing_restarted(status: &Value) -> bool {
    let tasks = status["tasks"].as_array().expect("a list");
    let is_first = |task: &Value| task["task"].as_str().expect("a name").ends_with("#1");
    status["restarts"] == 0 && !tasks.is_empty() && tasks.iter().all(is_first)
}

#[test]
fn a_leader_that_is_killed_is_followed_by_another_and_no_task_restarts() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let second = cluster.standby();
    let job = cluster.submit(&first.asked, 24_000);
    let running = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    first.process.kill();

    let second = Leader::of(second);
    let before = checkpoints(&running);
    let after = second
        .asked
        .wait_for(&job, |status| checkpoints(status) > before + 3);
    assert_eq!(after["takeovers"], 1, "{after}");
    assert!(nothing_restarted(&after), "{after}");
    let last = cluster.completed(&second.asked, &job, 24_000);
    assert_eq!(last["restarts"], 0, "{last}");
}

#[test]
fn a_leader_that_is_stopped_is_left_for_the_next_and_changes_nothing_when_it_wakes() {
    let cluster = Cluster::new();
    let first = cluster.leader(&[]);
    let tasks = [(); 2].map(|()| cluster.task_manager("1", &[]));
    let second = cluster.standby();
    let job = cluster.submit(&first.asked, 28_000);
    let running = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    first.process.signal("-STOP");

    let second = Leader::of(second);
    let before = checkpoints(&running);
    let after = second
        .asked
        .wait_for(&job, |status| checkpoints(status) > before + 3);
    first.process.signal("-CONT");
    // It finds its links closed, takes its TaskManagers for lost, and learns from the log that this is not for it to say.
    let woken = second.asked.wait_for(&job, |status| {
        checkpoints(status) > checkpoints(&after) + 10 || status["status"] == "completed"
    });
    assert_eq!(woken["takeovers"], 1, "{woken}");
    assert!(nothing_restarted(&woken), "{woken}");
    cluster.completed(&second.asked, &job, 28_000);
    drop(tasks);
}

#[test]
fn tasks_go_on_for_half_a_minute_while_nobody_leads_and_the_next_leader_adopts_them() {
    let cluster = Cluster::new();
    let first = cluster.leader(&SOON);
    let tasks = [(); 2].map(|()| cluster.task_manager("1", &SOON));
    let second = cluster.standby();
    let job = cluster.submit(&first.asked, 1_000_000);
    let running = first.asked.wait_for(&job, |status| checkpoints(status) > 3);
    second.kill();
    first.process.kill();
    let visible = committed(&cluster.out()).len();
    // Longer than the lease and than anybody's silence is borne: what was committed stays as it is, since nobody says what may be.
    for _ in 0..600 {
        pause();
    }
    assert!(committed(&cluster.out()).len() <= visible + 22);

    let third = cluster.leader(&SOON);
    let before = checkpoints(&running);
    let adopted = third.asked.wait_for(&job, |status| {
        status["status"] == "running" && checkpoints(status) > before + 3
    });
    assert_eq!(adopted["takeovers"], 1, "{adopted}");
    assert!(nothing_restarted(&adopted), "{adopted}");
    cluster.stopped(&third.asked, &job);
    drop(tasks);
}

/// Waits until these are the TaskManagers, with free slots of all, and jobs that hold the others.
fn wait_for_task_managers(asked: &Asked, expected: &[&str]) {
    let seen = || -> Vec<String> {
        let all = asked.answer(&["taskmanagers"]);
        let each = all.as_array().expect("a list").iter().map(|of| {
            let jobs = of["jobs"].as_array().expect("a list").len();
            let name = of["name"].as_str().expect("a name");
            format!("{name} {}/{} {jobs}", of["free"], of["slots"])
        });
        each.collect()
    };
    let comes = (0..200).any(|_| {
        pause();
        seen() == expected
    });
    assert!(comes, "{:?} and not {expected:?}", seen());
}

#[test]
fn a_task_manager_that_is_killed_is_replaced_by_a_spare() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let [first, second] = ["a", "b"].map(|name| cluster.task_manager("1", &["--name", name]));
    let job = cluster.submit(&leader.asked, 24_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 3);
    let _spare = cluster.task_manager("1", &["--name", "spare"]);
    let (_standby, asked) = cluster.asked_standby(&[]);
    let all = ["a/tm-0 0/1 1", "b/tm-0 0/1 1", "spare/tm-0 1/1 0"];
    wait_for_task_managers(&asked, &all);
    first.kill();
    let restarted = leader.asked.wait_for(&job, |status| {
        status["restarts"] == 1 && status["status"] == "running"
    });
    assert_eq!(restarted["takeovers"], 0, "{restarted}");
    wait_for_task_managers(&asked, &["b/tm-0 0/1 1", "spare/tm-0 0/1 1"]);
    cluster.completed(&leader.asked, &job, 24_000);
    wait_for_task_managers(&asked, &["b/tm-0 1/1 0", "spare/tm-0 1/1 0"]);
    drop(second);
}

#[test]
fn a_job_waits_for_slots_and_a_task_manager_that_joins_is_used() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _first = cluster.task_manager("1", &[]);
    let job = cluster.submit(&leader.asked, 4_000);
    let waits = leader
        .asked
        .wait_for(&job, |status| status["status"] == "waiting");
    assert_eq!(waits["reason"], "needs 2 slots, and there are 1", "{waits}");
    let _second = cluster.task_manager("1", &[]);
    let last = cluster.completed(&leader.asked, &job, 4_000);
    assert_eq!(last["restarts"], 0, "{last}");
}

/// Whether a checkpoint in a folder is made of files of a store.
fn has_entries(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

pub(crate) fn has_files(storage: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(storage) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        path.is_dir() && (has_files(&path) || path.ends_with("files") && has_entries(&path))
    })
}

#[test]
fn a_checkpoint_that_is_files_waits_for_a_task_manager_that_can_read_them() {
    let cluster = Cluster::new();
    let (words, out) = (cluster.path("words.txt"), cluster.out());
    // Enough of them that a subtask's rows are worth files and that it takes a while; each ten times.
    let line = |n: u32| (0..20).map(move |i| format!("w{:030} ", 20 * (n % 5_000) + i));
    let text: String = (0..50_000)
        .flat_map(|n| line(n).chain(["\n".into()]))
        .collect();
    std::fs::write(&words, text).expect("is written");
    let rows = cluster.path("rows").display().to_string();
    let rocks = ["--rocksdb-directory", &*rows];
    let leader = cluster.leader(&[]);
    let first = cluster.task_manager("2", &rocks);
    let [words, out] = [&words, &out].map(|path| path.to_str().expect("is text"));
    let submit = ["submit", "-p", "2", "--checkpoint-interval", "100ms"];
    let job = ["word_count", "--", "--input", words, "--out", out];
    let submitted = leader.asked.answer(&[&submit[..], &job].concat());
    let job = submitted["id"].as_str().expect("an id").to_owned();
    let storage = cluster.path("storage");
    leader.asked.wait_for(&job, |_| has_files(&storage));
    let before = checkpoints(&leader.asked.answer(&["status", &job]));
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > before + 1);
    first.kill();

    let _other = cluster.task_manager("2", &[]);
    let waits = leader
        .asked
        .wait_for(&job, |status| status["status"] == "waiting");
    assert_eq!(
        waits["reason"],
        "needs 2 slots of TaskManagers with state backend RocksDB, in whose files its last checkpoint is, and there are 0",
        "{waits}"
    );
    let _second = cluster.task_manager("2", &rocks);
    leader
        .asked
        .wait_for(&job, |status| status["status"] == "completed");
    let mut counted = csv_lines(&cluster.out());
    counted.sort_unstable();
    let expected =
        (0..100_000).flat_map(|n| (1..=10).map(move |times| format!("w{n:030},{times}")));
    let mut expected: Vec<String> = expected.collect();
    expected.sort_unstable();
    assert!(
        counted == expected,
        "{} of {}",
        counted.len(),
        expected.len()
    );
}

#[test]
fn who_has_another_secret_is_refused_and_strangers_are_dropped() {
    let cluster = Cluster::new();
    let secrets = [("ours", "0123456789abcdef"), ("theirs", "fedcba9876543210")];
    let [ours, theirs] = secrets.map(|(name, secret)| {
        let path = cluster.path(name);
        std::fs::write(&path, secret).expect("is written");
        path
    });
    let with = |path: &Path| ["--secret-file".to_owned(), path.display().to_string()];
    let (ours, theirs) = (with(&ours), with(&theirs));
    let [ours, theirs] = [&ours, &theirs].map(|words| words.each_ref().map(String::as_str));
    let leader = cluster.leader(&ours);
    let _stranger = cluster.task_manager("2", &theirs);
    let job = cluster.submit(&leader.asked, 8_000);
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 5_000]] {
        let mut stranger = TcpStream::connect(&leader.control).expect("connects");
        // It may have been dropped before all of it was written.
        let _ = stranger.write_all(nonsense);
    }
    for _ in 0..20 {
        pause();
    }
    let waits = leader.asked.answer(&["status", &job]);
    assert_eq!(waits["reason"], "needs 2 slots, and there are 0", "{waits}");
    let _known = cluster.task_manager("2", &ours);
    cluster.completed(&leader.asked, &job, 8_000);
}

#[test]
fn who_is_refused_says_it_once_and_tries_again_less_and_less_often() {
    let cluster = Cluster::new();
    let (secret, log) = (cluster.path("secret"), cluster.path("log"));
    std::fs::write(&secret, "0123456789abcdef").expect("is written");
    let secret = secret.display().to_string();
    let _leader = cluster.leader(&["--secret-file", &secret]);
    let debug = ["--log", "rivus_actors=debug"];
    let _stranger = cluster.logging_task_manager("2", &debug, &log);
    let said = "the peer has another secret: give all processes the same --secret-file";
    logged(&log, said);
    for _ in 0..80 {
        pause();
    }
    assert_eq!(logged(&log, said).len(), 1);
    // At once, and then after 0.2, 0.4, 0.8 and 1.6 s.
    let calls = logged(&log, "calls the leader").len();
    assert!((3..=6).contains(&calls), "{calls} calls in four seconds");
}

#[test]
fn a_task_manager_with_another_storage_is_refused_and_both_are_named() {
    let cluster = Cluster::new();
    let [leaders, log] = ["leaders", "log"].map(|name| cluster.path(name));
    let elected = ["--coordination", leaders.to_str().expect("is text")];
    let leader = cluster.leader(&elected);
    let mut command = rivus();
    command.args(["taskmanager", "--lease", "1s", "--storage"]);
    command.arg(cluster.path("storaeg")).args(elected);
    let _tasks = Process::start_logging(&mut command, &log);
    let refused = logged(&log, "give all processes the same --storage");
    for named in ["/storage (id ", "/storaeg (id "] {
        assert!(refused[0].contains(named), "{refused:?}");
    }
    assert_eq!(leader.asked.answer(&["taskmanagers"]), json!([]));
}

#[test]
fn a_name_that_another_process_has_is_refused_as_long_as_that_lives() {
    let cluster = Cluster::new();
    let [leads, first, second] =
        ["leader", "first", "second"].map(|name| cluster.path(&format!("{name}.log")));
    let leader = cluster.logging_leader(&[], &leads);
    let left = ["--name", "left"];
    let (owner, _) = cluster.logging_task_manager("2", &left, &first);
    let job = cluster.submit(&leader.asked, 48_000);
    leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > 3);
    let (_other, _) = cluster.logging_task_manager("2", &left, &second);
    let taken = "the name left is taken by a TaskManager whose link from 127.0.0.1:";
    logged(&second, taken);
    let before = checkpoints(&leader.asked.answer(&["status", &job]));
    let after = leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > before + 10);
    assert!(nothing_restarted(&after), "{after}");
    assert_eq!(
        logged(&second, taken).len(),
        1,
        "it tries again and says it once"
    );
    assert_eq!(logged(&leads, taken).len(), 1, "and so does the leader");
    assert_eq!(std::fs::read_to_string(&first).expect("is read"), "");

    // The next leader knows neither of them.
    let next = cluster.standby();
    leader.process.kill();
    let leader = Leader::of(next);
    let taken = leader
        .asked
        .wait_for(&job, |status| status["status"] == "running");
    let after = leader
        .asked
        .wait_for(&job, |status| checkpoints(status) > checkpoints(&taken) + 3);
    assert!(nothing_restarted(&after), "{after}");

    owner.kill();
    let last = cluster.completed(&leader.asked, &job, 48_000);
    assert_eq!(last["restarts"], 1, "{last}");
}

#[test]
fn what_a_process_cannot_do_is_refused_in_one_line() {
    let cluster = Cluster::new();
    let short = cluster.path("short");
    std::fs::write(&short, "secret\n").expect("is written");
    let short = short.display().to_string();
    let table: [(&str, &[&str], &str); 5] = [
        (
            "jobmanager",
            &["--control-address", "0.0.0.0:0"],
            "others can't connect to 0.0.0.0:0: give the address of this machine that they reach",
        ),
        (
            "taskmanager",
            &["--data-address", "192.0.2.1:0"],
            "192.0.2.1:0 can be reached from other machines, and there is no secret",
        ),
        (
            "taskmanager",
            &["--secret-file", &short],
            "6 bytes can be guessed: give 16 or more",
        ),
        (
            "jobmanager",
            &["--coordination", "zookeeper://a"],
            "give a directory or etcd://HOST:PORT",
        ),
        (
            "cluster",
            &["--coordination", "leaders", "--lease", "0s"],
            "node setting lease is 0: give more",
        ),
    ];
    for (role, options, reason) in table {
        let mut command = rivus();
        command
            .arg(role)
            .arg("--storage")
            .arg(cluster.path("storage"));
        let refused = command.args(options).output().expect("runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(
            said.contains(reason) && said.lines().count() == 1,
            "{options:?}: {said}"
        );
    }
}
