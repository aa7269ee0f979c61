//! Every two-phase sink of this crate keeps the contract; and what it owes beyond that.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rivus_connectors::contract::{self, SinkJob};
use rivus_connectors::{CollectSink, Compression, DiscardSink, FileSink, PrintSink, RollingPolicy};
use rivus_core::{
    CheckpointId, Event, Failure, FailureScope, JobId, ParallelInstance, Sink, SinkWriter,
    UserError,
};
use tempfile::TempDir;
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

#[test]
fn collecting_keeps_the_contract() {
    let make = || {
        let sink = CollectSink::new();
        let collected = sink.collected();
        (sink, move || collected.values())
    };
    contract::sink(make, |n: u64| n).check();
}

/// Checks a file sink that rolls at some sizes, as long as a part may be.
fn files_keep_the_contract(on_checkpoint: bool, compression: Option<Compression>) {
    for max_bytes in [1, 19, u64::MAX] {
        let make = || {
            let dir = TempDir::new().unwrap();
            let policy = RollingPolicy {
                max_bytes,
                on_checkpoint,
            };
            let sink = FileSink::lines(dir.path()).rolling(policy);
            let sink = match compression {
                None => sink,
                Some(compression) => sink.compressed(compression),
            };
            (sink, move || committed(dir.path()))
        };
        let contract = contract::sink(make, |n: u64| n).cases(12);
        match on_checkpoint {
            true => contract.check(),
            false => contract.lags().check(),
        }
    }
}

#[test]
fn files_that_are_closed_at_checkpoints_keep_the_contract() {
    files_keep_the_contract(true, None);
}

#[test]
fn files_that_stay_open_over_checkpoints_keep_the_contract() {
    files_keep_the_contract(false, None);
}

#[test]
fn packed_files_keep_the_contract_also_if_they_stay_open() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        files_keep_the_contract(true, Some(compression));
        files_keep_the_contract(false, Some(compression));
    }
}

#[test]
fn a_packed_part_that_stayed_open_over_checkpoints_and_a_crash_is_one_file_that_is_read_whole() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let dir = TempDir::new().unwrap();
        let mut job = job(open_parts(dir.path()).compressed(compression));
        for _ in 0..3 {
            job.write(1_000).unwrap();
            job.complete(false).unwrap();
            job.write(77).unwrap();
            job.crash().unwrap();
        }
        job.write(1).unwrap();
        job.complete(true).unwrap();
        job.commit().unwrap();
        let name = named("part-#-0-0.txt.", 1) + compression.extension();
        assert_eq!(names(dir.path()), [name]);
        assert_eq!(committed(dir.path()), (0..3_001).collect::<Vec<_>>());
        let len = fs::metadata(dir.path().join(&names(dir.path())[0]))
            .unwrap()
            .len();
        assert!(len < 8_000, "{len} bytes of 14 thousand");
    }
}

fn open_parts(dir: &Path) -> FileSink<u64> {
    FileSink::lines(dir).rolling(RollingPolicy {
        max_bytes: u64::MAX,
        on_checkpoint: false,
    })
}

#[test]
fn nothing_is_left_in_progress_after_a_clean_end() {
    let dir = TempDir::new().unwrap();
    let mut job = job(open_parts(dir.path()));
    job.write(2).unwrap();
    job.complete(false).unwrap();
    job.write(2).unwrap();
    let in_progress = |attempt| named(".part-#-0-0-", 1) + attempt + ".inprogress";
    assert_eq!(names(dir.path()), [in_progress("1")]);
    job.crash().unwrap();
    // The old part stays for another recovery from the same checkpoint.
    assert_eq!(names(dir.path()), ["1", "2"].map(in_progress));
    job.crash().unwrap();
    assert_eq!(names(dir.path()), ["1", "3"].map(in_progress));
    job.write(1).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    assert_eq!(names(dir.path()), [named("part-#-0-0.txt", 1)]);
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn a_resumed_part_holds_no_byte_that_was_written_after_the_checkpoint() {
    let dir = TempDir::new().unwrap();
    let mut job = job(open_parts(dir.path()));
    job.write(2).unwrap();
    job.complete(false).unwrap();
    job.write(3).unwrap();
    job.prepare(false).unwrap(); // on disk, but never completed
    job.restore(2).unwrap();
    job.haunt(); // the zombie still writes to its file
    job.write(1).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn a_job_under_an_id_that_was_used_before_numbers_on() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let mut job = job(FileSink::<u64>::lines(dir.path()));
        job.write(1).unwrap();
        job.complete(true).unwrap();
        job.commit().unwrap();
    }
    let names_of = |names: [&str; 2]| names.map(|name| named(name, 1));
    assert_eq!(
        names(dir.path()),
        names_of(["part-#-0-0.txt", "part-#-0-1.txt"])
    );
}

