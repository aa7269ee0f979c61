//! How jobs end: what they leave in their sinks, what they don't end for, and what they don't wait for.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::engine::state::{JobLog, ObjectStorage};
use rivus::{
    CheckpointId, Committer, EnvironmentBuilder, Event, JobError, JobOptions, ParallelInstance,
    RuntimeMode, Sink, SinkWriter, Storage, StreamEnvironment, UserError,
};
use serde::{Deserialize, Serialize};

fn builder() -> EnvironmentBuilder {
    StreamEnvironment::builder()
        .runtime(RuntimeMode::Current)
        .checkpoint_interval(Duration::from_millis(100))
        .seed(1)
}

/// By checkpoint and subtask.
type Parts = BTreeMap<(CheckpointId, u32), Vec<u64>>;

/// What subtasks have made visible.
#[derive(Clone, Default)]
struct Shelf {
    parts: Arc<Mutex<Parts>>,
    /// How often the second subtask's commits fail from the third checkpoint on.
    away: Arc<AtomicU32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part {
    id: (CheckpointId, u32),
    numbers: Vec<u64>,
}

struct Filling {
    subtask: u32,
    numbers: Vec<u64>,
}

impl Sink for Shelf {
    type In = u64;
    type State = ();
    type Committable = Part;
    type Writer = Filling;

    fn writer(&self, instance: ParallelInstance, _: Option<()>) -> Result<Filling, UserError> {
        Ok(Filling {
            subtask: instance.index,
            numbers: Vec::new(),
        })
    }

    fn committer(&self) -> Option<Arc<dyn Committer<Part>>> {
        Some(Arc::new(self.clone()))
    }
}

impl SinkWriter for Filling {
    type In = u64;
    type State = ();
    type Committable = Part;

    fn write(&mut self, run: Vec<Event<u64>>) -> Result<(), UserError> {
        self.numbers
            .extend(run.into_iter().map(|event| event.value));
        Ok(())
    }

    fn prepare_commit(
        &mut self,
        checkpoint: CheckpointId,
        _: bool,
    ) -> Result<Vec<Part>, UserError> {
        Ok(vec![Part {
            id: (checkpoint, self.subtask),
            numbers: std::mem::take(&mut self.numbers),
        }])
    }

    fn snapshot(&mut self) -> Result<(), UserError> {
        Ok(())
    }
}

impl Committer<Part> for Shelf {
    fn commit(&self, part: &Part) -> Result<(), UserError> {
        let (checkpoint, subtask) = part.id;
        let fail = |left: u32| left.checked_sub(1);
        if subtask == 1
            && checkpoint >= CheckpointId(3)
            && self.away.fetch_update(Relaxed, Relaxed, fail).is_ok()
        {
            return Err("the shelf can't be reached".into());
        }
        self.parts
            .lock()
            .unwrap()
            .insert(part.id, part.numbers.clone());
        Ok(())
    }
}

impl Shelf {
    fn away(times: u32) -> Self {
        let shelf = Self::default();
        shelf.away.store(times, Relaxed);
        shelf
    }

