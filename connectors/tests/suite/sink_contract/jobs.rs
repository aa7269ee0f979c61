//! Jobs that write to one directory: beside each other, one after the other, or one from where another stood.

use std::fs;

use rivus_connectors::{CollectSink, FileSink};
use rivus_core::{CheckpointId, Event, JobId, ParallelInstance, Sink, SinkWriter};
use tempfile::TempDir;
use uuid::Uuid;

use super::{committed, instance, job, named, names, open_parts};

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
fn sinks_have_the_same_target_if_their_files_would_have_the_same_names() {
    let target = |sink: FileSink<u64>| sink.target().unwrap();
    let lines = |dir: &str| FileSink::<u64>::lines(dir);
    assert_eq!(target(lines("out")), target(lines("./out/")));
    assert_eq!(target(lines("out")), target(lines("out").extension("log")));
    assert_ne!(target(lines("out")), target(lines("out").prefix("p")));
    assert_ne!(target(lines("out")), target(lines("out/below")));
    assert_eq!(CollectSink::<u64>::new().target(), None);
}
