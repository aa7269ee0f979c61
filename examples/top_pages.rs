//! The most visited pages of a web site in sliding windows, from its access log.
//!
//! It shows event time (the log is out of order within a minute), a policy for lines that can't be read,
//! and a Top-N in two steps: views are counted by page and window; then the counts of one window meet
//! under the window as their key, and an event timer at its end ranks them. Equally visited pages are
//! ranked by name, so the answer is the same at every parallelism.
//!
//! ```text
//! cargo run --example top_pages -- access.log --size 1h --slide 10m --top 3 --out pages/
//! ```

pub mod cli;
mod logs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use logs::access::{Request, parse};
use rivus::connectors::{BadLines, FileSink, TextFileSource};
use rivus::{
    DataStream, Event, JobResult, Keyed, KeyedProcessFunction, ListState, Output, RestartStrategy,
    StreamEnvironment, Timer, UserError, WatermarkStrategy, Window, WindowAssigner, Windowed,
};
use serde::{Deserialize, Serialize};

/// The most visited pages of each sliding window of an access log.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.
    log: PathBuf,
    /// How long a window is.
    #[arg(long, default_value = "1h", value_parser = cli::duration)]
    size: Duration,
    /// From one window's start to the next one's.
    #[arg(long, default_value = "10m", value_parser = cli::duration)]
    slide: Duration,
    /// How many pages of each window.
    #[arg(long, default_value_t = 3)]
    top: usize,
    /// A directory for the result as CSV files; without it the result is printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How many subtasks every step has.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=128))]
    parallelism: u32,
    /// End at the first line that can't be read, instead of passing over such lines.
    #[arg(long)]
    strict: bool,
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
    let ranked = top_pages(&env, args);
    if let Some(out) = &args.out {
        ranked.sink_to(FileSink::csv(out));
        return report(&env.execute("top pages").await?);
    }
    let rows = ranked.collect();
    let result = env.execute("top pages").await?;
    let mut rows = rows.values();
    rows.sort();
    cli::print(rows.iter().map(|row| {
        let Ranked {
            start,
            end,
            rank,
            path,
            views,
        } = row;
        format!("{start},{end},{rank},{path},{views}")
    }))?;
    report(&result)
}

/// Says how many lines were passed over.
fn report(result: &JobResult) -> Result<(), UserError> {
    let skipped: u64 = result
        .view
        .subtasks
        .iter()
        .map(|task| task.figures.skipped)
        .sum();
    if skipped > 0 {
        eprintln!("{skipped} lines could not be read and were passed over (--strict ends there)");
    }
    Ok(())
}

/// A page's place in a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ranked {
    /// The window's first moment.
    pub start: String,
    /// The first moment after it.
    pub end: String,
    /// From 1.
    pub rank: usize,
    /// The page.
    pub path: String,
    /// How often it was asked for.
    pub views: u64,
}

/// The job.
pub fn top_pages(env: &StreamEnvironment, args: &Args) -> DataStream<Ranked> {
    let policy = if args.strict {
        BadLines::Fail
    } else {
        BadLines::Skip
    };
    let log = TextFileSource::new(&args.log)
        .parsed_by(parse)
        .bad_lines(policy);
    let in_a_minute = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(60));
    env.from_source(log)
        .assign_watermarks(in_a_minute.with_timestamps(|request: &Request| request.at))
        .key_by_ref(|request| request.path.as_str())
        .window(WindowAssigner::sliding(args.size, args.slide))
        .count()
        .key_by(|views| views.window)
        .process(TopPages(args.top))
}

/// Gathers the pages of a window until the watermark says that there are no more.
#[derive(Clone)]
struct TopPages(usize);

impl KeyedProcessFunction<Window, Windowed<String, u64>> for TopPages {
    type Out = Ranked;
    type State = ListState<(String, u64)>;

    fn process(
        &mut self,
        page: Event<Windowed<String, u64>>,
        state: &mut Keyed<'_, Window, Self::State>,
        _out: &mut Output<'_, Ranked>,
    ) -> Result<(), UserError> {
        state.register_event_timer(page.value.window.end);
        state.push((page.value.key, page.value.value));
        Ok(())
    }

    fn on_timer(
        &mut self,
        _timer: Timer,
        state: &mut Keyed<'_, Window, Self::State>,
        out: &mut Output<'_, Ranked>,
    ) -> Result<(), UserError> {
        let Window { start, end } = *state.key();
        let text = |ms| Timestamp::from_millisecond(ms).map(|at| at.to_string());
        let mut pages = state.take();
        pages.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        for (at, (path, views)) in pages.into_iter().take(self.0).enumerate() {
            let (start, end) = (text(start)?, text(end)?);
            out.emit(Ranked {
                start,
                end,
                rank: at + 1,
                path,
                views,
            });
        }
        Ok(())
    }
}
