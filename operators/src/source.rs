//! The head of a chain that reads a [`Source`].
//!
//! ```text
//! snapshot  blob "splits" = { instance, parallelism, no_more, finished, unfinished }
//! ```
//!
//! Which splits it has received is said beside the snapshot, until it has heard of a completed checkpoint that holds them: then
//! they are settled in the log, and nobody hands them out again.
//!
//! After a restore at the same parallelism each reader takes its own blob. At another, all readers see
//! all blobs and deal the unfinished splits among themselves by their order, so each is read once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use rivus_core::ReadStatus;
use rivus_core::{
    AnyEnumerator, Batch, BuildContext, CheckpointId, Control, Discovered, EncodedSplit, Event,
    Failure, FoundSplit, KnownSplits, MAX_TIMESTAMP, OperatorIndex, OperatorUid, Outlets, Progress,
    SidesRead, Source, SourceFactory, SourceReader, SourceTask, SourceTurn, SplitEnumerator,
    SplitId, StateAnswer, StateQuery, StateType, SubtaskMetrics, Task, TaskContext, Timestamp,
    UserError, codec, no_side_outputs, record_bytes, run_records,
};
use serde::{Deserialize, Serialize};

use crate::outlet::{Outlet, only_outlet};

/// Name of its state in a snapshot.
const STATE: &str = "splits";

/// Records of the first run: what a record takes is not known yet.
const FIRST_RUN: usize = 16;

/// Makes tasks that read a source.
pub struct SourceOperator<S> {
    source: S,
}

impl<S: Source> SourceOperator<S> {
    /// Of a source.
    pub fn new(source: S) -> Self {
        Self { source }
    }
}

impl<S: Source> SourceFactory for SourceOperator<S> {
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        let checked = self.source.check();
        checked.map_err(|error| Failure::user(&error).message)?;
        no_side_outputs(read)
    }

    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<SourceState<S::Split>>(STATE)]
    }

    fn splits(&self, parallelism: u32) -> Result<Vec<EncodedSplit>, UserError> {
        let splits = self.source.splits(parallelism)?;
        let mut encoded = Vec::with_capacity(splits.len());
        for (index, split) in splits.iter().enumerate() {
            encoded.push(EncodedSplit {
                id: SplitId(index as u32),
                bytes: codec::encode(split)?,
            });
        }
        Ok(encoded)
    }

    fn enumerator(&self, known: KnownSplits<Vec<u8>>) -> Result<Option<AnyEnumerator>, UserError> {
        let splits = known.splits.iter().map(|split| codec::decode(split));
        let enumerator = self.source.enumerator(KnownSplits {
            splits: splits.collect::<Result<_, _>>()?,
            keys: known.keys,
        })?;
        Ok(enumerator.map(|inner| Box::new(Encoding(inner)) as AnyEnumerator))
    }

    fn task(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<Box<dyn Task>, Failure> {
        let reader = self
            .source
            .reader(cx.instance())
            .map_err(|error| Failure::user(&error).outside())?;
        let mut task: Reading<S> = Reading {
            reader,
            received: BTreeMap::new(),
            no_more: false,
            assigned: false,
            end: End::Ahead,
            run: FIRST_RUN,
            next: only_outlet(outlets)?,
            uid: cx.uid.clone(),
            operator: cx.operator,
        };
        task.restore(cx)?;
        Ok(Box::new(task))
    }
}

/// Encodes what an enumerator finds.
struct Encoding<T>(Box<dyn SplitEnumerator<Split = T>>);

impl<T: Serialize> SplitEnumerator for Encoding<T> {
    type Split = FoundSplit;

    fn interval(&self) -> Duration {
        self.0.interval()
    }

    fn discover(&mut self, now: Timestamp) -> Result<Discovered<FoundSplit>, UserError> {
        let Discovered { splits, last } = self.0.discover(now)?;
        let splits = splits.iter().map(|split| {
            codec::encode(split).map(|bytes| FoundSplit {
                bytes,
                memory: self.0.memory(split),
            })
        });
        Ok(Discovered {
            splits: splits.collect::<Result<_, _>>()?,
            last,
        })
    }
}

/// What a snapshot holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "rivus.SourceState")]
struct SourceState<T> {
    /// Which reader wrote it, of how many.
    instance: u32,
    parallelism: u32,
    no_more: bool,
    finished: bool,
    unfinished: Vec<T>,
}

/// What is still to be said at the end of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is more to read.
    Ahead,
    /// The last watermark is due, then the end.
    Watermark,
    /// The end is due.
    Input,
    /// All is said; barriers still come.
    Said,
}

struct Reading<S: Source> {
    reader: S::Reader,
    /// Splits that no completed checkpoint is known to hold, each with the first checkpoint that does if it completes.
    received: BTreeMap<SplitId, Option<CheckpointId>>,
    no_more: bool,
    /// Whether a split has come of which the chain has not been told.
    assigned: bool,
    end: End,
    /// Records that the reader is asked for.
    run: usize,
    next: Outlet<S::Out>,
    uid: OperatorUid,
    operator: OperatorIndex,
}

impl<S: Source> Reading<S> {
    fn restore(&mut self, cx: &BuildContext<'_>) -> Result<(), Failure> {
        let mut states: Vec<SourceState<S::Split>> = cx.restored.blobs(cx.uid, STATE)?;
        if states.is_empty() {
            return Ok(());
        }
        let instance = cx.instance();
        states.sort_by_key(|state| state.instance);
        let rescaled = states
            .iter()
            .any(|state| state.parallelism != instance.parallelism);
        self.no_more = states.iter().all(|state| state.no_more);
        let mut place = 0;
        for state in states {
            if !rescaled && state.instance != instance.index {
                continue;
            }
            if !rescaled {
                self.no_more = state.no_more;
                // A reader that keeps its splits is asked again whether there is more.
                if state.finished && state.unfinished.is_empty() {
                    // The channels behind are new: the end has to be said again.
                    self.end = End::Watermark;
                }
            }
            for split in state.unfinished {
                if !rescaled || place % instance.parallelism == instance.index {
                    self.add(split)?;
                }
                place += 1;
            }
        }
        Ok(())
    }

