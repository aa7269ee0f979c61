//! Processes of the binary: started, asked, killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::written::csv_lines;

/// What the tests' S3 server asks of a process, in its environment.
pub(crate) const S3_KEYS: [(&str, &str); 3] = [
    ("RIVUS_S3_REGION", "us-east-1"),
    ("RIVUS_S3_ACCESS_KEY", "tests"),
    ("RIVUS_S3_SECRET_KEY", "no secret"),
];

/// The binary, set up by nothing but what a test says.
pub(crate) fn rivus() -> Command {
    by_itself(Path::new(env!("CARGO_BIN_EXE_rivus")))
}

/// A program whose environment says nothing to Rivus.
pub(crate) fn by_itself(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        // Such as the number of seeds that the chaos tests are to try.
        if name.to_string_lossy().starts_with("RIVUS_") {
            command.env_remove(name);
        }
    }
    // Whoever is killed is missed; that is not what a test's output is for.
    command.env_remove("RUST_LOG").env("RIVUS_LOG", "error");
    command
}

/// A running process. Killed when the test is over, however it ends.
pub(crate) struct Process {
    pub(crate) child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let said = BufReader::new(child.stdout.take().expect("is piped"));
        Self { child, said }
    }

    /// With what it logs in a file.
    pub(crate) fn start_logging(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("is made");
        Self::start(command.env("RIVUS_LOG", "warn").stderr(log))
    }

    /// The next line that it says. What a program of tests says of its test is none.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).expect("is read") > 0 {
            if !["", "running 1 test"].contains(&line.trim_end()) {
                break;
            }
            line.clear();
        }
        line
    }

    /// Says something to it as an operating system does.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill {signal} {}", self.child.id());
        // Every shell has it; as a program of its own it is not everywhere.
        let told = Command::new("sh").args(["-c", &kill]).status();
        assert!(told.expect("a shell").success());
    }

    /// As a machine that fails: nobody is told.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("is killed");
    }
}

/// Where a process listens for commands, by the line that it says.
pub(crate) fn listening(line: &str) -> String {
    let address = line.strip_prefix("listening on ");
    let address = address.unwrap_or_else(|| panic!("says where it listens, not {line:?}"));
    let (address, _) = address.split_once(';').expect("and more");
    address.to_owned()
}

/// Whoever answers for a service's jobs.
pub(crate) struct Asked {
    pub(crate) address: String,
}

impl Asked {
    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        // Options go before a job's own arguments.
        let (command, rest) = words.split_first().expect("a command");
        let mut asking = rivus();
        asking.arg(command);
        let mut rest = rest;
        if *command == "savepoint" {
            asking.arg(rest[0]);
            rest = &rest[1..];
        }
        asking
            .args(["--json", "--address", &self.address])
            .args(rest);
        asking.output().expect("runs")
    }

    /// What it answers, as JSON.
    pub(crate) fn answer(&self, words: &[&str]) -> Value {
        let output = self.ask(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("is JSON")
    }

    /// The line that says why not, and the exit code.
    pub(crate) fn refusal(&self, words: &[&str]) -> (String, Option<i32>) {
        let output = self.ask(words);
        let said = String::from_utf8(output.stderr).expect("is text");
        (said, output.status.code())
    }

    /// What `rivus status` says of a job, if anybody answers at once. Tests look often, and a process for each look would be most of what
    /// they do.
    fn looked_at(&self, job: &str) -> Option<Value> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2)));
        let agent: ureq::Agent = config.build().into();
        self.address.split(',').find_map(|one| {
            let asked = agent.get(format!("http://{one}/v1/jobs/{job}")).call();
            asked.ok()?.body_mut().read_json().ok()
        })
    }

    /// Looks at a job until it is as it should be.
    pub(crate) fn wait_for(&self, job: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let status = self.looked_at(job);
            let status = status.unwrap_or_else(|| self.answer(&["status", job]));
            if is_so(&status) {
                return status;
            }
            pause();
            pause();
        }
        panic!("it never came to that: {}", self.answer(&["status", job]));
    }
}

/// The lines of a log that have something in them, when there is one at least.
pub(crate) fn logged(log: &Path, what: &str) -> Vec<String> {
    for _ in 0..400 {
        let said = std::fs::read_to_string(log).expect("is read");
        let lines = said.lines().filter(|line| line.contains(what));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if !lines.is_empty() {
            return lines;
        }
        pause();
    }
    let said = std::fs::read_to_string(log).expect("is read");
    panic!("{what:?} is not said in {said}");
}

/// Between two looks at another process, whose clock can't be paused.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Rows of committed files by window and page, each of which may stand there once.
pub(crate) fn committed(out: &Path) -> BTreeMap<(i64, String), u64> {
    let mut rows = BTreeMap::new();
    for line in csv_lines(out) {
        let mut fields = line.split(',');
        let mut next = || fields.next().expect("three fields");
        let key = (next().parse().expect("a time"), next().to_owned());
        let count = next().parse().expect("a count");
        let twice = rows.insert(key.clone(), count);
        assert_eq!(twice, None, "{key:?} stands there twice");
    }
    rows
}

/// What `clicks` gives by its description, without an engine.
pub(crate) fn expected(clicks: u64, rate: u64) -> BTreeMap<(i64, String), u64> {
    let mut rows = BTreeMap::new();
    for n in 0..clicks {
        let window = 1_767_225_600_000 + (n / rate * 1_000) as i64;
        *rows
            .entry((window, format!("/{}", n * n % 11)))
            .or_insert(0) += 1;
    }
    rows
}
