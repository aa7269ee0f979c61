//! Whatever is given to a router, with whatever credit.

use proptest::prelude::*;

use super::bench::{Bench, Seen, barrier, by_key, info, records};
use crate::key::{KeyGroup, key_hash};
use crate::router::*;

/// What is given to a stage.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Run(usize),
    Watermark,
    Idle,
    Flush,
    Barrier,
    Grant(usize, u64),
}

pub(crate) fn givens() -> impl Strategy<Value = Vec<Given>> {
    let given = prop_oneof![
        4 => (1..12_usize).prop_map(Given::Run),
        3 => Just(Given::Watermark),
        1 => Just(Given::Idle),
        1 => Just(Given::Flush),
        1 => Just(Given::Barrier),
        3 => (0..8_usize, 1..3_u64).prop_map(|(lane, more)| Given::Grant(lane, more)),
    ];
    prop::collection::vec(given, 0..60)
}

/// What has been given to a stage, in order.
#[derive(Default)]
struct Told {
    all: Vec<Seen>,
    records: u32,
    time: Timestamp,
    barriers: u64,
    turn: usize,
}

impl Told {
    /// Gives something to the stage, whatever has to be granted for it.
    fn give(&mut self, bench: &mut Bench, given: &Given) {
        let lanes = bench.seen.len();
        if let Given::Grant(lane, more) = given {
            bench.grant(lane % lanes, *more);
            return;
        }
        while bench.blocked {
            self.turn += 1;
            bench.grant(self.turn % lanes, 1);
        }
        match given {
            Given::Run(length) => {
                let run: Vec<u32> = (self.records..self.records + *length as u32).collect();
                self.records += *length as u32;
                self.all.extend(run.iter().copied().map(Seen::Record));
                bench.run(&run);
            }
            Given::Watermark => {
                self.time += 1;
                self.all.push(Seen::Watermark(self.time));
                bench.control(Control::Watermark(self.time));
            }
            Given::Idle => {
                self.all.push(Seen::Idle);
                bench.control(Control::Idle);
            }
            Given::Flush => bench.control(Control::Flush),
            Given::Barrier => {
                self.barriers += 1;
                self.all.push(Seen::Barrier(self.barriers));
                bench.control(barrier(self.barriers));
            }
            Given::Grant(..) => {}
        }
    }

    /// Ends the input and lets everything go.
    fn end(mut self, bench: &mut Bench) -> Vec<Seen> {
        (0..bench.seen.len()).for_each(|lane| bench.grant(lane, 1_000));
        assert!(!bench.blocked);
        bench.control(Control::EndOfInput);
        self.all.push(Seen::End);
        self.all
    }
}

/// Gives everything to the stage, and then the end. Returns what was given, in order.
pub(crate) fn drive(bench: &mut Bench, givens: &[Given]) -> Vec<Seen> {
    let mut told = Told::default();
    for given in givens.iter().chain([&Given::Barrier]) {
        told.give(bench, given);
    }
    told.end(bench)
}

