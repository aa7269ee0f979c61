//! An election among real processes, which are killed and stopped. Each is this very program, run with one test.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use rivus_state::{Campaign, DirectoryElection, Election, ElectionError, Renewal};

use crate::election::candidate;

const LEASE: Duration = Duration::from_secs(10);
const DIRECTORY: &str = "RIVUS_TEST_ELECTION";

/// Does one thing and says what came of it: `campaign a @3` (seconds), `renew a 1 @4`, `resign a 1`, `leader`.
fn carry_out(election: &DirectoryElection, line: &str) -> Result<String, ElectionError> {
    let words: Vec<&str> = line.split(' ').collect();
    let at = |word: &str| Duration::from_secs(word.trim_start_matches('@').parse().unwrap());
    let term = |word: &str| word.parse::<u64>().unwrap();
    Ok(match words[..] {
        ["campaign", name, now] => match election.campaign(&candidate(name), at(now))? {
            Campaign::Leading { term } => format!("leads in {term}"),
            Campaign::Following { until, leader } => {
                format!("follows {} @{}", leader.candidate.name, until.as_secs())
            }
        },
        ["renew", name, number, now] => match election.renew(name, term(number), at(now))? {
            Renewal::Renewed { until } => format!("renewed @{}", until.as_secs()),
            Renewal::Lost { term, leader } => {
                format!(
                    "lost in {term} to {}",
                    leader.as_deref().unwrap_or("nobody")
                )
            }
        },
        ["resign", name, number] => {
            election.resign(name, term(number))?;
            "done".to_owned()
        }
        ["leader"] => match election.leader()? {
            Some(leader) => format!("{} in {}", leader.candidate.address, leader.term),
            None => "nobody".to_owned(),
        },
        _ => panic!("{line:?} is nothing to be done"),
    })
}

/// What a candidate's process does: line in, line out. Run as a test it tells itself what to do.
#[test]
fn a_candidate_does_as_it_is_told() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let election = DirectoryElection::open(directory, LEASE).unwrap();
        for line in io::stdin().lines() {
            let line = line.unwrap();
            let (times, what) = line.split_once(' ').unwrap();
            for _ in 0..times.parse().unwrap() {
                println!("> {}", carry_out(&election, what).unwrap());
            }
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let election = DirectoryElection::open(dir.path(), LEASE).unwrap();
    for (what, said) in [
        ("leader", "nobody"),
        ("campaign a @0", "leads in 1"),
        ("campaign b @1", "follows a @11"),
        ("renew a 1 @2", "renewed @12"),
        ("leader", "a.example:7000 in 1"),
        ("resign a 1", "done"),
        ("renew a 1 @3", "lost in 1 to nobody"),
    ] {
        assert_eq!(carry_out(&election, what).unwrap(), said, "{what}");
    }
}

struct Process {
    child: Child,
    asks: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "processes::a_candidate_does_as_it_is_told",
                "--exact",
                "--nocapture",
            ])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = child.stdin.take().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, asks, says }
    }

    fn tell(&mut self, times: u32, what: &str) {
        writeln!(self.asks, "{times} {what}").unwrap();
    }

    /// The next thing it says; `None` when it is dead.
    fn said(&mut self) -> Option<String> {
        let lines = self.says.by_ref().map_while(Result::ok);
        let mut said = lines.filter_map(|line| Some(line.split_once("> ")?.1.to_owned()));
        said.next()
    }

    #[track_caller]
    fn check(&mut self, what: &str, says: &str) {
        self.tell(1, what);
        assert_eq!(self.said().as_deref(), Some(says), "{what}");
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill {signal} {}", self.child.id());
        let told = Command::new("sh").args(["-c", &kill]).status();
        assert!(told.unwrap().success());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_leader_that_is_killed_is_replaced_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let [mut one, mut two] = [Process::start(dir.path()), Process::start(dir.path())];
    one.check("campaign a @0", "leads in 1");
    two.check("campaign b @0", "follows a @10");
    two.check("leader", "a.example:7000 in 1");
    one.kill();
    two.check("leader", "nobody");
    two.check("campaign b @0", "leads in 2");
}

#[test]
fn a_leader_that_is_stopped_is_replaced_after_its_lease_and_hears_of_it_when_it_wakes() {
    let dir = tempfile::tempdir().unwrap();
    let [mut one, mut two] = [Process::start(dir.path()), Process::start(dir.path())];
    one.check("campaign a @500", "leads in 1");
    two.check("campaign b @0", "follows a @10");
    one.check("renew a 1 @505", "renewed @515");
    one.signal("-STOP");
    // From when its renewal was seen, by the clock of who saw it.
    two.check("campaign b @5", "follows a @15");
    two.check("campaign b @14", "follows a @15");
    two.check("campaign b @15", "leads in 2");
    one.signal("-CONT");
    one.check("renew a 1 @506", "lost in 2 to b");
    one.check("leader", "b.example:7000 in 2");
    // The lock that it still has on its old term hinders nobody.
    two.check("resign b 2", "done");
    two.check("campaign c @16", "leads in 3");
}

#[test]
fn terms_are_never_repeated_whenever_candidates_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut terms = BTreeSet::new();
    for life in 0..6 {
        let mut processes = ["a", "b"].map(|name| {
            let mut process = Process::start(dir.path());
            // A campaign in its own name wins, so this takes term after term.
            process.tell(1_000_000, &format!("campaign {name} @{life}0"));
            process
        });
        let mut last = [0; 2];
        // Some campaigns lose to the other's, as many as the scheduler likes.
        for by in [0, 1].into_iter().cycle().take(1000) {
            if terms.len() >= (life + 1) * 10 {
                break;
            }
            let said = processes[by].said().unwrap();
            if let Some(term) = said.strip_prefix("leads in ") {
                let term = term.parse::<u64>().unwrap();
                assert!(last[by] < term && terms.insert(term), "{term} again");
                last[by] = term;
            }
        }
        // In the middle of whatever they are at, but not of a line that is lost.
        for process in &mut processes {
            process.kill();
        }
        for (process, last) in processes.iter_mut().zip(&mut last) {
            while let Some(said) = process.said() {
                if let Some(term) = said.strip_prefix("leads in ") {
                    let term = term.parse::<u64>().unwrap();
                    assert!(*last < term && terms.insert(term), "{term} again");
                    *last = term;
                }
            }
        }
    }
    assert!(terms.len() >= 60, "{} terms", terms.len());
    // Of all these terms the newest are left, and what one may leave that is killed before it has one.
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert!(left <= 6, "{left} files");
}

#[test]
fn a_damaged_term_is_named_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let election = DirectoryElection::open(dir.path(), LEASE).unwrap();
    assert_eq!(carry_out(&election, "campaign a @0").unwrap(), "leads in 1");
    let file = dir.path().join(format!("{:020}", 1));
    for damage in ["short", "long enough, and no leadership at all"] {
        fs::write(&file, damage).unwrap();
        let error = carry_out(&election, "campaign b @0").unwrap_err();
        let error = rivus_core::Failure::user(&error.into()).message;
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert!(error.contains("delete what is damaged"), "{error}");
    }
}

#[test]
fn a_directory_that_can_not_be_used_is_named_with_the_mend() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DirectoryElection::open(file.path(), LEASE).unwrap_err();
    let error = error.to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    assert!(error.contains("writable"), "{error}");
}
