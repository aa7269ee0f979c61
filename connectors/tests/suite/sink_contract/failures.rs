//! What can't be written or committed, in one line.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use rivus_connectors::{FileSink, PrintSink};
use rivus_core::{Event, Failure, FailureScope, Sink, SinkWriter, UserError};
use tempfile::TempDir;

use super::{instance, job, message, named};

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
