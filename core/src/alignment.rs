//! Barrier alignment: when a subtask has seen a checkpoint's barrier on all its channels.
//!
//! A channel that has delivered barrier *n* is parked until every other one has. A subtask may give a
//! checkpoint up at any time (it *declines* it): it never acknowledges it, releases its channels, and
//! tells those downstream by a `CancelBarrier`. Barriers up to the highest declined id are dropped from
//! then on. That is safe, because completion needs every subtask; so a leader that died between two
//! triggers can't leave channels parked for ever.

use crate::ids::CheckpointId;
use crate::stage::Barrier;

/// What the subtask has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignmentAction {
    /// Take nothing from the channel until the alignment ends.
    Park(usize),
    /// Barriers have arrived everywhere: take the snapshot, pass the barrier on, release all channels.
    Snapshot(Barrier),
    /// Never acknowledge this checkpoint, pass a `CancelBarrier` on.
    Decline(CheckpointId),
    /// Release all parked channels.
    Release,
}

/// The alignment of one subtask's input channels.
#[derive(Debug)]
pub struct Alignment {
    arrived: Vec<bool>,
    current: Option<Barrier>,
    /// Barriers up to here are over: declined, or passed on.
    over: CheckpointId,
}

impl Alignment {
    /// An alignment over `channels` input channels; ids up to `over` are past.
    pub fn new(channels: usize, over: CheckpointId) -> Self {
        Self {
            arrived: vec![false; channels],
            current: None,
            over,
        }
    }

    /// The checkpoint that channels are parked for.
    pub fn current(&self) -> Option<CheckpointId> {
        self.current.map(|barrier| barrier.id)
    }

    /// The highest checkpoint that was declined or passed on.
    pub fn over(&self) -> CheckpointId {
        self.over
    }

    /// A barrier arrived on a channel that isn't parked.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if barrier.id <= self.over {
            return actions;
        }
        match self.current {
            Some(current) if barrier.id < current.id => return actions,
            Some(current) if barrier.id > current.id => {
                // The newer one proves that the older will not complete.
                self.decline(current.id, &mut actions);
                self.current = Some(barrier);
            }
            Some(_) => {}
            None => self.current = Some(barrier),
        }
        self.arrived[channel] = true;
        if self.arrived.iter().all(|arrived| *arrived) {
            self.over = barrier.id;
            self.reset();
            actions.push(AlignmentAction::Snapshot(barrier));
        } else {
            actions.push(AlignmentAction::Park(channel));
        }
        actions
    }

    /// A source is triggered, or a checkpoint is given up: upstream said so, the coordinator said so, or
    /// the alignment took too long.
    pub fn on_decline(&mut self, id: CheckpointId) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if id > self.over {
            self.decline(id, &mut actions);
        }
        actions
    }

    /// A source took its snapshot without any channel.
    pub fn on_trigger(&mut self, barrier: Barrier) -> Vec<AlignmentAction> {
        if barrier.id <= self.over {
            return Vec::new();
        }
        self.over = barrier.id;
        vec![AlignmentAction::Snapshot(barrier)]
    }

    fn decline(&mut self, id: CheckpointId, actions: &mut Vec<AlignmentAction>) {
        self.over = id;
        actions.push(AlignmentAction::Decline(id));
        if self.current.is_some_and(|current| current.id <= id) {
            self.reset();
            actions.push(AlignmentAction::Release);
        }
    }

    fn reset(&mut self) {
        self.current = None;
        self.arrived.fill(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::CheckpointKind;

    /// Steps: `0:5` barrier 5 on channel 0, `!5` decline 5. Answers: `p0` park, `s5` snapshot, `d5`
    /// decline, `r` release.
    fn picture(channels: usize, steps: &str) -> String {
        let mut alignment = Alignment::new(channels, CheckpointId(0));
        let mut answers = Vec::new();
        for step in steps.split_whitespace() {
            let actions = match step.split_once(':') {
                Some((channel, id)) => alignment.on_barrier(
                    channel.parse().unwrap(),
                    Barrier {
                        id: CheckpointId(id.parse().unwrap()),
                        kind: CheckpointKind::Checkpoint,
                    },
                ),
                None => alignment.on_decline(CheckpointId(step[1..].parse().unwrap())),
            };
            let words: Vec<String> = actions
                .into_iter()
                .map(|action| match action {
                    AlignmentAction::Park(channel) => format!("p{channel}"),
                    AlignmentAction::Snapshot(barrier) => format!("s{}", barrier.id),
                    AlignmentAction::Decline(id) => format!("d{id}"),
                    AlignmentAction::Release => "r".into(),
                })
                .collect();
            answers.push(if words.is_empty() {
                "-".into()
            } else {
                words.join("+")
            });
        }
        answers.join(" ")
    }

    #[test]
    fn alignment_in_pictures() {
        for (channels, steps, answers) in [
            (1, "0:1 0:2", "s1 s2"),
            (2, "0:1 1:1 1:2 0:2", "p0 s1 p1 s2"),
            // Declined while aligning: channels are released, its late barriers are dropped.
            (2, "0:1 !1 1:1 0:2 1:2", "p0 d1+r - p0 s2"),
            // Declined before any barrier came.
            (2, "!3 0:3 1:3 0:4 1:4", "d3 - - p0 s4"),
            // A newer barrier overtakes: the leader died between two triggers.
            (3, "0:1 1:2 0:2 2:2", "p0 d1+r+p1 p0 s2"),
            // An older one is late.
            (2, "0:2 1:1 1:2", "p0 - s2"),
            // Declining an older one leaves a running alignment alone.
            (2, "0:5 !3 1:5", "p0 d3 s5"),
            (2, "0:1 !1 !1", "p0 d1+r -"),
        ] {
            assert_eq!(picture(channels, steps), answers, "{steps}");
        }
    }
}
