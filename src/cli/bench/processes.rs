//! Processes of this binary: a cluster to measure.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::meter;

/// A directory of one measurement, which goes when that is over, however it ends.
pub(super) struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Directory {
    pub(super) fn make(within: Option<&Path>, name: &str) -> anyhow::Result<Self> {
        let own = format!("rivus-{name}-{}", std::process::id());
        let path = within.map_or_else(std::env::temp_dir, Path::to_owned);
        let made = Self(path.join(own));
        std::fs::create_dir_all(&made.0).with_context(|| {
            format!("can't make {}: give another --directory", made.0.display())
        })?;
        Ok(made)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A process of this binary; killed when it is let go.
pub(super) struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub(super) fn start(role: &str, storage: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let mut child = command(&[role, "--storage"])?
            .arg(storage)
            .args(options)
            // Whoever is killed is missed; that is what is asked for.
            .env("RIVUS_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start a {role}"))?;
        let said = child.stdout.take().context("is piped")?;
        Ok(Self {
            child,
            said: BufReader::new(said),
        })
    }

    /// Waits for the line that begins so, and gives the word behind it.
    pub(super) fn says(&mut self, begins: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        while self.said.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(begins) {
                let word = rest.split([';', ' ']).next().unwrap_or_default();
                return Ok(word.trim_end_matches(':').to_owned());
            }
            line.clear();
        }
        anyhow::bail!("a process has ended without a line that begins with {begins:?}")
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all of its threads.
    pub(super) fn cpu_time(&self) -> Duration {
        meter::cpu_time_of(&self.child.id().to_string())
    }
}

/// A JobManager, and where commands go.
pub(super) struct JobManager {
    pub(super) process: Process,
    pub(super) address: String,
}

impl JobManager {
    pub(super) fn start(storage: &Path) -> anyhow::Result<Process> {
        Process::start("jobmanager", storage, &["--address", "127.0.0.1:0"])
    }

    pub(super) fn leading(mut process: Process) -> anyhow::Result<Self> {
        let address = process.says("listening on ")?;
        Ok(Self { process, address })
    }

    pub(super) fn standing_by(storage: &Path) -> anyhow::Result<Process> {
        let mut process = Self::start(storage)?;
        process.says("standing by at ")?;
        Ok(process)
    }

    /// What a command answers.
    pub(super) fn answer(&self, words: &[&str]) -> anyhow::Result<Value> {
        let (name, rest) = words.split_first().context("a command")?;
        let mut asking = command(&[name, "--json", "--address", &self.address])?;
        let output = asking.args(rest).output()?;
        anyhow::ensure!(
            output.status.success(),
            "rivus {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Submits a job of two subtasks each; returns its id.
    pub(super) fn submit(&self, interval: &str, job: &[&str]) -> anyhow::Result<String> {
        let submit = ["submit", "-p", "2", "--checkpoint-interval", interval];
        let submitted = self.answer(&[&submit[..], job].concat())?;
        Ok(submitted["id"].as_str().context("an id")?.to_owned())
    }
}

fn command(words: &[&str]) -> anyhow::Result<Command> {
    let binary = std::env::current_exe().context("this binary isn't found")?;
    let mut command = Command::new(binary);
    command.args(words);
    Ok(command)
}
