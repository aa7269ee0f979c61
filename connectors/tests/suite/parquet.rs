//! Parquet files keep both contracts, and what is written is read.
#![cfg(feature = "parquet")]
// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rivus_connectors::contract::{self, SinkJob};
use rivus_connectors::{Compression, FileSink, ParquetSource, ParquetSplit, RollingPolicy, Watch};
use rivus_core::{
    Event, Failure, KnownSplits, ParallelInstance, ReadStatus, Schema, Sink, Source, SourceReader,
    UserError,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Trade {
    number: u64,
    symbol: String,
    price: Option<f64>,
    tags: Vec<String>,
}

fn trade(number: u64) -> Trade {
    Trade {
        number,
        symbol: format!("S{}", number % 7),
        price: (!number.is_multiple_of(3)).then_some(number as f64 / 2.0),
        tags: (0..number % 4).map(|tag| tag.to_string()).collect(),
    }
}

fn read<S: Source>(source: &S) -> Result<Vec<S::Out>, UserError> {
    let mut reader = source.reader(ParallelInstance::ALONE)?;
    for split in source.splits(1)? {
        reader.add_split(split)?;
    }
    let mut out: Vec<Event<S::Out>> = Vec::new();
    while reader.read(&mut out, 100, 0)? == ReadStatus::More {}
    Ok(out.into_iter().map(|event| event.value).collect())
}

/// What can be seen of a directory, file by file.
fn committed(dir: &Path) -> Vec<Trade> {
    let mut parts: Vec<((u64, u64), PathBuf)> = fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?;
            let numbers = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
            let (_job, numbers) = numbers.split_once('-')?;
            let (subtask, number) = numbers.split_once('-')?;
            Some(((subtask.parse().unwrap(), number.parse().unwrap()), path))
        })
        .collect();
    parts.sort_unstable();
    let files = parts.into_iter().map(|(_, path)| ParquetSource::new(path));
    files.flat_map(|file| read(&file).unwrap()).collect()
}

#[test]
fn parquet_files_keep_the_contract_of_sinks() {
    for max_bytes in [1, u64::MAX] {
        let make = || {
            let dir = TempDir::new().unwrap();
            let policy = RollingPolicy {
                max_bytes,
                on_checkpoint: true,
            };
            let sink = FileSink::<Trade>::parquet(dir.path()).rolling(policy);
            (sink, move || committed(dir.path()))
        };
        contract::sink(make, trade).cases(12).check();
    }
}

/// Files of some records each.
fn written(counts: &[u64]) -> (TempDir, Vec<Trade>) {
    let dir = TempDir::new().unwrap();
    let mut job = SinkJob::start(FileSink::parquet(dir.path()), trade).unwrap();
    for count in counts {
        job.write(*count).unwrap();
        job.complete(false).unwrap();
        job.commit().unwrap();
    }
    let all = (0..job.written()).map(trade).collect();
    (dir, all)
}

