//! The questions answered by a job.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use rivus::connectors::{DiscardSink, FileSink, ParsedFileSource, TextFileSource};
use rivus::{
    AggregateFunction, DataStream, Event, JobResult, JobStatus, Record, StreamEnvironment,
    WatermarkStrategy, WindowAssigner,
};

use super::{ENOUGH, Figures, HIGH, LOW, Line, Parser, Question, files};
use crate::process::{Reading, peak_bytes, since_start};
use crate::run::{Backend, directory, environment, interval};

const TEN_SECONDS: Duration = Duration::from_secs(10);
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// What is asked, of what, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    query: Question,
    /// A directory with files that `nexmark lines make` has written. Several are read by one subtask each, one is read by all
    input: PathBuf,
    /// Where results are committed, as CSV; without it they are counted and dropped
    #[arg(long)]
    out: Option<PathBuf>,
    /// Subtasks of every operator
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    parallelism: u32,
    /// Where state lies
    #[arg(long, value_enum, default_value_t = Backend::Memory)]
    backend: Backend,
    #[arg(long, value_enum, default_value_t = Parser::Sonic)]
    parser: Parser,
    /// From one checkpoint's start to the next
    #[arg(long, default_value = "1s", value_parser = interval)]
    checkpoint_interval: Duration,
    /// Where state and checkpoints lie while it runs; a temporary directory if it isn't given
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The figures as one last line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let inputs = files(&args.input)?;
    let own = directory(args.directory.as_deref())?;
    let env = environment(
        args.backend,
        None,
        args.parallelism,
        args.checkpoint_interval,
        own.path(),
    )?;
    let output = Outputs {
        out: args.out.as_deref(),
        counted: Arc::default(),
    };
    let bids = env
        .from_source(source(inputs, args.parser)?)
        .uid("lines")
        .assign_watermarks(
            WatermarkStrategy::monotonous().with_timestamps(|bid: &Line| bid.date_time),
        )
        .uid("times");
    match args.query {
        Question::Filter => output.take(&filter(&bids)),
        Question::Slide => output.take(&slide(&bids)),
        Question::Sums => output.take(&sums(&bids)),
        Question::Session => output.take(&session(&bids)),
        Question::Join => output.take(&join(&bids)),
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("can't start a runtime")?;
    let before = Reading::take()?;
    let (records, checkpoints) = runtime.block_on(watch(&env))?;
    let (seconds, cpu) = before.used()?;
    let (seconds, cpu_seconds) = (seconds.as_secs_f64(), cpu.as_secs_f64());
    let figures = Figures {
        query: args.query,
        parser: args.parser,
        records,
        results: (args.out.is_none()).then(|| output.counted.results.load(Relaxed)),
        seconds,
        cpu_seconds,
        records_per_second: records as f64 / seconds,
        records_per_cpu_second: records as f64 / cpu_seconds,
        first_result_seconds: output.counted.first.get().map(Duration::as_secs_f64),
        peak_rss_bytes: peak_bytes()?,
        checkpoints,
    };
    figures.print(args.json)
}

/// One file is read by ranges of bytes, so by all subtasks at a time; several are read by one each, since each begins with the first bid.
fn source(inputs: Vec<PathBuf>, parser: Parser) -> anyhow::Result<ParsedFileSource<Line>> {
    let is_one = inputs.len() == 1;
    let source = TextFileSource::paths(inputs);
    let source = match is_one {
        true => source,
        false => source.split_bytes(u64::MAX),
    };
    Ok(match parser {
        Parser::Serde => source.parsed_by(|line| Parser::Serde.parse(line)),
        Parser::Sonic => source.parsed_by(|line| Parser::Sonic.parse(line)),
    })
}

