//! What an environment is set up with.

use std::sync::Arc;
use std::time::Duration;

use rivus_actors::{NodeConfig, Probe};
use rivus_core::Timestamp;
use rivus_core::job::{CheckpointMode, JobOptions, RestartStrategy};
use rivus_state::{Blocking, StateBackend};

use super::StreamEnvironment;
use crate::cluster::{ClusterSettings, RuntimeMode};
use crate::program::Program;
use crate::storage::{Coordination, Storage};

/// Settings of an environment; see [`StreamEnvironment::builder`]. The order of the calls doesn't matter: what is set
/// by itself holds, whatever [`options`](Self::options) or [`node`](Self::node) say of it.
///
/// ```
/// use rivus::{RestartStrategy, StreamEnvironment};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// let env = StreamEnvironment::builder()
///     .parallelism(2)
///     .max_parallelism(64)
///     .task_managers(2)
///     .slots(1)
///     .job_managers(3)
///     .checkpoint_interval(Duration::from_millis(500))
///     .restart(RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_secs(1) })
///     .build();
/// let squares = env.from_collection((1..=4).collect::<Vec<u64>>()).map(|n| n * n).collect();
/// env.execute("squares").await?;
/// assert_eq!(squares.values().iter().sum::<u64>(), 30);
/// # Ok(()) }
/// ```
///
/// A simulation, in which the same seed gives the same run and an hour passes at once:
///
/// ```
/// use rivus::connectors::GeneratorSource;
/// use rivus::{RuntimeMode, StreamEnvironment};
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // tokio's feature "test-util"
/// async fn main() -> Result<(), rivus::JobError> {
///     let env = StreamEnvironment::builder()
///         .runtime(RuntimeMode::Current)
///         .seed(7)
///         .starts_at(1_700_000_000_000)
///         .build();
///     let hour = env.from_source(GeneratorSource::new(|n, _| n).rate(1).count(3_600)).collect();
///     env.execute("an hour").await?;
///     assert_eq!(hour.len(), 3_600);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct EnvironmentBuilder {
    parallelism: u32,
    max_parallelism: Option<u32>,
    chaining: bool,
    slots: Option<u32>,
    task_managers: Option<u32>,
    job_managers: Option<u32>,
    checkpoint_interval: Option<Option<Duration>>,
    checkpoint_mode: Option<CheckpointMode>,
    unaligned_after: Option<Duration>,
    restart: Option<RestartStrategy>,
    options: JobOptions,
    settings: ClusterSettings,
}

impl EnvironmentBuilder {
    /// Everything as it is by default.
    pub(super) fn new() -> Self {
        Self {
            parallelism: 1,
            max_parallelism: None,
            chaining: true,
            slots: None,
            task_managers: None,
            job_managers: None,
            checkpoint_interval: None,
            checkpoint_mode: None,
            unaligned_after: None,
            restart: None,
            options: JobOptions::default(),
            settings: ClusterSettings {
                node: NodeConfig::default(),
                mode: RuntimeMode::Threads { workers: 0 },
                storage: Storage::Memory,
                coordination: Coordination::InProcess,
                seed: None,
                starts_at: None,
                probe: None,
                blocking: None,
                backend: None,
                factories: None,
                wire: None,
            },
        }
    }

