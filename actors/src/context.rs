//! What every actor of a process shares: the clock, the stores, the seed, the runtimes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ractor::{ActorCell, ActorProcessingErr, ActorRef};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rivus_core::{AttemptId, Clock, JobGraph, JobId, SubtaskId, Timestamp};
use rivus_state::{
    Blocking, CheckpointStorage, Election, JobLog, LocalCopies, LocalCopy, StateBackend,
};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::probe::{self, ActorKind, Probe, Step};
use crate::programs::Programs;
use crate::remote::Remote;
use crate::resource_manager::TaskManagerView;
use crate::standing::Stand;
use crate::subtask::SubtaskMessage;
use crate::views::Views;

/// Settings of a process.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// What the names of its candidates and TaskManagers begin with, where other processes have some too; empty where there
    /// are none.
    pub name: String,
    /// Where TaskManagers of other processes reach this one, as its leaders advertise it; empty if they don't.
    pub address: String,
    /// Where this process answers commands, as its leaders advertise it; empty if it answers none.
    pub commands: String,
    /// TaskManagers in this process; 0 in one that only leads.
    pub task_managers: u32,
    /// Slots of each.
    pub slots: u32,
    /// JobManagers in this process: one leads, the others stand by; 0 in one that only runs tasks.
    pub job_managers: u32,
    /// How long a lease lasts; a leader renews it after a third, others look each twelfth.
    pub lease: Duration,
    /// How often TaskManagers tell that they live.
    pub heartbeat_interval: Duration,
    /// After how long a silence a TaskManager is given up.
    pub heartbeat_timeout: Duration,
    /// How long a new leader waits for reports.
    pub collect_timeout: Duration,
    /// How often subtasks report their figures.
    pub metrics_interval: Duration,
    /// How long tasks go on without a leader.
    pub task_survival_timeout: Duration,
    /// Entries after which a job's log is folded into a snapshot.
    pub compact_log_every: u64,
    /// Whether files of the last checkpoint are kept on the disk of the process, for a restart to begin with.
    pub local_recovery: bool,
    /// Bytes up to which a snapshot is read at once when it is restored, and so checked before anything is made of it. Rows
    /// of a larger one are streamed.
    pub read_at_once: u64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            address: String::new(),
            commands: String::new(),
            task_managers: 1,
            slots: 2,
            job_managers: 2,
            lease: Duration::from_secs(3),
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(10),
            collect_timeout: Duration::from_secs(5),
            metrics_interval: Duration::from_millis(250),
            task_survival_timeout: Duration::from_secs(300),
            compact_log_every: 1_000,
            local_recovery: true,
            read_at_once: 4 << 20,
        }
    }
}

/// Nobody looks for a leader more often, however short leases are.
pub(crate) const SHORTEST_LOOK: Duration = Duration::from_millis(10);

impl NodeConfig {
    /// How often who waits for a leader looks: a candidate that stands by, a TaskManager that has none. Every job waits
    /// for the next leader as long as nobody has looked, and a look reads a little and writes nothing.
    pub(crate) fn look_interval(&self) -> Duration {
        (self.lease / 12).max(SHORTEST_LOOK)
    }

    /// Refuses what can't work in a process that is alone.
    ///
    /// # Errors
    /// One line that names the setting and the mend.
    pub fn check(&self) -> Result<(), String> {
        refuse_zeros(&[
            ("task_managers", self.task_managers == 0),
            ("job_managers", self.job_managers == 0),
        ])?;
        self.check_in_cluster()
    }

    /// Refuses what can't work in one of several processes, which may do without leaders or without tasks.
    ///
    /// # Errors
    /// One line that names the setting and the mend.
    pub fn check_in_cluster(&self) -> Result<(), String> {
        refuse_zeros(&[
            ("lease", self.lease.is_zero()),
            ("heartbeat_interval", self.heartbeat_interval.is_zero()),
            ("metrics_interval", self.metrics_interval.is_zero()),
        ])?;
        if self.heartbeat_timeout <= self.heartbeat_interval {
            return Err(format!(
                "node setting heartbeat_timeout {:?} is not longer than heartbeat_interval {:?}: raise it",
                self.heartbeat_timeout, self.heartbeat_interval
            ));
        }
        Ok(())
    }
}

