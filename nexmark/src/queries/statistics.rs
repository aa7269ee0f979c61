//! Queries that count bids by the day. Figures are gathered where bids come from, as in the published runs, so that they are told
//! anew with some bids and not with every one.

use std::marker::PhantomData;

use compact_str::CompactString;
use rivus::{
    AggregateFunction, DataStream, Event, Key, Keyed, KeyedProcessFunction, Output, Timestamp,
    UserError, ValueState,
};
use serde::{Deserialize, Serialize};

use crate::model::{Bid, NexmarkEvent};

const DAY: Timestamp = 86_400_000;

/// How many there are in all and of each rank of price: below 10,000 cents, below a million, above.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ByRank {
    /// All of them.
    pub total: u64,
    /// By rank.
    pub ranks: [u64; 3],
}

impl ByRank {
    fn add(&mut self, other: &Self) {
        self.total += other.total;
        for (rank, more) in self.ranks.iter_mut().zip(other.ranks) {
            *rank += more;
        }
    }
}

/// Which of the ranks a price is of.
fn rank(price: u64) -> usize {
    match price {
        0..10_000 => 0,
        10_000..1_000_000 => 1,
        _ => 2,
    }
}

/// The bids of a day. A later one of a day stands in the place of the earlier.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DayStatistics {
    /// When it began, milliseconds since the epoch.
    pub day: Timestamp,
    /// Bids.
    pub bids: ByRank,
    /// Persons who bid, each once.
    pub bidders: ByRank,
    /// Auctions that were bid for, each once.
    pub auctions: ByRank,
}

/// **q15**: for each day how many bids, bidders and auctions there were, in all and by rank of price; told anew as they come in.
pub fn q15(events: &DataStream<NexmarkEvent>) -> DataStream<DayStatistics> {
    marks(events, |_| ())
        .key_by(|marks| marks.day)
        .pre_aggregate()
        .aggregate(Figures(PhantomData))
        .map(|(_, (day, _))| day)
}

/// The bids of a channel and a day. A later one of both stands in the place of the earlier.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChannelStatistics {
    /// The channel.
    pub channel: CompactString,
    /// The time of the last bid, in minutes of the day.
    pub minute: i64,
    /// The figures.
    pub day: DayStatistics,
}

/// **q16**: the same for each channel and day, with the time of the last bid.
pub fn q16(events: &DataStream<NexmarkEvent>) -> DataStream<ChannelStatistics> {
    marks(events, |bid| CompactString::new(bid.channel()))
        .key_by(|marks| (marks.channel.clone(), marks.day))
        .pre_aggregate()
        .aggregate(Figures(PhantomData))
        .map(|((channel, _), (day, last))| ChannelStatistics {
            channel,
            minute: (last - day.day) / 60_000,
            day,
        })
}

/// What one bid adds to the figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Marks<C> {
    channel: C,
    day: Timestamp,
    date_time: Timestamp,
    auction: u64,
    bidder: u64,
    rank: u8,
    of_bidder: First,
    of_auction: First,
}

/// What a bid is the first of: in all, and of its rank.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct First {
    in_all: bool,
    of_rank: bool,
}

/// Every bid, and for what it is the first one: of its bidder, and for its auction. Whether it is is asked where that bidder and
/// that auction are at home, so that no row of state has to know them all.
fn marks<C: Key + Sync>(
    events: &DataStream<NexmarkEvent>,
    channel: impl Fn(&Bid) -> C + Clone + Send + Sync + 'static,
) -> DataStream<Marks<C>> {
    let marks = events.flat_map(move |event| {
        let bid = event.bid()?;
        Some(Marks {
            channel: channel(&bid),
            day: bid.date_time.div_euclid(DAY) * DAY,
            date_time: bid.date_time,
            auction: bid.auction,
            bidder: bid.bidder,
            rank: rank(bid.price) as u8,
            of_bidder: First::default(),
            of_auction: First::default(),
        })
    });
    marks
        .key_by(|marks| (marks.bidder, marks.channel.clone(), marks.day))
        .process(Firsts(|marks| &mut marks.of_bidder))
        .key_by(|marks| (marks.auction, marks.channel.clone(), marks.day))
        .process(Firsts(|marks| &mut marks.of_auction))
}

/// Says of what a record is the first of its key.
#[derive(Clone)]
struct Firsts<C>(fn(&mut Marks<C>) -> &mut First);

impl<C: Key + Sync> KeyedProcessFunction<(u64, C, Timestamp), Marks<C>> for Firsts<C> {
    type Out = Marks<C>;
    /// A bit for each rank that was there.
    type State = ValueState<u8>;

