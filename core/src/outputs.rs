//! The sending ends of a subtask's channels: credits, sequence numbers, and what is ready to go.

use crate::batch::Batch;
use crate::event::Timestamp;
use crate::ids::CheckpointId;
use crate::stage::Barrier;

/// What travels on a channel, in order.
pub enum Element {
    /// Records. Spends a credit.
    Batch(Box<dyn Batch>),
    /// Spends a credit; merged at the sender while there is none.
    Watermark(Timestamp),
    /// The sender is idle until it sends something else. Spends a credit; merged like a watermark.
    Idle,
    /// Free of credit.
    Barrier(Barrier),
    /// The checkpoint was declined upstream: don't wait for its barrier. Free of credit.
    CancelBarrier(CheckpointId),
    /// All that came before it in a loop has been worked on. Free of credit.
    Round(u32),
    /// No record will follow; barriers will. Free of credit.
    EndOfInput,
}

impl Element {
    /// Whether sending it needs a credit.
    pub fn spends_credit(&self) -> bool {
        matches!(self, Self::Batch(_) | Self::Watermark(_) | Self::Idle)
    }
}

/// An element that waits for its actor to send it.
pub struct Outgoing {
    /// The output channel.
    pub lane: usize,
    /// Its place on that channel, contiguous from 0.
    pub seq: u64,
    /// What to send.
    pub element: Element,
}

/// The sending end of one channel.
#[derive(Debug, Default, Clone)]
struct Lane {
    /// Elements sent, of any kind.
    seq: u64,
    /// Elements sent that spent a credit.
    spent: u64,
    /// How many such elements the receiver has allowed in all. Grows only, hence idempotent.
    granted: u64,
}

/// The sending ends of all channels of a subtask.
///
/// Stages fill the outbox; the actor empties it. Nothing leaves without credit, except what is free.
#[derive(Default)]
pub struct Outputs {
    lanes: Vec<Lane>,
    outbox: Vec<Outgoing>,
}

impl Outputs {
    /// Closed channels: nothing is granted before their receivers open them.
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes: vec![Lane::default(); lanes],
            outbox: Vec::new(),
        }
    }

    /// Number of channels.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the subtask has no output.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Takes a receiver's word on how much it has allowed in all. Lower figures are old and ignored.
    pub fn grant(&mut self, lane: usize, granted: u64) {
        let lane = &mut self.lanes[lane];
        lane.granted = lane.granted.max(granted);
    }

    /// Whether the receiver has opened the channel. Nothing may be sent before that.
    pub fn is_open(&self, lane: usize) -> bool {
        self.lanes[lane].granted > 0
    }

    /// Whether an element that spends a credit could be sent now.
    pub fn has_credit(&self, lane: usize) -> bool {
        let lane = &self.lanes[lane];
        lane.spent < lane.granted
    }

    /// Puts an element into the outbox.
    ///
    /// # Panics
    /// If the element spends a credit and there is none: the caller has not asked [`Self::has_credit`].
    pub fn send(&mut self, lane: usize, element: Element) {
        let state = &mut self.lanes[lane];
        if element.spends_credit() {
            assert!(state.spent < state.granted, "output {lane} has no credit");
            state.spent += 1;
        }
        let seq = state.seq;
        state.seq += 1;
        self.outbox.push(Outgoing { lane, seq, element });
    }

    /// Tells every receiver not to wait for a checkpoint's barrier.
    pub fn cancel_barrier(&mut self, id: CheckpointId) {
        for lane in 0..self.lanes.len() {
            // A channel that isn't open yet has had no barrier.
            if self.is_open(lane) {
                self.send(lane, Element::CancelBarrier(id));
            }
        }
    }

    /// Takes what is ready to be sent.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Outgoing> {
        self.outbox.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_cumulative_so_repeats_and_old_ones_change_nothing() {
        let mut outputs = Outputs::new(1);
        assert!(!outputs.has_credit(0), "closed until the receiver opens it");
        outputs.grant(0, 2);
        outputs.send(0, Element::Watermark(1));
        outputs.grant(0, 2);
        outputs.grant(0, 1);
        outputs.send(0, Element::Watermark(2));
        assert!(!outputs.has_credit(0));
        outputs.send(0, Element::EndOfInput);
        let seqs: Vec<u64> = outputs.drain().map(|outgoing| outgoing.seq).collect();
        assert_eq!(seqs, [0, 1, 2]);
    }
}
