//! Jobs that come and go leave nothing behind: no actor, no slot, no descriptor, no connection, no file.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{ActorCell, ActorStatus};
use rivus::connectors::GeneratorSource;
use rivus::engine::{ActorKind, Probe};
use rivus::{JobError, RuntimeMode, StreamEnvironment};

use crate::processes::rivus;
use crate::waits::checkpoints;

/// All actors that there ever were.
#[derive(Default)]
struct Actors(Mutex<Vec<ActorCell>>);

impl Probe for Actors {
    fn spawned(&self, _kind: ActorKind, _label: &dyn Display, actor: ActorCell) {
        self.0.lock().expect("whole").push(actor);
    }
}

impl Actors {
    /// Those that live, and how many there have been.
    fn count(&self) -> (usize, usize) {
        let all = self.0.lock().expect("whole");
        let lives = |actor: &&ActorCell| actor.get_status() != ActorStatus::Stopped;
        (all.iter().filter(lives).count(), all.len())
    }
}

#[tokio::test(start_paused = true)]
async fn a_canceled_job_leaves_no_actor_and_no_slot() {
    let actors = Arc::new(Actors::default());
    let env = StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .seed(7)
        .parallelism(2)
        .slots(2)
        .checkpoint_interval(Duration::from_millis(100))
        .probe(Arc::clone(&actors) as _)
        .build();
    let mut left = Vec::new();
    for _ in 0..20 {
        let numbers = GeneratorSource::new(|n, _| n).rate(1_000);
        env.from_source(numbers)
            .key_by(|n| n % 10)
            .count()
            .collect();
        let mut job = env.start("numbers").await.expect("starts");
        // It needs both slots.
        checkpoints(&mut job, 2).await;
        job.cancel();
        let ended = job.wait().await;
        assert!(matches!(ended, Err(JobError::Canceled)), "{ended:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        left.push(actors.count());
    }
    let (lives, began) = left[0];
    let per_job = left[1].1 - began;
    let expected = (0..left.len()).map(|job| (lives, began + job * per_job));
    assert_eq!(left, expected.collect::<Vec<_>>());
}

#[test]
fn jobs_in_other_processes_leave_no_descriptor_no_connection_and_no_file() {
    // A thousand jobs. The bar of memory is the benchmark's, on a machine that does nothing else: here twice that.
    let cycles = ["bench", "cycles", "--memory-bar", "10"];
    let output = rivus().args(cycles).output().expect("runs");
    assert!(output.status.success(), "{output:?}");
}
