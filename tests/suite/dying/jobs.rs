//! The jobs whose leaders die, and what their output shows.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rivus::connectors::{FileSink, GeneratorSource, TextFileSource, Watch};
use rivus::{
    DataStream, JobArgs, JobOptions, Jobs, OnError, RestartStrategy, StreamEnvironment, UserError,
};

pub(crate) fn jobs(jobs: Jobs) -> Jobs {
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(100)),
        restart: RestartStrategy::FixedDelay {
            attempts: 3,
            delay: Duration::from_millis(50),
        },
        ..JobOptions::default()
    };
    let about = "Counts numbers by their last digit: OUT COUNT";
    let jobs = jobs.job_with("numbers", about, options.clone(), |env, args| {
        numbers(env, args, |_| false)
    });
    let jobs = jobs.job_with("stumbling", about, options.clone(), |env, args| {
        let is_first = |out: &str| fs::File::create_new(format!("{out}.refused")).is_ok();
        numbers(env, args, is_first)
    });
    let jobs = jobs.job_with("refusing", about, options.clone(), |env, args| {
        numbers(env, args, |_| true)
    });
    let about =
        "Counts the numbers in a folder's files by their last digit, as they come: OUT FOLDER";
    jobs.job_with("watching", about, options, watching)
}

/// The number that isn't taken, if the job that writes there refuses it.
const REFUSED: u64 = 700;

fn numbers(
    env: &StreamEnvironment,
    args: &JobArgs,
    refuses: fn(&str) -> bool,
) -> Result<(), UserError> {
    let [out, count] = args.exactly()?;
    let numbers = GeneratorSource::new(|n, _| n)
        .count(count.parse()?)
        .rate(1_000);
    let to = out.to_owned();
    let take = move |n| match n == REFUSED && refuses(&to) {
        true => Err("is refused"),
        false => Ok(n),
    };
    let numbers = env.from_source(numbers).uid("numbers");
    count_by_digit(&numbers.try_map(take, OnError::Fail), out);
    Ok(())
}

fn watching(env: &StreamEnvironment, args: &JobArgs) -> Result<(), UserError> {
    let [out, folder] = args.exactly()?;
    let watch = Watch::every(Duration::from_millis(50)).settle(Duration::ZERO);
    let numbers = TextFileSource::folder(folder).parsed_by(str::parse::<u64>);
    let numbers = env.from_source(numbers.watch(watch)).uid("numbers");
    count_by_digit(&numbers, out);
    Ok(())
}

fn count_by_digit(numbers: &DataStream<u64>, out: &str) {
    numbers
        .key_by(|n| n % 10)
        .count()
        .uid("counts")
        .sink_to(FileSink::csv(out))
        .uid("out");
}

/// How many numbers were counted by a key, if each key's counts are all there, from one on and each once. A key's numbers are of one split,
/// and so in order; which split is read further is nobody's.
pub(crate) fn all_counted(written: &[String]) -> Option<usize> {
    let mut counts = BTreeMap::<&str, Vec<usize>>::new();
    for line in written {
        let (key, count) = line.split_once(',')?;
        counts.entry(key).or_default().push(count.parse().ok()?);
    }
    let is_whole = |counts: &mut Vec<usize>| {
        counts.sort_unstable();
        counts.iter().copied().eq(1..=counts.len())
    };
    counts.values_mut().all(is_whole).then_some(written.len())
}
