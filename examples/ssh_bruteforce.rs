//! Addresses that guess passwords, from the log of an OpenSSH server.
//!
//! It shows keyed state with event timers. An address is reported when it has failed `--threshold` times within `--within`,
//! once per burst: then not before it hasn't failed for as long. Records of a key may arrive in any order; so each failure
//! waits for a timer at its own time, and the answer is the same at every parallelism, in another order.
//!
//! ```text
//! cargo run --example ssh_bruteforce -- /var/log/auth.log --threshold 5 --within 1m
//! ```

#[path = "world/screen.rs"]
mod screen;
#[path = "world/sshd.rs"]
mod sshd;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rivus::connectors::TextFileSource;
use rivus::{
    DataStream, Event, JobError, Keyed, KeyedProcessFunction, MapState, Output, RunArgs, StateSet,
    StreamEnvironment, Timer, UserError, ValueState, WatermarkStrategy,
};
use serde::{Deserialize, Serialize};
use sshd::{Failed, failed_login, text};

/// Reports addresses that fail to log in too often.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `Dec 10 06:55:46 HOST sshd[24200]: MESSAGE`.
    log: PathBuf,
    /// The year of the log, whose times have none.
    #[arg(long, default_value_t = 2023)]
    year: i16,
    /// How many failed logins are too many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    threshold: u64,
    /// In what time.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    within: Duration,
    #[command(flatten)]
    run: RunArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), JobError> {
    let args = Args::parse();
    let env = args.run.environment().build();
    bursts(&env, &args).print();
    screen::unless_closed(args.run.execute(&env, "ssh bruteforce").await)
}

/// The job: a line for each burst.
pub fn bursts(env: &StreamEnvironment, args: &Args) -> DataStream<String> {
    let (year, threshold) = (args.year, args.threshold);
    let within = i64::try_from(args.within.as_millis()).unwrap_or(i64::MAX);
    let log = TextFileSource::new(&args.log)
        .lossy_utf8()
        .parsed_by(move |line| failed_login(line, year));
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
    /// Times of failures: those that the watermark hasn't reached, and those that still count.
    failures: MapState<i64, u64>,
    /// Set once the burst was reported.
    reported: ValueState<()>,
}

#[derive(Clone)]
struct Bursts {
    threshold: u64,
    within: i64,
}

impl KeyedProcessFunction<String, Failed> for Bursts {
    type Out = String;
    type State = Attempts;

    fn process(
        &mut self,
        failed: Event<Failed>,
        state: &mut Keyed<'_, String, Attempts>,
        _out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        *state.failures.entry(failed.ts).or_default() += failed.value.times;
        state.register_event_timer(failed.ts);
        state.register_event_timer(failed.ts.saturating_add(self.within).saturating_add(1));
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, String, Attempts>,
        out: &mut Output<'_, String>,
    ) -> Result<(), UserError> {
        let now = timer.ts;
        state.failures.retain(|at, _| now - at <= self.within);
        let recent = || state.failures.range(..=now);
        let times: u64 = recent().map(|(_, times)| times).sum();
        let since = recent().next().map_or(now, |(first, _)| *first);
        if since == now {
            state.reported.clear(); // there was none before: another burst, or none
        }
        if times >= self.threshold && state.reported.is_empty() {
            state.reported.set(());
            let (now, since, from) = (text(now)?, text(since)?, state.key());
            out.emit(format!("{now} {from} failed {times} times since {since}"));
        }
        Ok(())
    }
}
