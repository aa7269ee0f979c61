//! The queries over all events at once, in one thread, as plainly as they are asked: loops over everything, and nothing kept
//! from one event to the next. The oracle of the tests beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::CompactString;
use rivus::Timestamp;
use rivus_nexmark::*;

pub(crate) fn bids(events: &[NexmarkEvent]) -> Vec<&Bid> {
    let bids = events.iter().filter_map(|event| match event {
        NexmarkEvent::Bid(bid) => Some(bid),
        _ => None,
    });
    bids.collect()
}

pub(crate) fn auctions(events: &[NexmarkEvent]) -> Vec<&Auction> {
    let auctions = events.iter().filter_map(|event| match event {
        NexmarkEvent::Auction(auction) => Some(&**auction),
        _ => None,
    });
    auctions.collect()
}

pub(crate) fn persons(events: &[NexmarkEvent]) -> Vec<&Person> {
    let persons = events.iter().filter_map(|event| match event {
        NexmarkEvent::Person(person) => Some(&**person),
        _ => None,
    });
    persons.collect()
}

pub(crate) fn q0(events: &[NexmarkEvent]) -> Vec<Bid> {
    bids(events).into_iter().cloned().collect()
}

pub(crate) fn q1(events: &[NexmarkEvent]) -> Vec<BidInEuro> {
    let euros = bids(events).into_iter().map(|bid| BidInEuro {
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price * 908,
        date_time: bid.date_time,
        extra: bid.extra().to_owned(),
    });
    euros.collect()
}

pub(crate) fn q2(events: &[NexmarkEvent]) -> Vec<(u64, u64)> {
    let some = bids(events)
        .into_iter()
        .filter(|bid| bid.auction % 123 == 0);
    some.map(|bid| (bid.auction, bid.price)).collect()
}

pub(crate) fn q3(events: &[NexmarkEvent]) -> Vec<LocalItem> {
    let mut items = Vec::new();
    for auction in auctions(events) {
        for person in persons(events) {
            let is_near = ["OR", "ID", "CA"].contains(&person.state.as_str());
            if person.id == auction.seller && is_near && auction.category == 10 {
                items.push(LocalItem {
                    seller: Seller {
                        name: person.name.clone(),
                        city: person.city.clone(),
                        state: person.state.clone(),
                    },
                    auction: auction.id,
                });
            }
        }
    }
    items
}

/// The bid that an auction is sold for.
fn winner<'a>(events: &'a [NexmarkEvent], auction: &Auction) -> Option<&'a Bid> {
    let mut for_it = bids(events);
    for_it.retain(|bid| {
        bid.auction == auction.id
            && bid.date_time >= auction.date_time
            && bid.date_time <= auction.expires
    });
    for_it.sort_by_key(|bid| (u64::MAX - bid.price, bid.date_time));
    for_it.first().copied()
}

fn mean(cents: &[u64]) -> f64 {
    cents.iter().sum::<u64>() as f64 / cents.len() as f64
}

pub(crate) fn q4(events: &[NexmarkEvent]) -> Vec<CategoryPrice> {
    let mut sold: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for auction in auctions(events) {
        if let Some(bid) = winner(events, auction) {
            sold.entry(auction.category).or_default().push(bid.price);
        }
    }
    let averages = sold.into_iter().map(|(category, cents)| CategoryPrice {
        category,
        average: mean(&cents),
    });
    averages.collect()
}

/// Beginnings of all windows of a size that hold an event, one each `slide`.
fn windows(events: &[NexmarkEvent], size: Timestamp, slide: Timestamp) -> Vec<Timestamp> {
    let mut starts = BTreeSet::new();
    for event in events {
        let last = event.date_time().div_euclid(slide) * slide;
        let mut start = last;
        while start + size > event.date_time() {
            starts.insert(start);
            start -= slide;
        }
    }
    starts.into_iter().collect()
}

pub(crate) fn q5(events: &[NexmarkEvent]) -> Vec<HotItem> {
    let mut items = Vec::new();
    for start in windows(events, 10_000, 2_000) {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for bid in bids(events) {
            if (start..start + 10_000).contains(&bid.date_time) {
                *counts.entry(bid.auction).or_default() += 1;
            }
        }
        let most = counts.values().max().copied();
        let hottest = counts.into_iter().filter(|(_, bids)| Some(*bids) == most);
        items.extend(hottest.map(|(auction, bids)| HotItem {
            start,
            auction,
            bids,
        }));
    }
    items
}

pub(crate) fn q6(events: &[NexmarkEvent]) -> Vec<SellerPrice> {
    let mut all = auctions(events);
    all.sort_by_key(|auction| (auction.expires, auction.id));
    let mut sold: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut prices = Vec::new();
    for auction in all {
        if let Some(bid) = winner(events, auction) {
            let cents = sold.entry(auction.seller).or_default();
            cents.push(bid.price);
            prices.push(SellerPrice {
                seller: auction.seller,
                auction: auction.id,
                expired: auction.expires,
                average: mean(&cents[cents.len().saturating_sub(10)..]),
            });
        }
    }
    prices
}

