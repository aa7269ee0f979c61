//! The actors that run an environment's jobs: one node, in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ractor::{Actor, ActorRef};
use rivus_actors::{
    Asked, JobView, NodeActor, NodeConfig, NodeContext, NodeMessage, Probe, ProgramFactories,
    Programs, Seed, Stand, Submission, SubtaskMessage, TokioClock, Views,
};
use rivus_core::{AttemptId, Failure, JobGraph, JobId, Timestamp, key_hash};
use rivus_state::{Blocking, CheckpointStorage, Inline, LocalCopies, Pool, StateBackend};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::claims::Claims;
use crate::error::JobError;
use crate::runtimes::{OwnRuntimes, runtimes};
use crate::storage::{Coordination, Storage, no_log};
use crate::wire::{Wire, WireSettings};

/// On which threads the actors run.
///
/// ```
/// use rivus::{RuntimeMode, StreamEnvironment};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// let env = StreamEnvironment::builder().runtime(RuntimeMode::Threads { workers: 2 }).build();
/// let on_threads = env.from_collection(vec![1, 2, 3]).collect();
/// env.execute("numbers").await?;
///
/// let env = StreamEnvironment::builder().runtime(RuntimeMode::Current).seed(7).build();
/// let simulated = env.from_collection(vec![1, 2, 3]).collect();
/// env.execute("numbers").await?;
/// assert_eq!(on_threads.values(), simulated.values());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeMode {
    /// On threads of their own: one for control actors, and this many workers for subtasks (0: one per core).
    ///
    /// A subtask stays on its worker, and user code that blocks holds up all that is there, other jobs' subtasks too: what has to
    /// wait belongs elsewhere. tokio's `block_in_place` is refused there, and what is spawned there runs when the subtask's
    /// turn is over.
    Threads {
        /// Threads that subtasks run on.
        workers: usize,
    },
    /// All on the current runtime, which must be a current-thread one: a simulation, whose clock can be
    /// paused and whose every run with the same seed is the same. Storage in memory only.
    Current,
}

/// How a cluster is set up.
#[derive(Clone)]
pub(crate) struct ClusterSettings {
    pub(crate) node: NodeConfig,
    pub(crate) mode: RuntimeMode,
    pub(crate) storage: Storage,
    pub(crate) coordination: Coordination,
    pub(crate) seed: Option<u64>,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) probe: Option<Arc<dyn Probe>>,
    pub(crate) blocking: Option<Arc<dyn Blocking>>,
    pub(crate) backend: Option<Arc<dyn StateBackend>>,
    /// The jobs that have names.
    pub(crate) factories: Option<Arc<dyn ProgramFactories>>,
    /// How it speaks with other processes; none: it is alone.
    pub(crate) wire: Option<WireSettings>,
}

/// A node and the threads it runs on.
pub(crate) struct Cluster {
    context: Arc<NodeContext>,
    node: ActorRef<NodeMessage>,
    directory: Option<PathBuf>,
    /// Where it listens for others, for people; empty if it doesn't.
    listens: String,
    /// None where others contend, and one of them leads.
    claims: Option<Claims>,
    /// None of its own in a simulation.
    _runtimes: OwnRuntimes,
}

