//! The one writer of a job's log: entries are written one after the other, each in its slot, and nothing
//! follows from an entry before it is written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use rivus_core::job::{CheckpointEvent, ENDING, JobEvent, LogEntry, Logged};
use rivus_core::{CheckpointId, Failure, JobId, Timestamp, codec};
use rivus_state::{Append, StorageError};

use super::{JobMasterArgs, JobMasterMessage, JobMasterState};
use crate::context::NodeContext;
use crate::coordinator::clean_up;
use crate::job_manager::JobManagerMessage;
use crate::probe::Step;

/// The outcome of writing one entry.
pub struct Appended {
    slot: u64,
    result: Result<Append, StorageError>,
}

/// Wait before a write that failed is repeated.
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// Failed writes in a row after which the leader gives up: whoever leads next may reach the storage.
pub(super) const RETRIES: u32 = 50;

pub(super) struct LogWriter {
    node: Arc<NodeContext>,
    job: JobId,
    master: ActorRef<JobMasterMessage>,
    /// The slot of the next entry.
    next: u64,
    /// Entries to be written, and their bytes; the first is being written if a nonce is set.
    queue: VecDeque<(Logged, Vec<u8>)>,
    /// Marks the write under way as ours: a write that timed out may have succeeded.
    nonce: Option<u128>,
    failures: u32,
    compacted: u64,
    /// Up to where the log has been folded. Held while it is, since what ends a job is folded entry by entry: of two at a time the
    /// older one could write its snapshot last, and leave it.
    folded: Arc<Mutex<u64>>,
}

impl LogWriter {
    pub(super) fn new(args: &JobMasterArgs, master: ActorRef<JobMasterMessage>) -> Self {
        Self {
            node: Arc::clone(&args.node),
            job: args.job,
            master,
            next: 0,
            queue: VecDeque::new(),
            nonce: None,
            failures: 0,
            compacted: 0,
            folded: Arc::default(),
        }
    }

    /// Goes on behind what has been read.
    pub(super) fn start_at(&mut self, slot: u64, compacted: u64) {
        self.next = slot;
        self.compacted = compacted;
    }

    /// The highest checkpoint id among the entries that wait to be written.
    pub(super) fn last_checkpoint(&self) -> CheckpointId {
        let ids = self
            .queue
            .iter()
            .filter_map(|(logged, _)| match &logged.entry {
                LogEntry::CheckpointTriggered { id, .. } => Some(*id),
                _ => None,
            });
        ids.max().unwrap_or_default()
    }

    /// What became of savepoints, by entries that wait to be written.
    pub(super) fn savepoints_failed(&self) -> impl Iterator<Item = &LogEntry> {
        let failed = |entry: &&LogEntry| matches!(entry, LogEntry::SavepointFailed { .. });
        let entries = self.queue.iter().map(|(logged, _)| &logged.entry);
        entries.filter(failed)
    }

    /// Writes the first entry of the queue; once more, if it was being written.
    pub(super) fn write_next(&mut self) {
        let Some((_, bytes)) = self.queue.front() else {
            return;
        };
        let nonce = *self.nonce.get_or_insert_with(|| self.node.seed.nonce());
        let (job, slot, log) = (self.job, self.next, self.node.log.clone());
        let (bytes, master) = (bytes.clone(), self.master.clone());
        self.node.blocking.run(Box::new(move || {
            let result = log.append(job, slot, nonce, &bytes);
            let appended = Appended { slot, result };
            let _ = master.cast(JobMasterMessage::Appended(appended));
        }));
    }
}

impl JobMasterState {
    /// Has an entry written.
    pub(super) fn append(&mut self, entry: LogEntry) -> Result<(), ActorProcessingErr> {
        self.pass_with(&entry, Step::BeforeAppend)?;
        let at = self.args.node.clock.unix_millis();
        let logged = Logged { at, entry };
        let bytes = match codec::encode(&logged) {
            Ok(bytes) => bytes,
            // It would stand in the way of all that comes after it, the end of the job too.
            Err(error) => return self.decide(JobEvent::FailJob(Failure::from(error))),
        };
        self.log.queue.push_back((logged, bytes));
        if self.log.nonce.is_none() {
            self.log.write_next();
        }
        Ok(())
    }

    /// Passes a step at which a probe may want to know the entry.
    fn pass_with(&self, entry: &LogEntry, step: Step) -> Result<(), ActorProcessingErr> {
        if let Some(probe) = &self.args.node.probe {
            probe.entry(&self.args.job, entry);
        }
        self.pass(step)
    }

