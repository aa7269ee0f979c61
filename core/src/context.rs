//! What a chain may reach while it works: its outputs, the clock, the open snapshot, its counters.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::drift::AlignedTime;
use crate::event::Timestamp;
use crate::failure::Failure;
use crate::futures::Futures;
use crate::ids::{AttemptId, CheckpointId, JobId, OperatorUid};
use crate::key::KeyGroupRange;
use crate::metrics::SubtaskMetrics;
use crate::outputs::Outputs;
use crate::sink::CommitRequest;
use crate::snapshot::SnapshotBuilder;

/// Which subtask a chain is, and how it is set up.
#[derive(Debug, Clone)]
pub struct SubtaskInfo {
    /// Of which job.
    pub job: JobId,
    /// This execution.
    pub attempt: AttemptId,
    /// How many subtasks the vertex has.
    pub parallelism: u32,
    /// The job's number of key groups.
    pub max_parallelism: u32,
    /// Records in a full batch.
    pub batch_records: usize,
    /// Bytes in a full batch.
    pub batch_bytes: usize,
    /// Bytes that may wait in memory at the head of a loop.
    pub loop_bytes: usize,
    /// Whether its job may run in several processes, so that records are encoded on their way.
    pub is_distributed: bool,
}

impl SubtaskInfo {
    /// The key groups that this subtask owns.
    pub fn key_groups(&self) -> KeyGroupRange {
        KeyGroupRange::of(
            self.attempt.subtask.index,
            self.parallelism,
            self.max_parallelism,
        )
    }
}

/// A batch that has been worked on, on its way home.
pub type GivenBack = Box<dyn Any + Send>;

/// How long a turn may take.
pub const TURN: Duration = Duration::from_millis(1);

/// How many rounds of a loop pass between two looks at the clock.
const ROUNDS_PER_LOOK: u32 = 256;

/// The world of a chain during a turn.
pub struct TaskContext {
    /// Which subtask this is.
    pub info: SubtaskInfo,
    /// The sending ends of the subtask's channels.
    pub outputs: Outputs,
    /// The snapshot being written, from the barrier until the last slice.
    pub snapshot: Option<SnapshotBuilder>,
    /// What became ready to be committed in this turn.
    pub commits: Vec<CommitRequest>,
    /// Counters that others read while the subtask runs.
    pub metrics: Arc<SubtaskMetrics>,
    /// Its watermarks that are aligned with others'.
    pub aligned: AlignedTime,
    futures: Option<Arc<dyn Futures>>,
    clock: Arc<dyn Clock>,
    now: Timestamp,
    turn_ends: Duration,
    rounds: u32,
    wake_at: Option<Timestamp>,
    given_back: Vec<GivenBack>,
    operators: Vec<OperatorUid>,
    position: Option<String>,
}

impl TaskContext {
    /// A context at the clock's present time.
    pub fn new(
        info: SubtaskInfo,
        outputs: Outputs,
        metrics: Arc<SubtaskMetrics>,
        operators: Vec<OperatorUid>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut cx = Self {
            info,
            outputs,
            snapshot: None,
            commits: Vec::new(),
            metrics,
            aligned: AlignedTime::default(),
            futures: None,
            now: clock.unix_millis(),
            turn_ends: Duration::ZERO,
            clock,
            rounds: 0,
            wake_at: None,
            given_back: Vec::new(),
            operators,
            position: None,
        };
        cx.begin_turn();
        cx
    }

    /// Says who runs the futures of the chain's operators.
    pub fn set_futures(&mut self, futures: Arc<dyn Futures>) {
        self.futures = Some(futures);
    }

    /// Who runs futures.
    ///
    /// # Errors
    /// If nobody does.
    pub fn futures(&self) -> Result<&Arc<dyn Futures>, Failure> {
        self.futures
            .as_ref()
            .ok_or_else(|| Failure::job("nobody runs futures here; this is a defect in Rivus"))
    }

    /// Starts a turn: reads the clock once for all that happens in it.
    pub fn begin_turn(&mut self) {
        self.now = self.clock.unix_millis();
        self.turn_ends = self.clock.monotonic() + TURN;
        self.rounds = 0;
    }

    /// Processing time, milliseconds since the epoch; the same throughout a turn.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Monotonic time at this very moment.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Whether a loop inside a stage should stop and keep its remainder. Cheap enough to ask each round.
    pub fn turn_is_over(&mut self) -> bool {
        self.rounds += 1;
        // A simulation's clock stands still during a turn; the bound on rounds ends it there too.
        self.rounds.is_multiple_of(ROUNDS_PER_LOOK)
            && (self.rounds >= 64 * ROUNDS_PER_LOOK || self.clock.monotonic() >= self.turn_ends)
    }

    /// Asks for a [`Control::Tick`](crate::Control::Tick) at a processing time; the earliest wish wins.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Takes the earliest time at which a stage wants to be woken.
    pub fn take_wake(&mut self) -> Option<Timestamp> {
        self.wake_at.take()
    }

    /// Gives what is left of a batch back to the subtask that sent it, which drops it: memory is freed where it was
    /// allocated. It travels with the batch's credit.
    pub fn give_back(&mut self, batch: GivenBack) {
        self.given_back.push(batch);
    }

    /// Takes what is to go back to the sender of the batch that is being worked on.
    pub fn take_given_back(&mut self) -> std::vec::Drain<'_, GivenBack> {
        self.given_back.drain(..)
    }

    /// Notes whose code runs now, so that a failure or panic can name it.
    #[inline]
    pub fn enter(&mut self, operator: OperatorIndex) {
        self.metrics.runs(operator.0);
    }

    /// Notes where the source stands.
    pub fn set_position(&mut self, position: Option<String>) {
        self.position = position;
    }

    /// Completes a failure with what the context knows of its place.
    pub fn locate(&self, failure: Failure) -> Failure {
        let failure = failure.at(self.position.clone());
        match self
            .metrics
            .running()
            .and_then(|index| self.operators.get(index))
        {
            Some(operator) => failure.blame(operator),
            None => failure,
        }
    }

    /// The uid of an operator of this chain.
    pub fn uid(&self, operator: OperatorIndex) -> &OperatorUid {
        &self.operators[operator.0]
    }

    /// The snapshot that a barrier has opened.
    ///
    /// # Errors
    /// If none is open: a stage was given a barrier outside a checkpoint.
    pub fn open_snapshot(&mut self) -> Result<&mut SnapshotBuilder, Failure> {
        self.snapshot
            .as_mut()
            .ok_or_else(|| Failure::attempt("a barrier arrived without an open snapshot"))
    }

    /// The checkpoint whose snapshot is open.
    pub fn checkpoint(&self) -> Option<CheckpointId> {
        self.snapshot.as_ref().map(SnapshotBuilder::checkpoint)
    }
}

/// An operator's place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorIndex(pub usize);
