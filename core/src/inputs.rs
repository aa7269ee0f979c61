//! The receiving ends of a subtask's channels: queues, sequence, credits, alignment and time.
//!
//! When a barrier overtakes what is queued, the queues are recorded up to it, and on the channels where it has not arrived
//! also what is filed until it does. All of it is worked on as usual, but for one thing: once as much is recorded as may be
//! queued, such a channel waits for its barrier, which needs no credit. So what is recorded is bounded as the queues are.

use std::collections::VecDeque;

use crate::alignment::{Alignment, AlignmentAction};
use crate::element::Element;
use crate::failure::Failure;
use crate::ids::CheckpointId;
use crate::in_flight::{End, InFlight};
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
    /// Elements at the queue's front that came with the restored checkpoint: no sender waits for their credit.
    put_back: usize,
    /// Whether what comes is recorded, until the barrier does.
    recording: bool,
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
    /// What a barrier has overtaken, or is about to.
    recorded: Option<(CheckpointId, InFlight)>,
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
                put_back: 0,
                recording: false,
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
            recorded: None,
        }
    }

    /// Queues what an earlier attempt had queued at a checkpoint, before anything that comes over the channel: nothing is
    /// granted to its sender until it has been worked on.
    pub fn put_back(&mut self, channel: usize, elements: Vec<Element>) {
        if !elements.is_empty() {
            self.channels[channel].granted = 0;
            self.channels[channel].put_back = elements.len();
        }
        for element in elements {
            self.enqueue(channel, element);
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

    /// Bytes that may be queued, beyond one batch for each channel.
    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
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

    /// Files an element. A barrier that overtakes acts at once.
    ///
    /// # Errors
    /// If it isn't the channel's next: something was lost or repeated, and nobody guesses what. If it is to be recorded
    /// and can't be encoded.
    pub fn file(
        &mut self,
        channel: usize,
        seq: u64,
        element: Element,
    ) -> Result<Vec<AlignmentAction>, Failure> {
        let Some(state) = self.channels.get_mut(channel) else {
            return Err(Failure::attempt(format!(
                "element {seq} arrived on input channel {channel}, which isn't there"
            )));
        };
        if seq != state.next_seq {
            return Err(Failure::attempt(format!(
                "input channel {channel}: element {seq} arrived where {} was due",
                state.next_seq
            )));
        }
        state.next_seq += 1;
        let mut actions = match state.recording {
            true => self.record_one(channel, &element)?,
            false => Vec::new(),
        };
        if let Element::Overtaking(barrier) = element {
            actions.extend(self.alignment.on_overtake(barrier));
        }
        self.enqueue(channel, element);
        Ok(actions)
    }

    fn enqueue(&mut self, channel: usize, element: Element) {
        let bytes = element.bytes();
        if bytes > 0 {
            // Recent batches count most; one odd batch doesn't throw the window about.
            self.batch_bytes = match self.batch_bytes {
                0 => bytes,
                mean => (mean * 7 + bytes) / 8,
            };
        }
        self.queued_bytes += bytes;
        let queued = Queued { element, bytes };
        self.channels[channel].queue.push_back(queued);
    }

    /// Records what is queued before a barrier, which overtakes it at this moment, and from now on what comes before it.
    ///
    /// # Errors
    /// If an element can't be encoded.
    pub fn record(&mut self, id: CheckpointId) -> Result<Vec<AlignmentAction>, Failure> {
        self.recorded = Some((id, InFlight::default()));
        let mut actions = Vec::new();
        for channel in 0..self.channels.len() {
            self.channels[channel].recording = self.alignment.is_awaited(channel);
        }
        for channel in 0..self.channels.len() {
            let queue = std::mem::take(&mut self.channels[channel].queue);
            for queued in &queue {
                if !self.channels[channel].recording || self.alignment.overtaken() != Some(id) {
                    break;
                }
                actions.extend(self.record_one(channel, &queued.element)?);
            }
            self.channels[channel].queue = queue;
        }
        Ok(actions)
    }

    /// Records an element of a channel on which a barrier is awaited, or finds that it is the barrier.
    fn record_one(
        &mut self,
        channel: usize,
        element: &Element,
    ) -> Result<Vec<AlignmentAction>, Failure> {
        let Some((id, recorded)) = &mut self.recorded else {
            return Ok(Vec::new());
        };
        Ok(match element {
            Element::Barrier(barrier) | Element::Overtaking(barrier) if barrier.id == *id => {
                self.channels[channel].recording = false;
                self.alignment.on_seen(channel)
            }
            // The channel's own will not come any more.
            Element::Barrier(barrier) | Element::Overtaking(barrier) if barrier.id > *id => {
                self.alignment.on_decline(*id)
            }
            Element::CancelBarrier(declined) if declined >= id => self.alignment.on_decline(*id),
            element => {
                recorded.record(End::Input, channel, element)?;
                Vec::new()
            }
        })
    }

    /// Whether a barrier that has overtaken is still awaited somewhere.
    pub fn is_recording(&self) -> bool {
        self.channels.iter().any(|channel| channel.recording)
    }

    /// Takes what a barrier has overtaken.
    pub fn take_recorded(&mut self, id: CheckpointId) -> Option<InFlight> {
        let recorded = self.recorded.take_if(|(of, _)| *of == id);
        recorded.map(|(_, in_flight)| in_flight)
    }

    /// Whether a channel has to wait: for the end of an alignment, or for its barrier because much is recorded.
    fn waits(&self, channel: &Channel) -> bool {
        let is_much = |(_, recorded): &(_, InFlight)| recorded.bytes() >= self.budget_bytes;
        channel.parked || (channel.recording && self.recorded.as_ref().is_some_and(is_much))
    }

    /// The next element to work on, and its channel.
    pub fn take(&mut self) -> Option<(usize, Element)> {
        let count = self.channels.len();
        for step in 1..=count {
            let index = (self.served + step) % count;
            if self.waits(&self.channels[index]) {
                continue;
            }
            let channel = &mut self.channels[index];
            let Some(queued) = channel.queue.pop_front() else {
                continue;
            };
            self.served = index;
            self.queued_bytes -= queued.bytes;
            if channel.put_back > 0 {
                channel.put_back -= 1;
            } else if queued.element.spends_credit() {
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
            .any(|channel| !self.waits(channel) && !channel.queue.is_empty())
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
        if granted > state.granted && !state.ended && state.put_back == 0 {
            state.granted = granted;
            return Some(granted);
        }
        None
    }

    /// Does what concerns the channels themselves; the rest is for the subtask.
    pub fn apply(&mut self, action: AlignmentAction) {
        match action {
            AlignmentAction::Park(channel) => self.channels[channel].parked = true,
            AlignmentAction::Release => {
                self.recorded = None;
                for channel in &mut self.channels {
                    channel.parked = false;
                    channel.recording = false;
                }
            }
            AlignmentAction::Snapshot(_) => {
                for channel in &mut self.channels {
                    channel.parked = false;
                }
            }
            AlignmentAction::PassBy(_)
            | AlignmentAction::Overtake(_)
            | AlignmentAction::Recorded(_)
            | AlignmentAction::Decline(_) => {}
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

    /// `0:7` a batch that holds 7 is filed on channel 0, `0:w5` a watermark, `0:$` the end, `0:|1` a barrier, `0:^1` one that
    /// has overtaken, `0:x1` a cancellation; `t` an element is taken, `t2` two; `(1` barrier 1 overtakes what is queued; `r` what
    /// is recorded is put back into a new attempt. Answers: what is taken and what is decided, and at the end what is recorded
    /// by channel, `..` where the barrier is awaited.
    fn picture(channels: usize, budget: usize, steps: &str) -> String {
        let mut inputs = inputs(channels, budget);
        let mut seqs = vec![0; channels];
        let mut answers: Vec<String> = Vec::new();
        for step in steps.split_whitespace() {
            let barrier = |id: &str| crate::stage::Barrier {
                id: CheckpointId(id.parse().unwrap()),
                kind: crate::stage::CheckpointKind::Checkpoint,
            };
            let mut actions = Vec::new();
            if let Some((channel, what)) = step.split_once(':') {
                let channel: usize = channel.parse().unwrap();
                let element = match what.split_at(1) {
                    ("w", time) => Element::Watermark(time.parse().unwrap()),
                    ("$", _) => Element::EndOfInput,
                    ("|", id) => Element::Barrier(barrier(id)),
                    ("^", id) => Element::Overtaking(barrier(id)),
                    ("x", id) => Element::CancelBarrier(barrier(id).id),
                    _ => {
                        let rows = vec![Event::at(0, what.parse::<u32>().unwrap())];
                        Element::Batch(Box::new(Rows::Owned(rows)))
                    }
                };
                let filed = inputs.file(channel, seqs[channel], element);
                actions = filed.unwrap();
                seqs[channel] += 1;
            } else if let Some(id) = step.strip_prefix('(') {
                actions = inputs.alignment.on_overtake(barrier(id));
                actions.retain(|action| !matches!(action, AlignmentAction::Overtake(_)));
                actions.extend(inputs.record(barrier(id).id).unwrap());
            } else if step == "r" {
                let (_, recorded) = inputs.recorded.take().unwrap();
                inputs = self::inputs(channels, budget);
                let back = crate::in_flight::tests::back(&recorded, channels, 0);
                for (channel, elements) in back.inputs.into_iter().enumerate() {
                    inputs.put_back(channel, elements);
                }
                seqs.fill(0);
            } else {
                for _ in 0..step[1..].parse().unwrap_or(1) {
                    let taken = inputs.take();
                    let Some((channel, element)) = taken else {
                        answers.push("-".into());
                        continue;
                    };
                    answers.push(format!("{channel}:{}", shown(&element)));
                    if let Element::Barrier(barrier) | Element::Overtaking(barrier) = element {
                        actions.extend(inputs.alignment.on_barrier(channel, barrier));
                    }
                }
            }
            for action in actions {
                answers.push(match action {
                    AlignmentAction::Park(channel) => format!("p{channel}"),
                    AlignmentAction::Snapshot(barrier) => format!("s{}", barrier.id),
                    AlignmentAction::Overtake(barrier) => format!("o{}", barrier.id),
                    AlignmentAction::Recorded(id) => format!("w{id}"),
                    AlignmentAction::Decline(id) => format!("d{id}"),
                    AlignmentAction::Release | AlignmentAction::PassBy(_) => "r".into(),
                });
                inputs.apply(action);
            }
        }
        let recorded = inputs.recorded.take();
        let recorded = recorded.map(|(_, all)| crate::in_flight::tests::back(&all, channels, 0));
        for (channel, elements) in recorded.into_iter().flat_map(|all| all.inputs).enumerate() {
            let mut words: Vec<String> = elements.iter().map(shown).collect();
            if inputs.channels[channel].recording {
                words.push("..".into());
            }
            answers.push(format!("[{}]", words.join(" ")));
        }
        answers.join(" ")
    }

    fn shown(element: &Element) -> String {
        match element {
            Element::Batch(batch) => {
                let mut bytes = Vec::new();
                batch.encode(&mut bytes).unwrap();
                let rows: Vec<Event<u32>> = crate::codec::decode(&bytes).unwrap();
                rows[0].value.to_string()
            }
            Element::Encoded(_) => "encoded".into(),
            Element::Watermark(time) => format!("w{time}"),
            Element::Idle => "i".into(),
            Element::Barrier(barrier) => format!("|{}", barrier.id),
            Element::Overtaking(barrier) => format!("^{}", barrier.id),
            Element::CancelBarrier(id) => format!("x{id}"),
            Element::Round(claim) => format!("o{claim}"),
            Element::EndOfInput => "$".into(),
        }
    }

    #[test]
    fn what_a_barrier_overtakes_in_pictures() {
        let much = usize::MAX;
        for (channels, budget, steps, answers) in [
            // What is queued is recorded, and worked on all the same; so is what comes until the barrier does.
            (
                2,
                much,
                "0:1 0:w2 1:3 (1 t3",
                "1:3 0:1 0:w2 [1 w2 ..] [3 ..]",
            ),
            (2, much, "0:1 (1 0:2 0:|1 0:3 1:4", "[1 2] [4 ..]"),
            (2, much, "0:1 (1 0:2 0:^1 0:3 1:4 1:|1 1:5", "w1 [1 2] [4]"),
            // A barrier that lies in a queue is found there, and means nothing when its turn comes.
            (
                2,
                much,
                "0:1 0:|1 0:2 1:3 1:^1 (1 t5",
                "o1 w1 1:3 0:1 1:^1 0:|1 0:2 [1] [3]",
            ),
            // A channel that has delivered its barrier was parked: what it has queued comes after the barrier.
            (
                2,
                much,
                "0:|1 0:2 1:3 t2 1:4 (1 1:|1 t2",
                "1:3 0:|1 p0 w1 1:4 1:|1 [] [4]",
            ),
            // Another attempt begins with what is recorded. Its sender is granted nothing before.
            (2, much, "0:1 0:w2 1:$ (1 r 0:9 t4", "0:1 0:w2 0:9 -"),
            // The end is not recorded: it is said again.
            (1, much, "0:1 0:$ (1 0:|1", "w1 [1]"),
            // Much is recorded: channels wait for their barrier, and only for that.
            (
                2,
                1,
                "0:1 0:2 1:3 (1 t 0:|1 t2 1:^1 t",
                "- 0:1 0:2 w1 1:3 [1 2] [3]",
            ),
            // It is called off, by whoever was to send the barrier, before or after it overtakes, or a newer one comes.
            (2, much, "0:1 1:2 (1 1:x1 0:3", "d1 r"),
            (2, much, "0:1 1:x1 1:2 (1 0:3", "d1 r"),
            (2, much, "0:1 (1 1:|2 0:3 t3", "d1 r 1:|2 0:1 0:3 p1"),
            (2, much, "0:1 (1 1:^2 0:3", "d1 r o2"),
            (2, much, "0:x1 (2 t", "0:x1 [..] [..]"),
        ] {
            assert_eq!(picture(channels, budget, steps), answers, "{steps}");
        }
    }

    #[test]
    fn senders_are_granted_nothing_until_what_was_put_back_is_worked_on() {
        let mut inputs = inputs(2, 1_000);
        inputs.put_back(0, vec![batch("a"), Element::Watermark(3)]);
        assert_eq!((inputs.granted(0), inputs.granted(1)), (0, FIRST_CREDITS));
        inputs.take().unwrap();
        assert_eq!(inputs.processed(0), None);
        inputs.take().unwrap();
        assert!(inputs.processed(0).is_some_and(|granted| granted > 0));
    }
}
