//! Turns: what a subtask works on next, and how far it got.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ractor::ActorProcessingErr;
use rivus_core::{
    AlignmentAction, Barrier, CheckpointId, Control, Element, EncodedSplit, Failure, GivenBack,
    InFlight, Inputs, MIN_TIMESTAMP, OperatorIndex, Progress, RoundMerge, RouteFactory, SourceTurn,
    SplitId, SubtaskMetrics, Task, TaskContext, TimeChange, Timestamp,
};

use super::commits::Commits;
use super::loops::Head;
use super::pace::Pace;
use super::{SubtaskMessage, SubtaskState};
use crate::job_tasks::TaskEvent;
use crate::planted::Slips;
use crate::probe::Step;

/// What follows when a piece of work is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// The channel gets its credit back.
    Credit(usize),
    /// The barrier has been passed on: slices of the frozen state follow.
    Frozen(Barrier),
    /// All input has been worked on.
    Drained,
    /// What the checkpoint allows to be committed has been collected.
    Committing(CheckpointId),
}

/// Something to be done before the next element is taken.
pub(super) enum Todo {
    Control(Control, Then),
    Snapshot(Barrier),
    /// As a snapshot, but the barrier overtakes what is queued.
    Overtake(Barrier),
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do.
    Again,
    /// Nothing to do until a message comes.
    Dry,
    /// There is something to do, and no credit for it.
    Blocked,
}

/// What the subtask was waiting for, for the shares of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Mailbox,
    Input,
    Credit,
    Others,
}

/// For how long a turn takes up further pieces of work. A turn costs some microseconds, which is much beside a batch and
/// little beside this.
const STINT: Duration = Duration::from_millis(1);

/// Pieces of work in one turn, at most; in a simulation the clock stands still.
const PIECES: u32 = 64;

/// A subtask's work and where it stands.
pub(super) struct Work {
    pub(super) task: Box<dyn Task>,
    pub(super) cx: TaskContext,
    pub(super) inputs: Inputs,
    /// What the chain keeps inside, if anything.
    pub(super) kept: Option<Then>,
    pub(super) todo: VecDeque<Todo>,
    /// The head of a loop, if the subtask is one.
    pub(super) head: Option<Head>,
    /// Rounds of the loop that the subtask stands in, if it is not at its head.
    pub(super) rounds: Option<RoundMerge>,
    /// Whether nothing has arrived since everything was flushed.
    pub(super) flushed: bool,
    /// Whether a split has been asked for and not come.
    asked_for_split: bool,
    /// Whether the source waits for others of its alignment group.
    pub(super) aligning: bool,
    drained: bool,
    /// The checkpoint behind whose barrier the source holds: the job is to end with it.
    pub(super) held: Option<CheckpointId>,
    /// The processing time for which a wake-up is on its way.
    wake_due: Option<Timestamp>,
    pub(super) commits: Commits,
    /// By input channel, what its batches are decoded with that come from another process.
    pub(super) routes: Vec<Arc<dyn RouteFactory>>,
    /// Batches that receivers have done with, to be dropped in a turn.
    pub(super) came_home: Vec<GivenBack>,
    /// By input channel, what goes back to its sender with the next credit.
    given_back: Vec<Vec<GivenBack>>,
    /// Whether frozen state is still being written.
    pub(super) slicing: bool,
    /// Whether all of it has been written and not yet been handed on.
    pub(super) sliced: bool,
    /// What was parked when the barrier of the open snapshot overtook it, if it did.
    pub(super) in_flight: Option<InFlight>,
    /// How long a barrier waits before it overtakes; none if it never does.
    pub(super) unaligned_after: Option<Duration>,
    /// The last checkpoint whose barrier has come into sight.
    pub(super) announced: CheckpointId,
    /// Checkpoints up to here were given up, if they had not been acknowledged.
    pub(super) given_up: CheckpointId,
    /// The checkpoint for whose barrier there is an overdraft.
    pub(super) overtaking: Option<CheckpointId>,
    /// Splits that the source had been given at the barrier.
    pub(super) received: Vec<SplitId>,
    /// How much of the time slices take.
    pub(super) pace: Pace,
    pub(super) turn_began: Duration,
    waiting: Waiting,
    turn_ended: Duration,
    /// What the actor has to do after the turn.
    pub(super) effects: Vec<Effect>,
    pub(super) slips: Slips,
}

