//! What file sources make of CSV, JSON, packed files, and folders that are watched.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rivus_connectors::{
    BadLines, Compression, CsvFormat, FileSplit, Parsed, TextFileSource, Watch, contract,
};
use rivus_core::{
    Event, Failure, FailureScope, KnownSplits, ParallelInstance, ReadStatus, Source, SourceReader,
    SplitEnumerator, SplitMemory, UserError,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Trade {
    symbol: String,
    price: Option<f64>,
}

fn trade(symbol: &str, price: impl Into<Option<f64>>) -> Trade {
    Trade {
        symbol: symbol.to_owned(),
        price: price.into(),
    }
}

fn file(name: &str, bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn read<S: Source>(source: &S) -> Result<Vec<S::Out>, UserError> {
    read_splits(source, source.splits(1)?)
}

fn read_splits<S: Source>(source: &S, splits: Vec<S::Split>) -> Result<Vec<S::Out>, UserError> {
    let mut reader = source.reader(ParallelInstance::ALONE)?;
    for split in splits {
        reader.add_split(split)?;
    }
    let mut out: Vec<Event<S::Out>> = Vec::new();
    while reader.read(&mut out, 3, 0)? == ReadStatus::More {}
    Ok(out.into_iter().map(|event| event.value).collect())
}

fn failure<T>(result: Result<T, UserError>) -> Failure {
    Failure::user(&result.err().expect("an error"))
}

/// What is wrong with the only file, without its path.
fn refused<T>(result: Result<T, UserError>, path: &Path) -> String {
    let failure = failure(result);
    assert_eq!(failure.scope, FailureScope::Job, "{failure}");
    assert!(!failure.message.contains('\n'), "{failure}");
    failure.message.replace(path.to_str().unwrap(), "F")
}

// --- CSV and JSON ------------------------------------------------------------------------------------

#[test]
fn csv_is_read_by_the_headers_names_wherever_the_file_is_cut() {
    let text = "\u{feff}price,note,symbol\r\n1.5,\"a, \"\"b\"\"\",X\r\n\r\n,,\"Y,Z\"\n2,last,W";
    let (_dir, path) = file("trades.csv", text);
    for split_bytes in [1, 2, 5, 17, 18, 19, 30, 100] {
        let source = TextFileSource::new(&path)
            .split_bytes(split_bytes)
            .csv::<Trade>();
        let trades = [trade("X", 1.5), trade("Y,Z", None), trade("W", 2.0)];
        contract::source(|| source.clone()).yields(trades).check();
    }
}

#[test]
fn csv_may_have_another_delimiter_and_no_header() {
    let (_dir, path) = file("trades.tsv", "X\t1.5\n\"a\tb\"\t\n");
    let format = CsvFormat::new().delimiter(b'\t').without_header();
    let source = TextFileSource::new(path).csv_with::<Trade>(format);
    let trades = [trade("X", 1.5), trade("a\tb", None)];
    contract::source(|| source.clone()).yields(trades).check();
}

#[test]
fn line_ends_within_quotes_are_read_from_whole_files_only() {
    let text = "symbol,price\n\"a\nb\",1\n\"c\r\n\n\"\"d\",\n\"\ne\",2\n";
    let (_dir, path) = file("trades.csv", text);
    let lines = TextFileSource::new(&path).split_bytes(7);
    let whole = lines
        .clone()
        .csv_with::<Trade>(CsvFormat::new().multiline());
    assert_eq!(whole.splits(3).unwrap().len(), 1);
    let trades = [
        trade("a\nb", 1.0),
        trade("c\r\n\n\"d", None),
        trade("\ne", 2.0),
    ];
    contract::source(|| whole.clone()).yields(trades).check();

    assert_eq!(
        refused(read(&lines.csv::<Trade>()), &path),
        "F:2: cannot parse \"\\\"a\": a quote is not closed: quoted fields that hold line ends are read \
         with CsvFormat::multiline(); mend the line, or skip or collect bad lines"
    );
}

#[test]
fn a_bad_record_of_several_lines_is_named_by_its_first_and_the_next_by_its_own() {
    let (_dir, path) = file("trades.csv", "symbol,price\n\"a\nb\",x\nc,y\n");
    let source = TextFileSource::new(&path)
        .csv_with::<Trade>(CsvFormat::new().multiline())
        .collecting_bad_lines();
    let places = read(&source).unwrap().into_iter().map(|line| match line {
        Parsed::Bad(bad) => bad.place.replace(path.to_str().unwrap(), "F"),
        Parsed::Ok(trade) => panic!("{trade:?}"),
    });
    assert_eq!(places.collect::<Vec<_>>(), ["F:2", "F:4"]);
}

#[test]
fn what_is_wrong_with_a_line_of_csv_is_said_in_the_words_of_its_header() {
    let mend = "; mend the line, or skip or collect bad lines";
    for (text, message) in [
        (
            "symbol,price\nX,dear\n",
            "F:2: cannot parse \"X,dear\": field 2: invalid float literal",
        ),
        (
            "symbol,price\nX,1,2\n",
            "F:2: cannot parse \"X,1,2\": 3 fields where the header names 2: symbol, price",
        ),
        (
            "symbol;price\nX;1\n",
            "F:2: cannot parse \"X;1\": missing field `symbol`; the header names symbol;price",
        ),
        (
            "symbol,price\na\"b,c\"d\n",
            "F:2: cannot parse \"a\\\"b,c\\\"d\": field 2: invalid float literal",
        ),
    ] {
        let (_dir, path) = file("trades.csv", text);
        let source = TextFileSource::new(&path).csv::<Trade>();
        assert_eq!(refused(read(&source), &path), format!("{message}{mend}"));
    }
    // Two records that stray quotes have joined are refused, not halved.
    let (_dir, path) = file("trades.csv", "symbol,price\na\"b,1\nc\"d,2\n");
    let source = TextFileSource::new(&path).csv_with::<Trade>(CsvFormat::new().multiline());
    let message = refused(read(&source), &path);
    assert!(message.contains("a quote stands in a field"), "{message}");
}

#[test]
fn bad_lines_of_csv_and_json_go_where_they_are_told_and_empty_ones_nowhere() {
    let (_dir, path) = file("trades.csv", "symbol,price\nX,1\n\nY,dear\nZ,3\n");
    let source = TextFileSource::new(&path).csv::<Trade>();
    let skipping = source.clone().bad_lines(BadLines::Skip);
    let mut reader = skipping.reader(ParallelInstance::ALONE).unwrap();
    reader
        .add_split(skipping.splits(1).unwrap().remove(0))
        .unwrap();
    let mut out = Vec::new();
    while reader.read(&mut out, 10, 0).unwrap() == ReadStatus::More {}
    assert_eq!((out.len(), reader.skipped()), (2, 1));
    let collected = read(&source.collecting_bad_lines()).unwrap();
    assert!(matches!(&collected[1], Parsed::Bad(bad) if bad.text == "Y,dear"));
    assert_eq!(collected.len(), 3);

    let (_dir, path) = file("t.jsonl", "{\"symbol\":\"X\",\"price\":1}\n \n{]\n");
    let source = TextFileSource::new(&path).json_lines::<Trade>();
    let message = refused(read(&source), &path);
    assert!(message.starts_with("F:3: cannot parse \"{]\""), "{message}");
    let skipping = source.bad_lines(BadLines::Skip);
    assert_eq!(read(&skipping).unwrap(), [trade("X", 1.0)]);
}

#[test]
fn options_that_cannot_work_together_are_refused_before_anything_is_read() {
    let (_dir, path) = file("trades.csv", "");
    let source = || TextFileSource::new(&path);
    let quote = CsvFormat::new().delimiter(b'"');
    for (refused, start) in [
        (
            source().skip_header().csv::<Trade>().check(),
            "skip_header() passes the line",
        ),
        (
            source().csv_with::<Trade>(quote).check(),
            "the delimiter of a CsvFormat is a quote",
        ),
        (
            source().watch(Duration::from_secs(1)).check(),
            "watch(..) looks for new files",
        ),
        (
            TextFileSource::folder("no/such")
                .watch(Duration::from_secs(1))
                .splits(1)
                .map(drop),
            "no folder no/such: make it",
        ),
        (
            TextFileSource::folder(".").watch(Duration::ZERO).check(),
            "the interval of watch is 0",
        ),
    ] {
        let message = failure(refused).message;
        assert!(message.starts_with(start), "{message}");
    }
}

// --- packed files ------------------------------------------------------------------------------------

fn pack(text: &str, compression: Compression) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(text.as_bytes(), 0).unwrap(),
    }
}