/// Runs the job that was written; records that were read, and checkpoints.
async fn watch(env: &StreamEnvironment) -> anyhow::Result<(u64, u64)> {
    let mut job = env.start("lines").await?;
    while !matches!(job.view().status, JobStatus::Ended(_)) && job.changed().await.is_ok() {}
    let JobResult { view } = job.wait().await?;
    anyhow::ensure!(
        view.restarts == 0,
        "it was restarted, so these are no figures: {}",
        view.last_failure.unwrap_or_default()
    );
    let sources = view
        .subtasks
        .iter()
        .filter(|subtask| subtask.name.starts_with("source"));
    let records = sources.map(|subtask| subtask.figures.records_in).sum();
    Ok((records, view.checkpoints))
}

/// Where results go.
struct Outputs<'a> {
    out: Option<&'a Path>,
    counted: Arc<Counted>,
}

/// Results that were dropped.
#[derive(Debug, Default)]
struct Counted {
    results: AtomicU64,
    /// When the first came, from the start of the program.
    first: OnceLock<Duration>,
}

impl Outputs<'_> {
    fn take<T: Record>(&self, results: &DataStream<T>) {
        if let Some(out) = self.out {
            results.sink_to(FileSink::csv(out)).uid("out");
            return;
        }
        let counted = Arc::clone(&self.counted);
        let count = move |run: &[Event<T>]| {
            counted.results.fetch_add(run.len() as u64, Relaxed);
            counted.first.get_or_init(since_start);
        };
        results.sink_to(DiscardSink::new().probe(count));
    }
}

fn filter(bids: &DataStream<Line>) -> DataStream<(u64, u64, u64, i64)> {
    bids.flat_map(|bid| {
        let is_enough = bid.price >= ENOUGH;
        is_enough.then_some((bid.auction, bid.bidder, bid.price, bid.date_time))
    })
}

fn slide(bids: &DataStream<Line>) -> DataStream<(i64, u64, u64)> {
    bids.key_by(|bid| bid.auction)
        .window(WindowAssigner::sliding(TEN_SECONDS, TWO_SECONDS))
        .pre_aggregate(true)
        .count()
        .map(|row| (row.window.start, row.key, row.value))
}

fn sums(bids: &DataStream<Line>) -> DataStream<(u64, u64, u64)> {
    bids.key_by(|bid| bid.auction)
        .pre_aggregate()
        .aggregate(CountAndSum)
        .map(|(auction, (count, sum))| (auction, count, sum))
}

fn session(bids: &DataStream<Line>) -> DataStream<(i64, u64, u64)> {
    bids.map(|bid| bid.bidder)
        .key_by(|bidder| *bidder)
        .window(WindowAssigner::session(TEN_SECONDS))
        // Three bids of four are one person's for a while.
        .pre_aggregate(true)
        .count()
        .map(|row| (row.window.start, row.key, row.value))
}

type Pair = (i64, u64, u64, u64, u64, u64);

fn join(bids: &DataStream<Line>) -> DataStream<Pair> {
    let high = bids.filter(|bid| bid.price >= HIGH);
    let low = bids.filter(|bid| bid.price < LOW);
    high.join(&low)
        .on(|bid| bid.bidder, |bid| bid.bidder)
        .window(WindowAssigner::tumbling(TEN_SECONDS))
        .apply(|high, low| (high.auction, high.price, low.auction, low.price))
        .map(|row| {
            let (high, price, low, low_price) = row.value;
            (row.window.start, row.key, high, price, low, low_price)
        })
}

/// Counts prices, and sums them up.
#[derive(Clone)]
struct CountAndSum;

impl AggregateFunction for CountAndSum {
    type In = Line;
    type Acc = (u64, u64);
    type Out = (u64, u64);

    fn create(&self) -> (u64, u64) {
        (0, 0)
    }

    fn add(&self, (count, sum): &mut (u64, u64), bid: &Line) {
        *count += 1;
        *sum += bid.price;
    }

    fn merge(&self, (count, sum): &mut (u64, u64), other: (u64, u64)) {
        *count += other.0;
        *sum += other.1;
    }

    fn result(&self, counted: &(u64, u64)) -> (u64, u64) {
        *counted
    }
}
