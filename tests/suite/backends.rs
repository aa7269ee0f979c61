//! The same job with all its state in memory, and with most of it on disk. And what has jobs of other tests run on either.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rivus::connectors::GeneratorSource;
use rivus::{
    ActorSource, Count, EnvironmentBuilder, Event, Expiring, ExpiringMapState, JobHandle, Keyed,
    KeyedProcessFunction, ListState, Output, RocksDbBackend, StateSet, Storage, StreamEnvironment,
    Sum, UserError, ValueState, WatermarkStrategy, WindowAssigner,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::resume::{assert_each_record_is_written_once, life_in};
use crate::waits::checkpoint_after;

/// Where a run keeps its state: in memory, or in RocksDB in a directory. A run that fails says which it was.
pub(crate) struct Backend(Option<TempDir>);

/// Memory, then RocksDB.
pub(crate) fn backends() -> impl Iterator<Item = Backend> {
    let rows = || tempfile::tempdir().expect("a directory");
    let on_disk = [false, true].into_iter();
    on_disk.map(move |on_disk| Backend(on_disk.then(rows)))
}

impl Backend {
    /// However few rows RocksDB has, its checkpoints are files.
    pub(crate) fn set(&self, builder: EnvironmentBuilder) -> EnvironmentBuilder {
        match &self.0 {
            None => builder,
            Some(dir) => {
                let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
                builder.state_backend(rocks.memory(1 << 20).files_from(0))
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let place = self.0.as_ref().map_or("memory", |_| "RocksDB");
            eprintln!("that was with state in {place}");
        }
    }
}

/// Records of each key.
const EACH: u64 = 5;

fn key(n: u64, keys: u64) -> String {
    format!("a key that takes some room, number {}", n * 7_919 % keys)
}

/// Counts, sums and windows of many keys; all output, in order. No key comes twice in a window.
async fn run(builder: EnvironmentBuilder, keys: u64) -> Vec<String> {
    let env = builder
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .build();
    let keyed = env
        .from_source(GeneratorSource::new(|n, _| n).count(EACH * keys))
        .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|n: &u64| *n as i64))
        .key_by(move |n| key(*n, keys));
    let last = keyed
        .aggregate((Count::new(), Sum::of(|n: &u64| *n)))
        .filter(|(_, (count, _))| *count == EACH)
        .collect();
    let windows = keyed
        .window(WindowAssigner::tumbling(Duration::from_millis(
            keys * 5 / 6,
        )))
        .aggregate(Count::new())
        .collect();
    let view = env.execute("many keys").await.expect("completes").view;
    assert_eq!(view.restarts, 0);
    assert_eq!(
        (last.len() as u64, windows.len() as u64),
        (keys, EACH * keys)
    );
    let last = last.values().into_iter().map(|row| format!("{row:?}"));
    let windows = windows.values().into_iter().map(|row| format!("{row:?}"));
    let mut all: Vec<String> = last.chain(windows).collect();
    all.sort();
    all
}

#[tokio::test]
async fn the_output_is_the_same_with_hardly_any_memory() {
    let in_memory = run(StreamEnvironment::builder(), 30_000).await;
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let builder = StreamEnvironment::builder().state_backend(rocks.memory(1 << 20));
    assert!(
        run(builder, 30_000).await == in_memory,
        "the output differs"
    );
}

/// Memory for state that takes twice as much.
const BUDGET: usize = 8 << 20;

#[tokio::test]
async fn one_budget_of_memory_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let rocks = rocks.memory(BUDGET);
    let used = rocks.clone();
    let (over, ended) = mpsc::channel::<()>();
    let watched = thread::spawn(move || {
        let mut seen = Vec::new();
        while ended.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
            let now = used.memory_used();
            seen.push((now.rows + now.memtables + now.blocks + now.indexes, now));
        }
        seen.sort_by_key(|(all, _)| *all);
        seen
    });
    run(StreamEnvironment::builder().state_backend(rocks), 60_000).await;
    drop(over);
    let seen = watched.join().expect("watches");
    let (usual, most) = (seen[seen.len() / 20 * 19], seen[seen.len() - 1]);
    // What changes while a checkpoint's files are made stays in memory until they are.
    assert!(usual.0 < BUDGET + BUDGET / 8, "{usual:?}");
    assert!(most.0 < 2 * BUDGET, "{most:?}");
    assert!(most.0 > BUDGET / 2, "{most:?}");
}

/// State of [`SeenLately`].
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
struct Lately {
    #[state(ttl = "800ms")]
    times: Expiring<ValueState<u64>>,
    #[state(ttl = "800ms", renew = "read_and_write")]
    all: Expiring<ListState<u64>>,
    #[state(ttl = "800ms")]
    last: ExpiringMapState<u64, u64>,
}

/// Says how often a number came lately.
#[derive(Clone)]
struct SeenLately;

