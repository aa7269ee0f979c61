//! Barrier alignment: when a subtask has seen a checkpoint's barrier on all its channels.
//!
//! A channel that has delivered barrier *n* is parked until every other one has. A subtask may give a
//! checkpoint up at any time (it *declines* it): it never acknowledges it, releases its channels, and
//! tells those downstream by a `CancelBarrier`. Barriers up to the highest declined id are dropped from
//! then on. That is safe, because completion needs every subtask; so a leader that died between two
//! triggers can't leave channels parked for ever.
//!
//! A barrier may also *overtake* what is queued: then the snapshot is taken at once, nothing stays parked, and
//! whatever comes on a channel before its barrier does is recorded, as a part of the snapshot. It is whole
//! when the barrier has been seen on every channel. Where duplicates are allowed, no channel is parked at
//! all, and nothing is recorded.

use crate::ids::CheckpointId;
use crate::stage::Barrier;

/// What the subtask has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignmentAction {
    /// Take nothing from the channel until the alignment ends.
    Park(usize),
    /// Wait for the others, and go on taking from the channel: its records may come twice.
    PassBy(usize),
    /// Barriers have arrived everywhere: take the snapshot, pass the barrier on, release all channels.
    Snapshot(Barrier),
    /// Take the snapshot without waiting: record what comes before the barrier on the channels where it is awaited,
    /// and pass it on ahead of all output.
    Overtake(Barrier),
    /// The barrier that has overtaken has been seen everywhere: what was recorded is whole.
    Recorded(CheckpointId),
    /// Never acknowledge this checkpoint, pass a `CancelBarrier` on.
    Decline(CheckpointId),
    /// Release all parked channels, record nothing any more.
    Release,
}

/// The alignment of one subtask's input channels.
#[derive(Debug)]
pub struct Alignment {
    arrived: Vec<bool>,
    current: Option<Barrier>,
    /// Has been passed on, and is awaited on some channels.
    overtaken: Option<Barrier>,
    /// Barriers up to here are over: declined, or passed on.
    over: CheckpointId,
    at_least_once: bool,
}

impl Alignment {
    /// An alignment over `channels` input channels; ids up to `over` are past.
    pub fn new(channels: usize, over: CheckpointId) -> Self {
        Self {
            arrived: vec![false; channels],
            current: None,
            overtaken: None,
            over,
            at_least_once: false,
        }
    }

    /// Parks no channel, unless for a savepoint: records may come twice after a restore.
    pub fn allow_duplicates(&mut self) {
        self.at_least_once = true;
    }

    /// The barrier that some channels have delivered and others not.
    pub fn waits_for(&self) -> Option<Barrier> {
        self.current.or(self.overtaken)
    }

    /// The checkpoint whose barrier has overtaken and is still awaited, or is to.
    pub fn overtaken(&self) -> Option<CheckpointId> {
        self.overtaken.map(|barrier| barrier.id)
    }

    /// Whether the barrier has not come on a channel.
    pub fn is_awaited(&self, channel: usize) -> bool {
        !self.arrived[channel]
    }

    /// The highest checkpoint that was declined or passed on.
    pub fn over(&self) -> CheckpointId {
        self.over
    }

