//! Addresses that guess passwords, from the log of an OpenSSH server.
//!
//! It shows keyed state with event timers. An address is reported when it has failed `--threshold` times
//! within `--within`, once per burst: it is quiet from then on until it hasn't failed for as long.
//! Records of a key may arrive in any order; so each failure waits for a timer at its own time, and is
//! judged when the watermark has reached it. The answer is the same at every parallelism.
//!
//! Such a log has no year; `--year` says which it is (2023 if not given), and times are the server's own.
//!
//! ```text
//! cargo run --example ssh_bruteforce -- /var/log/auth.log --threshold 5 --within 1m
//! ```

mod cli;
mod logs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use logs::sshd::{Failed, parse};
use rivus::connectors::TextFileSource;
use rivus::{
    DataStream, Event, Keyed, KeyedProcessFunction, ListState, MapState, Output, RestartStrategy,
    StateSet, StreamEnvironment, Timer, UserError, ValueState, WatermarkStrategy,
};
use serde::{Deserialize, Serialize};

/// Reports addresses that fail to log in too often.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `Dec 10 06:55:46 HOST sshd[24200]: MESSAGE`.
    log: PathBuf,
    /// The year of the log.
    #[arg(long, default_value_t = 2023)]
    year: i16,
    /// How many failed logins are too many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    threshold: u64,
    /// In what time.
    #[arg(long, default_value = "1m", value_parser = cli::duration)]
    within: Duration,
    /// How many subtasks every step has.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=128))]
    parallelism: u32,
}

#[allow(dead_code)] // not when a test includes this file
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Args = cli::parse();
    cli::end(run(&args).await)
}

async fn run(args: &Args) -> Result<(), UserError> {
    let env = StreamEnvironment::builder()
        .parallelism(args.parallelism)
        .restart(RestartStrategy::None) // a bad line is still bad at the second try
        .build();
    let bursts = bursts(&env, args).collect();
    env.execute("ssh bruteforce").await?;
    let mut bursts = bursts.values();
    bursts.sort();
    cli::print(bursts.iter().map(|burst| {
        let (at, since) = (civil(burst.at), civil(burst.since));
        let Burst {
            address, failures, ..
        } = burst;
        format!("{at} {address} {failures} failed logins since {since}")
    }))?;
    Ok(())
}

/// A time as the server would show it.
fn civil(ms: i64) -> DateTime {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).datetime()
}

/// An address has failed too often.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Burst {
    /// When it was once too often, milliseconds since the epoch.
    pub at: i64,
    /// From where.
    pub address: String,
    /// How often within the time.
    pub failures: u64,
    /// The first of them.
    pub since: i64,
}

/// The job.
pub fn bursts(env: &StreamEnvironment, args: &Args) -> DataStream<Burst> {
    let (year, threshold) = (args.year, args.threshold);
    let within = i64::try_from(args.within.as_millis()).unwrap_or(i64::MAX);
    let log = TextFileSource::new(&args.log)
        .lossy_utf8()
        .parsed_by(move |line| parse(line, year));
    let nearly_sorted = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(5));
    env.from_source(log)
        .flat_map(|failed| failed)
        .assign_watermarks(nearly_sorted.with_timestamps(|failed: &Failed| failed.at))
        .key_by_ref(|failed| failed.address.as_str())
        .process(Bursts { threshold, within })
}

/// What is kept of an address.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Attempts {
    /// By time: failures that the watermark hasn't reached.
    waiting: MapState<i64, u64>,
    /// When, and how often it then failed, not longer ago than `within`.
    recent: ListState<(i64, u64)>,
    /// Set once the burst was reported.
    reported: ValueState<()>,
}

#[derive(Clone)]
struct Bursts {
    threshold: u64,
    within: i64,
}

impl KeyedProcessFunction<String, Failed> for Bursts {
    type Out = Burst;
    type State = Attempts;

    fn process(
        &mut self,
        failed: Event<Failed>,
        state: &mut Keyed<'_, String, Attempts>,
        _out: &mut Output<'_, Burst>,
    ) -> Result<(), UserError> {
        *state.waiting.entry(failed.ts).or_default() += failed.value.times;
        state.register_event_timer(failed.ts);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, String, Attempts>,
        out: &mut Output<'_, Burst>,
    ) -> Result<(), UserError> {
        let (at, address) = (timer.ts, state.key().clone());
        state
            .recent
            .retain(|(earlier, _)| at - earlier <= self.within);
        if let Some(times) = state.waiting.remove(&at) {
            state.recent.push((at, times));
            state.register_event_timer(at.saturating_add(self.within));
            let failures = state.recent.iter().map(|(_, times)| times).sum();
            if failures >= self.threshold && state.reported.is_empty() {
                let since = state.recent.get(0).map_or(at, |first| first.0);
                state.reported.set(());
                out.emit(Burst {
                    at,
                    address,
                    failures,
                    since,
                });
            }
        } else if state
            .recent
            .iter()
            .all(|(last, _)| at - last >= self.within)
        {
            state.recent.clear();
            state.reported.clear();
        }
        Ok(())
    }
}
