//! When a loop is over: its input from outside has ended, and no record is under way in it.
//!
//! Nobody sees the whole loop, so the heads send *rounds* through it, in-band: a round is passed on by a subtask of the body
//! when it has come on every channel of the loop, and by the head when it has come round on every feedback channel and all
//! that came before it has been sent into the body. Channels are in order; so what a head had sent before a round has
//! come round, with all that became of it, before the round does. A subtask of the body that has input from outside, too,
//! passes no round on before that has ended.
//!
//! ```text
//!  head 0  --round, claim--> body (least claim of all channels) --> head 0: nothing sent since? claim = 1 + least, else 0
//!  head 1  --round, claim-->  ..                                --> head 1
//! ```
//!
//! A round carries a *claim*: for how many rounds nothing has been sent into the body, as far as the head has heard. A head
//! adds one to the least that came round, or begins again with 0 if it has sent a record meanwhile. One round of quiet at
//! one head proves nothing where the body doesn't join all heads: a record may be on its way from another. With *n* heads
//! news is everywhere after *n* - 1 rounds. A claim of *n* says, therefore, that in one and the same round every head whose
//! records could get here has sent nothing; and then nothing is under way. (Waves of control messages that ask everybody
//! are the subject of Mattern, "Algorithms for distributed termination detection", 1987.)
//!
//! First event time ends, and timers of the body may set records going again. So it is done twice: a claim of *n* ends time,
//! and counting begins again at *n* + 1, above all claims of heads that have not ended it. Then the input ends.

use std::collections::VecDeque;

/// What a channel of the loop has sent of rounds that have not come everywhere.
#[derive(Debug, Clone, Default)]
struct Channel {
    claims: VecDeque<u32>,
    ended: bool,
}

/// Joins the rounds of all channels of a subtask.
#[derive(Debug, Clone)]
pub struct RoundMerge {
    /// None for a channel from outside the loop that has not ended.
    channels: Vec<Option<Channel>>,
}

impl RoundMerge {
    /// By channel, whether it is one of the loop.
    pub fn new(of_loop: &[bool]) -> Self {
        let channels = of_loop.iter();
        Self {
            channels: channels
                .map(|of_loop| of_loop.then(Channel::default))
                .collect(),
        }
    }

    /// A round has come. One from another loop says nothing here.
    pub fn on_round(&mut self, channel: usize, claim: u32) {
        if let Some(channel) = &mut self.channels[channel] {
            channel.claims.push_back(claim);
        }
    }

    /// A channel has ended.
    pub fn on_end(&mut self, channel: usize) {
        let channel = self.channels[channel].get_or_insert_default();
        channel.ended = true;
    }

    /// Takes the next round that has come on every channel, with the least claim.
    pub fn take_round(&mut self) -> Option<u32> {
        let mut least: Option<u32> = None;
        for channel in &self.channels {
            let channel = channel.as_ref()?;
            match channel.claims.front() {
                Some(claim) => least = Some(least.map_or(*claim, |least| least.min(*claim))),
                None if channel.ended => {}
                None => return None,
            }
        }
        if least.is_some() {
            for channel in self.channels.iter_mut().flatten() {
                channel.claims.pop_front();
            }
        }
        least
    }

    /// Whether every channel has ended, and no round is left on any.
    fn is_over(&self) -> bool {
        let over = |channel: &Channel| channel.ended && channel.claims.is_empty();
        self.channels
            .iter()
            .all(|channel| channel.as_ref().is_some_and(over))
    }
}

/// What a head has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopStep {
    /// Send a round with this claim into the body.
    Round(u32),
    /// End event time in the body.
    EndTime,
    /// Nothing will ever be sent into the body again.
    End,
}

/// The rounds of one subtask of a head.
#[derive(Debug, Clone)]
pub struct LoopRounds {
    heads: u32,
    back: RoundMerge,
    outside_ended: bool,
    /// Whether the last round has not come back.
    under_way: bool,
    /// Whether a record has been sent since the last round was.
    sent: bool,
    time_ended: bool,
    ended: bool,
    claim: u32,
}