const PACKED: [(Compression, &str); 2] = [
    (Compression::Gzip, "trades.csv.gz"),
    (Compression::Zstd, "trades.csv.ZST"),
];

#[test]
fn packed_files_are_read_whole_and_gone_on_with_in_the_middle() {
    for (compression, name) in PACKED {
        let (_dir, path) = file(name, pack("symbol,price\nX,1\n\nY,2\nZ,3", compression));
        let lines = TextFileSource::new(&path).split_bytes(1).skip_header();
        assert_eq!(lines.splits(4).unwrap().len(), 1);
        let expected = ["X,1", "", "Y,2", "Z,3"].map(str::to_owned);
        contract::source(|| lines.clone()).yields(expected).check();
        let csv = TextFileSource::new(&path).csv::<Trade>();
        let trades = [trade("X", 1.0), trade("Y", 2.0), trade("Z", 3.0)];
        contract::source(|| csv.clone()).yields(trades).check();
    }
}

#[test]
fn several_members_or_frames_are_one_file_wherever_a_line_is_cut_by_them() {
    for (compression, name) in PACKED {
        let pieces = ["one\ntw", "", "o\nthree\n", "four"];
        let bytes: Vec<u8> = pieces.map(|piece| pack(piece, compression)).concat();
        let (_dir, path) = file(name, bytes);
        let source = TextFileSource::new(&path);
        let lines = ["one", "two", "three", "four"].map(str::to_owned);
        contract::source(|| source.clone()).yields(lines).check();
    }
}

