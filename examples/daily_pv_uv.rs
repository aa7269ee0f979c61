//! Page views and unique visitors of a web site from midnight to now, from its access log.
//!
//! It shows how a day's figures are kept where no single subtask could keep all visitors. In two steps: each visitor's views
//! are counted by slices of the day, with a mark on the first slice in which the visitor was seen that day; then the
//! slices of all visitors are added up. Slices are told in order of their time, so the figures of "until 14:10" are
//! exactly the views before 14:10, at every parallelism and across a savepoint.
//!
//! ```text
//! cargo run --example daily_pv_uv -- access.log --every 10m
//! cargo run --example daily_pv_uv -- access.log --out OUT --state STATE --rate 20 --stop-after 3s
//! cargo run --example daily_pv_uv -- access.log --out OUT --state STATE --from-savepoint PATH
//! ```

#[path = "logs/access.rs"]
mod access;

use std::path::PathBuf;
use std::time::Duration;

use access::{Days, Slice, parse};
use anyhow::{Context, Result, ensure};
use clap::Parser;
use humantime::parse_duration;
use jiff::tz::Offset;
use rivus::connectors::{FileSink, GeneratorSource};
use rivus::{
    DataStream, Event, Keyed, KeyedProcessFunction, MapState, OnError, Output, Savepoint, StateSet,
    Storage, StreamEnvironment, Timer, UserError, ValueState, WatermarkStrategy, WindowAssigner,
};
use serde::{Deserialize, Serialize};

/// Page views and unique visitors from midnight to now, whenever they have changed.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.
    log: PathBuf,
    /// How often in event time figures are told, counted from midnight.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    every: Duration,
    /// Where midnight is: hours east of Greenwich.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, value_parser = clap::value_parser!(i8).range(-12..=14))]
    utc_offset: i8,
    /// A directory in which the figures are to lie as CSV files; they are printed if it isn't given.
    #[arg(long)]
    out: Option<PathBuf>,
    /// A directory for checkpoints and savepoints.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// How many lines to read in a second; as many as can be if it isn't given.
    #[arg(long)]
    rate: Option<u64>,
    /// Stop after so long with a savepoint.
    #[arg(long, value_parser = parse_duration, requires = "state")]
    stop_after: Option<Duration>,
    /// Go on from a savepoint.
    #[arg(long, requires = "state")]
    from_savepoint: Option<PathBuf>,
    /// How many subtasks every step has, but for those that read.
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut env = StreamEnvironment::builder().parallelism(args.parallelism);
    if let Some(state) = &args.state {
        env = env.storage(Storage::Directory(state.clone()));
    }
    let env = env.build();
    daily(&env, &args)?;
    let job = match &args.from_savepoint {
        Some(path) => {
            env.from_savepoint(&Savepoint::at(path))
                .start("daily")
                .await?
        }
        None => env.start("daily").await?,
    };
    if let Some(after) = args.stop_after {
        tokio::time::sleep(after).await;
        let savepoint = job.stop_with_savepoint().await?;
        let path = savepoint.path().context("the savepoint has no folder")?;
        eprintln!("go on with --from-savepoint {}", path.display());
        return Ok(());
    }
    job.wait().await?;
    Ok(())
}

/// The job. Whatever has state has a uid, so that it is found in a savepoint when the program has changed.
pub fn daily(env: &StreamEnvironment, args: &Args) -> Result<()> {
    let every = args.every.as_millis() as i64;
    ensure!(
        every > 0,
        "--every 0s: figures are told once a millisecond at most"
    );
    let days = Days {
        every,
        offset: Offset::constant(args.utc_offset),
    };
    let log = std::fs::read(&args.log).with_context(|| args.log.display().to_string())?;
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let count = lines.len() as u64;
    let mut replay = GeneratorSource::new(move |n, _| lines[n as usize].clone()).count(count);
    if let Some(rate) = args.rate {
        replay = replay.rate(rate);
    }
    let in_a_minute = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(60));
    let rows: DataStream<Row> = env
        .from_source(replay)
        .uid("log")
        .parallelism(1)
        .try_map(|line| parse(&line), OnError::Skip)
        .parallelism(1)
        .assign_watermarks(in_a_minute.with_timestamps(|view: &(i64, String)| view.0))
        .uid("times")
        .parallelism(1)
        .key_by_ref(|view| view.1.as_str())
        .process(days)
        .uid("visitors")
        .key_by(|slice| slice.midnight)
        .window(WindowAssigner::tumbling(Duration::from_millis(1))) // slices that end together
        .reduce(Slice::add)
        .uid("slices")
        .map(|slices| slices.value)
        .key_by(|slice| slice.midnight)
        .reduce(Slice::add)
        .uid("days")
        .map(move |(midnight, day)| {
            let [midnight, until] = [midnight, day.until].map(|ms| days.text(ms));
            (midnight, until, day.views, day.visitors)
        });
    match &args.out {
        Some(out) => rows.sink_to(FileSink::csv(out)).uid("out"),
        None => rows.print_debug().uid("out"),
    };
    Ok(())
}

/// The day, until when, page views, unique visitors.
pub type Row = (String, String, u64, u64);

/// What is kept of a visitor.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
pub struct Visitor {
    /// Views of slices that aren't over, by the slice's last millisecond.
    views: MapState<i64, u64>,
    /// Set once the visitor is among those of the day.
    counted: ValueState<()>,
}

impl KeyedProcessFunction<String, (i64, String)> for Days {
    type Out = Slice;
    type State = Visitor;

    fn process(
        &mut self,
        view: Event<(i64, String)>,
        state: &mut Keyed<'_, String, Visitor>,
        _out: &mut Output<'_, Slice>,
    ) -> Result<(), UserError> {
        let last = self.last_of_slice(view.ts);
        if last > state.watermark() {
            *state.views.entry(last).or_default() += 1;
            state.register_event_timer(last);
            state.register_event_timer(self.midnights(view.ts).1 - 1);
        } // else it is too late: the slice was told
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, String, Visitor>,
        out: &mut Output<'_, Slice>,
    ) -> Result<(), UserError> {
        let (midnight, next) = self.midnights(timer.ts);
        let until = timer.ts + 1;
        if let Some(views) = state.views.remove(&timer.ts) {
            let visitors = u64::from(state.counted.is_empty());
            state.counted.set(());
            out.emit(Slice {
                midnight,
                until,
                views,
                visitors,
            });
        }
        if until == next {
            state.counted.clear();
        }
        Ok(())
    }
}
