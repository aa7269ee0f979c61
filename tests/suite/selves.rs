//! Processes that are this very program, run with one test: with jobs and probes of tests in them.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use rivus::{Jobs, ServiceCommand};

use crate::cluster::Leader;
use crate::processes::{Process, by_itself};
use crate::written::csv_lines;
use crate::{dying, held, regions};

/// What a process is told to be: words of a command line, a line each.
const WORDS: &str = "TEST_SELVES_WORDS";

/// There if a process is to read its own command line, as a binary of one's own does.
const OWN: &str = "TEST_SELVES_OWN";

/// This program with other words, below a directory that it shares with others.
pub(crate) fn command(dir: &Path, words: &[&str]) -> Command {
    let storage = dir.join("storage").display().to_string();
    let words = [words, &["--storage", &storage, "--lease", "1s"]].concat();
    let mut command = by_itself(&env::current_exe().expect("is known"));
    command
        .args(["selves::a_process_is_what_it_is_told_to_be", "--exact"])
        .args(["--nocapture", "--test-threads=2"])
        .env(WORDS, words.join("\n"));
    command
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: ServiceCommand,
}

fn jobs() -> Jobs {
    let jobs = held::jobs(regions::jobs(dying::jobs(Jobs::new())));
    match dying::probe() {
        Some(probe) => jobs.probe(probe),
        None => jobs,
    }
}

#[test]
fn a_process_is_what_it_is_told_to_be() {
    let Some(words) = env::var_os(WORDS) else {
        let dir = tempfile::tempdir().expect("a directory");
        let mut jobmanager = command(dir.path(), &["jobmanager", "--address", "127.0.0.1:0"]);
        let line = Process::start(&mut jobmanager).line();
        assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
        return;
    };
    let words = words.into_string().expect("is text");
    let cli = Cli::parse_from(std::iter::once("rivus").chain(words.lines()));
    cli.command.run(jobs());
}

/// This program as a binary of one's own, whose command is one word: of these tests the one runs that has the word in its name, and reads the
/// same command line once more. All that a command line can say the environment can.
fn own_binary(dir: &Path, command: &str) -> Command {
    let mut own = by_itself(&env::current_exe().expect("is known"));
    own.arg(command)
        .env("RUST_TEST_NOCAPTURE", "1")
        .env("RUST_TEST_THREADS", "2")
        .env("RIVUS_STORAGE", dir.join("storage"))
        .env(OWN, "");
    own
}

#[test]
fn a_jobmanager_and_taskmanagers_are_one_line_of_main() -> ExitCode {
    if env::var_os(OWN).is_some() {
        return jobs().main();
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut jobmanager = own_binary(dir.path(), "jobmanager");
    let leader = Leader::of(Process::start(
        jobmanager.env("RIVUS_ADDRESS", "127.0.0.1:0"),
    ));
    let mut taskmanager = own_binary(dir.path(), "taskmanager");
    let _tasks = Process::start(taskmanager.env("RIVUS_SLOTS", "2"));

    let (asked, out) = (&leader.asked, dir.path().join("out"));
    let to = out.to_str().expect("is text");
    let submitted = asked.answer(&["submit", "-p", "2", "numbers", "--", to, "500"]);
    let job = submitted["id"].as_str().expect("an id");
    asked.wait_for(job, |status| status["status"] == "completed");
    assert_eq!(dying::all_counted(&csv_lines(&out)), Some(500));

    let mut taskmanagers = own_binary(dir.path(), "taskmanagers");
    taskmanagers.env("RIVUS_ADDRESS", &asked.address);
    let listed = taskmanagers.output().expect("runs");
    let said = String::from_utf8_lossy(&listed.stdout);
    let is_table = said.contains("SLOTS  FREE  STATE") && said.contains("127.0.0.1:");
    assert!(listed.status.success() && is_table, "{listed:?}");
    ExitCode::SUCCESS
}