#[test]
fn a_large_packed_file_is_caught_up_with_in_steps() {
    let text: String = (0..400_000).map(|n| format!("line {n}\n")).collect();
    for (compression, name) in PACKED {
        let (_dir, path) = file(name, pack(&text, compression));
        let source = TextFileSource::new(&path);
        let mut split = source.splits(1).unwrap().remove(0);
        split.offset = text.find("line 399998").unwrap() as u64;
        split.lines_before = Some(399_998);
        let mut reader = source.reader(ParallelInstance::ALONE).unwrap();
        reader.add_split(split).unwrap();
        let (mut out, mut turns) = (Vec::new(), 0);
        while reader.read(&mut out, 10, 0).unwrap() == ReadStatus::More {
            turns += 1;
        }
        let read: Vec<String> = out.into_iter().map(|event| event.value).collect();
        assert_eq!(read, ["line 399998", "line 399999"]);
        assert!(turns > 3, "{turns} turns");
        let place = format!("{}:400000", path.display());
        assert_eq!(reader.position(), Some(place));
    }
}

#[test]
fn a_packed_file_that_was_cut_off_or_is_none_is_one_line_that_names_it() {
    let text: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
    for (compression, name) in PACKED {
        let whole = pack(&text, compression);
        for len in [1, 5, whole.len() / 2, whole.len() - 1] {
            let (_dir, path) = file(name, &whole[..len]);
            let message = refused(read(&TextFileSource::new(&path)), &path);
            let expected = "F ends in the middle: it was cut off, copy it again";
            assert_eq!(message, expected, "{len} bytes of {name}");
        }
        let (_dir, path) = file(name, "plain text, not packed at all\n");
        let message = refused(read(&TextFileSource::new(&path)), &path);
        assert!(
            message.starts_with("cannot unpack F: is it what"),
            "{message}"
        );
    }
}