/// What a turn wants of its actor.
pub(super) enum Effect {
    /// An element of this channel has been worked on.
    Credit(usize),
    /// What has come round on this channel has been taken in.
    CameRound(usize),
    Tell(TaskEvent),
    /// It gives the checkpoint up.
    Decline {
        id: CheckpointId,
        reason: String,
    },
    Frozen(Barrier),
    Abandon(CheckpointId),
    AwaitAlignment(CheckpointId),
    /// The barrier overtakes when it has waited so long.
    OvertakeAfter(Barrier, Duration),
    /// A barrier is about to overtake.
    Overtaking,
    SliceLater(Duration),
    TellWaiting,
}

impl Work {
    pub(super) fn new(
        task: Box<dyn Task>,
        cx: TaskContext,
        inputs: Inputs,
        restored: Option<CheckpointId>,
        unaligned_after: Option<Duration>,
    ) -> Self {
        let mut todo = VecDeque::new();
        let time = inputs.time.merged();
        if time > MIN_TIMESTAMP {
            cx.metrics.watermark.store(time, Relaxed);
            todo.push_back(Todo::Control(Control::Watermark(time), Then::Nothing));
        }
        if let Some(id) = restored {
            // What the checkpoint holds may not have been committed before the failure.
            todo.push_back(Todo::Control(Control::Completed(id), Then::Committing(id)));
        }
        let given_back = (0..inputs.len()).map(|_| Vec::new()).collect();
        Self {
            task,
            cx,
            routes: Vec::new(),
            came_home: Vec::new(),
            given_back,
            inputs,
            kept: None,
            todo,
            head: None,
            rounds: None,
            flushed: true,
            asked_for_split: false,
            aligning: false,
            drained: false,
            held: None,
            wake_due: None,
            commits: Commits::default(),
            slicing: false,
            sliced: false,
            in_flight: None,
            unaligned_after,
            announced: CheckpointId::default(),
            given_up: CheckpointId::default(),
            overtaking: None,
            received: Vec::new(),
            pace: Pace::new(false),
            turn_began: Duration::ZERO,
            waiting: Waiting::Input,
            turn_ended: Duration::ZERO,
            effects: Vec::new(),
            slips: Slips::default(),
        }
    }

    pub(super) fn credit(&mut self, lane: usize, granted: u64) {
        self.cx.outputs.grant(lane, granted);
        // What is buffered may go now.
        self.flushed = false;
    }

    /// Lets the stages see what time it is and which futures have ended, once what the chain keeps is done. They look once, however
    /// often they were to meanwhile.
    pub(super) fn look_again(&mut self) {
        if !matches!(self.todo.back(), Some(Todo::Control(Control::Tick, _))) {
            self.todo
                .push_back(Todo::Control(Control::Tick, Then::Nothing));
        }
    }

    /// Returns whether the wake-up is the one that is due.
    pub(super) fn wake(&mut self, at: Timestamp) -> bool {
        let due = self.wake_due == Some(at);
        if due {
            self.wake_due = None;
            self.look_again();
        }
        due
    }

    /// Reads nothing any more: the job has been stopped.
    pub(super) fn hold(&mut self) {
        self.held = Some(CheckpointId(u64::MAX));
    }

    pub(super) fn completed(&mut self, id: CheckpointId) {
        self.todo
            .push_back(Todo::Control(Control::Completed(id), Then::Committing(id)));
    }

    pub(super) fn add_splits(
        &mut self,
        splits: Vec<EncodedSplit>,
        no_more: bool,
    ) -> Result<(), Failure> {
        if splits.is_empty() && !no_more {
            // None have been found yet: it waits on, and isn't held up by anybody, so clocks of idleness go on.
            let free = Todo::Control(Control::Assigned, Then::Nothing);
            self.todo.push_back(free);
            return Ok(());
        }
        self.asked_for_split = false;
        // The head of the chain.
        self.cx.enter(OperatorIndex(0));
        self.watched(|work| match work.task.source() {
            Some(source) => source.add_splits(splits, no_more),
            None => Ok(()),
        })
    }

