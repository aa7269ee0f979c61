//! The queries of the benchmark, each a function from the stream of all events to its output.
//!
//! Some say anew what they have said before whenever it changes, as their originals in SQL do: the documentation of their records says
//! which one stands in the place of which.

mod files;
mod joins;
mod ranks;
mod single;
mod statistics;
mod windows;
mod winners;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rivus::{DataStream, Record};
use serde::{Deserialize, Serialize};

use crate::model::{Bid, NexmarkEvent};

pub use files::{LoggedBid, q10};
pub use joins::{
    EnrichedBid, ExpandedBid, LocalItem, NewSeller, Seller, q3, q8, q13, q20, side_input,
};
pub use ranks::{RankedBid, q18, q19};
pub use single::{
    BidInEuro, BidInFolders, BidOfChannel, BidTime, CalculatedBid, q0, q1, q2, q14, q21, q22,
};
pub(crate) use single::{in_euro, price_of_some};
pub use statistics::{AuctionStatistics, ByRank, ChannelStatistics, DayStatistics, q15, q16, q17};
pub use windows::{BidderSession, HotItem, q5, q7, q11, q12};
pub use winners::{CategoryPrice, SellerPrice, WinningBid, q4, q6, q9};

/// One of the queries, by its number.
///
/// ```
/// use rivus_nexmark::Query;
///
/// let query: Query = "q5".parse()?;
/// assert_eq!(query.meaning(), "the auctions with the most bids of the last ten seconds, every two");
/// assert!("q23".parse::<Query>().is_err());
/// # assert!(["q05", "5", "q+5"].iter().all(|text| text.parse::<Query>().is_err()));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Query(u8);

/// What takes the output of any query.
///
/// ```
/// use rivus::{DataStream, Record, StreamEnvironment};
/// use rivus_nexmark::{Generator, NexmarkConfig, Outlet, Query};
///
/// /// Counts what comes out, whatever it is.
/// struct Counted;
///
/// impl Outlet for Counted {
///     type Made = rivus::connectors::Collected<u64>;
///     fn take<T: Record>(self, output: &DataStream<T>) -> Self::Made {
///         output.map(|_| 1).key_by(|_| ()).sum(|one| *one).map(|(_, count)| count).collect()
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let env = StreamEnvironment::builder().parallelism(1).build();
/// let generator = Generator::new(NexmarkConfig { events: 1_000, ..NexmarkConfig::default() });
/// let query: Query = "q0".parse()?;
/// let events = env.from_source(generator.source());
/// let counts = query.write(&events, std::path::Path::new("unused"), Counted);
/// env.execute("bids").await?;
/// assert_eq!(counts.values().last(), Some(&920));
/// # Ok(()) }
/// ```
pub trait Outlet {
    /// What it makes of it.
    type Made;

    /// Takes it.
    fn take<T: Record>(self, output: &DataStream<T>) -> Self::Made;
}

/// Meanings, by number.
const MEANINGS: [&str; 23] = [
    "every bid as it is",
    "every bid, in euros",
    "the prices of some auctions",
    "who sells in category 10 and lives in Oregon, Idaho or California",
    "the mean price of each category",
    "the auctions with the most bids of the last ten seconds, every two",
    "the mean price of a seller's last ten auctions",
    "the highest bids of every ten seconds",
    "persons who registered and began to sell within the same ten seconds",
    "the winning bid of each auction",
    "every bid, in files by the minute",
    "how many bids everybody makes in one go",
    "how many bids everybody makes in ten seconds of the clock on the wall",
    "every bid with a value from a table",
    "bids of some prices, and what is counted in them",
    "figures of every day",
    "figures of every channel and day",
    "figures of every auction and day",
    "everybody's last bid for each auction",
    "the ten highest bids of each auction",
    "bids for category 10, with the auction",
    "every bid with its channel's number",
    "every bid with the folders of its page",
];

impl Query {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MEANINGS.len() as u8).map(Self)
    }

    /// 0 to 22.
    pub fn number(self) -> u8 {
        self.0
    }

    /// What it answers, in a few words.
    pub fn meaning(self) -> &'static str {
        MEANINGS[usize::from(self.0)]
    }

    /// Writes it behind a stream of events, and gives its output to somebody. q10 writes it to a directory, too, which the others leave
    /// alone.
    pub fn write<O: Outlet>(
        self,
        events: &DataStream<NexmarkEvent>,
        directory: &Path,
        to: O,
    ) -> O::Made {
        match self.0 {
            0 => to.take(&q0(events)),
            1 => to.take(&q1(events)),
            2 => to.take(&q2(events)),
            3 => to.take(&q3(events)),
            4 => to.take(&q4(events)),
            5 => to.take(&q5(events)),
            6 => to.take(&q6(events)),
            7 => to.take(&q7(events)),
            8 => to.take(&q8(events)),
            9 => to.take(&q9(events)),
            10 => to.take(&q10(events, directory)),
            11 => to.take(&q11(events)),
            12 => to.take(&q12(events)),
            13 => to.take(&q13(events, side_input())),
            14 => to.take(&q14(events)),
            15 => to.take(&q15(events)),
            16 => to.take(&q16(events)),
            17 => to.take(&q17(events)),
            18 => to.take(&q18(events)),
            19 => to.take(&q19(events)),
            20 => to.take(&q20(events)),
            21 => to.take(&q21(events)),
            _ => to.take(&q22(events)),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", self.0)
    }
}

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let query = Self::all().find(|query| query.to_string() == text);
        query.ok_or_else(|| format!("there is no query \"{text}\": they are q0 to q22"))
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.to_string()
    }
}

impl TryFrom<String> for Query {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

fn bids(events: &DataStream<NexmarkEvent>) -> DataStream<Bid> {
    events.flat_map(NexmarkEvent::bid)
}
