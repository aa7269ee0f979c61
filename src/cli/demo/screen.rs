//! The line that shows the job as it runs, and what is said above it.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rivus::JobView;
use tokio::time::Instant;

use super::job::{Plan, WINDOW};
use super::latency::Latency;
use crate::cli;

/// A progress line on standard error, if that is a terminal, and lines on standard output.
pub(super) struct Screen {
    bar: ProgressBar,
    plan: Plan,
    /// When the pace was measured last, where the windows then were, and what the pace was.
    pace: Cell<(Instant, u64, u64)>,
}

impl Screen {
    pub(super) fn new(plan: Plan) -> Self {
        let bar = ProgressBar::new(plan.records());
        let style = ProgressStyle::with_template("{bar:20} {percent:>3} %  {msg}");
        bar.set_style(style.expect("the template is a constant"));
        Self {
            bar,
            plan,
            pace: Cell::new((Instant::now(), 0, 0)),
        }
    }

    /// Says a line above the progress line.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| cli::say(line));
    }

    /// Shows the job at this moment.
    pub(super) fn show(&self, view: &JobView, latency: &Latency, kills: u32) {
        let position = self.position(view).unwrap_or_else(|| self.bar.position());
        self.bar.set_position(position);
        self.bar.set_message(format!(
            "{:>7} records/s  p99 {:>4} ms  {} checkpoints  {kills} killed  {} restarts  {} takeovers",
            self.pace(position),
            latency.quantile(0.99).as_millis(),
            view.checkpoints,
            view.restarts,
            view.takeovers,
        ));
    }

    /// How many records the windows have got past. Their watermark tells, also after a restart, which sets
    /// all counters back.
    fn position(&self, view: &JobView) -> Option<u64> {
        let tasks = view.subtasks.iter();
        let windows = tasks.filter(|task| task.name.contains(WINDOW));
        let watermark = windows.map(|task| task.figures.watermark).min()?;
        let millis = u64::try_from(watermark).ok()?;
        Some((millis.saturating_mul(self.plan.rate) / 1_000).min(self.plan.records()))
    }

    /// Records a second, over about a second; a step back after a failure is no pace.
    fn pace(&self, position: u64) -> u64 {
        let (since, from, pace) = self.pace.get();
        let elapsed = since.elapsed();
        if elapsed < Duration::from_secs(1) {
            return pace;
        }
        let pace = (position.saturating_sub(from) as f64 / elapsed.as_secs_f64()) as u64;
        self.pace.set((Instant::now(), position, pace));
        pace
    }

    /// Takes the progress line away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