#[test]
fn jobs_in_one_directory_leave_each_others_files_alone_whatever_becomes_of_them() {
    let dir = TempDir::new().unwrap();
    let mut one = job(open_parts(dir.path()));
    one.write(2).unwrap();
    one.complete(false).unwrap();
    // Another job with an attempt that is higher than any of the first, and with nothing to go on from.
    let other = ParallelInstance {
        job: JobId(Uuid::from_u128(7)),
        ..instance(9)
    };
    let mut writer = one.sink.writer(other, None).unwrap();
    writer.write(vec![Event::at(0, 70)]).unwrap();
    one.crash().unwrap();
    one.write(1).unwrap();
    one.complete(true).unwrap();
    one.commit().unwrap();
    let parts = writer.prepare_commit(CheckpointId(1), true).unwrap();
    let committer = one.sink.committer().unwrap();
    committer.commit(&parts[0]).unwrap();
    let text = |job| fs::read_to_string(dir.path().join(named("part-#-0-0.txt", job))).unwrap();
    assert_eq!((text(1), text(7)), ("0\n1\n2\n".into(), "70\n".into()));
    assert_eq!(names(dir.path()).len(), 2);
}

#[test]
fn whoever_goes_on_from_another_jobs_checkpoint_copies_its_open_part_and_leaves_it_to_it() {
    let dir = TempDir::new().unwrap();
    let mut first = job(open_parts(dir.path()));
    first.write(2).unwrap();
    first.complete(false).unwrap();
    let checkpoint = first.completed.clone();
    let mut second = first;
    second.resubmit().unwrap();
    second.write(1).unwrap();
    second.complete(true).unwrap();
    second.commit().unwrap();
    let open = named(".part-#-0-0-1.inprogress", 1);
    assert_eq!(names(dir.path()), [open, named("part-#-0-0.txt", 2)]);
    // The first job goes on from there all the same.
    let mut first = job(open_parts(dir.path()));
    first.completed = checkpoint.clone();
    first.restore(2).unwrap();
    first.write(2).unwrap();
    first.complete(true).unwrap();
    first.commit().unwrap();
    let text = |job| fs::read_to_string(dir.path().join(named("part-#-0-0.txt", job))).unwrap();
    assert_eq!(text(1), "0\n1\n2\n3\n");
    assert_eq!(text(2), "0\n1\n2\n");
    // And whoever goes on from there later finds the beginning in what has been committed since.
    first.completed = checkpoint;
    first.unconfirmed.clear();
    first.resubmit().unwrap();
    first.complete(true).unwrap();
    first.commit().unwrap();
    assert_eq!(names(dir.path()).len(), 3);
}

#[test]
fn what_a_savepoint_names_outlives_its_jobs_restart_and_keeps_its_names() {
    let dir = TempDir::new().unwrap();
    let mut job = job(open_parts(dir.path()));
    job.write(2).unwrap();
    job.complete(false).unwrap();
    job.write(1).unwrap();
    let savepoint = job.savepoint().unwrap();
    let (open, prepared) = (
        named(".part-#-0-0-2.inprogress", 1),
        named(".part-#-0-0-1.prepared", 1),
    );
    assert_eq!(names(dir.path()), std::slice::from_ref(&prepared));
    // The job goes back behind it, takes the beginning from there, and goes on beside it.
    job.crash().unwrap();
    assert_eq!(
        names(dir.path()),
        [prepared, open.replace("-0-0-2", "-0-1-2")]
    );
    job.write(2).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    let text = |name: &str| fs::read_to_string(dir.path().join(named(name, 1))).unwrap();
    assert_eq!(text("part-#-0-1.txt"), "0\n1\n2\n3\n");
    job.go_on_from(&savepoint).unwrap();
    assert_eq!(text("part-#-0-0.txt"), "0\n1\n2\n");
    assert_eq!(names(dir.path()).len(), 2, "nothing is left");
}

