//! Days as the clocks of a place show them, and slices of them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// How time is divided: at each midnight, and in slices from there on.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Days {
    /// How often in event time figures are told, counted from midnight.
    #[arg(long, default_value = "10m", value_parser = slice)]
    every: Duration,
    /// Where midnight is: hours east of Greenwich.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, value_parser = clap::value_parser!(i8).range(-12..=14))]
    utc_offset: i8,
}

fn slice(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every.as_millis() > 0 => Ok(every),
        Ok(_) => Err("figures are told once a millisecond at most".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a part of a day adds to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slice {
    /// When the day begins, in milliseconds since the epoch.
    pub midnight: i64,
    /// When the part ends.
    pub until: i64,
    /// Pages that were asked for.
    pub views: u64,
    /// Who hadn't been seen that day before.
    pub visitors: u64,
}

impl Slice {
    /// Adds the part that follows.
    pub fn add(&mut self, next: Self) {
        self.until = next.until;
        self.views += next.views;
        self.visitors += next.visitors;
    }
}

impl Days {
    /// The slice of a moment, with so many views, maybe a visitor's first of that day.
    pub fn slice(self, at: i64, views: u64, is_first: bool) -> Slice {
        Slice {
            midnight: self.midnight(at),
            until: self.last_of_slice(at) + 1,
            views,
            visitors: u64::from(is_first),
        }
    }

    /// The midnight before a moment.
    pub fn midnight(self, at: i64) -> i64 {
        self.midnights(at).0
    }

    /// The last millisecond of the slice that a moment lies in.
    pub fn last_of_slice(self, at: i64) -> i64 {
        let every = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX);
        let (midnight, next) = self.midnights(at);
        let slice = (at - midnight) / every;
        let end = (slice + 1).saturating_mul(every).saturating_add(midnight);
        next.min(end) - 1
    }

    /// The last millisecond of the day that a moment lies in.
    pub fn last_of_day(self, at: i64) -> i64 {
        self.midnights(at).1 - 1
    }

    /// The midnight before a moment, and the one after it. Where clocks are put forward, ask a calendar.
    fn midnights(self, at: i64) -> (i64, i64) {
        const DAY: i64 = 86_400_000;
        let east = i64::from(self.utc_offset) * 3_600_000;
        let midnight = (at + east).div_euclid(DAY) * DAY - east;
        (midnight, midnight + DAY)
    }

    /// A day so far: when it began and until when this is, as the clocks of the place show it; views, unique visitors.
    pub fn row(self, day: Slice) -> (String, String, u64, u64) {
        let [midnight, until] = [day.midnight, day.until].map(|ms| self.text(ms));
        (midnight, until, day.views, day.visitors)
    }

    /// A moment as the clocks of the place show it.
    pub fn text(self, ms: i64) -> String {
        let time = Timestamp::from_millisecond(ms).unwrap_or_default();
        Offset::constant(self.utc_offset)
            .to_datetime(time)
            .to_string()
    }
}