    /// An entry has been written, or not.
    pub(super) fn appended(&mut self, appended: Appended) -> Result<(), ActorProcessingErr> {
        if appended.slot != self.log.next || self.log.nonce.is_none() {
            return Ok(());
        }
        match appended.result {
            Ok(Append::Written) => {
                self.log.nonce = None;
                self.log.failures = 0;
                self.log.next += 1;
                let Some((Logged { at, entry }, _)) = self.log.queue.pop_front() else {
                    return Ok(());
                };
                self.pass_with(&entry, Step::AfterAppend)?;
                self.log.write_next();
                self.note(at, &entry);
                self.written(entry)?;
                self.compact()?;
            }
            Ok(Append::Lost { .. }) => {
                // Another leader has written here: this one's time is over.
                tracing::warn!(job = %self.args.job, slot = appended.slot,
                    "another leader has taken over, this one steps down");
                let _ = self.args.manager.cast(JobManagerMessage::Fenced);
                self.myself.stop(Some("fenced".into()));
            }
            Err(error) => {
                self.log.failures += 1;
                if self.log.failures > RETRIES {
                    return Err(Box::new(error));
                }
                if self.log.failures.is_power_of_two() {
                    let failures = self.log.failures;
                    tracing::warn!(job = %self.args.job, failures, %error, "the log can't be written, again soon");
                }
                let node = &self.args.node;
                node.send_later(&self.myself, RETRY, JobMasterMessage::AppendAgain);
            }
        }
        Ok(())
    }

    /// The job's story goes on.
    fn note(&mut self, at: Timestamp, entry: &LogEntry) {
        if let Some(machine) = &self.machine {
            Arc::make_mut(&mut self.history).note(at, entry, machine.state());
        }
    }

    /// Times checkpoints, so that the view that counts one says how long it took.
    fn time_checkpoint(&mut self, entry: &LogEntry) {
        let now = self.args.node.now();
        match entry {
            LogEntry::CheckpointTriggered { id, .. } => self.checkpoint_began = Some((*id, now)),
            LogEntry::CheckpointCompleted { id, .. } => {
                let began = self.checkpoint_began.take_if(|(began, _)| began == id);
                self.checkpoint_took = began.map(|(_, at)| now.saturating_sub(at));
            }
            _ => {}
        }
    }

    /// What follows from an entry.
    fn written(&mut self, entry: LogEntry) -> Result<(), ActorProcessingErr> {
        self.time_checkpoint(&entry);
        if let LogEntry::CheckpointAborted { id, reason } = &entry
            && reason != ENDING
        {
            tracing::warn!(job = %self.args.job, checkpoint = %id, reason, "a checkpoint is aborted");
        }
        if let LogEntry::CheckpointAborted { id, .. } = &entry
            && let Some(machine) = &self.machine
            && let Some((in_flight, kind)) = machine.state().in_flight
            && in_flight == *id
            && kind.is_savepoint()
        {
            self.delete_savepoint(*id);
        }
        let before = self.own_savepoint();
        if let LogEntry::CheckpointTriggered { .. }
        | LogEntry::CheckpointCompleted { .. }
        | LogEntry::CheckpointAborted { .. }
        | LogEntry::CheckpointCommitted { .. }
        | LogEntry::SavepointRequested { .. }
        | LogEntry::SavepointFailed { .. }
        | LogEntry::CancelRequested
        | LogEntry::JobFailing { .. } = &entry
        {
            self.decide(JobEvent::Appended(entry.clone()))?;
            if let (LogEntry::CheckpointCompleted { .. }, Some(machine)) = (&entry, &self.machine) {
                let retained = machine.state().retained();
                clean_up(&self.args.node, self.args.job, retained, false);
            }
            self.coordinate(CheckpointEvent::Appended(entry));
        } else {
            self.decide(JobEvent::Appended(entry))?;
        }
        if let Some(savepoint) = before
            && self.own_savepoint() != before
        {
            self.delete_savepoint(savepoint);
        }
        Ok(())
    }

    /// The savepoint that the present plan was made from, as long as anything could begin with it again: the job's own.
    fn own_savepoint(&self) -> Option<CheckpointId> {
        let state = self.machine.as_ref()?.state();
        state.rescaled_from.map(|(_, savepoint)| savepoint)
    }

    /// Folds a long log into a snapshot; and one that has come to its end, which is one read for whoever looks later.
    fn compact(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(machine) = &self.machine else {
            return Ok(());
        };
        let most = match machine.state().outcome {
            Some(_) => 1,
            None => self.args.node.config.compact_log_every,
        };
        if self.log.next - self.log.compacted < most {
            return Ok(());
        }
        let Ok(bytes) = codec::encode(&(machine.state(), &*self.history)) else {
            return Ok(());
        };
        self.pass(Step::Compact)?;
        self.log.compacted = self.log.next;
        let (job, upto, log) = (self.args.job, self.log.next, self.args.node.log.clone());
        let nonce = self.args.node.seed.nonce();
        let folded = Arc::clone(&self.log.folded);
        self.args.node.blocking.run(Box::new(move || {
            let mut folded = folded.lock().unwrap_or_else(PoisonError::into_inner);
            if *folded >= upto {
                return;
            }
            let done = log.write_snapshot(job, upto, nonce, &bytes).and_then(|_| {
                *folded = upto;
                log.truncate_before(job, upto)
            });
            if let Err(error) = done {
                // The log is whole; it is only longer than it need be.
                tracing::warn!(%job, %error, "the log could not be compacted");
            }
        }));
        Ok(())
    }
}