impl LoopRounds {
    /// Of one of so many subtasks, with so many feedback channels.
    pub fn new(heads: u32, channels: usize) -> Self {
        Self {
            heads,
            back: RoundMerge::new(&vec![true; channels]),
            outside_ended: false,
            under_way: false,
            sent: false,
            time_ended: false,
            ended: false,
            claim: 0,
        }
    }

    /// All input from outside has ended.
    pub fn on_outside_ended(&mut self) {
        self.outside_ended = true;
    }

    /// Records have been sent into the body.
    pub fn on_sent(&mut self) {
        self.sent = true;
    }

    /// A round has come back.
    pub fn on_round(&mut self, channel: usize, claim: u32) {
        self.back.on_round(channel, claim);
    }

    /// A feedback channel has ended.
    pub fn on_end(&mut self, channel: usize) {
        self.back.on_end(channel);
    }

    /// Whether the loop is over, for this head.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// What is to be done. To be asked when nothing waits to be sent into the body.
    pub fn next_step(&mut self) -> Option<LoopStep> {
        if !self.outside_ended || self.ended {
            return None;
        }
        if self.under_way {
            let least = match self.back.take_round() {
                Some(least) => least,
                // No record can come any more, from anywhere.
                None if self.back.is_over() => u32::MAX,
                None => return None,
            };
            self.under_way = false;
            let floor = self.floor();
            self.claim = match std::mem::take(&mut self.sent) {
                true => floor,
                false => floor.max(self.claim.min(least) + 1),
            };
            if self.claim >= floor + self.heads {
                if self.time_ended {
                    self.ended = true;
                    return Some(LoopStep::End);
                }
                self.time_ended = true;
                self.claim = self.floor();
                return Some(LoopStep::EndTime);
            }
        }
        self.under_way = true;
        self.sent = false;
        Some(LoopStep::Round(self.claim))
    }

