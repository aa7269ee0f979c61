//! The query that writes files.

use std::path::PathBuf;

use jiff::Timestamp as Moment;
use rivus::connectors::FileSink;
use rivus::{DataStream, Timestamp};
use serde::{Deserialize, Serialize};

use super::bids;
use crate::model::NexmarkEvent;

/// A bid as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LoggedBid {
    /// For what.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// Cents.
    pub price: u64,
    /// When, milliseconds since the epoch.
    pub date_time: Timestamp,
    /// As it came.
    pub extra: String,
}

/// **q10**: every bid, as a line of CSV in files by the minute: `directory/dt=2015-07-15/hm=00:10/`. What is written is given to whoever
/// wants to see it, too.
pub fn q10(
    events: &DataStream<NexmarkEvent>,
    directory: impl Into<PathBuf>,
) -> DataStream<LoggedBid> {
    let logged = bids(events).map(|bid| LoggedBid {
        auction: bid.auction,
        bidder: bid.bidder,
        price: bid.price,
        date_time: bid.date_time,
        extra: bid.extra().to_owned(),
    });
    let files = FileSink::csv(directory);
    logged.sink_to(files.partitioned_by(|bid: &LoggedBid, _| folder(bid.date_time)));
    logged
}

/// The day and the minute. A time that no calendar has is as good as the epoch.
fn folder(date_time: Timestamp) -> String {
    let moment = Moment::from_millisecond(date_time).unwrap_or_default();
    moment.strftime("dt=%Y-%m-%d/hm=%H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_day_and_a_minute() {
        let begin = crate::BEGIN;
        for (at, name) in [
            (begin, "dt=2015-07-15/hm=00:00"),
            (begin + 59_999, "dt=2015-07-15/hm=00:00"),
            (begin + 60_000, "dt=2015-07-15/hm=00:01"),
            (begin - 1, "dt=2015-07-14/hm=23:59"),
        ] {
            assert_eq!(folder(at), name);
        }
    }
}