    fn process(
        &mut self,
        event: Event<Marks<C>>,
        state: &mut Keyed<'_, (u64, C, Timestamp), ValueState<u8>>,
        out: &mut Output<'_, Marks<C>>,
    ) -> Result<(), UserError> {
        let mut marks = event.value;
        let (seen, bit) = (state.get().copied().unwrap_or_default(), 1 << marks.rank);
        *(self.0)(&mut marks) = First {
            in_all: seen == 0,
            of_rank: seen & bit == 0,
        };
        if seen & bit == 0 {
            state.set(seen | bit);
        }
        out.emit(marks);
        Ok(())
    }
}

impl ByRank {
    fn count(&mut self, rank: u8, first: First) {
        self.total += u64::from(first.in_all);
        self.ranks[usize::from(rank)] += u64::from(first.of_rank);
    }
}

impl DayStatistics {
    fn add<C>(&mut self, marks: &Marks<C>) {
        self.day = marks.day;
        let every = First {
            in_all: true,
            of_rank: true,
        };
        self.bids.count(marks.rank, every);
        self.bidders.count(marks.rank, marks.of_bidder);
        self.auctions.count(marks.rank, marks.of_auction);
    }
}

/// Adds up what bids are the first of.
#[derive(Clone)]
struct Figures<C>(PhantomData<fn() -> C>);

impl<C: Key + Sync> AggregateFunction for Figures<C> {
    type In = Marks<C>;
    /// The figures, and the time of the last bid.
    type Acc = (DayStatistics, Timestamp);
    type Out = (DayStatistics, Timestamp);

    fn create(&self) -> Self::Acc {
        Self::Acc::default()
    }

    fn add(&self, (day, last): &mut Self::Acc, marks: &Marks<C>) {
        day.add(marks);
        *last = (*last).max(marks.date_time);
    }

    fn merge(&self, (day, last): &mut Self::Acc, (other, later): Self::Acc) {
        day.day = other.day;
        day.bids.add(&other.bids);
        day.bidders.add(&other.bidders);
        day.auctions.add(&other.auctions);
        *last = (*last).max(later);
    }

    fn result(&self, acc: &Self::Acc) -> Self::Out {
        acc.clone()
    }
}

/// The bids for an auction on a day. A later one of both stands in the place of the earlier.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct AuctionStatistics {
    /// The auction.
    pub auction: u64,
    /// When the day began, milliseconds since the epoch.
    pub day: Timestamp,
    /// Bids.
    pub bids: ByRank,
    /// The lowest one, cents.
    pub min_price: u64,
    /// The highest.
    pub max_price: u64,
    /// Their mean.
    pub avg_price: f64,
    /// All together.
    pub sum_price: u64,
}

/// **q17**: for each auction and day how many bids there were, in all and by rank of price, the lowest, the highest, their
/// mean and their sum; told anew as they come in.
pub fn q17(events: &DataStream<NexmarkEvent>) -> DataStream<AuctionStatistics> {
    let prices = events.flat_map(|event| {
        let bid = event.bid()?;
        let day = bid.date_time.div_euclid(DAY) * DAY;
        Some((bid.auction, day, bid.price))
    });
    prices
        .key_by(|(auction, day, _)| (*auction, *day))
        .pre_aggregate()
        .aggregate(Prices)
        .map(|((auction, day), prices)| AuctionStatistics {
            auction,
            day,
            bids: prices.bids,
            min_price: prices.min,
            max_price: prices.max,
            avg_price: prices.sum as f64 / prices.bids.total as f64,
            sum_price: prices.sum,
        })
}

#[derive(Clone)]
struct Prices;

/// What q17 knows of an auction's day.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Known {
    bids: ByRank,
    min: u64,
    max: u64,
    sum: u64,
}

impl AggregateFunction for Prices {
    type In = (u64, Timestamp, u64);
    type Acc = Known;
    type Out = Known;

    fn create(&self) -> Known {
        Known {
            bids: ByRank::default(),
            min: u64::MAX,
            max: 0,
            sum: 0,
        }
    }

    fn add(&self, known: &mut Known, (_, _, price): &(u64, Timestamp, u64)) {
        known.bids.total += 1;
        known.bids.ranks[rank(*price)] += 1;
        known.min = known.min.min(*price);
        known.max = known.max.max(*price);
        known.sum += price;
    }

    fn merge(&self, known: &mut Known, other: Known) {
        known.bids.add(&other.bids);
        known.min = known.min.min(other.min);
        known.max = known.max.max(other.max);
        known.sum += other.sum;
    }

    fn result(&self, known: &Known) -> Known {
        *known
    }
}
