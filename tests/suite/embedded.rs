//! Jobs among an application's own actors: fed by them, feeding them, asked by them, supervised by them.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus::connectors::{DiscardSink, GeneratorSource};
use rivus::{
    ActorSink, ActorSource, EnvironmentBuilder, Handled, JobError, JobHandle, JobStatus, JobView,
    QueryError, RestartStrategy, RocksDbBackend, RuntimeMode, StreamEnvironment, ValueState,
};

use crate::backends::{Backend, backends};

/// Keeps what it is sent.
struct Keeper;

impl Actor for Keeper {
    type Msg = u64;
    type State = Arc<Mutex<Vec<u64>>>;
    type Arguments = Arc<Mutex<Vec<u64>>>;

    async fn pre_start(
        &self,
        _: ActorRef<u64>,
        kept: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(kept)
    }

    async fn handle(
        &self,
        _: ActorRef<u64>,
        n: u64,
        kept: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        kept.lock().unwrap().push(n);
        Ok(())
    }
}

fn environment() -> EnvironmentBuilder {
    let delay = Duration::from_millis(5);
    let restart = RestartStrategy::FixedDelay { attempts: 3, delay };
    StreamEnvironment::builder()
        .checkpoint_interval(Duration::from_millis(20))
        .restart(restart)
}

fn ended(view: &JobView) -> bool {
    matches!(view.status, JobStatus::Ended(_))
}

/// Feeds 0..2000, with a failure at 1000; what the actor behind the job was sent, in order of their numbers, and how many
/// records were lost. Each is counted, and sent on the first time only: of what the failure undoes no count may be left.
async fn through_a_failure(replayed: bool, committed: bool, backend: &Backend) -> (Vec<u64>, u64) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (keeper, keeping) = Actor::spawn(None, Keeper, Arc::clone(&kept)).await.unwrap();
    let env = backend.set(environment()).build();
    let (mut source, feed) = ActorSource::bounded(300);
    if replayed {
        source = source.replayed();
    }
    let mut sink = ActorSink::new(keeper.clone(), |(n, _): (u64, u64)| n);
    if committed {
        sink = sink.committed();
    }
    let failed = Arc::new(AtomicBool::new(false));
    env.from_source(source)
        .map(move |n: u64| {
            assert!(n != 1_000 || failed.swap(true, Ordering::Relaxed), "once");
            n
        })
        .key_by(|n| *n)
        .count()
        .filter(|(_, times)| *times == 1)
        .sink_to(sink);
    let job = env.start("fed").await.unwrap();
    for n in 0..2_000 {
        assert_eq!(feed.send(n).await, Ok(n));
    }
    let lost = feed.clone();
    drop(feed);
    lost.finish();
    assert_eq!(job.wait().await.unwrap().view.restarts, 1);
    keeper.drain().unwrap();
    keeping.await.unwrap();
    let mut kept = std::mem::take(&mut *kept.lock().unwrap());
    kept.sort_unstable();
    (kept, lost.lost())
}

#[tokio::test]
async fn a_replayed_feed_and_a_committed_sink_lose_and_repeat_nothing() {
    for backend in backends() {
        let (kept, lost) = through_a_failure(true, true, &backend).await;
        assert_eq!((kept, lost), ((0..2_000).collect(), 0));
    }
}

#[tokio::test]
async fn a_replayed_feed_loses_nothing_that_is_sent_on_as_it_comes() {
    for backend in backends() {
        let (mut kept, lost) = through_a_failure(true, false, &backend).await;
        kept.dedup();
        assert_eq!((kept, lost), ((0..2_000).collect(), 0));
    }
}

/// Handles what it is sent slowly. The most that it has had in flight, and how much it has handled.
struct Slow;

