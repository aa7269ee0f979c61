//! The sending ends of a subtask's channels: credits, sequence numbers, and what is ready to go.
//!
//! While a barrier is to overtake, a lane takes more than its receiver has allowed (an *overdraft*), so that the
//! chain gets done with what it keeps inside. What there is no credit for is *parked*: the barrier goes ahead of it, and
//! it is part of the checkpoint. As long as anything is parked the subtask takes nothing in, so there is never more of it
//! than what came of one piece of work.

use std::collections::VecDeque;

use crate::codec::CodecError;
use crate::element::Element;
use crate::ids::CheckpointId;
use crate::in_flight::{End, InFlight};
use crate::stage::Barrier;

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
#[derive(Default)]
struct Lane {
    /// Elements sent, of any kind.
    seq: u64,
    /// Elements sent that spent a credit.
    spent: u64,
    /// How many such elements the receiver has allowed in all. Grows only, hence idempotent.
    granted: u64,
    /// Whether the receiver has opened it.
    open: bool,
    /// What there was no credit for, with what it weighs.
    parked: VecDeque<(Element, usize)>,
}

impl Lane {
    fn has_credit(&self) -> bool {
        self.spent < self.granted
    }

    fn is_clear(&self) -> bool {
        self.parked.is_empty()
    }
}

/// The sending ends of all channels of a subtask.
///
/// Stages fill the outbox; the actor empties it. Nothing leaves without credit, except what is free.
#[derive(Default)]
pub struct Outputs {
    lanes: Vec<Lane>,
    outbox: Vec<Outgoing>,
    /// Bytes that may be parked, while a barrier is to overtake.
    overdraft: Option<usize>,
    /// Elements that are parked, and what they weigh.
    parked: usize,
    parked_bytes: usize,
}

impl Outputs {
    /// Closed channels: nothing is granted before their receivers open them.
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            ..Self::default()
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

    /// Takes a receiver's word on how much it has allowed in all. Lower figures are old and ignored. What is parked goes
    /// first.
    pub fn grant(&mut self, lane: usize, granted: u64) {
        let state = &mut self.lanes[lane];
        state.open = true;
        state.granted = state.granted.max(granted);
        while let Some((element, _)) = self.lanes[lane].parked.front()
            && (self.lanes[lane].has_credit() || !element.spends_credit())
        {
            if let Some((element, bytes)) = self.lanes[lane].parked.pop_front() {
                self.parked -= 1;
                self.parked_bytes -= bytes;
                self.post(lane, element);
            }
        }
    }

    /// Whether the receiver has opened the channel. Nothing may be sent before that.
    pub fn is_open(&self, lane: usize) -> bool {
        self.lanes[lane].open
    }

    /// Whether an element that spends a credit could be sent now, or parked.
    pub fn has_credit(&self, lane: usize) -> bool {
        let lane = &self.lanes[lane];
        (lane.has_credit() && lane.is_clear())
            || self
                .overdraft
                .is_some_and(|limit| self.parked_bytes < limit)
    }

    /// Whether a barrier or the end may go out on the channel: nothing is parked before it, or it is to overtake.
    pub fn is_clear(&self, lane: usize) -> bool {
        self.overdraft.is_some() || self.lanes[lane].is_clear()
    }

    /// Whether anything is parked.
    pub fn is_parked(&self) -> bool {
        self.parked > 0
    }

    /// A barrier is to overtake: until it has, up to so many bytes may be parked.
    pub fn begin_overdraft(&mut self, limit: usize) {
        self.overdraft = Some(limit);
    }

    /// Whether a barrier is to overtake.
    pub fn is_overdrawing(&self) -> bool {
        self.overdraft.is_some()
    }

    /// The barrier has overtaken, or will not. Returns whether it was to.
    pub fn end_overdraft(&mut self) -> bool {
        self.overdraft.take().is_some()
    }

    /// Records what is parked. The end is none of it: whoever has said it says it again after a restore.
    ///
    /// # Errors
    /// If a record's `Serialize` fails.
    pub fn record(&self) -> Result<InFlight, CodecError> {
        let mut in_flight = InFlight::default();
        for (index, lane) in self.lanes.iter().enumerate() {
            for (element, _) in &lane.parked {
                in_flight.record(End::Output, index, element)?;
            }
        }
        Ok(in_flight)
    }

    /// Parks what an earlier attempt had parked at a checkpoint. Before anything else is sent.
    pub fn put_back(&mut self, lane: usize, elements: Vec<Element>) {
        for element in elements {
            self.park(lane, element);
        }
    }

    fn park(&mut self, lane: usize, element: Element) {
        let bytes = element.bytes();
        self.parked += 1;
        self.parked_bytes += bytes;
        self.lanes[lane].parked.push_back((element, bytes));
    }