// --- watching ----------------------------------------------------------------------------------------

const SECOND: Duration = Duration::from_secs(1);

/// A watched folder, played by the test.
struct Watched {
    dir: TempDir,
    source: TextFileSource,
    enumerator: Box<dyn SplitEnumerator<Split = FileSplit>>,
    known: Vec<FileSplit>,
    now: i64,
}

impl Watched {
    fn new(change: impl Fn(Watch, &Path) -> Watch) -> Self {
        Self::cut(1 << 20, change)
    }

    fn cut(split_bytes: u64, change: impl Fn(Watch, &Path) -> Watch) -> Self {
        let dir = TempDir::new().unwrap();
        let watch = change(Watch::every(SECOND), dir.path());
        let source = TextFileSource::folder(dir.path()).split_bytes(split_bytes);
        let source = source.watch(watch);
        assert_eq!(source.splits(2).unwrap(), []);
        let enumerator = source.enumerator(KnownSplits::default()).unwrap().unwrap();
        assert_eq!(enumerator.interval(), SECOND);
        Self {
            dir,
            source,
            enumerator,
            known: Vec::new(),
            now: 1_000_000,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// The names that a look finds; a second passes after it.
    fn look(&mut self) -> Vec<String> {
        let found = self.enumerator.discover(self.now).unwrap();
        self.now += 1_000;
        let name = |split: &FileSplit| split.path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = found.splits.iter().map(name).collect();
        names.extend(found.last.then(|| "END".to_owned()));
        self.known.extend(found.splits);
        names
    }

    /// Another leader goes on. All that was found has been read, so the log has only what is to be remembered of it.
    fn take_over(&mut self) {
        let mut known = KnownSplits::default();
        for (place, split) in self.known.iter().enumerate() {
            match self.enumerator.memory(split) {
                SplitMemory::Key(key) => {
                    known.keys.insert(key);
                }
                SplitMemory::Nothing if place + 1 < self.known.len() => {}
                _ => known.splits.push(split.clone()),
            }
        }
        self.enumerator = self.source.enumerator(known).unwrap().unwrap();
    }
}

#[test]
fn files_that_come_in_the_order_of_their_names_are_taken_in_it() {
    let mut watched = Watched::new(|watch, _| watch.settle(SECOND).in_order_of_names());
    watched.write("b", "1\n");
    watched.write("c", "");
    watched.write("d", "1\n");
    assert_eq!(watched.look(), [""; 0]);
    watched.write("b", "1\n2\n");
    assert_eq!(watched.look(), [""; 0], "d waits for b");
    assert_eq!(watched.look(), ["b", "d"]);
    watched.write("a", "too late\n");
    watched.write("c", "too late\n");
    watched.write("e", "1\n");
    watched.take_over();
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.look(), ["e"]);
    watched.take_over();
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.look(), [""; 0]);
}

#[test]
fn a_file_is_found_once_when_it_has_stood_still() {
    let mut watched = Watched::new(|watch, _| watch.settle(2 * SECOND));
    watched.write("b", "1\n");
    watched.write("a", "1\n");
    watched.write(".hidden", "1\n");
    watched.write("empty", "");
    fs::create_dir(watched.dir.path().join("below")).unwrap();
    assert_eq!(watched.look(), [""; 0]);
    watched.write("b", "1\n2\n");
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.look(), ["a"]);
    assert_eq!(watched.look(), ["b"]);
    watched.write("empty", "no more\n");
    // A leader that has just come begins to wait anew, and finds nothing twice.
    assert_eq!(watched.look(), [""; 0]);
    watched.take_over();
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.look(), [""; 0]);
    assert_eq!(watched.look(), ["empty"]);
    fs::remove_file(watched.dir.path().join("a")).unwrap();
    assert_eq!(watched.look(), [""; 0]);
    watched.write("a", "again\n");
    for _ in 0..4 {
        assert_eq!(watched.look(), [""; 0], "a file is known by its path");
    }
}

