//! A whole job, with a clock that stands still until everything waits.

use std::time::Duration;

use rivus_actors::{JobStatus, JobView};
use rivus_core::{Record, Timestamp};
use rivus_operators::WatermarkStrategy;

use crate::actor_source::ActorSource;
use crate::cluster::RuntimeMode;
use crate::environment::{EnvironmentBuilder, StreamEnvironment};
use crate::error::JobError;
use crate::feed::{ActorFeed, FeedClosed};
use crate::handle::{JobHandle, JobResult};
use crate::savepoint::Savepoint;
use crate::stream::DataStream;

/// Records that an input takes before somebody has read them.
const INPUT: usize = 10_000;

/// Time in which everything gets done that can be: the clock goes on only when all wait.
pub(super) const MOMENT: Duration = Duration::from_millis(20);

/// A whole job that is fed by hand, all of it on the test's own thread. With tokio's clock paused, time goes on when everything
/// waits, or as the test says, and the same seed gives the same run.
///
/// ```
/// use rivus::testing::JobTest;
/// use rivus::DataStream;
/// use std::time::Duration;
///
/// fn totals(orders: &DataStream<(String, u64)>) -> DataStream<(String, u64)> {
///     orders.key_by_ref(|order| order.0.as_str()).sum(|order| order.1).uid("totals")
/// }
///
/// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let test = JobTest::new(7);
///     let (orders, feed) = test.input();
///     let totals = totals(&orders).collect();
///     let mut job = test.start().await?;
///
///     feed.send(("ann".to_owned(), 5)).await?;
///     job.checkpoint().await?;
///     assert_eq!(totals.values(), [("ann".to_owned(), 5)]); // committed with the checkpoint
///
///     feed.send(("ann".to_owned(), 2)).await?;
///     job.kill("totals").await?; // it starts again from the checkpoint
///     job.kill_leader().await?; // which no task notices
///     job.advance(Duration::from_secs(30)).await;
///
///     feed.finish();
///     let view = job.finish().await?;
///     assert_eq!((view.restarts, view.takeovers), (1, 1));
///     assert_eq!(totals.values(), [("ann".to_owned(), 5), ("ann".to_owned(), 7)]);
///     Ok(())
/// }
/// ```
pub struct JobTest {
    env: StreamEnvironment,
}

impl JobTest {
    /// With one subtask for each operator, checkpoints every second, and a clock that begins at 0.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, |settings| settings)
    }

    /// With other settings: a parallelism, a wall clock that begins elsewhere, a restart strategy, a probe.
    ///
    /// ```
    /// use rivus::testing::JobTest;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # let _guard = runtime.enter();
    /// let test = JobTest::with(7, |settings| settings.parallelism(2).starts_at(1_700_000_000_000));
    /// ```
    pub fn with(
        seed: u64,
        settings: impl FnOnce(EnvironmentBuilder) -> EnvironmentBuilder,
    ) -> Self {
        let begin: Timestamp = 0;
        let builder = StreamEnvironment::builder()
            .seed(seed)
            .starts_at(begin)
            .checkpoint_interval(Duration::from_secs(1));
        let env = settings(builder).runtime(RuntimeMode::Current).build();
        Self { env }
    }

    /// Where the job is written.
    pub fn environment(&self) -> &StreamEnvironment {
        &self.env
    }

    /// A stream, and what the test feeds it by. Records that were fed after the last checkpoint come again when the job goes
    /// on from there.
    pub fn input<T: Record>(&self) -> (DataStream<T>, ActorFeed<T>) {
        let (source, feed) = ActorSource::bounded(INPUT);
        (self.env.from_source(source.replayed()), feed)
    }

    /// A stream whose event time the test tells, and what the test feeds it by: nothing is late before a watermark says so.
    ///
    /// ```
    /// use rivus::WindowAssigner;
    /// use rivus::testing::JobTest;
    /// use std::time::Duration;
    ///
    /// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let test = JobTest::new(7);
    ///     let (numbers, feed) = test.timed_input::<u64>();
    ///     let seconds = WindowAssigner::tumbling(Duration::from_secs(1));
    ///     let sums = numbers.key_by(|n| n % 2).window(seconds).sum(|n| *n).collect();
    ///     let mut job = test.start().await?;
    ///
    ///     feed.send(900, 1).await?;
    ///     feed.send(1_200, 7).await?;
    ///     feed.send(300, 3).await?;
    ///     job.checkpoint().await?;
    ///     assert!(sums.is_empty()); // no second is over
    ///     feed.watermark(999).await?;
    ///     job.checkpoint().await?;
    ///     assert_eq!(sums.values()[0].value, 4);
    ///     feed.finish();
    ///     job.finish().await?;
    ///     assert_eq!(sums.values()[1].value, 7);
    ///     Ok(())
    /// }
    /// ```
    pub fn timed_input<T: Record>(&self) -> (DataStream<T>, TimedFeed<T>) {
        self.timed(None)
    }

    pub(super) fn timed<T: Record>(&self, uid: Option<&str>) -> (DataStream<T>, TimedFeed<T>) {
        let (source, feed) = ActorSource::bounded(INPUT);
        // Others of its subtasks would hold time back until they have heard that there is nothing for them.
        let mut said = self.env.from_source(source.replayed()).parallelism(1);
        if let Some(uid) = uid {
            said = said.uid(uid);
        }
        let nothing = |record: &Option<T>, ts| record.is_none().then_some(ts);
        let timed = said.assign_watermarks(WatermarkStrategy::punctuated(nothing));
        let stream = timed.parallelism(1).flat_map(|record| record);
        (stream.parallelism(1), TimedFeed { feed })
    }

    /// Starts what was written.
    ///
    /// # Errors
    /// If the program can't run.
    pub async fn start(&self) -> Result<RunningJob, JobError> {
        self.running(self.env.start("test").await?).await
    }

    /// Starts what was written from a savepoint of a job that was written here before: at another parallelism, or a program
    /// that has changed. Its inputs are new ones.
    ///
    /// ```
    /// use rivus::connectors::Collected;
    /// use rivus::testing::JobTest;
    /// use rivus::ActorFeed;
    ///
    /// fn totals(test: &JobTest, parallelism: u32) -> (ActorFeed<(u64, u64)>, Collected<(u64, u64)>) {
    ///     let (orders, feed) = test.input();
    ///     let totals = orders.key_by(|order: &(u64, u64)| order.0).sum(|order| order.1);
    ///     (feed, totals.uid("totals").parallelism(parallelism).collect())
    /// }
    ///
    /// #[tokio::main(flavor = "current_thread", start_paused = true)] // in a test: #[tokio::test(start_paused = true)]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let test = JobTest::new(7);
    ///     let (feed, _) = totals(&test, 1);
    ///     let job = test.start().await?;
    ///     feed.send((1, 5)).await?;
    ///     job.settle().await;
    ///     let savepoint = job.handle().stop_with_savepoint().await?;
    ///
    ///     let (feed, totals) = totals(&test, 2);
    ///     let job = test.start_from(&savepoint).await?;
    ///     feed.send((1, 2)).await?;
    ///     feed.finish();
    ///     job.finish().await?;
    ///     assert_eq!(totals.values(), [(1, 7)]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// If the program can't run, or not from there.
    pub async fn start_from(&self, savepoint: &Savepoint) -> Result<RunningJob, JobError> {
        self.running(self.env.from_savepoint(savepoint).start("test").await?)
            .await
    }

    async fn running(&self, handle: JobHandle) -> Result<RunningJob, JobError> {
        let mut job = RunningJob { handle };
        job.runs().await?;
        Ok(job)
    }
}

