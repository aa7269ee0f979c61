//! `nexmark lines`: the job that users run. Bids as JSON lines in files, and questions to them, as a job and as a loop by hand.

mod by_hand;
mod job;
mod make;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// What is to be done with lines.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write bids as JSON, one a line
    Make(make::Args),
    /// Run a job over them at full speed, and say what it took
    Run(job::Args),
    /// Answer the same in one thread, by a loop written by hand: no checkpoints, no state that outlives it
    Loop(by_hand::Args),
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Make(args) => make::run(args),
        Command::Run(args) => job::run(args),
        Command::Loop(args) => by_hand::run(args),
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Question {
    /// Bids of 100 and more, without their texts
    Filter,
    /// How many bids each auction has had in the last ten seconds, every two
    Slide,
    /// How many bids each auction has had, and for how much in all, told anew as they come in: by the loop with each of them, by the job with
    /// those of an auction that were read together
    Sums,
    /// How many bids everybody makes until there is none for ten seconds
    Session,
    /// Bids of 900,000 and more, each with those of less than 1.20 that the same person made in the same ten seconds
    Join,
}

/// How a line becomes a bid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Parser {
    /// serde_json
    Serde,
    /// sonic-rs, which uses what vector instructions this program was compiled for
    Sonic,
}

impl Parser {
    /// Of this line.
    #[inline]
    fn parse(self, line: &str) -> Result<Line, String> {
        match self {
            Self::Serde => serde_json::from_str(line).map_err(|error| error.to_string()),
            // Behind its first line stands a drawing of the place.
            Self::Sonic => sonic_rs::from_str(line).map_err(|error| {
                let said = error.to_string();
                said.lines().next().unwrap_or_default().to_owned()
            }),
        }
    }
}

/// What the questions need of a bid; texts are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    auction: u64,
    bidder: u64,
    price: u64,
    date_time: i64,
}

/// Cents from which on a bid is let through.
const ENOUGH: u64 = 10_000;
/// What high and low bids are.
const HIGH: u64 = 90_000_000;
const LOW: u64 = 120;

/// The files bids-0.jsonl, bids-1.jsonl and so on of a directory, by name; others are left alone.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory);
    let entries = entries.with_context(|| format!("can't list {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("bids-")?.strip_suffix(".jsonl"));
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
            files.push(path);
        }
    }
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "there is no file bids-0.jsonl in {}: have it made by `nexmark lines make`",
        directory.display()
    );
    Ok(files)
}

/// What a run came to.
#[derive(Debug, Serialize)]
struct Figures {
    query: Question,
    parser: Parser,
    records: u64,
    /// None if they were written to files.
    results: Option<u64>,
    seconds: f64,
    cpu_seconds: f64,
    records_per_second: f64,
    records_per_cpu_second: f64,
    /// From the start of the program.
    first_result_seconds: Option<f64>,
    peak_rss_bytes: u64,
    /// Complete before the end.
    checkpoints: u64,
}

impl Figures {
    fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "  {} records, {} in {:.2} s and {:.2} CPU-seconds of all threads",
            self.records,
            self.results
                .map_or("written to files".to_owned(), |results| format!(
                    "{results} results"
                )),
            self.seconds,
            self.cpu_seconds
        );
        println!(
            "  {:.0} thousand records per second, {:.0} per CPU-second",
            self.records_per_second / 1e3,
            self.records_per_cpu_second / 1e3
        );
        let first = self.first_result_seconds;
        println!(
            "  {:.0} MB resident at the most, {} checkpoints; the first result {}",
            self.peak_rss_bytes as f64 / 1e6,
            self.checkpoints,
            first.map_or("was not seen".to_owned(), |first| format!(
                "after {first:.3} s"
            )),
        );
        Ok(())
    }
}
