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
    MAX_TIMESTAMP, OperatorIndex, SnapshotBuilder,
};

use super::work::{Effect, Then, Todo, Turn, Work};

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
        self.align(actions, CALLED_OFF)?;
        match in_sight {
            Some(barrier) => self.announce(barrier),
            None => Ok(()),
        }
    }

    pub(super) fn trigger(&mut self, barrier: Barrier) -> Result<(), Failure> {
        if self.inputs.is_empty() && barrier.id > self.inputs.alignment.over() {
            // One that another follows has been given up, even if nobody has said so.
            self.held.take_if(|held| *held < barrier.id);
            if let CheckpointKind::Stop { drain } = barrier.kind {
                self.held = Some(barrier.id);
                if drain {
                    let end_of_time = Control::Watermark(MAX_TIMESTAMP);
                    self.todo
                        .push_back(Todo::Control(end_of_time, Then::Nothing));
                }
            }
            let actions = self.inputs.alignment.on_trigger(barrier);
            self.align(actions, "a newer checkpoint has begun")?;
            self.announce(barrier)?;
        }
        Ok(())
    }

    /// A barrier has come into sight: its time runs.
    fn announce(&mut self, barrier: Barrier) -> Result<(), Failure> {
        let Some(wait) = self.unaligned_after else {
            return Ok(());
        };
        if barrier.kind.is_always_aligned() || barrier.id <= self.announced {
            return Ok(());
        }
        self.announced = barrier.id;
        if wait == Duration::ZERO {
            return self.overtake(barrier);
        }
        self.effects.push(Effect::OvertakeAfter(barrier, wait));
        Ok(())
    }

    /// A barrier has waited long enough, unless it has gone out.
    pub(super) fn overtake(&mut self, barrier: Barrier) -> Result<(), Failure> {
        let is_stuck = self.kept == Some(Then::Frozen(barrier));
        let mut todo = self.todo.iter();
        if is_stuck {
            self.overdraw(barrier.id, usize::MAX);
        } else if todo.any(|todo| matches!(todo, Todo::Snapshot(of) if *of == barrier)) {
            self.overdraw(barrier.id, self.inputs.budget_bytes());
        } else {
            let actions = self.inputs.alignment.on_overtake(barrier);
            self.align(actions, CALLED_OFF)?;
        }
        Ok(())
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
        self.align(actions, CALLED_OFF)?;
        if declined {
            return Ok(Turn::Again);
        }
        self.overtaking = Some(barrier.id);
        self.freeze(barrier)
    }

    /// The barrier has gone out: if it was to overtake, what is parked belongs to its checkpoint.
    fn record_parked(&mut self, id: CheckpointId) -> Result<(), Failure> {
        if self.cx.outputs.is_overdrawing() {
            self.in_flight = Some(self.cx.outputs.record()?);
        }
        self.end_overdraft(id);
        Ok(())
    }

    /// The barrier of a checkpoint, or of an older one, has overtaken, or will not.
    fn end_overdraft(&mut self, id: CheckpointId) {
        let overtaking = &mut self.overtaking;
        if overtaking.take_if(|barrier| *barrier <= id).is_some() {
            self.cx.outputs.end_overdraft();
        }
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
        if let Some(barrier) = self.inputs.alignment.waits_for() {
            self.effects.push(Effect::AwaitAlignment(barrier.id));
        }
    }

    /// The time is over in which a barrier is to come on all channels. Whether barriers of this job might overtake, and don't.
    pub(super) fn alignment_timeout(
        &mut self,
        id: CheckpointId,
        timeout: Duration,
        may_overtake: bool,
    ) -> Result<(), Failure> {
        let waits_for = self.inputs.alignment.waits_for();
        let Some(barrier) = waits_for.filter(|barrier| barrier.id == id) else {
            return Ok(());
        };
        let or_overtake = match may_overtake && !barrier.kind.is_always_aligned() {
            true => ", or set unaligned_after, so that barriers overtake records",
            false => "",
        };
        let reason = format!(
            "the barrier came on one input, and {timeout:?} later not yet on all: raise \
             alignment_timeout{or_overtake}"
        );
        let actions = self.inputs.alignment.on_decline(id);
        self.align(actions, &reason)
    }

    pub(super) fn aborted(&mut self, id: CheckpointId) -> Result<(), Failure> {
        let actions = self.inputs.alignment.on_decline(id);
        self.align(actions, "it was given up")?;
        self.loop_gives_up(id);
        self.drop_snapshot(id)?;
        if self.held.is_some_and(|held| held <= id) {
            self.held = None;
        }
        self.todo
            .push_back(Todo::Control(Control::Aborted(id), Then::Nothing));
        Ok(())
    }

    /// Does what an alignment decided; `reason` is why it declines, if it does.
    pub(super) fn align(
        &mut self,
        actions: Vec<AlignmentAction>,
        reason: &str,
    ) -> Result<(), Failure> {
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
                    self.end_overdraft(id);
                    self.cx.outputs.cancel_barrier(id);
                    self.loop_gives_up(id);
                    self.drop_snapshot(id)?;
                    let aborted = Todo::Control(Control::Aborted(id), Then::Nothing);
                    self.todo.push_back(aborted);
                    let reason = reason.to_owned();
                    self.effects.push(Effect::Decline { id, reason });
                }
            }
        }
        Ok(())
    }

    /// Gives up what is being written for a checkpoint, or for an older one; or what was to be.
    pub(super) fn drop_snapshot(&mut self, id: CheckpointId) -> Result<(), Failure> {
        self.given_up = self.given_up.max(id);
        self.effects.push(Effect::Abandon(id));
        match self.cx.checkpoint() {
            Some(open) if open <= id => {
                self.close_snapshot()?;
                if matches!(self.kept, Some(Then::Frozen(_))) {
                    // Stages that the barrier has yet to reach are to find one open. Nobody reads it.
                    self.cx.snapshot = Some(SnapshotBuilder::new(open));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The checkpoint was given up before its barrier's turn came: nobody is to wait for it.
    pub(super) fn call_off(&mut self, barrier: Barrier) {
        self.end_overdraft(barrier.id);
        self.inputs.apply(AlignmentAction::Snapshot(barrier));
        self.cx.outputs.cancel_barrier(barrier.id);
    }

    /// The barrier has gone out: what is frozen is written from now on, unless the checkpoint was given up meanwhile.
    pub(super) fn frozen(&mut self, barrier: Barrier) -> Result<(), Failure> {
        self.inputs.apply(AlignmentAction::Snapshot(barrier));
        self.record_parked(barrier.id)?;
        if barrier.id <= self.given_up {
            return self.close_snapshot();
        }
        self.slicing = true;
        self.effects.push(Effect::Frozen(barrier));
        Ok(())
    }

    /// Forgets the open snapshot. What stages keep for it goes at once, also while the chain can't be given anything.
    pub(super) fn close_snapshot(&mut self) -> Result<(), Failure> {
        self.cx.snapshot = None;
        self.slicing = false;
        self.sliced = false;
        self.in_flight = None;
        // Without an open snapshot a slice lets go.
        self.task.slice(0, &mut self.cx).map(drop)
    }
}