    fn add(&mut self, split: S::Split) -> Result<(), Failure> {
        self.reader
            .add_split(split)
            .map_err(|error| Failure::user(&error).outside().blame(&self.uid))
    }

    fn snapshot(&self, cx: &mut TaskContext) -> Result<(), Failure> {
        let state = SourceState {
            instance: cx.info.attempt.subtask.index,
            parallelism: cx.info.parallelism,
            no_more: self.no_more,
            finished: self.end != End::Ahead,
            unfinished: self.reader.snapshot(),
        };
        let snapshot = cx.open_snapshot()?;
        snapshot.blob::<SourceState<S::Split>>(&self.uid, STATE, &state)?;
        Ok(())
    }

    /// Says what is still to be said at the end.
    fn say_end(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        loop {
            let control = match self.end {
                End::Ahead | End::Said => return Ok(Progress::Done),
                End::Watermark => {
                    self.end = End::Input;
                    Control::Watermark(MAX_TIMESTAMP)
                }
                End::Input => {
                    self.end = End::Said;
                    Control::EndOfInput
                }
            };
            let progress = self.next.control(control, cx)?;
            if !progress.is_done() {
                return Ok(progress);
            }
        }
    }

    fn finish(&mut self, cx: &mut TaskContext) -> Result<SourceTurn, Failure> {
        let progress = self.say_end(cx)?;
        Ok(if progress.is_done() {
            SourceTurn::Finished
        } else {
            SourceTurn::Read(progress)
        })
    }
}

impl<S: Source> SourceTask for Reading<S> {
    fn read(&mut self, cx: &mut TaskContext) -> Result<SourceTurn, Failure> {
        if self.end != End::Ahead {
            return self.finish(cx);
        }
        if std::mem::take(&mut self.assigned) {
            let progress = self.next.control(Control::Assigned, cx)?;
            if !progress.is_done() {
                return Ok(SourceTurn::Read(progress));
            }
        }
        cx.enter(self.operator);
        let most = run_records::<S::Out>(cx.info.batch_records);
        let max = self.run.min(most);
        let mut run: Vec<Event<S::Out>> = Vec::with_capacity(max);
        let read = self.reader.read(&mut run, max, cx.now());
        // Also where the read failed: that is the place to name.
        cx.set_position(self.reader.position());
        let status = read.map_err(|error| Failure::user(&error).outside())?;
        SubtaskMetrics::add(&cx.metrics.skipped, self.reader.skipped());
        if !run.is_empty() {
            // Behind the last record there are more like it.
            let bytes = record_bytes(&run).max(record_bytes(&run[run.len() - 1..]));
            let fitting = cx.info.batch_bytes / bytes;
            self.run = fitting.clamp(1, 2 * max);
            SubtaskMetrics::add(&cx.metrics.records_in, run.len() as u64);
            // A reader that has no more says so again when it is next asked.
            return Ok(SourceTurn::Read(self.next.run(run, cx)?));
        }
        match status {
            ReadStatus::More => Ok(SourceTurn::Read(Progress::Done)),
            ReadStatus::Later(at) => {
                cx.wake_at(at);
                Ok(SourceTurn::Later)
            }
            ReadStatus::SplitsDone if self.no_more => {
                self.end = End::Watermark;
                self.finish(cx)
            }
            ReadStatus::SplitsDone => {
                let progress = self.next.control(Control::Waiting, cx)?;
                Ok(if progress.is_done() {
                    SourceTurn::NeedsSplit
                } else {
                    SourceTurn::Read(progress)
                })
            }
        }
    }

    fn add_splits(&mut self, splits: Vec<EncodedSplit>, no_more: bool) -> Result<(), Failure> {
        for split in splits {
            if let Entry::Vacant(place) = self.received.entry(split.id) {
                place.insert(None);
                self.add(codec::decode(&split.bytes)?)?;
                self.assigned = true;
            }
        }
        self.no_more |= no_more;
        Ok(())
    }

    fn received(&self) -> Vec<SplitId> {
        self.received.keys().copied().collect()
    }
}

impl<S: Source> Task for Reading<S> {
    fn batch(
        &mut self,
        _input: usize,
        _batch: Box<dyn Batch>,
        _cx: &mut TaskContext,
    ) -> Result<Progress, Failure> {
        Err(Failure::job(
            "a batch reached a source, which has no input; this is a defect in Rivus",
        ))
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        match control {
            Control::Barrier(barrier) => {
                for held in self.received.values_mut() {
                    held.get_or_insert(barrier.id);
                }
                self.reader.checkpoint_begun(barrier.id);
                self.snapshot(cx)?;
            }
            Control::Completed(checkpoint) => {
                self.received
                    .retain(|_, held| held.is_none_or(|first| first > checkpoint));
                self.reader.checkpoint_completed(checkpoint);
            }
            _ => {}
        }
        self.next.control(control, cx)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let progress = self.next.resume(cx)?;
        if !progress.is_done() {
            return Ok(progress);
        }
        self.say_end(cx)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.next.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.next.query(query, now)
    }

    fn source(&mut self) -> Option<&mut dyn SourceTask> {
        Some(self)
    }
}
