//! The end of a chain that writes to a [`Sink`].
//!
//! ```text
//! snapshot  blob "sink" = { instance, writer, pending }    pending: checkpoint -> committables
//! ```
//!
//! A committable is pending from its barrier until its commit, allowed by the completion of its
//! checkpoint or of a later one, has succeeded. It is in every snapshot until then, so a checkpoint that
//! completes while the commits of the one before are still under way loses nothing. What a restored
//! snapshot holds is committed again when the actor says [`Control::Completed`] for the restored
//! checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rivus_core::{
    AnyStage, Barrier, BuildContext, Chain, CheckpointId, CheckpointKind, CommitRequest, Committer,
    Control, Event, Failure, OperatorFactory, OperatorIndex, OperatorUid, Outlets, Progress,
    SidesRead, Sink, SinkWriter, Stage, StateType, SubtaskMetrics, Task, TaskContext, Timestamp,
    UserError,
};
use serde::{Deserialize, Serialize};

/// Name of its state in a snapshot.
const STATE: &str = "sink";

/// Milliseconds until a writer without room is asked again.
const LOOKS_AGAIN: Timestamp = 2;

/// Makes stages that write to a sink. Nothing comes after it.
pub struct SinkOperator<S> {
    sink: S,
}

impl<S: Sink> SinkOperator<S> {
    /// Of a sink.
    pub fn new(sink: S) -> Self {
        Self { sink }
    }
}

/// What a snapshot holds. `P` are committables, borrowed when written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "rivus.SinkState")]
struct SinkState<W, P> {
    /// Which writer wrote it.
    instance: u32,
    writer: W,
    /// By checkpoint, the earliest first.
    pending: Vec<(CheckpointId, P)>,
}

/// The same as it is read.
type OwnedState<S> = SinkState<<S as Sink>::State, Vec<<S as Sink>::Committable>>;

/// The committables of one checkpoint.
struct Pending<C> {
    committables: Arc<Vec<C>>,
    /// Whether a worker has been asked to commit them.
    requested: bool,
    /// Whether the worker has.
    committed: Arc<AtomicBool>,
}

impl<C> Pending<C> {
    fn new(committables: Vec<C>) -> Self {
        Self {
            committables: Arc::new(committables),
            requested: false,
            committed: Arc::default(),
        }
    }
}

/// By checkpoint, the earliest first.
type AllPending<S> = Vec<(CheckpointId, Pending<<S as Sink>::Committable>)>;

/// The place of a checkpoint among others.
fn place_of<T>(checkpoint: CheckpointId, others: &[(CheckpointId, T)]) -> usize {
    others.partition_point(|(earlier, _)| *earlier < checkpoint)
}

impl<S: Sink> SinkOperator<S> {
    /// The state of the writer in this place, and the committables that are its to commit: at a lower
    /// parallelism those of writers that are no more, too.
    fn restored(
        &self,
        cx: &BuildContext<'_>,
    ) -> Result<(Option<S::State>, AllPending<S>), Failure> {
        let instance = cx.instance();
        let states: Vec<OwnedState<S>> = cx.restored.blobs(cx.uid, STATE)?;
        let mut writer = None;
        let mut pending: Vec<(CheckpointId, Vec<S::Committable>)> = Vec::new();
        for state in states {
            if state.instance % instance.parallelism != instance.index {
                continue;
            }
            // What others have committed is no business of ours.
            let left = (!cx.restored.committed).then_some(state.pending);
            for (checkpoint, committables) in left.into_iter().flatten() {
                let place = place_of(checkpoint, &pending);
                match pending.get_mut(place) {
                    Some((same, others)) if *same == checkpoint => others.extend(committables),
                    _ => pending.insert(place, (checkpoint, committables)),
                }
            }
            if state.instance == instance.index {
                writer = Some(state.writer);
            } else {
                self.sink
                    .retire(state.writer)
                    .map_err(|error| Failure::job(Failure::user(&error).message))?;
            }
        }
        let pending = pending
            .into_iter()
            .map(|(checkpoint, committables)| (checkpoint, Pending::new(committables)))
            .collect();
        Ok((writer, pending))
    }
}

impl<S: Sink> OperatorFactory for SinkOperator<S> {
    fn check(&self, _read: &SidesRead) -> Result<(), String> {
        let checked = self.sink.check();
        checked.map_err(|error| Failure::user(&error).message)
    }

    fn is_sink(&self) -> bool {
        true
    }

    fn prepare(&self) -> Result<(), UserError> {
        self.sink.prepare()
    }

    fn target(&self) -> Option<String> {
        self.sink.target()
    }

    fn states(&self) -> Vec<StateType> {
        vec![StateType::of::<OwnedState<S>>(STATE)]
    }

