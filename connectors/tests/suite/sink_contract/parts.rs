//! What becomes of a part while it is open.

use std::fs;

use rivus_connectors::{Compression, FileSink};
use rivus_core::{Event, JobId, ParallelInstance, Sink, SinkWriter};
use tempfile::TempDir;
use uuid::Uuid;

use super::{committed, instance, job, message, named, names, open_parts};

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