impl Cluster {
    pub(crate) async fn start(settings: ClusterSettings) -> Result<Self, JobError> {
        settings.storage.check(settings.mode)?;
        settings.coordination.check(settings.mode)?;
        if let Some(backend) = &settings.backend {
            backend.check().map_err(JobError::Setup)?;
        }
        let objects = settings.storage.open()?;
        let directory = match settings.storage {
            Storage::Directory(path) => Some(path),
            _ => None,
        };
        let (handles, mut runtimes) = runtimes(settings.mode)?;
        let blocking: Arc<dyn Blocking> = match (settings.blocking, settings.mode) {
            (Some(blocking), _) => blocking,
            (None, RuntimeMode::Threads { .. }) => Arc::new(Pool::new(handles.control.clone())),
            (None, RuntimeMode::Current) => Arc::new(Inline),
        };
        let seed_value = settings.seed.unwrap_or_else(entropy);
        let seed = Seed::new(seed_value);
        let (election, log) = settings.coordination.open(settings.node.lease, &objects)?;
        log.probe(seed.nonce()).map_err(no_log)?;
        let unix_millis = settings.starts_at.unwrap_or_else(wall_clock);
        // Behind the terms of whatever process used the storage before this one.
        let first_term = unix_millis.max(0) as u64;
        election.observe(first_term);
        let mut config = settings.node;
        if settings.coordination.is_shared() && config.name.is_empty() {
            config.name = format!("{}/", seed.uuid());
        }
        let control = handles.control.clone();
        let mut wire = match settings.wire {
            Some(wire) => {
                let runtime = runtimes.wire()?;
                let storage = objects.identity(seed.uuid()).map_err(JobError::setup)?;
                Some(Wire::listen(wire, &mut config, storage, control.clone(), runtime).await?)
            }
            None => None,
        };
        let claims = (!settings.coordination.is_shared()).then(Claims::default);
        let context = Arc::new(NodeContext {
            config,
            clock: Arc::new(TokioClock::starting_at(unix_millis)),
            seed,
            runtimes: handles,
            remote: wire.as_mut().and_then(Wire::remote),
            blocking,
            checkpoints: CheckpointStorage::new(objects),
            backend: settings.backend,
            local: LocalCopies::default(),
            log,
            election,
            programs: match settings.factories {
                Some(factories) => Programs::with_factories(factories),
                None => Programs::default(),
            },
            views: Views::default(),
            task_managers: watch::Sender::default(),
            stand: Stand::default(),
            process: key_hash(&(seed_value, unix_millis)),
            led: rivus_actors::Shared::default(),
            peers: rivus_actors::Shared::default(),
            probe: settings.probe,
        });
        let arguments = Arc::clone(&context);
        let spawned = control
            .spawn(async move { Actor::spawn(None, NodeActor, arguments).await })
            .await;
        let node = match spawned {
            Ok(Ok((node, _))) => node,
            Ok(Err(error)) => {
                return Err(JobError::Setup(format!("the node did not start: {error}")));
            }
            Err(error) => return Err(JobError::Setup(format!("the node did not start: {error}"))),
        };
        let listens = wire.as_ref().map_or_else(String::new, Wire::listens);
        if let Some(wire) = wire {
            wire.serve(&context, &node);
        }
        Ok(Self {
            context,
            node,
            directory,
            listens,
            claims,
            _runtimes: runtimes,
        })
    }

