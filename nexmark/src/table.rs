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
    args.setting.check()?;
    let queries = match args.queries.as_slice() {
        [] => Query::all().collect(),
        some => some.to_vec(),
    };
    if !args.json {
        println!(
            "{:>5} {:>7} {:>12} {:>9} {:>7} {:>7} {:>8} {:>9} {:>11}",
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
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for query in queries {
        match in_its_own_process(query, &args.setting) {
            Ok(measured) if args.json => {
                println!("{}", serde_json::to_string(&measured)?);
                all.push(measured);
            }
            Ok(measured) => {
                println!("{}", row(&measured));
                all.push(measured);
            }
            Err(error) => {
                eprintln!("{query}: {error:#}");
                failed.push(query.to_string());
            }
        }
    }
    std::fs::write(&args.svg, plot::svg(&all))
        .with_context(|| format!("can't write the plot to {:?}", args.svg))?;
    anyhow::ensure!(failed.is_empty(), "no figures of {}", failed.join(", "));
    Ok(())
}

/// So that the most memory that was resident is this query's own.
pub(crate) fn in_its_own_process(query: Query, setting: &Setting) -> anyhow::Result<Measured> {
    let program = std::env::current_exe().context("can't find this program")?;
    let mut command = Command::new(program);
    command.args(["run", &query.to_string(), "--json"]);
    let done = command.args(setting.arguments()).output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.trim();
        anyhow::bail!("{}", said.strip_prefix("error: ").unwrap_or(said));
    }
    let said = String::from_utf8_lossy(&done.stdout);
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("it said {last:?}"))
}

fn row(measured: &Measured) -> String {
    let per_cpu = measured.events_per_cpu_second / 1e3;
    let theirs = flink(measured);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    format!(
        "{:>5} {:>7} {:>12.0} {:>9.0} {:>7} {:>7} {:>8.0} {:>9.1} {:>11}",
        measured.query.to_string(),
        in_short(measured.events),
        per_cpu,
        measured.events_per_second / 1e3,
        or_dash(theirs.map(|theirs| theirs.to_string())),
        or_dash(theirs.map(|theirs| format!("{:.1}", per_cpu / theirs as f64))),
        measured.peak_rss_bytes as f64 / 1e6,
        measured.state_bytes as f64 / 1e6,
        measured.checkpoints,
    )
}

fn in_short(events: u64) -> String {
    match events {
        millions if millions % 1_000_000 == 0 => format!("{}M", millions / 1_000_000),
        thousands if thousands % 1_000 == 0 => format!("{}k", thousands / 1_000),
        others => others.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Backend;

    fn measured(query: &str, events: u64) -> Measured {
        Measured {
            query: query.parse().unwrap(),
            backend: Backend::Rocksdb,
            parallelism: 2,
            events,
            rate: 10_000_000,
            results: 5,
            seconds: 2.0,
            cpu_seconds: 4.0,
            events_per_second: events as f64 / 2.0,
            events_per_cpu_second: events as f64 / 4.0,
            peak_rss_bytes: 190_000_000,
            state_bytes: 1_500_000,
            checkpoints: 3,
            checkpoint_ms: vec![1.0],
            latency_p50_ms: None,
            latency_p99_ms: None,
        }
    }

    #[test]
    fn a_row_is_held_against_flink_only_where_the_run_was_like_flinks() {
        let words = |measured: &Measured| {
            let row = row(measured);
            row.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let like_theirs = measured("q5", 10_000_000);
        assert_eq!(words(&like_theirs), "q5 10M 2500 5000 115 21.7 190 1.5 3");
        let shorter = measured("q5", 1_500_000);
        assert_eq!(words(&shorter), "q5 1500k 375 750 - - 190 1.5 3");
        let not_theirs = measured("q6", 5_000_000);
        assert_eq!(words(&not_theirs), "q6 5M 1250 2500 - - 190 1.5 3");
    }

    #[test]
    fn a_plot_has_a_bar_for_each_and_one_for_flink_where_there_is_one() {
        let plot = plot::svg(&[measured("q5", 10_000_000), measured("q6", 5_000_000)]);
        assert_eq!(plot.matches("#1f4e79").count(), 2);
        assert_eq!(plot.matches("#e3a857").count(), 1);
        assert!(plot.contains("2500 (21.7 times)"), "{plot}");
    }

    #[test]
    fn what_a_run_says_is_read_again() {
        let said = serde_json::to_string(&measured("q18", 7)).unwrap();
        let read: Measured = serde_json::from_str(&said).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), said);
        for field in [
            "\"query\":\"q18\"",
            "\"backend\":\"rocksdb\"",
            "\"events\":7",
        ] {
            assert!(said.contains(field), "{said}");
        }
    }
}
