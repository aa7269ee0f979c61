//! Commits of a subtask's sinks: one after the other, off the data path.

use std::collections::{BTreeMap, VecDeque};

use rivus_core::{CheckpointId, CommitRequest, Failure};

use super::{SubtaskMessage, SubtaskState};
use crate::job_tasks::{JobTasksMessage, TaskEvent};

/// Commits that are due or on their way.
#[derive(Default)]
pub(super) struct Commits {
    /// How many are left of each completed checkpoint.
    left: BTreeMap<CheckpointId, usize>,
    due: VecDeque<(CheckpointId, CommitRequest)>,
    /// A later checkpoint's results must not become visible before an earlier one's.
    under_way: bool,
}

impl Commits {
    /// A checkpoint has completed, and what it allows to be committed has been asked for.
    pub(super) fn announce(&mut self, id: CheckpointId) {
        self.left.entry(id).or_insert(0);
    }

    fn file(&mut self, request: CommitRequest) {
        // Whatever an earlier checkpoint left is committed with the one that was announced.
        let announced = self.left.keys().next_back().copied();
        let id = announced.unwrap_or(request.checkpoint);
        *self.left.entry(id).or_insert(0) += 1;
        self.due.push_back((id, request));
    }

    fn next(&mut self) -> Option<(CheckpointId, CommitRequest)> {
        if self.under_way {
            return None;
        }
        let next = self.due.pop_front();
        self.under_way = next.is_some();
        next
    }

    fn done(&mut self, id: CheckpointId) {
        self.under_way = false;
        if let Some(left) = self.left.get_mut(&id) {
            *left = left.saturating_sub(1);
        }
    }

    /// Takes the first checkpoint of which nothing is left.
    fn confirmed(&mut self) -> Option<CheckpointId> {
        let first = self.left.first_entry()?;
        if *first.get() > 0 {
            return None;
        }
        let id = *first.key();
        first.remove();
        Some(id)
    }
}

impl SubtaskState {
    /// Hands the next due commit to the pool, and says which checkpoints have nothing left.
    pub(super) fn start_commits(&mut self) {
        let Some(work) = &mut self.work else {
            return;
        };
        for request in std::mem::take(&mut work.cx.commits) {
            work.commits.file(request);
        }
        if let Some((id, request)) = work.commits.next() {
            let CommitRequest {
                operator, commit, ..
            } = request;
            let myself = self.myself.clone();
            self.args.node.blocking.run(Box::new(move || {
                let committed = Failure::caught(|| commit().map_err(|e| Failure::user(&e)));
                let result = committed.map_err(|failure| failure.outside().blame(&operator));
                let _ = myself.cast(SubtaskMessage::CommitDone { id, result });
            }));
        }
        while let Some(id) = work.commits.confirmed() {
            let _ = self.args.parent.cast(JobTasksMessage::Task {
                attempt: self.args.attempt,
                event: TaskEvent::Committed { id },
            });
        }
    }

    pub(super) fn commit_done(&mut self, id: CheckpointId) -> Result<(), Failure> {
        self.work()?.commits.done(id);
        self.start_commits();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(checkpoint: u64) -> CommitRequest {
        CommitRequest {
            operator: "sink".into(),
            checkpoint: CheckpointId(checkpoint),
            commit: Box::new(|| Ok(())),
        }
    }

    #[test]
    fn commits_go_one_after_the_other_and_a_checkpoint_is_confirmed_when_nothing_is_left() {
        let mut commits = Commits::default();
        // What 5, which was aborted, had prepared goes with 6.
        commits.announce(CheckpointId(6));
        commits.file(request(5));
        commits.file(request(6));
        let (id, first) = commits.next().unwrap();
        assert_eq!((id, first.checkpoint), (CheckpointId(6), CheckpointId(5)));
        assert!(commits.next().is_none(), "the first is still under way");
        commits.done(id);
        assert_eq!(commits.confirmed(), None);
        // 7 completes while the second is still to come.
        commits.announce(CheckpointId(7));
        let (id, second) = commits.next().unwrap();
        assert_eq!((id, second.checkpoint), (CheckpointId(6), CheckpointId(6)));
        commits.done(id);
        assert_eq!(commits.confirmed(), Some(CheckpointId(6)));
        assert_eq!(commits.confirmed(), Some(CheckpointId(7)));
        assert_eq!(commits.confirmed(), None);
    }
}
