//! What a process shows Prometheus, in its [text format]: a leader all that it knows of its jobs and TaskManagers, one that stands by
//! only that it does. Names and units are as Prometheus advises; they are the figures of `status --json` and of
//! [`JobHandle::observe`](crate::JobHandle::observe).
//!
//! A subtask's counters begin at 0 again with each attempt, as a process's do that is started again: `rate` and `increase` know that.
//! Of a job that is over there is its status only.
//!
//! [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::fmt::{self, Display, Write};

use rivus_actors::{JobStatus, JobView, SubtaskView, TaskManagerView};
use rivus_core::MIN_TIMESTAMP;

use super::api::JobSummary;

/// What the text is, as HTTP says it.
pub(super) const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is shown.
#[derive(Default)]
pub(super) struct Shown {
    /// Whether the process leads.
    pub(super) leads: bool,
    /// The jobs that it leads, and the last ones that have ended.
    pub(super) jobs: Vec<JobView>,
    /// Those that follow it.
    pub(super) task_managers: Vec<TaskManagerView>,
}

/// Whether a figure falls, too.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// A figure of each of many; none where there is none yet.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&T) -> Option<f64>,
}

const fn counter<T>(
    name: &'static str,
    help: &'static str,
    of: fn(&T) -> Option<f64>,
) -> Metric<T> {
    Metric {
        name,
        kind: Kind::Counter,
        help,
        of,
    }
}

const fn gauge<T>(name: &'static str, help: &'static str, of: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric {
        name,
        kind: Kind::Gauge,
        help,
        of,
    }
}

const LEADS: Metric<bool> = gauge(
    "rivus_leader",
    "Whether this process leads: 1, or 0.",
    |leads| Some(f64::from(u8::from(*leads))),
);

const OF_TASK_MANAGERS: [Metric<TaskManagerView>; 2] = [
    gauge("rivus_slots", "Slots of a TaskManager.", |view| {
        Some(view.slots.len() as f64)
    }),
    gauge(
        "rivus_slots_free",
        "Slots of a TaskManager that no job holds.",
        |view| Some(view.slots.iter().filter(|slot| slot.is_none()).count() as f64),
    ),
];

const STATUS: Metric<JobView> = gauge(
    "rivus_job_status",
    "1, with the status of a job as a label: also of the last jobs that have ended.",
    |_| Some(1.0),
);

const OF_JOBS: [Metric<JobView>; 5] = [
    counter(
        "rivus_job_checkpoints_total",
        "Checkpoints completed in the job's life.",
        |view| Some(view.checkpoints as f64),
    ),
    counter(
        "rivus_job_restarts_total",
        "Regions restarted in the job's life.",
        |view| Some(view.restarts.into()),
    ),
    counter(
        "rivus_job_takeovers_total",
        "Leaders that took the job over.",
        |view| Some(view.takeovers.into()),
    ),
    gauge(
        "rivus_job_last_checkpoint_id",
        "The number of the latest completed checkpoint.",
        |view| view.last_checkpoint.map(|id| id.0 as f64),
    ),
    gauge(
        "rivus_job_last_checkpoint_duration_seconds",
        "How long the latest checkpoint took from its trigger to its completion.",
        |view| view.last_checkpoint_took.map(|took| took.as_secs_f64()),
    ),
];

const OF_SUBTASKS: [Metric<SubtaskView>; 11] = [
    counter("rivus_records_in_total", "Records taken.", |task| {
        Some(task.figures.records_in as f64)
    }),
    counter("rivus_records_out_total", "Records passed on.", |task| {
        Some(task.figures.records_out as f64)
    }),
    counter(
        "rivus_records_late_total",
        "Records that came too late for their windows.",
        |task| Some(task.figures.late as f64),
    ),
    counter(
        "rivus_records_partly_late_total",
        "Records that came too late for some of their windows.",
        |task| Some(task.figures.partly_late as f64),
    ),
    counter(
        "rivus_records_skipped_total",
        "Records that were refused, and lines that could not be read.",
        |task| Some(task.figures.skipped as f64),
    ),
    counter("rivus_busy_seconds_total", "Time spent working.", |task| {
        Some(seconds(task.figures.busy_us))
    }),
    counter(
        "rivus_backpressured_seconds_total",
        "Time in which those behind it had no room.",
        |task| Some(seconds(task.figures.backpressured_us)),
    ),
    counter(
        "rivus_idle_seconds_total",
        "Time with nothing to do.",
        |task| Some(seconds(task.figures.idle_us)),
    ),
    gauge(
        "rivus_watermark_timestamp_seconds",
        "Event time that all inputs have reached, since the epoch; none before there is any.",
        |task| {
            let at = task.figures.watermark;
            (at > MIN_TIMESTAMP).then_some(at as f64 / 1_000.0)
        },
    ),
    gauge("rivus_state_rows", "Keys that have state.", |task| {
        Some(task.figures.state_rows as f64)
    }),
    gauge(
        "rivus_snapshot_bytes",
        "Bytes of the last snapshot.",
        |task| Some(task.figures.snapshot_bytes as f64),
    ),
];

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

