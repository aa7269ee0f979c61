//! A job of one subtask that writes, without an engine.

use std::sync::Arc;

use rivus_core::{
    CheckpointId, Committer, Event, JobId, ParallelInstance, Sink, SinkWriter, UserError, codec,
};
use uuid::Uuid;

use super::script::Fate;

/// A job of one subtask that writes record 0, 1, 2, ... to a sink: the engine's part of the two phases, step by
/// step, for what [`sink()`](super::sink()) doesn't try.
///
/// ```
/// use rivus_connectors::{CollectSink, contract::SinkJob};
///
/// let sink = CollectSink::<u64>::new();
/// let collected = sink.collected();
/// let mut job = SinkJob::start(sink, |n| n)?;
/// job.write(2)?;
/// job.complete(false)?;
/// job.write(3)?;
/// job.crash()?; // goes on from the checkpoint, and commits what it covers
/// job.write(1)?;
/// job.complete(true)?;
/// job.commit()?;
/// assert_eq!(collected.values(), [0, 1, 2]);
/// # Ok::<(), rivus_core::UserError>(())
/// ```
pub struct SinkJob<S: Sink> {
    /// The sink.
    pub sink: S,
    /// The writer of the current attempt.
    pub writer: S::Writer,
    /// The last completed checkpoint: how many records it covers, and the writer's state, encoded.
    pub completed: Option<(u64, Vec<u8>)>,
    /// What the last completed checkpoint is to make visible.
    pub unconfirmed: Vec<S::Committable>,
    committer: Arc<dyn Committer<S::Committable>>,
    record: Box<dyn Fn(u64) -> S::In>,
    job: JobId,
    attempt: u32,
    checkpoint: u64,
    /// The next record.
    next: u64,
    /// Prepared for checkpoints that were aborted.
    joining: Vec<S::Committable>,
    zombies: Vec<S::Writer>,
}

/// What a savepoint of a [`SinkJob`] holds: how many records it covers, the writer's state and the committables, encoded.
#[derive(Debug, Clone)]
pub struct SinkSavepoint {
    covered: u64,
    writer: Vec<u8>,
    committables: Vec<u8>,
}

impl<S: Sink> SinkJob<S> {
    /// A job that begins; `record` makes the record of a number.
    ///
    /// # Errors
    /// If the sink makes no writer, or has no second phase.
    pub fn start(sink: S, record: impl Fn(u64) -> S::In + 'static) -> Result<Self, UserError> {
        let committer = sink.committer();
        let committer =
            committer.ok_or("the sink has no committer, so its writes can't be undone")?;
        let job = number(1);
        let writer = sink.writer(instance(job, 1), None)?;
        Ok(Self {
            sink,
            writer,
            completed: None,
            unconfirmed: Vec::new(),
            committer,
            record: Box::new(record),
            job,
            attempt: 1,
            checkpoint: 0,
            next: 0,
            joining: Vec::new(),
            zombies: Vec::new(),
        })
    }

    /// How many records have been written, without those that were undone.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// How many records the last completed checkpoint covers.
    pub fn covered(&self) -> u64 {
        self.completed.as_ref().map_or(0, |(next, _)| *next)
    }

    /// Writes records, in one run.
    ///
    /// # Errors
    /// The sink's own.
    pub fn write(&mut self, count: u64) -> Result<(), UserError> {
        let run = (self.next..self.next + count).map(|n| Event::at(n as i64, (self.record)(n)));
        self.writer.write(run.collect())?;
        self.next += count;
        Ok(())
    }

    /// A barrier; returns what would be the writer's state in the checkpoint, encoded.
    ///
    /// # Errors
    /// The sink's own.
    pub fn prepare(&mut self, last: bool) -> Result<Vec<u8>, UserError> {
        self.checkpoint += 1;
        let checkpoint = CheckpointId(self.checkpoint);
        self.joining
            .extend(self.writer.prepare_commit(checkpoint, last)?);
        Ok(codec::encode(&self.writer.snapshot()?)?)
    }

    /// A checkpoint that completes. Its commits are due then.
    ///
    /// # Errors
    /// The sink's own.
    pub fn complete(&mut self, last: bool) -> Result<(), UserError> {
        let state = self.prepare(last)?;
        self.completed = Some((self.next, state));
        let bytes = codec::encode(&self.joining)?;
        self.unconfirmed = codec::decode(&bytes)?;
        self.joining.clear();
        Ok(())
    }

