//! What has come round a loop and waits to go round again: in memory up to a budget, beyond it in the state backend's store.
//!
//! Records stand in segments, first come, first out. While there is more than the budget in memory, a segment that is full
//! goes to the store; the last one stays in memory, so that small batches make large segments. A snapshot writes the
//! segments that there were at its barrier, one after the other; one that is due before its turn is written first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rivus_core::{
    Changes, CodecError, Event, Failure, LoopWaiting, OperatorUid, Record, Space, StateStore,
    SubtaskInfo, TaskContext, codec, record_bytes, run_records,
};

use super::STATE;
use crate::operator_state::Items;

pub(super) struct LoopQueue<T> {
    segments: VecDeque<Segment<T>>,
    /// The number of the next segment, or of the next piece of a snapshot.
    next: u64,
    /// Segments before this one have been written to the open snapshot.
    written: usize,
    records: usize,
    /// Of these, what a checkpoint held; and how many those were at first.
    restored: usize,
    brought: usize,
    /// Bytes in memory.
    bytes: usize,
    /// Bytes that there may be without a store: as many as were restored, if those are more than is said.
    limit: usize,
    /// Records and bytes of a full segment.
    full: (usize, usize),
    store: Option<Arc<dyn StateStore>>,
}

struct Segment<T> {
    number: u64,
    rows: Place<T>,
    records: usize,
    bytes: usize,
    restored: bool,
    /// Whether the open snapshot lacks it.
    unsaved: bool,
}

enum Place<T> {
    Memory(Vec<Event<T>>),
    Store,
}

impl<T: Record> LoopQueue<T> {
    pub(super) fn new(info: &SubtaskInfo, store: Option<Arc<dyn StateStore>>) -> Self {
        Self {
            segments: VecDeque::new(),
            next: 0,
            written: 0,
            records: 0,
            restored: 0,
            brought: 0,
            bytes: 0,
            limit: info.loop_bytes,
            full: (run_records::<T>(info.batch_records), info.batch_bytes),
            store,
        }
    }

    /// Takes what a checkpoint held. Without a store that may be more than there may be otherwise: what was in the body at the barrier
    /// came round behind it and is here now, and one of fewer subtasks has what several had. All of it was within its bounds there, and
    /// is no reason why a job can't go on.
    pub(super) fn restore(&mut self, records: Vec<Event<T>>) -> Result<(), Failure> {
        let mut records = records.into_iter();
        while records.len() > 0 {
            self.push(records.by_ref().take(self.full.0).collect(), true)?;
        }
        self.restored = self.records;
        self.brought = self.records;
        Ok(())
    }

    /// Takes records that have come round.
    pub(super) fn push(&mut self, rows: Vec<Event<T>>, restored: bool) -> Result<(), Failure> {
        let (records, bytes) = (rows.len(), record_bytes(&rows) * rows.len());
        if records == 0 {
            return Ok(());
        }
        self.records += records;
        if let Some(Segment {
            rows: Place::Memory(last),
            records: before,
            bytes: size,
            restored: false,
            unsaved: false,
            ..
        }) = self.segments.back_mut()
            && *before + records <= self.full.0
            && *size + bytes <= self.full.1
        {
            last.extend(rows);
            *before += records;
            *size += bytes;
        } else {
            self.store_last()?;
            let number = self.number();
            self.segments.push_back(Segment {
                number,
                rows: Place::Memory(rows),
                records,
                bytes,
                restored,
                unsaved: false,
            });
        }
        self.bytes += bytes;
        if restored {
            self.limit = self.limit.max(self.bytes);
        }
        match self.store {
            None if self.bytes > self.limit => Err(Failure::job(format!(
                "more than {} bytes of records are under way in it: let fewer records go round, raise the option loop_bytes, \
                 or build the environment with a state backend that has room on disk, such as RocksDbBackend",
                self.limit
            ))),
            _ => Ok(()),
        }
    }

    /// Takes the next records out; the open snapshot gets them first, if it lacks them.
    pub(super) fn pop(
        &mut self,
        uid: &OperatorUid,
        cx: &mut TaskContext,
    ) -> Result<Vec<Event<T>>, Failure> {
        let Some(segment) = self.segments.pop_front() else {
            return Ok(Vec::new());
        };
        self.written = self.written.saturating_sub(1);
        self.records -= segment.records;
        if segment.restored {
            self.restored -= segment.records;
        }
        let rows = match segment.rows {
            Place::Memory(rows) => {
                self.bytes -= segment.bytes;
                rows
            }
            Place::Store => {
                let rows = self.load(segment.number)?;
                if let Some(store) = &self.store {
                    let mut changes = Changes::default();
                    changes.delete(Space::Rows, &segment.number.to_be_bytes());
                    store.write(&changes)?;
                }
                rows
            }
        };
        if segment.unsaved {
            write(segment.number, &rows, uid, cx)?;
        }
        Ok(rows)
    }

