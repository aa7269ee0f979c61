//! A running job, from outside.

use std::sync::Arc;

use ractor::ActorRef;
use rivus_actors::{JobStatus, JobView, NodeMessage};
use rivus_core::job::{JobOutcome, SavepointRequest};
use rivus_core::{CheckpointId, CheckpointKind, JobId};
use rivus_state::savepoint_name;
use tokio::sync::watch;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::error::JobError;
use crate::savepoint::Savepoint;
use crate::tell::{self, LateRecords, Restarts};

/// A job that was started.
///
/// ```
/// use rivus::JobStatus;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let numbers = env.from_collection(vec![1, 2, 3]).collect();
/// let job = env.start("numbers").await?;
/// println!("{} is {} in epoch {}", job.id(), job.status(), job.view().epoch);
/// let result = job.wait().await?;
/// assert!(matches!(result.view.status, JobStatus::Ended(_)));
/// assert_eq!(numbers.len(), 3);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct JobHandle {
    pub(crate) job: JobId,
    pub(crate) view: watch::Receiver<JobView>,
    pub(crate) cluster: Arc<Cluster>,
}

/// A job that has come to its end.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// env.from_collection(vec![1, 2, 3]).filter(|n| *n > 1).print();
/// let view = env.execute("numbers").await?.view;
/// let printed: u64 = view.subtasks.iter().map(|task| task.figures.records_out).sum();
/// assert_eq!(printed, 2);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct JobResult {
    /// The job as it was seen last.
    pub view: JobView,
}

