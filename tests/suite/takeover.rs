//! The leader dies and the job doesn't notice.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::ActorCell;
use rivus::connectors::GeneratorSource;
use rivus::engine::{ActorKind, Fault, Probe, Step};
use rivus::{
    EnvironmentBuilder, JobHandle, JobStatus, JobView, RuntimeMode, StreamEnvironment,
    WatermarkStrategy,
};

use crate::backends::backends;

/// A job of a few virtual seconds: counts by key, with a checkpoint every 100 ms.
fn environment() -> StreamEnvironment {
    builder().build()
}

fn builder() -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .runtime(RuntimeMode::Current)
        .starts_at(1_700_000_000_000)
        .seed(7)
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
    for backend in backends() {
        let env = backend.set(builder()).build();
        let out = write(&env);
        let job = env.start("numbers").await.expect("starts");
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert_eq!(job.status(), JobStatus::Running);
            job.kill_leader();
        }
        let view = job.wait().await.expect("completes").view;
        let mut counts = out.values();
        // Each key's stay in their order.
        counts.sort_by_key(|(key, _)| *key);
        let each = |key| (1..=RECORDS / 10).map(move |count| (key, count));
        assert!(counts.into_iter().eq((0..10).flat_map(each)));
        assert_eq!((view.takeovers, view.restarts), (4, 0));
        assert_eq!(view.restarted_by_takeover, 0);
        for subtask in &view.subtasks {
            assert_eq!(subtask.attempt.attempt, 1, "{}", subtask.name);
        }
        assert!(view.checkpoints > 10, "{}", view.checkpoints);
    }
}

#[tokio::test(start_paused = true)]
async fn figures_never_fall_when_a_leader_dies_and_those_that_have_not_come_yet_are_marked() {
    let env = environment();
    write(&env);
    let mut job = env.start("numbers").await.expect("starts");
    let (mut kills, mut unmeasured) = (0, 0);
    let mut known = BTreeMap::new();
    while !matches!(job.status(), JobStatus::Ended(_)) {
        job.changed().await.expect("is led");
        let view = job.view();
        for task in &view.subtasks {
            let figures = &task.figures;
            let records = figures.records_in + figures.records_out;
            if task.is_measured {
                let before = known.insert(task.attempt, records).unwrap_or(0);
                assert!(before <= records, "{}: {before}, {records}", task.name);
            } else {
                unmeasured += u32::from(known.contains_key(&task.attempt));
            }
        }
        if kills < 3 && view.takeovers == kills && view.checkpoints > 8 * u64::from(kills + 1) {
            job.kill_leader();
            kills += 1;
        }
    }
    assert_eq!((kills, job.view().takeovers), (3, 3));
    assert!(unmeasured > 0, "nobody saw a job between two leaders");
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

/// Lets so many of a job's masters die before they have done anything.
struct MortalMasters {
    to_die: AtomicU32,
    managers: AtomicU32,
}

impl Probe for MortalMasters {
    fn spawned(&self, kind: ActorKind, _label: &dyn Display, _actor: ActorCell) {
        if kind == ActorKind::JobManager {
            self.managers.fetch_add(1, Relaxed);
        }
    }

    fn at(&self, _kind: ActorKind, _label: &dyn Display, step: Step) -> Option<Fault> {
        let fences = step == Step::Fence;
        let dies = fences
            && self
                .to_die
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1))
                .is_ok();
        dies.then_some(Fault::Error)
    }
}

#[tokio::test(start_paused = true)]
async fn a_master_that_keeps_dying_is_waited_for_and_takes_nobody_down() {
    let masters = Arc::new(MortalMasters {
        to_die: AtomicU32::new(50),
        managers: AtomicU32::new(0),
    });
    let env = builder().probe(Arc::clone(&masters) as _).build();
    let out = write(&env);
    env.execute("numbers").await.expect("completes");
    assert_eq!(out.len() as u64, RECORDS);
    assert_eq!(masters.managers.load(Relaxed), 1, "JobManagers");
}

/// Looks at a job at every step of anybody, for a checkpoint that was counted and not timed.
#[derive(Default)]
struct Untimed {
    job: Mutex<Option<JobHandle>>,
    seen: AtomicU32,
}

