//! Requests of a running job: their order, their errors, and what a failure does to those under way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    AsyncRequests, EnvironmentBuilder, OnError, Rejected, Retry, RuntimeMode, SideOutputTag,
    StreamEnvironment, WatermarkStrategy, WindowAssigner,
};

use crate::backends::{Backend, backends};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn builder() -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .checkpoint_interval(MS(20))
        .seed(1)
}

fn environment() -> StreamEnvironment {
    builder().build()
}

/// Answers after so many milliseconds.
async fn slowly(ms: u64) -> Result<u64, String> {
    tokio::time::sleep(MS(ms)).await;
    Ok(ms)
}

async fn answers(requests: AsyncRequests<u64>) -> Vec<u64> {
    let env = environment();
    let waits = env.from_collection(vec![30, 10, 50, 20]);
    let answers = waits.async_map(slowly, requests).collect();
    env.execute("answers").await.expect("ends");
    answers.values()
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_the_records_or_as_they_are_there() {
    let second = MS(1_000);
    let table = [
        (AsyncRequests::ordered(second), [30, 10, 50, 20]),
        (AsyncRequests::unordered(second), [10, 20, 30, 50]),
        // 10 makes room for 50 at once, 30 for 20.
        (
            AsyncRequests::unordered(second).capacity(2),
            [10, 30, 20, 50],
        ),
        (
            AsyncRequests::unordered(second).capacity(1),
            [30, 10, 50, 20],
        ),
    ];
    for (requests, expected) in table {
        assert_eq!(answers(requests.clone()).await, expected, "{requests:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn capacity_bounds_what_is_under_way() {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        move |n: u64| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(MS(5 + n % 7)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, String>(n)
            }
        }
    };
    let env = environment();
    let numbers = env.from_collection((0..200).collect::<Vec<u64>>());
    let requests = AsyncRequests::ordered(MS(1_000)).capacity(9);
    let answers = numbers.async_map(counted, requests).collect();
    env.execute("bounded").await.expect("ends");
    assert_eq!(answers.values(), (0..200).collect::<Vec<u64>>());
    assert_eq!(most.load(Ordering::Relaxed), 9);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_made_again_and_what_is_late_or_refused_goes_to_the_side() {
    let tries: Arc<Mutex<BTreeMap<u64, u32>>> = Arc::default();
    let flaky = {
        let tries = Arc::clone(&tries);
        move |n: u64| {
            let tries = Arc::clone(&tries);
            async move {
                let tried = {
                    let mut tries = tries.lock().expect("nobody panics");
                    let tried = tries.entry(n).or_default();
                    *tried += 1;
                    *tried
                };
                match n {
                    0 => std::future::pending().await,
                    n if u64::from(tried) < n => Err(format!("try {tried} of {n}")),
                    n => Ok(n),
                }
            }
        }
    };
    let env = environment();
    let tag = SideOutputTag::<Rejected<u64>>::new("refused");
    let requests = AsyncRequests::ordered(MS(1_000))
        .retry(Retry::backoff(2, MS(100), MS(150)))
        .on_error(OnError::SideOutput(tag.clone()));
    let asked = env
        .from_collection(vec![0, 1, 3, 9])
        .async_map(flaky, requests);
    let (answered, refused) = (asked.collect(), asked.side_output(&tag).collect());
    env.execute("flaky").await.expect("ends");
    assert_eq!(answered.values(), [1, 3]);
    let refused = refused.values().into_iter().map(|r| (r.record, r.error));
    let late = "no answer within 1s: give it a longer timeout";
    let expected = [(0, late.to_owned()), (9, "try 3 of 9".to_owned())];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
    let tries = tries.lock().expect("nobody panics").clone();
    assert_eq!(tries, BTreeMap::from([(0, 1), (1, 1), (3, 3), (9, 3)]));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_panics_fails_the_attempt_even_if_errors_are_skipped() {
    let env = StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .restart(rivus::RestartStrategy::FixedDelay {
            attempts: 0,
            delay: Duration::ZERO,
        })
        .build();
    let requests = AsyncRequests::ordered(MS(1_000)).on_error(OnError::Skip);
    let boom = |n: u64| async move {
        assert!(n < 2, "boom");
        Ok::<_, String>(n)
    };
    env.from_collection(vec![1, 2])
        .async_map(boom, requests)
        .print();
    let error = env.execute("boom").await.expect_err("fails").to_string();
    assert!(
        error.contains("async_map") && error.contains("boom"),
        "{error}"
    );
}

/// Runs a job that fails once behind its requests. Returns how often it asked, for records that it asked for twice.
async fn restarted(requests: AsyncRequests<u64>, backend: &Backend) -> usize {
    const RECORDS: u64 = 600;
    let asked: Arc<Mutex<BTreeMap<u64, u32>>> = Arc::default();
    let ask = {
        let asked = Arc::clone(&asked);
        move |n: u64| {
            *asked.lock().expect("nobody panics").entry(n).or_default() += 1;
            async move {
                tokio::time::sleep(MS(20 + n * 7 % 50)).await;
                Ok::<_, String>(n)
            }
        }
    };
    let failed = Arc::new(AtomicBool::new(false));
    let fail_once = move |n: u64| match n == 400 && !failed.swap(true, Ordering::Relaxed) {
        true => Err("the one failure"),
        false => Ok(n),
    };
    let env = backend.set(builder()).build();
    let numbers = GeneratorSource::new(|n, _| n).count(RECORDS).rate(1_000);
    let answers = env
        .from_source(numbers)
        .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64))
        .async_map(ask, requests)
        .try_map(fail_once, OnError::Fail);
    let windows = answers
        .key_by(|_| ())
        .window(WindowAssigner::tumbling(MS(100)))
        .count()
        .collect();
    let answers = answers.collect();
    env.execute("restarted").await.expect("ends");
    let mut answers = answers.values();
    answers.sort_unstable();
    assert_eq!(answers, (0..RECORDS).collect::<Vec<u64>>());
    // None was late: watermarks stayed behind the requests that they came behind.
    let counts: Vec<u64> = windows.values().iter().map(|window| window.value).collect();
    assert_eq!(counts, [100; 6]);
    let asked = asked.lock().expect("nobody panics");
    asked.values().filter(|times| **times > 1).count()
}

