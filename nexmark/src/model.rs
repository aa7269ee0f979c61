//! What happens at an auction house.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt::{self, Debug};
use std::sync::Arc;

use rivus::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Somebody has registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person {
    /// Its number, from [`FIRST_ID`](crate::FIRST_ID).
    pub id: u64,
    /// First and last name.
    pub name: String,
    /// Where it gets mail.
    pub email_address: String,
    /// Four groups of four digits.
    pub credit_card: String,
    /// Where it lives.
    pub city: String,
    /// Two letters.
    pub state: String,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// What fills it up to its usual size.
    pub extra: String,
}

/// Something is for sale.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Auction {
    /// Its number, from [`FIRST_ID`](crate::FIRST_ID).
    pub id: u64,
    /// What.
    pub item_name: String,
    /// More about it.
    pub description: String,
    /// The least bid, cents.
    pub initial_bid: u64,
    /// What it isn't sold below, cents.
    pub reserve: u64,
    /// When it began, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// When it ends; a bid at that very time still counts.
    pub expires: Timestamp,
    /// The person who sells it.
    pub seller: u64,
    /// 10 to 14.
    pub category: u64,
    /// What fills it up to its usual size.
    pub extra: String,
}

/// Somebody offers a price. Its texts are one piece of memory, which its clones share.
///
/// ```
/// use rivus_nexmark::Bid;
///
/// let bid = Bid::new(1_000, 1_001, 250, 0, ["Apple", "https://www.nexmark.com/a/b/c/item.htm", "abc"]);
/// assert_eq!((bid.channel(), bid.extra()), ("Apple", "abc"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bid {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    texts: Texts,
}

impl Bid {
    /// Of these texts: how it came, the page that it came from, and what fills it up to its usual size.
    pub fn new(
        auction: u64,
        bidder: u64,
        price: u64,
        date_time: Timestamp,
        texts: [&str; 3],
    ) -> Self {
        Self {
            auction,
            bidder,
            price,
            date_time,
            texts: Texts::of(texts),
        }
    }

    /// How it came.
    pub fn channel(&self) -> &str {
        self.texts.get(0)
    }

    /// The page that it came from.
    pub fn url(&self) -> &str {
        self.texts.get(1)
    }

    /// What fills it up to its usual size.
    pub fn extra(&self) -> &str {
        self.texts.get(2)
    }
}

/// Three texts, one after the other.
#[derive(Clone, PartialEq, Eq)]
struct Texts {
    all: Arc<str>,
    /// Where the first and the second one end.
    ends: [usize; 2],
}

thread_local! {
    /// Where texts are joined: what they are in the end is allocated once.
    static JOINED: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Texts {
    fn of(texts: [&str; 3]) -> Self {
        let first = texts[0].len();
        JOINED.with_borrow_mut(|joined| {
            joined.clear();
            texts.iter().for_each(|text| joined.push_str(text));
            Self {
                all: joined.as_str().into(),
                ends: [first, first + texts[1].len()],
            }
        })
    }

    fn each(&self) -> [&str; 3] {
        [0, 1, 2].map(|number| self.get(number))
    }

    fn get(&self, number: usize) -> &str {
        let [first, second] = self.ends;
        let place = [0..first, first..second, second..self.all.len()];
        &self.all[place[number].clone()]
    }
}

impl Ord for Texts {
    fn cmp(&self, other: &Self) -> Ordering {
        self.each().cmp(&other.each())
    }
}

impl PartialOrd for Texts {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.each().fmt(f)
    }
}

/// A bid as it is written and sent.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Bid")]
struct Written<'a> {
    auction: u64,
    bidder: u64,
    price: u64,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    date_time: Timestamp,
    #[serde(borrow)]
    extra: Cow<'a, str>,
}

impl Serialize for Bid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            auction: self.auction,
            bidder: self.bidder,
            price: self.price,
            channel: self.channel().into(),
            url: self.url().into(),
            date_time: self.date_time,
            extra: self.extra().into(),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bid = Written::deserialize(deserializer)?;
        Ok(Self::new(
            bid.auction,
            bid.bidder,
            bid.price,
            bid.date_time,
            [&bid.channel, &bid.url, &bid.extra],
        ))
    }
}

/// All that happens, in one stream. 46 of 50 are bids, so that the others don't make it wider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NexmarkEvent {
    /// One of 50.
    Person(Box<Person>),
    /// Three of 50.
    Auction(Box<Auction>),
    /// The others.
    Bid(Bid),
}

impl NexmarkEvent {
    /// When, milliseconds since the epoch.
    pub fn date_time(&self) -> Timestamp {
        match self {
            Self::Person(person) => person.date_time,
            Self::Auction(auction) => auction.date_time,
            Self::Bid(bid) => bid.date_time,
        }
    }

    /// If it is one.
    pub fn bid(self) -> Option<Bid> {
        match self {
            Self::Bid(bid) => Some(bid),
            Self::Person(_) | Self::Auction(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_is_written_by_its_fields_and_read_back() {
        let bid = Bid::new(1, 2, 3, 4, ["Apple", "", "Größe \"1\""]);
        assert_eq!(
            (bid.channel(), bid.url(), bid.extra()),
            ("Apple", "", "Größe \"1\"")
        );
        let json = serde_json::to_string(&bid).unwrap();
        assert_eq!(
            json,
            r#"{"auction":1,"bidder":2,"price":3,"channel":"Apple","url":"","date_time":4,"extra":"Größe \"1\""}"#
        );
        assert_eq!(serde_json::from_str::<Bid>(&json).unwrap(), bid);
        let of = |texts| Bid::new(1, 2, 3, 4, texts);
        assert!(of(["a", "bc", "d"]) < of(["ab", "c", "d"]));
        assert_ne!(of(["a", "bc", "d"]), of(["ab", "c", "d"]));
    }
}
