//! Checkpoints under backpressure: aligned ones wait behind records, those whose barriers overtake do not, and what
//! they have overtaken comes back after a failure.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use rivus::connectors::{Collected, GeneratorSource};
use rivus::engine::core::MemoryStores;
use rivus::engine::{ActorKind, Fault, Probe, Step};
use rivus::{
    AsyncRequests, CheckpointMode, Count, DataStream, EnvironmentBuilder, JobOptions, NodeConfig,
    RuntimeMode, StreamEnvironment,
};

use crate::backends::backends;
use crate::waits::checkpoints;

const MS: fn(u64) -> Duration = Duration::from_millis;

const RECORDS: u64 = 1_000;
const KEYS: u64 = 10;

/// A checkpoint that takes a second is given up. Behind a full queue an aligned one takes longer.
fn builder() -> EnvironmentBuilder {
    let options = JobOptions {
        checkpoint_timeout: MS(1_000),
        batch_records: 32,
        ..JobOptions::default()
    };
    StreamEnvironment::builder()
        .options(options)
        .parallelism(2)
        .checkpoint_interval(MS(100))
        .runtime(RuntimeMode::Current)
        .starts_at(1_700_000_000_000)
        .seed(7)
}

/// Counts by key, whose figures then pass something that takes 10 ms for each: a fifth of what the source gives.
/// Fails once when it is told to.
fn write(env: &StreamEnvironment, fail: &Arc<AtomicBool>, wide: u32) -> Collected<(u64, u64)> {
    let fail = Arc::clone(fail);
    numbers(env)
        .key_by(|n| n % KEYS)
        .aggregate(Count::new())
        .uid("counts")
        .parallelism(wide)
        .rebalance()
        .async_map(slowly, AsyncRequests::ordered(MS(60_000)).capacity(1))
        .uid("slow")
        .parallelism(wide)
        .map(move |counted| {
            if fail.swap(false, Relaxed) {
                panic!("as it was told to");
            }
            counted
        })
        .parallelism(wide)
        .collect()
}

fn numbers(env: &StreamEnvironment) -> DataStream<u64> {
    let numbers = GeneratorSource::new(|index, _| index)
        .count(RECORDS)
        .rate(1_000);
    env.from_source(numbers).uid("numbers")
}

async fn slowly<T: Send>(value: T) -> Result<T, String> {
    tokio::time::sleep(MS(10)).await;
    Ok(value)
}

/// Each key has counted to its end, and said each number once.
fn expect_exact(out: &Collected<(u64, u64)>) {
    let mut counted = out.values();
    counted.sort_unstable();
    assert_eq!(counted, exact());
}

fn exact() -> Vec<(u64, u64)> {
    let counts = |key| (1..=RECORDS / KEYS).map(move |count| (key, count));
    (0..KEYS).flat_map(counts).collect()
}

/// Counts how often something that was overtaken is put back.
#[derive(Default)]
struct PutBack(AtomicU32);

impl Probe for PutBack {
    fn at(&self, _kind: ActorKind, _label: &dyn Display, step: Step) -> Option<Fault> {
        self.0.fetch_add(u32::from(step == Step::PutBack), Relaxed);
        None
    }
}

#[tokio::test(start_paused = true)]
async fn aligned_checkpoints_time_out_behind_records_and_unaligned_ones_do_not() {
    let never = Arc::default();
    let env = builder().build();
    write(&env, &never, 2);
    let job = env.start("aligned").await.expect("starts");
    tokio::time::sleep(MS(4_000)).await;
    // One at the most, before the queues were full.
    assert!(job.view().checkpoints <= 1, "{}", job.view().checkpoints);
    job.cancel();

    for (wait, longest) in [(MS(0), MS(50)), (MS(200), MS(500))] {
        let env = builder().unaligned_after(wait).build();
        let out = write(&env, &never, 2);
        let mut job = env.start("unaligned").await.expect("starts");
        for seen in 2..6 {
            let view = checkpoints(&mut job, seen).await;
            let took = view.last_checkpoint_took.expect("its leader lives");
            assert!(took >= wait && took <= longest, "{wait:?}: {took:?}");
            assert!(view.last_checkpoint_in_flight > Some(1_000), "{view:?}");
        }
        job.wait().await.expect("ends");
        expect_exact(&out);
    }
}