/// What feeds a [`timed_input`](JobTest::timed_input).
pub struct TimedFeed<T> {
    /// Nothing is a watermark.
    feed: ActorFeed<Option<T>>,
}

impl<T: Record> TimedFeed<T> {
    /// A record comes, with its time in milliseconds.
    ///
    /// # Errors
    /// If the stream has ended, or its job has.
    pub async fn send(&self, ts: Timestamp, record: T) -> Result<(), FeedClosed> {
        self.feed.send_at(ts, Some(record)).await.map(drop)
    }

    /// Event time has come so far: everything up to there, in milliseconds, has been fed. It gets to the job's operators behind the
    /// records before it. Records behind it that are fed, or come again, at the same moment may get there first: so no test can count
    /// on one of them being late, and no program.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn watermark(&self, ts: Timestamp) -> Result<(), FeedClosed> {
        self.feed.send_at(ts, None).await.map(drop)
    }

    /// Ends the stream behind what was fed.
    pub fn finish(&self) {
        self.feed.finish();
    }
}

/// A job of a [`JobTest`] that runs.
pub struct RunningJob {
    pub(super) handle: JobHandle,
}

impl RunningJob {
    /// The job as a program has it: to be looked at, asked for state, stopped with a savepoint.
    pub fn handle(&self) -> &JobHandle {
        &self.handle
    }

    pub(super) async fn runs(&mut self) -> Result<(), JobError> {
        let runs = |view: &JobView| view.status == JobStatus::Running;
        self.handle.wait_until(runs).await?;
        Ok(())
    }

    /// Time passes: timers fire, checkpoints are taken.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until everything has been worked on that was fed, for a few milliseconds of the clock.
    pub async fn settle(&self) {
        self.advance(MOMENT).await;
    }

    /// Waits until everything that was fed is part of a checkpoint, and committed.
    ///
    /// # Errors
    /// If the job is over.
    pub async fn checkpoint(&mut self) -> Result<(), JobError> {
        self.settle().await;
        let before = self.handle.view().checkpoints;
        let next = |view: &JobView| view.checkpoints > before;
        self.handle.wait_until(next).await?;
        self.settle().await;
        Ok(())
    }

    /// The subtasks of an operator die as by a defect, and the job starts their region again from its last checkpoint.
    ///
    /// # Errors
    /// If the job has no such operator, or is over.
    pub async fn kill(&mut self, uid: &str) -> Result<(), JobError> {
        let before = self.handle.view().restarts;
        // A job that has just begun, or begun again, is not seen at once.
        while self.handle.kill_subtasks(uid)? == 0 {
            self.settle().await;
        }
        let again = |view: &JobView| view.restarts > before;
        self.handle.wait_until(again).await?;
        self.runs().await
    }

    /// The leader dies with all that it knows, and the next one takes the job over while its tasks run on.
    ///
    /// # Errors
    /// If the job is over.
    pub async fn kill_leader(&mut self) -> Result<(), JobError> {
        let before = self.handle.view().takeovers;
        self.handle.kill_leader();
        let next = |view: &JobView| view.takeovers > before;
        self.handle.wait_until(next).await?;
        self.runs().await
    }

    /// Waits for the job's end. Feeds have to be finished before.
    ///
    /// # Errors
    /// If the job failed or was canceled.
    pub async fn finish(self) -> Result<JobView, JobError> {
        let JobResult { view } = self.handle.wait().await?;
        Ok(view)
    }
}
