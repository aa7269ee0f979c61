//! Queries that ask what auctions were sold for.
//!
//! A bid counts for an auction if it was made between its beginning and its end, both included. It may come before the
//! auction itself does, and then waits for it. The highest wins; of equal ones, the first.

use std::collections::BTreeMap;
use std::sync::Arc;

use rivus::{
    DataStream, Event, Keyed, KeyedProcessFunction, ListState, MapState, Output, StateSet, Timer,
    Timestamp, UserError, ValueState,
};
use serde::{Deserialize, Serialize};

use crate::model::{Auction, Bid, NexmarkEvent};

/// What of an auction says which bids count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Terms {
    begins: Timestamp,
    expires: Timestamp,
    /// Category in q4, seller in q6: what its price is asked by.
    group: u64,
}

impl Terms {
    fn count(&self, date_time: Timestamp) -> bool {
        (self.begins..=self.expires).contains(&date_time)
    }
}

/// What of a bid says whether it wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Price {
    cents: u64,
    date_time: Timestamp,
}

impl Price {
    fn of(bid: &Bid) -> Self {
        Self {
            cents: bid.price,
            date_time: bid.date_time,
        }
    }

    fn beats(&self, other: &Self) -> bool {
        (self.cents, other.date_time) > (other.cents, self.date_time)
    }
}

/// An auction or a bid, and no more of it than says who wins.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Offer {
    Auction(u64, Terms),
    Bid(u64, Price),
}

impl Offer {
    fn auction(&self) -> u64 {
        match self {
            Self::Auction(auction, _) | Self::Bid(auction, _) => *auction,
        }
    }
}

fn offers(
    events: &DataStream<NexmarkEvent>,
    group: impl Fn(&Auction) -> u64 + Clone + Send + Sync + 'static,
) -> DataStream<Offer> {
    events.flat_map(move |event| match event {
        NexmarkEvent::Person(_) => None,
        NexmarkEvent::Auction(auction) => {
            let terms = Terms {
                begins: auction.date_time,
                expires: auction.expires,
                group: group(&auction),
            };
            Some(Offer::Auction(auction.id, terms))
        }
        NexmarkEvent::Bid(bid) => Some(Offer::Bid(bid.auction, Price::of(&bid))),
    })
}

/// What q4 and q6 know of an auction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Bidding {
    terms: ValueState<Terms>,
    best: ValueState<Price>,
    /// Bids that came before the auction.
    early: ListState<Price>,
}

impl Bidding {
    /// Takes what has come. If another bid wins by it: the terms, and what won before.
    fn take(&mut self, offer: Offer) -> Option<(Terms, Option<Price>)> {
        match offer {
            Offer::Auction(_, terms) => {
                self.terms.set(terms);
                let early = self.early.take().into_iter();
                let best = early
                    .filter(|price| terms.count(price.date_time))
                    .reduce(|best, price| if price.beats(&best) { price } else { best })?;
                self.best.set(best);
                Some((terms, None))
            }
            Offer::Bid(_, price) => {
                let Some(terms) = self.terms.get().copied() else {
                    self.early.push(price);
                    return None;
                };
                let before = self.best.get().copied();
                let wins = before.is_none_or(|best| price.beats(&best));
                if !wins || !terms.count(price.date_time) {
                    return None;
                }
                self.best.set(price);
                Some((terms, before))
            }
        }
    }
}

/// The mean price of a category's auctions. A later one of a category stands in the place of the earlier.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct CategoryPrice {
    /// 10 to 14.
    pub category: u64,
    /// Cents, over all auctions for which somebody has bid.
    pub average: f64,
}

/// **q4**: what the auctions of each category are sold for in the mean, told anew whenever a higher bid changes it.
pub fn q4(events: &DataStream<NexmarkEvent>) -> DataStream<CategoryPrice> {
    offers(events, |auction| auction.category)
        .key_by(Offer::auction)
        .process(Raises)
        .key_by(|raise| raise.category)
        .process(Averages)
}

/// An auction's price has risen.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Raise {
    category: u64,
    by: u64,
    is_first: bool,
}

#[derive(Clone)]
struct Raises;