/// Fails three times, and nothing that barriers have overtaken is lost or repeated.
async fn expect_exact_after_failures(builder: EnvironmentBuilder) {
    let (fail, put_back) = (Arc::new(AtomicBool::new(false)), Arc::<PutBack>::default());
    let env = builder.probe(put_back.clone()).build();
    let out = write(&env, &fail, 2);
    let mut job = env.start("failing").await.expect("starts");
    for (failures, seen) in [(1, 3), (2, 6), (3, 9)] {
        let view = checkpoints(&mut job, seen).await;
        assert!(view.last_checkpoint_in_flight > Some(1_000), "{view:?}");
        fail.store(true, Relaxed);
        let view = job.wait_until(|view| view.restarts >= failures).await;
        view.expect("goes on");
    }
    let view = job.wait().await.expect("ends").view;
    assert_eq!(view.restarts, 3);
    // Senders and receivers of both exchanges.
    let put_back = put_back.0.load(Relaxed);
    assert!(put_back >= 3 * 2, "{put_back} times");
    expect_exact(&out);
}

#[tokio::test(start_paused = true)]
async fn what_barriers_have_overtaken_comes_back_after_a_failure() {
    for wait in [MS(0), MS(100)] {
        let builder = |read_at_once| {
            let node = NodeConfig {
                read_at_once,
                ..NodeConfig::default()
            };
            builder().node(node).unaligned_after(wait)
        };
        // From snapshots that are read at once; and from such as are streamed, over a store without room too.
        expect_exact_after_failures(builder(4 << 20)).await;
        for backend in backends() {
            expect_exact_after_failures(backend.set(builder(0))).await;
        }
        let cramped = builder(0).state_backend(MemoryStores { cache_bytes: 1 });
        expect_exact_after_failures(cramped).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_leaves_unaligned_checkpoints_to_the_next() {
    let env = builder().unaligned_after(MS(50)).build();
    let out = write(&env, &Arc::default(), 2);
    let mut job = env.start("led").await.expect("starts");
    for death in 1..4 {
        let before = job.view().checkpoints;
        checkpoints(&mut job, before + 2).await;
        // In the middle of the next one, whose barriers still wait.
        tokio::time::sleep(MS(70)).await;
        job.kill_leader();
        let view = job.wait_until(|view| view.takeovers >= death).await;
        view.expect("goes on");
    }
    let view = job.wait().await.expect("ends").view;
    assert_eq!((view.takeovers, view.restarts), (3, 0));
    expect_exact(&out);
}

#[tokio::test(start_paused = true)]
async fn savepoints_are_aligned_and_go_on_at_another_parallelism() {
    let builder = || {
        let patient = JobOptions {
            batch_records: 32,
            ..JobOptions::default()
        };
        builder().options(patient).unaligned_after(Duration::ZERO)
    };
    let env = builder().build();
    let before = write(&env, &Arc::default(), 2);
    let mut job = env.start("before").await.expect("starts");
    let view = checkpoints(&mut job, 4).await;
    assert!(view.last_checkpoint_in_flight > Some(1_000), "{view:?}");
    let savepoint = job.stop_with_savepoint().await.expect("is made");
    let after = write(&env, &Arc::default(), 1);
    env.from_savepoint(&savepoint)
        .execute("after")
        .await
        .expect("ends");
    // What the savepoint holds is committed again, here to another place: that is once in all.
    let mut all = before.values();
    all.extend(after.values());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, exact());
}

#[tokio::test(start_paused = true)]
async fn at_least_once_loses_nothing_and_may_repeat() {
    for backend in backends() {
        let fail = Arc::new(AtomicBool::new(false));
        let options = JobOptions {
            batch_records: 4,
            ..JobOptions::default()
        };
        let mode = CheckpointMode::AtLeastOnce;
        let builder = builder().options(options).checkpoint_mode(mode);
        let env = backend.set(builder).build();
        let told = Arc::clone(&fail);
        // Of the second source subtask's numbers few are left, so its barriers come long before the first one's.
        let kept = |n: &u64| n.is_multiple_of(2) || n % 20 == 1;
        let out = numbers(&env)
            .filter(kept)
            .rebalance()
            .async_map(slowly, AsyncRequests::ordered(MS(60_000)).capacity(1))
            .map(move |n| {
                if told.swap(false, Relaxed) {
                    panic!("as it was told to");
                }
                n
            })
            .key_by(|n| *n)
            .count()
            .collect();
        let mut job = env.start("repeating").await.expect("starts");
        checkpoints(&mut job, 3).await;
        fail.store(true, Relaxed);
        let view = job.wait().await.expect("ends").view;
        assert_eq!(view.restarts, 1);
        let all: BTreeSet<u64> = out.values().into_iter().map(|(n, _)| n).collect();
        let expected: BTreeSet<u64> = (0..RECORDS).filter(kept).collect();
        assert_eq!(all, expected);
        assert!(out.len() > expected.len(), "{} records", out.len());
    }
}