#[test]
fn files_that_are_moved_in_whole_are_taken_at_first_sight() {
    let mut watched = Watched::new(|watch, _| watch.settle(Duration::ZERO));
    watched.write(".a", "1\n2\n");
    assert_eq!(watched.look(), [""; 0]);
    let path = watched.dir.path();
    fs::rename(path.join(".a"), path.join("a")).unwrap();
    assert_eq!(watched.look(), ["a"]);
    let lines = read_splits(&watched.source, watched.known.clone()).unwrap();
    assert_eq!(lines, ["1", "2"]);
}

#[test]
fn a_watch_ends_with_what_is_there_beside_its_marker() {
    let mut watched = Watched::new(|watch, dir| watch.until(dir.join("_DONE")));
    watched.write("a", "1\n");
    assert_eq!(watched.look(), [""; 0]);
    watched.write("b", "1\n");
    assert_eq!(watched.look(), ["a"]);
    watched.write("_DONE", "x");
    watched.write("c", "1\n");
    assert_eq!(watched.look(), ["b", "c", "END"]);
}

#[test]
fn a_watched_file_is_known_again_however_its_folder_is_spelt() {
    // Here, so that it has a relative path.
    let dir = tempfile::tempdir_in(".").unwrap();
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let here = std::env::current_dir().unwrap();
    let whole = format!("{}/{name}", here.display());
    fs::write(dir.path().join("a"), "1\n").unwrap();
    let glob = TextFileSource::glob(format!("{name}/*"));
    let folders = [
        whole.clone(),
        format!("./{name}"),
        format!("{name}//"),
        format!("{}/.//{name}/.", here.display()),
    ];
    let folders = folders.map(TextFileSource::folder);
    let sources: Vec<_> = folders.into_iter().chain([glob]).collect();
    for by_name in [false, true] {
        let watched = |source: &TextFileSource| {
            let watch = Watch::every(SECOND).settle(Duration::ZERO);
            // Spelt in yet another way.
            let watch = watch.until(dir.path().join(".").join("_DONE"));
            source.clone().watch(match by_name {
                true => watch.in_order_of_names(),
                false => watch,
            })
        };
        for (first, second) in sources.iter().zip(sources.iter().cycle().skip(1)) {
            let first = watched(first).enumerator(KnownSplits::default()).unwrap();
            let (mut first, mut known) = (first.unwrap(), KnownSplits::default());
            let looks = [0, 1_000].map(|now| first.discover(now).unwrap().splits);
            let [split] = looks.concat().try_into().unwrap();
            match first.memory(&split) {
                SplitMemory::Key(key) => {
                    known.keys.insert(key);
                }
                _ => known.splits.push(split),
            }
            let mut second = watched(second).enumerator(known).unwrap().unwrap();
            assert_eq!(second.discover(2_000).unwrap().splits, []);
            fs::write(dir.path().join("_DONE"), "x").unwrap();
            let end = second.discover(3_000).unwrap();
            assert_eq!((end.splits, end.last), (vec![], true));
            fs::remove_file(dir.path().join("_DONE")).unwrap();
        }
    }
}

#[test]
fn watched_files_are_cut_and_unpacked_as_others_are_and_keep_the_contract() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.csv"), "symbol,price\nA,1\nB,2\nC,3\n").unwrap();
    let packed = pack("symbol,price\nD,4\n", Compression::Gzip);
    fs::write(dir.path().join("b.csv.gz"), packed).unwrap();
    let pattern = dir.path().join("*.csv*").to_str().unwrap().to_owned();
    let source = TextFileSource::glob(pattern)
        .split_bytes(10)
        .csv::<Trade>()
        .watch(SECOND);
    let trades = [("A", 1.0), ("B", 2.0), ("C", 3.0), ("D", 4.0)];
    let trades = trades.map(|(symbol, price)| trade(symbol, price));
    contract::source(|| source.clone()).yields(trades).check();
}

