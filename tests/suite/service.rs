//! The service as a process: asked by its own commands, killed, and gone on with by the next one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::Path;

use serde_json::json;

use crate::cluster::checkpoints;
use crate::processes::{Asked, Process, committed, expected, listening, logged, pause, rivus};

/// A running service.
pub(crate) struct Service {
    pub(crate) process: Process,
    asked: Asked,
}

impl Deref for Service {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        &self.asked
    }
}

impl Service {
    pub(crate) fn start(storage: &Path, options: &[&str]) -> Self {
        let mut command = rivus();
        command.args(["cluster", "--address", "127.0.0.1:0", "--workers", "2"]);
        command.arg("--storage").arg(storage).args(options);
        let mut process = Process::start(&mut command);
        let address = listening(&process.line());
        Self {
            process,
            asked: Asked { address },
        }
    }
}

#[test]
fn a_job_outlives_its_service_and_goes_on_from_a_savepoint_at_another_parallelism() {
    let dir = tempfile::tempdir().expect("a directory");
    let (storage, out) = (dir.path().join("storage"), dir.path().join("out"));
    let out_text = out.to_str().expect("is text");
    let clicks = [
        "--", "--out", out_text, "--rate", "4000", "--count", "24000",
    ];

    let first = Service::start(&storage, &[]);
    let submit = [
        "submit",
        "-p",
        "2",
        "--checkpoint-interval",
        "100ms",
        "clicks",
    ];
    let submitted = first.answer(&[&submit[..], &clicks].concat());
    let job = submitted["id"].as_str().expect("an id").to_owned();
    first.wait_for(&job, |status| status["checkpoints"].as_u64() > Some(3));
    first.process.kill();

    // Nobody submits it again: its log names the program.
    let second = Service::start(&storage, &[]);
    let status = second.wait_for(&job[..8], |status| status["checkpoints"].as_u64() > Some(6));
    assert_eq!(status["name"], "clicks");
    assert_eq!(status["takeovers"], 1, "{status}");
    let made = second.answer(&["savepoint", "create", "clicks"]);
    let kept = Path::new(made["path"].as_str().expect("a path")).to_owned();
    let stopped = second.answer(&["stop", "--savepoint", "clicks"]);
    let savepoint = stopped["path"].as_str().expect("a path");
    assert_eq!(second.answer(&["status", &job])["status"], "stopped");
    assert!(kept.join("savepoint").is_file());

    let from = [
        "submit",
        "-p",
        "3",
        "--name",
        "more clicks",
        "--from-savepoint",
        savepoint,
        "clicks",
    ];
    second.answer(&[&from[..], &clicks].concat());
    let drawn = second.answer(&["dot", "more clicks"]);
    assert!(
        drawn.as_str().expect("a drawing").contains("parallelism 3"),
        "{drawn}"
    );
    second.wait_for("more clicks", |status| status["status"] == "running");
    let listed = second.answer(&["list"]);
    let listed = listed.as_array().expect("a list");
    let id = listed
        .iter()
        .find(|job| job["name"] == "more clicks")
        .expect("is listed")["id"]
        .clone();
    second.wait_for(id.as_str().expect("an id"), |status| {
        status["status"] == "completed"
    });
    assert_eq!(committed(&out), expected(24_000, 4_000));
}

