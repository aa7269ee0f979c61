//! How answers look on a terminal.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use rivus_core::Timestamp;
use serde::Serialize;

use crate::service::api::{
    EventDetails, FactoryDetails, JobDetails, JobSummary, TaskManagerDetails,
};

/// Prints a line. Whoever reads may stop before the end, as `head` does.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints an answer, as JSON on one line or for people.
pub(super) fn one<T: Serialize>(json: bool, answer: &T, people: impl FnOnce(&T) -> String) {
    match json {
        true => match serde_json::to_string(answer) {
            Ok(line) => say(&line),
            Err(error) => eprintln!("error: {error}"),
        },
        false => say(&people(answer)),
    }
}

/// Columns as wide as what stands in them; the last one is left as it is.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(rows);
    let widths: Vec<usize> = (0..N)
        .map(|at| all().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

pub(super) fn jobs(jobs: &[JobSummary]) -> String {
    let rows: Vec<[String; 7]> = jobs
        .iter()
        .map(|job| {
            let status = match &job.reason {
                Some(reason) => format!("{}: {reason}", job.status),
                None => job.status.clone(),
            };
            [
                job.id.clone(),
                job.name.clone(),
                job.checkpoints.to_string(),
                job.restarts.to_string(),
                job.takeovers.to_string(),
                job.ended_at.map_or_else(|| "-".to_owned(), moment),
                status,
            ]
        })
        .collect();
    table(
        [
            "JOB",
            "NAME",
            "CHECKPOINTS",
            "RESTARTS",
            "TAKEOVERS",
            "ENDED",
            "STATUS",
        ],
        &rows,
    )
}

/// A time as people read it.
fn moment(unix_millis: Timestamp) -> String {
    let since = Duration::from_millis(unix_millis.max(0) as u64);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// A line of a job's story. Each stands for itself: others may follow at any time.
pub(super) fn event(event: &EventDetails) -> String {
    let since = Duration::from_millis(event.at.max(0) as u64);
    let at = humantime::format_rfc3339_millis(UNIX_EPOCH + since);
    // As wide as the longest of them.
    format!("{at}  {:<10}  {}", event.event, event.message)
}

pub(super) fn task_managers(all: &[TaskManagerDetails]) -> String {
    let rows: Vec<[String; 6]> = all
        .iter()
        .map(|of| {
            let jobs: Vec<&str> = of.jobs.iter().map(String::as_str).collect();
            [
                of.name.clone(),
                of.slots.to_string(),
                of.free.to_string(),
                of.backend.clone(),
                of.data.clone().unwrap_or_else(|| "-".to_owned()),
                jobs.join(" "),
            ]
        })
        .collect();
    table(
        ["TASKMANAGER", "SLOTS", "FREE", "STATE", "DATA", "JOBS"],
        &rows,
    )
}

pub(super) fn factories(all: &[FactoryDetails]) -> String {
    let rows: Vec<[String; 2]> = all
        .iter()
        .map(|job| [job.name.clone(), job.about.clone()])
        .collect();
    table(["JOB", "WHAT IT DOES"], &rows)
}

pub(super) fn job(job: &JobDetails) -> String {
    let summary = &job.summary;
    let mut text = format!("{} {}: {}", summary.id, summary.name, summary.status);
    if let Some(reason) = &summary.reason {
        text.push_str(&format!(" ({reason})"));
    }
    text.push_str(&format!(
        "\n{} checkpoints, {} restarts, {} takeovers, epoch {}",
        summary.checkpoints, summary.restarts, summary.takeovers, job.epoch
    ));
    if let (Some(id), Some(ms)) = (job.last_checkpoint, job.last_checkpoint_ms) {
        text.push_str(&format!("; checkpoint {id} took {ms} ms"));
    }
    if let Some(failure) = &job.last_failure {
        text.push_str(&format!("\nlast failure: {failure}"));
    }
    if let Some(folder) = &job.kept_checkpoint {
        text.push_str(&format!(
            "\nwhen that is mended, go on with --from-savepoint {folder}"
        ));
    }
    if let Some(at) = summary.ended_at {
        text.push_str(&format!("\nended at {}", moment(at)));
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let rows: Vec<[String; 9]> = job
        .tasks
        .iter()
        .map(|task| {
            [
                task.task.clone(),
                task.records_in.to_string(),
                task.records_out.to_string(),
                (task.late + task.skipped).to_string(),
                percent(task.busy),
                percent(task.backpressured),
                task.state_rows.to_string(),
                task.task_manager.clone(),
                task.name.clone(),
            ]
        })
        .collect();
    let heads = [
        "TASK",
        "IN",
        "OUT",
        "LATE/SKIPPED",
        "BUSY",
        "BACKPRESSURED",
        "ROWS",
        "TASKMANAGER",
        "NAME",
    ];
    format!("{text}\n\n{}", table(heads, &rows))
}

/// A text that is drawn over itself.
#[derive(Default)]
pub(super) struct Live {
    lines: usize,
}

impl Live {
    pub(super) fn draw(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if self.lines > 0 {
            // Up to where it began, and away with what stands there.
            let _ = write!(out, "\x1b[{}A\x1b[J", self.lines);
        }
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
        self.lines = text.lines().count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let drawn = table(["A", "LONG"], &[row("wide", "x"), row("y", "")]);
        assert_eq!(drawn, "A     LONG\nwide  x\ny");
    }
}
