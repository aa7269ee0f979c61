//! The record of all benchmarks: about 120 bytes in three strings and three numbers.

use serde::{Deserialize, Serialize};

/// A bid in an auction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bid {
    pub(crate) auction: u64,
    pub(crate) price: u64,
    pub(crate) time: u64,
    pub(crate) user: String,
    pub(crate) channel: String,
    pub(crate) url: String,
}

/// The same with borrowed strings, for a loop that allocates nothing.
#[derive(Debug)]
pub(crate) struct BorrowedBid<'a> {
    pub(crate) auction: u64,
    pub(crate) price: u64,
    pub(crate) time: u64,
    pub(crate) user: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) url: &'a str,
}

const USER: &[u8; 13] = b"user-00000000";
const URL: &[u8; 66] = b"https://auctions.example.org/item/0000000000000000/bid?ref=landing";
const CHANNELS: [&str; 4] = [
    "channel-google",
    "channel-direct",
    "channel-social",
    "channel-e-mail",
];

/// The text of a record, before anybody owns it.
pub(crate) struct Draft {
    user: [u8; 13],
    url: [u8; 66],
}

impl Draft {
    pub(crate) fn new() -> Self {
        Self {
            user: *USER,
            url: *URL,
        }
    }

    /// The record of a number, with the key of another: the one generator of loop and engine. Never inlined, so
    /// that it is the same machine code for both.
    #[inline(never)]
    pub(crate) fn bid(&mut self, number: u64, key: u64) -> Bid {
        self.write(number, key).to_owned()
    }

    /// The same without a copy of the text.
    #[inline(never)]
    pub(crate) fn borrowed(&mut self, number: u64, key: u64) -> BorrowedBid<'_> {
        self.write(number, key)
    }

    #[inline(always)]
    fn write(&mut self, number: u64, key: u64) -> BorrowedBid<'_> {
        let random = scramble(number);
        hex(key, &mut self.user[5..]);
        hex(random, &mut self.url[34..50]);
        BorrowedBid {
            auction: random >> 40,
            price: random & 0xFF_FFFF,
            time: number,
            user: text(&self.user),
            channel: CHANNELS[(random >> 32) as usize % CHANNELS.len()],
            url: text(&self.url),
        }
    }
}

impl BorrowedBid<'_> {
    #[inline(always)]
    fn to_owned(&self) -> Bid {
        Bid {
            auction: self.auction,
            price: self.price,
            time: self.time,
            user: self.user.to_owned(),
            channel: self.channel.to_owned(),
            url: self.url.to_owned(),
        }
    }
}

/// The key of a record: the first `keys` records have one each, then any.
#[inline(always)]
pub(crate) fn key_of(number: u64, keys: u64) -> u64 {
    if number < keys {
        number
    } else {
        // Another sequence than the record's own.
        ((u128::from(scramble(!number)) * u128::from(keys)) >> 64) as u64
    }
}

/// Splitmix64: a number's place in a random order.
#[inline(always)]
pub(super) fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[inline(always)]
fn hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[inline(always)]
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