#[test]
fn what_a_service_cannot_do_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = Service::start(dir.path(), &["--slots", "2"]);
    let table: [(&[&str], &str); 8] = [
        (
            &["submit", "klicks"],
            "there is no job named \"klicks\": there are: clicks, probe, windows, word_count",
        ),
        (
            &["submit", "clicks"],
            "job clicks: the following required arguments were not provided: --out <OUT>",
        ),
        (
            &["submit", "clicks", "--", "--out", "x", "--rate", "0"],
            "job clicks: --rate is 0: give more",
        ),
        (
            &["submit", "-p", "3", "clicks", "--", "--out", "x"],
            "parallelism 3 needs as many slots",
        ),
        (
            &[
                "submit",
                "--from-savepoint",
                "nowhere",
                "clicks",
                "--",
                "--out",
                "x",
            ],
            "is no savepoint",
        ),
        (
            &[
                "submit",
                "word_count",
                "--",
                "--input",
                "/no/*.txt",
                "--out",
                "x",
            ],
            "no file matches /no/*.txt",
        ),
        (&["status", "nothing"], "there is no job \"nothing\""),
        (&["cancel", "nothing"], "there is no job \"nothing\""),
    ];
    for (words, reason) in table {
        let (said, code) = service.refusal(words);
        assert!(
            said.contains(reason) && said.trim_end().lines().count() == 1,
            "{words:?}: {said}"
        );
        assert_eq!(code, Some(1), "{said}");
    }
    assert_eq!(service.answer(&["list"]), json!([]));
    let address = service.address.clone();
    drop(service);
    let nobody = rivus()
        .args(["list", "--address", &address])
        .output()
        .expect("runs");
    assert_eq!(nobody.status.code(), Some(3));
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(
        said.contains("no service answers") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_storage_that_vanishes_is_told_once_not_made_anew_and_gone_on_with_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let [storage, aside, log, out] =
        ["storage", "aside", "log", "out"].map(|name| dir.path().join(name));
    let mut command = rivus();
    command.args(["cluster", "--address", "127.0.0.1:0", "--workers", "1"]);
    command.arg("--storage").arg(&storage);
    // What elects isn't in the storage, as with etcd: it goes on.
    command
        .arg("--coordination")
        .arg(dir.path().join("leaders"));
    let mut process = Process::start_logging(&mut command, &log);
    let address = listening(&process.line());
    let service = Asked { address };
    let out = out.display().to_string();
    let often = ["submit", "--checkpoint-interval", "50ms"];
    let submitted = service.answer(&[&often[..], &["clicks", "--", "--out", &out]].concat());
    let job = submitted["id"].as_str().expect("an id");
    service.wait_for(job, |status| checkpoints(status) > 2);
    std::fs::rename(&storage, &aside).expect("moves");
    let says = format!(
        "rivus_state::root: the storage {} has vanished",
        storage.display()
    );
    logged(&log, &says);
    // A call that was under way may have left folders there, in which nobody looks. Later ones make none.
    (0..4).for_each(|_| pause());
    let _ = std::fs::remove_dir_all(&storage);
    (0..4).for_each(|_| pause());
    assert!(!storage.exists());
    std::fs::rename(&aside, &storage).expect("moves back");
    let before = checkpoints(&service.answer(&["status", job]));
    let after = service.wait_for(job, |status| checkpoints(status) > before + 2);
    assert_eq!(after["restarts"], 0, "{after}");
    assert_eq!(logged(&log, &says).len(), 1);
}

#[test]
fn a_job_is_canceled_and_a_service_told_to_stop_ends_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(&dir.path().join("storage"), &[]);
    let out = dir.path().join("out").display().to_string();
    let submitted = service.answer(&[
        "submit", "--name", "for ever", "clicks", "--", "--out", &out,
    ]);
    let job = submitted["id"].as_str().expect("an id");
    service.wait_for(job, |status| status["status"] == "running");
    let factories = service.answer(&["jobs"]);
    assert_eq!(factories[0]["name"], "clicks");
    service.answer(&["cancel", "for ever"]);
    service.wait_for(job, |status| status["status"] == "canceled");
    // Nobody keeps it by half a request.
    let mut half = TcpStream::connect(&service.address).expect("connects");
    let begun = b"POST /jobs HTTP/1.1\r\nhost: rivus\r\ncontent-length: 100\r\n\r\n{";
    half.write_all(begun).expect("is sent");
    service.process.signal("-TERM");
    assert!(service.process.child.wait().expect("ends").success());
}

#[test]
fn a_service_that_is_told_to_stop_once_more_ends_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut service = Service::start(&dir.path().join("storage"), &[]);
        // Half a request keeps it for ten seconds, once it has begun with that.
        let mut half = TcpStream::connect(&service.address).expect("connects");
        let begun = b"POST /v1/jobs HTTP/1.1\r\nhost: rivus\r\ncontent-type: application/json\r\n\
                      content-length: 100\r\nexpect: 100-continue\r\n\r\n";
        half.write_all(begun).expect("is sent");
        let mut goes_on = [0; 12];
        half.read_exact(&mut goes_on).expect("is answered");
        assert_eq!(&goes_on, b"HTTP/1.1 100");
        service.process.signal(signal);
        while TcpStream::connect(&service.address).is_ok() {
            pause();
        }
        service.process.signal(signal);
        let ended = service.process.child.wait().expect("ends");
        assert_eq!(ended.code(), Some(code));
    }
}

#[test]
fn too_little_memory_for_rocksdb_is_refused_by_the_name_of_its_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = rivus();
    command
        .args([
            "cluster",
            "--address",
            "127.0.0.1:0",
            "--rocksdb-memory",
            "0B",
        ])
        .arg("--rocksdb-directory")
        .arg(dir.path().join("rows"))
        .arg("--storage")
        .arg(dir.path().join("state"));
    let refused = command.output().expect("runs");
    let said = String::from_utf8(refused.stderr).expect("is text");
    assert!(!refused.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("--rocksdb-memory: 0B: ") && said.contains("rocksdb.memory to 1MiB\n"),
        "{said}"
    );
}

#[test]
fn who_takes_commands_from_other_machines_and_nobody_else_is_warned_that_anybody_may_give_them() {
    for (address, warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut command = rivus();
        command.args(["cluster", "--address", address, "--storage"]);
        let mut process = Process::start_logging(command.arg(dir.path().join("storage")), &log);
        // It is said before it listens.
        listening(&process.line());
        let said = std::fs::read_to_string(&log).expect("is read");
        assert_eq!(said.contains("commands come to "), warned, "{said}");
    }
}
