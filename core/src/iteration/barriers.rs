//! Barriers that come round a loop (Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows", on
//! cyclic graphs).
//!
//! The head of a loop aligns the channels from outside only; if it waited for those that come round, its own barrier could
//! never set out. It takes its snapshot, with what waits to go round, and sends the barrier into the body. What comes
//! round on a channel from then on was sent before the barrier, until the barrier itself comes round: so it belongs into
//! the snapshot, too, which is complete when that has happened on all channels.
//!
//! A barrier may come round before the head has one from outside, if another subtask of the head was faster and the body
//! doesn't join the two. What follows it on its channel is for after the snapshot: it waits until the head has its own.
//! Nobody can wait for the head meanwhile that the head waits for: the channel's sender has its barrier without the head's,
//! so nothing leads from the head to it.

use crate::ids::CheckpointId;

/// What the head has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopBarrierAction {
    /// Nothing.
    None,
    /// Take nothing from the channel until the head has its own barrier.
    Park(usize),
    /// The barrier has come round everywhere: the snapshot is complete.
    Complete,
    /// The body has given the checkpoint up: so does the head.
    GiveUp(CheckpointId),
}

/// Barriers on the feedback channels of one subtask of a head.
#[derive(Debug, Clone)]
pub struct LoopBarriers {
    /// Of each channel the last barrier that has come round.
    arrived: Vec<CheckpointId>,
    /// Barriers up to here have been sent into the body, or given up.
    over: CheckpointId,
    /// The checkpoint whose barrier is on its way round.
    current: Option<CheckpointId>,
}

impl LoopBarriers {
    /// Of so many feedback channels; ids up to `over` are past.
    pub fn new(channels: usize, over: CheckpointId) -> Self {
        Self {
            arrived: vec![over; channels],
            over,
            current: None,
        }
    }

    /// The checkpoint whose barrier is on its way round.
    pub fn current(&self) -> Option<CheckpointId> {
        self.current
    }

    /// Whether what comes round on a channel belongs into the snapshot.
    pub fn records(&self, channel: usize) -> bool {
        self.current.is_some_and(|id| self.arrived[channel] < id)
    }

    /// The head takes its snapshot and sends the barrier into the body. Channels that wait for that may go on.
    pub fn on_frozen(&mut self, id: CheckpointId) -> LoopBarrierAction {
        self.over = self.over.max(id);
        self.current = Some(id);
        self.complete()
    }

    /// A barrier has come round.
    pub fn on_barrier(&mut self, channel: usize, id: CheckpointId) -> LoopBarrierAction {
        self.arrived[channel] = self.arrived[channel].max(id);
        if id > self.over {
            LoopBarrierAction::Park(channel)
        } else {
            self.complete()
        }
    }

    /// The body has given a checkpoint up, somewhere.
    pub fn on_cancelled(&mut self, id: CheckpointId) -> LoopBarrierAction {
        match self.current {
            Some(current) if current <= id => {
                self.current = None;
                LoopBarrierAction::GiveUp(current)
            }
            _ => LoopBarrierAction::None,
        }
    }

    /// The head gives checkpoints up, or they were given up. Returns whether channels that wait for one of them may go on.
    pub fn on_over(&mut self, id: CheckpointId) -> bool {
        if self.current.is_some_and(|current| current <= id) {
            self.current = None;
        }
        let news = id > self.over;
        self.over = self.over.max(id);
        news
    }

    /// Whether a channel waits for the head's own barrier.
    pub fn is_early(&self, channel: usize) -> bool {
        self.arrived[channel] > self.over
    }

    fn complete(&mut self) -> LoopBarrierAction {
        let Some(id) = self.current else {
            return LoopBarrierAction::None;
        };
        if self.arrived.iter().any(|arrived| *arrived < id) {
            return LoopBarrierAction::None;
        }
        self.current = None;
        LoopBarrierAction::Complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps: `s5` the head's own barrier, `0:5` it comes round on channel 0, `!5` given up by the head or for it, `c5` by the
    /// body. Answers: `p0` park, `ok` complete, `g5` give up, `r` channels may go on; and what is recorded of which channel.
    fn picture(channels: usize, steps: &str) -> String {
        let mut barriers = LoopBarriers::new(channels, CheckpointId(0));
        let mut answers = Vec::new();
        for step in steps.split_whitespace() {
            let id = |text: &str| CheckpointId(text.parse().unwrap());
            let action = match step.split_once(':') {
                Some((channel, step)) => barriers.on_barrier(channel.parse().unwrap(), id(step)),
                None if step.starts_with('s') => barriers.on_frozen(id(&step[1..])),
                None if step.starts_with('c') => barriers.on_cancelled(id(&step[1..])),
                None => {
                    let goes_on = barriers.on_over(id(&step[1..]));
                    answers.push(if goes_on { "r" } else { "-" }.to_owned());
                    continue;
                }
            };
            let recorded = (0..channels).filter(|channel| barriers.records(*channel));
            let recorded: String = recorded.map(|channel| channel.to_string()).collect();
            let answer = match action {
                LoopBarrierAction::None => format!("[{recorded}]"),
                LoopBarrierAction::Park(channel) => format!("p{channel}"),
                LoopBarrierAction::Complete => "ok".into(),
                LoopBarrierAction::GiveUp(id) => format!("g{id}"),
            };
            answers.push(answer);
        }
        answers.join(" ")
    }

    #[test]
    fn barriers_come_round_in_pictures() {
        for (channels, steps, answers) in [
            (1, "s1 0:1 s2 0:2", "[0] ok [0] ok"),
            (2, "s1 1:1 0:1", "[01] [0] ok"),
            // It came round from another subtask of the head before the own one.
            (2, "0:1 s1 1:1", "p0 [1] ok"),
            (2, "0:1 1:1 s1", "p0 p1 ok"),
            // Given up while it is on its way: what is left of it comes round and says nothing.
            (1, "s1 !1 0:1 s2 0:2", "[0] - [] [0] ok"),
            (2, "s1 0:1 c1 1:1 s2 0:2 1:2", "[01] [1] g1 [] [01] [1] ok"),
            // Given up before the own one: what waits for it goes on.
            (2, "0:1 !1 s2 0:2 1:2", "p0 r [01] [1] ok"),
            // The leader died between two triggers.
            (2, "s1 0:1 s2 1:1 1:2 0:2", "[01] [1] [01] [01] [0] ok"),
            (2, "0:1 s2 0:2 1:2", "p0 [01] [1] ok"),
            // Old news.
            (1, "s2 c1 0:2 c2", "[0] [0] ok []"),
        ] {
            assert_eq!(picture(channels, steps), answers, "{steps}");
        }
    }
}