    /// Refuses a job that could never have the slots it needs.
    pub(crate) fn check_room(&self, graph: &JobGraph) -> Result<(), JobError> {
        let node = &self.context.config;
        let slots = node.slots.saturating_mul(node.task_managers);
        // Where TaskManagers come and go, there may be enough of them some day.
        let is_final = self.context.remote.is_none();
        match graph.widest() {
            Some(widest) if is_final && widest.parallelism > slots => {
                let each = widest.parallelism.div_ceil(node.task_managers);
                Err(JobError::Setup(format!(
                    "operator {}: parallelism {} needs as many slots, and the environment has {slots}: \
                     build it with .slots({each}), or start the service with --slots {each}",
                    graph.node(widest.nodes[0]).uid,
                    widest.parallelism,
                )))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn node(&self) -> &ActorRef<NodeMessage> {
        &self.node
    }

    /// An id that no job has.
    pub(crate) fn new_id(&self) -> Uuid {
        self.context.seed.uuid()
    }

    /// Runs a job under an id that may have a log already.
    ///
    /// # Errors
    /// If it is being run elsewhere on this host.
    pub(crate) async fn submit(
        &self,
        job: JobId,
        graph: JobGraph,
        submission: Submission,
    ) -> Result<watch::Receiver<JobView>, JobError> {
        let claims = self.claim(job).await?;
        self.context.programs.insert(job, graph);
        let view = self.submit_named(job, submission);
        if let Some(claims) = claims {
            let blocking = Arc::clone(&self.context.blocking);
            let held = claims.hold(job, view.clone(), blocking);
            self.context.runtimes.control.spawn(held);
        }
        Ok(view)
    }

    /// Claims a job whose log lies in a directory; where that is to be held.
    async fn claim(&self, job: JobId) -> Result<Option<Claims>, JobError> {
        let (Some(claims), Some(directory)) = (&self.claims, &self.directory) else {
            return Ok(None);
        };
        let (claims, node) = (claims.clone(), Arc::clone(&self.context));
        let place = directory.display().to_string();
        self.blocking(move || {
            let is_held = claims.claim(job, &node, &place)?;
            Ok(is_held.then_some(claims))
        })
        .await?
    }

    /// Runs a job whose program is at hand or has a name.
    pub(crate) fn submit_named(
        &self,
        job: JobId,
        submission: Submission,
    ) -> watch::Receiver<JobView> {
        let view = self.context.views.begin(job, &submission.name);
        let _ = self.node.cast(NodeMessage::Submit { job, submission });
        view
    }

    /// The jobs as they were seen last.
    pub(crate) fn views(&self) -> &Views {
        &self.context.views
    }

    /// For who waits for what was asked of a job: it isn't to be done later if they are gone by then.
    pub(crate) fn waiting(&self, job: JobId, asked: Asked) -> Waiting {
        let node = self.node.clone();
        Waiting { node, job, asked }
    }

    /// The plan of a job that isn't over.
    pub(crate) fn graph(&self, job: JobId) -> Option<Arc<JobGraph>> {
        let view = self.context.views.watch(job);
        let parallelism = view.and_then(|view| view.borrow().parallelism);
        self.context.programs.at(job, parallelism).ok().flatten()
    }

    /// The actor of an execution that is there.
    pub(crate) fn subtask(
        &self,
        job: JobId,
        attempt: AttemptId,
    ) -> Option<ActorRef<SubtaskMessage>> {
        self.context.peers.get(&(job, attempt))
    }

    /// What its actors share: where checkpoints, savepoints and logs lie, among other things.
    pub(crate) fn context(&self) -> &Arc<NodeContext> {
        &self.context
    }

    /// The directory of the storage, if it is one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Where this process listens for others, for people.
    pub(crate) fn listens(&self) -> &str {
        &self.listens
    }

    /// Does what may block, where that may be done.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JobError> {
        let (sender, receiver) = oneshot::channel();
        self.context.blocking.run(Box::new(move || {
            let _ = sender.send(work());
        }));
        receiver.await.map_err(|_| JobError::NodeStopped)
    }
}

impl Cluster {
    /// Ends the node in good order: nobody here campaigns or writes any more, and what it led is given up, so that the next
    /// process need not wait until a lease has run out.
    pub(crate) async fn end(&self) {
        let _ = self.node.kill_and_wait(None).await;
        let (election, process) = (
            Arc::clone(&self.context.election),
            self.context.config.name.clone(),
        );
        let left = self.blocking(move || election.leave(&process)).await;
        if let Ok(Err(error)) = left {
            let why = Failure::user(&error.into()).message;
            tracing::warn!(why, "can't resign, the lease will run out");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.node.kill();
        if let Some(claims) = &self.claims {
            claims.let_go();
        }
    }
}

/// Somebody waits for what was asked of a job.
pub(crate) struct Waiting {
    node: ActorRef<NodeMessage>,
    job: JobId,
    asked: Asked,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let withdraw = NodeMessage::Withdraw(self.job, self.asked);
        let _ = self.node.cast(withdraw);
    }
}

/// The wall clock, read once; from then on time is tokio's.
#[allow(clippy::disallowed_methods)]
fn wall_clock() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |time| time.as_millis() as Timestamp)
}

/// A seed for those who don't want to choose one.
#[allow(clippy::disallowed_methods)]
fn entropy() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
