//! Loops: what the subtask at a head does with what comes round, and what one in the body does with rounds.
//!
//! Channels that come round are the last of a head's. What is filed there is taken in at the beginning of the next turn, also
//! by a chain that is blocked, and its credit goes back at once: so nobody waits for a head.

use super::SubtaskState;
use super::work::{Effect, Then, Todo, Turn, Work};
use rivus_core::{
    AlignmentAction, CheckpointId, CheckpointKind, Control, Element, Failure, Inputs, JobGraph,
    LoopBarrierAction, LoopBarriers, LoopRounds, LoopStep, LoopWaiting, RoundMerge, SubtaskId,
    SubtaskMetrics,
};

/// Pieces of what waits at a head that go before one element from outside, when there is much: what is in the loop shrinks,
/// and barriers from outside come through.
const OFTEN: u32 = 16;

/// The head of a loop.
pub(super) struct Head {
    /// Channels that come round.
    pub(super) back: Inputs,
    barriers: LoopBarriers,
    rounds: LoopRounds,
    /// Pieces sent into the body since the last element from outside.
    since_outside: u32,
}

impl Head {
    /// Of a subtask, if it is one.
    pub(super) fn of(
        graph: &JobGraph,
        subtask: SubtaskId,
        restored: CheckpointId,
        budget_bytes: usize,
    ) -> Option<Self> {
        if !graph.is_loop_head(subtask.vertex) {
            return None;
        }
        let senders = graph.senders(subtask);
        let back = senders.iter().filter(|(edge, _)| edge.feedback);
        let back: Vec<usize> = back.map(|(edge, _)| edge.input).collect();
        Some(Self {
            barriers: LoopBarriers::new(back.len(), restored),
            rounds: LoopRounds::new(graph.vertex(subtask.vertex).parallelism, back.len()),
            back: Inputs::new(&back, restored, &[], budget_bytes),
            since_outside: 0,
        })
    }

    /// Channels wait that are ahead of the head by a barrier, and no others.
    fn park(&mut self) {
        self.back.apply(AlignmentAction::Release);
        for channel in 0..self.back.len() {
            if self.barriers.is_early(channel) {
                self.back.apply(AlignmentAction::Park(channel));
            }
        }
    }
}

impl Work {
    /// Files what has come round, unless the channel is one from outside: then it is given back.
    pub(super) fn file_back(
        &mut self,
        channel: usize,
        seq: u64,
        element: Element,
    ) -> Result<Option<Element>, Failure> {
        match (channel.checked_sub(self.inputs.len()), &mut self.head) {
            (Some(back), Some(head)) => {
                // No barrier overtakes here.
                let _ = head.back.file(back, seq, element)?;
                Ok(None)
            }
            _ => Ok(Some(element)),
        }
    }

    /// How much the sender of a channel may have sent in all.
    pub(super) fn granted(&self, channel: usize) -> u64 {
        match (channel.checked_sub(self.inputs.len()), &self.head) {
            (Some(back), Some(head)) => head.back.granted(back),
            _ => self.inputs.granted(channel),
        }
    }

    /// Takes in what has come round.
    pub(super) fn take_back(&mut self) -> Result<(), Failure> {
        while let Some(head) = &mut self.head
            && let Some((channel, element)) = head.back.take()
        {
            if element.spends_credit() {
                self.effects.push(Effect::CameRound(channel));
            }
            let element = self.unpacked(self.inputs.len() + channel, element)?;
            let Some(head) = &mut self.head else {
                return Ok(());
            };
            let action = match element {
                Element::Batch(batch) if head.rounds.is_over() => {
                    // A timer of processing time has sent it, which nobody waits for at the end of input.
                    SubtaskMetrics::add(&self.cx.metrics.late, batch.len() as u64);
                    LoopBarrierAction::None
                }
                Element::Batch(batch) => {
                    let recorded = head.barriers.records(channel);
                    if let Some(task) = self.task.loop_head() {
                        task.take_back(batch, recorded, &mut self.cx)?;
                    }
                    LoopBarrierAction::None
                }
                Element::Barrier(barrier) => head.barriers.on_barrier(channel, barrier.id),
                Element::CancelBarrier(id) => head.barriers.on_cancelled(id),
                Element::Round(claim) => {
                    head.rounds.on_round(channel, claim);
                    LoopBarrierAction::None
                }
                Element::EndOfInput => {
                    head.rounds.on_end(channel);
                    LoopBarrierAction::None
                }
                // Time comes from outside only. Barriers don't overtake in a job with a loop: it is refused.
                Element::Watermark(_)
                | Element::Idle
                | Element::Overtaking(_)
                | Element::Encoded(_) => LoopBarrierAction::None,
            };
            self.barrier_came_round(action)?;
        }
        Ok(())
    }