    /// Does what may be a user's code: its failure or panic names its place, and for as long as it lasts that can be seen.
    fn watched<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.cx.metrics.turn_begins(self.cx.monotonic());
        let done = Failure::caught(|| work(self));
        self.cx.metrics.turn_ends();
        done.map_err(|failure| self.cx.locate(failure))
    }

    /// One turn: some pieces of work, then a slice of a snapshot.
    pub(super) fn turn(&mut self, waiting_bytes: usize) -> Result<Turn, Failure> {
        self.cx.begin_turn();
        self.turn_began = self.cx.monotonic();
        self.came_home.clear();
        self.take_back()?;
        let mut turn = self.piece()?;
        let worked = turn == Turn::Again;
        for _ in 1..PIECES {
            let only_credits =
                |effect: &Effect| matches!(effect, Effect::Credit(_) | Effect::CameRound(_));
            if turn != Turn::Again
                || !self.effects.iter().all(only_credits)
                || !self.cx.commits.is_empty()
                || self.cx.monotonic().saturating_sub(self.turn_began) >= STINT
            {
                break;
            }
            turn = self.piece()?;
        }
        if self.slicing {
            return self.slice_after(turn, worked, waiting_bytes);
        }
        Ok(turn)
    }

    fn piece(&mut self) -> Result<Turn, Failure> {
        match self.kept {
            Some(then) => {
                let progress = self.task.resume(&mut self.cx)?;
                self.note(progress, then)
            }
            None => self.next_work(),
        }
    }

    /// Notes how far a piece of work got.
    pub(super) fn note(&mut self, progress: Progress, then: Then) -> Result<Turn, Failure> {
        Ok(match progress {
            Progress::Blocked => {
                self.kept = Some(then);
                Turn::Blocked
            }
            Progress::Yielded => {
                self.kept = Some(then);
                Turn::Again
            }
            Progress::Done => {
                self.kept = None;
                self.done(then)?;
                Turn::Again
            }
        })
    }

    fn done(&mut self, then: Then) -> Result<(), Failure> {
        match then {
            Then::Nothing => {}
            Then::Credit(channel) => {
                self.given_back[channel].extend(self.cx.take_given_back());
                self.effects.push(Effect::Credit(channel));
            }
            Then::Frozen(barrier) => self.frozen(barrier)?,
            Then::Drained => {
                self.drained = true;
                self.effects.push(Effect::Tell(TaskEvent::Drained));
            }
            Then::Committing(id) => self.commits.announce(id),
        }
        Ok(())
    }

    pub(super) fn control(&mut self, control: Control, then: Then) -> Result<Turn, Failure> {
        let progress = self.task.control(control, &mut self.cx)?;
        self.note(progress, then)
    }

    fn next_work(&mut self) -> Result<Turn, Failure> {
        if let Some(todo) = self.todo.pop_front() {
            self.flushed = false;
            return match todo {
                // Nothing follows the end: timers that are still ahead don't fire.
                Todo::Control(Control::Tick, _) if self.drained => Ok(Turn::Again),
                Todo::Control(control, then) => self.control(control, then),
                Todo::Snapshot(barrier) => self.freeze(barrier),
                Todo::Overtake(barrier) => self.freeze_overtaking(barrier),
            };
        }
        if let Some(turn) = self.send_round(false)? {
            return Ok(turn);
        }
        // What is parked goes first, or there would be more of it with each barrier that overtakes.
        let parked = self.cx.outputs.is_parked();
        if !parked && let Some((channel, element)) = self.inputs.take() {
            self.flushed = false;
            return self.element(channel, element);
        }
        if let Some(turn) = self.send_round(true)? {
            return Ok(turn);
        }
        if !parked && let Some(turn) = self.read_source()? {
            return Ok(turn);
        }
        if !self.flushed {
            self.flushed = true;
            let turn = self.control(Control::Flush, Then::Nothing)?;
            if turn == Turn::Blocked {
                return Ok(turn);
            }
        }
        Ok(if parked { Turn::Blocked } else { Turn::Dry })
    }

    fn element(&mut self, channel: usize, element: Element) -> Result<Turn, Failure> {
        let element = self.unpacked(channel, element)?;
        let then = if element.spends_credit() {
            Then::Credit(channel)
        } else {
            Then::Nothing
        };
        match element {
            // Made records of when it was taken.
            Element::Encoded(_) => Ok(Turn::Again),
            Element::Batch(batch) => {
                self.inputs.time.on_records(channel);
                let input = self.inputs.input(channel);
                let progress = self.task.batch(input, batch, &mut self.cx)?;
                if self.slips.is_through(channel) {
                    self.inputs.apply(AlignmentAction::Park(channel));
                }
                self.note(progress, then)
            }
            Element::Watermark(watermark) => {
                let change = self.inputs.time.on_watermark(channel, watermark);
                self.time_changed(change, then)
            }
            Element::Idle => {
                let change = self.inputs.time.on_idle(channel);
                self.time_changed(change, then)
            }
            Element::Barrier(barrier) | Element::Overtaking(barrier) => {
                let actions = self.inputs.alignment.on_barrier(channel, barrier);
                self.align(actions, "a newer checkpoint's barrier has arrived")?;
                Ok(Turn::Again)
            }
            Element::CancelBarrier(id) => {
                let actions = self.inputs.alignment.on_decline(id);
                self.align(actions, "a subtask before it has declined it")?;
                Ok(Turn::Again)
            }
            Element::Round(claim) => {
                self.on_round(channel, claim);
                Ok(Turn::Again)
            }
            Element::EndOfInput => {
                self.on_end(channel);
                Ok(Turn::Again)
            }
        }
    }

    /// Makes records of a batch that has come from another process.
    pub(super) fn unpacked(&self, channel: usize, element: Element) -> Result<Element, Failure> {
        let decode = |bytes: &[u8]| self.routes[channel].decode(bytes);
        Ok(element.unpacked(decode)?)
    }

    fn time_changed(&mut self, change: TimeChange, then: Then) -> Result<Turn, Failure> {
        match change {
            TimeChange::None => {
                self.done(then)?;
                Ok(Turn::Again)
            }
            TimeChange::Idle => self.control(Control::Idle, then),
            TimeChange::Watermark(time) => {
                self.cx.metrics.watermark.store(time, Relaxed);
                self.control(Control::Watermark(time), then)
            }
        }
    }

    /// Reads a run from the source, if the task has one and it has something to read.
    fn read_source(&mut self) -> Result<Option<Turn>, Failure> {
        if self.asked_for_split || self.drained || self.held.is_some() {
            return Ok(None);
        }
        if let Some(turn) = self.wait_for_others()? {
            return Ok(Some(turn));
        }
        if self.aligning {
            return Ok(None);
        }
        let Some(source) = self.task.source() else {
            return Ok(None);
        };
        match source.read(&mut self.cx)? {
            SourceTurn::Read(progress) => {
                self.flushed = false;
                Ok(Some(self.note(progress, Then::Nothing)?))
            }
            SourceTurn::Later => Ok(None),
            SourceTurn::NeedsSplit => {
                self.asked_for_split = true;
                self.effects.push(Effect::Tell(TaskEvent::NeedsSplit));
                Ok(None)
            }
            SourceTurn::Finished => {
                self.done(Then::Drained)?;
                Ok(Some(Turn::Again))
            }
        }
    }
}