pub(crate) fn q7(events: &[NexmarkEvent]) -> Vec<Bid> {
    let mut highest = Vec::new();
    for start in windows(events, 10_000, 10_000) {
        let mut there = bids(events);
        there.retain(|bid| (start..start + 10_000).contains(&bid.date_time));
        let most = there.iter().map(|bid| bid.price).max();
        let best = there.into_iter().filter(|bid| Some(bid.price) == most);
        highest.extend(best.cloned());
    }
    highest
}

pub(crate) fn q8(events: &[NexmarkEvent]) -> Vec<NewSeller> {
    let ten = |at: Timestamp| at.div_euclid(10_000) * 10_000;
    let mut new = Vec::new();
    for person in persons(events) {
        let start = ten(person.date_time);
        let mut auctions = auctions(events).into_iter();
        if auctions.any(|auction| auction.seller == person.id && ten(auction.date_time) == start) {
            let (id, name) = (person.id, person.name.clone());
            new.push(NewSeller { id, name, start });
        }
    }
    new
}

pub(crate) fn q9(events: &[NexmarkEvent]) -> Vec<WinningBid> {
    let mut winning = Vec::new();
    for auction in auctions(events) {
        if let Some(bid) = winner(events, auction).cloned() {
            let auction = Arc::new(auction.clone());
            winning.push(WinningBid { auction, bid });
        }
    }
    winning
}

/// Lines by the folder that they lie in. All of the world is within one day.
pub(crate) fn q10(events: &[NexmarkEvent]) -> Vec<(String, String)> {
    let lines = bids(events).into_iter().map(|bid| {
        let minute = (bid.date_time - BEGIN) / 60_000;
        let folder = format!("dt=2015-07-15/hm={:02}:{:02}", minute / 60, minute % 60);
        let Bid {
            auction,
            bidder,
            price,
            date_time,
            ..
        } = bid;
        let extra = bid.extra();
        (
            folder,
            format!("{auction},{bidder},{price},{date_time},{extra}"),
        )
    });
    lines.collect()
}

pub(crate) fn q11(events: &[NexmarkEvent]) -> Vec<BidderSession> {
    let mut times: BTreeMap<u64, Vec<Timestamp>> = BTreeMap::new();
    for bid in bids(events) {
        times.entry(bid.bidder).or_default().push(bid.date_time);
    }
    let mut sessions = Vec::new();
    for (bidder, times) in times {
        for run in times.chunk_by(|one, next| next - one < 10_000) {
            sessions.push(BidderSession {
                bidder,
                bids: run.len() as u64,
                start: run[0],
                end: run[run.len() - 1] + 10_000,
            });
        }
    }
    sessions
}

/// Of q12 only this can be foretold: when windows of the wall's clock begin, the clock says.
pub(crate) fn q12_in_all(events: &[NexmarkEvent]) -> Vec<(u64, u64)> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for bid in bids(events) {
        *counts.entry(bid.bidder).or_default() += 1;
    }
    counts.into_iter().collect()
}

pub(crate) fn q13(events: &[NexmarkEvent], side: &[String]) -> Vec<EnrichedBid> {
    let enriched = bids(events).into_iter().map(|bid| EnrichedBid {
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price,
        date_time: bid.date_time,
        value: side[(bid.auction % 10_000) as usize].clone(),
    });
    enriched.collect()
}

pub(crate) fn q14(events: &[NexmarkEvent]) -> Vec<CalculatedBid> {
    let mut calculated = Vec::new();
    for bid in bids(events) {
        let euro = bid.price * 908;
        if euro > 1_000_000 * 1_000 && euro < 50_000_000 * 1_000 {
            let hour = bid.date_time / 1_000 / 60 / 60 % 24;
            calculated.push(CalculatedBid {
                auction: bid.auction,
                bidder: bid.bidder,
                price: euro,
                time: if (8..=18).contains(&hour) {
                    BidTime::Day
                } else if hour <= 6 || hour >= 20 {
                    BidTime::Night
                } else {
                    BidTime::Other
                },
                date_time: bid.date_time,
                extra: bid.extra().to_owned(),
                count_of_c: bid.extra().matches('c').count() as u64,
            });
        }
    }
    calculated
}

const DAY: Timestamp = 24 * 60 * 60 * 1_000;

fn day(bid: &Bid) -> Timestamp {
    bid.date_time / DAY * DAY
}

/// How many of something there are among bids, each value once.
fn distinct<'a>(bids: &[&'a Bid], of: impl Fn(&'a Bid) -> u64) -> ByRank {
    let count = |from: u64, to: u64| {
        let some = bids.iter().filter(|bid| (from..to).contains(&bid.price));
        some.map(|bid| of(bid)).collect::<BTreeSet<_>>().len() as u64
    };
    ByRank {
        total: count(0, u64::MAX),
        ranks: ranks(count),
    }
}

