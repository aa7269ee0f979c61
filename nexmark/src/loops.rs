//! The physical limit: some queries as one would write them by hand, a loop over the events in one thread, for nothing else.
//!
//! They take events in the order of their times, keep their state in hash maps, and can't be stopped: no checkpoints, no other thread, no
//! event that comes late. What they give is what the queries give, but for the order.
//!
//! ```
//! use rivus_nexmark::{Generator, NexmarkConfig, loops};
//!
//! let generator = Generator::new(NexmarkConfig { events: 5_000, ..NexmarkConfig::default() });
//! let mut prices = Vec::new();
//! loops::q2(generator.events(), |price| prices.push(price));
//! assert!(prices.iter().all(|(auction, _)| auction % 123 == 0));
//! ```

use std::collections::HashMap;

use rivus::Timestamp;
use rustc_hash::FxBuildHasher;

use crate::model::{Bid, NexmarkEvent};
use crate::queries::{BidInEuro, BidderSession, HotItem, NewSeller, in_euro, price_of_some};

const TEN_SECONDS: Timestamp = 10_000;
const TWO_SECONDS: Timestamp = 2_000;

/// Of numbers that nobody chooses to do harm.
type ByNumber<V> = HashMap<u64, V, FxBuildHasher>;

/// [`q0`](crate::q0): every bid as it is.
pub fn q0(events: impl Iterator<Item = NexmarkEvent>, tell: impl FnMut(Bid)) {
    events.filter_map(NexmarkEvent::bid).for_each(tell);
}

/// [`q1`](crate::q1): every bid, its price in euros.
pub fn q1(events: impl Iterator<Item = NexmarkEvent>, tell: impl FnMut(BidInEuro)) {
    events
        .filter_map(NexmarkEvent::bid)
        .map(in_euro)
        .for_each(tell);
}

/// [`q2`](crate::q2): the prices of some auctions.
pub fn q2(events: impl Iterator<Item = NexmarkEvent>, tell: impl FnMut((u64, u64))) {
    events.filter_map(price_of_some).for_each(tell);
}

/// [`q5`](crate::q5): the auctions with the most bids of the last ten seconds, every two. Bids are counted for two seconds, and what ten
/// seconds have is counted on from those that they share with the ten before.
pub fn q5(events: impl Iterator<Item = NexmarkEvent>, mut tell: impl FnMut(HotItem)) {
    const PANES: usize = (TEN_SECONDS / TWO_SECONDS) as usize;
    let mut panes: [ByNumber<u64>; PANES] = Default::default();
    // Bids of all panes, and when the newest of those begins.
    let mut sums = ByNumber::<u64>::default();
    let mut newest = None;
    let mut end_of_pane = |panes: &mut [ByNumber<u64>; PANES], newest: Timestamp| {
        for (auction, count) in &panes[PANES - 1] {
            *sums.entry(*auction).or_default() += count;
        }
        let most = sums.values().copied().max().unwrap_or_default();
        for (&auction, &bids) in sums.iter().filter(|(_, bids)| **bids == most) {
            let start = newest + TWO_SECONDS - TEN_SECONDS;
            tell(HotItem {
                start,
                auction,
                bids,
            });
        }
        for (auction, count) in panes[0].drain() {
            if let Some(sum) = sums.get_mut(&auction) {
                *sum -= count;
                if *sum == 0 {
                    sums.remove(&auction);
                }
            }
        }
        panes.rotate_left(1);
    };
    for event in events {
        let NexmarkEvent::Bid(bid) = event else {
            continue;
        };
        let pane = bid.date_time - bid.date_time.rem_euclid(TWO_SECONDS);
        let mut at = newest.unwrap_or(pane);
        while at < pane {
            end_of_pane(&mut panes, at);
            at += TWO_SECONDS;
        }
        newest = Some(pane);
        *panes[PANES - 1].entry(bid.auction).or_default() += 1;
    }
    for past in 0..PANES as Timestamp {
        if let Some(newest) = newest {
            end_of_pane(&mut panes, newest + past * TWO_SECONDS);
        }
    }
}

/// [`q8`](crate::q8): persons who registered and began to sell within the same ten seconds.
pub fn q8(events: impl Iterator<Item = NexmarkEvent>, mut tell: impl FnMut(NewSeller)) {
    let mut start = Timestamp::MIN;
    // Who has registered, and the sellers that weren't known when they began; told once.
    let mut persons = ByNumber::<Option<String>>::default();
    let mut sellers = ByNumber::<()>::default();
    for event in events {
        let date_time = event.date_time();
        let window = date_time - date_time.rem_euclid(TEN_SECONDS);
        if window != start {
            start = window;
            persons.clear();
            sellers.clear();
        }
        match event {
            NexmarkEvent::Person(person) if sellers.remove(&person.id).is_some() => {
                let (id, name) = (person.id, person.name);
                persons.insert(id, None);
                tell(NewSeller { id, name, start });
            }
            NexmarkEvent::Person(person) => {
                persons.insert(person.id, Some(person.name));
            }
            NexmarkEvent::Auction(auction) => {
                let id = auction.seller;
                match persons.get_mut(&id).map(Option::take) {
                    Some(Some(name)) => tell(NewSeller { id, name, start }),
                    Some(None) => {}
                    None => drop(sellers.insert(id, ())),
                }
            }
            NexmarkEvent::Bid(_) => {}
        }
    }
}

/// [`q11`](crate::q11): how many bids everybody makes in one go. It is told when the next one begins, or at the end.
pub fn q11(events: impl Iterator<Item = NexmarkEvent>, mut tell: impl FnMut(BidderSession)) {
    let mut sessions = ByNumber::<BidderSession>::default();
    for event in events {
        let NexmarkEvent::Bid(bid) = event else {
            continue;
        };
        let begun = BidderSession {
            bidder: bid.bidder,
            bids: 0,
            start: bid.date_time,
            end: 0,
        };
        let session = sessions.entry(bid.bidder).or_insert_with(|| begun.clone());
        if session.bids > 0 && session.end <= bid.date_time {
            tell(std::mem::replace(session, begun));
        }
        session.bids += 1;
        session.end = bid.date_time + TEN_SECONDS;
    }
    sessions.into_values().for_each(tell);
}
