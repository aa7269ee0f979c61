//! Jobs that the binary can run as a service without any of one's own.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rivus::connectors::{FileSink, GeneratorSource, TextFileSource};
use rivus::{
    JobArgs, JobOptions, Jobs, RestartStrategy, StreamEnvironment, UserError, WatermarkStrategy,
    WindowAssigner,
};

/// The jobs.
pub(crate) fn jobs() -> Jobs {
    Jobs::new()
        .job(
            "word_count",
            "Counts the words of text files: --input GLOB --out DIR",
            word_count,
        )
        .job(
            "clicks",
            "Counts made-up clicks by page and second: --out DIR [--rate N] [--count N]",
            clicks,
        )
        .job_with(
            "probe",
            "Counts and tells when nothing comes out, for `rivus bench`: --to FILE [--keys N] [--value-bytes N] [--rate N] [--since MS]",
            each_time_as_the_first(),
            crate::cli::bench::probe,
        )
        .job(
            "windows",
            "Counts or joins bids in windows as fast as it can, for `rivus bench`: count|join [--keys N]",
            crate::cli::bench::windows,
        )
}

/// However often something is killed, what follows is what would follow once.
fn each_time_as_the_first() -> JobOptions {
    JobOptions {
        restart: RestartStrategy::FixedDelay {
            attempts: u32::MAX,
            delay: Duration::from_millis(100),
        },
        ..JobOptions::default()
    }
}

#[derive(Parser)]
struct WordCount {
    /// The files, such as 'books/*.txt'
    #[arg(long)]
    input: String,
    /// Where results go, as CSV
    #[arg(long)]
    out: PathBuf,
}

fn word_count(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let WordCount { input, out } = args.parse()?;
    env.from_source(TextFileSource::glob(input))
        .uid("lines")
        .flat_map(|line| {
            let words = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty());
            words.map(str::to_lowercase).collect::<Vec<_>>()
        })
        .key_by_ref(|word| word.as_str())
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}

#[derive(Parser)]
struct Clicks {
    /// Where results go, as CSV
    #[arg(long)]
    out: PathBuf,
    /// Clicks a second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Clicks in all; without it they never end
    #[arg(long)]
    count: Option<u64>,
}

fn clicks(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let Clicks { out, rate, count } = args.parse()?;
    if rate == 0 {
        return Err("--rate is 0: give more".into());
    }
    // A click each 1/rate s from the beginning of 2026 on, whenever it is read.
    let ms = move |n: u64| 1_767_225_600_000 + (n * 1_000 / rate) as i64;
    let mut source =
        GeneratorSource::new(move |n, _| (format!("/{}", n * n % 11), ms(n))).rate(rate);
    if let Some(count) = count {
        source = source.count(count);
    }
    env.from_source(source)
        .uid("clicks")
        .assign_watermarks(
            WatermarkStrategy::monotonous().with_timestamps(|click: &(String, i64)| click.1),
        )
        .uid("times")
        .key_by_ref(|click| click.0.as_str())
        .window(WindowAssigner::tumbling(Duration::from_secs(1)))
        .count()
        .uid("counts")
        .map(|row| (row.window.start, row.key, row.value))
        .sink_to(FileSink::csv(out))
        .uid("out");
    Ok(())
}