fn refuse_zeros(settings: &[(&str, bool)]) -> Result<(), String> {
    match settings.iter().find(|(_, zero)| *zero) {
        Some((setting, _)) => Err(format!("node setting {setting} is 0: give more")),
        None => Ok(()),
    }
}

/// Where actors run. In a simulation all are the one current-thread runtime.
#[derive(Debug, Clone)]
pub struct Runtimes {
    /// Leaders, supervisors, heartbeats, timers.
    pub control: Handle,
    /// Subtasks: one single-threaded runtime for each worker, at least one. Apart, so that no operator can starve a
    /// heartbeat. A subtask stays on its worker, and what it allocates with it.
    pub data: Vec<Handle>,
    /// Futures of operators: the control runtime, unless they have one of their own.
    pub futures: Handle,
    /// Jobs that have run here, by the order in which they came.
    begun: Arc<Mutex<Begun>>,
    /// Workers held up by an execution that was to end and doesn't, as long as that is there.
    held_up: Arc<Mutex<Vec<HeldUp>>>,
}

/// A worker that is held up, and what is dropped when it isn't any more.
type HeldUp = (usize, Weak<()>);

/// How many jobs have begun here, and which of them each was that is still known.
#[derive(Debug, Default)]
struct Begun {
    jobs: usize,
    numbers: BTreeMap<JobId, usize>,
}

impl Runtimes {
    /// One runtime for control and one for each worker.
    pub fn new(control: Handle, data: Vec<Handle>) -> Self {
        Self {
            futures: control.clone(),
            control,
            data,
            begun: Arc::default(),
            held_up: Arc::default(),
        }
    }

    /// Runs futures of operators on a runtime of their own: they are a user's, and may block it.
    #[must_use]
    pub fn with_futures(self, futures: Handle) -> Self {
        Self { futures, ..self }
    }

    /// The worker of a subtask, by its number. Each job begins with the worker after the one that the job before it began
    /// with; one that is held up is passed over.
    ///
    /// # Panics
    /// If there is no worker.
    pub fn worker(&self, job: JobId, graph: &JobGraph, subtask: SubtaskId) -> usize {
        let workers = self.data.len();
        let first = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let Begun { jobs, numbers } = &mut *begun;
            *numbers.entry(job).or_insert_with(|| {
                *jobs += 1;
                *jobs - 1
            })
        };
        let own = (first + graph.worker(subtask, workers)) % workers;
        let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        held_up.retain(|(_, by)| by.strong_count() > 0);
        let is_free = |worker: &usize| held_up.iter().all(|(other, _)| other != worker);
        let mut workers = (own..workers).chain(0..own);
        workers.find(is_free).unwrap_or(own)
    }

    /// Passes a worker over until this is dropped.
    pub(crate) fn pass_over(&self, worker: usize, until_gone: Weak<()>) {
        let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        held_up.push((worker, until_gone));
    }

    /// Forgets a job that is over.
    pub(crate) fn forget(&self, job: JobId) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.numbers.remove(&job);
    }
}

/// The one clock: tokio's, so that tests can pause it.
#[derive(Debug)]
pub struct TokioClock {
    started: Instant,
    unix_millis: Timestamp,
}

impl TokioClock {
    /// A clock that shows `unix_millis` now. Must be called within the runtime whose time it follows.
    pub fn starting_at(unix_millis: Timestamp) -> Self {
        Self {
            started: Instant::now(),
            unix_millis,
        }
    }
}

impl Clock for TokioClock {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn unix_millis(&self) -> Timestamp {
        self.unix_millis + self.started.elapsed().as_millis() as Timestamp
    }
}

/// The one seed: nonces, ids and jitter come from it.
pub struct Seed(Mutex<ChaCha8Rng>);

impl Seed {
    /// The numbers that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    fn rng(&self) -> MutexGuard<'_, ChaCha8Rng> {
        // A panic can't leave a generator half-written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that nobody else has.
    pub fn nonce(&self) -> u128 {
        self.rng().random()
    }