impl JobHandle {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.job
    }

    /// The job at this moment: status, figures of every subtask, checkpoints, restarts, takeovers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let job = env.start("numbers").await?;
    /// assert_eq!(job.view().name, "numbers");
    /// for task in job.view().subtasks {
    ///     println!("{} of {}: {} records", task.attempt, task.name, task.figures.records_in);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn view(&self) -> JobView {
        self.view.borrow().clone()
    }

    /// Where the job stands.
    ///
    /// ```
    /// use rivus::{JobOutcome, JobStatus};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let mut job = env.start("numbers").await?;
    /// job.wait_until(|view| matches!(view.status, JobStatus::Ended(_))).await?;
    /// assert_eq!(job.status(), JobStatus::Ended(JobOutcome::Completed));
    /// # Ok(()) }
    /// ```
    pub fn status(&self) -> JobStatus {
        self.view.borrow().status.clone()
    }

    /// Asks for the job's end. The request outlives the leader that it is told to.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    /// use rivus::JobError;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let job = env.start("for ever").await?;
    /// job.cancel();
    /// assert!(matches!(job.wait().await, Err(JobError::Canceled)));
    /// # Ok(()) }
    /// ```
    pub fn cancel(&self) {
        let _ = self.node().cast(NodeMessage::Cancel(self.job));
    }

    /// Makes a savepoint: all of the job's state at one moment, to be kept until somebody deletes it. The job goes on. The
    /// request outlives the leader that it is told to.
    ///
    /// # Errors
    /// [`JobError::Savepoint`] says why there is none; [`JobError::NodeStopped`].
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let job = env.start("for ever").await?;
    /// let savepoint = job.savepoint().await?;
    /// println!("{savepoint} is {:?}", savepoint.path());
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn savepoint(&self) -> Result<Savepoint, JobError> {
        self.make_savepoint(self.request(CheckpointKind::Savepoint))
            .await
    }

    /// Ends the job with a savepoint: nothing is read behind it, and everything up to it is committed. Windows and timers that
    /// are not due don't fire; whoever goes on from the savepoint fires them. If it fails, the job goes on.
    ///
    /// # Errors
    /// As [`savepoint`](Self::savepoint).
    ///
    /// ```
    /// use rivus::JobStatus;
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let job = env.start("for ever").await?;
    /// let savepoint = job.stop_with_savepoint().await?;
    /// assert!(matches!(job.status(), JobStatus::Ended(_)));
    /// # Ok(()) }
    /// ```
    pub async fn stop_with_savepoint(&self) -> Result<Savepoint, JobError> {
        let kind = CheckpointKind::Stop { drain: false };
        self.make_savepoint(self.request(kind)).await
    }

    /// Ends the job with a savepoint, for good: event time ends first, so every window and event timer fires. Whoever goes on
    /// from such a savepoint has no windows left that later records could join. If it fails, event time has ended all the same: what
    /// comes after it is late. Cancel the job then, and go on from an earlier savepoint.
    ///
    /// # Errors
    /// As [`savepoint`](Self::savepoint).
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let clicks = env
    ///     .from_source(GeneratorSource::new(|n, _| n as i64).rate(1_000))
    ///     .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(3600)))
    ///     .count()
    ///     .collect();
    /// let mut job = env.start("clicks of an hour").await?;
    /// while job.view().subtasks.iter().all(|task| task.figures.records_out == 0) {
    ///     job.changed().await?;
    /// }
    /// job.drain_with_savepoint().await?;
    /// assert_eq!(clicks.len(), 1); // the hour isn't over, and nobody waits for it any more
    /// # Ok(()) }
    /// ```
    pub async fn drain_with_savepoint(&self) -> Result<Savepoint, JobError> {
        let kind = CheckpointKind::Stop { drain: true };
        self.make_savepoint(self.request(kind)).await
    }

    fn request(&self, kind: CheckpointKind) -> SavepointRequest {
        let token = self.cluster.new_id();
        SavepointRequest {
            token,
            kind,
            rescale_to: None,
        }
    }

    /// Makes the savepoint of a request, which may have been made before.
    pub(crate) async fn make_savepoint(
        &self,
        request: SavepointRequest,
    ) -> Result<Savepoint, JobError> {
        let SavepointRequest { token, kind, .. } = request;
        if !is_known(&self.view.borrow(), token) {
            let _ = self.node().cast(NodeMessage::Savepoint(self.job, request));
        }
        let mut view = self.view.clone();
        loop {
            let now = view.borrow_and_update().clone();
            let ended = matches!(now.status, JobStatus::Ended(_));
            match outcome_of(&now, token) {
                // The job is over when all is committed.
                Some(Ok(id)) if ended || !kind.is_last() => {
                    let name = savepoint_name(self.job, id);
                    let savepoint = Savepoint::of(name, self.cluster.directory());
                    return match now.status {
                        JobStatus::Ended(
                            outcome @ (JobOutcome::Failed(_) | JobOutcome::Canceled),
                        ) if kind.is_last() => Err(JobError::Savepoint(format!(
                            "the job has {outcome} before all of its output was visible; savepoint {savepoint} is whole, \
                             and a job that starts from it sees to that"
                        ))),
                        _ => Ok(savepoint),
                    };
                }
                Some(Err(reason)) => {
                    return Err(JobError::Savepoint(format!(
                        "the savepoint failed: {reason}"
                    )));
                }
                None if ended => {
                    return Err(JobError::Savepoint(
                        "the job has ended, and there is no savepoint of it".to_owned(),
                    ));
                }
                Some(Ok(_)) | None => {}
            }
            view.changed().await.map_err(|_| JobError::NodeStopped)?;
        }
    }

    /// Waits until something about the job has changed since this handle was last told so.
    ///
    /// # Errors
    /// If nothing will change any more: the job has ended, as [`wait`](Self::wait) says; [`JobError::Ended`] if it ended well;
    /// [`JobError::NodeStopped`]. The end itself is a change like any other.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().checkpoint_interval(std::time::Duration::from_millis(20)).build();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let mut job = env.start("for ever").await?;
    /// while job.view().checkpoints < 2 {
    ///     job.changed().await?;
    /// }
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn changed(&mut self) -> Result<(), JobError> {
        let is_over = matches!(self.status(), JobStatus::Ended(_));
        if is_over && matches!(self.view.has_changed(), Ok(false)) {
            return Err(self.nothing_more());
        }
        let changed = self.view.changed().await;
        changed.map_err(|_| self.nothing_more())
    }

    /// Why nothing will change any more.
    fn nothing_more(&self) -> JobError {
        match self.status() {
            JobStatus::Ended(outcome) => JobError::of(outcome).err().unwrap_or(JobError::Ended),
            _ => JobError::NodeStopped,
        }
    }

    /// Waits until what is to be seen of the job is as wanted, and returns it.
    ///
    /// # Errors
    /// If the job ends before, as [`wait`](Self::wait) says; [`JobError::Ended`] if it ended well.
    ///
    /// ```
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().checkpoint_interval(std::time::Duration::from_millis(20)).build();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let mut job = env.start("for ever").await?;
    /// let view = job.wait_until(|view| view.checkpoints >= 2).await?;
    /// assert!(view.last_checkpoint.is_some());
    /// job.cancel();
    /// # Ok(()) }
    /// ```
    pub async fn wait_until(
        &mut self,
        wanted: impl Fn(&JobView) -> bool,
    ) -> Result<JobView, JobError> {
        loop {
            let view = self.view.borrow_and_update().clone();
            if wanted(&view) {
                return Ok(view);
            }
            self.changed().await?;
        }
    }

    /// Waits for the job's end. A failure that it is restarted for is told when it is first seen, and that records come too late where nobody
    /// reads them: by a `tracing` warning, or on the terminal of a program that has no subscriber for it.
    ///
    /// # Errors
    /// If it failed, was canceled, or its process's root actor is gone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let job = env.start("numbers").await?;
    /// assert_eq!(job.wait().await?.view.restarts, 0);
    /// # Ok(()) }
    /// ```
    pub async fn wait(mut self) -> Result<JobResult, JobError> {
        let mut restarts = Restarts::default();
        let mut late = LateRecords::default();
        let graph = self.cluster.graph(self.job);
        loop {
            let view = self.view.borrow_and_update().clone();
            if let Some(line) = restarts.look(&view) {
                tell::warn(&line);
            }
            for line in graph.iter().flat_map(|graph| late.look(&view, graph)) {
                tell::warn(&line);
            }
            if let JobStatus::Ended(outcome) = &view.status {
                JobError::of(outcome.clone())?;
                return Ok(JobResult { view });
            }
            self.changed().await?;
        }
    }

    /// The last checkpoint of a job that has failed, or was canceled before all of its output was visible: it is kept, in the
    /// storage's directory. When what the job has failed of is mended, the same program goes on from it, as another job.
    ///
    /// ```
    /// use rivus::connectors::{FileSink, GeneratorSource};
    /// use rivus::{RestartStrategy, Storage, StreamEnvironment};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().to_owned();
    /// let env = StreamEnvironment::builder()
    ///     .storage(Storage::Directory(dir.join("state")))
    ///     .checkpoint_interval(Duration::from_millis(20))
    ///     .restart(RestartStrategy::None)
    ///     .build();
    /// let out = dir.join("out");
    /// let numbers = |last: u64| {
    ///     let numbers = env.from_source(GeneratorSource::new(|n, _| n).rate(1_000).count(400)).uid("numbers");
    ///     let checked = numbers.map(move |n| { assert!(n < last); n }).uid("checked");
    ///     checked.sink_to(FileSink::lines(&out)).uid("out");
    /// };
    /// numbers(200);
    /// let job = env.start("numbers").await?;
    /// assert!(job.clone().wait().await.is_err());
    ///
    /// let kept = job.kept_checkpoint().expect("it has failed");
    /// numbers(400); // mended
    /// env.from_savepoint(&kept).execute("numbers").await?;
    /// let mut lines = 0;
    /// for file in std::fs::read_dir(dir.join("out"))? {
    ///     let name = file?.path();
    ///     if name.extension().is_some_and(|extension| extension == "txt") {
    ///         lines += std::fs::read_to_string(name)?.lines().count();
    ///     }
    /// }
    /// assert_eq!(lines, 400);
    /// # Ok(()) }
    /// ```
    pub fn kept_checkpoint(&self) -> Option<Savepoint> {
        let view = self.view.borrow();
        let JobStatus::Ended(JobOutcome::Failed(_) | JobOutcome::Canceled) = view.status else {
            return None;
        };
        let context = self.cluster.context();
        let folder = context
            .checkpoints
            .folder_on_disk(self.job, view.last_checkpoint?)?;
        // One that can't be run in this process may be gone on with by `resume` in another.
        let is_over = || {
            let state = rivus_actors::replay(&context.log, self.job);
            state.is_ok_and(|state| state.outcome.is_some())
        };
        let is_kept = folder.join("manifest").is_file() && is_over();
        is_kept.then(|| Savepoint::at(folder))
    }

    /// Kills the leading JobManager, to see that the job doesn't notice.
    ///
    /// ```
    /// use rivus::JobStatus;
    /// use rivus::connectors::{DiscardSink, GeneratorSource};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// env.from_source(GeneratorSource::new(|n, _| n).rate(1_000)).sink_to(DiscardSink::new());
    /// let mut job = env.start("for ever").await?;
    /// while job.status() != JobStatus::Running {
    ///     job.changed().await?;
    /// }
    /// job.kill_leader();
    /// while job.view().takeovers == 0 {
    ///     job.changed().await?;
    /// }
    /// assert_eq!(job.view().restarts, 0);
    /// # Ok(()) }
    /// ```
    pub fn kill_leader(&self) {
        let _ = self.node().cast(NodeMessage::KillLeader);
    }

    pub(crate) fn node(&self) -> &ActorRef<NodeMessage> {
        self.cluster.node()
    }
}

/// Whether a job's log has a request.
pub(crate) fn is_known(view: &JobView, token: Uuid) -> bool {
    let mut savepoints = view.savepoints.iter();
    savepoints.any(|savepoint| savepoint.request.token == token)
}

/// What became of a request.
pub(crate) fn outcome_of(view: &JobView, token: Uuid) -> Option<Result<CheckpointId, String>> {
    let mut savepoints = view.savepoints.iter();
    let of_token = savepoints.find(|savepoint| savepoint.request.token == token);
    of_token.and_then(|savepoint| savepoint.outcome.clone())
}