impl KeyedProcessFunction<u64, u64> for SeenLately {
    type Out = (u64, u64);
    type State = Lately;

    fn process(
        &mut self,
        n: Event<u64>,
        seen: &mut Keyed<'_, u64, Lately>,
        out: &mut Output<'_, (u64, u64)>,
    ) -> Result<(), UserError> {
        *seen.times.get_or_default() += 1;
        seen.all.push(n.value);
        let before = seen.last.get(&n.value).copied().unwrap_or_default();
        seen.last.insert(n.value, before + 1);
        let times = seen.times.get().copied().unwrap_or_default();
        let (all, last) = (seen.all.len() as u64, seen.last.values().sum());
        out.emit((n.value, times.max(all).max(last)));
        Ok(())
    }
}

#[tokio::test]
async fn what_has_expired_on_disk_is_not_seen_and_goes() {
    const NUMBERS: u64 = 20_000;
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path().join("rows")).expect("a backend");
    let env = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(100))
        .storage(Storage::Directory(dir.path().join("state")))
        .state_backend(rocks.memory(1 << 20).files_from(0))
        .build();
    let (source, feed) = ActorSource::<u64>::bounded(1_000);
    let numbers = env.from_source(source).uid("numbers").key_by(|n| *n);
    let seen = numbers.process(SeenLately).uid("seen").collect();
    let job = env.start("seen lately").await.expect("starts");
    for round in 1..=2 {
        for n in 0..NUMBERS {
            feed.send(n).await.expect("is read");
        }
        while (seen.len() as u64) < round * NUMBERS {
            assert_eq!(job.view().restarts, 0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(800)).await;
        let answer = job.query::<u64, Lately>("seen", &round).await;
        let shown = answer.expect("answers").unwrap_or_default();
        let shown = (shown.times.get(), shown.all.len(), shown.last.len());
        assert_eq!(shown, (None, 0, 0));
    }
    // What came in the second round came for the first time.
    assert!(seen.values().iter().all(|(_, times)| *times == 1));
    // Time goes on for others, and what has expired goes, though nobody asks for it.
    for other in NUMBERS.. {
        feed.send(other).await.expect("is read");
        let savepoint = job.savepoint().await.expect("is made");
        let contents = savepoint.inspect(false).expect("is whole");
        let mut states = contents
            .operators
            .iter()
            .flat_map(|operator| &operator.states);
        let rows = states.find(|state| state.name == "rows").expect("has rows");
        if rows.keys.is_some_and(|keys| keys < 200) {
            break;
        }
        assert!(
            other < NUMBERS + 300,
            "there are still {:?} rows",
            rows.keys
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    job.cancel();
}

/// So many that they are not all in memory.
const KEYS_OF_A_LIFE: u64 = 1_000;

/// A life of the program on one backend or the other.
async fn life(dir: &Path, on_disk: bool) -> JobHandle {
    let mut builder = StreamEnvironment::builder()
        .parallelism(2)
        .checkpoint_interval(Duration::from_millis(20))
        .storage(Storage::Directory(dir.join("state")));
    if on_disk {
        let rocks = RocksDbBackend::new(dir.join("rows")).expect("a backend");
        builder = builder.state_backend(rocks.memory(1 << 20).files_from(0));
    }
    life_in(builder, dir, KEYS_OF_A_LIFE).await
}

#[tokio::test]
async fn a_job_goes_on_on_disk_and_not_back_but_by_a_savepoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = None;
    for on_disk in [false, true, true] {
        let mut job = life(dir.path(), on_disk).await;
        last = checkpoint_after(&mut job, last).await;
    }
    // Files of a store are nothing that memory could read. The job is as it was.
    let refused = life(dir.path(), false).await.wait().await;
    let refusal = refused.expect_err("lies in files").to_string();
    assert!(
        refusal.contains("files of state backend RocksDB, which state in memory can't read")
            && refusal.contains("resume the job with the backend that it had"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
    let job = life(dir.path(), true).await;
    let view = job.wait().await.expect("completes").view;
    assert!(view.last_checkpoint >= last, "{view:?}");
    assert_each_record_is_written_once(dir.path(), KEYS_OF_A_LIFE);
}

#[tokio::test]
async fn a_backend_with_too_little_memory_is_refused_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let rocks = RocksDbBackend::new(dir.path()).expect("a backend");
    let builder = StreamEnvironment::builder().state_backend(rocks.memory(0));
    let env = builder.build();
    env.from_collection(vec![1, 2, 3]).print();
    let refused = env.execute("numbers").await;
    let refusal = refused.expect_err("has no memory").to_string();
    assert!(
        refusal.contains("memory of 0 bytes") && refusal.contains("give .memory(1048576)"),
        "{refusal}"
    );
    assert!(!refusal.contains('\n'), "{refusal}");
}
