//! Command lines: those of programs that run a job of their own, and what the binary refuses.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{JobError, JobResult, RunArgs};
use tokio::task::JoinHandle;

use crate::processes::rivus;
use crate::written::csv_lines;

const RECORDS: u64 = 3_000;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    run: RunArgs,
}

fn program(line: &str) -> Result<Program, String> {
    let words = ["program"].into_iter().chain(line.split_whitespace());
    Program::try_parse_from(words).map_err(|error| error.to_string())
}

/// The numbers that a run of the program has shown.
async fn run(line: &str) -> Vec<u64> {
    let args = program(line).unwrap();
    let env = args.run.environment().build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(2_000);
    let numbers = env.from_source(numbers).uid("numbers");
    let shown = numbers.parallelism(1).collect();
    args.run.execute(&env, "numbers").await.unwrap();
    shown.values()
}

#[tokio::test]
async fn a_program_is_stopped_and_goes_on_by_its_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let before = run(&format!("--state {state} --stop-after 500ms")).await;
    assert!((before.len() as u64) < RECORDS, "it was not stopped");
    let mut made = std::fs::read_dir(dir.path().join("savepoints")).unwrap();
    let savepoint = made.next().unwrap().unwrap().path();
    let go_on = format!("--state {state} --from-savepoint {}", savepoint.display());
    let after = run(&format!("{go_on} --parallelism 3 --stop-after 1h")).await;
    let mut all = [before, after].concat();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..RECORDS));
}

/// Begins a run, or goes on with one; it ends with what is returned.
fn begun(line: &str, out: &Path) -> JoinHandle<Result<JobResult, JobError>> {
    begun_at(2_000, line, out)
}

/// The same, with so many records a second.
fn begun_at(rate: u64, line: &str, out: &Path) -> JoinHandle<Result<JobResult, JobError>> {
    let args = program(line).unwrap();
    let out = out.to_owned();
    tokio::spawn(async move {
        let env = args.run.environment().build();
        let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(rate);
        let numbers = env.from_source(numbers).uid("numbers").parallelism(1);
        numbers.sink_to(FileSink::csv(out)).uid("out");
        args.run.execute(&env, "numbers").await
    })
}

/// Waits until something of a run can be seen.
async fn shows(out: &Path) {
    while csv_lines(out).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_program_that_was_killed_goes_on_where_it_stood_if_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let [state, out] = ["state", "out"].map(|name| dir.path().join(name));
    let line = format!("--state {} --checkpoint-interval 20ms", state.display());
    let resume = format!("{line} --resume");
    let nothing = begun(&resume, &out).await.unwrap().unwrap_err();
    assert!(
        nothing.to_string().contains("leave --resume out"),
        "{nothing}"
    );

    // What runs beside it is nobody's to go on with.
    let beside = dir.path().join("beside");
    let other = begun_at(50, &line, &beside);
    shows(&beside).await;
    let first = begun(&line, &out);
    shows(&out).await;
    // While it runs, nobody else goes on with it.
    let refused = begun(&resume, &out).await.unwrap().unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.ends_with("is being run by another process: wait until that has ended"),
        "{refused}"
    );
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());

    let second = begun(&resume, &out).await.unwrap().unwrap();
    assert!(second.view.takeovers > 0, "it began anew");
    let mut numbers: Vec<u64> = csv_lines(&out).iter().map(|n| n.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(0..RECORDS));
    other.abort();
    assert!(other.await.unwrap_err().is_cancelled());
    begun(&resume, &beside).await.unwrap().unwrap();
    let over = begun(&resume, &out).await.unwrap().unwrap_err();
    assert!(over.to_string().contains("leave --resume out"), "{over}");
}

