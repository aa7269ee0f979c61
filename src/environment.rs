//! Where a job is written and run.

mod builder;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rivus_actors::{JobStatus, Submission};
use rivus_connectors::CollectionSource;
use rivus_core::job::{JobOptions, StartState};
use rivus_core::{
    Event, JobGraph, JobId, NodeId, Operator, Record, Source, StreamGraph, StreamNode,
};
use rivus_operators::SourceOperator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

pub use self::builder::EnvironmentBuilder;
use crate::cluster::{Cluster, ClusterSettings};
use crate::error::JobError;
use crate::handle::{JobHandle, JobResult};
use crate::program::{NewNode, Program};
use crate::savepoint::{FromSavepoint, Savepoint};
use crate::storage::Storage;
use crate::stream::DataStream;
use crate::tell;

/// How long it is waited for what is known of a job that is resumed.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);

/// Where a job is written and run. Cheap to clone; clones write to the same program.
///
/// ```
/// use rivus::StreamEnvironment;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// let env = StreamEnvironment::default();
/// let doubled = env.from_collection(vec![1, 2, 3]).map(|n| n * 2).collect();
/// env.execute("doubled").await?;
/// assert_eq!(doubled.values(), [2, 4, 6]);
///
/// let halved = env.from_collection(doubled.values()).map(|n| n / 2).collect(); // the next job
/// env.execute("halved").await?;
/// assert_eq!(halved.values(), [1, 2, 3]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StreamEnvironment {
    program: Program,
    options: JobOptions,
    settings: ClusterSettings,
    /// Slots of each TaskManager, if they were given; otherwise the first job says how many.
    slots: Option<u32>,
    /// Started with the first job; all jobs of the environment share it.
    cluster: Arc<Mutex<Option<Arc<Cluster>>>>,
}

impl Default for StreamEnvironment {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl StreamEnvironment {
    /// An environment with other settings than the default ones.
    ///
    /// ```
    /// use rivus::{Storage, StreamEnvironment};
    /// use std::time::Duration;
    ///
    /// let env = StreamEnvironment::builder()
    ///     .parallelism(2)
    ///     .checkpoint_interval(Duration::from_secs(1))
    ///     .storage(Storage::Memory)
    ///     .build();
    /// ```
    pub fn builder() -> EnvironmentBuilder {
        EnvironmentBuilder::new()
    }

    /// A stream of what a source yields.
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let rolls = GeneratorSource::new(|_, rng| 1 + rng.below(6)).seed(42).count(1_000);
    /// let sixes = env.from_source(rolls).filter(|roll| *roll == 6).collect();
    /// env.execute("sixes").await?;
    /// assert!((100..250).contains(&sixes.len()));
    /// # Ok(()) }
    /// ```
    pub fn from_source<S: Source>(&self, source: S) -> DataStream<S::Out> {
        let operator = Operator::Source(Arc::new(SourceOperator::new(source)));
        let node = NewNode::new("source", operator, Vec::new());
        let origin = self.program.add::<S::Out>(node);
        DataStream::new(self.program.clone(), vec![origin])
    }

    /// A stream of the records of a collection.
    ///
    /// At a parallelism above 1 each of the source's subtasks reads a part of it, and records come in any order behind a
    /// `key_by`, those of one key too. Where the order matters, one subtask reads them all: `.parallelism(1)` on this stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let words = env.from_collection(vec!["to".to_owned(), "be".to_owned()]).collect();
    /// env.execute("words").await?;
    /// assert_eq!(words.values(), ["to", "be"]);
    /// # Ok(()) }
    /// ```
    pub fn from_collection<T: Record>(&self, records: Vec<T>) -> DataStream<T> {
        self.from_source(CollectionSource::new(records))
    }

    /// A stream of records that have their times already. Watermarks still have to be assigned.
    ///
    /// ```
    /// use rivus::Event;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let clicks = env.from_events(vec![Event::at(1_000, "ann".to_owned())]).collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(clicks.events()[0].ts, 1_000);
    /// # Ok(()) }
    /// ```
    pub fn from_events<T: Record>(&self, events: Vec<Event<T>>) -> DataStream<T> {
        self.from_source(CollectionSource::timestamped(events))
    }