impl SubtaskState {
    /// A turn of the work, and everything that follows from it.
    pub(super) fn turn(&mut self) -> Result<(), ActorProcessingErr> {
        let myself = self.myself.clone();
        self.pass(Step::Batch, &myself)?;
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let waiting_bytes = self.uploads.waiting_bytes();
        let turn = work.watched(|work| work.turn(waiting_bytes))?;
        let ended = self.args.node.clock.monotonic();
        work.account(ended, turn);
        self.send_outgoing()?;
        self.run_effects()?;
        self.start_commits();
        self.set_wake();
        self.upload()?;
        if turn == Turn::Again {
            self.step();
        }
        Ok(())
    }

    fn return_credit(&mut self, channel: usize) -> Result<(), Failure> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let queued = work.inputs.queued_bytes() as u64;
        work.cx.metrics.queued_bytes.store(queued, Relaxed);
        let granted = work.inputs.processed(channel);
        let given_back = std::mem::take(&mut work.given_back[channel]);
        if let Some(granted) = granted
            && let Some(sender) = self.senders.get(channel)
        {
            sender.credit(work.slips.granted(channel, granted), given_back)?;
        }
        Ok(())
    }

    fn run_effects(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let myself = self.myself.clone();
        for effect in std::mem::take(&mut work.effects) {
            match effect {
                Effect::Credit(channel) => self.return_credit(channel)?,
                Effect::CameRound(channel) => self.return_credit_back(channel)?,
                Effect::Tell(event) => {
                    if let TaskEvent::Drained = event {
                        self.pass(Step::Drained, &myself)?;
                    }
                    self.tell(event);
                }
                Effect::Decline { id, reason } => {
                    self.pass(Step::Decline, &myself)?;
                    self.decline(id, &reason);
                }
                Effect::AwaitAlignment(id) => {
                    self.pass(Step::Barrier, &myself)?;
                    let timeout = self.args.options.alignment_timeout;
                    let message = SubtaskMessage::AlignmentTimeout(id);
                    self.args.node.send_later(&myself, timeout, message);
                }
                Effect::OvertakeAfter(barrier, wait) => {
                    let message = SubtaskMessage::Overtake(barrier);
                    self.args.node.send_later(&myself, wait, message);
                }
                Effect::Overtaking => self.pass(Step::Overtake, &myself)?,
                Effect::Frozen(barrier) => {
                    self.pass(Step::Frozen, &myself)?;
                    self.begin_upload(barrier);
                }
                Effect::TellWaiting => self.tell_waiting(),
                Effect::Abandon(id) => self.uploads.abandon_up_to(id),
                Effect::SliceLater(pause) => {
                    self.args
                        .node
                        .send_later(&myself, pause, SubtaskMessage::SliceDue);
                }
            }
        }
        Ok(())
    }

    /// Arranges for the wake-up that a stage has asked for.
    fn set_wake(&mut self) {
        let Some(work) = &mut self.work else {
            return;
        };
        let Some(at) = work.cx.take_wake() else {
            return;
        };
        if work.wake_due.is_some_and(|due| due <= at) {
            return;
        }
        work.wake_due = Some(at);
        let node = &self.args.node;
        let wait = time_until(at, node.clock.unix_millis());
        node.send_later(&self.myself, wait, SubtaskMessage::Wake { at });
    }
}