/// What a reader of watched splits says, read by read: lines, and `..` if it waits.
fn reads(reader: &mut impl SourceReader<Out = String>, now: i64) -> Result<String, UserError> {
    let mut out = Vec::new();
    loop {
        let status = reader.read(&mut out, 2, now)?;
        let said = match status {
            ReadStatus::More => continue,
            ReadStatus::Later(_) => "..",
            ReadStatus::SplitsDone => "end",
        };
        let lines = out.into_iter().map(|event| event.value + " ");
        return Ok(lines.collect::<String>() + said);
    }
}

/// Has a file taken, and gives a reader its splits.
fn taken(
    watched: &mut Watched,
    name: &str,
    bytes: &[u8],
) -> impl SourceReader<Out = String, Split = FileSplit> + use<> {
    fs::write(watched.dir.path().join(name), bytes).unwrap();
    while !watched.look().contains(&name.to_owned()) {}
    let mut reader = watched.source.reader(ParallelInstance::ALONE).unwrap();
    for split in watched.known.clone() {
        reader.add_split(split).unwrap();
    }
    reader
}

#[test]
fn a_watched_file_that_goes_on_growing_is_read_to_its_end_and_by_whole_lines() {
    for split_bytes in [1, 3, 4, 100] {
        let mut watched = Watched::cut(split_bytes, |watch, _| watch);
        let mut reader = taken(&mut watched, "a", b"1\n22\n3");
        let now = 1_000;
        assert_eq!(reads(&mut reader, now).unwrap(), "1 22 ..");
        watched.write("a", "1\n22\n33\n4");
        assert_eq!(reads(&mut reader, now + 999).unwrap(), "..");
        assert_eq!(reads(&mut reader, now + 1_000).unwrap(), "33 ..");
        // A failure in between changes nothing.
        let mut restored = watched.source.reader(ParallelInstance::ALONE).unwrap();
        for split in reader.snapshot() {
            restored.add_split(split).unwrap();
        }
        assert_eq!(reads(&mut restored, now).unwrap(), "..");
        watched.write("a", "1\n22\n33\n4\n5\n66");
        assert_eq!(reads(&mut restored, now + 1_000).unwrap(), "4 5 ..");
        assert_eq!(reads(&mut restored, now + 1_999).unwrap(), "..");
        assert_eq!(reads(&mut restored, now + 2_000).unwrap(), "66 end");
    }
}

#[test]
fn a_packed_file_is_waited_for_until_it_is_whole_or_has_stood_still_for_long() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let packed = pack(&"some line\n".repeat(3), compression);
        let name = format!("a.{}", compression.extension());
        let mut watched = Watched::new(|watch, _| watch);
        let mut reader = taken(&mut watched, &name, &packed[..packed.len() - 3]);
        let mut said = reads(&mut reader, 0).unwrap();
        assert!(said.ends_with(".."), "{said}");
        for second in 1..10 {
            assert_eq!(reads(&mut reader, second * 1_000).unwrap(), "..");
        }
        fs::write(watched.dir.path().join(&name), &packed).unwrap();
        said += &reads(&mut reader, 10_000).unwrap();
        assert_eq!(said.matches("some line").count(), 3, "{said}");
        assert!(said.ends_with("end"));

        let mut watched = Watched::new(|watch, _| watch);
        let mut reader = taken(&mut watched, &name, &packed[..packed.len() - 3]);
        let failed = (0..20).find_map(|second| reads(&mut reader, second * 1_000).err());
        let failure = Failure::user(&failed.unwrap());
        assert_eq!(failure.scope, FailureScope::Job);
        assert!(
            failure.message.contains("was cut off, copy it again"),
            "{failure}"
        );
    }
}
