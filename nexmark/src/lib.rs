//! Nexmark: an auction house as a stream of persons, auctions and bids, and 23 questions to it.
//!
//! | module | |
//! |---|---|
//! | `model` | [`Person`], [`Auction`], [`Bid`]: what happens |
//! | `generator` | [`Generator`]: makes it up, each event a pure function of the seed and its number |
//! | `queries` | [`q0`] to [`q22`], and [`Query`], which is any of them by its number |
//! | [`loops`] | some of them by hand, for what a machine could do at most |
//!
//! The binary, `nexmark`, runs them at full speed and says what that took.
//!
//! ```
//! use rivus::{StreamEnvironment, WatermarkStrategy};
//! use rivus_nexmark::{Generator, NexmarkConfig, q2};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rivus::JobError> {
//! let env = StreamEnvironment::builder().parallelism(2).build();
//! let generator = Generator::new(NexmarkConfig { events: 5_000, ..NexmarkConfig::default() });
//! let events = env.from_source(generator.source()).assign_watermarks(WatermarkStrategy::monotonous());
//! let prices = q2(&events).collect();
//! env.execute("prices").await?;
//! assert!(prices.values().iter().all(|(auction, _)| auction % 123 == 0));
//! # Ok(())
//! # }
//! ```

mod generator;
pub mod loops;
mod model;
mod queries;

pub use generator::{BEGIN, EPOCH, FIRST_CATEGORY, FIRST_ID, Generator, NexmarkConfig};
pub use model::{Auction, Bid, NexmarkEvent, Person};
pub use queries::{
    AuctionStatistics, BidInEuro, BidInFolders, BidOfChannel, BidTime, BidderSession, ByRank,
    CalculatedBid, CategoryPrice, ChannelStatistics, DayStatistics, EnrichedBid, ExpandedBid,
    HotItem, LocalItem, LoggedBid, NewSeller, Outlet, Query, RankedBid, Seller, SellerPrice,
    WinningBid, q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15, q16, q17,
    q18, q19, q20, q21, q22, side_input,
};
