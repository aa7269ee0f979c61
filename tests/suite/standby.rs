//! Processes that share a directory: one leads, the others stand by.

use std::path::Path;
use std::time::Duration;

use rivus::{Coordination, EnvironmentBuilder, JobHandle, RuntimeMode, Storage, StreamEnvironment};

use crate::resume::{assert_each_record_is_written_once, life_in};
use crate::waits::checkpoints;

fn process(dir: &Path) -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(20))
        .storage(Storage::Directory(dir.join("state")))
        .coordination(Coordination::Directory(dir.join("leaders")))
}

async fn more_checkpoints(job: &mut JobHandle, more: u64) {
    let before = job.view().checkpoints;
    checkpoints(job, before + more).await;
}

#[tokio::test]
async fn a_process_stands_by_while_another_leads_and_goes_on_with_its_job_when_that_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut first = life_in(process(dir.path()), dir.path(), 10).await;
    more_checkpoints(&mut first, 2).await;
    let mut second = life_in(process(dir.path()), dir.path(), 10).await;
    more_checkpoints(&mut first, 5).await;
    // It has no say as long as the first is there, and doesn't disturb it.
    assert_eq!(second.view().checkpoints, 0);
    assert_eq!((first.view().restarts, first.view().takeovers), (0, 0));
    drop(first);
    more_checkpoints(&mut second, 1).await;
    second.wait().await.expect("completes");
    assert_each_record_is_written_once(dir.path(), 10);
}

#[tokio::test]
async fn coordination_that_can_not_be_is_refused_with_the_mend() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let in_a_file = Coordination::Directory(file.path().to_owned());
    let simulated = StreamEnvironment::builder().runtime(RuntimeMode::Current);
    for (builder, says) in [
        (
            StreamEnvironment::builder().coordination(in_a_file.clone()),
            "writable",
        ),
        (
            simulated.coordination(in_a_file),
            "use Coordination::InProcess",
        ),
    ] {
        let env = builder.build();
        env.from_collection(vec![1]).print();
        let error = env.execute("refused").await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
        assert!(
            error.contains(file.path().to_str().expect("is text")),
            "{error}"
        );
    }
}