/// What every channel must hold, whatever the credits were. `mine` says which records are its own.
pub(crate) fn check_channel(
    told: &[Seen],
    lane: &[Seen],
    mine: impl Fn(u32) -> bool,
) -> Result<(), TestCaseError> {
    // Between two barriers: all its records in order, and the last word about time.
    let is_cut = |seen: &Seen| matches!(seen, Seen::Barrier(_) | Seen::End);
    let cuts = |seen: &[Seen]| seen.iter().copied().filter(is_cut).collect::<Vec<_>>();
    prop_assert_eq!(cuts(told), cuts(lane));
    for (told, sent) in told.split(is_cut).zip(lane.split(is_cut)) {
        let records = |seen: &[Seen]| -> Vec<u32> {
            let records = seen.iter().filter_map(|seen| match seen {
                Seen::Record(n) if mine(*n) => Some(*n),
                _ => None,
            });
            records.collect()
        };
        prop_assert_eq!(records(told), records(sent));
        let watermark = |seen: &Seen| matches!(seen, Seen::Watermark(_));
        let last = |seen: &[Seen]| seen.iter().copied().rfind(watermark);
        prop_assert_eq!(last(told), last(sent));
        let idle_at_the_end = |seen: &[Seen]| seen.last() == Some(&Seen::Idle);
        prop_assert!(!idle_at_the_end(told) || idle_at_the_end(sent));
    }
    // A watermark rises, and every record that came before it stands before it.
    let mut time = 0;
    for (place, seen) in lane.iter().enumerate() {
        let Seen::Watermark(watermark) = seen else {
            continue;
        };
        prop_assert!(*watermark > time);
        time = *watermark;
        let when = told.iter().position(|told| told == seen).unwrap();
        for earlier in &told[..when] {
            if let Seen::Record(n) = earlier
                && mine(*n)
            {
                prop_assert!(
                    lane[..place].contains(earlier),
                    "{seen:?} overtook record {n}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_the_credits_nothing_is_lost_or_reordered(
        givens in givens(), lanes in 1..5_usize, batch in 1..6_usize, kind in 0..4,
    ) {
        let lanes = if kind == 0 { 1 } else { lanes };
        let info = info(batch);
        let router = match kind {
            0 => Forward::<u32>::default().router(&info, 0..1),
            1 => by_key().router(&info, 0..lanes),
            2 => Rebalance::<u32>::default().router(&info, 0..lanes),
            _ => Broadcast::<u32>::default().router(&info, 0..lanes),
        };
        let mut bench = Bench::new(router, lanes, info);
        let told = drive(&mut bench, &givens);
        let owner = |n: u32| {
            let group = KeyGroup::of(key_hash(&n), 128);
            group.owner(lanes as u32, 128) as usize
        };
        let mut all = Vec::new();
        for (index, lane) in bench.seen.iter().enumerate() {
            let sent: Vec<u32> = lane
                .iter()
                .filter_map(|seen| match seen { Seen::Record(n) => Some(*n), _ => None })
                .collect();
            check_channel(&told, lane, |n| match kind {
                1 => owner(n) == index,
                2 => (n as usize + 1) % lanes == index,
                _ => true,
            })?;
            all.extend(sent);
        }
        if kind < 3 {
            let given = told.iter().filter(|seen| matches!(seen, Seen::Record(_))).count();
            prop_assert_eq!(all.len(), given);
        }
    }
}

/// The elements of a batch or of time, as a channel shows them.
fn shown(element: Element) -> Vec<Seen> {
    match element {
        Element::Batch(batch) => records(batch).into_iter().map(Seen::Record).collect(),
        Element::Watermark(time) => vec![Seen::Watermark(time)],
        Element::Idle => vec![Seen::Idle],
        _ => unreachable!("it is not recorded"),
    }
}

proptest! {
    /// What has gone out and what is recorded are together what an aligned barrier would have had before it, on each
    /// channel; and all of it still arrives, in order.
    #[test]
    fn whatever_a_barrier_overtakes_is_recorded_and_still_sent(
        before in givens(), after in givens(), lanes in 1..5_usize, batch in 1..6_usize, kind in 0..3,
    ) {
        const ID: u64 = 1_000;
        let lanes = if kind == 0 { 1 } else { lanes };
        let info = info(batch);
        let router = match kind {
            0 => Forward::<u32>::default().router(&info, 0..1),
            1 => Rebalance::<u32>::default().router(&info, 0..lanes),
            _ => Broadcast::<u32>::default().router(&info, 0..lanes),
        };
        let mine = |n: u32, index| kind != 1 || (n as usize + 1) % lanes == index;
        let mut bench = Bench::new(router, lanes, info);
        (0..lanes).for_each(|lane| bench.grant(lane, 1));
        let mut told = Told::default();
        // One that is stuck would overtake, too: the job has given it up when the next one comes.
        let before = before.iter().filter(|given| !matches!(given, Given::Barrier));
        before.for_each(|given| told.give(&mut bench, given));
        bench.overdraw(usize::MAX);
        prop_assert!(!bench.blocked);
        bench.control(barrier(ID));
        let recorded = bench.cx.outputs.record().unwrap();
        prop_assert!(bench.cx.outputs.end_overdraft());
        let mut cut = told.all.clone();
        cut.push(Seen::Barrier(ID));
        let recorded = crate::in_flight::tests::back(&recorded, 0, lanes).outputs;
        for (index, parked) in recorded.into_iter().enumerate() {
            let mut lane = bench.seen[index].clone();
            prop_assert_eq!(lane.pop(), Some(Seen::Overtaking(ID)));
            lane.extend(parked.into_iter().flat_map(shown));
            lane.push(Seen::Barrier(ID));
            check_channel(&cut, &lane, |n| mine(n, index))?;
        }
        after.iter().for_each(|given| told.give(&mut bench, given));
        let told = told.end(&mut bench);
        for (index, lane) in bench.seen.iter_mut().enumerate() {
            lane.retain(|seen| *seen != Seen::Overtaking(ID));
            check_channel(&told, lane, |n| mine(n, index))?;
        }
    }
}
