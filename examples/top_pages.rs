//! The most visited pages of a web site in sliding windows, from its access log.
//!
//! It shows event time (the log is out of order within a minute), lines that can't be read, and a Top-N in
//! two steps: views are counted by page and window, then the counts of one window are ranked together.
//! Equally visited pages are ranked by name, so the answer is the same at every parallelism.
//!
//! ```text
//! cargo run --example top_pages -- access.log --size 1h --slide 10m --top 3
//! ```

#[path = "world/access.rs"]
mod access;
#[path = "world/screen.rs"]
mod screen;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use access::View;
use clap::Parser;
use humantime::parse_duration;
use jiff::Timestamp;
use rivus::connectors::{BadLines, FileSink, TextFileSource};
use rivus::{
    DataStream, RunArgs, StreamEnvironment, UserError, WatermarkStrategy, Window, WindowAssigner,
    WindowFunction, Windowed,
};

/// The most visited pages of each sliding window of an access log.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.
    log: PathBuf,
    /// How long a window is.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    size: Duration,
    /// From one window's start to the next one's.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    slide: Duration,
    /// How many pages of each window.
    #[arg(long, default_value_t = 3)]
    top: usize,
    /// A directory in which the result is to lie as CSV files too.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let env = args.run.environment().build();
    let ranked = top_pages(&env, &args);
    if let Some(out) = &args.out {
        ranked.sink_to(FileSink::csv(out));
    }
    let rows = ranked.collect();
    let tasks = args.run.execute(&env, "top pages").await?.view.subtasks;
    let skipped: u64 = tasks.iter().map(|task| task.figures.skipped).sum();
    if skipped > 0 {
        eprintln!("{skipped} lines could not be read");
    }
    let mut rows = rows.values();
    rows.sort();
    let rows = rows.into_iter();
    screen::show(rows.map(|(start, rank, path, views)| format!("{start},{rank},{path},{views}")))?;
    Ok(())
}

/// When a window starts; a page's place in it, from 1; the page; how often it was asked for.
pub type Ranked = (String, usize, String, u64);

/// The job.
pub fn top_pages(env: &StreamEnvironment, args: &Args) -> DataStream<Ranked> {
    let log = TextFileSource::new(&args.log)
        .parsed_by(View::parse)
        .bad_lines(BadLines::Skip);
    let in_a_minute = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(60));
    env.from_source(log)
        .assign_watermarks(in_a_minute.with_timestamps(|view: &View| view.at))
        .key_by_ref(|view| view.page.as_str())
        .window(WindowAssigner::sliding(args.size, args.slide))
        .count()
        // All counts of a window have the same time, its last millisecond.
        .key_by(|views| views.window)
        .window(WindowAssigner::tumbling(Duration::from_millis(1)))
        .process(TopPages(args.top))
        .map(|ranked| ranked.value)
}

/// Ranks the pages of a window.
#[derive(Clone)]
struct TopPages(usize);

impl WindowFunction<Window, Windowed<String, u64>> for TopPages {
    type Out = Ranked;

    fn apply(
        &mut self,
        window: &Window,
        _millisecond: Window,
        mut pages: Vec<Windowed<String, u64>>,
        out: &mut Vec<Ranked>,
    ) -> Result<(), UserError> {
        let start = Timestamp::from_millisecond(window.start)?.to_string();
        pages.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.key.cmp(&b.key)));
        let top = pages.into_iter().take(self.0).zip(1..);
        out.extend(top.map(|(page, rank)| (start.clone(), rank, page.key, page.value)));
        Ok(())
    }
}