    fn barrier_came_round(&mut self, action: LoopBarrierAction) -> Result<(), Failure> {
        match action {
            LoopBarrierAction::None => {}
            LoopBarrierAction::Park(channel) => {
                if let Some(head) = &mut self.head {
                    head.back.apply(AlignmentAction::Park(channel));
                }
            }
            // The slice that finds nothing left ends the snapshot.
            LoopBarrierAction::Complete => self.pace.hurry(),
            LoopBarrierAction::GiveUp(id) => {
                self.drop_snapshot(id)?;
                let aborted = Todo::Control(Control::Aborted(id), Then::Nothing);
                self.todo.push_back(aborted);
            }
        }
        Ok(())
    }

    /// The head's own barrier sets out. With a stop what waits stays where it is.
    pub(super) fn barrier_sets_out(
        &mut self,
        id: CheckpointId,
        kind: CheckpointKind,
    ) -> Result<(), Failure> {
        if let Some(head) = &mut self.head {
            if matches!(kind, CheckpointKind::Stop { .. }) {
                self.held = Some(id);
            }
            let action = head.barriers.on_frozen(id);
            head.park();
            self.barrier_came_round(action)?;
        }
        Ok(())
    }

    /// Checkpoints up to this one will not be.
    pub(super) fn loop_gives_up(&mut self, id: CheckpointId) {
        if let Some(head) = &mut self.head
            && head.barriers.on_over(id)
        {
            head.park();
        }
    }

    /// Whether a snapshot waits for its barrier to come round.
    pub(super) fn awaits_barrier(&self) -> bool {
        let head = self.head.as_ref();
        head.is_some_and(|head| head.barriers.current().is_some())
    }

    /// Sends some of what has come round into the body, if it is its turn; `dry` if nothing has come from outside.
    pub(super) fn send_round(&mut self, dry: bool) -> Result<Option<Turn>, Failure> {
        let (Some(head), None) = (&mut self.head, self.held) else {
            return Ok(None);
        };
        let Some(task) = self.task.loop_head() else {
            return Ok(None);
        };
        let often = match task.waiting() {
            LoopWaiting::Nothing if dry => return self.next_round(),
            LoopWaiting::Nothing => return Ok(None),
            LoopWaiting::Some => 1,
            LoopWaiting::Much => OFTEN,
            LoopWaiting::Restored => u32::MAX,
        };
        if !dry && head.since_outside >= often {
            head.since_outside = 0;
            return Ok(None);
        }
        head.since_outside += 1;
        head.rounds.on_sent();
        self.flushed = false;
        let progress = task.send_round(&mut self.cx)?;
        Ok(Some(self.note(progress, Then::Nothing)?))
    }

    /// Nothing waits: finds out whether the loop is over.
    fn next_round(&mut self) -> Result<Option<Turn>, Failure> {
        let step = self.head.as_mut().and_then(|head| head.rounds.next_step());
        let Some(step) = step else {
            return Ok(None);
        };
        self.flushed = false;
        let turn = match step {
            LoopStep::Round(claim) => self.control(Control::Round(claim), Then::Nothing)?,
            LoopStep::EndTime => {
                let Some(task) = self.task.loop_head() else {
                    return Ok(None);
                };
                let progress = task.end_time(&mut self.cx)?;
                self.note(progress, Then::Nothing)?
            }
            LoopStep::End => self.control(Control::EndOfInput, Then::Drained)?,
        };
        Ok(Some(turn))
    }

    /// A round has come on a channel.
    pub(super) fn on_round(&mut self, channel: usize, claim: u32) {
        if let Some(rounds) = &mut self.rounds {
            rounds.on_round(channel, claim);
            self.pass_rounds();
        }
    }

    /// A channel has ended; maybe all have.
    pub(super) fn on_end(&mut self, channel: usize) {
        if let Some(rounds) = &mut self.rounds {
            rounds.on_end(channel);
            self.pass_rounds();
        }
        if self.inputs.ended() {
            match &mut self.head {
                Some(head) => head.rounds.on_outside_ended(),
                None => {
                    let end = Todo::Control(Control::EndOfInput, Then::Drained);
                    self.todo.push_back(end);
                }
            }
        }
    }

    /// Passes on what has come on every channel of the loop.
    fn pass_rounds(&mut self) {
        while let Some(claim) = self.rounds.as_mut().and_then(RoundMerge::take_round) {
            let round = Todo::Control(Control::Round(claim), Then::Nothing);
            self.todo.push_back(round);
        }
    }
}

impl SubtaskState {
    /// Gives the credit of what has come round back to its sender.
    pub(super) fn return_credit_back(&mut self, channel: usize) -> Result<(), Failure> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let outside = work.inputs.len();
        let granted = work
            .head
            .as_mut()
            .and_then(|head| head.back.processed(channel));
        if let Some(granted) = granted
            && let Some(sender) = self.senders.get(outside + channel)
        {
            sender.credit(granted, Vec::new())?;
        }
        Ok(())
    }
}
