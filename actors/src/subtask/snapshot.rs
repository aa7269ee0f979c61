//! Snapshots of a subtask: freezing at the barrier, slices between turns, uploads in the background.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use rivus_core::job::{CHANNELS_STATE, KnownFiles, SnapshotPart, SnapshotRef, SubtaskSnapshot};
use rivus_core::{
    AttemptId, Barrier, ChannelTime, CheckpointId, Control, Failure, JobId, SectionSummary,
    SnapshotBuilder, SnapshotChunk, SplitId, SubtaskMetrics,
};
use rivus_state::{
    Blocking, CheckpointStorage, LocalCopy, SnapshotHandle, SnapshotWriter, StorageError,
};

use super::files::FilesUpload;
use super::wanted::{GivenUp, Wanted};
use super::work::{Effect, Then, Turn, Work};
use super::{SubtaskArgs, SubtaskMessage, SubtaskState};
use crate::job_tasks::TaskEvent;
use crate::probe::Step;
use crate::sleep;

/// Rows that a slice writes at a time, between two looks at the clock.
const SLICE_ROWS: usize = 32;

/// Looks at the clock per slice, at most; in a simulation it stands still.
const SLICE_LOOKS: usize = 16;

/// What a byte costs that is written into a snapshot ahead of its turn, about, in nanoseconds.
const NANOS_A_BYTE: u64 = 2;

/// Bytes that may wait for the storage before slicing pauses.
const WAITING_BYTES: usize = 32 << 20;

impl Work {
    /// Freezes the state: the barrier passes through the chain, then out on every channel.
    pub(super) fn freeze(&mut self, barrier: Barrier) -> Result<Turn, Failure> {
        if barrier.id <= self.given_up {
            self.call_off(barrier);
            return Ok(Turn::Again);
        }
        if let Some(older) = self.cx.checkpoint() {
            // The coordinator has given it up, or it would not have begun another.
            self.close_snapshot()?;
            self.effects.push(Effect::Abandon(older));
        }
        if self.overtaking == Some(barrier.id) {
            // The chain keeps nothing inside any more: what follows is what its buffers hold.
            self.cx.outputs.begin_overdraft(usize::MAX);
        }
        let mut snapshot = SnapshotBuilder::new(barrier.id);
        if !barrier.kind.is_savepoint() {
            // A savepoint is for any backend, and whole by itself.
            snapshot = snapshot.with_files();
        }
        let uid = self.cx.uid(rivus_core::OperatorIndex(0)).clone();
        snapshot.blob::<Vec<ChannelTime>>(&uid, CHANNELS_STATE, &self.inputs.time.channels())?;
        self.cx.snapshot = Some(snapshot);
        self.received = match self.task.source() {
            Some(source) => source.received(),
            None => Vec::new(),
        };
        let turn = self.control(Control::Barrier(barrier), Then::Frozen(barrier))?;
        self.barrier_sets_out(barrier.id, barrier.kind)?;
        Ok(turn)
    }

    /// Writes a slice of frozen state, if one is due after a turn that worked on something or had nothing to do.
    pub(super) fn slice_after(
        &mut self,
        turn: Turn,
        worked: bool,
        waiting_bytes: usize,
    ) -> Result<Turn, Failure> {
        let now = self.cx.monotonic();
        let allowed = if worked {
            self.pace.after_work(self.turn_began, now)
        } else {
            self.pace.without_work(now, sleep::times())
        };
        let Some(allowed) = allowed else {
            // Where there is no work, the end of a pause is on its way.
            return Ok(self.slice_next(turn, worked, now));
        };
        if waiting_bytes > WAITING_BYTES {
            // A message comes when the storage has caught up.
            return Ok(turn);
        }
        if self.slice(now, allowed, worked)? {
            return Ok(turn);
        }
        Ok(self.slice_next(turn, true, now))
    }

    /// Sees to it that the next slice gets its turn: with the next work, at once, or after a pause. Where neither work nor a
    /// slice was done, the end of a pause is on its way.
    fn slice_next(&mut self, turn: Turn, did: bool, now: Duration) -> Turn {
        if turn == Turn::Again || !did {
            return turn;
        }
        if turn == Turn::Dry && (self.pace.is_quiet(now) || self.pace.goes_on()) {
            return Turn::Again;
        }
        let pause = self.pace.pause(now, sleep::times());
        self.effects.push(Effect::SliceLater(pause));
        turn
    }

    /// Writes a slice of frozen state. Returns whether it was the last.
    fn slice(&mut self, began: Duration, allowed: Duration, worked: bool) -> Result<bool, Failure> {
        let mut ahead = Duration::ZERO;
        let mut took = Duration::ZERO;
        for _ in 0..SLICE_LOOKS {
            if self.task.slice(SLICE_ROWS, &mut self.cx)? {
                // What comes round until the barrier does is still to be added.
                self.sliced = !self.awaits_barrier();
                self.slicing = !self.sliced;
                return Ok(true);
            }
            // What the turn's records had written is part of this turn's share.
            if let Some(snapshot) = &mut self.cx.snapshot {
                ahead += Duration::from_nanos(snapshot.take_written_ahead() * NANOS_A_BYTE);
            }
            took = self.cx.monotonic().saturating_sub(began) + ahead;
            if took >= allowed {
                break;
            }
        }
        self.pace.took(took, allowed, worked);
        Ok(false)
    }
}

