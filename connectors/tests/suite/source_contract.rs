//! Every source of this crate keeps the contract; and what it owes beyond that.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use rivus_connectors::{
    BadLines, CollectionSource, FileSplit, GeneratorSource, Parsed, SplitMix, TextFileSource,
    contract, csv_lines, json_lines,
};
use rivus_core::{
    Event, Failure, FailureScope, MIN_TIMESTAMP, ParallelInstance, ReadStatus, Source,
    SourceReader, UserError,
};
use tempfile::TempDir;

/// Reads splits to their end, `max` records at a time.
fn drain<S: Source>(
    source: &S,
    splits: Vec<S::Split>,
    max: usize,
) -> Result<Vec<Event<S::Out>>, UserError> {
    let mut reader = source.reader(ParallelInstance::ALONE)?;
    for split in splits {
        reader.add_split(split)?;
    }
    let mut out = Vec::new();
    while step(&mut reader, &mut out, max)? == ReadStatus::More {}
    Ok(out)
}

fn step<R: SourceReader>(
    reader: &mut R,
    out: &mut Vec<Event<R::Out>>,
    max: usize,
) -> Result<ReadStatus, UserError> {
    let before = out.len();
    let status = reader.read(out, max, 0)?;
    assert!(out.len() - before <= max, "more than was asked for");
    Ok(status)
}

fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("access.log");
    fs::write(&path, text).unwrap();
    (dir, path)
}

/// Texts of the pieces that are awkward to cut: both line ends, empty lines, characters of many bytes.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("\n".to_owned()),
        2 => Just("\r\n".to_owned()),
        1 => Just("\r".to_owned()),
        2 => Just("é".to_owned()),
        2 => Just("漢字".to_owned()),
        2 => Just("🦀".to_owned()),
        4 => "[a-z, ]{0,12}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// The message as the engine shows it, causes included.
fn message<T>(result: Result<T, UserError>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => rivus_core::Failure::user(&error).message,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn text_files_keep_the_contract(
        text in texts(),
        split_bytes in 1u64..40,
        max in 1usize..7,
    ) {
        let (_dir, path) = file(&text);
        let source = TextFileSource::new(&path).split_bytes(split_bytes);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        contract::source(|| source.clone()).yields(lines.clone()).check();
        // One after the other, the splits are the file.
        let splits = source.splits(1).unwrap();
        let read: Vec<String> =
            drain(&source, splits, max).unwrap().into_iter().map(|event| event.value).collect();
        prop_assert_eq!(read, lines);
    }

    #[test]
    fn a_header_is_passed_once(
        text in texts(),
        split_bytes in 1u64..40,
    ) {
        let (_dir, path) = file(&text);
        let source = TextFileSource::new(&path).split_bytes(split_bytes).skip_header();
        let lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        contract::source(|| source.clone()).yields(lines).check();
    }

    #[test]
    fn collected_bad_lines_are_at_their_places(
        text in texts(),
        split_bytes in 1u64..40,
    ) {
        let (_dir, path) = file(&text);
        let source = TextFileSource::new(&path)
            .split_bytes(split_bytes)
            .parsed_by(|_| Err::<u32, _>("no"))
            .collecting_bad_lines();
        let splits = source.splits(1).unwrap();
        let found = drain(&source, splits, 3).unwrap();
        prop_assert_eq!(found.len(), text.lines().count());
        for (number, (event, line)) in found.into_iter().zip(text.lines()).enumerate() {
            let Parsed::Bad(bad) = event.value else { panic!("nothing parses") };
            prop_assert_eq!(&bad.text, line);
            let place = bad.place.strip_prefix(path.to_str().unwrap()).unwrap();
            match place.strip_prefix("@byte ") {
                Some(byte) => {
                    let byte: usize = byte.parse().unwrap();
                    prop_assert!(byte as u64 >= split_bytes);
                    prop_assert!(text[byte..].starts_with(line));
                    prop_assert!(byte == 0 || text.as_bytes()[byte - 1] == b'\n');
                }
                None => prop_assert_eq!(place, format!(":{}", number + 1)),
            }
        }
    }

    #[test]
    fn collections_keep_the_contract(records in prop::collection::vec(any::<u32>(), 0..50)) {
        contract::source(|| CollectionSource::new(records.clone())).yields(records.clone()).check();
    }

    #[test]
    fn generators_keep_the_contract(count in 0u64..60, seed in any::<u64>()) {
        let make = |index, rng: &mut SplitMix| (index, rng.next_u64());
        let expected: Vec<_> =
            (0..count).map(|index| make(index, &mut SplitMix::of(seed, index))).collect();
        let source = GeneratorSource::new(make).seed(seed).count(count);
        contract::source(|| source.clone()).yields(expected).check();
    }
}

