//! What every two-phase sink owes the engine, and what the sinks of this crate owe beyond it.

// clippy's test exemption doesn't reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rivus_connectors::{CollectSink, DiscardSink, FileSink, PrintSink, RollingPolicy};
use rivus_core::{
    CheckpointId, Committer, Event, Failure, FailureScope, ParallelInstance, Sink, SinkWriter,
    UserError, codec,
};
use tempfile::TempDir;

type Seen<'a> = &'a dyn Fn() -> Vec<u64>;

/// One subtask of a job that writes 0, 1, 2, ... to a sink: the engine's part of the two phases.
struct Job<S: Sink> {
    sink: S,
    committer: Arc<dyn Committer<S::Committable>>,
    writer: S::Writer,
    attempt: u32,
    checkpoint: u64,
    /// The next number to write.
    next: u64,
    /// Prepared for checkpoints that were aborted.
    joining: Vec<S::Committable>,
    /// The last completed checkpoint: the source's position, the state, and what is to be committed.
    completed: Option<(u64, Vec<u8>)>,
    unconfirmed: Vec<S::Committable>,
    zombies: Vec<S::Writer>,
}

/// What may happen to a job.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Write(u8),
    /// A checkpoint that is aborted.
    Abort,
    /// A checkpoint that completes; its commits are done, and done again if `twice`.
    Complete {
        twice: bool,
    },
    /// A checkpoint that completes; the job crashes after the first `done` commits.
    CompleteAndCrash {
        done: usize,
    },
    /// The attempt is lost after it prepared a checkpoint.
    PrepareAndCrash,
    Crash,
    /// The attempt is given up but goes on.
    Zombie,
    /// The job stops after a completed checkpoint and is started anew from there.
    Resubmit,
}

impl<S: Sink<In = u64>> Job<S> {
    fn start(sink: S) -> Self {
        let committer = sink.committer().unwrap();
        let writer = sink.writer(instance(1), None).unwrap();
        Self {
            sink,
            committer,
            writer,
            attempt: 1,
            checkpoint: 0,
            next: 0,
            joining: Vec::new(),
            completed: None,
            unconfirmed: Vec::new(),
            zombies: Vec::new(),
        }
    }

    fn write(&mut self, count: u64) {
        let run = (self.next..self.next + count).map(|n| Event::at(n as i64, n));
        self.writer.write(run.collect()).unwrap();
        self.next += count;
    }

    /// A barrier: what would be part of the checkpoint.
    fn prepare(&mut self, last: bool) -> Vec<u8> {
        self.checkpoint += 1;
        let checkpoint = CheckpointId(self.checkpoint);
        self.joining
            .extend(self.writer.prepare_commit(checkpoint, last).unwrap());
        codec::encode(&self.writer.snapshot().unwrap()).unwrap()
    }

    fn complete(&mut self, last: bool) {
        let state = self.prepare(last);
        self.completed = Some((self.next, state));
        let bytes = codec::encode(&self.joining).unwrap();
        self.unconfirmed = codec::decode(&bytes).unwrap();
        self.joining.clear();
    }

    fn commit(&mut self) {
        for committable in &self.unconfirmed {
            self.committer.commit(committable).unwrap();
        }
    }

    fn restore(&mut self, attempt: u32) {
        self.attempt = attempt;
        self.joining.clear();
        let state = self.completed.as_ref();
        self.next = state.map_or(0, |(next, _)| *next);
        let state = state.map(|(_, state)| codec::decode(state).unwrap());
        let writer = self.sink.writer(instance(attempt), state).unwrap();
        // Those of the checkpoint may be committed before or after the writer starts: here after.
        self.zombies
            .push(std::mem::replace(&mut self.writer, writer));
        self.commit();
    }

    fn crash(&mut self) {
        self.restore(self.attempt + 1);
        self.zombies.pop();
    }

    fn meet(&mut self, fate: Fate) {
        match fate {
            Fate::Write(count) => self.write(u64::from(count)),
            Fate::Abort => drop(self.prepare(false)),
            Fate::Complete { twice } => {
                self.complete(false);
                (0..1 + usize::from(twice)).for_each(|_| self.commit());
            }
            Fate::CompleteAndCrash { done } => {
                self.complete(false);
                for committable in self.unconfirmed.iter().take(done) {
                    self.committer.commit(committable).unwrap();
                }
                self.crash();
            }
            Fate::PrepareAndCrash => {
                self.prepare(false);
                self.crash();
            }
            Fate::Crash => self.crash(),
            Fate::Zombie => {
                self.write(1);
                self.restore(self.attempt + 1);
                self.haunt();
            }
            Fate::Resubmit if self.completed.is_some() => {
                self.restore(1);
                self.zombies.clear();
            }
            Fate::Resubmit => {}
        }
    }

