//! Rules for card payments, and where they come from.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rivus::connectors::{TextFileSource, Watch};
use rivus::{DataStream, SideOutputTag, StreamEnvironment, WatermarkStrategy};

/// The most that a rule may look back, in milliseconds, and so for how long payments are kept.
pub const LONGEST: i64 = 3_600_000;

/// How often a folder of rules is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a card may spend: cents, and within how many milliseconds.
pub type Limit = (u64, i64);

/// A version of a rule: from when it holds, its name, and what it allows, if it isn't withdrawn.
pub type Rule = (i64, String, Option<Limit>);

/// Reads `FROM,NAME,CENTS,WITHIN`.
fn rule(line: &str) -> Result<Rule> {
    let fields: Vec<&str> = line.split(',').collect();
    let [from, name, cents, within] = fields[..] else {
        bail!("expected `FROM,NAME,CENTS,WITHIN`");
    };
    let from: Timestamp = from.parse().context("FROM")?;
    let limit = match cents {
        "" => None,
        cents => {
            let within = humantime::parse_duration(within).context("WITHIN")?;
            let within = within.as_millis() as i64;
            ensure!(within > 0, "a rule that looks back at nothing");
            ensure!(within <= LONGEST, "a rule looks back an hour at most");
            Some((cents.parse().context("CENTS")?, within))
        }
    };
    Ok((from.as_millisecond(), name.to_owned(), limit))
}

/// Where the rules come from.
#[derive(Debug, Clone, clap::Args)]
pub struct Rules {
    /// The rules: a file of lines `FROM,NAME,CENTS,WITHIN` in order of time, without CENTS and WITHIN where the rule is
    /// withdrawn; or a folder of such files that is watched for new ones until there is a file `_DONE` in it.
    rules: PathBuf,
}

impl Rules {
    /// A stream of them. A line that is no rule is shown and left out.
    pub fn stream(&self, env: &StreamEnvironment) -> DataStream<Rule> {
        let mut by_their_time =
            WatermarkStrategy::monotonous().with_timestamps(|rule: &Rule| rule.0);
        let mut source = TextFileSource::new(&self.rules);
        if self.rules.is_dir() {
            let done = self.rules.join("_DONE");
            source = TextFileSource::folder(&self.rules).watch(Watch::every(LOOK).until(done));
            // Payments don't wait for rules that nobody writes.
            by_their_time = by_their_time.with_idleness(4 * LOOK);
        }
        let bad = SideOutputTag::new("bad lines");
        let rules = env
            .from_source(source.parsed_by(rule).collecting_bad_lines())
            .parallelism(1)
            .bad_lines_to(&bad)
            .parallelism(1);
        rules
            .side_output(&bad)
            .map(|line| format!("{}: {}", line.place, line.error))
            .print();
        rules.assign_watermarks(by_their_time).parallelism(1)
    }
}
