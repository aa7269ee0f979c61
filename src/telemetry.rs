//! A job's figures as OpenTelemetry metrics.
//!
//! Rivus depends on the OpenTelemetry API only: which exporter gets the figures is the application's
//! choice. Log events go through `tracing`; an application that wants them as OpenTelemetry spans and logs
//! installs the bridge of its choice as a subscriber.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use rivus_actors::{JobView, SubtaskView};
use rivus_core::MIN_TIMESTAMP;

use crate::handle::JobHandle;

/// A subtask's figure, and the name it is known by outside.
type Figure = (&'static str, &'static str, fn(&SubtaskView) -> u64);

const COUNTERS: [Figure; 9] = [
    ("rivus.records.in", "{record}", |task| {
        task.figures.records_in
    }),
    ("rivus.records.out", "{record}", |task| {
        task.figures.records_out
    }),
    ("rivus.records.late", "{record}", |task| task.figures.late),
    ("rivus.records.partly_late", "{record}", |task| {
        task.figures.partly_late
    }),
    ("rivus.records.skipped", "{record}", |task| {
        task.figures.skipped
    }),
    ("rivus.time.busy", "us", |task| task.figures.busy_us),
    ("rivus.time.backpressured", "us", |task| {
        task.figures.backpressured_us
    }),
    ("rivus.time.idle", "us", |task| task.figures.idle_us),
    ("rivus.time.aligning", "us", |task| task.figures.aligning_us),
];

/// A subtask's figure that falls, too, and the name it is known by outside.
type Gauge = (&'static str, &'static str, fn(&SubtaskView) -> i64);

const GAUGES: [Gauge; 2] = [
    ("rivus.watermark.drift", "ms", |task| task.figures.drift_ms),
    ("rivus.loop.records", "{record}", |task| {
        i64::try_from(task.figures.in_loop).unwrap_or(i64::MAX)
    }),
];

/// A job's figure, and the name it is known by outside.
type JobFigure = (&'static str, fn(&JobView) -> u64);

const JOB_COUNTERS: [JobFigure; 3] = [
    ("rivus.job.checkpoints", |view| view.checkpoints),
    ("rivus.job.restarts", |view| u64::from(view.restarts)),
    ("rivus.job.takeovers", |view| u64::from(view.takeovers)),
];

impl JobHandle {
    /// Offers the job's figures to a meter, which reads them whenever it collects.
    ///
    /// Per subtask, with the attributes `job`, `job.id`, `vertex` and `subtask`: `rivus.records.in`, `.out`, `.late`, `.partly_late`, `.skipped`,
    /// `rivus.time.busy`, `.backpressured`, `.idle`, `.aligning` (microseconds, each counter from the attempt's start)
    /// and the gauges `rivus.watermark` (milliseconds since the epoch), `rivus.watermark.drift` (milliseconds ahead of the
    /// alignment group) and `rivus.loop.records` (that wait to go round). Per job, with `job` and `job.id`: `rivus.job.checkpoints`,
    /// `.restarts`, `.takeovers`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).print();
    /// let job = env.start("numbers").await?;
    /// job.observe(&opentelemetry::global::meter("my-application"));
    /// job.wait().await?;
    /// # Ok(()) }
    /// ```
    pub fn observe(&self, meter: &Meter) {
        for (name, unit, figure) in COUNTERS {
            let view = self.view.clone();
            meter
                .u64_observable_counter(name)
                .with_unit(unit)
                .with_callback(move |observer| {
                    let view = view.borrow();
                    for task in measured(&view) {
                        observer.observe(figure(task), &attributes(&view, task));
                    }
                })
                .build();
        }
        for (name, figure) in JOB_COUNTERS {
            let view = self.view.clone();
            meter
                .u64_observable_counter(name)
                .with_callback(move |observer| {
                    let view = view.borrow();
                    observer.observe(figure(&view), &of_job(&view));
                })
                .build();
        }
        let view = self.view.clone();
        meter
            .i64_observable_gauge("rivus.watermark")
            .with_unit("ms")
            .with_callback(move |observer| {
                let view = view.borrow();
                let known = |task: &&SubtaskView| task.figures.watermark > MIN_TIMESTAMP;
                for task in measured(&view).filter(known) {
                    observer.observe(task.figures.watermark, &attributes(&view, task));
                }
            })
            .build();
        for (name, unit, figure) in GAUGES {
            let view = self.view.clone();
            meter
                .i64_observable_gauge(name)
                .with_unit(unit)
                .with_callback(move |observer| {
                    let view = view.borrow();
                    for task in measured(&view) {
                        observer.observe(figure(task), &attributes(&view, task));
                    }
                })
                .build();
        }
    }
}

/// A counter that fell to 0 and came back would be counted twice.
fn measured(view: &JobView) -> impl Iterator<Item = &SubtaskView> {
    view.subtasks.iter().filter(|task| task.is_measured)
}

/// Names of jobs may be the same, their ids are not.
fn of_job(view: &JobView) -> [KeyValue; 2] {
    [
        KeyValue::new("job", view.name.clone()),
        KeyValue::new("job.id", view.job.to_string()),
    ]
}

fn attributes(view: &JobView, task: &SubtaskView) -> [KeyValue; 4] {
    let [job, id] = of_job(view);
    [
        job,
        id,
        KeyValue::new("vertex", task.name.clone()),
        KeyValue::new("subtask", i64::from(task.attempt.subtask.index)),
    ]
}