    /// Writes records that have come round into the open snapshot.
    pub(super) fn record(
        &mut self,
        uid: &OperatorUid,
        rows: &[Event<T>],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let number = self.number();
        write(number, rows, uid, cx)
    }

    /// A snapshot begins: all that is here belongs to it.
    pub(super) fn freeze(&mut self) {
        self.written = 0;
        for segment in &mut self.segments {
            segment.unsaved = true;
        }
    }

    /// The snapshot will not be.
    pub(super) fn thaw(&mut self) {
        for segment in &mut self.segments {
            segment.unsaved = false;
        }
    }

    /// Writes about `rows` records into the open snapshot. Returns whether it has all.
    pub(super) fn slice(
        &mut self,
        uid: &OperatorUid,
        rows: usize,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let mut left = rows;
        while let Some(segment) = self.segments.get(self.written) {
            if segment.unsaved {
                if left == 0 {
                    return Ok(false);
                }
                left = left.saturating_sub(segment.records);
                let stored;
                let rows = match &segment.rows {
                    Place::Memory(rows) => rows,
                    Place::Store => {
                        stored = self.load(segment.number)?;
                        &stored
                    }
                };
                write(segment.number, rows, uid, cx)?;
                self.segments[self.written].unsaved = false;
            }
            self.written += 1;
        }
        Ok(true)
    }

    pub(super) fn waiting(&self) -> LoopWaiting {
        if self.restored > 0 {
            LoopWaiting::Restored
        } else if self.records == 0 {
            LoopWaiting::Nothing
        } else if self.bytes > self.budget() / 2 {
            LoopWaiting::Much
        } else {
            LoopWaiting::Some
        }
    }

    /// Shows how much waits.
    pub(super) fn measure(&self, cx: &TaskContext) {
        let metrics = &cx.metrics;
        metrics.in_loop.store(self.records as u64, Relaxed);
        let brought = self.brought as u64;
        metrics.restored_in_loop.store(brought, Relaxed);
    }

    fn budget(&self) -> usize {
        self.store
            .as_ref()
            .map_or(self.limit, |store| store.cache_bytes(self.bytes))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Another segment follows the last one: it goes to the store, if there is too much in memory.
    fn store_last(&mut self) -> Result<(), Failure> {
        let too_much = self.bytes > self.budget();
        let Some(store) = &self.store else {
            return Ok(());
        };
        if let Some(last) = self.segments.back_mut()
            && let Place::Memory(rows) = &last.rows
            && too_much
        {
            let mut changes = Changes::default();
            let number = last.number.to_be_bytes();
            changes.put(
                Space::Rows,
                |key| {
                    key.extend_from_slice(&number);
                    Ok::<_, CodecError>(())
                },
                |value| codec::encode_into(rows, value),
            )?;
            store.write(&changes)?;
            last.rows = Place::Store;
            self.bytes -= last.bytes;
        }
        Ok(())
    }

    fn load(&self, number: u64) -> Result<Vec<Event<T>>, Failure> {
        let mut found = None;
        if let Some(store) = &self.store {
            let key = number.to_be_bytes();
            store.get_many(&[&key], &mut |_, value| {
                found = Some(codec::decode(value)?);
                Ok(())
            })?;
        }
        found.ok_or_else(|| Failure::attempt("records of a loop are missing in its store"))
    }
}

/// Writes records into the open snapshot, if there is one.
fn write<T: Record>(
    number: u64,
    rows: &[Event<T>],
    uid: &OperatorUid,
    cx: &mut TaskContext,
) -> Result<(), Failure> {
    let (instance, parallelism) = (cx.info.attempt.subtask.index, cx.info.parallelism);
    if let Some(snapshot) = &mut cx.snapshot {
        let rows: Vec<&Event<T>> = rows.iter().collect();
        let items = Items::new((instance, parallelism), number, rows);
        snapshot.blob::<Items<Event<T>>>(uid, STATE, &items)?;
    }
    Ok(())
}
