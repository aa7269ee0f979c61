//! Barriers: waiting until they have come on all channels, or letting them overtake what is under way.
//!
//! A barrier overtakes when it has waited long enough in this subtask, or because it has overtaken upstream. What the
//! chain keeps inside is no part of a snapshot, so the chain first gets done with the piece of work that it has begun: its
//! outputs take more than there is credit for (an overdraft, which is limited; beyond it the barrier does wait for credit).
//! Then nothing is kept inside, the state is frozen, and the barrier goes out ahead of what is parked. The snapshot is
//! whole when the barrier has come in on the other channels, too: what came before it there was recorded.
//!
//! Where the barrier has come on every channel and only the way out is blocked, it overtakes there and nowhere else.

use std::time::Duration;

use rivus_core::{
    AlignmentAction, Barrier, CheckpointId, CheckpointKind, Control, Element, Failure,
    MAX_TIMESTAMP, OperatorIndex,
};

use super::work::{Effect, Then, Todo, Turn, Work};
use crate::job_tasks::TaskEvent;

/// Why a checkpoint whose barrier was to come is given up.
const CALLED_OFF: &str = "a subtask before it has declined it, or knows of a newer one";

impl Work {
    /// Files an element under its channel.
    pub(super) fn file(
        &mut self,
        channel: usize,
        seq: u64,
        element: Element,
    ) -> Result<(), Failure> {
        let Some(element) = self.file_back(channel, seq, element)? else {
            return Ok(());
        };
        let in_sight = match &element {
            Element::Barrier(barrier) => Some(*barrier),
            _ => None,
        };
        let actions = self.inputs.file(channel, seq, element)?;
        self.align(actions, CALLED_OFF);
        if let Some(barrier) = in_sight {
            self.announce(barrier);
        }
        Ok(())
    }

    pub(super) fn trigger(&mut self, barrier: Barrier) {
        if self.inputs.is_empty() && barrier.id > self.inputs.alignment.over() {
            if let CheckpointKind::Stop { drain } = barrier.kind {
                self.held = Some(barrier.id);
                if drain {
                    let end_of_time = Control::Watermark(MAX_TIMESTAMP);
                    self.todo
                        .push_back(Todo::Control(end_of_time, Then::Nothing));
                }
            }
            let actions = self.inputs.alignment.on_trigger(barrier);
            self.align(actions, "a newer checkpoint has begun");
            self.announce(barrier);
        }
    }

    /// A barrier has come into sight: its time runs.
    fn announce(&mut self, barrier: Barrier) {
        let Some(wait) = self.unaligned_after else {
            return;
        };
        if barrier.kind.is_always_aligned() || barrier.id <= self.announced {
            return;
        }
        self.announced = barrier.id;
        if wait == Duration::ZERO {
            self.overtake(barrier);
        } else {
            self.effects.push(Effect::OvertakeAfter(barrier, wait));
        }
    }

    /// A barrier has waited long enough, unless it has gone out.
    pub(super) fn overtake(&mut self, barrier: Barrier) {
        let is_stuck = self.kept == Some(Then::Frozen(barrier));
        let mut todo = self.todo.iter();
        if is_stuck {
            self.overdraw(barrier.id, usize::MAX);
        } else if todo.any(|todo| matches!(todo, Todo::Snapshot(of) if *of == barrier)) {
            self.overdraw(barrier.id, self.inputs.budget_bytes());
        } else {
            let actions = self.inputs.alignment.on_overtake(barrier);
            self.align(actions, CALLED_OFF);
        }
    }

    /// Lets the chain get done with what it keeps inside, whether there is credit or not.
    fn overdraw(&mut self, id: CheckpointId, limit: usize) {
        self.overtaking = Some(id);
        self.cx.outputs.begin_overdraft(limit);
        self.effects.push(Effect::Overtaking);
    }

    /// Freezes the state of a subtask whose barrier overtakes what is queued: it is recorded.
    pub(super) fn freeze_overtaking(&mut self, barrier: Barrier) -> Result<Turn, Failure> {
        if self.inputs.alignment.overtaken() != Some(barrier.id) {
            // Declined since.
            return Ok(Turn::Again);
        }
        let actions = self.inputs.record(barrier.id)?;
        let is_declined = |action: &AlignmentAction| matches!(action, AlignmentAction::Decline(_));
        let declined = actions.iter().any(is_declined);
        self.align(actions, CALLED_OFF);
        if declined {
            return Ok(Turn::Again);
        }
        self.overtaking = Some(barrier.id);
        self.freeze(barrier)
    }

