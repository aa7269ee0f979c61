//! `nexmark all`: every query in a process of its own, a table, and a plot.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use rivus_nexmark::Query;

use crate::plot;
use crate::published::flink;
use crate::run::{Measured, Setting};

/// How all are run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these, such as q0,q5
    #[arg(long, value_delimiter = ',')]
    queries: Vec<Query>,
    #[command(flatten)]
    setting: Setting,
    /// Where the plot is written
    #[arg(long, default_value = "nexmark.svg")]
    svg: PathBuf,
    /// The figures of each query as a line of JSON in the place of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let queries = match args.queries.as_slice() {
        [] => Query::all().collect(),
        some => some.to_vec(),
    };
    if !args.json {
        println!(
            "{:>5} {:>7} {:>12} {:>12} {:>8} {:>7} {:>8} {:>9} {:>11}",
            "query",
            "events",
            "1,000/CPU-s",
            "1,000/s",
            "Flink",
            "times",
            "peak MB",
            "state MB",
            "checkpoints"
        );
    }
    let mut all = Vec::new();
    for query in queries {
        let measured = in_its_own_process(query, &args.setting)?;
        if args.json {
            println!("{}", serde_json::to_string(&measured)?);
        } else {
            print(&measured);
        }
        all.push(measured);
    }
    std::fs::write(&args.svg, plot::svg(&all))
        .with_context(|| format!("can't write the plot to {:?}", args.svg))
}

/// So that the most memory that was resident is this query's own.
fn in_its_own_process(query: Query, setting: &Setting) -> anyhow::Result<Measured> {
    let program = std::env::current_exe().context("can't find this program")?;
    let mut command = Command::new(program);
    command.args(["run", &query.to_string(), "--json"]);
    let done = command.args(setting.arguments()).output()?;
    let (said, complaint) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    anyhow::ensure!(done.status.success(), "{query}: {}", complaint.trim());
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("{query} said {last:?}"))
}

fn print(measured: &Measured) {
    let per_cpu = measured.events_per_cpu_second / 1e3;
    let theirs = flink(measured.query, measured.backend);
    println!(
        "{:>5} {:>6}M {:>12.0} {:>12.0} {:>8} {:>7} {:>8.0} {:>9.1} {:>11}",
        measured.query.to_string(),
        measured.events / 1_000_000,
        per_cpu,
        measured.events_per_second / 1e3,
        theirs.map_or("-".to_owned(), |theirs| theirs.to_string()),
        theirs.map_or("-".to_owned(), |theirs| format!(
            "{:.1}",
            per_cpu / theirs as f64
        )),
        measured.peak_rss_bytes as f64 / 1e6,
        measured.state_bytes as f64 / 1e6,
        measured.checkpoints,
    );
}
