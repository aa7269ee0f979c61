//! The leader dies and the job doesn't notice.

use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{JobStatus, RuntimeMode, StreamEnvironment};

/// A job of a few virtual seconds: counts by key, with a checkpoint every 100 ms.
fn environment() -> StreamEnvironment {
    StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .runtime(RuntimeMode::Current)
        .starts_at(1_700_000_000_000)
        .seed(7)
        .build()
}

const RECORDS: u64 = 10_000;

fn write(env: &StreamEnvironment) -> rivus::connectors::Collected<(u64, u64)> {
    let numbers = GeneratorSource::new(|index, _| index)
        .count(RECORDS)
        .rate(2_000);
    env.from_source(numbers)
        .key_by(|n| n % 10)
        .count()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_leaders_death_restarts_nothing_and_replays_nothing() {
    let env = environment();
    let out = write(&env);
    let job = env.start("numbers").await.expect("starts");
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(job.status(), JobStatus::Running);
        job.kill_leader();
    }
    let view = job.wait().await.expect("completes").view;
    assert_eq!(out.len() as u64, RECORDS);
    assert_eq!((view.takeovers, view.restarts), (4, 0));
    assert_eq!(view.restarted_by_takeover, 0);
    assert!(view.checkpoints > 10, "{}", view.checkpoints);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_was_asked_for_survives_the_leader() {
    let env = environment();
    write(&env);
    let job = env.start("numbers").await.expect("starts");
    tokio::time::sleep(Duration::from_millis(500)).await;
    job.cancel();
    job.kill_leader();
    let error = job.wait().await.expect_err("is canceled");
    assert!(matches!(error, rivus::JobError::Canceled), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_user_code_restarts_the_region_and_names_the_operator() {
    let env = environment();
    let failed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let numbers = GeneratorSource::new(|index, _| index)
        .count(RECORDS)
        .rate(2_000);
    let out = env
        .from_source(numbers)
        .map(move |n| {
            if n == 5_000 && !failed.swap(true, std::sync::atomic::Ordering::Relaxed) {
                panic!("five thousand");
            }
            n
        })
        .uid("checked")
        .key_by(|n| n % 10)
        .count()
        .collect();
    let view = env.execute("numbers").await.expect("completes").view;
    assert_eq!(out.len() as u64, RECORDS);
    assert_eq!(view.restarts, 1);
    let failure = view.last_failure.expect("is known");
    assert!(
        failure.contains("operator checked: panicked: five thousand"),
        "{failure}"
    );
}