/// What the pool says of a piece that it was given.
pub struct UploadResult {
    id: CheckpointId,
    outcome: Result<UploadStep, String>,
}

enum UploadStep {
    /// Written; here is the writer for the next piece.
    More(SnapshotWriter),
    /// All of it is stored.
    Stored(SnapshotHandle),
}

/// A snapshot on its way to the storage.
pub(super) struct Upload {
    pub(super) id: CheckpointId,
    is_savepoint: bool,
    /// At home while nothing is being written.
    writer: Option<SnapshotWriter>,
    waiting: VecDeque<SnapshotChunk>,
    /// Whether the last piece is among those waiting.
    complete: bool,
    received: Vec<SplitId>,
    bytes: u64,
    head: u64,
    sections: Vec<SectionSummary>,
    /// The snapshot itself, once it is stored.
    handle: Option<SnapshotHandle>,
    /// Stores whose files go with it.
    pub(super) stores: Vec<FilesUpload>,
    given_up: GivenUp,
}

/// Uploads of one subtask; one at a time.
pub(super) struct Uploads {
    pub(super) storage: CheckpointStorage,
    pub(super) blocking: Arc<dyn Blocking>,
    pub(super) myself: ActorRef<SubtaskMessage>,
    pub(super) job: JobId,
    pub(super) attempt: AttemptId,
    pub(super) current: Option<Upload>,
    /// That the execution is.
    given_up: GivenUp,
    /// Files that need not be stored again.
    pub(super) known: KnownFiles,
}

impl Drop for Uploads {
    /// However the execution ended, what it had under way is given up on the pool: that talks to the storage.
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Uploads {
    pub(super) fn new(args: &SubtaskArgs, myself: ActorRef<SubtaskMessage>) -> Self {
        let parts = args
            .restore
            .iter()
            .flat_map(|restore| &restore.snapshot.parts);
        let known = parts.flat_map(|part| part.stores.iter().cloned()).collect();
        Self {
            storage: args.node.checkpoints.clone(),
            blocking: Arc::clone(&args.node.blocking),
            myself,
            job: args.job,
            attempt: args.attempt,
            current: None,
            given_up: args.given_up.clone(),
            known: KnownFiles::restored(known),
        }
    }

    /// Bytes that wait for the storage.
    pub(super) fn waiting_bytes(&self) -> usize {
        let current = self.current.iter();
        current
            .flat_map(|upload| &upload.waiting)
            .map(SnapshotChunk::len)
            .sum()
    }

    /// Gives up what is under way.
    pub(super) fn abandon(&mut self) {
        // A writer that is away is given up when it comes back and finds no upload of its checkpoint.
        let Some(upload) = self.current.take() else {
            return;
        };
        upload.given_up.set();
        if let Some(writer) = upload.writer {
            self.blocking.run(Box::new(move || writer.abort()));
        }
        self.drop_elsewhere(upload.stores);
    }

    /// Gives up what is under way for a checkpoint that will not be, or for an older one.
    pub(super) fn abandon_up_to(&mut self, id: CheckpointId) {
        if self.current.as_ref().is_some_and(|upload| upload.id <= id) {
            self.abandon();
        }
    }

    /// What is asked before something of an upload is published.
    pub(super) fn wanted(&self, upload: &Upload) -> Wanted {
        Wanted {
            execution: self.given_up.clone(),
            upload: upload.given_up.clone(),
        }
    }

    /// Hands the waiting pieces to the pool, unless it has some.
    fn send(&mut self) {
        let wanted = self.current.as_ref().map(|upload| self.wanted(upload));
        let (Some(upload), Some(wanted)) = (&mut self.current, wanted) else {
            return;
        };
        if upload.waiting.is_empty() {
            return;
        }
        let Some(mut writer) = upload.writer.take() else {
            return;
        };
        let pieces = std::mem::take(&mut upload.waiting);
        let (id, complete) = (upload.id, upload.complete);
        let (myself, storage) = (self.myself.clone(), self.storage.clone());
        self.blocking.run(Box::new(move || {
            let failed = |error: StorageError| Failure::user(&error.into());
            let outcome = Failure::caught(|| {
                pieces
                    .into_iter()
                    .try_for_each(|piece| writer.write(piece.seal()))
                    .map_err(failed)?;
                match complete {
                    true => wanted.publish(&storage, writer).map(UploadStep::Stored),
                    false => Ok(UploadStep::More(writer)),
                }
            });
            let outcome = outcome.map_err(|failure| failure.message);
            let _ = myself.cast(SubtaskMessage::SnapshotStored(UploadResult { id, outcome }));
        }));
    }
}

impl SubtaskState {
    /// The barrier has been passed on: pieces of the snapshot follow.
    pub(super) fn begin_upload(&mut self, barrier: Barrier) {
        let (job, attempt) = (self.args.job, self.args.attempt);
        self.uploads.abandon();
        let storage = &self.uploads.storage;
        let writer = if barrier.kind.is_savepoint() {
            storage.savepoint_writer(job, barrier.id, attempt)
        } else {
            storage.snapshot_writer(job, barrier.id, attempt)
        };
        self.uploads.current = Some(Upload {
            id: barrier.id,
            is_savepoint: barrier.kind.is_savepoint(),
            writer: Some(writer),
            waiting: VecDeque::new(),
            complete: false,
            received: Vec::new(),
            bytes: 0,
            head: 0,
            sections: Vec::new(),
            handle: None,
            stores: Vec::new(),
            given_up: GivenUp::default(),
        });
    }

