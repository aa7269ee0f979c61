//! The questions answered by hand: one thread, one loop.

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::Context;
use rustc_hash::FxBuildHasher;

use super::{ENOUGH, Figures, Line, Parser, Question, files};
use crate::process::{Reading, peak_bytes};

/// As much at a time as the engine's source.
const BUFFER_BYTES: usize = 256 * 1024;

/// What is asked, and of what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: filter, slide or sums
    query: Question,
    /// A directory with a file that `nexmark lines make` has written
    input: PathBuf,
    #[arg(long, value_enum, default_value_t = Parser::Sonic)]
    parser: Parser,
    /// The figures as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        !matches!(args.query, Question::Session | Question::Join),
        "there is no loop for that: ask filter, slide or sums"
    );
    let mut files = files(&args.input)?;
    let path = files.pop().context("there is a file")?;
    anyhow::ensure!(
        files.is_empty(),
        "the loop reads one file, and {} has several: have them made with --files 1",
        args.input.display()
    );
    let before = Reading::take()?;
    let parse = |line: &str| args.parser.parse(line);
    let (mut first, mut results) = (None, 0_u64);
    let mut tell = |row: [u64; 4]| {
        if results == 0 {
            first = Some(crate::process::since_start());
        }
        results += 1;
        black_box(row);
    };
    let file = BufReader::with_capacity(BUFFER_BYTES, File::open(&path)?);
    let records = match args.query {
        Question::Filter => filter(file, parse, &mut tell),
        Question::Slide => slide(file, parse, &mut tell),
        _ => sums(file, parse, &mut tell),
    };
    let records = records.with_context(|| format!("can't read {}", path.display()))?;
    let (seconds, cpu) = before.used()?;
    let (seconds, cpu_seconds) = (seconds.as_secs_f64(), cpu.as_secs_f64());
    let figures = Figures {
        query: args.query,
        parser: args.parser,
        records,
        results: Some(results),
        seconds,
        cpu_seconds,
        records_per_second: records as f64 / seconds,
        records_per_cpu_second: records as f64 / cpu_seconds,
        first_result_seconds: first.map(|first| first.as_secs_f64()),
        peak_rss_bytes: peak_bytes()?,
        checkpoints: 0,
    };
    figures.print(args.json)
}

/// Takes lines apart and hands them on; returns how many there were.
#[inline]
fn each(
    mut file: impl BufRead,
    parse: impl Fn(&str) -> Result<Line, String>,
    mut take: impl FnMut(Line),
) -> anyhow::Result<u64> {
    let (mut records, mut line) = (0, String::new());
    loop {
        line.clear();
        let at = || format!("line {}", records + 1);
        if file.read_line(&mut line).with_context(at)? == 0 {
            return Ok(records);
        }
        let bid = parse(&line).map_err(|why| anyhow::anyhow!("{}: {why}", at()))?;
        records += 1;
        take(bid);
    }
}

fn filter(
    file: impl BufRead,
    parse: impl Fn(&str) -> Result<Line, String>,
    tell: &mut impl FnMut([u64; 4]),
) -> anyhow::Result<u64> {
    each(file, parse, |bid| {
        if bid.price >= ENOUGH {
            tell([bid.auction, bid.bidder, bid.price, bid.date_time as u64]);
        }
    })
}

fn sums(
    file: impl BufRead,
    parse: impl Fn(&str) -> Result<Line, String>,
    tell: &mut impl FnMut([u64; 4]),
) -> anyhow::Result<u64> {
    let mut sums: HashMap<u64, (u64, u64), FxBuildHasher> = HashMap::default();
    each(file, parse, |bid| {
        let (count, sum) = sums.entry(bid.auction).or_default();
        *count += 1;
        *sum += bid.price;
        tell([bid.auction, *count, *sum, 0]);
    })
}

/// Bids are counted for two seconds, and what ten seconds have is summed up of five of those at their end.
fn slide(
    file: impl BufRead,
    parse: impl Fn(&str) -> Result<Line, String>,
    tell: &mut impl FnMut([u64; 4]),
) -> anyhow::Result<u64> {
    const PANES: usize = 5;
    const PANE: i64 = 2_000;
    type Counts = HashMap<u64, u64, FxBuildHasher>;
    let mut panes: [Counts; PANES] = Default::default();
    let mut sums = Counts::default();
    let mut end_of_pane = |panes: &mut [Counts; PANES], end: i64| {
        for (auction, count) in panes.iter().flatten() {
            *sums.entry(*auction).or_default() += count;
        }
        for (auction, count) in sums.drain() {
            tell([(end - PANES as i64 * PANE) as u64, auction, count, 0]);
        }
        panes[0].clear();
        panes.rotate_left(1);
    };
    let mut newest = None;
    let records = each(file, parse, |bid| {
        let pane = bid.date_time - bid.date_time.rem_euclid(PANE);
        let mut at = newest.unwrap_or(pane);
        while at < pane {
            at += PANE;
            end_of_pane(&mut panes, at);
        }
        newest = Some(pane);
        *panes[PANES - 1].entry(bid.auction).or_default() += 1;
    })?;
    for past in 1..=PANES as i64 {
        if let Some(newest) = newest {
            end_of_pane(&mut panes, newest + past * PANE);
        }
    }
    Ok(records)
}