impl Probe for Untimed {
    fn at(&self, _kind: ActorKind, _label: &dyn Display, _step: Step) -> Option<Fault> {
        if let Some(job) = &*self.job.lock().expect("is whole") {
            let view = job.view();
            let timed = view.last_checkpoint_took.is_some();
            self.seen
                .fetch_add(u32::from(timed != (view.checkpoints > 0)), Relaxed);
        }
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_counted_together_with_the_time_it_took() {
    let untimed = Arc::new(Untimed::default());
    let env = builder().probe(Arc::clone(&untimed) as _).build();
    write(&env);
    let job = env.start("numbers").await.expect("starts");
    *untimed.job.lock().expect("is whole") = Some(job.clone());
    let view = job.wait().await.expect("completes").view;
    // The job holds its environment, and that its probe.
    *untimed.job.lock().expect("is whole") = None;
    assert!(view.checkpoints > 10, "{}", view.checkpoints);
    assert_eq!(untimed.seen.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sources_subtask_shows_the_watermark_that_its_chain_assigns() {
    let env = environment();
    let numbers = GeneratorSource::new(|index, _| index)
        .rate(2_000)
        .timestamps(|n| *n as i64);
    let numbers = env.from_source(numbers);
    let marked = numbers.assign_watermarks(WatermarkStrategy::monotonous());
    let _out = marked.collect();
    let mut job = env.start("numbers").await.expect("starts");
    let seen = |view: &JobView| {
        let subtasks = &view.subtasks;
        subtasks.len() == 2 && subtasks.iter().all(|task| task.figures.watermark > 0)
    };
    job.wait_until(seen).await.expect("goes on");
    job.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_grants_neither_slots_that_are_held_nor_holds_back_those_that_are_free() {
    let env = builder().slots(2).build();
    let running = |name: &'static str, env: &StreamEnvironment| {
        let env = env.clone();
        async move {
            let ticks = GeneratorSource::new(|n, _| n).rate(100);
            env.from_source(ticks)
                .parallelism(1)
                .sink_to(rivus::connectors::DiscardSink::new())
                .parallelism(1);
            let job = env.start(name).await.expect("starts");
            tokio::time::sleep(Duration::from_millis(500)).await;
            job
        }
    };
    let first = running("first", &env).await;
    assert_eq!(first.status(), JobStatus::Running);
    first.kill_leader();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One slot is the first job's, the other is free.
    let second = running("second", &env).await;
    assert_eq!(second.status(), JobStatus::Running);
    second.kill_leader();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = running("third", &env).await;
    assert!(
        matches!(third.status(), JobStatus::WaitingForSlots { .. }),
        "{:?}",
        third.status()
    );
    first.cancel();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(third.status(), JobStatus::Running);
    assert_eq!(second.view().restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_over_its_splits_fails_the_job() {
    let env = environment();
    env.from_source(Panicky).collect();
    let error = env.execute("panicky").await.expect_err("fails");
    assert!(
        error.to_string().contains("panicked: no splits today"),
        "{error}"
    );
}

struct Panicky;

impl rivus::Source for Panicky {
    type Out = u64;
    type Split = u64;
    type Reader = Nothing;

    fn splits(&self, _: u32) -> Result<Vec<u64>, rivus::UserError> {
        panic!("no splits today");
    }

    fn reader(&self, _: rivus::ParallelInstance) -> Result<Nothing, rivus::UserError> {
        Ok(Nothing)
    }
}

struct Nothing;

impl rivus::SourceReader for Nothing {
    type Out = u64;
    type Split = u64;

    fn add_split(&mut self, _: u64) -> Result<(), rivus::UserError> {
        Ok(())
    }

    fn read(
        &mut self,
        _: &mut Vec<rivus::Event<u64>>,
        _: usize,
        _: rivus::Timestamp,
    ) -> Result<rivus::ReadStatus, rivus::UserError> {
        Ok(rivus::ReadStatus::SplitsDone)
    }

    fn snapshot(&self) -> Vec<u64> {
        Vec::new()
    }
}