    /// Checks that nothing is missing in the middle: whatever checkpoint is there is there whole.
    fn checkpoints(&self) -> usize {
        let parts = self.parts.lock().unwrap();
        let mut of: BTreeMap<CheckpointId, u32> = BTreeMap::new();
        parts
            .keys()
            .for_each(|(checkpoint, _)| *of.entry(*checkpoint).or_default() += 1);
        assert!(of.values().all(|parts| *parts == 2), "{of:?}");
        let mut numbers: Vec<u64> = parts.values().flatten().copied().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        of.len()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_whose_target_is_away_for_long_does_not_end_the_job() {
    let env = builder().parallelism(2).build();
    let shelf = Shelf::away(12);
    let numbers = GeneratorSource::new(|n, _| n).rate(1_000).count(1_000);
    env.from_source(numbers).sink_to(shelf.clone());
    let view = env.execute("patient").await.unwrap().view;
    assert_eq!(view.restarts, 12);
    shelf.checkpoints();
    let parts = shelf.parts.lock().unwrap();
    assert_eq!(parts.values().map(Vec::len).sum::<usize>(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_canceled_leaves_no_gap_in_what_its_sinks_have_made_visible() {
    // The target of one subtask is away; one leader sees the end through, or another.
    for (times, kills_leader) in [(1, false), (3, false), (1, true)] {
        let env = builder().parallelism(2).build();
        let shelf = Shelf::away(times);
        let numbers = GeneratorSource::new(|n, _| n).rate(1_000);
        env.from_source(numbers).sink_to(shelf.clone());
        let mut job = env.start("canceled").await.unwrap();
        while job.view().restarts == 0 {
            job.changed().await.unwrap();
        }
        job.cancel();
        if kills_leader {
            tokio::time::sleep(Duration::from_millis(10)).await;
            job.kill_leader();
        }
        let ended = job.wait().await;
        assert!(matches!(ended, Err(JobError::Canceled)), "{ended:?}");
        let visible = shelf.checkpoints();
        assert!(visible >= 3);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(shelf.checkpoints(), visible, "nothing comes after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_for_good_leaves_no_gap_either() {
    let env = builder().parallelism(2).build();
    let shelf = Shelf::away(2);
    let away = Arc::clone(&shelf.away);
    let numbers = GeneratorSource::new(|n, _| n).rate(1_000);
    let checked = env.from_source(numbers).map(move |n| {
        // As soon as a commit has failed.
        assert!(away.load(Relaxed) > 1, "this can't be mended");
        n
    });
    checked.sink_to(shelf.clone());
    let error = env.execute("failing").await.unwrap_err().to_string();
    assert!(error.contains("this can't be mended"), "{error}");
    assert!(shelf.checkpoints() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_away_holds_a_cancel_up_for_so_long_and_no_longer() {
    let options = JobOptions {
        checkpoint_interval: Some(Duration::from_millis(100)),
        cancellation_timeout: Duration::from_secs(5),
        ..JobOptions::default()
    };
    let env = builder().options(options).parallelism(2).build();
    let shelf = Shelf::away(u32::MAX);
    env.from_source(GeneratorSource::new(|n, _| n).rate(1_000))
        .sink_to(shelf);
    let mut job = env.start("canceled").await.unwrap();
    while job.view().restarts == 0 {
        job.changed().await.unwrap();
    }
    let began = tokio::time::Instant::now();
    job.cancel();
    let ended = job.wait().await;
    assert!(matches!(ended, Err(JobError::Canceled)), "{ended:?}");
    let lasted = began.elapsed();
    assert!((5..8).contains(&lasted.as_secs()), "{lasted:?}");
}

/// A door that user code waits at.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[tokio::test]
async fn user_code_that_does_not_return_holds_up_neither_a_cancel_nor_the_next_job() {
    let options = JobOptions {
        cancellation_timeout: Duration::from_millis(300),
        ..JobOptions::default()
    };
    let env = StreamEnvironment::builder()
        .runtime(RuntimeMode::Threads { workers: 2 })
        .options(options)
        .build();
    let (door, reached) = (Door::default(), Door::default());
    let (waits, says) = (door.clone(), reached.clone());
    env.from_collection(vec![1_u32])
        .map(move |n| {
            says.open();
            waits.wait();
            n
        })
        .collect();
    let job = env.start("stuck").await.unwrap();
    tokio::task::spawn_blocking(move || reached.wait())
        .await
        .unwrap();
    job.cancel();
    let ended = job.wait().await;
    assert!(matches!(ended, Err(JobError::Canceled)), "{ended:?}");
    // Wherever they would begin, they go to the worker that is free.
    for _ in 0..3 {
        let out = env.from_collection(vec![1_u32, 2]).collect();
        env.execute("next").await.unwrap();
        assert_eq!(out.values(), [1, 2]);
    }
    door.open();
}

#[tokio::test(start_paused = true)]
async fn of_jobs_that_have_ended_little_is_kept_and_of_most_nothing() {
    let objects = ObjectStorage::in_memory();
    let env = builder().storage(Storage::Objects(objects.clone())).build();
    let log = JobLog::new(objects);
    for job in 0..105 {
        let out = env.from_collection(vec![job]).collect();
        env.execute("short").await.unwrap();
        assert_eq!(out.values(), [job]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let jobs = log.jobs().unwrap();
    assert_eq!(jobs.len(), 100);
    for job in jobs {
        let contents = log.read_all(job).unwrap();
        assert!(contents.snapshot.is_some() && contents.entries.is_empty());
    }
}