impl KeyedProcessFunction<u64, Offer> for Raises {
    type Out = Raise;
    type State = Bidding;

    fn process(
        &mut self,
        event: Event<Offer>,
        state: &mut Keyed<'_, u64, Bidding>,
        out: &mut Output<'_, Raise>,
    ) -> Result<(), UserError> {
        let Some((terms, before)) = state.take(event.value) else {
            return Ok(());
        };
        let cents = |price: Price| price.cents;
        let now = state.best.get().copied().map_or(0, cents);
        let by = now - before.map_or(0, cents);
        if by == 0 && before.is_some() {
            // As high and earlier: nothing that is told changes.
            return Ok(());
        }
        out.emit(Raise {
            category: terms.group,
            by,
            is_first: before.is_none(),
        });
        Ok(())
    }
}

/// Cents of all auctions, and how many they are.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Total {
    cents: u64,
    auctions: u64,
}

#[derive(Clone)]
struct Averages;

impl KeyedProcessFunction<u64, Raise> for Averages {
    type Out = CategoryPrice;
    type State = ValueState<Total>;

    fn process(
        &mut self,
        event: Event<Raise>,
        state: &mut Keyed<'_, u64, ValueState<Total>>,
        out: &mut Output<'_, CategoryPrice>,
    ) -> Result<(), UserError> {
        let total = state.get_or_default();
        total.cents += event.value.by;
        total.auctions += u64::from(event.value.is_first);
        let average = total.cents as f64 / total.auctions as f64;
        out.emit(CategoryPrice {
            category: event.value.category,
            average,
        });
        Ok(())
    }
}

/// What a seller's last ten auctions were sold for.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct SellerPrice {
    /// The person.
    pub seller: u64,
    /// The auction that has ended.
    pub auction: u64,
    /// When.
    pub expired: Timestamp,
    /// Cents, over it and the up to nine before it that somebody has bought.
    pub average: f64,
}

/// **q6**: whenever an auction ends with a winner, what its seller's last ten were sold for in the mean.
///
/// An auction has ended when event time is past its end: no bid for it comes any more. Those that end at the same time count in
/// the order of their numbers.
pub fn q6(events: &DataStream<NexmarkEvent>) -> DataStream<SellerPrice> {
    offers(events, |auction| auction.seller)
        .key_by(Offer::auction)
        .process(Sales)
        .key_by(|sale| sale.seller)
        .process(LastTen)
}

/// An auction has ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Sale {
    seller: u64,
    auction: u64,
    expired: Timestamp,
    cents: u64,
}

#[derive(Clone)]
struct Sales;

impl KeyedProcessFunction<u64, Offer> for Sales {
    type Out = Sale;
    type State = Bidding;

    fn process(
        &mut self,
        event: Event<Offer>,
        state: &mut Keyed<'_, u64, Bidding>,
        _out: &mut Output<'_, Sale>,
    ) -> Result<(), UserError> {
        if let Offer::Auction(_, terms) = &event.value {
            state.register_event_timer(terms.expires);
        }
        state.take(event.value);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, u64, Bidding>,
        out: &mut Output<'_, Sale>,
    ) -> Result<(), UserError> {
        let terms = state.terms.get().copied();
        if let (Some(terms), Some(best)) = (terms, state.best.take()) {
            out.emit(Sale {
                seller: terms.group,
                auction: *state.key(),
                expired: timer.ts,
                cents: best.cents,
            });
        }
        Ok(())
    }
}

/// A seller's sales.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Sold {
    /// Prices in the order in which the auctions ended; ten at the most.
    last: ListState<u64>,
    /// Those whose time hasn't come yet: others that ended before them may still come.
    next: MapState<(Timestamp, u64), u64>,
}

#[derive(Clone)]
struct LastTen;

impl KeyedProcessFunction<u64, Sale> for LastTen {
    type Out = SellerPrice;
    type State = Sold;