    /// Puts an element into the outbox, or parks it behind what is parked.
    ///
    /// # Panics
    /// If the element spends a credit and there is none: the caller has not asked [`Self::has_credit`].
    pub fn send(&mut self, lane: usize, element: Element) {
        let state = &self.lanes[lane];
        let lacks_credit = element.spends_credit() && !state.has_credit();
        if (lacks_credit || !state.is_clear()) && !element.overtakes() {
            assert!(self.overdraft.is_some(), "output {lane} has no credit");
            self.park(lane, element);
        } else {
            self.post(lane, element);
        }
    }

    /// Sends a barrier, ahead of what is parked if it is to overtake.
    pub fn send_barrier(&mut self, lane: usize, barrier: Barrier) {
        let element = match self.overdraft {
            Some(_) => Element::Overtaking(barrier),
            None => Element::Barrier(barrier),
        };
        self.send(lane, element);
    }

    fn post(&mut self, lane: usize, element: Element) {
        let state = &mut self.lanes[lane];
        state.spent += u64::from(element.spends_credit());
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
    use crate::event::Timestamp;
    use crate::stage::CheckpointKind;

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

    /// `w5` a watermark, `|1` a barrier, `x1` its cancellation, `$` the end, `+2` credits, `(` and `)` the overdraft, `r` what
    /// a checkpoint records is put back into a new attempt. What has gone out; `!` if anything is parked.
    fn picture(steps: &str) -> String {
        let mut outputs = Outputs::new(1);
        let mut granted = 0;
        let mut sent = Vec::new();
        for step in steps.split_whitespace() {
            let number = |digits: &str| digits.parse::<u64>().unwrap();
            match step.split_at(1) {
                ("w", ts) => outputs.send(0, Element::Watermark(number(ts) as Timestamp)),
                ("|", id) => outputs.send_barrier(
                    0,
                    Barrier {
                        id: CheckpointId(number(id)),
                        kind: CheckpointKind::Checkpoint,
                    },
                ),
                ("x", id) => outputs.cancel_barrier(CheckpointId(number(id))),
                ("$", _) => outputs.send(0, Element::EndOfInput),
                ("+", more) => {
                    granted += number(more);
                    outputs.grant(0, granted);
                }
                ("(", _) => outputs.begin_overdraft(usize::MAX),
                (")", _) => assert!(outputs.end_overdraft()),
                _ => {
                    let back = crate::in_flight::tests::back(&outputs.record().unwrap(), 0, 1);
                    outputs = Outputs::new(1);
                    granted = 0;
                    for (lane, elements) in back.outputs.into_iter().enumerate() {
                        outputs.put_back(lane, elements);
                    }
                    sent.push("r".to_owned());
                }
            }
            sent.extend(outputs.drain().map(|outgoing| match outgoing.element {
                Element::Watermark(ts) => format!("w{ts}"),
                Element::Barrier(barrier) => format!("|{}", barrier.id),
                Element::Overtaking(barrier) => format!("^{}", barrier.id),
                Element::CancelBarrier(id) => format!("x{id}"),
                Element::EndOfInput => "$".into(),
                _ => unreachable!("none is sent here"),
            }));
        }
        let parked = if outputs.is_parked() { " !" } else { "" };
        format!("{}{parked}", sent.join(" "))
    }

    #[test]
    fn what_is_parked_keeps_its_order_and_only_barriers_that_overtake_go_ahead() {
        for (steps, sent) in [
            ("+1 w1 |1 $", "w1 |1 $"),
            // Nothing is parked while credit lasts.
            ("+2 ( w1 w2 |1 )", "w1 w2 ^1"),
            ("+1 ( w1 w2 |1 )", "w1 ^1 !"),
            ("+1 ( w1 w2 w3 |1 ) +1 +1", "w1 ^1 w2 w3"),
            // The end stays behind what came before it; a cancellation need not.
            ("+1 ( w1 w2 $ |1 ) x1 +1", "w1 ^1 x1 w2 $"),
            // After a restore it goes out first, and the end is said anew.
            ("+1 ( w1 w2 w3 $ |1 ) r +1", "w1 ^1 r w2 !"),
            ("+1 ( w1 w2 |1 ) r +2 w4 $", "w1 ^1 r w2 w4 $"),
        ] {
            assert_eq!(picture(steps), sent, "{steps}");
        }
    }

    #[test]
    fn an_overdraft_ends_where_its_bytes_do() {
        let batch = || {
            let rows = vec![crate::event::Event::at(0, 7_u32)];
            Element::Batch(Box::new(crate::batch::Rows::Owned(rows)))
        };
        let mut outputs = Outputs::new(1);
        outputs.begin_overdraft(2 * batch().bytes());
        for _ in 0..2 {
            assert!(outputs.has_credit(0));
            outputs.send(0, batch());
        }
        assert!(!outputs.has_credit(0));
        // What goes out makes room for more.
        outputs.grant(0, 1);
        assert!(outputs.has_credit(0));
    }
}