    /// Where claims begin.
    fn floor(&self) -> u32 {
        match self.time_ended {
            true => self.heads + 1,
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_are_joined_in_pictures() {
        // Channels of the loop are `l`, others `o`. `0=2` a round with claim 2, `0$` the end of channel 0.
        for (channels, steps, answers) in [
            ("l", "0=0 0=1", "0 1"),
            ("ll", "0=3 1=2 0=5 0=6 1=9", "- 2 - - 5"),
            // What has ended isn't waited for; what had come before it is.
            ("ll", "0=3 0=4 1$ 0=5", "- - 3,4 5"),
            ("ll", "1=1 1$ 0=4 0=5", "- - 1 5"),
            // Nothing passes before the input from outside has ended.
            ("lo", "0=3 0=4 1$ 0=5", "- - 3,4 5"),
            // Another loop's rounds are none of this one.
            ("lo", "1=7 0=3 1$", "- - 3"),
        ] {
            let of_loop: Vec<bool> = channels.chars().map(|channel| channel == 'l').collect();
            let mut merge = RoundMerge::new(&of_loop);
            let mut told = Vec::new();
            for step in steps.split_whitespace() {
                match step.split_once('=') {
                    Some((channel, claim)) => {
                        merge.on_round(channel.parse().unwrap(), claim.parse().unwrap());
                    }
                    None => merge.on_end(step.trim_end_matches('$').parse().unwrap()),
                }
                let passed: Vec<String> = std::iter::from_fn(|| merge.take_round())
                    .map(|c| c.to_string())
                    .collect();
                told.push(if passed.is_empty() {
                    "-".into()
                } else {
                    passed.join(",")
                });
            }
            assert_eq!(told.join(" "), answers, "{channels}: {steps}");
        }
    }

    #[test]
    fn a_single_head_ends_after_a_round_without_records_for_each_end() {
        let mut head = LoopRounds::new(1, 1);
        assert_eq!(head.next_step(), None, "there is more to come from outside");
        head.on_sent();
        head.on_outside_ended();
        assert_eq!(head.next_step(), Some(LoopStep::Round(0)));
        assert_eq!(head.next_step(), None, "it has not come round");
        head.on_sent();
        head.on_round(0, 0);
        assert_eq!(
            head.next_step(),
            Some(LoopStep::Round(0)),
            "something was under way"
        );
        head.on_round(0, 0);
        assert_eq!(head.next_step(), Some(LoopStep::EndTime));
        assert_eq!(head.next_step(), Some(LoopStep::Round(2)));
        // A timer at the end of time.
        head.on_sent();
        head.on_round(0, 2);
        assert_eq!(head.next_step(), Some(LoopStep::Round(2)));
        head.on_round(0, 2);
        assert_eq!(head.next_step(), Some(LoopStep::End));
        assert_eq!((head.next_step(), head.is_over()), (None, true));
    }

    /// What travels in the model: a record with so many ways left, a round, the ends.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Item {
        Record(u32),
        Round(u32),
        EndTime,
        End,
    }

    #[derive(Debug)]
    struct ModelHead {
        rounds: LoopRounds,
        outside: VecDeque<u32>,
        waiting: VecDeque<u32>,
        over: bool,
    }

    /// A subtask of the body: it sends each record on to one of its receivers, and one more when time ends.
    #[derive(Debug)]
    struct ModelBody {
        merge: RoundMerge,
        time: Vec<bool>,
        ended: Vec<bool>,
        time_over: bool,
    }

    /// A loop of `heads` heads and as many subtasks of the body, joined as `ways` says, whose channels are served in
    /// whatever order is drawn.
    struct Model {
        heads: Vec<ModelHead>,
        bodies: Vec<ModelBody>,
        /// From head to body, and from body to head: `(from, to)`, the items, and its place among the receiver's.
        out: BTreeMap<(usize, usize), VecDeque<Item>>,
        back: BTreeMap<(usize, usize), VecDeque<Item>>,
    }

    impl Model {
        fn new(
            heads: usize,
            ways: &[(usize, usize)],
            back: &[(usize, usize)],
            outside: &[u32],
        ) -> Self {
            let into = |of: &[(usize, usize)], to| of.iter().filter(|way| way.1 == to).count();
            Self {
                heads: (0..heads)
                    .map(|index| ModelHead {
                        rounds: LoopRounds::new(heads as u32, into(back, index)),
                        outside: outside.iter().skip(index).step_by(heads).copied().collect(),
                        waiting: VecDeque::new(),
                        over: false,
                    })
                    .collect(),
                bodies: (0..heads)
                    .map(|index| {
                        let channels = into(ways, index);
                        ModelBody {
                            merge: RoundMerge::new(&vec![true; channels]),
                            time: vec![false; channels],
                            ended: vec![false; channels],
                            time_over: false,
                        }
                    })
                    .collect(),
                out: ways.iter().map(|way| (*way, VecDeque::new())).collect(),
                back: back.iter().map(|way| (*way, VecDeque::new())).collect(),
            }
        }

        fn send(
            channels: &mut BTreeMap<(usize, usize), VecDeque<Item>>,
            from: usize,
            item: Item,
            draw: usize,
        ) {
            let mut lanes: Vec<_> = channels
                .iter_mut()
                .filter(|(way, _)| way.0 == from)
                .collect();
            match item {
                Item::Record(_) => {
                    let lane = draw % lanes.len();
                    lanes[lane].1.push_back(item);
                }
                _ => lanes.iter_mut().for_each(|(_, lane)| lane.push_back(item)),
            }
        }

        /// Records anywhere.
        fn under_way(&self) -> usize {
            let channels = self.out.values().chain(self.back.values()).flatten();
            let on_channels = channels
                .filter(|item| matches!(item, Item::Record(_)))
                .count();
            on_channels
                + self
                    .heads
                    .iter()
                    .map(|head| head.waiting.len())
                    .sum::<usize>()
        }

        fn head_acts(&mut self, index: usize, draw: usize) {
            let head = &mut self.heads[index];
            let item = if let Some(ways) = head
                .waiting
                .pop_front()
                .or_else(|| head.outside.pop_front())
            {
                assert!(!head.over, "a record comes round after the end");
                head.rounds.on_sent();
                Item::Record(ways)
            } else {
                head.rounds.on_outside_ended();
                match head.rounds.next_step() {
                    None => return,
                    Some(LoopStep::Round(claim)) => Item::Round(claim),
                    Some(LoopStep::EndTime) => Item::EndTime,
                    Some(LoopStep::End) => {
                        head.over = true;
                        Item::End
                    }
                }
            };
            Self::send(&mut self.out, index, item, draw);
        }

        fn body_acts(&mut self, way: (usize, usize), draw: usize) {
            let Some(item) = self.out.get_mut(&way).and_then(VecDeque::pop_front) else {
                return;
            };
            let index = way.1;
            let place = self
                .out
                .keys()
                .filter(|other| other.1 == index && other.0 < way.0)
                .count();
            let body = &mut self.bodies[index];
            match item {
                Item::Record(0) => {}
                Item::Record(ways) => {
                    Self::send(&mut self.back, index, Item::Record(ways - 1), draw)
                }
                Item::Round(claim) => body.merge.on_round(place, claim),
                Item::EndTime => body.time[place] = true,
                Item::End => {
                    body.ended[place] = true;
                    body.merge.on_end(place);
                }
            }
            let body = &mut self.bodies[index];
            if !body.time_over && body.time.iter().all(|over| *over) {
                body.time_over = true;
                Self::send(&mut self.back, index, Item::Record(3), draw);
            }
            while let Some(claim) = self.bodies[index].merge.take_round() {
                Self::send(&mut self.back, index, Item::Round(claim), draw);
            }
            if item == Item::End && self.bodies[index].ended.iter().all(|ended| *ended) {
                Self::send(&mut self.back, index, Item::End, draw);
            }
        }

        fn comes_round(&mut self, way: (usize, usize)) {
            let Some(item) = self.back.get_mut(&way).and_then(VecDeque::pop_front) else {
                return;
            };
            let index = way.1;
            let place = self
                .back
                .keys()
                .filter(|other| other.1 == index && other.0 < way.0)
                .count();
            let head = &mut self.heads[index];
            match item {
                Item::Record(ways) => {
                    assert!(!head.over, "a record comes round after the end");
                    head.waiting.push_back(ways);
                }
                Item::Round(claim) => head.rounds.on_round(place, claim),
                Item::EndTime => {}
                Item::End => head.rounds.on_end(place),
            }
        }

        fn act(&mut self, what: usize, draw: usize) {
            let heads = self.heads.len();
            let ways: Vec<_> = self.out.keys().copied().collect();
            let back: Vec<_> = self.back.keys().copied().collect();
            match what % (heads + ways.len() + back.len()) {
                head if head < heads => self.head_acts(head, draw),
                way if way < heads + ways.len() => self.body_acts(ways[way - heads], draw),
                way => self.comes_round(back[way - heads - ways.len()]),
            }
        }
    }

    type Ways = Vec<(usize, usize)>;

    /// Ways between `heads` and as many others: each has at least one in and one out, whatever else is drawn.
    fn ways(heads: usize) -> impl Strategy<Value = Ways> {
        let shift = 0..heads;
        let extra = prop::collection::vec((0..heads, 0..heads), 0..=heads * 2);
        (shift, extra).prop_map(move |(shift, extra)| {
            let mut ways: Vec<_> = (0..heads)
                .map(|from| (from, (from + shift) % heads))
                .collect();
            ways.extend(extra);
            ways.sort_unstable();
            ways.dedup();
            ways
        })
    }

    fn loops() -> impl Strategy<Value = (usize, Ways, Ways, Vec<u32>)> {
        (1..6_usize).prop_flat_map(|heads| {
            let outside = prop::collection::vec(0..7_u32, 0..12);
            (Just(heads), ways(heads), ways(heads), outside)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// However heads and body are joined, and whoever is slow: no head ends before the last record that could
        /// reach it, and all of them end.
        #[test]
        fn a_loop_ends_when_and_only_when_nothing_is_under_way(
            (heads, ways, back, outside) in loops(),
            order in prop::collection::vec((any::<u16>(), any::<u16>()), 0..600),
        ) {
            let mut model = Model::new(heads, &ways, &back, &outside);
            for (what, draw) in order {
                model.act(what.into(), draw.into());
            }
            // Then everybody gets a turn, again and again.
            let mut turns = 0;
            while !model.heads.iter().all(|head| head.over) {
                for what in 0..heads + ways.len() + back.len() {
                    model.act(what, turns);
                }
                turns += 1;
                prop_assert!(turns < 2_000, "it never ends");
            }
            prop_assert_eq!(model.under_way(), 0);
        }
    }
}