#[tokio::test]
async fn a_program_that_was_stopped_goes_on_from_its_savepoint_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let [state, out] = ["state", "out"].map(|name| dir.path().join(name));
    let line = format!("--state {}", state.display());
    let stopped = begun(&format!("{line} --stop-after 200ms"), &out);
    stopped.await.unwrap().unwrap();
    let over = begun(&format!("{line} --resume"), &out).await.unwrap();
    let says = format!(
        "goes on with --from-savepoint {}",
        state.join("savepoints").display()
    );
    let over = over.unwrap_err().to_string();
    assert!(over.contains(&says), "{over}");
    let before = csv_lines(&out);

    let savepoints = std::fs::read_dir(state.join("savepoints")).unwrap();
    let [savepoint] = <[_; 1]>::try_from(Vec::from_iter(savepoints)).unwrap();
    let from = format!(
        "{line} --from-savepoint {}",
        savepoint.unwrap().path().display()
    );
    // What the source had read is let go, so it begins with the first once more.
    let again = begun(&format!("{from} --drop-state-of numbers"), &out);
    again.await.unwrap().unwrap();
    let all = |lines: Vec<String>| {
        let mut numbers: Vec<u64> = lines.iter().map(|n| n.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut expected = all(before);
    expected.extend(0..RECORDS);
    expected.sort_unstable();
    assert_eq!(all(csv_lines(&out)), expected);
}

#[test]
fn a_program_that_could_not_be_run_is_refused_by_the_option() {
    for (line, says) in [
        ("--parallelism 0", "0 is not in 1.."),
        ("--state a --stop-after soon", "--stop-after <TIME>"),
        ("--stop-after 1s", "--state <DIR>"),
        ("--from-savepoint b", "--state <DIR>"),
        ("--state a --drop-state-of b", "--from-savepoint <FOLDER>"),
        ("--resume", "--state <DIR>"),
        ("--state a --resume=one", "--resume[=<ID>]"),
        (
            "--state a --resume --from-savepoint b",
            "cannot be used with",
        ),
        (
            "--checkpoint-interval often",
            "--checkpoint-interval <TIME>",
        ),
    ] {
        let refused = program(line).err().expect(line);
        assert!(refused.contains(says), "{line}: {refused}");
    }
}

#[test]
fn a_benchmark_of_nothing_is_refused_in_one_line() {
    for line in [
        "keyed --records",
        "keyed --keys",
        "keyed --rounds",
        "keyed --batch",
        "stateless --records",
        "stateless --rounds",
        "stateless --parallelism",
        "latency --rate",
        "latency --keys",
        "latency --seconds",
        "checkpoint --keys",
        "checkpoint --interval",
        "checkpoint --checkpoints",
        "backpressure --keys",
        "backpressure --seconds",
        "state --restore --keys",
        "state --memory",
        "state --hot-keys",
        "state --seconds",
        "state --loop-rows",
        "state --checkpoints",
        "state --rounds",
        "takeover --kills",
    ] {
        let bench = ["bench"].into_iter().chain(line.split(' ')).chain(["0"]);
        let output = rivus().args(bench).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        let option = line.rsplit(' ').next().unwrap();
        let says = said.contains(option) && said.contains("0 is not in 1..");
        assert!(says && said.lines().count() == 1, "{line}: {said}");
    }
}

#[test]
fn the_demo_loses_nothing_while_actors_and_leaders_die() {
    let said = rivus()
        .args(["demo", "--seconds", "6", "--rate", "2000", "--json"])
        .output()
        .unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{out}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let number = |field: &str| last[field].as_f64().expect(field);
    assert_eq!((number("lost"), number("duplicated")), (0.0, 0.0));
    assert_eq!(number("records"), 12_000.0);
    assert!(number("results") > 10_000.0, "{last}");
    assert!(number("records_per_second") > 0.0, "{last}");
    assert!(number("kills") >= 5.0, "{last}");
    assert_eq!(last["killed"]["JobManager"], 2, "{last}");
    assert!(number("takeovers") >= 1.0, "{last}");
    for counted in ["restarts", "attempts_restarted_by_takeover", "checkpoints"] {
        assert!(last[counted].is_u64(), "{counted}: {last}");
    }
}