    /// Does the commits of the last completed checkpoint, or does them again.
    ///
    /// # Errors
    /// The sink's own.
    pub fn commit(&self) -> Result<(), UserError> {
        self.commit_first(usize::MAX)
    }

    /// Does the first of the commits.
    ///
    /// # Errors
    /// The sink's own.
    pub fn commit_first(&self, count: usize) -> Result<(), UserError> {
        let mut first = self.unconfirmed.iter().take(count);
        first.try_for_each(|committable| self.committer.commit(committable))
    }

    /// Goes on from the last completed checkpoint, whose commits are then done. The attempt before is a zombie.
    ///
    /// # Errors
    /// The sink's own.
    pub fn restore(&mut self, attempt: u32) -> Result<(), UserError> {
        self.attempt = attempt;
        self.joining.clear();
        self.next = self.covered();
        let state = self.completed.as_ref();
        let state = state.map(|(_, state)| codec::decode(state)).transpose()?;
        let writer = self.sink.writer(instance(self.job, attempt), state)?;
        // Those of the checkpoint may be committed before or after the writer starts: here after.
        self.zombies
            .push(std::mem::replace(&mut self.writer, writer));
        self.commit()
    }

    /// The attempt is lost; the next one goes on from the last completed checkpoint.
    ///
    /// # Errors
    /// The sink's own.
    pub fn crash(&mut self) -> Result<(), UserError> {
        self.restore(self.attempt + 1)?;
        self.zombies.pop();
        Ok(())
    }

    /// The job is over; the next one goes on from its last completed checkpoint, if there is one.
    ///
    /// # Errors
    /// The sink's own.
    pub fn resubmit(&mut self) -> Result<(), UserError> {
        if self.completed.is_some() {
            self.job = number(self.job.0.as_u128() + 1);
            self.restore(1)?;
            self.zombies.clear();
        }
        Ok(())
    }

    /// A savepoint of a job that goes on: its commits are not done, but what it names is kept.
    ///
    /// # Errors
    /// The sink's own.
    pub fn savepoint(&mut self) -> Result<SinkSavepoint, UserError> {
        let writer = self.prepare(true)?;
        let named: Vec<_> = self.unconfirmed.iter().chain(&self.joining).collect();
        for committable in &named {
            self.committer.keep(committable)?;
        }
        Ok(SinkSavepoint {
            covered: self.next,
            writer,
            committables: codec::encode(&named)?,
        })
    }

    /// The job is over; the next one goes on from a savepoint, whose commits are then done.
    ///
    /// # Errors
    /// The sink's own.
    pub fn go_on_from(&mut self, savepoint: &SinkSavepoint) -> Result<(), UserError> {
        self.completed = Some((savepoint.covered, savepoint.writer.clone()));
        self.unconfirmed = codec::decode(&savepoint.committables)?;
        self.resubmit()
    }

    /// Zombies write and prepare; nobody commits what they prepare. Their names may be gone, so they may fail.
    pub fn haunt(&mut self) {
        for zombie in &mut self.zombies {
            let _ = zombie.write(vec![Event::at(0, (self.record)(666_666))]);
            let _ = zombie.prepare_commit(CheckpointId(self.checkpoint + 1), false);
        }
    }

    pub(super) fn meet(&mut self, fate: Fate) -> Result<(), UserError> {
        match fate {
            Fate::Write(count) => self.write(count),
            Fate::Abort => self.prepare(false).map(drop),
            Fate::Complete { twice } => {
                self.complete(false)?;
                self.commit()?;
                if twice { self.commit() } else { Ok(()) }
            }
            Fate::CompleteAndCrash { done } => {
                self.complete(false)?;
                self.commit_first(done)?;
                self.crash()
            }
            Fate::PrepareAndCrash => {
                self.prepare(false)?;
                self.crash()
            }
            Fate::Crash => self.crash(),
            Fate::Zombie => {
                self.write(1)?;
                self.restore(self.attempt + 1)?;
                self.haunt();
                Ok(())
            }
            Fate::Resubmit => self.resubmit(),
            Fate::Savepoint { crashes } => {
                let savepoint = self.savepoint()?;
                if crashes {
                    self.crash()?;
                    self.write(1)?;
                    self.prepare(false)?;
                }
                self.go_on_from(&savepoint)
            }
        }
    }
}

/// The job of a number, from 1.
pub(super) fn number(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

fn instance(job: JobId, attempt: u32) -> ParallelInstance {
    ParallelInstance {
        job,
        attempt,
        ..ParallelInstance::ALONE
    }
}