impl Shown {
    /// All of it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        LEADS.show([(&self.leads, String::new())], &mut text);
        if !self.leads {
            return text;
        }
        for metric in OF_TASK_MANAGERS {
            let all = self.task_managers.iter();
            let labelled = all.map(|view| (view, labels(&[("task_manager", &view.id)])));
            metric.show(labelled, &mut text);
        }
        let all = self.jobs.iter();
        let labelled = all.map(|view| {
            let status = JobSummary::of(view).status;
            let labels = labels(&[
                ("job_name", &view.name),
                ("job_id", &view.job),
                ("status", &status),
            ]);
            (view, labels)
        });
        STATUS.show(labelled, &mut text);
        let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
        let running = || self.jobs.iter().filter(|view| !is_over(view));
        for metric in OF_JOBS {
            let labelled = running().map(|view| {
                (
                    view,
                    labels(&[("job_name", &view.name), ("job_id", &view.job)]),
                )
            });
            metric.show(labelled, &mut text);
        }
        for metric in OF_SUBTASKS {
            metric.show(running().flat_map(subtasks), &mut text);
        }
        text
    }
}

/// A job's subtasks as far as they have been measured, each with what tells it from all others, in its next attempts too.
fn subtasks(view: &JobView) -> impl Iterator<Item = (&SubtaskView, String)> {
    let measured = view.subtasks.iter().filter(|task| task.is_measured);
    measured.map(|task| {
        let subtask = task.attempt.subtask;
        let labels = labels(&[
            ("job_name", &view.name),
            ("job_id", &view.job),
            ("vertex", &subtask.vertex),
            ("operators", &task.name),
            ("subtask", &subtask.index),
        ]);
        (task, labels)
    })
}

impl<T> Metric<T> {
    /// Shows the figure of each one, by its labels.
    fn show<'a>(&self, all: impl IntoIterator<Item = (&'a T, String)>, text: &mut String)
    where
        T: 'a,
    {
        let Self {
            name, kind, help, ..
        } = self;
        write(text, format_args!("# HELP {name} {help}\n"));
        write(text, format_args!("# TYPE {name} {kind}\n"));
        for (one, labels) in all {
            if let Some(figure) = (self.of)(one) {
                write(text, format_args!("{name}{labels} {figure}\n"));
            }
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// Text takes whatever is written.
fn write(text: &mut String, what: fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

fn labels(all: &[(&str, &dyn Display)]) -> String {
    let each = all.iter().map(|(name, value)| {
        let value = value.to_string().replace('\\', r"\\");
        let value = value.replace('"', "\\\"").replace('\n', r"\n");
        format!("{name}=\"{value}\"")
    });
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rivus_core::job::JobOutcome;
    use rivus_core::{
        AttemptId, JobId, SubtaskFigures, SubtaskId, SubtaskMetrics, TaskManagerId, VertexId,
    };

    use super::*;

    fn job(number: u128, name: &str, status: JobStatus) -> JobView {
        let subtask = SubtaskId {
            vertex: VertexId(3),
            index: 1,
        };
        let figures = SubtaskFigures {
            records_in: 1 << 40,
            busy_us: 1_500_000,
            watermark: 1_767_225_600_500,
            ..SubtaskMetrics::default().figures()
        };
        JobView {
            status,
            checkpoints: 7,
            last_checkpoint_took: Some(Duration::from_millis(25)),
            subtasks: vec![SubtaskView {
                attempt: AttemptId {
                    subtask,
                    attempt: 2,
                },
                name: "count".to_owned(),
                task_manager: TaskManagerId("tm1/tm-0".to_owned()),
                is_measured: true,
                figures,
            }],
            ..JobView::new(JobId(uuid::Uuid::from_u128(number)), name.to_owned())
        }
    }

    #[test]
    fn a_leader_shows_its_jobs_and_of_those_that_are_over_that_they_are() {
        let canceled = JobStatus::Ended(JobOutcome::Canceled);
        let shown = Shown {
            leads: true,
            jobs: vec![
                job(1, "a \"b\"\\\n", JobStatus::Running),
                job(2, "over", canceled),
            ],
            task_managers: vec![TaskManagerView {
                id: TaskManagerId("tm1/tm-0".to_owned()),
                slots: vec![None, Some(JobId(uuid::Uuid::from_u128(1)))],
                backend: None,
                data_address: String::new(),
            }],
        };
        let text = shown.text();
        let [running, over] = [1, 2].map(|n| JobId(uuid::Uuid::from_u128(n)));
        let named = format!(r#"job_name="a \"b\"\\\n",job_id="{running}""#);
        let task = format!(r#"{named},vertex="v3",operators="count",subtask="1""#);
        for line in [
            "rivus_leader 1".to_owned(),
            r#"rivus_slots_free{task_manager="tm1/tm-0"} 1"#.to_owned(),
            format!(r#"rivus_job_status{{{named},status="running"}} 1"#),
            format!(r#"rivus_job_status{{job_name="over",job_id="{over}",status="canceled"}} 1"#),
            format!("rivus_job_checkpoints_total{{{named}}} 7"),
            format!("rivus_job_last_checkpoint_duration_seconds{{{named}}} 0.025"),
            format!("rivus_records_in_total{{{task}}} 1099511627776"),
            format!("rivus_busy_seconds_total{{{task}}} 1.5"),
            format!("rivus_watermark_timestamp_seconds{{{task}}} 1767225600.5"),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} in {text}");
        }
        let of_over = text.matches("\"over\"").count();
        assert_eq!(of_over, 1, "{text}");
    }

    #[test]
    fn a_process_that_stands_by_shows_nothing_that_its_leader_does() {
        let shown = Shown::default().text();
        let figures: Vec<_> = shown
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(figures, ["rivus_leader 0"]);
    }
}
