//! Processes that are this very program, run with one test: with jobs and probes of tests in them.

use std::env;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use rivus::{Jobs, ServiceCommand};

use crate::processes::{Process, by_itself};
use crate::{dying, held, regions};

/// What a process is told to be: words of a command line, a line each.
const WORDS: &str = "TEST_SELVES_WORDS";

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