    /// Runs the job that was written and waits for its end. The environment is empty then, and the next
    /// job can be written.
    ///
    /// # Errors
    /// If the program can't run, fails for good, or is canceled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let view = env.execute("numbers").await?.view;
    /// assert_eq!((view.restarts, view.takeovers), (0, 0));
    /// # Ok(()) }
    /// ```
    pub async fn execute(&self, name: &str) -> Result<JobResult, JobError> {
        self.start(name).await?.wait().await
    }

    /// Starts the job that was written. The environment is empty then, and the next job can be written.
    ///
    /// # Errors
    /// If the program can't run, or the environment can't be set up.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let job = env.start("for ever").await?;
    /// println!("{} is {:?}", job.id(), job.status());
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn start(&self, name: &str) -> Result<JobHandle, JobError> {
        let graph = self.job()?;
        let cluster = self.cluster(&graph).await?;
        let job = JobId(cluster.new_id());
        let submission = self.submission(name, None);
        let view = cluster.submit(job, graph, submission).await?;
        Ok(JobHandle { job, view, cluster })
    }

    pub(crate) fn submission(&self, name: &str, start: Option<StartState>) -> Submission {
        Submission {
            name: name.to_owned(),
            program: None,
            options: Box::new(self.options.clone()),
            start: start.map(Box::new),
        }
    }

    /// The plan of the job that was written.
    pub(crate) fn plan(&self) -> Result<JobGraph, JobError> {
        let graph = self.program.take()?;
        loose_ends(&graph.written)?;
        Ok(graph)
    }

    /// The same, for whoever runs the program: what is odd about it is told.
    fn job(&self) -> Result<JobGraph, JobError> {
        let graph = self.program.take()?;
        for end in loose_ends(&graph.written)? {
            tell::warn(&format!(
                "nothing takes what operator \"{end}\" emits, so it works for nothing: end its stream with a sink, or leave it out"
            ));
        }
        Ok(graph)
    }

    /// The job that was written, for it to be started in another way.
    pub(crate) async fn written(&self) -> Result<(JobGraph, Arc<Cluster>), JobError> {
        let graph = self.job()?;
        let cluster = self.cluster(&graph).await?;
        Ok((graph, cluster))
    }

    /// Goes on from a savepoint with the job that was written: of the same operators or others, at the same parallelism
    /// or another, on the same state backend or another. Operators find their state by their uid.
    ///
    /// ```
    /// use rivus::connectors::{Collected, GeneratorSource};
    /// use rivus::StreamEnvironment;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// /// The sum of all numbers below 300, as it grows.
    /// fn sums(env: &StreamEnvironment, parallelism: u32) -> Collected<(u64, u64)> {
    ///     let numbers = GeneratorSource::new(|n, _| n).rate(1_000).count(300);
    ///     let by_rest = env.from_source(numbers).uid("numbers").key_by(|n| n % 2);
    ///     by_rest.reduce(|sum, n| *sum += n).uid("sums").parallelism(parallelism).collect()
    /// }
    ///
    /// let env = StreamEnvironment::builder().slots(2).checkpoint_interval(Duration::from_millis(20)).build();
    /// let _ = sums(&env, 1);
    /// let mut job = env.start("sums").await?;
    /// while job.view().checkpoints < 2 {
    ///     job.changed().await?;
    /// }
    /// let savepoint = job.stop_with_savepoint().await?;
    ///
    /// let sums = sums(&env, 2);
    /// env.from_savepoint(&savepoint).execute("sums, by two").await?;
    /// let (mut sums, last) = (sums.values(), |rest| (0..150).map(|n| 2 * n + rest).sum::<u64>());
    /// sums.sort();
    /// assert_eq!(sums.iter().filter(|sum| sum.1 == last(sum.0)).count(), 2);
    /// # Ok(()) }
    /// ```
    pub fn from_savepoint(&self, savepoint: &Savepoint) -> FromSavepoint {
        FromSavepoint::new(self.clone(), savepoint.clone())
    }

