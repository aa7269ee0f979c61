//! What commands show people, on a terminal and where there is none.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, checkpoints};
use crate::processes::{Process, by_itself, rivus};

/// Runs a command on a terminal of its own, passes on what it shows there, and ends as it does.
const TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

fn on_a_terminal(words: &[&str]) -> Command {
    let mut command = by_itself(Path::new("python3"));
    command
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_rivus")])
        .args(words)
        .stdin(Stdio::null());
    command
}

/// All that a command shows. A terminal's lines end otherwise.
fn shown(mut command: Command) -> String {
    let output = command.output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("is text");
    text.replace('\r', "")
}

/// The lines up to one with this in it, or to the end; without empty ones.
fn lines_until(process: &mut Process, what: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = process.line();
        let is_last = line.is_empty() || line.contains(what);
        lines.push(line);
        if is_last {
            return lines;
        }
    }
}

#[test]
fn a_job_is_drawn_over_itself_until_it_ends_and_once_where_nobody_looks_on() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let asked = &leader.asked;
    let job = cluster.submit(asked, 1_000_000);
    asked.wait_for(&job, |status| checkpoints(status) > 1);

    let address = &*asked.address;
    let status = ["status", "--address", address, "clicks"];
    let mut live = Process::start(&mut on_a_terminal(&status));
    let head = format!("{job} clicks: running");
    let first = lines_until(&mut live, &head);
    assert_eq!(first, [format!("{head}\r\n")]);
    let drawn = lines_until(&mut live, &head);
    let is_of_tasks = |line: &String| line.starts_with("TASK ") && line.contains("BACKPRESSURED");
    assert!(drawn.iter().any(is_of_tasks), "{drawn:?}");
    // As many lines up as there are: these, the first one, less the one that stands there anew, and an empty one.
    let up = drawn.len() + 1;
    let anew = format!("\u{1b}[{up}A\u{1b}[J{head}\r\n");
    assert_eq!(drawn.last(), Some(&anew), "{drawn:?}");

    asked.answer(&["cancel", &job]);
    let rest = lines_until(&mut live, "clicks: canceled");
    assert_ne!(rest.last().map(String::as_str), Some(""), "{rest:?}");
    let ended = lines_until(&mut live, "\u{1b}[");
    assert_eq!(ended.last().map(String::as_str), Some(""), "{ended:?}");
    assert!(live.child.wait().expect("is a child").success());

    let mut plain = rivus();
    plain.args(["status", "--address", address, &job]);
    let once = on_a_terminal(&["status", "--once", "--address", address, &job]);
    for text in [shown(plain), shown(once)] {
        let is_whole = text.starts_with(&format!("{job} clicks: canceled\n"));
        assert!(is_whole && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn jobs_are_listed_in_lines_whether_somebody_looks_on_or_not() {
    let cluster = Cluster::new();
    let leader = cluster.leader(&[]);
    let _tasks = cluster.task_manager("2", &[]);
    let asked = &leader.asked;
    let ended = cluster.submit(asked, 1_000_000);
    asked.wait_for(&ended, |status| checkpoints(status) > 1);
    asked.answer(&["cancel", &ended]);
    asked.wait_for(&ended, |status| status["status"] == "canceled");
    let runs = cluster.submit(asked, 1_000_000);
    asked.wait_for(&runs, |status| status["status"] == "running");

    let list = ["list", "--address", &*asked.address];
    let mut plain = rivus();
    plain.args(list);
    for text in [shown(plain), shown(on_a_terminal(&list))] {
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let [heads, first, last] = &lines[..] else {
            panic!("{text}");
        };
        assert_eq!((heads[0], heads.last()), ("JOB", Some(&"STATUS")), "{text}");
        assert_eq!((first[0], first[1]), (&*runs, "clicks"), "{text}");
        assert_eq!(first.last(), Some(&"running"), "{text}");
        assert_eq!((last[0], last[1]), (&*ended, "clicks"), "{text}");
        assert_eq!(last.last(), Some(&"canceled"), "{text}");
    }
}