    fn stage(&self, cx: &BuildContext<'_>, _outlets: Outlets) -> Result<AnyStage, Failure> {
        let (state, pending) = self.restored(cx)?;
        let writer = self
            .sink
            .writer(cx.instance(), state)
            .map_err(|error| Failure::user(&error).outside())?;
        Ok(AnyStage::new::<S::In>(Box::new(Writing::<S> {
            writer,
            committer: self.sink.committer(),
            waiting: None,
            pending,
            uid: cx.uid.clone(),
            operator: cx.operator,
        })))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<S::In>::task(stage)
    }
}

struct Writing<S: Sink> {
    writer: S::Writer,
    committer: Option<Arc<dyn Committer<S::Committable>>>,
    /// A run for which the writer has no room.
    waiting: Option<Vec<Event<S::In>>>,
    pending: AllPending<S>,
    uid: OperatorUid,
    operator: OperatorIndex,
}

impl<S: Sink> Writing<S> {
    fn prepare(&mut self, barrier: Barrier, cx: &mut TaskContext) -> Result<(), Failure> {
        // Whoever goes on from a savepoint may have fewer writers.
        let last = barrier.kind != CheckpointKind::Checkpoint;
        let user = |error: UserError| Failure::user(&error).outside();
        let committables = self.writer.prepare_commit(barrier.id, last).map_err(user)?;
        if self.committer.is_some() && !committables.is_empty() {
            let pending = Pending::new(committables);
            let place = place_of(barrier.id, &self.pending);
            self.pending.insert(place, (barrier.id, pending));
        }
        self.pending
            .retain(|(_, pending)| !pending.committed.load(Ordering::Acquire));
        // A restart may go back behind a savepoint, and whoever goes on from it needs what it names.
        if let Some(committer) = &self.committer
            && barrier.kind == CheckpointKind::Savepoint
        {
            for (_, pending) in &self.pending {
                for committable in pending.committables.iter() {
                    committer.keep(committable).map_err(user)?;
                }
            }
        }
        let state = SinkState {
            instance: cx.info.attempt.subtask.index,
            writer: self.writer.snapshot().map_err(user)?,
            pending: self
                .pending
                .iter()
                .map(|(checkpoint, pending)| (*checkpoint, pending.committables.as_slice()))
                .collect(),
        };
        let snapshot = cx.open_snapshot()?;
        snapshot.blob::<OwnedState<S>>(&self.uid, STATE, &state)?;
        Ok(())
    }

    /// Asks for everything to be committed that this checkpoint makes durable.
    fn commit(&mut self, completed: CheckpointId, cx: &mut TaskContext) {
        let Some(committer) = &self.committer else {
            return;
        };
        for (checkpoint, pending) in &mut self.pending {
            if *checkpoint > completed {
                break;
            }
            if std::mem::replace(&mut pending.requested, true) {
                continue;
            }
            let committer = Arc::clone(committer);
            let committables = Arc::clone(&pending.committables);
            let committed = Arc::clone(&pending.committed);
            cx.commits.push(CommitRequest {
                operator: self.uid.clone(),
                checkpoint: *checkpoint,
                commit: Box::new(move || {
                    for committable in committables.iter() {
                        committer.commit(committable)?;
                    }
                    committed.store(true, Ordering::Release);
                    Ok(())
                }),
            });
        }
    }
}

impl<S: Sink> Stage<S::In> for Writing<S> {
    fn run(&mut self, run: Vec<Event<S::In>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        if !self.writer.has_room() && !cx.outputs.is_overdrawing() {
            self.waiting = Some(run);
            cx.wake_at(cx.now() + LOOKS_AGAIN);
            return Ok(Progress::Blocked);
        }
        let records = run.len() as u64;
        self.writer
            .write(run)
            .map_err(|error| Failure::user(&error).outside())?;
        SubtaskMetrics::add(&cx.metrics.records_out, records);
        Ok(Progress::Done)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        cx.enter(self.operator);
        match control {
            Control::Flush => self
                .writer
                .flush()
                .map_err(|error| Failure::user(&error).outside())?,
            Control::Barrier(barrier) => self.prepare(barrier, cx)?,
            Control::Completed(checkpoint) => self.commit(checkpoint, cx),
            // What an aborted checkpoint would have committed waits for the next one.
            Control::Aborted(_)
            | Control::Watermark(_)
            | Control::Idle
            | Control::Waiting
            | Control::Assigned
            | Control::Tick
            | Control::Round(_)
            | Control::EndOfInput => {}
        }
        Ok(Progress::Done)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        match self.waiting.take() {
            Some(run) => self.run(run, cx),
            None => Ok(Progress::Done),
        }
    }

    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}