    fn process(
        &mut self,
        event: Event<Sale>,
        state: &mut Keyed<'_, u64, Sold>,
        _out: &mut Output<'_, SellerPrice>,
    ) -> Result<(), UserError> {
        let sale = event.value;
        state.next.insert((sale.expired, sale.auction), sale.cents);
        state.register_event_timer(sale.expired);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, u64, Sold>,
        out: &mut Output<'_, SellerPrice>,
    ) -> Result<(), UserError> {
        let all = state.next.take();
        let (due, later): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|((at, _), _)| *at <= timer.ts);
        for ((expired, auction), cents) in due {
            state.last.push(cents);
            if state.last.len() > 10 {
                state.last.drain(..1);
            }
            let sum: u64 = state.last.iter().sum();
            out.emit(SellerPrice {
                seller: *state.key(),
                auction,
                expired,
                average: sum as f64 / state.last.len() as f64,
            });
        }
        for (at, cents) in later {
            state.next.insert(at, cents);
        }
        Ok(())
    }
}

/// An auction and the bid that wins it, by what is known. A later one of an auction stands in the place of the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WinningBid {
    /// All of the auction.
    pub auction: Arc<Auction>,
    /// All of the bid.
    pub bid: Bid,
}

/// **q9**: the winning bid of each auction, told anew whenever a higher one takes its place.
pub fn q9(events: &DataStream<NexmarkEvent>) -> DataStream<WinningBid> {
    events
        .flat_map(|event| match event {
            NexmarkEvent::Person(_) => None,
            NexmarkEvent::Auction(auction) => Some(WholeOffer::Auction(auction.into())),
            NexmarkEvent::Bid(bid) => Some(WholeOffer::Bid(bid)),
        })
        .key_by(WholeOffer::auction)
        .process(Winners)
}

/// An auction or a bid, with all that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum WholeOffer {
    Auction(Arc<Auction>),
    Bid(Bid),
}

impl WholeOffer {
    fn auction(&self) -> u64 {
        match self {
            Self::Auction(auction) => auction.id,
            Self::Bid(bid) => bid.auction,
        }
    }
}

/// What q9 knows of an auction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct WholeBidding {
    auction: ValueState<Arc<Auction>>,
    /// The price that wins, beside which most bids lose.
    best: ValueState<Price>,
    /// Bids that came before the auction.
    early: ListState<Bid>,
}

#[derive(Clone)]
struct Winners;

impl KeyedProcessFunction<u64, WholeOffer> for Winners {
    type Out = WinningBid;
    type State = WholeBidding;

    fn process(
        &mut self,
        event: Event<WholeOffer>,
        state: &mut Keyed<'_, u64, WholeBidding>,
        out: &mut Output<'_, WinningBid>,
    ) -> Result<(), UserError> {
        match event.value {
            WholeOffer::Auction(auction) => {
                state.auction.set(auction);
                for bid in state.early.take() {
                    weigh(bid, state, out);
                }
            }
            WholeOffer::Bid(bid) if state.auction.is_empty() => state.early.push(bid),
            WholeOffer::Bid(bid) => weigh(bid, state, out),
        }
        Ok(())
    }
}

/// A bid for an auction that is known.
fn weigh(bid: Bid, state: &mut Keyed<'_, u64, WholeBidding>, out: &mut Output<'_, WinningBid>) {
    let price = Price::of(&bid);
    let Some(auction) = state.auction.get() else {
        return;
    };
    let counts = (auction.date_time..=auction.expires).contains(&bid.date_time);
    if counts && state.best.get().is_none_or(|best| price.beats(best)) {
        let auction = Arc::clone(auction);
        state.best.set(price);
        out.emit(WinningBid { auction, bid });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bid_wins_and_of_equal_ones_the_first() {
        let price = |cents, date_time| Price { cents, date_time };
        for (one, other, wins) in [
            (price(2, 9), price(1, 1), true),
            (price(1, 1), price(2, 9), false),
            (price(2, 1), price(2, 9), true),
            (price(2, 9), price(2, 1), false),
            (price(2, 9), price(2, 9), false),
        ] {
            assert_eq!(one.beats(&other), wins, "{one:?} {other:?}");
        }
        let terms = Terms {
            begins: 10,
            expires: 20,
            group: 0,
        };
        let counting = (0..30).filter(|at| terms.count(*at));
        assert!(counting.eq(10..=20));
    }
}
