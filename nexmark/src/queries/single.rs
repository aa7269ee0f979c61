//! Queries that look at one bid at a time.

use compact_str::CompactString;
use rivus::{DataStream, Timestamp};
use serde::{Deserialize, Serialize};

use super::bids;
use crate::model::{Bid, NexmarkEvent};

/// Dollars in euros, thousandths.
const EURO: u64 = 908;

/// A bid in another currency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BidInEuro {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Thousandths of a cent of a euro.
    pub price: u64,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// As it came.
    pub extra: String,
}

/// **q0**: every bid as it is. What it costs to read and write one.
pub fn q0(events: &DataStream<NexmarkEvent>) -> DataStream<Bid> {
    bids(events)
}

/// **q1**: every bid, its price in euros.
pub fn q1(events: &DataStream<NexmarkEvent>) -> DataStream<BidInEuro> {
    bids(events).map(in_euro)
}

pub(crate) fn in_euro(bid: Bid) -> BidInEuro {
    BidInEuro {
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price * EURO,
        date_time: bid.date_time,
        extra: bid.extra().to_owned(),
    }
}

/// **q2**: auction and price of each bid for one of some auctions, those whose number is divisible by 123.
pub fn q2(events: &DataStream<NexmarkEvent>) -> DataStream<(u64, u64)> {
    events.flat_map(price_of_some)
}

pub(crate) fn price_of_some(event: NexmarkEvent) -> Option<(u64, u64)> {
    match event {
        NexmarkEvent::Bid(bid) if bid.auction % 123 == 0 => Some((bid.auction, bid.price)),
        _ => None,
    }
}

/// At what time of the day a bid was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BidTime {
    /// From 8 to 18 h.
    Day,
    /// Up to 6, and from 20 h on.
    Night,
    /// Between them.
    Other,
}

impl BidTime {
    fn at(date_time: Timestamp) -> Self {
        match date_time.div_euclid(3_600_000).rem_euclid(24) {
            8..=18 => Self::Day,
            0..=6 | 20.. => Self::Night,
            _ => Self::Other,
        }
    }
}

/// What q14 says of a bid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CalculatedBid {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Thousandths of a cent of a euro.
    pub price: u64,
    /// When in a day.
    pub time: BidTime,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// As it came.
    pub extra: String,
    /// How often there is a `c` in it.
    pub count_of_c: u64,
}

/// **q14**: bids of between one and fifty million euro cents, with the time of the day and the number of `c` in their extra text.
pub fn q14(events: &DataStream<NexmarkEvent>) -> DataStream<CalculatedBid> {
    events.flat_map(|event| {
        let bid = event.bid()?;
        let price = bid.price * EURO;
        if price <= 1_000_000_000 || price >= 50_000_000_000 {
            return None;
        }
        Some(CalculatedBid {
            auction: bid.auction,
            bidder: bid.bidder,
            price,
            time: BidTime::at(bid.date_time),
            date_time: bid.date_time,
            extra: bid.extra().to_owned(),
            count_of_c: bid.extra().bytes().filter(|byte| *byte == b'c').count() as u64,
        })
    })
}

/// A bid and the channel that it came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BidOfChannel {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// The channel's name.
    pub channel: CompactString,
    /// Its number.
    pub channel_id: String,
}

/// **q21**: every bid whose channel has a number: four have one by their names, the others tell it in the page's address.
pub fn q21(events: &DataStream<NexmarkEvent>) -> DataStream<BidOfChannel> {
    events.flat_map(|event| {
        let bid = event.bid()?;
        let channel_id = channel_id(bid.channel(), bid.url())?.to_owned();
        Some(BidOfChannel {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            channel: bid.channel().into(),
            channel_id,
        })
    })
}

fn channel_id<'a>(channel: &str, url: &'a str) -> Option<&'a str> {
    const NAMED: [(&str, &str); 4] = [
        ("apple", "0"),
        ("google", "1"),
        ("facebook", "2"),
        ("baidu", "3"),
    ];
    let named = |(name, _): &&(&str, _)| channel.eq_ignore_ascii_case(name);
    if let Some((_, id)) = NAMED.iter().find(named) {
        return Some(id);
    }
    // The regular expression of the benchmark, `(&|^)channel_id=([^&]*)`: a parameter, or the beginning of the address.
    let mut parameters = url.split('&');
    parameters.find_map(|parameter| parameter.strip_prefix("channel_id="))
}

/// A bid and the folders of its page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BidInFolders {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// The channel's name.
    pub channel: CompactString,
    /// The first three folders of the address; empty where it has fewer.
    pub folders: [CompactString; 3],
}

/// **q22**: every bid with the first three folders of its page's address.
pub fn q22(events: &DataStream<NexmarkEvent>) -> DataStream<BidInFolders> {
    events.flat_map(|event| {
        let bid = event.bid()?;
        // https: "" host one two three
        let mut parts = bid.url().split('/').skip(3);
        let mut folder = || CompactString::new(parts.next().unwrap_or_default());
        let folders = [folder(), folder(), folder()];
        Some(BidInFolders {
            auction: bid.auction,
            bidder: bid.bidder,
            price: bid.price,
            channel: bid.channel().into(),
            folders,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_hours_of_day_and_of_night_and_two_between() {
        let times: String = (0..24)
            .map(
                |hour| match BidTime::at(86_400_000 + hour * 3_600_000 + 3_599_999) {
                    BidTime::Day => 'd',
                    BidTime::Night => 'n',
                    BidTime::Other => '-',
                },
            )
            .collect();
        assert_eq!(times, "nnnnnnn-ddddddddddd-nnnn");
    }

    #[test]
    fn a_channel_has_a_number_by_its_name_or_in_the_address() {
        for (channel, url, id) in [
            ("apple", "", Some("0")),
            ("Baidu", "x&channel_id=9", Some("3")),
            ("channel-7", "https://a/b?query=1&channel_id=42", Some("42")),
            ("channel-7", "x&channel_id=42&y=1", Some("42")),
            ("channel-7", "channel_id=42", Some("42")),
            ("channel-7", "x&channel_id=", Some("")),
            ("channel-7", "x?channel_id=42", None),
            ("channel-7", "x&my_channel_id=42", None),
        ] {
            assert_eq!(channel_id(channel, url), id, "{channel} {url}");
        }
    }
}