    /// Zombies write and prepare; nobody commits what they prepare. Their names may be gone.
    fn haunt(&mut self) {
        for zombie in &mut self.zombies {
            let _ = zombie.write(vec![Event::at(0, 666_666)]);
            let _ = zombie.prepare_commit(CheckpointId(self.checkpoint + 1), false);
        }
    }
}

fn instance(attempt: u32) -> ParallelInstance {
    ParallelInstance {
        index: 0,
        parallelism: 1,
        attempt,
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => (0u8..9).prop_map(Fate::Write),
        1 => Just(Fate::Abort),
        3 => any::<bool>().prop_map(|twice| Fate::Complete { twice }),
        2 => (0usize..3).prop_map(|done| Fate::CompleteAndCrash { done }),
        1 => Just(Fate::PrepareAndCrash),
        1 => Just(Fate::Crash),
        1 => Just(Fate::Zombie),
        1 => Just(Fate::Resubmit),
    ];
    prop::collection::vec(fate, 0..30)
}

/// The contract: at every moment what is seen is what the completed checkpoints cover, or a beginning of
/// it where parts stay open; at the end all of it, each record once.
fn contract<S: Sink<In = u64>>(sink: S, fates: &[Fate], at_once: bool, seen: Seen<'_>) {
    let mut job = Job::start(sink);
    for &fate in fates {
        job.meet(fate);
        let seen = seen();
        let covered = job.completed.as_ref().map_or(0, |(next, _)| *next);
        if at_once {
            assert_eq!(seen.len() as u64, covered, "after {fate:?}");
        }
        assert!(seen.len() as u64 <= covered, "after {fate:?}");
        assert_eq!(
            seen,
            (0..seen.len() as u64).collect::<Vec<_>>(),
            "after {fate:?}"
        );
    }
    job.complete(true);
    job.commit();
    job.haunt();
    job.commit();
    assert_eq!(seen(), (0..job.next).collect::<Vec<_>>());
}

/// The numbers in the committed files of a directory, file by file in the order of their numbers.
fn committed(dir: &Path) -> Vec<u64> {
    let mut files: Vec<(u64, String)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let sequence = name.strip_prefix("part-0-")?.strip_suffix(".txt")?;
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(!text.is_empty() && text.ends_with('\n'), "{name}: {text:?}");
            Some((sequence.parse().unwrap(), text))
        })
        .collect();
    files.sort_unstable();
    let lines = files.iter().flat_map(|(_, text)| text.lines());
    lines.map(|line| line.parse().unwrap()).collect()
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn collecting_keeps_the_contract(fates in fates()) {
        let sink = CollectSink::new();
        let collected = sink.collected();
        contract(sink, &fates, true, &|| collected.values());
    }

    #[test]
    fn files_that_are_closed_at_checkpoints_keep_the_contract(
        fates in fates(),
        max_bytes in prop_oneof![1u64..20, Just(u64::MAX)],
    ) {
        let dir = TempDir::new().unwrap();
        let policy = RollingPolicy { max_bytes, on_checkpoint: true };
        let sink = FileSink::lines(dir.path()).rolling(policy);
        contract(sink, &fates, true, &|| committed(dir.path()));
    }

    #[test]
    fn files_that_stay_open_over_checkpoints_keep_the_contract(
        fates in fates(),
        max_bytes in prop_oneof![1u64..60, Just(u64::MAX)],
    ) {
        let dir = TempDir::new().unwrap();
        let policy = RollingPolicy { max_bytes, on_checkpoint: false };
        let sink = FileSink::lines(dir.path()).rolling(policy);
        contract(sink, &fates, false, &|| committed(dir.path()));
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
    let mut job = Job::start(open_parts(dir.path()));
    job.write(2);
    job.complete(false);
    job.write(2);
    assert_eq!(names(dir.path()), [".part-0-0-1.inprogress"]);
    job.crash();
    // The old part stays for another recovery from the same checkpoint.
    assert_eq!(
        names(dir.path()),
        [".part-0-0-1.inprogress", ".part-0-0-3.inprogress"]
    );
    job.crash();
    assert_eq!(
        names(dir.path()),
        [".part-0-0-1.inprogress", ".part-0-0-4.inprogress"]
    );
    job.write(1);
    job.complete(true);
    job.commit();
    assert_eq!(names(dir.path()), ["part-0-0.txt"]);
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn a_resumed_part_holds_no_byte_that_was_written_after_the_checkpoint() {
    let dir = TempDir::new().unwrap();
    let mut job = Job::start(open_parts(dir.path()));
    job.write(2);
    job.complete(false);
    job.write(3);
    job.prepare(false); // on disk, but never completed
    job.restore(2);
    job.haunt(); // the zombie still writes to its file
    job.write(1);
    job.complete(true);
    job.commit();
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn a_new_job_in_the_same_directory_numbers_on() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let mut job = Job::start(FileSink::<u64>::lines(dir.path()));
        job.write(1);
        job.complete(true);
        job.commit();
    }
    assert_eq!(names(dir.path()), ["part-0-0.txt", "part-0-1.txt"]);
}