    /// Says how state that an earlier version of the program has written is to be read: what was written of a struct or enum of that
    /// name, anywhere in state, in just the form of `Old`, is read as that, and what the function makes of it stands in its place. It is
    /// part of the program, and so there for whoever goes on with it, by [`from_savepoint`](Self::from_savepoint), by
    /// [`RunArgs`](crate::RunArgs) or by `submit --from-savepoint`; and it may stay there, for state of another form is left as it is.
    /// A function for a name that no type in a savepoint has, neither `type_name` nor that of `New`, is refused.
    ///
    /// Rivus's own types are called `rivus.Window` and so on in state, so a program's `Window` is only its own.
    ///
    /// No migration is needed where fields have been removed, or added with `#[serde(default)]`, where a number has become
    /// wider, or a value an option. What changes its meaning and not its form needs another name: `#[serde(rename = "..")]`.
    ///
    /// ```
    /// use rivus::connectors::{Collected, GeneratorSource};
    /// use rivus::{Record, StreamEnvironment};
    /// use serde::{Deserialize, Serialize};
    /// use std::time::Duration;
    ///
    /// /// The form that the first version of the program kept.
    /// mod before {
    ///     #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
    ///     pub struct Total { pub sum: u64 }
    /// }
    /// /// The form that the second version keeps.
    /// #[derive(Clone, Debug, Serialize, Deserialize)]
    /// struct Total { hundreds: u64, rest: u64 }
    ///
    /// fn totals<T: Record>(env: &StreamEnvironment, total: fn(u64) -> T, add: fn(&mut T, T)) -> Collected<((), T)> {
    ///     let numbers = env.from_source(GeneratorSource::new(|n, _| n).rate(1_000).count(300)).uid("numbers");
    ///     numbers.map(total).key_by(|_| ()).reduce(add).uid("totals").collect()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// let env = StreamEnvironment::builder().checkpoint_interval(Duration::from_millis(20)).build();
    /// let _ = totals(&env, |sum| before::Total { sum }, |all, next| all.sum += next.sum);
    /// let mut job = env.start("totals").await?;
    /// while job.view().checkpoints < 2 {
    ///     job.changed().await?;
    /// }
    /// let savepoint = job.stop_with_savepoint().await?;
    ///
    /// let split = |sum| Total { hundreds: sum / 100, rest: sum % 100 };
    /// let totals = totals(&env, split, |all, next| {
    ///     let rest = all.rest + next.rest;
    ///     (all.hundreds, all.rest) = (all.hundreds + next.hundreds + rest / 100, rest % 100);
    /// });
    /// env.migrate("Total", move |old: before::Total| split(old.sum));
    /// env.from_savepoint(&savepoint).drop_state_of("collect-3").execute("totals in hundreds").await?;
    /// let values = totals.values();
    /// let last = &values.last().unwrap().1;
    /// assert_eq!(100 * last.hundreds + last.rest, (0..300).sum::<u64>());
    /// # Ok(()) }
    /// ```
    pub fn migrate<Old, New>(
        &self,
        type_name: &str,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        self.program.migrate(None, type_name, migrate);
    }

    /// As [`migrate`](Self::migrate), in the state of one operator only: others may have a type of the same name.
    ///
    /// ```
    /// # fn with(env: rivus::StreamEnvironment) {
    /// // "visits" kept seconds under this name; "orders" keeps something else.
    /// env.migrate_state_of("visits", "Total", |seconds: u32| 1_000 * u64::from(seconds));
    /// # }
    /// ```
    pub fn migrate_state_of<Old, New>(
        &self,
        uid: &str,
        type_name: &str,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) where
        Old: DeserializeOwned,
        New: Serialize + DeserializeOwned,
    {
        self.program.migrate(Some(uid), type_name, migrate);
    }

