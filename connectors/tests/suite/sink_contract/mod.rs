//! Every two-phase sink of this crate keeps the contract; and what it owes beyond that.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod failures;
mod folders;
mod formats;
mod jobs;
mod kept;
mod others;
mod parts;

use std::fs;
use std::io::Read;
use std::path::Path;

use rivus_connectors::contract::SinkJob;
use rivus_connectors::{Compression, FileSink, RollingPolicy};
use rivus_core::{Failure, JobId, ParallelInstance, Sink, UserError};
use uuid::Uuid;

/// A job that writes numbers.
fn job<S: Sink<In = u64>>(sink: S) -> SinkJob<S> {
    SinkJob::start(sink, |n| n).unwrap()
}

fn instance(attempt: u32) -> ParallelInstance {
    ParallelInstance {
        attempt,
        ..ParallelInstance::ALONE
    }
}

/// The digits of the job of a number, the first of which is a [`SinkJob`].
fn job_digits(number: u128) -> String {
    JobId(Uuid::from_u128(number)).short()
}

/// A name of such a job's files: `named("part-#-0-0.txt", 1)`.
fn named(name: &str, job: u128) -> String {
    name.replace('#', &job_digits(job))
}

/// The numbers in the committed files of a directory, file by file in the order of their numbers.
fn committed(dir: &Path) -> Vec<u64> {
    let mut files: Vec<((u64, u64), String)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let (numbers, _) = name.strip_prefix("part-")?.split_once(".txt")?;
            let (_job, numbers) = numbers.split_once('-')?;
            let (subtask, sequence) = numbers.split_once('-')?;
            let text = text(&entry.path());
            assert!(!text.is_empty() && text.ends_with('\n'), "{name}: {text:?}");
            let place = (subtask.parse().unwrap(), sequence.parse().unwrap());
            Some((place, text))
        })
        .collect();
    files.sort_unstable();
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    lines.map(|line| line.parse().unwrap()).collect()
}

/// A file, unpacked by what others unpack with.
fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    match Compression::of(path) {
        None => return String::from_utf8(bytes).unwrap(),
        Some(Compression::Gzip) => flate2::read::MultiGzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap(),
        Some(Compression::Zstd) => zstd::Decoder::new(&bytes[..])
            .unwrap()
            .read_to_string(&mut text)
            .unwrap(),
    };
    text
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn message<T>(result: Result<T, UserError>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => Failure::user(&error).message,
    }
}

fn open_parts(dir: &Path) -> FileSink<u64> {
    FileSink::lines(dir).rolling(RollingPolicy {
        max_bytes: u64::MAX,
        on_checkpoint: false,
    })
}