#[test]
fn a_savepoint_in_the_midst_of_a_checkpoints_commits_takes_nothing_from_them() {
    let dir = TempDir::new().unwrap();
    let mut job = job(FileSink::<u64>::lines(dir.path()));
    job.write(1).unwrap();
    job.complete(false).unwrap();
    // Its completion hasn't come to the sink yet, and an attempt later finds the part under its other name.
    let savepoint = job.savepoint().unwrap();
    job.crash().unwrap();
    assert_eq!(committed(dir.path()), [0]);
    job.go_on_from(&savepoint).unwrap();
    job.commit().unwrap();
    assert_eq!(committed(dir.path()), [0]);
}

#[test]
fn a_job_can_go_back_behind_a_commit_and_duplicates_but_never_loses() {
    let dir = TempDir::new().unwrap();
    let mut job = job(open_parts(dir.path()));
    job.write(2).unwrap();
    job.complete(false).unwrap();
    let savepoint = job.completed.clone();
    job.write(1).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    job.completed = savepoint;
    job.unconfirmed.clear();
    job.crash().unwrap();
    job.write(2).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    assert_eq!(committed(dir.path()), [0, 1, 2, 0, 1, 2, 3]);
}

#[test]
fn a_commit_that_cannot_be_done_says_why() {
    let dir = TempDir::new().unwrap();
    let prepared = |number: u32| {
        let mut job = job(FileSink::<u64>::lines(dir.path()).prefix(format!("p{number}")));
        job.write(1).unwrap();
        job.complete(true).unwrap();
        let committable = job.unconfirmed.remove(0);
        let committer = job.sink.committer().unwrap();
        let result = move || committer.commit(&committable);
        (
            result,
            dir.path().join(named(&format!("p{number}-#-0-0.txt"), 1)),
            dir.path()
                .join(named(&format!(".p{number}-#-0-0-1.inprogress"), 1)),
        )
    };
    let (commit, _, tmp) = prepared(1);
    fs::remove_file(tmp).unwrap();
    let lost = message(commit());
    assert!(
        lost.starts_with("neither ") && lost.contains("must bring it back"),
        "{lost}"
    );

    let (commit, target, _) = prepared(2);
    fs::write(&target, "mine").unwrap();
    let taken = message(commit());
    assert!(
        taken.contains("exists already and isn't overwritten"),
        "{taken}"
    );
    assert_eq!(fs::read_to_string(target).unwrap(), "mine");

    let (commit, _, tmp) = prepared(3);
    fs::write(tmp, "").unwrap();
    let short = message(commit());
    assert!(
        short.contains("has 0 bytes but 2 were written and synced"),
        "{short}"
    );
}

#[test]
fn unusable_directories_and_names_are_one_line_with_the_mend() {
    let dir = TempDir::new().unwrap();
    let blocked = dir.path().join("file");
    fs::write(&blocked, "").unwrap();
    for (sink, part) in [
        (FileSink::<u64>::lines(&blocked), "cannot use the directory"),
        (
            FileSink::lines(blocked.join("below")),
            "check the space on the disk and that it may be written",
        ),
        (
            FileSink::lines(dir.path()).prefix("a/b"),
            "prefix \"a/b\" of the files in",
        ),
        (
            FileSink::lines(dir.path()).extension(""),
            "extension \"\" of the files in",
        ),
    ] {
        let refused = sink
            .check()
            .and_then(|()| sink.writer(instance(1), None).map(drop));
        let message = message(refused);
        assert!(
            message.contains(part) && !message.contains('\n'),
            "{message}"
        );
    }
}

#[test]
fn a_part_that_another_sink_has_open_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let mut job = job(FileSink::<u64>::lines(dir.path()));
    let same_job = ParallelInstance {
        job: JobId(Uuid::from_u128(1)),
        ..instance(1)
    };
    let mut other = job.sink.writer(same_job, None).unwrap();
    job.write(3).unwrap();
    let taken = message(other.write(vec![Event::at(0, 666_666)]));
    let name = named(".part-#-0-0-1.inprogress", 1);
    assert!(
        taken.contains(&format!("{name} exists already and isn't overwritten")),
        "{taken}"
    );
    job.complete(true).unwrap();
    job.commit().unwrap();
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn only_a_writer_without_an_open_part_can_be_let_go() {
    let dir = TempDir::new().unwrap();
    let mut job = job(open_parts(dir.path()));
    let closed = job.writer.snapshot().unwrap();
    job.sink.retire(closed).unwrap();
    job.write(1).unwrap();
    job.prepare(false).unwrap();
    let open = job.writer.snapshot().unwrap();
    let told = message(job.sink.retire(open));
    let path = dir.path().join(named(".part-#-0-0-1.inprogress", 1));
    assert_eq!(
        told,
        format!(
            "{} stays open over checkpoints and there are fewer writers than before: give the sink \
             its parallelism back, or close files at checkpoints (RollingPolicy::on_checkpoint) \
             before lowering it",
            path.display()
        )
    );
}