impl Actor for Slow {
    type Msg = (u64, Handled);
    type State = Vec<u64>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Vec<u64>, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        (n, _handled): Self::Msg,
        kept: &mut Vec<u64>,
    ) -> Result<(), ActorProcessingErr> {
        kept.push(n);
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_an_actor_that_acknowledges() {
    let (slow, slowly) = Actor::spawn(None, Slow, ()).await.unwrap();
    let env = StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .build();
    let read = Arc::new(AtomicU64::new(0));
    let (counted, began) = (Arc::clone(&read), tokio::time::Instant::now());
    env.from_collection((0..200_000_u64).collect())
        .filter(move |n| {
            counted.fetch_add(1, Ordering::Relaxed);
            n % 1_000 == 0
        })
        .sink_to(ActorSink::acknowledged(slow.clone(), 10, |n, handled| {
            (n, handled)
        }));
    let job = env.start("slow").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(read.load(Ordering::Relaxed) < 100_000, "it reads on");
    job.wait().await.unwrap();
    // All but the last ten have been handled.
    assert!(began.elapsed() >= Duration::from_millis(1_800));
    slow.drain().unwrap();
    slowly.await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_checkpoint_is_limited() {
    let (slow, _) = Actor::spawn(None, Keeper, Arc::default()).await.unwrap();
    let env = StreamEnvironment::builder()
        .without_checkpoints()
        .restart(RestartStrategy::None)
        .build();
    env.from_collection((0..100_u64).collect())
        .sink_to(ActorSink::new(slow, |n| n).holding(50));
    let failed = env.execute("held").await.unwrap_err().to_string();
    assert!(
        failed.contains("more than 50 records of a subtask wait"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_feed_that_is_not_replayed_counts_what_it_loses() {
    for backend in backends() {
        let (kept, lost) = through_a_failure(false, true, &backend).await;
        assert!(lost > 0, "the record that failed is lost at least");
        assert_eq!(kept.len() as u64 + lost, 2_000);
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "none twice");
    }
}

#[tokio::test]
async fn a_feed_waits_while_its_job_is_behind_and_is_closed_when_it_is_over() {
    let env = environment().build();
    let (source, feed) = ActorSource::bounded(2);
    env.from_source(source).sink_to(DiscardSink::new());
    for n in [1, 2] {
        feed.try_send(n).unwrap();
    }
    let waits = tokio::time::timeout(Duration::from_millis(20), feed.send(3));
    assert!(waits.await.is_err(), "nobody reads yet");
    let job = env.start("slow").await.unwrap();
    let number = feed.send(3).await.unwrap();
    feed.until_settled(number).await.unwrap();
    assert_eq!((number, feed.settled()), (2, 3));
    job.cancel();
    assert!(matches!(job.wait().await, Err(JobError::Canceled)));
    while feed.send(4).await.is_ok() {}
    assert!(feed.until_settled(1_000).await.is_err());
}

/// Counts by key, asked until all of a key's records are in.
async fn ask(builder: EnvironmentBuilder) {
    const KEYS: u64 = 5_000;
    let env = builder.parallelism(2).build();
    let (source, feed) = ActorSource::bounded(20_000);
    let failed = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failed);
    let by_key = env
        .from_source(source.replayed())
        .map(move |n: u64| {
            assert!(n != u64::MAX || fails.swap(true, Ordering::Relaxed), "once");
            n
        })
        .key_by(|n| format!("key {}", n % KEYS));
    by_key.count().uid("counts").sink_to(DiscardSink::new());
    let latest = by_key.reduce(|latest, n| *latest = n).uid("latest");
    latest.sink_to(DiscardSink::new()).uid("nothing");
    let mut job = env.start("asked").await.unwrap();
    for n in 0..2 * KEYS {
        feed.send(n).await.unwrap();
    }
    for restarts in 0..2 {
        for key in [0, 1, KEYS / 2, KEYS - 1] {
            let name = format!("key {key}");
            loop {
                let count = job.query::<_, u64>("counts", &name).await;
                let state = job.query::<_, ValueState<u64>>("latest", &name).await;
                match (count, state) {
                    (Ok(Some(2)), Ok(Some(latest))) if latest.get() == Some(&(KEYS + key)) => break,
                    (Err(error), _) | (_, Err(error)) if !error.is_retryable() => panic!("{error}"),
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        }
        let none = job.query::<str, u64>("counts", "no key").await;
        assert_eq!(none, Ok(None));
        if restarts == 0 {
            feed.send(u64::MAX).await.unwrap();
            job.wait_until(|view| view.restarts == 1).await.unwrap();
        }
    }
    let refused = [
        (
            job.query::<_, u64>("sums", "a").await,
            "the job has no operator of this uid",
        ),
        (
            job.query::<_, u64>("nothing", "a").await,
            "it has no state that can be asked for",
        ),
        (
            job.query::<_, u64>("counts", &7_u32).await,
            "its keys are alloc::string::String",
        ),
        (
            job.query::<_, u64>("latest", "a").await,
            "the state is [u64], not u64",
        ),
    ];
    for (answer, reason) in refused {
        let error = answer.unwrap_err();
        assert!(
            !error.is_retryable() && error.to_string().contains(reason),
            "{error}"
        );
    }
    job.cancel();
    job.wait_until(ended).await.unwrap();
    let over = job.query::<str, u64>("counts", "key 0").await;
    assert_eq!(over, Err(QueryError::Ended));
}

#[tokio::test]
async fn a_key_s_state_is_seen_while_the_job_runs_and_after_a_restart() {
    ask(environment()).await;
}

#[tokio::test]
async fn state_that_is_not_in_memory_is_seen_too() {
    let dir = tempfile::tempdir().unwrap();
    let rocks = RocksDbBackend::new(dir.path()).unwrap().memory(1 << 20);
    ask(environment().state_backend(rocks)).await;
}

/// Keeps what it hears of the job that it supervises.
struct Supervisor;

impl Actor for Supervisor {
    type Msg = ();
    type State = Arc<Mutex<Vec<String>>>;
    type Arguments = (JobHandle, Self::State);

    async fn pre_start(
        &self,
        myself: ActorRef<()>,
        (job, heard): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        job.link(myself.get_cell()).await?;
        Ok(heard)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        heard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let word = match event {
            SupervisionEvent::ActorFailed(_, why) => format!("failed: {why}"),
            SupervisionEvent::ActorTerminated(_, _, why) => format!("ended: {}", why.unwrap()),
            _ => return Ok(()),
        };
        heard.lock().unwrap().push(word);
        myself.stop(None);
        Ok(())
    }
}

#[tokio::test]
async fn a_supervisor_hears_how_its_job_ended() {
    for (fails, expected) in [
        (false, "ended: the job is over"),
        (
            true,
            "failed: the job failed: operator broken: panicked: two",
        ),
    ] {
        let env = environment().restart(RestartStrategy::None).build();
        let numbers = env.from_collection(vec![1, 2, 3]);
        let checked = numbers.map(move |n| {
            assert!(!(fails && n == 2), "two");
            n
        });
        checked.uid("broken").sink_to(DiscardSink::new());
        let job = env.start("numbers").await.unwrap();
        let heard = Arc::default();
        let arguments = (job, Arc::clone(&heard));
        let (_, over) = Actor::spawn(None, Supervisor, arguments).await.unwrap();
        over.await.unwrap();
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.len(), 1);
        assert!(heard[0].starts_with(expected), "{heard:?}");
    }
}

#[tokio::test]
async fn a_job_is_canceled_with_its_supervisor() {
    for kill in [false, true] {
        let env = environment().build();
        let endless = GeneratorSource::new(|n, _| n).rate(1_000);
        env.from_source(endless).sink_to(DiscardSink::new());
        let job = env.start("for ever").await.unwrap();
        let arguments = (job.clone(), Arc::default());
        let (supervisor, _) = Actor::spawn(None, Supervisor, arguments).await.unwrap();
        if kill {
            supervisor.kill();
        } else {
            supervisor.stop(None);
        }
        assert!(matches!(job.wait().await, Err(JobError::Canceled)));
    }
}

#[tokio::test]
async fn a_job_that_fails_leaves_the_other_alone() {
    for backend in backends() {
        let env = backend.set(environment().slots(2)).build();
        let (source, feed) = ActorSource::bounded(100);
        let counts = env.from_source(source).key_by(|n: &u64| n % 7).count();
        let counts = counts.uid("counts").collect();
        let mut calm = env.start("calm").await.unwrap();
        calm.wait_until(|view| view.status == JobStatus::Running)
            .await
            .unwrap();
        let before = calm.view();

        let numbers = env.from_source(GeneratorSource::new(|n, _| n).rate(1_000));
        let broken = numbers.map(|n| {
            assert!(n < 30, "too many");
            n
        });
        broken.uid("broken").sink_to(DiscardSink::new());
        let mut wild = env.start("wild").await.unwrap();
        for n in 0..3_000 {
            feed.send(n).await.unwrap();
        }
        wild.wait_until(ended).await.unwrap();
        assert!(
            wild.view().restarts > 0,
            "it restarts before it is given up"
        );
        assert!(matches!(wild.wait().await, Err(JobError::Failed(_))));

        for n in 3_000..7_000 {
            feed.send(n).await.unwrap();
        }
        drop(feed);
        let after = calm.wait().await.unwrap().view;
        let mut attempts = after.subtasks.iter().map(|task| task.attempt.attempt);
        assert!(attempts.len() > 0 && attempts.all(|attempt| attempt == 1));
        assert_eq!(
            (after.restarts, after.takeovers, after.epoch),
            (0, 0, before.epoch)
        );
        assert_eq!(counts.len(), 7_000);
        assert!((0..7).all(|rest| counts.values().contains(&(rest, 1_000))));
    }
}
