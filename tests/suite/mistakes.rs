//! What a program gets wrong ends in one line that names it, with the default settings.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus::connectors::{
    BadLines, DiscardSink, FileSink, GeneratorSource, PrintSink, TextFileSource,
};
use rivus::{
    Committer, EnvironmentBuilder, Failure, FailureScope, JobError, JobId, JobOptions, JobOutcome,
    JobStatus, JobView, NodeConfig, ParallelInstance, RestartStrategy, RuntimeMode, Sink, Storage,
    StreamEnvironment, UserError,
};
use tempfile::TempDir;

/// A simulation: its restarts wait in virtual time.
fn builder() -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(1)
}

/// A file of these lines.
fn file(lines: &str) -> (TempDir, TextFileSource) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("n.txt");
    std::fs::write(&path, lines).unwrap();
    (dir, TextFileSource::new(path))
}

async fn failure(env: &StreamEnvironment) -> Failure {
    match env.execute("mistaken").await {
        Err(JobError::Failed(failure)) => failure,
        other => panic!("expected a failure, not {other:?}"),
    }
}

async fn refused(env: &StreamEnvironment) -> String {
    let error = env.start("mistaken").await.err().unwrap().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[tokio::test(start_paused = true)]
async fn a_bad_line_ends_the_job_at_once_and_is_named() {
    let (_dir, lines) = file("1\nx\n");
    let env = builder().build();
    let numbers = env.from_source(lines.parsed_by(str::parse::<u32>));
    let _out = numbers.uid("numbers").collect();
    let failure = failure(&env).await;
    assert_eq!(failure.scope, FailureScope::Job);
    let line = failure.to_string();
    assert!(line.starts_with("operator numbers: "), "{line}");
    assert!(line.contains("n.txt:2: cannot parse \"x\""), "{line}");
    assert!(!line.contains("poison"), "it was tried again: {line}");
    assert!(line.ends_with("n.txt:2)"), "{line}");
}

/// A screen that can't be written.
struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_pipe_ends_the_job_at_once_and_is_told_from_a_full_disk() {
    for (kind, is_closed) in [
        (io::ErrorKind::BrokenPipe, true),
        (io::ErrorKind::StorageFull, false),
    ] {
        let builder = builder();
        let builder = match is_closed {
            true => builder,
            // It would be tried again.
            false => builder.restart(RestartStrategy::None),
        };
        let env = builder.build();
        let screen = Arc::new(Mutex::new(Broken(kind)));
        env.from_collection(vec![1, 2])
            .sink_to(PrintSink::display().to(screen));
        let failed = env.execute("refused").await.unwrap_err();
        let line = failed.to_string();
        assert!(line.contains("is whoever reads it still there?"), "{line}");
        assert_eq!(failed.is_closed_output(), is_closed, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_every_attempt_ends_the_job_and_is_named_as_poison() {
    for keyed in [false, true] {
        let env = builder().parallelism(2).build();
        let numbers = env.from_collection((1..100_u32).collect());
        let checked = |n: u32| {
            assert!(n != 77, "seventy-seven");
            n
        };
        let _out = if keyed {
            let counts = numbers.key_by(|n| n % 3).reduce(|last, n| *last = n);
            counts
                .map(move |(_, n)| checked(n))
                .uid("checked")
                .collect()
        } else {
            numbers.map(checked).uid("checked").collect()
        };
        let line = failure(&env).await.to_string();
        assert!(
            line.starts_with("operator checked: panicked: seventy-seven; poison"),
            "{line}"
        );
        let record = line.contains("(record 77)") || line.contains("(record (2, 77))");
        assert_eq!(record, cfg!(debug_assertions), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_says_itself_what_no_restart_mends() {
    let env = builder().build();
    let numbers = env.from_collection(vec!["1".to_owned(), "x".to_owned()]);
    let parse = |text: String| text.parse::<u32>().map_err(Failure::permanent);
    let job = numbers.try_map(parse, rivus::OnError::Fail).uid("parse");
    let _out = job.collect();
    let failure = failure(&env).await;
    assert!(
        failure.message.ends_with("invalid digit found in string"),
        "{failure}"
    );
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_skipped_are_counted_in_the_view() {
    let (_dir, lines) = file("1\nx\n3\ny\n");
    let env = builder().build();
    let numbers = lines.parsed_by(str::parse::<u32>).bad_lines(BadLines::Skip);
    let out = env.from_source(numbers).collect();
    let view = env.execute("numbers").await.unwrap().view;
    assert_eq!(out.values(), [1, 3]);
    let skipped = view.subtasks.iter().map(|task| task.figures.skipped);
    assert_eq!(skipped.sum::<u64>(), 2);
}

/// A job of so many subtasks in its widest operator, `wide`.
fn wide(env: &StreamEnvironment, parallelism: u32) -> rivus::connectors::Collected<u32> {
    let numbers = env.from_collection(vec![1_u32, 2, 3]);
    numbers
        .map(|n| n)
        .parallelism(parallelism)
        .uid("wide")
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_job_gets_the_slots_it_needs_and_a_wider_one_is_refused() {
    let env = builder().build();
    let out = wide(&env, 3);
    env.execute("wide").await.unwrap();
    assert_eq!(out.len(), 3);
    wide(&env, 4);
    let expected = "operator wide: parallelism 4 needs as many slots, and the environment has 3: \
                    build it with .slots(4), or start the service with --slots 4";
    assert_eq!(refused(&env).await, expected);

    let env = builder().task_managers(2).slots(1).build();
    wide(&env, 3);
    let expected = "operator wide: parallelism 3 needs as many slots, and the environment has 2: \
                    build it with .slots(2), or start the service with --slots 2";
    assert_eq!(refused(&env).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_behind_another_says_so_and_runs_when_that_has_ended() {
    let env = builder().build();
    let numbers = GeneratorSource::new(|index, _| index).rate(1_000);
    let _unbounded = env.from_source(numbers).collect();
    let mut first = env.start("first").await.unwrap();
    let running = |view: &JobView| view.status == JobStatus::Running;
    first.wait_until(running).await.unwrap();
    let out = wide(&env, 2);
    let mut second = env.start("second").await.unwrap();
    let waiting = JobStatus::WaitingForSlots {
        needed: 2,
        available: 1,
        backend: None,
    };
    second
        .wait_until(|view| view.status == waiting)
        .await
        .unwrap();
    first.cancel();
    second.wait().await.unwrap();
    assert_eq!(out.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_cannot_work_is_refused_by_its_name() {
    let options = JobOptions {
        batch_records: 0,
        ..JobOptions::default()
    };
    let steep = RestartStrategy::ExponentialDelay {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(2),
        factor: -1.0,
        jitter: 0.0,
        reset_after: Duration::ZERO,
    };
    let dir = TempDir::new().unwrap();
    let table = [
        (builder().options(options), "batch_records"),
        (builder().restart(steep), "factor"),
        (
            builder().checkpoint_interval(Duration::ZERO),
            "checkpoint_interval",
        ),
        (builder().task_managers(0), "task_managers"),
        (builder().job_managers(0), "job_managers"),
        (
            builder().storage(Storage::Directory(dir.path().into())),
            "RuntimeMode::Current",
        ),
    ];
    for (builder, named) in table {
        let env = builder.build();
        wide(&env, 1);
        let error = refused(&env).await;
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sources_setting_that_cannot_work_is_refused_before_there_is_a_job() {
    let table = [
        (TextFileSource::new("x").split_bytes(0), "split_bytes is 0"),
        (TextFileSource::glob("a["), "a[ is not a glob"),
    ];
    for (source, named) in table {
        let env = builder().build();
        env.from_source(source).collect();
        let error = refused(&env).await;
        assert!(
            error.starts_with("operator \"source\": ") && error.contains(named),
            "{error}"
        );
    }
    let env = builder().build();
    env.from_source(GeneratorSource::new(|n, _| n).rate(0))
        .collect();
    let error = refused(&env).await;
    assert!(error.contains("rate is 0"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_file_is_missing_leaves_its_id_to_one_that_finds_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("n.txt");
    let env = builder().build();
    let id = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap());
    let lines = || {
        env.from_source(TextFileSource::new(&path))
            .uid("lines")
            .collect()
    };
    lines();
    let missing = env.resume("lines", id).await.unwrap().wait().await;
    let error = missing.unwrap_err().to_string();
    assert!(error.contains("operator lines: no file"), "{error}");
    std::fs::write(&path, "one\n").unwrap();
    let out = lines();
    env.resume("lines", id).await.unwrap().wait().await.unwrap();
    assert_eq!(out.values(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_when_it_is_to_be_read_ends_the_job_at_once_and_is_named() {
    let dir = TempDir::new().unwrap();
    let [first, second] = ["a", "b"].map(|name| dir.path().join(name));
    std::fs::write(&first, "line\n".repeat(200_000)).unwrap();
    std::fs::write(&second, "line\n").unwrap();
    let env = builder().build();
    let gone = second.clone();
    env.from_source(TextFileSource::paths([first, second.clone()]))
        .uid("lines")
        .map(move |line| {
            let _ = std::fs::remove_file(&gone);
            line
        })
        .sink_to(DiscardSink::new());
    let failure = failure(&env).await;
    assert_eq!(failure.scope, FailureScope::Job);
    let says = format!(
        "cannot open {}: check that it exists on this machine and may be read",
        second.display()
    );
    assert!(failure.message.starts_with(&says), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_files_cannot_be_written_is_refused_once_and_not_tried_again() {
    let dir = TempDir::new().unwrap();
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "a file").unwrap();
    let env = builder().build();
    let numbers = env.from_collection(vec![1]);
    numbers.sink_to(FileSink::csv(taken.join("out"))).uid("out");
    let job = env.start("numbers").await.unwrap();
    let error = job.clone().wait().await.unwrap_err().to_string();
    let named = format!("operator out: cannot use the directory {}", taken.display());
    assert!(error.contains(&named), "{error}");
    assert_eq!(job.view().restarts, 0);
    // What was tried leaves nothing, in a directory that is made for it.
    let out = dir.path().join("new/out");
    env.from_collection(vec![1]).sink_to(FileSink::csv(&out));
    let job = env.execute("numbers").await.unwrap().view.job;
    let left = std::fs::read_dir(&out).unwrap();
    let left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, [format!("part-{}-0-0.csv", job.short()).as_str()]);
}

#[tokio::test]
async fn a_storage_that_can_be_no_directory_is_refused_with_the_mend() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("state"), "/dev/null".into()] {
        let storage = Storage::Directory(path.clone());
        let env = StreamEnvironment::builder().storage(storage).build();
        env.from_collection(vec![1]).print();
        let refused = refused(&env).await;
        let named = format!(
            "cannot use {} as storage: it is a file, or lies in one: give a directory",
            path.display()
        );
        assert!(refused.starts_with(&named), "{refused}");
    }
}

/// A disk that has room again after so many tries.
struct FullFor {
    tries: AtomicU32,
    full: u32,
}

impl FullFor {
    fn tries(full: u32) -> Self {
        let tries = AtomicU32::new(0);
        Self { tries, full }
    }
}

impl Sink for FullFor {
    type In = u32;
    type State = ();
    type Committable = ();
    type Writer = <DiscardSink<u32> as Sink>::Writer;

    fn writer(&self, at: ParallelInstance, state: Option<()>) -> Result<Self::Writer, UserError> {
        DiscardSink::new().writer(at, state)
    }

    fn prepare(&self) -> Result<(), UserError> {
        match self.tries.fetch_add(1, Ordering::Relaxed) < self.full {
            true => Err(Failure::attempt("the disk is full: make room").into()),
            false => Ok(()),
        }
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_when_a_job_is_submitted_is_waited_for_and_told_as_such() {
    let env = builder().build();
    let numbers = || env.from_collection(vec![1_u32]);
    numbers().sink_to(FullFor::tries(3)).uid("out");
    env.execute("soon").await.unwrap();
    numbers().sink_to(FullFor::tries(u32::MAX)).uid("out");
    let started = tokio::time::Instant::now();
    let full = failure(&env).await.message;
    assert_eq!(full, "operator out: the disk is full: make room");
    assert_eq!(started.elapsed().as_secs(), 5);
}

/// A target that is away for ever.
struct Away;

impl Sink for Away {
    type In = u32;
    type State = ();
    type Committable = ();
    type Writer = <DiscardSink<u32> as Sink>::Writer;

    fn writer(&self, _: ParallelInstance, _: Option<()>) -> Result<Self::Writer, UserError> {
        Err("nobody answers".into())
    }

    fn committer(&self) -> Option<Arc<dyn Committer<()>>> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_gets_to_run_tells_whoever_wants_to_stop_it_what_keeps_it() {
    let env = builder().build();
    env.from_collection(vec![1_u32]).sink_to(Away).uid("out");
    let job = env.start("numbers").await.unwrap();
    let told = job.stop_with_savepoint().await.unwrap_err().to_string();
    let says = "the savepoint failed: the job doesn't get to run, it has failed 3 times in a row; the last time: ";
    assert!(told.starts_with(says), "{told}");
    assert!(told.contains("nobody answers"), "{told}");
    assert!(
        told.ends_with("mend that and ask again, or cancel the job"),
        "{told}"
    );
    job.cancel();
    assert!(matches!(job.wait().await, Err(JobError::Canceled)));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_over_says_so_to_whoever_resumes_it() {
    let id = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap());
    let env = builder().build();
    for life in [1, 2] {
        env.from_collection(vec![1]).collect();
        let job = env.resume("numbers", id).await.unwrap();
        let is_over = job.status() == JobStatus::Ended(JobOutcome::Completed);
        assert_eq!(is_over, life == 2, "{:?}", job.status());
        job.wait().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_simulation_is_refused_on_a_runtime_of_several_threads() {
    let env = builder().build();
    wide(&env, 1);
    let error = refused(&env).await;
    assert!(
        error.starts_with("RuntimeMode::Current on a runtime of several threads"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_set_by_itself_holds_whatever_is_set_after_it() {
    // No checkpoint but the last, and two slots of one TaskManager each.
    let env = builder()
        .without_checkpoints()
        .task_managers(2)
        .slots(1)
        .options(JobOptions {
            checkpoint_interval: Some(Duration::from_millis(10)),
            ..JobOptions::default()
        })
        .node(NodeConfig::default())
        .build();
    let numbers = GeneratorSource::new(|index, _| index);
    let numbers = env.from_source(numbers.count(1_000).rate(1_000));
    let _out = numbers.map(|n| n).parallelism(2).collect();
    let view = env.execute("numbers").await.unwrap().view;
    assert_eq!(view.checkpoints, 1);
}