    /// Goes on with a job whose log lies in this environment's storage, after the process that ran it has
    /// died. The program must be the same, its parallelism included, or it is refused. A job belongs to one process at a time: where a
    /// directory has its log, whoever resumes it while another process runs it is refused; elsewhere the one that had it ends with an
    /// error. Where they share a [`Coordination`](crate::Coordination), one stands by until the other is gone. A job without a log is started under
    /// the given id; one that has ended says how ([`JobHandle::status`]), until a hundred others have.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`JobError::Setup`] if the job is being run elsewhere. That a job has failed or was canceled before is said by [`JobHandle::wait`].
    ///
    /// ```
    /// use rivus::connectors::{FileSink, GeneratorSource};
    /// use rivus::{JobId, Storage, StreamEnvironment};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let (state, out) = (dir.path().join("state"), dir.path().join("out"));
    /// let id = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?); // this job's, for ever
    /// for life in [1, 2] {
    ///     let env = StreamEnvironment::builder()
    ///         .storage(Storage::Directory(state.clone()))
    ///         .checkpoint_interval(Duration::from_millis(20))
    ///         .build();
    ///     let numbers = GeneratorSource::new(|n, _| n).rate(2_000).count(500);
    ///     env.from_source(numbers).sink_to(FileSink::lines(&out)).uid("out");
    ///     let mut job = env.resume("count", id).await?;
    ///     while life == 1 && job.view().checkpoints == 0 {
    ///         job.changed().await?; // then the first process dies
    ///     }
    ///     if life == 2 {
    ///         job.wait().await?; // the second goes on where the first one stood
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn resume(&self, name: &str, job: JobId) -> Result<JobHandle, JobError> {
        let graph = self.job()?;
        if let Storage::Memory = self.settings.storage {
            tell::warn(&format!(
                "job {name} is resumed without a storage, so nothing of it is kept when this process ends: build the environment \
                 with .storage(Storage::Directory(..))"
            ));
        }
        let cluster = self.cluster(&graph).await?;
        let submission = self.submission(name, None);
        let view = cluster.submit(job, graph, submission).await?;
        let mut handle = JobHandle { job, view, cluster };
        // Where another process may lead, nobody may have a say for long; else a leader says within milliseconds where the job stands,
        // unless the storage can't be read.
        if !self.settings.coordination.is_shared() {
            let known = handle.wait_until(|view| view.status != JobStatus::Recovering);
            let _ = tokio::time::timeout(RESUMED_WITHIN, known).await;
        }
        Ok(handle)
    }

    /// The cluster, which is started for the first job, with room for it.
    async fn cluster(&self, graph: &JobGraph) -> Result<Arc<Cluster>, JobError> {
        self.options.check().map_err(JobError::Setup)?;
        graph
            .check_options(&self.options)
            .map_err(JobError::Setup)?;
        let mut cluster = self.cluster.lock().await;
        let running = match &*cluster {
            Some(running) => Arc::clone(running),
            None => {
                let mut settings = self.settings.clone();
                settings.node.check().map_err(JobError::Setup)?;
                settings.node.slots = self.slots.unwrap_or_else(|| {
                    let needed = graph.widest().map_or(0, |widest| widest.parallelism);
                    let needed = needed.div_ceil(settings.node.task_managers.max(1));
                    needed.max(settings.node.slots)
                });
                let started = Arc::new(Cluster::start(settings).await?);
                *cluster = Some(Arc::clone(&started));
                started
            }
        };
        running.check_room(graph)?;
        Ok(running)
    }
}

/// Names of operators that nothing takes records from, sinks not among them.
///
/// # Errors
/// If the program has no sink at all: whatever it does, nobody would see it.
fn loose_ends(program: &StreamGraph) -> Result<Vec<&str>, JobError> {
    let edges = program
        .nodes
        .iter()
        .flat_map(|node| node.inputs.iter().chain(&node.feedback));
    let read: BTreeSet<NodeId> = edges.map(|edge| edge.from).collect();
    let is_sink = |node: &StreamNode| match &node.operator {
        Operator::Source(_) => false,
        Operator::Transform(operator) => operator.is_sink(),
    };
    let ends = program.nodes.iter().enumerate();
    let ends = ends.filter(|(place, node)| !read.contains(&NodeId(*place)) && !is_sink(node));
    let ends: Vec<&str> = ends.map(|(_, node)| node.name.as_str()).collect();
    match ends.first() {
        Some(first) if !program.nodes.iter().any(is_sink) => Err(JobError::Program(format!(
            "the job has no sink, so nobody would see what operator \"{first}\" emits: end its stream with one, such as .print() \
             or .sink_to(..)"
        ))),
        _ => Ok(ends),
    }
}