#[test]
fn a_job_can_go_back_behind_a_commit_and_duplicates_but_never_loses() {
    let dir = TempDir::new().unwrap();
    let mut job = Job::start(open_parts(dir.path()));
    job.write(2);
    job.complete(false);
    let savepoint = job.completed.clone();
    job.write(1);
    job.complete(true);
    job.commit();
    job.completed = savepoint;
    job.unconfirmed.clear();
    job.crash();
    job.write(2);
    job.complete(true);
    job.commit();
    assert_eq!(committed(dir.path()), [0, 1, 2, 0, 1, 2, 3]);
}

#[test]
fn a_commit_that_cannot_be_done_says_why() {
    let dir = TempDir::new().unwrap();
    let prepared = |number: u32| {
        let mut job = Job::start(FileSink::<u64>::lines(dir.path()).prefix(format!("p{number}")));
        job.write(1);
        job.complete(true);
        let committable = job.unconfirmed.remove(0);
        let result = move || job.committer.commit(&committable);
        (
            result,
            dir.path().join(format!("p{number}-0-0.txt")),
            dir.path().join(format!(".p{number}-0-0-1.inprogress")),
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
            "check that it may be written",
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
    let mut job = Job::start(FileSink::<u64>::lines(dir.path()));
    let mut other = job.sink.writer(instance(1), None).unwrap();
    job.write(3);
    let taken = message(other.write(vec![Event::at(0, 666_666)]));
    assert!(
        taken.contains(".part-0-0-1.inprogress exists already and isn't overwritten"),
        "{taken}"
    );
    job.complete(true);
    job.commit();
    assert_eq!(committed(dir.path()), [0, 1, 2]);
}

#[test]
fn only_a_writer_without_an_open_part_can_be_let_go() {
    let dir = TempDir::new().unwrap();
    let mut job = Job::start(open_parts(dir.path()));
    let closed = job.writer.snapshot().unwrap();
    job.sink.retire(closed).unwrap();
    job.write(1);
    job.prepare(false);
    let open = job.writer.snapshot().unwrap();
    let told = message(job.sink.retire(open));
    let path = dir.path().join(".part-0-0-1.inprogress");
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
        message.contains(".part-0-0-1.inprogress: check the space on the disk"),
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
        .map(|&(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn each_format_writes_its_lines_and_each_part_its_header() {
    assert_eq!(
        trades(|dir| FileSink::csv(dir)),
        files(&[("part-0-0.csv", "\"A,B\",1.5\nC,\nD,2.0\n")])
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
            ("t-0-0.csv", "symbol,price\n\"A,B\",1.5\n"),
            ("t-0-1.csv", "symbol,price\nC,\nD,2.0\n"),
        ])
    );
    assert_eq!(
        trades(|dir| FileSink::json_lines(dir).extension("json")),
        files(&[(
            "part-0-0.json",
            "{\"symbol\":\"A,B\",\"price\":1.5}\n{\"symbol\":\"C\",\"price\":null}\n{\"symbol\":\"D\",\"price\":2.0}\n"
        )])
    );
    assert_eq!(
        trades(|dir| FileSink::lines_with(dir, |trade: &Trade| trade.symbol.clone())),
        files(&[("part-0-0.txt", "A,B\nC\nD\n")])
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
    let text = fs::read_to_string(dir.path().join(".part-0-0-1.inprogress")).unwrap();
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
    let mut job = Job::start(sink);
    job.write(200_000);
    job.complete(true);
    job.commit();
    assert_eq!(committed(dir.path()), (0..200_000).collect::<Vec<_>>());
    assert_eq!(names(dir.path()), ["part-0-0.txt"]);
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
                attempt: 1,
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
