//! What clients ask for. It is kept until a leader has taken it up, and asked of every leader until then; unless whoever asked
//! is gone before.

use rivus_core::JobId;
use rivus_core::job::SavepointRequest;
use uuid::Uuid;

use super::NodeState;
use crate::dispatcher::Submission;
use crate::job_manager::JobManagerMessage;
use crate::view::{JobStatus, JobView};

/// What somebody has asked of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// That it is run.
    Submission,
    /// Its end.
    Cancel,
    /// The savepoint of this request.
    Savepoint(Uuid),
}

/// What is wanted of a job.
#[derive(Default)]
pub(super) struct Client {
    /// None for one that was found in the storage, or whose master has begun.
    submission: Option<Submission>,
    /// Whether nobody waits for the submission any more.
    withdrawn: bool,
    /// Whether a JobMaster has begun with it.
    taken_up: bool,
    /// How many want its end.
    cancels: u32,
    /// Savepoints that were asked for and that no view has shown yet.
    savepoints: Vec<SavepointRequest>,
}

impl Client {
    /// One that wants a job run.
    pub(super) fn of(submission: Submission) -> Self {
        Self {
            submission: Some(submission),
            ..Self::default()
        }
    }

    /// One that wants its job's end once more.
    pub(super) fn cancel(&mut self) {
        self.cancels += 1;
    }

    pub(super) fn savepoint(&mut self, request: SavepointRequest) {
        self.savepoints.push(request);
    }
}

impl NodeState {
    /// Asks the leader for everything that no leader has taken up. Asking twice changes nothing.
    pub(super) fn ask_leader(&self) {
        let Some(leader) = &self.leader else {
            return;
        };
        for (job, client) in &self.clients {
            if let Some(submission) = &client.submission {
                let _ = leader.manager.cast(JobManagerMessage::Submit {
                    job: *job,
                    submission: submission.clone(),
                });
            }
            if client.cancels > 0 {
                let _ = leader.manager.cast(JobManagerMessage::Cancel(*job));
            }
            for request in &client.savepoints {
                let savepoint = JobManagerMessage::Savepoint(*job, *request);
                let _ = leader.manager.cast(savepoint);
            }
        }
    }

    /// Wants something more of a job that isn't over.
    pub(super) fn client(&mut self, job: JobId, want: impl FnOnce(&mut Client)) {
        let watched = self.node.views.watch(job);
        let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
        if watched.is_some_and(|view| !is_over(&view.borrow())) {
            want(self.clients.entry(job).or_default());
            self.ask_leader();
        }
    }

    /// A leader that lives has what was asked, and does it now.
    pub(super) fn withdraw(&mut self, job: JobId, asked: Asked) {
        let Some(client) = self.clients.get_mut(&job) else {
            return;
        };
        match asked {
            Asked::Submission => client.withdrawn = true,
            Asked::Cancel => client.cancels = client.cancels.saturating_sub(1),
            Asked::Savepoint(token) => client.savepoints.retain(|asked| asked.token != token),
        }
        if self.leader.is_none() {
            self.drop_withdrawn();
        }
    }

    /// Forgets submissions that nobody waits for, and that no leader has begun with.
    pub(super) fn drop_withdrawn(&mut self) {
        let is_over = |client: &Client| client.withdrawn && client.submission.is_some();
        for (job, _) in self.clients.extract_if(.., |_, client| is_over(client)) {
            self.node.programs.remove(job);
            self.node.views.never_was(job);
        }
    }

    pub(super) fn view(&mut self, view: JobView) {
        if let Some(client) = self.clients.get_mut(&view.job) {
            let is_new = !std::mem::replace(&mut client.taken_up, true);
            client.submission = None;
            client.savepoints.retain(|request| {
                let shown = view.savepoints.iter();
                !shown
                    .into_iter()
                    .any(|shown| shown.request.token == request.token)
            });
            // A master that had not begun when it was asked passed the request over.
            if (is_new && client.cancels > 0) || !client.savepoints.is_empty() {
                self.ask_leader();
            }
        }
        self.node.views.publish(view);
    }
}
