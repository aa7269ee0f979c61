//! The receiving ends of a subtask's channels: queues, sequence, credits, alignment and time.

use std::collections::VecDeque;

use crate::alignment::{Alignment, AlignmentAction};
use crate::failure::Failure;
use crate::ids::CheckpointId;
use crate::outputs::Element;
use crate::watermark::{ChannelTime, WatermarkMerge};

/// Most elements that a sender may have under way on one channel.
pub const MAX_CREDITS: u64 = 8;

/// Credits that a channel is opened with, before anything is known of its batches' size.
const FIRST_CREDITS: u64 = 2;

/// The receiving end of one channel.
struct Channel {
    /// Which of the vertex's inputs it belongs to.
    input: usize,
    queue: VecDeque<Queued>,
    next_seq: u64,
    /// Elements taken that had spent a credit.
    taken: u64,
    granted: u64,
    parked: bool,
    ended: bool,
}

struct Queued {
    element: Element,
    bytes: usize,
}

/// The receiving ends of all channels of a subtask.
///
/// Filing an element and working on it are two things: whatever arrives is filed under its channel at
/// once; the subtask takes one element a turn, channel after channel, passing over those that are parked
/// for an alignment.
pub struct Inputs {
    channels: Vec<Channel>,
    /// The channel that was served last.
    served: usize,
    /// Barriers of all channels.
    pub alignment: Alignment,
    /// Watermarks of all channels.
    pub time: WatermarkMerge,
    budget_bytes: usize,
    /// Moving mean of what a batch weighs.
    batch_bytes: usize,
    queued_bytes: usize,
}

impl Inputs {
    /// Channels in order, each given by the input that it belongs to. `budget_bytes` bounds what may be
    /// queued; a channel may always have one batch under way.
    pub fn new(
        channels: &[usize],
        over: CheckpointId,
        times: &[ChannelTime],
        budget_bytes: usize,
    ) -> Self {
        let count = channels.len();
        let channels = channels
            .iter()
            .map(|input| Channel {
                input: *input,
                queue: VecDeque::new(),
                next_seq: 0,
                taken: 0,
                granted: FIRST_CREDITS,
                parked: false,
                ended: false,
            })
            .collect();
        Self {
            channels,
            served: 0,
            alignment: Alignment::new(count, over),
            time: WatermarkMerge::restore(count, times),
            budget_bytes,
            batch_bytes: 0,
            queued_bytes: 0,
        }
    }

    /// Number of channels.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether there is no channel: the subtask reads a source.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Estimated bytes that wait to be worked on.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether every channel has ended. Barriers may still follow.
    pub fn ended(&self) -> bool {
        self.channels.iter().all(|channel| channel.ended)
    }

    /// How much the sender of a channel may have sent in all.
    pub fn granted(&self, channel: usize) -> u64 {
        self.channels[channel].granted
    }

    /// Which of the vertex's inputs a channel belongs to.
    pub fn input(&self, channel: usize) -> usize {
        self.channels[channel].input
    }

    /// Files an element.
    ///
    /// # Errors
    /// If it isn't the channel's next: something was lost or repeated, and nobody guesses what.
    pub fn file(&mut self, channel: usize, seq: u64, element: Element) -> Result<(), Failure> {
        let state = &mut self.channels[channel];
        if seq != state.next_seq {
            return Err(Failure::attempt(format!(
                "input channel {channel}: element {seq} arrived where {} was due",
                state.next_seq
            )));
        }
        state.next_seq += 1;
        let bytes = match &element {
            Element::Batch(batch) => batch.bytes(),
            _ => 0,
        };
        if bytes > 0 {
            // Recent batches count most; one odd batch doesn't throw the window about.
            self.batch_bytes = match self.batch_bytes {
                0 => bytes,
                mean => (mean * 7 + bytes) / 8,
            };
        }
        self.queued_bytes += bytes;
        state.queue.push_back(Queued { element, bytes });
        Ok(())
    }

    /// The next element to work on, and its channel.
    pub fn take(&mut self) -> Option<(usize, Element)> {
        let count = self.channels.len();
        for step in 1..=count {
            let index = (self.served + step) % count;
            let channel = &mut self.channels[index];
            if channel.parked {
                continue;
            }
            let Some(queued) = channel.queue.pop_front() else {
                continue;
            };
            self.served = index;
            self.queued_bytes -= queued.bytes;
            if queued.element.spends_credit() {
                channel.taken += 1;
            }
            if matches!(queued.element, Element::EndOfInput) {
                channel.ended = true;
            }
            return Some((index, queued.element));
        }
        None
    }