    /// The barrier has gone out: if it was to overtake, what is parked belongs to its checkpoint.
    pub(super) fn record_parked(&mut self, id: CheckpointId) -> Result<(), Failure> {
        if self.cx.outputs.is_overdrawing() {
            self.in_flight = Some(self.cx.outputs.record()?);
        }
        if self
            .overtaking
            .take_if(|overtaking| *overtaking <= id)
            .is_some()
        {
            self.cx.outputs.end_overdraft();
        }
        Ok(())
    }

    /// Writes what the open snapshot's barrier has overtaken, once all of it has come. Returns whether nothing is missing.
    pub(super) fn write_in_flight(&mut self) -> Result<bool, Failure> {
        let (Some(parked), Some(id)) = (&mut self.in_flight, self.cx.checkpoint()) else {
            return Ok(true);
        };
        if self.inputs.is_recording() {
            return Ok(false);
        }
        let mut all = self.inputs.take_recorded(id).unwrap_or_default();
        all.append(std::mem::take(parked));
        self.in_flight = None;
        let first = self.cx.uid(OperatorIndex(0)).clone();
        all.write(&first, self.cx.open_snapshot()?)?;
        Ok(true)
    }

    fn await_alignment(&mut self) {
        if let Some(id) = self.inputs.alignment.waits_for() {
            self.effects.push(Effect::AwaitAlignment(id));
        }
    }

    pub(super) fn alignment_timeout(&mut self, id: CheckpointId) {
        if self.inputs.alignment.waits_for() == Some(id) {
            let actions = self.inputs.alignment.on_decline(id);
            self.align(actions, "its barriers did not all arrive in time");
        }
    }

    pub(super) fn aborted(&mut self, id: CheckpointId) {
        let actions = self.inputs.alignment.on_decline(id);
        self.align(actions, "it was given up");
        self.loop_gives_up(id);
        self.drop_snapshot(id);
        if self.held.is_some_and(|held| held <= id) {
            self.held = None;
        }
        self.todo
            .push_back(Todo::Control(Control::Aborted(id), Then::Nothing));
    }

    /// Does what an alignment decided; `reason` is why it declines, if it does.
    pub(super) fn align(&mut self, actions: Vec<AlignmentAction>, reason: &str) {
        for action in actions {
            match action {
                AlignmentAction::Snapshot(barrier) => {
                    self.slips.aligned();
                    self.todo.push_back(Todo::Snapshot(barrier));
                }
                AlignmentAction::Park(channel) => {
                    if !self.slips.leaves_open(channel) {
                        self.inputs.apply(action);
                    }
                    self.await_alignment();
                }
                AlignmentAction::PassBy(_) => self.await_alignment(),
                AlignmentAction::Overtake(barrier) => {
                    self.slips.aligned();
                    self.todo.push_back(Todo::Overtake(barrier));
                    self.overdraw(barrier.id, self.inputs.budget_bytes());
                    self.await_alignment();
                }
                // The next turn hands it on.
                AlignmentAction::Recorded(_) => {}
                AlignmentAction::Release => {
                    self.slips.aligned();
                    self.inputs.apply(action);
                }
                AlignmentAction::Decline(id) => {
                    if self
                        .overtaking
                        .take_if(|overtaking| *overtaking <= id)
                        .is_some()
                    {
                        self.cx.outputs.end_overdraft();
                    }
                    self.cx.outputs.cancel_barrier(id);
                    self.loop_gives_up(id);
                    self.drop_snapshot(id);
                    // Tables stop keeping rows for it.
                    let thaw = Todo::Control(Control::Aborted(id), Then::Nothing);
                    self.todo.push_back(thaw);
                    self.effects.push(Effect::Tell(TaskEvent::Declined {
                        id,
                        reason: reason.to_owned(),
                    }));
                }
            }
        }
    }

    /// Gives up what is being written for a checkpoint, or for an older one.
    pub(super) fn drop_snapshot(&mut self, id: CheckpointId) {
        let is_frozen = self.slicing || self.sliced;
        if self.cx.checkpoint().is_some_and(|open| open <= id) && is_frozen {
            self.close_snapshot();
        }
        self.effects.push(Effect::Abandon(id));
    }

    /// Forgets the open snapshot.
    pub(super) fn close_snapshot(&mut self) {
        self.cx.snapshot = None;
        self.slicing = false;
        self.sliced = false;
        self.in_flight = None;
    }
}