    /// Subtasks of every operator that doesn't say otherwise. Default 1.
    ///
    /// ```
    /// use rivus::{StreamEnvironment, connectors::DiscardSink};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().parallelism(2).build();
    /// env.from_collection(vec![1, 2, 3]).map(|n| n + 1).sink_to(DiscardSink::new());
    /// assert_eq!(env.execute("numbers").await?.view.subtasks.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn parallelism(mut self, parallelism: u32) -> Self {
        self.parallelism = parallelism;
        self
    }

    /// Number of key groups, and so the most subtasks that can ever share keyed state. Default 128. It
    /// can't change once a job has state.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().max_parallelism(4).build();
    /// env.from_collection(vec![1, 2, 3]).map(|n| n + 1).parallelism(8).print();
    /// let refused = env.execute("numbers").await.unwrap_err().to_string();
    /// assert!(refused.contains("has parallelism 8, above the job's max_parallelism 4"));
    /// # Ok(()) }
    /// ```
    pub fn max_parallelism(mut self, max_parallelism: u32) -> Self {
        self.max_parallelism = Some(max_parallelism);
        self
    }

    /// Whether operators of equal parallelism on forward edges share a subtask. Default true.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// for (chaining, tasks) in [(true, 1), (false, 3)] {
    ///     let env = StreamEnvironment::builder().chaining(chaining).build();
    ///     env.from_collection(vec![1, 2, 3]).map(|n| n + 1).print();
    ///     assert_eq!(env.execute("numbers").await?.view.subtasks.len(), tasks);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn chaining(mut self, chaining: bool) -> Self {
        self.chaining = chaining;
        self
    }

    /// Slots of each TaskManager. A job needs as many in all as its widest operator has subtasks, and holds them to its
    /// end. Default: what the environment's first job needs, at least what [`node`](Self::node) says.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().slots(2).build();
    /// env.from_collection(vec![1, 2, 3]).map(|n| n + 1).parallelism(3).print();
    /// let refused = env.execute("numbers").await.unwrap_err().to_string();
    /// assert!(refused.contains("parallelism 3 needs as many slots, and the environment has 2"));
    /// # Ok(()) }
    /// ```
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// TaskManagers in this process. Default 1.
    pub fn task_managers(mut self, task_managers: u32) -> Self {
        self.task_managers = Some(task_managers);
        self
    }

    /// JobManagers in this process: one leads, the others stand by. Default 2.
    pub fn job_managers(mut self, job_managers: u32) -> Self {
        self.job_managers = Some(job_managers);
        self
    }

    /// Time from one checkpoint's start to the next. Default 10 s.
    ///
    /// ```
    /// use rivus::{StreamEnvironment, connectors::{DiscardSink, GeneratorSource}};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().checkpoint_interval(Duration::from_millis(20)).build();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(100)).sink_to(DiscardSink::new());
    /// let mut job = env.start("numbers").await?;
    /// let view = job.wait_until(|view| view.checkpoints >= 2).await?;
    /// assert!(view.last_checkpoint.is_some());
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = Some(Some(interval));
        self
    }

    /// No checkpoints but the final one of a bounded job.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().without_checkpoints().build();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// assert_eq!(env.execute("numbers").await?.view.checkpoints, 1); // the final one
    /// # Ok(()) }
    /// ```
    pub fn without_checkpoints(mut self) -> Self {
        self.checkpoint_interval = Some(None);
        self
    }

    /// What a restart may do to records. Default: each has its effect exactly once.
    ///
    /// ```
    /// use rivus::{CheckpointMode, StreamEnvironment};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().checkpoint_mode(CheckpointMode::AtLeastOnce).build();
    /// env.from_collection(vec![1, 2, 3]).print(); // a number might be printed twice, none not at all
    /// env.execute("numbers").await?;
    /// # Ok(()) }
    /// ```
    pub fn checkpoint_mode(mut self, mode: CheckpointMode) -> Self {
        self.checkpoint_mode = Some(mode);
        self
    }

    /// A periodic checkpoint whose barrier is held up longer in a subtask goes on unaligned: the barrier overtakes the records
    /// before it, which become part of the checkpoint. With zero it does so at once. Default: it waits for them.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().unaligned_after(Duration::from_secs(1)).build();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let view = env.execute("numbers").await?.view;
    /// assert_eq!(view.last_checkpoint_in_flight, None); // nothing held it up
    /// # Ok(()) }
    /// ```
    pub fn unaligned_after(mut self, wait: Duration) -> Self {
        self.unaligned_after = Some(wait);
        self
    }

    /// What happens after a failure. Default: exponential delay.
    ///
    /// ```
    /// use rivus::{OnError, RestartStrategy, StreamEnvironment};
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// static IS_BACK: AtomicBool = AtomicBool::new(false);
    /// let ask = |n: u32| IS_BACK.swap(true, Ordering::Relaxed).then_some(n).ok_or("the service is away");
    ///
    /// let twice = RestartStrategy::FixedDelay { attempts: 2, delay: Duration::from_millis(10) };
    /// let env = StreamEnvironment::builder().restart(twice).build();
    /// let numbers = env.from_collection(vec![1, 2, 3]).try_map(ask, OnError::Fail).collect();
    /// let view = env.execute("numbers").await?.view;
    /// assert_eq!((view.restarts, numbers.values()), (1, vec![1, 2, 3]));
    /// # Ok(()) }
    /// ```
    pub fn restart(mut self, strategy: RestartStrategy) -> Self {
        self.restart = Some(strategy);
        self
    }

    /// All settings of the jobs, but for those that have calls of their own.
    ///
    /// ```
    /// use rivus::{JobOptions, StreamEnvironment};
    ///
    /// let options = JobOptions { retained_checkpoints: 3, ..JobOptions::default() };
    /// let env = StreamEnvironment::builder().options(options).build();
    /// ```
    pub fn options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    /// Where checkpoints and job logs lie. Default: in memory.
    ///
    /// ```
    /// use rivus::{Storage, StreamEnvironment};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let state = dir.path().join("state");
    /// let env = StreamEnvironment::builder().storage(Storage::Directory(state.clone())).build();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// env.execute("numbers").await?;
    /// assert!(state.exists()); // with the job's log and its last checkpoint
    /// # Ok(()) }
    /// ```
    pub fn storage(mut self, storage: Storage) -> Self {
        self.settings.storage = storage;
        self
    }

    /// Who leads among the processes that share the storage. Default: this process is alone.
    pub fn coordination(mut self, coordination: Coordination) -> Self {
        self.settings.coordination = coordination;
        self
    }

    /// On which threads the actors run. Default: their own, a worker per core.
    ///
    /// ```
    /// use rivus::{RuntimeMode, StreamEnvironment, connectors::{DiscardSink, GeneratorSource}};
    /// use std::time::Duration;
    ///
    /// // On this one, by tokio's clock: while that is paused, time goes on when everything waits.
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// let (begun, env) = (tokio::time::Instant::now(), StreamEnvironment::builder().runtime(RuntimeMode::Current).build());
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1).count(60)).sink_to(DiscardSink::new());
    /// env.execute("a minute").await?; // at once
    /// assert!(begun.elapsed() >= Duration::from_secs(59));
    /// # Ok(()) }
    /// ```
    pub fn runtime(mut self, mode: RuntimeMode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// Settings of the node: leases, heartbeats, timeouts, and whatever has no call of its own.
    ///
    /// ```
    /// use rivus::{NodeConfig, StreamEnvironment};
    /// use std::time::Duration;
    ///
    /// let node = NodeConfig { lease: Duration::from_secs(1), ..NodeConfig::default() };
    /// let env = StreamEnvironment::builder().node(node).build();
    /// ```
    pub fn node(mut self, node: NodeConfig) -> Self {
        self.settings.node = node;
        self
    }

    /// Where all randomness comes from. Default: the system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// What the wall clock shows at the start, milliseconds since the epoch. Default: what it shows.
    pub fn starts_at(mut self, unix_millis: Timestamp) -> Self {
        self.settings.starts_at = Some(unix_millis);
        self
    }

    /// Looks in on every actor, and may break it. For tests.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    /// use rivus::engine::{ActorKind, Fault, Probe, Step};
    /// use std::{fmt::Display, sync::Arc, sync::atomic::{AtomicBool, Ordering}};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// /// Makes the first actor that passes a step panic there.
    /// struct Once(AtomicBool);
    ///
    /// impl Probe for Once {
    ///     fn at(&self, kind: ActorKind, _label: &dyn Display, _step: Step) -> Option<Fault> {
    ///         let first = kind == ActorKind::Subtask && !self.0.swap(true, Ordering::Relaxed);
    ///         first.then_some(Fault::Panic)
    ///     }
    /// }
    ///
    /// let env = StreamEnvironment::builder().probe(Arc::new(Once(AtomicBool::new(false)))).build();
    /// let numbers = env.from_collection(vec![1, 2, 3]).collect();
    /// let view = env.execute("numbers").await?.view;
    /// assert_eq!((numbers.values(), view.restarts), (vec![1, 2, 3], 1));
    /// # Ok(()) }
    /// ```
    pub fn probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.settings.probe = Some(probe);
        self
    }

    /// Where keyed state lies. Default: all of it in memory.
    ///
    /// With [`RocksDbBackend`](crate::RocksDbBackend) it may be larger than memory: what is needed lately is in memory, the
    /// rest on disk. The results are the same, if not the order of
    /// those of one window, and so are savepoints: a job may go on from them with another backend.
    ///
    /// ```
    /// use rivus::{Count, RocksDbBackend, StreamEnvironment};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let backend = RocksDbBackend::new(directory)?.memory(64 << 20);
    /// let env = StreamEnvironment::builder().state_backend(backend).build();
    /// let words = ["to", "be", "or", "not", "to", "be"].map(str::to_owned);
    /// let counts = env.from_collection(words.to_vec()).key_by(|word| word.clone()).aggregate(Count::new()).collect();
    /// env.execute("words").await?;
    /// assert_eq!(counts.values().last(), Some(&("be".to_owned(), 2)));
    /// # Ok(()) }
    /// ```
    pub fn state_backend(mut self, backend: impl StateBackend + 'static) -> Self {
        self.settings.backend = Some(Arc::new(backend));
        self
    }

    /// Where blocking work runs. Default: a pool of threads, or in a simulation the caller. For tests, such
    /// as those in which storage is slow.
    ///
    /// ```
    /// use rivus::StreamEnvironment;
    /// use rivus::engine::state::Inline;
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().blocking(Arc::new(Inline)).build();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// env.execute("numbers").await?;
    /// # Ok(()) }
    /// ```
    pub fn blocking(mut self, blocking: Arc<dyn Blocking>) -> Self {
        self.settings.blocking = Some(blocking);
        self
    }

    /// The environment.
    pub fn build(mut self) -> StreamEnvironment {
        let (node, options) = (&mut self.settings.node, &mut self.options);
        node.task_managers = self.task_managers.unwrap_or(node.task_managers);
        node.job_managers = self.job_managers.unwrap_or(node.job_managers);
        if let Some(interval) = self.checkpoint_interval {
            options.checkpoint_interval = interval;
        }
        if let Some(mode) = self.checkpoint_mode {
            options.checkpoint_mode = mode;
        }
        if let Some(restart) = self.restart {
            options.restart = restart;
        }
        options.unaligned_after = self.unaligned_after.or(options.unaligned_after);
        StreamEnvironment {
            program: Program::new(self.parallelism, self.max_parallelism, self.chaining),
            options: self.options,
            settings: self.settings,
            slots: self.slots,
            cluster: Arc::default(),
        }
    }
}