/// How long it takes until a processing time comes; none if it is over, however long ago.
fn time_until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(at.saturating_sub(now).max(0) as u64)
}

impl Work {
    /// Shares of time: working, waiting for credit, waiting for input.
    fn account(&mut self, ended: Duration, turn: Turn) {
        let began = self.turn_began;
        let micros = |time: Duration| time.as_micros() as u64;
        let metrics = &self.cx.metrics;
        SubtaskMetrics::add(&metrics.busy_us, micros(ended.saturating_sub(began)));
        if self.turn_ended > Duration::ZERO {
            let waited = micros(began.saturating_sub(self.turn_ended));
            match self.waiting {
                // Other actors had their turn; the subtask itself had work.
                Waiting::Mailbox => SubtaskMetrics::add(&metrics.busy_us, waited),
                Waiting::Credit => SubtaskMetrics::add(&metrics.backpressured_us, waited),
                Waiting::Input => SubtaskMetrics::add(&metrics.idle_us, waited),
                Waiting::Others => SubtaskMetrics::add(&metrics.aligning_us, waited),
            }
        }
        self.turn_ended = ended;
        self.waiting = match turn {
            Turn::Again => Waiting::Mailbox,
            Turn::Blocked => Waiting::Credit,
            Turn::Dry if self.aligning => Waiting::Others,
            Turn::Dry => Waiting::Input,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_over_has_come_however_long_ago_it_was() {
        let now = 1_700_000_000_000;
        let waits = [now + 5, now, now - 5, MIN_TIMESTAMP + 1, Timestamp::MAX]
            .map(|at| time_until(at, now).as_millis());
        assert_eq!(waits, [5, 0, 0, 0, (Timestamp::MAX - now) as u128]);
    }
}
