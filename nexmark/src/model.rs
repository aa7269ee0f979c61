//! What happens at an auction house.

use compact_str::CompactString;
use rivus::Timestamp;
use serde::{Deserialize, Serialize};

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

/// Somebody offers a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bid {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// How it came.
    pub channel: CompactString,
    /// The page that it came from.
    pub url: String,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// What fills it up to its usual size.
    pub extra: String,
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