#[test]
fn lines_longer_than_the_buffer_are_read_whole() {
    let long = "é".repeat(900_000);
    let text = format!("{long}\nshort\r\n{long}");
    let (_dir, path) = file(&text);
    let source = TextFileSource::new(&path).split_bytes(300_000);
    let lines = [long.clone(), "short".to_owned(), long];
    contract::source(|| source.clone()).yields(lines).check();
}

#[test]
fn several_files_are_read_in_order_and_globs_by_name() {
    let dir = TempDir::new().unwrap();
    for name in ["b.log", "a.log", "c.txt", ".hidden.log"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    fs::create_dir(dir.path().join("d.log")).unwrap();
    let read = |source: TextFileSource| -> Vec<String> {
        let splits = source.splits(1).unwrap();
        let events = drain(&source, splits, 10).unwrap();
        events.into_iter().map(|event| event.value).collect()
    };
    let path = |name| dir.path().join(name);
    assert_eq!(
        read(TextFileSource::paths([path("c.txt"), path("a.log")])),
        ["c.txt", "a.log"]
    );
    let pattern = path("*.log").to_str().unwrap().to_owned();
    assert_eq!(read(TextFileSource::glob(pattern)), ["a.log", "b.log"]);
}

#[test]
fn missing_input_is_one_line_with_the_mend() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (source, start) in [
        (
            TextFileSource::new(at("no.log")),
            format!("no file {}: check", at("no.log")),
        ),
        (
            TextFileSource::new(at("")),
            format!("{} is not a file: to read", at("")),
        ),
        (
            TextFileSource::glob(at("*.log")),
            format!("no file matches {}: check", at("*.log")),
        ),
        (
            TextFileSource::glob("a[".to_owned()),
            "a[ is not a glob: escape".to_owned(),
        ),
        (
            TextFileSource::paths::<PathBuf>([]),
            "the list of files to read is empty".to_owned(),
        ),
        (
            TextFileSource::new(at("x")).split_bytes(0),
            "split_bytes is 0: give".to_owned(),
        ),
    ] {
        let found = source.check().and_then(|()| source.splits(1));
        let message = message(found);
        assert!(message.starts_with(&start), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_file_that_shrank_under_the_job_is_refused() {
    let (_dir, path) = file("one\ntwo\n");
    let source = TextFileSource::new(&path);
    let splits = source.splits(1).unwrap();
    fs::write(&path, "one\n").unwrap();
    let message = message(drain(&source, splits, 10));
    assert!(message.contains("shrank from 8 to 4 bytes"), "{message}");
}

#[test]
fn a_reader_says_where_it_stands_by_line_or_else_by_byte() {
    let (_dir, path) = file("one\ntwo\nthree\nfour\n");
    let source = TextFileSource::new(&path).split_bytes(9);
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    assert_eq!(reader.position(), None);
    let path = path.display();
    for split in source.splits(1).unwrap() {
        reader.add_split(split).unwrap();
    }
    for place in [":1", ":2", ":3", "@byte 14"] {
        reader.read(&mut Vec::new(), 1, 0).unwrap();
        assert_eq!(reader.position().unwrap(), format!("{path}{place}"));
    }
    let mut restored = source.reader(ParallelInstance::ALONE).unwrap();
    restored
        .add_split(FileSplit {
            path: format!("{path}").into(),
            start: 0,
            len: 19,
            end: 9,
            offset: 4,
            lines_before: Some(1),
            compression: None,
        })
        .unwrap();
    restored.read(&mut Vec::new(), 1, 0).unwrap();
    assert_eq!(restored.position().unwrap(), format!("{path}:2"));
}

#[test]
fn bytes_that_are_not_utf_8_fail_at_their_place_or_are_replaced() {
    let (_dir, path) = file(b"fine\nb\xffd\n");
    let source = TextFileSource::new(&path);
    let splits = || source.splits(1).unwrap();
    let message = message(drain(&source, splits(), 10));
    let expected = format!("{}:2: not UTF-8: convert the file", path.display());
    assert!(message.starts_with(&expected), "{message}");
    let lossy = drain(&source.clone().lossy_utf8(), splits(), 10).unwrap();
    assert_eq!(lossy[1].value, "b\u{fffd}d");
}

/// What the engine makes of the error of reading all lines.
fn failure<S: Source>(source: &S) -> Failure {
    let splits = source.splits(1).unwrap();
    match drain(source, splits, 2) {
        Ok(_) => panic!("expected an error"),
        Err(error) => Failure::user(&error),
    }
}

#[test]
fn a_refused_line_fails_the_job_and_is_named_by_its_number_wherever_the_file_is_cut() {
    let (_dir, path) = file(b"1\n22\n\xff\n4444\n");
    let place = |line: u32| format!("{}:{line}", path.display());
    for split_bytes in [1, 2, 3, 5, 100] {
        let source = TextFileSource::new(&path).split_bytes(split_bytes);
        let parsed = source
            .clone()
            .lossy_utf8()
            .parsed_by(|line| line.parse::<u8>());
        let refusals = [(failure(&source), place(3)), (failure(&parsed), place(3))];
        for (failure, place) in refusals {
            assert_eq!(failure.scope, FailureScope::Job, "{failure}");
            let named = format!("{place}: ");
            assert!(
                failure.message.starts_with(&named),
                "{failure} by {split_bytes}"
            );
            assert_eq!(failure.position, Some(place));
        }
    }
}

#[test]
fn bad_lines_fail_or_are_skipped_and_counted_or_are_collected() {
    let (_dir, path) = file(b"n,k\n1,a\nx,b\n\xff\n4,d\n");
    let source = TextFileSource::new(&path)
        .skip_header()
        .parsed_by(csv_lines::<(u32, String)>());
    let splits = || source.splits(1).unwrap();

    let message = message(drain(&source, splits(), 10));
    let expected = format!(
        "{}:3: cannot parse \"x,b\": field 1: invalid digit found in string; mend",
        path.display()
    );
    assert!(message.starts_with(&expected), "{message}");

    let skipping = source.clone().bad_lines(BadLines::Skip);
    let mut reader = skipping.reader(ParallelInstance::ALONE).unwrap();
    reader.add_split(splits().remove(0)).unwrap();
    let mut out = Vec::new();
    assert_eq!(step(&mut reader, &mut out, 3).unwrap(), ReadStatus::More);
    assert_eq!((out.len(), reader.skipped(), reader.skipped()), (1, 2, 0));
    assert_eq!(
        step(&mut reader, &mut out, 3).unwrap(),
        ReadStatus::SplitsDone
    );
    assert_eq!(out[1], Event::at(MIN_TIMESTAMP, (4, "d".to_owned())));

    let found = drain(&source.clone().collecting_bad_lines(), splits(), 10).unwrap();
    let bad: Vec<_> = found
        .iter()
        .filter_map(|event| match &event.value {
            Parsed::Ok(_) => None,
            Parsed::Bad(bad) => Some((bad.place.as_str(), bad.text.as_str())),
        })
        .collect();
    let at = |line| format!("{}:{line}", path.display());
    assert_eq!(bad, [(at(3).as_str(), "x,b"), (at(4).as_str(), "\u{fffd}")]);
}

#[test]
fn json_lines_are_read_by_serde() {
    let (_dir, path) = file("[1,\"a\"]\n[2,\"b\"]");
    let source = TextFileSource::new(&path).parsed_by(json_lines::<(u32, String)>());
    let pairs = [(1, "a".to_owned()), (2, "b".to_owned())];
    contract::source(|| source.clone()).yields(pairs).check();
}

#[test]
fn a_collection_that_shrank_is_refused() {
    let split = CollectionSource::new(vec![1, 2, 3]).splits(1).unwrap();
    let message = message(drain(&CollectionSource::new(vec![1]), split, 10));
    assert!(
        message.contains("of a collection that holds 1: resume with"),
        "{message}"
    );
}

#[test]
fn a_generator_keeps_its_rate_over_all_its_splits() {
    let source = GeneratorSource::new(|index, _| index).rate(100);
    let mut readers: Vec<_> = source
        .splits(4)
        .unwrap()
        .into_iter()
        .map(|split| {
            let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
            reader.add_split(split).unwrap();
            reader
        })
        .collect();
    let mut made = Vec::new();
    for now in 5_000..6_000 {
        for reader in &mut readers {
            let status = reader.read(&mut made, 1_000, now).unwrap();
            assert!(matches!(status, ReadStatus::Later(due) if due > now && due <= now + 40));
        }
    }
    assert_eq!(made.len(), 100);
    let mut values: Vec<u64> = made.into_iter().map(|event| event.value).collect();
    values.sort_unstable();
    assert_eq!(
        values,
        (0..100).collect::<Vec<_>>(),
        "event time advances evenly"
    );
}

#[test]
fn a_generator_catches_up_within_a_run_but_not_after_a_restore() {
    let source = GeneratorSource::new(|index, _| index).rate(10);
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    reader
        .add_split(source.splits(1).unwrap().remove(0))
        .unwrap();
    let mut made = Vec::new();
    assert_eq!(
        reader.read(&mut made, 50, 1_000).unwrap(),
        ReadStatus::Later(1_100)
    );
    assert_eq!(
        reader.read(&mut made, 50, 900).unwrap(),
        ReadStatus::Later(1_100)
    );
    assert_eq!(made.len(), 1);
    assert_eq!(reader.read(&mut made, 2, 1_450).unwrap(), ReadStatus::More);
    assert_eq!(
        reader.read(&mut made, 50, 1_450).unwrap(),
        ReadStatus::Later(1_500)
    );
    assert_eq!(made.len(), 5);

    let mut restored = source.reader(ParallelInstance::ALONE).unwrap();
    restored.add_split(reader.snapshot().remove(0)).unwrap();
    made.clear();
    assert_eq!(
        restored.read(&mut made, 50, 90_000).unwrap(),
        ReadStatus::Later(90_100)
    );
    assert_eq!(made, [Event::at(MIN_TIMESTAMP, 5)]);
}

#[test]
fn a_generator_that_has_run_since_then_catches_up_after_a_restore_too() {
    let source = GeneratorSource::new(|index, _| index).rate(10).since(1_000);
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    let split = source.splits(1).unwrap().remove(0);
    reader.add_split(split).unwrap();
    let mut made = Vec::new();
    for (now, due, records) in [(900, 1_000, 0), (1_000, 1_100, 1), (1_450, 1_500, 5)] {
        let status = reader.read(&mut made, 50, now).unwrap();
        assert_eq!((status, made.len()), (ReadStatus::Later(due), records));
    }
    let mut restored = source.reader(ParallelInstance::ALONE).unwrap();
    restored.add_split(reader.snapshot().remove(0)).unwrap();
    made.clear();
    let status = restored.read(&mut made, 50, 2_000).unwrap();
    assert_eq!(status, ReadStatus::Later(2_100));
    let values: Vec<u64> = made.into_iter().map(|event| event.value).collect();
    assert_eq!(values, [5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_generator_whose_splits_were_read_differently_far_reads_them_in_order_and_keeps_its_rate() {
    let source = GeneratorSource::new(|index, _| index).rate(1_000);
    let mut splits = source.splits(2).unwrap();
    splits[1].next = 41;
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    for split in splits {
        reader.add_split(split).unwrap();
    }
    let mut made = Vec::new();
    for now in 5_000..5_100 {
        reader.read(&mut made, 1_000, now).unwrap();
    }
    let values: Vec<u64> = made.into_iter().map(|event| event.value).collect();
    let expected = (0..100).filter(|index| index % 2 == 0 || *index > 40);
    assert_eq!(values, expected.collect::<Vec<_>>());
}

#[test]
fn a_generator_gives_times_and_refuses_a_rate_of_nothing() {
    let source = GeneratorSource::new(|index, _| index)
        .count(3)
        .timestamps(|&index| index as i64 * 10);
    let splits = source.splits(2).unwrap();
    let made = drain(&source, splits, 10).unwrap();
    assert_eq!(made, [Event::at(0, 0), Event::at(10, 1), Event::at(20, 2)]);
    assert!(message(source.clone().since(0).check()).contains("give it a .rate()"));
    assert!(message(source.rate(0).check()).contains("rate is 0"));
}

#[test]
fn a_run_of_large_lines_ends_by_their_bytes() {
    let line = "x".repeat(100_000);
    let (_dir, path) = file(format!("{line}\n").repeat(20));
    let source = TextFileSource::new(&path);
    let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
    for split in source.splits(1).unwrap() {
        reader.add_split(split).unwrap();
    }
    let mut runs = Vec::new();
    let mut more = true;
    while more {
        let mut run = Vec::new();
        more = step(&mut reader, &mut run, 1_000).unwrap() == ReadStatus::More;
        runs.push(run.len());
    }
    assert_eq!(runs, [3, 3, 3, 3, 3, 3, 2]);
}
