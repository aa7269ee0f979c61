//! Queries that put persons, auctions and bids together.

use std::sync::Arc;
use std::time::Duration;

use rivus::{
    DataStream, Event, Keyed, KeyedCoProcessFunction, KeyedProcessFunction, ListState, Output,
    StateSet, Timestamp, UserError, ValueState, WindowAssigner,
};
use serde::{Deserialize, Serialize};

use super::bids;
use crate::generator::FIRST_CATEGORY;
use crate::model::{Auction, Bid, NexmarkEvent};

/// Somebody who sells, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seller {
    /// First and last name.
    pub name: String,
    /// Where it lives.
    pub city: String,
    /// Two letters.
    pub state: String,
}

/// What q3 says of an auction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LocalItem {
    /// Who sells it.
    pub seller: Seller,
    /// The auction.
    pub auction: u64,
}

/// **q3**: who sells in category 10 and lives in Oregon, Idaho or California, with each auction. Persons and auctions are
/// joined however far apart they come.
pub fn q3(events: &DataStream<NexmarkEvent>) -> DataStream<LocalItem> {
    let few = events.filter(|event| match event {
        NexmarkEvent::Person(person) => matches!(person.state.as_str(), "OR" | "ID" | "CA"),
        NexmarkEvent::Auction(auction) => auction.category == FIRST_CATEGORY,
        NexmarkEvent::Bid(_) => false,
    });
    let sellers = few.flat_map(|event| match event {
        NexmarkEvent::Person(person) => {
            let seller = Seller {
                name: person.name,
                city: person.city,
                state: person.state,
            };
            Some((person.id, seller))
        }
        _ => None,
    });
    let auctions = few.flat_map(|event| match event {
        NexmarkEvent::Auction(auction) => Some((auction.seller, auction.id)),
        _ => None,
    });
    sellers
        .key_by(|(id, _)| *id)
        .connect(&auctions.key_by(|(seller, _)| *seller))
        .process(LocalItems)
}

/// A person who may sell, and auctions that came before it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Sells {
    seller: ValueState<Seller>,
    early: ListState<u64>,
}

#[derive(Clone)]
struct LocalItems;

impl KeyedCoProcessFunction<u64, (u64, Seller), (u64, u64)> for LocalItems {
    type Out = LocalItem;
    type State = Sells;

    fn process_first(
        &mut self,
        event: Event<(u64, Seller)>,
        state: &mut Keyed<'_, u64, Sells>,
        out: &mut Output<'_, LocalItem>,
    ) -> Result<(), UserError> {
        let seller = event.value.1;
        for auction in state.early.take() {
            out.emit(LocalItem {
                seller: seller.clone(),
                auction,
            });
        }
        state.seller.set(seller);
        Ok(())
    }

    fn process_second(
        &mut self,
        event: Event<(u64, u64)>,
        state: &mut Keyed<'_, u64, Sells>,
        out: &mut Output<'_, LocalItem>,
    ) -> Result<(), UserError> {
        let auction = event.value.1;
        match state.seller.get().cloned() {
            Some(seller) => out.emit(LocalItem { seller, auction }),
            None => state.early.push(auction),
        }
        Ok(())
    }
}

/// Who has registered and begun to sell within the same ten seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NewSeller {
    /// The person.
    pub id: u64,
    /// First and last name.
    pub name: String,
    /// When the ten seconds began, milliseconds since the epoch.
    pub start: Timestamp,
}