    /// Whether there is anything to take.
    pub fn has_work(&self) -> bool {
        self.channels
            .iter()
            .any(|channel| !channel.parked && !channel.queue.is_empty())
    }

    /// Gives the credit of an element that has been worked on back to its channel. Returns the new grant
    /// if the sender should hear of it.
    ///
    /// The window shrinks and grows with what batches weigh: one batch is the channel's own, the rest of
    /// the budget is shared by all channels.
    pub fn processed(&mut self, channel: usize) -> Option<u64> {
        let share = self.budget_bytes / self.channels.len().max(1);
        let window = match self.batch_bytes {
            0 => FIRST_CREDITS,
            bytes => (share / bytes) as u64,
        };
        let state = &mut self.channels[channel];
        let granted = state.taken + window.clamp(1, MAX_CREDITS);
        if granted > state.granted && !state.ended {
            state.granted = granted;
            return Some(granted);
        }
        None
    }

    /// Does what concerns the channels themselves; the rest is for the subtask.
    pub fn apply(&mut self, action: AlignmentAction) {
        match action {
            AlignmentAction::Park(channel) => self.channels[channel].parked = true,
            AlignmentAction::Release | AlignmentAction::Snapshot(_) => {
                for channel in &mut self.channels {
                    channel.parked = false;
                }
            }
            AlignmentAction::Decline(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Rows;
    use crate::event::Event;

    fn batch(text: &str) -> Element {
        Element::Batch(Box::new(Rows::Owned(vec![Event::at(0, text.to_owned())])))
    }

    fn inputs(channels: usize, budget: usize) -> Inputs {
        Inputs::new(&vec![0; channels], CheckpointId(0), &[], budget)
    }

    #[test]
    fn a_gap_or_a_repeat_fails_the_attempt() {
        let mut inputs = inputs(1, 1_000);
        inputs.file(0, 0, Element::Idle).unwrap();
        assert!(inputs.file(0, 0, Element::Idle).is_err());
        assert!(inputs.file(0, 2, Element::Idle).is_err());
        inputs.file(0, 1, Element::Idle).unwrap();
    }

    #[test]
    fn a_barrier_behind_an_end_does_not_hide_it() {
        let mut inputs = inputs(2, 1_000);
        let barrier = crate::stage::Barrier {
            id: CheckpointId(1),
            kind: crate::stage::CheckpointKind::Checkpoint,
        };
        inputs.file(0, 0, Element::EndOfInput).unwrap();
        inputs.take().unwrap();
        assert!(!inputs.ended());
        inputs.file(0, 1, Element::Barrier(barrier)).unwrap();
        inputs.file(1, 0, Element::EndOfInput).unwrap();
        while !matches!(inputs.take(), Some((1, Element::EndOfInput))) {}
        assert!(inputs.ended());
    }

    #[test]
    fn channels_take_turns_and_parked_ones_wait() {
        let mut inputs = inputs(3, 1_000);
        for channel in 0..3 {
            inputs.file(channel, 0, Element::Idle).unwrap();
            inputs.file(channel, 1, Element::Idle).unwrap();
        }
        inputs.apply(AlignmentAction::Park(2));
        let order: Vec<usize> = std::iter::from_fn(|| inputs.take())
            .map(|(channel, _)| channel)
            .collect();
        assert_eq!(order, [1, 0, 1, 0]);
        inputs.apply(AlignmentAction::Release);
        assert_eq!(inputs.take().unwrap().0, 2);
    }

    #[test]
    fn a_watermark_says_nothing_of_what_batches_weigh() {
        let mut inputs = inputs(1, 8_000);
        inputs.file(0, 0, Element::Watermark(7)).unwrap();
        inputs.take().unwrap();
        inputs.processed(0);
        assert_eq!(inputs.granted(0), 1 + FIRST_CREDITS);
    }

    #[test]
    fn heavy_batches_leave_each_channel_one_credit_and_light_ones_the_most() {
        for (text, credits) in [("x".repeat(10_000), 1), ("x".into(), MAX_CREDITS)] {
            let mut inputs = inputs(2, 8_000);
            for seq in 0..20 {
                inputs.file(0, seq, batch(&text)).unwrap();
                inputs.take().unwrap();
                inputs.processed(0);
            }
            assert_eq!(inputs.granted(0), 20 + credits);
        }
    }
}
