//! Queries that gather bids in windows.

use std::time::Duration;

use rivus::{AggregateFunction, DataStream, Timestamp, WindowAssigner, Windowed};
use serde::{Deserialize, Serialize};

use super::bids;
use crate::model::{Bid, NexmarkEvent};

const TEN_SECONDS: Duration = Duration::from_secs(10);
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// An auction that had the most bids of a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HotItem {
    /// When the window began, milliseconds since the epoch.
    pub start: Timestamp,
    /// The auction.
    pub auction: u64,
    /// How many bids.
    pub bids: u64,
}

/// **q5**: every two seconds, which auctions have had the most bids in the last ten.
pub fn q5(events: &DataStream<NexmarkEvent>) -> DataStream<HotItem> {
    let auctions = events.flat_map(|event| match event {
        NexmarkEvent::Bid(bid) => Some(bid.auction),
        _ => None,
    });
    let counts = auctions
        .key_by(|auction| *auction)
        .window(WindowAssigner::sliding(TEN_SECONDS, TWO_SECONDS))
        .pre_aggregate(true)
        .count();
    // All counts of a window come at its end, and no other window ends within the two seconds before.
    let hottest = counts
        .window_all(WindowAssigner::tumbling(TWO_SECONDS))
        .pre_aggregate(true)
        .aggregate(Hottest);
    hottest.flat_map(|hottest| hottest.value)
}

/// Keeps the counts that no other one is above.
#[derive(Clone)]
struct Hottest;

impl AggregateFunction for Hottest {
    type In = Windowed<u64, u64>;
    type Acc = Vec<HotItem>;
    type Out = Vec<HotItem>;

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> Vec<HotItem> {
        Vec::new()
    }

    fn add(&self, hottest: &mut Vec<HotItem>, count: &Windowed<u64, u64>) {
        let item = HotItem {
            start: count.window.start,
            auction: count.key,
            bids: count.value,
        };
        keep_greatest(hottest, item, |item| item.bids);
    }

    fn merge(&self, hottest: &mut Vec<HotItem>, other: Vec<HotItem>) {
        for item in other {
            keep_greatest(hottest, item, |item| item.bids);
        }
    }

    fn result(&self, hottest: &Vec<HotItem>) -> Vec<HotItem> {
        hottest.clone()
    }
}

/// **q7**: the highest bids of every ten seconds; several if they are equal.
pub fn q7(events: &DataStream<NexmarkEvent>) -> DataStream<Bid> {
    let highest = bids(events)
        .window_all(WindowAssigner::tumbling(TEN_SECONDS))
        .pre_aggregate(true)
        .aggregate(Highest);
    highest.flat_map(|highest| highest.value)
}

/// Keeps the bids that no other one is above.
#[derive(Clone)]
struct Highest;

impl AggregateFunction for Highest {
    type In = Bid;
    type Acc = Vec<Bid>;
    type Out = Vec<Bid>;

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> Vec<Bid> {
        Vec::new()
    }

    fn add(&self, highest: &mut Vec<Bid>, bid: &Bid) {
        if highest.first().is_none_or(|best| best.price <= bid.price) {
            keep_greatest(highest, bid.clone(), |bid| bid.price);
        }
    }

    fn merge(&self, highest: &mut Vec<Bid>, other: Vec<Bid>) {
        for bid in other {
            keep_greatest(highest, bid, |bid| bid.price);
        }
    }

    fn result(&self, highest: &Vec<Bid>) -> Vec<Bid> {
        highest.clone()
    }
}

/// Puts a record to those of the greatest value, if it has that, or in their place if it has more.
fn keep_greatest<T>(greatest: &mut Vec<T>, record: T, value: impl Fn(&T) -> u64) {
    let until_now = greatest.first().map(&value);
    if until_now.is_none_or(|until_now| until_now < value(&record)) {
        greatest.clear();
        greatest.push(record);
    } else if until_now == Some(value(&record)) {
        greatest.push(record);
    }
}

/// What somebody bid in one go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BidderSession {
    /// The person.
    pub bidder: u64,
    /// How many bids.
    pub bids: u64,
    /// When the first was made, milliseconds since the epoch.
    pub start: Timestamp,
    /// Ten seconds after the last.
    pub end: Timestamp,
}

/// **q11**: how many bids everybody makes until there is none for ten seconds. A bid exactly ten seconds after the last begins anew, where
/// Flink's would still be counted with it.
pub fn q11(events: &DataStream<NexmarkEvent>) -> DataStream<BidderSession> {
    bidders(events)
        .key_by(|bidder| *bidder)
        .window(WindowAssigner::session(TEN_SECONDS))
        // Three bids of four are one person's for a while.
        .pre_aggregate(true)
        .count()
        .map(session)
}

/// **q12**: how many bids everybody makes in every ten seconds of the clock on the wall. Of ten seconds that the stream ends in
/// nothing is told.
pub fn q12(events: &DataStream<NexmarkEvent>) -> DataStream<BidderSession> {
    bidders(events)
        .key_by(|bidder| *bidder)
        .window(WindowAssigner::tumbling(TEN_SECONDS).processing_time())
        .count()
        .map(session)
}

fn bidders(events: &DataStream<NexmarkEvent>) -> DataStream<u64> {
    events.flat_map(|event| match event {
        NexmarkEvent::Bid(bid) => Some(bid.bidder),
        _ => None,
    })
}

fn session(count: Windowed<u64, u64>) -> BidderSession {
    BidderSession {
        bidder: count.key,
        bids: count.value,
        start: count.window.start,
        end: count.window.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_greatest_are_kept() {
        let kept = |numbers: &[(u64, char)]| {
            let mut greatest = Vec::new();
            for number in numbers {
                keep_greatest(&mut greatest, *number, |number| number.0);
            }
            greatest.iter().map(|number| number.1).collect::<String>()
        };
        assert_eq!(kept(&[]), "");
        assert_eq!(kept(&[(1, 'a'), (3, 'b'), (2, 'c'), (3, 'd')]), "bd");
        assert_eq!(kept(&[(3, 'a'), (3, 'b'), (4, 'c'), (3, 'd')]), "c");
    }
}