/// **q8**: persons who registered and began an auction in the same ten seconds.
pub fn q8(events: &DataStream<NexmarkEvent>) -> DataStream<NewSeller> {
    let few = events.filter(|event| !matches!(event, NexmarkEvent::Bid(_)));
    let persons = few.flat_map(|event| match event {
        NexmarkEvent::Person(person) => Some((person.id, person.name)),
        _ => None,
    });
    let sellers = few.flat_map(|event| match event {
        NexmarkEvent::Auction(auction) => Some(auction.seller),
        _ => None,
    });
    let new = persons
        .join(&sellers)
        .on(|person| person.0, |seller| *seller)
        .window(WindowAssigner::tumbling(Duration::from_secs(10)));
    new.co_group(|both| {
        let (persons, sellers) = both.value;
        let person = persons.into_iter().next().filter(|_| !sellers.is_empty());
        person.map(|(id, name)| NewSeller {
            id,
            name,
            start: both.window.start,
        })
    })
    .map(|new| new.value)
}

/// A bid and what the side input says of its auction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EnrichedBid {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// What the side input has for the auction's number, modulo its length.
    pub value: String,
}

/// The side input of q13: a value for each of 10,000 numbers. As the benchmark's own file, it says the number again.
pub fn side_input() -> Vec<String> {
    (0..10_000).map(|key: u32| key.to_string()).collect()
}

/// **q13**: every bid with a value from a table that doesn't change, which all tasks have in memory.
pub fn q13(events: &DataStream<NexmarkEvent>, side: Vec<String>) -> DataStream<EnrichedBid> {
    let side: Arc<[String]> = side.into();
    bids(events).flat_map(move |bid| {
        let key = bid.auction.checked_rem(side.len() as u64)?;
        Some(EnrichedBid {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            date_time: bid.date_time,
            value: side[key as usize].clone(),
        })
    })
}

/// A bid and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExpandedBid {
    /// The bid.
    pub bid: Bid,
    /// All of the auction.
    pub auction: Arc<Auction>,
}

/// **q20**: every bid for something of category 10, with the auction. They are joined however far apart they come.
///
/// Of the other categories it is only kept that bids for them need not be.
pub fn q20(events: &DataStream<NexmarkEvent>) -> DataStream<ExpandedBid> {
    events
        .flat_map(|event| match event {
            NexmarkEvent::Person(_) => None,
            NexmarkEvent::Auction(auction) => {
                let (id, is_wanted) = (auction.id, auction.category == FIRST_CATEGORY);
                Some(Offer::Auction(id, is_wanted.then(|| auction.into())))
            }
            NexmarkEvent::Bid(bid) => Some(Offer::Bid(bid)),
        })
        .key_by(Offer::auction)
        .process(Expand)
}

/// What q20 is told of an auction.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Offer {
    /// Its number, and itself if it is of the category.
    Auction(u64, Option<Arc<Auction>>),
    Bid(Bid),
}

impl Offer {
    fn auction(&self) -> u64 {
        match self {
            Self::Auction(id, _) => *id,
            Self::Bid(bid) => bid.auction,
        }
    }
}

/// What q20 knows of an auction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
struct Expanding {
    /// Nothing before it has come; inside nothing if it is of another category.
    auction: ValueState<Option<Arc<Auction>>>,
    early: ListState<Bid>,
}

#[derive(Clone)]
struct Expand;

impl KeyedProcessFunction<u64, Offer> for Expand {
    type Out = ExpandedBid;
    type State = Expanding;

    fn process(
        &mut self,
        event: Event<Offer>,
        state: &mut Keyed<'_, u64, Expanding>,
        out: &mut Output<'_, ExpandedBid>,
    ) -> Result<(), UserError> {
        match event.value {
            Offer::Auction(_, auction) => {
                let early = state.early.take();
                if let Some(auction) = &auction {
                    for bid in early {
                        let auction = Arc::clone(auction);
                        out.emit(ExpandedBid { bid, auction });
                    }
                }
                state.auction.set(auction);
            }
            Offer::Bid(bid) => match state.auction.get() {
                None => state.early.push(bid),
                Some(None) => {}
                Some(Some(auction)) => {
                    let auction = Arc::clone(auction);
                    out.emit(ExpandedBid { bid, auction });
                }
            },
        }
        Ok(())
    }
}