    /// A barrier arrived on a channel that isn't parked.
    pub fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if barrier.id <= self.over || !self.begin(barrier, &mut actions) {
            return actions;
        }
        self.current = Some(barrier);
        self.arrived[channel] = true;
        if self.is_everywhere() {
            self.over = barrier.id;
            self.reset();
            actions.push(AlignmentAction::Snapshot(barrier));
        } else if self.at_least_once && !barrier.kind.is_always_aligned() {
            actions.push(AlignmentAction::PassBy(channel));
        } else {
            actions.push(AlignmentAction::Park(channel));
        }
        actions
    }

    /// A barrier is to overtake: it has waited long enough, or has overtaken upstream.
    pub fn on_overtake(&mut self, barrier: Barrier) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if barrier.id > self.over && self.begin(barrier, &mut actions) {
            self.over = barrier.id;
            self.current = None;
            self.overtaken = Some(barrier);
            actions.push(AlignmentAction::Overtake(barrier));
        }
        actions
    }

    /// The barrier that has overtaken has been seen on a channel where it was awaited.
    pub fn on_seen(&mut self, channel: usize) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if let Some(barrier) = self.overtaken {
            self.arrived[channel] = true;
            if self.is_everywhere() {
                self.reset();
                actions.push(AlignmentAction::Recorded(barrier.id));
            }
        }
        actions
    }

    /// A source is triggered, or a checkpoint is given up: upstream said so, the coordinator said so, or
    /// the alignment took too long.
    pub fn on_decline(&mut self, id: CheckpointId) -> Vec<AlignmentAction> {
        let mut actions = Vec::new();
        if id > self.over || self.overtaken.is_some_and(|barrier| barrier.id <= id) {
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

    /// Makes way for a barrier: a newer one proves that the older will not complete. Returns false if it is the older.
    fn begin(&mut self, barrier: Barrier, actions: &mut Vec<AlignmentAction>) -> bool {
        match self.current.or(self.overtaken) {
            Some(current) if barrier.id < current.id => return false,
            Some(current) if barrier.id > current.id => self.decline(current.id, actions),
            _ => {}
        }
        true
    }

    fn is_everywhere(&self) -> bool {
        self.arrived.iter().all(|arrived| *arrived)
    }

    fn decline(&mut self, id: CheckpointId, actions: &mut Vec<AlignmentAction>) {
        self.over = self.over.max(id);
        actions.push(AlignmentAction::Decline(id));
        if self.waits_for().is_some_and(|current| current.id <= id) {
            self.reset();
            actions.push(AlignmentAction::Release);
        }
    }

    fn reset(&mut self) {
        self.current = None;
        self.overtaken = None;
        self.arrived.fill(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::CheckpointKind;

    /// Steps: `0:5` barrier 5 on channel 0, `0:5s` a savepoint's, `^5` barrier 5 is to overtake, `0~` the one that has is seen
    /// on channel 0, `!5` decline 5. Answers: `p0` park, `b0` pass by, `s5` snapshot, `o5` overtake, `w5` what was recorded
    /// is whole, `d5` decline, `r` release.
    fn picture(mut alignment: Alignment, steps: &str) -> String {
        let number = |digits: &str| CheckpointId(digits.parse().unwrap());
        let mut answers = Vec::new();
        for step in steps.split_whitespace() {
            let kind = match step.ends_with('s') {
                true => CheckpointKind::Savepoint,
                false => CheckpointKind::Checkpoint,
            };
            let barrier = |digits: &str| Barrier {
                id: number(digits.trim_end_matches('s')),
                kind,
            };
            let actions = if let Some((channel, id)) = step.split_once(':') {
                alignment.on_barrier(channel.parse().unwrap(), barrier(id))
            } else if let Some(id) = step.strip_prefix('^') {
                alignment.on_overtake(barrier(id))
            } else if let Some(channel) = step.strip_suffix('~') {
                alignment.on_seen(channel.parse().unwrap())
            } else {
                alignment.on_decline(number(&step[1..]))
            };
            let words: Vec<String> = actions
                .into_iter()
                .map(|action| match action {
                    AlignmentAction::Park(channel) => format!("p{channel}"),
                    AlignmentAction::PassBy(channel) => format!("b{channel}"),
                    AlignmentAction::Snapshot(barrier) => format!("s{}", barrier.id),
                    AlignmentAction::Overtake(barrier) => format!("o{}", barrier.id),
                    AlignmentAction::Recorded(id) => format!("w{id}"),
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
            let alignment = Alignment::new(channels, CheckpointId(0));
            assert_eq!(picture(alignment, steps), answers, "{steps}");
        }
    }

    #[test]
    fn barriers_that_overtake_in_pictures() {
        for (channels, steps, answers) in [
            // It has come on one channel when the wait is over; the other's is seen later, and once more when it is taken.
            (2, "0:1 ^1 1~ 1:1 0:2 1:2", "p0 o1 w1 - p0 s2"),
            // On no channel yet: it has overtaken upstream.
            (2, "^1 1~ 0~ 0:1 1:1", "o1 - w1 - -"),
            (1, "^1 0~ 0:1 0:2", "o1 w1 - s2"),
            // Too late: it has been passed on, or declined.
            (2, "0:1 1:1 ^1", "p0 s1 -"),
            (2, "!1 ^1", "d1 -"),
            (2, "^1 ^1 0~ 1~", "o1 - - w1"),
            // Declined while the others' barriers are awaited: by the coordinator, or by whoever was to send one.
            (2, "^1 0~ !1 1~ 0:1 ^2", "o1 - d1+r - - o2"),
            (2, "^2 !1 0~ 1~", "o2 - - w2"),
            (2, "^2 !3 0~ 0:3", "o2 d3+r - -"),
            // A newer one comes, in its place in the queue or ahead of it.
            (2, "^1 0~ 1:2 0:2", "o1 - d1+r+p1 s2"),
            (2, "^1 0~ ^2 0~ 1~", "o1 - d1+r+o2 - w2"),
            (2, "0:1 ^2 0~ 1~", "p0 d1+r+o2 - w2"),
            (2, "0:2 ^1 1:2", "p0 - s2"),
        ] {
            let alignment = Alignment::new(channels, CheckpointId(0));
            assert_eq!(picture(alignment, steps), answers, "{steps}");
        }
    }

    #[test]
    fn where_duplicates_are_allowed_channels_wait_for_savepoints_only() {
        for (steps, answers) in [
            ("0:1 1:1 1:2 0:2", "b0 s1 b1 s2"),
            ("0:1 !1 1:1 0:2 1:2", "b0 d1+r - b0 s2"),
            ("0:1 0:2 1:2", "b0 d1+r+b0 s2"),
            ("0:1s 1:1s", "p0 s1"),
        ] {
            let mut alignment = Alignment::new(2, CheckpointId(0));
            alignment.allow_duplicates();
            assert_eq!(picture(alignment, steps), answers, "{steps}");
        }
    }
}
