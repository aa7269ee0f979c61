//! Page views and unique visitors of a web site from midnight to now, from its access log.
//!
//! It shows how a day's figures are kept where no single subtask could keep all visitors: each visitor's views are counted by
//! slices of the day, the first of which counts the visitor, too; then slices that end together are added up, one moment after
//! the other. So the figures of "until 14:10" are exactly the views before 14:10, at every parallelism and across a savepoint. A view
//! that comes when its slice has been told is in no figure: such views are counted by day, and that is told beside the figures.
//!
//! ```text
//! cargo run --example daily_pv_uv -- access.log --every 10m
//! cargo run --example daily_pv_uv -- access.log --out OUT --state STATE --rate 20 --stop-after 3s
//! cargo run --example daily_pv_uv -- access.log --out OUT --state STATE --from-savepoint PATH
//! ```

#[path = "world/access.rs"]
mod access;
#[path = "world/days.rs"]
mod days;
#[path = "world/screen.rs"]
mod screen;
#[path = "world/visitors.rs"]
mod visitors;

use std::path::PathBuf;
use std::time::Duration;

use access::View;
use clap::Parser;
use days::{Days, Slice};
use rivus::connectors::{BadLines, FileSink, TextFileSource};
use rivus::{
    JobError, RunArgs, SideOutputTag, StreamEnvironment, WatermarkStrategy, WindowAssigner,
};
use visitors::Visitors;

/// Page views and unique visitors from midnight to now, whenever they have changed; and how many views came too late for them.
#[derive(Parser)]
pub struct Args {
    /// The log, its lines being `IP - - DD/MM/YYYY:HH:MM:SS +0000 METHOD PATH`.
    log: PathBuf,
    /// How many lines to read in a second.
    #[arg(long, default_value_t = 1_000_000)]
    rate: u64,
    #[command(flatten)]
    days: Days,
    /// A directory in which the figures are to lie as CSV files, and those of views that came too late in its folder
    /// `late`; they are printed if it isn't given.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), JobError> {
    let args = Args::parse();
    let env = args.run.environment().build();
    daily(&env, &args);
    screen::unless_closed(args.run.execute(&env, "daily").await)
}

/// The job. Whatever has state has a uid, so that it is found in a savepoint when the program has changed.
pub fn daily(env: &StreamEnvironment, args: &Args) {
    let days = args.days;
    let log = TextFileSource::new(&args.log).lossy_utf8().rate(args.rate);
    let in_a_minute = WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(60));
    let too_late = SideOutputTag::new("too late");
    let visitors = Visitors {
        days,
        too_late: too_late.clone(),
    };
    let slices = env
        .from_source(log.parsed_by(View::parse).bad_lines(BadLines::Skip))
        .uid("log")
        .parallelism(1)
        .assign_watermarks(in_a_minute.with_timestamps(|view: &View| view.at))
        .uid("times")
        .parallelism(1)
        .key_by_ref(|view| view.visitor.as_str())
        .process(visitors)
        .uid("visitors");
    let late = slices
        .side_output(&too_late)
        .key_by(move |view: &View| days.midnight(view.at))
        .count()
        .uid("too late")
        .map(move |(midnight, views)| (days.text(midnight), views));
    let rows = slices
        .key_by(|slice| slice.midnight)
        .window(WindowAssigner::tumbling(Duration::from_millis(1))) // slices that end together
        .reduce(Slice::add)
        .uid("slices")
        .key_by(|slices| slices.key)
        .reduce(|day, next| day.value.add(next.value))
        .uid("days")
        .map(move |(_, day)| days.row(day.value));
    match &args.out {
        Some(out) => {
            rows.sink_to(FileSink::csv(out)).uid("out");
            late.sink_to(FileSink::csv(out.join("late"))).uid("late");
        }
        None => {
            rows.print_debug().uid("out");
            let late = late.map(|(day, views)| format!("{day}: {views} views too late so far"));
            late.print().uid("late");
        }
    };
}