#[test]
fn a_watched_file_is_found_once_when_its_footer_is_there() {
    let dir = TempDir::new().unwrap();
    let (from, _) = written(&[5]);
    let part = fs::read_dir(from.path()).unwrap().next().unwrap();
    let whole = fs::read(part.unwrap().path()).unwrap();
    let late = dir.path().join("b.parquet");
    fs::write(dir.path().join("a.parquet"), &whole).unwrap();
    fs::write(&late, &whole[..whole.len() / 2]).unwrap();
    let watch = Watch::every(Duration::from_secs(1)).settle(Duration::ZERO);
    let source = ParquetSource::<Trade>::folder(dir.path()).watch(watch);
    let mut enumerator = source.enumerator(KnownSplits::default()).unwrap().unwrap();
    let mut now = 0;
    let mut look = || {
        now += 1_000;
        let found = enumerator
            .discover(now)
            .map_err(|error| Failure::user(&error).message)?;
        let name =
            |split: &ParquetSplit| split.path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok::<_, String>(found.splits.iter().map(name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(look().unwrap(), "a.parquet");
    assert_eq!(look().unwrap(), "");
    fs::write(&late, &whole).unwrap();
    assert_eq!(look().unwrap(), "b.parquet");
    // One that never gets its footer is told.
    fs::write(dir.path().join("c.parquet"), "no Parquet at all").unwrap();
    for _ in 1..10 {
        assert_eq!(look().unwrap(), "");
    }
    let refused = look().unwrap_err();
    assert!(refused.contains("c.parquet"), "{refused}");
}

#[test]
fn what_was_written_is_read_in_any_steps() {
    let (dir, all) = written(&[3, 0, 40]);
    let source = ParquetSource::<Trade>::folder(dir.path());
    assert_eq!(source.splits(2).unwrap().len(), 2);
    contract::source(|| source.clone()).yields(all).check();
    let (dir, all) = written(&[5_000]);
    assert_eq!(
        read(&ParquetSource::<Trade>::folder(dir.path())).unwrap(),
        all
    );
}

#[test]
fn columns_are_found_by_their_names_and_others_are_passed() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Symbol {
        symbol: String,
        number: u64,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Missing {
        volume: u64,
    }
    let (dir, _) = written(&[2]);
    let symbols = read(&ParquetSource::<Symbol>::folder(dir.path())).unwrap();
    assert_eq!((symbols[1].symbol.as_str(), symbols[1].number), ("S1", 1));
    let missing = read(&ParquetSource::<Missing>::folder(dir.path()));
    let message = Failure::user(&missing.unwrap_err()).message;
    assert!(
        message.contains("-0-0.parquet") && message.contains("volume"),
        "{message}"
    );
}

#[test]
fn what_is_no_parquet_and_what_parquet_cannot_do_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.parquet");
    fs::write(&path, "number,symbol\n1,A\n").unwrap();
    let message = Failure::user(&ParquetSource::<Trade>::new(&path).splits(1).unwrap_err()).message;
    let start = format!("cannot read {} as Parquet", path.display());
    assert!(
        message.starts_with(&start) && !message.contains('\n'),
        "{message}"
    );

    let open = RollingPolicy {
        max_bytes: 1,
        on_checkpoint: false,
    };
    let sink = || FileSink::<Trade>::parquet(dir.path());
    for (refused, words) in [
        (
            sink().rolling(open).check(),
            "set RollingPolicy::on_checkpoint",
        ),
        (
            sink().compressed(Compression::Gzip).check(),
            "leave compressed(..) out",
        ),
    ] {
        let message = Failure::user(&refused.unwrap_err()).message;
        assert!(message.contains(words), "{message}");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    side: Side,
    before: Option<Side>,
    lots: BTreeMap<String, u32>,
    all: Vec<(u8, Side)>,
}

#[test]
fn enums_without_data_and_maps_are_columns() {
    let order = |number: u64| Order {
        side: [Side::Buy, Side::Sell][number as usize % 2].clone(),
        before: (number > 1).then_some(Side::Sell),
        lots: (0..number as u32)
            .map(|lot| (lot.to_string(), lot))
            .collect(),
        all: vec![(number as u8, Side::Buy)],
    };
    let dir = TempDir::new().unwrap();
    let mut job = SinkJob::start(FileSink::parquet(dir.path()), order).unwrap();
    job.write(4).unwrap();
    job.complete(false).unwrap();
    job.commit().unwrap();
    let read = read(&ParquetSource::<Order>::folder(dir.path())).unwrap();
    assert_eq!(read, (0..4).map(order).collect::<Vec<_>>());
}

#[test]
fn the_columns_of_tuples_are_numbered() {
    let pair = |number: u64| (number, number.to_string());
    let dir = TempDir::new().unwrap();
    let mut job = SinkJob::start(FileSink::parquet(dir.path()), pair).unwrap();
    job.write(2).unwrap();
    job.complete(false).unwrap();
    job.commit().unwrap();
    let read = read(&ParquetSource::<(u64, String)>::folder(dir.path())).unwrap();
    assert_eq!(read, [pair(0), pair(1)]);
}

#[test]
fn what_has_no_columns_is_refused_by_its_name_before_the_job_is_started() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum Shape {
        Circle(f64),
        Point,
    }
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Drawn {
        number: u64,
        shapes: Vec<Shape>,
    }
    fn refused<T: rivus_core::Record>() -> String {
        Failure::user(&FileSink::<T>::parquet("out").check().unwrap_err()).message
    }
    for (message, words) in [
        (
            refused::<Drawn>(),
            "shapes.element is an enum whose variants have data",
        ),
        (refused::<Shape>(), "Shape"),
        (refused::<u64>(), "of u64"),
        (refused::<String>(), "String"),
    ] {
        assert!(message.contains(words), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_split_that_is_kept_in_state_has_a_name_that_no_users_type_has() {
    let kept = Schema::of::<ParquetSplit>().names();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), ["rivus.ParquetSplit"]);
}
