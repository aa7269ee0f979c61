//! Processes that are set up by a file, the environment and flags, and say what holds.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::processes::{Asked, Process, committed, expected, listening, rivus};

const SECRET: &str = "correct horse battery staple";

fn show(file: &Path, words: &[&str]) -> Command {
    let mut command = rivus();
    command
        .args(["config", "show"])
        .args(words)
        .env("RIVUS_CONFIG", file);
    command
}

/// What a command says on one of its streams, and nothing on the other.
fn said(output: Output) -> String {
    let (out, errors) = (output.stdout, output.stderr);
    let said = if output.status.success() {
        assert_eq!(String::from_utf8_lossy(&errors), "");
        out
    } else {
        assert_eq!(String::from_utf8_lossy(&out), "");
        errors
    };
    String::from_utf8(said).expect("is text")
}

#[test]
fn what_holds_is_shown_with_where_it_is_from_and_without_secrets() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rivus.toml");
    let text = format!("lease = \"1s\"\nsecret = \"{SECRET}\"\n\n[rocksdb]\nmemory = \"64MiB\"\n");
    std::fs::write(&file, text).expect("is written");
    let words = ["taskmanager", "--name", "left"];
    let mut people = show(&file, &words);
    let table = said(people.env("RIVUS_SLOTS", "4").output().expect("runs"));
    let row = |setting: &str| {
        let mut rows = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[0] == setting);
        row.map(|row| {
            row[1..]
                .join(" ")
                .replace(&dir.path().display().to_string(), ".")
        })
    };
    assert_eq!(row("SETTING").as_deref(), Some("VALUE FROM"));
    assert_eq!(row("lease").as_deref(), Some("1s ./rivus.toml:1"));
    assert_eq!(row("secret").as_deref(), Some("hidden ./rivus.toml:2"));
    assert_eq!(
        row("rocksdb.memory").as_deref(),
        Some("64MiB ./rivus.toml:5")
    );
    assert_eq!(row("slots").as_deref(), Some("4 RIVUS_SLOTS"));
    assert_eq!(row("name").as_deref(), Some("left --name"));
    assert_eq!(row("heartbeat_timeout").as_deref(), Some("10s default"));
    assert_eq!(row("control_address"), None, "that is a JobManager's");
    assert!(!table.contains(SECRET));

    // A flag for the file goes before the variable, and so does all else.
    let nothing = dir.path().join("nothing.toml");
    std::fs::write(&nothing, "").expect("is written");
    let mut machines = show(&nothing, &["--json", "--lease", "2s", "--config"]);
    machines.arg(&file).env("RIVUS_LEASE", "3s");
    let line = said(machines.output().expect("runs"));
    let all: Vec<Value> = serde_json::from_str(&line).expect("is JSON");
    let of = |setting: &str| {
        all.iter()
            .find(|row| row["setting"] == setting)
            .expect("is there")
    };
    assert_eq!(of("lease")["value"], "2s");
    assert_eq!(of("lease")["from"], "flag");
    assert_eq!(of("lease")["at"], "--lease");
    assert_eq!(of("secret")["value"], Value::Null);
    assert_eq!(of("secret")["is_secret"], true);
    assert_eq!(of("secret")["from"], "file");
    assert_eq!(of("control_address")["from"], "default");
    assert!(!line.contains(SECRET) && line.lines().count() == 1);
}

#[test]
fn what_cannot_be_is_refused_in_one_line_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rivus.toml");
    std::fs::write(&file, "lease = \"1s\"\nslot = 4\n").expect("is written");
    let shown = file.display();
    let unknown = format!("error: {shown}:2: there is no setting slot: did you mean slots?");
    for role in ["cluster", "jobmanager", "taskmanager", "list"] {
        let refused = rivus()
            .arg(role)
            .arg("--config")
            .arg(&file)
            .output()
            .expect("runs");
        assert_eq!(refused.status.code(), Some(2), "{role}");
        let said = said(refused);
        assert!(
            said.starts_with(&unknown) && said.lines().count() == 1,
            "{said}"
        );
    }
    std::fs::write(&file, "slots = 4\n").expect("is written");
    let table: [(&[&str], &str, i32, &str); 6] = [
        (
            &["--slots", "0"],
            "",
            2,
            "--slots: slots is \"0\": expected a whole number above 0",
        ),
        (
            &[],
            "RIVUS_SLOTS",
            2,
            "RIVUS_SLOTS: slots is \"x\": expected a whole number above 0",
        ),
        (
            &[],
            "RIVUS_LEESE",
            2,
            "there is no variable RIVUS_LEESE: did you mean RIVUS_LEASE?",
        ),
        (&["--slot", "4"], "", 2, "did you mean --slots?"),
        (
            &["--config", "/nowhere.toml"],
            "",
            1,
            "--config /nowhere.toml: No such file",
        ),
        (
            &["--secret-file", "/nowhere"],
            "",
            1,
            "--secret-file: /nowhere: No such file",
        ),
    ];
    for (flags, variable, code, reason) in table {
        let mut command = rivus();
        command
            .arg("taskmanager")
            .args(flags)
            .env("RIVUS_CONFIG", &file);
        if !variable.is_empty() {
            command.env(variable, "x");
        }
        let refused = command.output().expect("runs");
        assert_eq!(refused.status.code(), Some(code), "{flags:?}{variable}");
        let said = said(refused);
        assert!(said.contains(reason) && said.lines().count() == 1, "{said}");
    }
    let foreign = show(&file, &["jobmanager", "--slots", "1"])
        .output()
        .expect("runs");
    assert_eq!(
        said(foreign),
        "error: --slots is no setting of jobmanager: leave it out\n"
    );
}

#[test]
fn processes_are_set_up_by_one_file_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rivus.toml");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "storage = {:?}\ncoordination = {:?}\nlease = \"1s\"\naddress = \"127.0.0.1:0\"\n\
         secret = \"{SECRET}\"\nslots = 2\nworkers = 1\n\n\
         [checkpoint]\ninterval = \"100ms\"\n\n[rocksdb]\ndirectory = {:?}\nmemory = \"32MiB\"\n",
        path("storage"),
        path("leaders"),
        path("rows"),
    );
    std::fs::write(&file, text).expect("is written");
    let start = |role: &str| {
        let mut command = rivus();
        Process::start(command.arg(role).env("RIVUS_CONFIG", &file))
    };
    let mut leader = start("jobmanager");
    let asked = Asked {
        address: listening(&leader.line()),
    };
    let mut tasks = start("taskmanager");
    let line = tasks.line();
    assert!(line.starts_with("2 slots; data at 127.0.0.1:"), "{line}");
    assert!(line.contains(&path("storage")), "{line}");
    let out = path("out");
    // No interval is given: it is the file's, since the job has none of its own.
    let submitted = asked.answer(&[
        "submit", "-p", "2", "clicks", "--", "--out", &out, "--rate", "4000", "--count", "8000",
    ]);
    let job = submitted["id"].as_str().expect("an id");
    asked.wait_for(job, |status| status["checkpoints"].as_u64() > Some(5));
    asked.wait_for(job, |status| status["status"] == "completed");
    assert_eq!(committed(Path::new(&out)), expected(8_000, 4_000));
    assert!(Path::new(&path("leaders")).is_dir() && Path::new(&path("rows")).is_dir());
}
