//! Queries that rank bids. What is told of a bid and kept of it share its texts.

use rivus::{
    DataStream, Event, Keyed, KeyedProcessFunction, ListState, Output, UserError, ValueState,
};
use serde::{Deserialize, Serialize};

use super::bids;
use crate::model::{Bid, NexmarkEvent};

/// **q18**: everybody's last bid for each auction. A later one stands in the place of the earlier.
pub fn q18(events: &DataStream<NexmarkEvent>) -> DataStream<Bid> {
    bids(events)
        .key_by(|bid| (bid.bidder, bid.auction))
        .process(Last)
}

#[derive(Clone)]
struct Last;

impl KeyedProcessFunction<(u64, u64), Bid> for Last {
    type Out = Bid;
    type State = ValueState<Bid>;

    fn process(
        &mut self,
        event: Event<Bid>,
        state: &mut Keyed<'_, (u64, u64), ValueState<Bid>>,
        out: &mut Output<'_, Bid>,
    ) -> Result<(), UserError> {
        let bid = event.value;
        if state
            .get()
            .is_none_or(|last| last.date_time <= bid.date_time)
        {
            out.emit(bid.clone());
            state.set(bid);
        }
        Ok(())
    }
}

/// How many bids q19 ranks.
const TOP: usize = 10;

/// A bid that is among the highest of its auction. A later one of an auction and a rank stands in the place of the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RankedBid {
    /// 1 is the highest.
    pub rank: u64,
    /// The bid.
    pub bid: Bid,
}

/// **q19**: the ten highest bids of each auction with their ranks; of equal ones the first is above.
pub fn q19(events: &DataStream<NexmarkEvent>) -> DataStream<RankedBid> {
    bids(events).key_by(|bid| bid.auction).process(TopTen)
}

#[derive(Clone)]
struct TopTen;

impl KeyedProcessFunction<u64, Bid> for TopTen {
    type Out = RankedBid;
    type State = ListState<Bid>;

    fn process(
        &mut self,
        event: Event<Bid>,
        highest: &mut Keyed<'_, u64, ListState<Bid>>,
        out: &mut Output<'_, RankedBid>,
    ) -> Result<(), UserError> {
        let bid = event.value;
        let is_above = |other: &Bid| (other.price, bid.date_time) >= (bid.price, other.date_time);
        let place = highest.as_slice().partition_point(is_above);
        if place >= TOP {
            return Ok(());
        }
        let mut bids = highest.take();
        bids.insert(place, bid);
        bids.truncate(TOP);
        // It, and all that it has put one place down.
        for (rank, bid) in (1..).zip(&bids).skip(place) {
            let bid = bid.clone();
            out.emit(RankedBid { rank, bid });
        }
        highest.set(bids);
        Ok(())
    }
}