#[test]
fn sinks_have_the_same_target_if_their_files_would_have_the_same_names() {
    let target = |sink: FileSink<u64>| sink.target().unwrap();
    let lines = |dir: &str| FileSink::<u64>::lines(dir);
    assert_eq!(target(lines("out")), target(lines("./out/")));
    assert_eq!(target(lines("out")), target(lines("out").extension("log")));
    assert_ne!(target(lines("out")), target(lines("out").prefix("p")));
    assert_ne!(target(lines("out")), target(lines("out/below")));
    assert_eq!(CollectSink::<u64>::new().target(), None);
}

#[test]
fn a_part_that_cannot_be_written_is_one_line_with_the_mend() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<u64>::lines(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    fs::remove_dir_all(dir.path()).unwrap();
    let message = message(writer.write(vec![Event::at(0, 1)]));
    assert!(
        message.contains("-0-0-1.inprogress: check the space on the disk"),
        "{message}"
    );
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Trade {
    symbol: String,
    price: Option<f64>,
}

/// Writes two trades a run, in two runs, and shows the files.
fn trades(of: impl Fn(&Path) -> FileSink<Trade>) -> Vec<(String, String)> {
    let dir = TempDir::new().unwrap();
    let sink = of(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let trade = |symbol: &str, price| {
        Event::at(
            0,
            Trade {
                symbol: symbol.to_owned(),
                price,
            },
        )
    };
    writer
        .write(vec![trade("A,B", Some(1.5)), trade("C", None)])
        .unwrap();
    writer.write(vec![trade("D", Some(2.0))]).unwrap();
    for committable in writer.prepare_commit(CheckpointId(1), true).unwrap() {
        sink.committer().unwrap().commit(&committable).unwrap();
    }
    let names = names(dir.path());
    let read = |name: String| {
        (
            name.clone(),
            fs::read_to_string(dir.path().join(name)).unwrap(),
        )
    };
    names.into_iter().map(read).collect()
}

fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files
        .iter()
        .map(|&(name, text)| (named(name, 0), text.to_owned()))
        .collect()
}

#[test]
fn each_format_writes_its_lines_and_each_part_its_header() {
    assert_eq!(
        trades(|dir| FileSink::csv(dir)),
        files(&[("part-#-0-0.csv", "\"A,B\",1.5\nC,\nD,2.0\n")])
    );
    assert_eq!(
        trades(|dir| {
            let two_lines = RollingPolicy {
                max_bytes: 20,
                on_checkpoint: true,
            };
            FileSink::csv_with_header(dir)
                .prefix("t")
                .rolling(two_lines)
        }),
        files(&[
            ("t-#-0-0.csv", "symbol,price\n\"A,B\",1.5\n"),
            ("t-#-0-1.csv", "symbol,price\nC,\nD,2.0\n"),
        ])
    );
    assert_eq!(
        trades(|dir| FileSink::json_lines(dir).extension("json")),
        files(&[(
            "part-#-0-0.json",
            "{\"symbol\":\"A,B\",\"price\":1.5}\n{\"symbol\":\"C\",\"price\":null}\n{\"symbol\":\"D\",\"price\":2.0}\n"
        )])
    );
    assert_eq!(
        trades(|dir| FileSink::lines_with(dir, |trade: &Trade| trade.symbol.clone())),
        files(&[("part-#-0-0.txt", "A,B\nC\nD\n")])
    );
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Views {
    page: (String, u16),
    window: Minute,
    value: u64,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Minute {
    start: i64,
    end: i64,
}

#[test]
fn a_header_names_the_fields_of_nested_structs_too() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<Views>::csv_with_header(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let views = Views {
        page: ("/".to_owned(), 200),
        window: Minute { start: 0, end: 60 },
        value: 7,
    };
    writer.write(vec![Event::at(0, views)]).unwrap();
    writer.prepare_commit(CheckpointId(1), true).unwrap();
    let text = fs::read_to_string(dir.path().join(named(".part-#-0-0-1.inprogress", 0))).unwrap();
    assert_eq!(
        text,
        "page.0,page.1,window.start,window.end,value\n/,200,0,60,7\n"
    );
}

#[test]
fn a_record_whose_fields_have_no_names_gets_no_header_and_says_why() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<(String, u64)>::csv_with_header(dir.path());
    let mut writer = sink.writer(instance(1), None).unwrap();
    let message = message(writer.write(vec![Event::at(0, ("a".to_owned(), 1))]));
    assert_eq!(
        message,
        "cannot write the header of a CSV file for a record: its fields have no names: map records to \
         a struct, or use FileSink::csv(..), which writes no header"
    );
}

#[test]
fn a_long_run_is_written_whole_through_the_buffer() {
    let dir = TempDir::new().unwrap();
    let sink = FileSink::<u64>::lines(dir.path());
    let mut job = job(sink);
    job.write(200_000).unwrap();
    job.complete(true).unwrap();
    job.commit().unwrap();
    assert_eq!(committed(dir.path()), (0..200_000).collect::<Vec<_>>());
    assert_eq!(names(dir.path()), [named("part-#-0-0.txt", 1)]);
}

#[test]
fn collected_records_are_ordered_by_checkpoint_then_by_subtask() {
    let sink = CollectSink::<u64>::new();
    let committer = sink.committer().unwrap();
    let mut committables = Vec::new();
    for checkpoint in 1..3u64 {
        for index in 0..2u32 {
            let instance = ParallelInstance {
                index,
                parallelism: 2,
                ..instance(1)
            };
            let mut writer = sink.writer(instance, None).unwrap();
            let value = checkpoint * 10 + u64::from(index);
            writer.write(vec![Event::at(value as i64, value)]).unwrap();
            committables.extend(
                writer
                    .prepare_commit(CheckpointId(checkpoint), false)
                    .unwrap(),
            );
        }
    }
    for committable in committables.iter().rev() {
        committer.commit(committable).unwrap();
    }
    assert_eq!(sink.collected().values(), [10, 11, 20, 21]);
    assert_eq!(sink.collected().events()[3], Event::at(21, 21));
    assert_eq!(sink.collected().len(), 4);
}

#[test]
fn printing_writes_a_line_per_record_with_the_prefix() {
    let screen = Arc::new(Mutex::new(Vec::new()));
    let display = PrintSink::<String>::display()
        .prefix("> ")
        .to(Arc::clone(&screen));
    let debug = PrintSink::<String>::debug().to(Arc::clone(&screen));
    for sink in [display, debug] {
        assert!(sink.committer().is_none());
        let mut writer = sink.writer(instance(1), None).unwrap();
        writer
            .write(vec![
                Event::at(0, "a".to_owned()),
                Event::at(0, "b".to_owned()),
            ])
            .unwrap();
        writer.flush().unwrap();
    }
    let printed = String::from_utf8(screen.lock().unwrap().clone()).unwrap();
    assert_eq!(printed, "> a\n> b\n\"a\"\n\"b\"\n");
}

/// A screen that can't be written to.
struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_and_a_wrong_name_fail_the_job_and_a_full_disk_the_attempt() {
    let printed = |kind| {
        let sink = PrintSink::<u64>::display().to(Arc::new(Mutex::new(Broken(kind))));
        let mut writer = sink.writer(instance(1), None).unwrap();
        scope(writer.write(vec![Event::at(0, 1)]))
    };
    assert_eq!(printed(io::ErrorKind::BrokenPipe), FailureScope::Job);
    assert_eq!(printed(io::ErrorKind::StorageFull), FailureScope::Attempt);
    let dir = TempDir::new().unwrap();
    let misnamed = FileSink::<u64>::lines(dir.path()).prefix("a/b");
    assert_eq!(scope(misnamed.writer(instance(1), None)), FailureScope::Job);
}

fn scope<T>(result: Result<T, UserError>) -> FailureScope {
    Failure::user(&result.err().expect("an error")).scope
}

#[test]
fn discarding_counts_over_all_writers_and_shows_runs_to_the_probe() {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let sink = DiscardSink::<u64>::new().probe(move |run| seen.lock().unwrap().push(run.len()));
    for attempt in 1..3 {
        let mut writer = sink.clone().writer(instance(attempt), None).unwrap();
        writer
            .write(vec![Event::at(0, 1); attempt as usize])
            .unwrap();
    }
    assert_eq!(sink.count(), 3);
    assert_eq!(*runs.lock().unwrap(), [1, 2]);
}