    /// An id that nobody else has.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng().random()).into_uuid()
    }

    /// A number in 0..1.
    pub fn fraction(&self) -> f64 {
        self.rng().random()
    }
}

/// A map that actors share for a moment at a time; never held over an await.
pub struct Shared<K, V>(Mutex<BTreeMap<K, V>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V: Clone> Shared<K, V> {
    fn map(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.map().get(key).cloned()
    }

    /// Sets the value of a key.
    pub fn insert(&self, key: K, value: V) {
        self.map().insert(key, value);
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        self.map().remove(key);
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<K>
    where
        K: Clone,
    {
        self.map().keys().cloned().collect()
    }

    /// All values.
    pub(crate) fn values(&self) -> Vec<V> {
        self.map().values().cloned().collect()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map().is_empty()
    }
}

/// What every actor of a process shares.
pub struct NodeContext {
    /// Settings.
    pub config: NodeConfig,
    /// The one clock.
    pub clock: Arc<dyn Clock>,
    /// The one seed.
    pub seed: Seed,
    /// Where actors run.
    pub runtimes: Runtimes,
    /// How other processes are reached; none: this one is alone.
    pub remote: Option<Remote>,
    /// Where blocking work is done.
    pub blocking: Arc<dyn Blocking>,
    /// Snapshots and manifests.
    pub checkpoints: CheckpointStorage,
    /// Where keyed state lies that has no room in memory; none: all of it is in memory.
    pub backend: Option<Arc<dyn StateBackend>>,
    /// Files of the stores' last checkpoints.
    pub local: LocalCopies,
    /// The jobs' logs.
    pub log: JobLog,
    /// Who may lead.
    pub election: Arc<dyn Election>,
    /// The programs that this process can run. Closures don't travel; a log holds a program's name and fingerprint
    /// only.
    pub programs: Programs,
    /// The jobs as they were seen last.
    pub views: Views,
    /// The TaskManagers that this process leads, as they were seen last.
    pub task_managers: watch::Sender<Vec<TaskManagerView>>,
    /// Whether this process leads.
    pub stand: Stand,
    /// Which process this is, among all that ever use the storage.
    pub process: u64,
    /// The jobs whose logs have a leader of this process.
    pub led: Shared<JobId, ()>,
    /// The executions of this process, for those who open channels to them.
    pub peers: Shared<(JobId, AttemptId), ActorRef<SubtaskMessage>>,
    /// Looks in.
    pub probe: Option<Arc<dyn Probe>>,
}

impl NodeContext {
    /// Whether no other process contends for what this one leads.
    pub(crate) fn is_alone(&self) -> bool {
        self.config.name.is_empty()
    }

    /// Monotonic time.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Drops copies that nobody needs any more, off the actors: it deletes files.
    pub(crate) fn drop_copies(&self, copies: Vec<LocalCopy>) {
        if !copies.is_empty() {
            self.blocking.run(Box::new(move || drop(copies)));
        }
    }

    /// Passes a step, at which a probe may break the actor.
    pub(crate) fn pass(
        &self,
        kind: ActorKind,
        label: &dyn Display,
        step: Step,
        actor: &ActorCell,
    ) -> Result<(), ActorProcessingErr> {
        probe::pass(self.probe.as_deref(), kind, label, step, actor)
    }

    /// Tells the probe of a new actor.
    pub(crate) fn spawned(&self, kind: ActorKind, label: &dyn Display, actor: ActorCell) {
        if let Some(probe) = &self.probe {
            probe.spawned(kind, label, actor);
        }
    }

    /// Sends a message after a while, if there is anybody left to get it: what waits for minutes must not hold what has ended.
    pub(crate) fn send_later<M: ractor::Message>(
        &self,
        to: &ActorRef<M>,
        after: Duration,
        message: M,
    ) {
        let to = to.clone();
        self.runtimes.control.spawn(async move {
            tokio::select! {
                biased;
                () = tokio::time::sleep(after) => {
                    let _ = to.cast(message);
                }
                _ = to.wait(None) => {}
            }
        });
    }
}