    /// Moves what the last slices made to the upload.
    pub(super) fn upload(&mut self) -> Result<(), Failure> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let Some(upload) = &mut self.uploads.current else {
            return Ok(());
        };
        if work.cx.checkpoint() != Some(upload.id) || upload.complete {
            return Ok(());
        }
        let frozen = match &mut work.cx.snapshot {
            Some(snapshot) => snapshot.take_stores(),
            None => Vec::new(),
        };
        if work.sliced && work.write_in_flight()? {
            work.sliced = false;
            if let Some(snapshot) = work.cx.snapshot.take() {
                let end = snapshot.finish();
                upload.bytes = end.bytes;
                upload.head = end.head;
                upload.sections = end.sections;
                upload.waiting.extend(end.chunks);
            }
            upload.complete = true;
            upload.received = std::mem::take(&mut work.received);
        } else if let Some(snapshot) = &mut work.cx.snapshot {
            upload.waiting.extend(snapshot.take_ready());
        }
        self.uploads.make_files(frozen);
        self.uploads.send();
        Ok(())
    }

    pub(super) fn snapshot_stored(
        &mut self,
        result: UploadResult,
    ) -> Result<(), ActorProcessingErr> {
        let UploadResult { id, outcome } = result;
        if self
            .uploads
            .current
            .as_ref()
            .is_none_or(|upload| upload.id != id)
        {
            if let Ok(UploadStep::More(writer)) = outcome {
                let abort = Box::new(move || writer.abort());
                self.uploads.blocking.run(abort);
            }
            return Ok(());
        }
        match outcome {
            Ok(UploadStep::More(writer)) => {
                if let Some(upload) = &mut self.uploads.current {
                    upload.writer = Some(writer);
                }
                self.uploads.send();
                // Slicing may have paused for this.
                self.step();
            }
            Ok(UploadStep::Stored(handle)) => {
                if let Some(upload) = &mut self.uploads.current {
                    upload.handle = Some(handle);
                }
                self.acknowledge_if_stored()?;
            }
            Err(reason) => self.upload_failed(id, reason)?,
        }
        Ok(())
    }

    /// The checkpoint can't be.
    pub(super) fn upload_failed(
        &mut self,
        id: CheckpointId,
        reason: String,
    ) -> Result<(), ActorProcessingErr> {
        self.uploads.abandon();
        self.decline(id, &reason);
        self.work()?.aborted(id)?;
        self.step();
        Ok(())
    }

    /// Acknowledges the checkpoint if everything is stored.
    pub(super) fn acknowledge_if_stored(&mut self) -> Result<(), ActorProcessingErr> {
        let is_stored = |upload: &mut Upload| {
            let mut stores = upload.stores.iter();
            upload.handle.is_some() && stores.all(FilesUpload::is_complete)
        };
        if !self.uploads.current.as_mut().is_some_and(is_stored) {
            return Ok(());
        }
        let myself = self.myself.clone();
        self.pass(Step::Stored, &myself)?;
        let Some(upload) = self.uploads.current.take() else {
            return Ok(());
        };
        let Some(handle) = upload.handle else {
            return Ok(());
        };
        let mut uploaded = upload.bytes;
        uploaded += upload
            .stores
            .iter()
            .map(|store| store.uploaded)
            .sum::<u64>();
        let copies: Vec<LocalCopy> = upload
            .stores
            .into_iter()
            .filter_map(FilesUpload::finish)
            .collect();
        let part = SnapshotPart {
            snapshot: SnapshotRef {
                name: handle.name,
                len: handle.len,
                crc32c: handle.crc32c,
            },
            head: upload.head,
            head_only: false,
            sections: upload.sections,
            stores: copies.iter().map(|copy| copy.stored.clone()).collect(),
        };
        let metrics = &self.args.metrics;
        SubtaskMetrics::add(&metrics.snapshots, 1);
        metrics.snapshot_bytes.store(part.bytes(), Relaxed);
        metrics.uploaded_bytes.store(uploaded, Relaxed);
        if !upload.is_savepoint {
            self.keep_files(upload.id, copies);
        }
        self.tell(TaskEvent::Acknowledged {
            id: upload.id,
            snapshot: SubtaskSnapshot {
                parts: vec![part],
                received: upload.received,
            },
        });
        Ok(())
    }
}