#[tokio::test(start_paused = true)]
async fn records_under_way_are_asked_for_again_after_a_failure_and_none_is_lost_or_repeated() {
    for backend in backends() {
        for requests in [
            AsyncRequests::ordered(MS(500)),
            AsyncRequests::unordered(MS(500)),
        ] {
            // What was under way at the checkpoint, about fifty records, and what came between it and the failure.
            let twice = restarted(requests.clone(), &backend).await;
            assert!(
                (40..200).contains(&twice),
                "{twice} asked twice, {requests:?}"
            );
        }
    }
}

#[tokio::test]
async fn futures_run_beside_the_workers_and_may_block() {
    let env = StreamEnvironment::builder().parallelism(2).build();
    let requests = AsyncRequests::ordered(MS(60_000)).capacity(4);
    let named = |n: u64| async move {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        Ok::<_, String>((n, thread))
    };
    let numbers = env.from_collection((0..100).collect::<Vec<u64>>());
    let answers = numbers.async_map(named, requests).collect();
    env.execute("threads").await.expect("ends");
    let answers = answers.values();
    assert_eq!(answers.len(), 100);
    assert!(
        answers.iter().all(|(_, thread)| thread == "rivus-async"),
        "{answers:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_that_can_not_be_made_are_refused() {
    let table = [
        (
            AsyncRequests::ordered(MS(1)).capacity(0),
            "operator \"async_map\": a capacity of 0 lets no request through: give at least 1",
        ),
        (
            AsyncRequests::unordered(MS(0)),
            "operator \"async_map\": a timeout of 0 leaves no time for an answer: give a longer Duration",
        ),
    ];
    for (requests, expected) in table {
        let env = environment();
        env.from_collection(vec![1])
            .async_map(slowly, requests)
            .print();
        let error = env.execute("refused").await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}