fn ranks(count: impl Fn(u64, u64) -> u64) -> [u64; 3] {
    [
        count(0, 10_000),
        count(10_000, 1_000_000),
        count(1_000_000, u64::MAX),
    ]
}

fn counted(bids: &[&Bid]) -> ByRank {
    let count = |from: u64, to: u64| {
        let some = bids.iter().filter(|bid| (from..to).contains(&bid.price));
        some.count() as u64
    };
    ByRank {
        total: bids.len() as u64,
        ranks: ranks(count),
    }
}

fn statistics(day: Timestamp, bids: &[&Bid]) -> DayStatistics {
    DayStatistics {
        day,
        bids: counted(bids),
        bidders: distinct(bids, |bid| bid.bidder),
        auctions: distinct(bids, |bid| bid.auction),
    }
}

/// Bids by what is the same of them.
fn by<K: Ord>(events: &[NexmarkEvent], key: impl Fn(&Bid) -> K) -> BTreeMap<K, Vec<&Bid>> {
    let mut by: BTreeMap<K, Vec<&Bid>> = BTreeMap::new();
    for bid in bids(events) {
        by.entry(key(bid)).or_default().push(bid);
    }
    by
}

pub(crate) fn q15(events: &[NexmarkEvent]) -> Vec<DayStatistics> {
    let days = by(events, day).into_iter();
    days.map(|(day, bids)| statistics(day, &bids)).collect()
}

pub(crate) fn q16(events: &[NexmarkEvent]) -> Vec<ChannelStatistics> {
    let channels = by(events, |bid| (CompactString::new(bid.channel()), day(bid))).into_iter();
    let figures = channels.map(|((channel, day), bids)| {
        let last = bids.iter().map(|bid| bid.date_time).max();
        ChannelStatistics {
            channel,
            minute: last.map_or(0, |last| last / 60_000 % (24 * 60)),
            day: statistics(day, &bids),
        }
    });
    figures.collect()
}

pub(crate) fn q17(events: &[NexmarkEvent]) -> Vec<AuctionStatistics> {
    let auctions = by(events, |bid| (bid.auction, day(bid))).into_iter();
    let figures = auctions.map(|((auction, day), bids)| {
        let prices: Vec<u64> = bids.iter().map(|bid| bid.price).collect();
        AuctionStatistics {
            auction,
            day,
            bids: counted(&bids),
            min_price: prices.iter().copied().min().unwrap_or(0),
            max_price: prices.iter().copied().max().unwrap_or(0),
            avg_price: mean(&prices),
            sum_price: prices.iter().sum(),
        }
    });
    figures.collect()
}

pub(crate) fn q18(events: &[NexmarkEvent]) -> Vec<Bid> {
    let pairs = by(events, |bid| (bid.bidder, bid.auction));
    let last = pairs.values().filter_map(|bids| bids.last());
    last.map(|bid| (*bid).clone()).collect()
}

pub(crate) fn q19(events: &[NexmarkEvent]) -> Vec<RankedBid> {
    let mut ranked = Vec::new();
    for (_, mut bids) in by(events, |bid| bid.auction) {
        bids.sort_by_key(|bid| (u64::MAX - bid.price, bid.date_time));
        let bids = bids.into_iter().cloned();
        let top = (1..).zip(bids).take(10);
        ranked.extend(top.map(|(rank, bid)| RankedBid { rank, bid }));
    }
    ranked
}

pub(crate) fn q20(events: &[NexmarkEvent]) -> Vec<ExpandedBid> {
    let mut expanded = Vec::new();
    for auction in auctions(events) {
        for bid in bids(events) {
            if bid.auction == auction.id && auction.category == 10 {
                let (bid, auction) = (bid.clone(), Arc::new(auction.clone()));
                expanded.push(ExpandedBid { bid, auction });
            }
        }
    }
    expanded
}

pub(crate) fn q21(events: &[NexmarkEvent]) -> Vec<BidOfChannel> {
    let mut of_channel = Vec::new();
    for bid in bids(events) {
        let channel_id = match bid.channel().to_lowercase().as_str() {
            "apple" => "0",
            "google" => "1",
            "facebook" => "2",
            "baidu" => "3",
            _ => match bid.url().split_once("&channel_id=") {
                Some((_, rest)) => rest.split('&').next().unwrap_or(rest),
                None => continue,
            },
        };
        of_channel.push(BidOfChannel {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            channel: bid.channel().into(),
            channel_id: channel_id.to_owned(),
        });
    }
    of_channel
}

pub(crate) fn q22(events: &[NexmarkEvent]) -> Vec<BidInFolders> {
    let folders = bids(events).into_iter().map(|bid| {
        let parts: Vec<&str> = bid.url().split('/').collect();
        BidInFolders {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            channel: bid.channel().into(),
            folders: [3, 4, 5].map(|at| parts.get(at).copied().unwrap_or_default().into()),
        }
    });
    folders.collect()
}
