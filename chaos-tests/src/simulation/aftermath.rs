//! What must be true when a run is over.

use std::sync::Arc;
use std::time::Duration;

use rivus::engine::state::CheckpointStorage;
use rivus::{JobId, JobView};
use tokio::time::Instant;

use super::Run;
use crate::invariants::{OF_A_JOB, spared as spared_by, started_once};
use crate::plan::{LEADERS, Scope, WORKERS};

/// How long actors of an ended job may take to go.
const GOING: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// What the plan spares may not have noticed anything.
    pub(super) fn expect_unnoticed(&mut self, views: &[JobView]) {
        let spared = match (self.plan.spares_tasks(), self.plan.scope) {
            (true, _) => views,
            (false, Scope::FirstRegion) => views.get(1..).unwrap_or_default(),
            (false, Scope::Everywhere) => return,
        };
        // The plan spares what runs. A job beside it that was still being deployed may be deployed again.
        let beside = views.iter().skip(1).map(|view| view.job);
        let late: Vec<JobId> = beside.filter(|job| self.faults.never_began(*job)).collect();
        let spared = spared.iter().filter(|view| !late.contains(&view.job));
        self.violations.extend(spared.flat_map(spared_by));
        let executions = self.faults.executions(!self.plan.spares_tasks(), &late);
        self.violations.extend(started_once(&executions));
    }

    /// The job has ended and the process goes on: nothing of the job may be left in it.
    pub(super) async fn expect_job_gone(&mut self) {
        let faults = Arc::clone(&self.faults);
        if !in_time(|| faults.living(&OF_A_JOB).is_empty()).await {
            let left = faults.living(&OF_A_JOB).join(", ");
            self.violations
                .push(format!("the job has ended, and there are still {left}"));
        }
    }

    /// Files of stores belong to no single checkpoint; when a job has ended, none may be left, however late the storage
    /// was.
    pub(super) async fn expect_no_files(&mut self, views: &[JobView]) {
        if self.plan.storage.is_some() {
            // What can't be deleted stays.
            return;
        }
        let checkpoints = CheckpointStorage::new(self.objects.clone());
        for view in views {
            let left = || checkpoints.list_files(view.job);
            if !in_time(|| left().is_ok_and(|files| files.is_empty())).await {
                let left = left();
                self.violations.push(format!("files are left: {left:?}"));
            }
        }
    }

    /// The environment is gone: so must be every actor, and with them all that held the process together.
    pub(super) async fn expect_gone(&mut self) {
        let kinds = [LEADERS.as_slice(), WORKERS.as_slice()].concat();
        let faults = Arc::clone(&self.faults);
        if !in_time(|| faults.living(&kinds).is_empty()).await {
            let left = faults.living(&kinds).join(", ");
            self.violations.push(format!("actors are left: {left}"));
        }
        // This one's, and the run's own.
        if !in_time(|| Arc::strong_count(&faults) == 2).await {
            let held = Arc::strong_count(&faults) - 2;
            self.violations
                .push(format!("the process's context is still held {held} times"));
        }
    }
}

/// Waits until something holds, but not for long.
pub(super) async fn in_time(holds: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > GOING {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}
