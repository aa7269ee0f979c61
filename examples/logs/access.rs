//! Lines of an access log, and the days that they lie in.

use anyhow::{Result, bail};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// When a page was asked for, in milliseconds since the epoch, and by whom.
pub fn parse(line: &str) -> Result<(i64, String)> {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [ip, "-", "-", time, zone, _request] = words[..] else {
        bail!("expected `IP - - TIME ZONE METHOD PATH`");
    };
    let at = Timestamp::strptime("%d/%m/%Y:%H:%M:%S %z", format!("{time} {zone}"))?;
    Ok((at.as_millisecond(), ip.to_owned()))
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

/// How time is divided: at each midnight, and in slices from there on.
#[derive(Clone, Copy)]
pub struct Days {
    /// Milliseconds.
    pub every: i64,
    /// From Greenwich to the site.
    pub offset: Offset,
}

impl Days {
    /// The last millisecond of the slice that a moment lies in.
    pub fn last_of_slice(self, at: i64) -> i64 {
        let (midnight, next) = self.midnights(at);
        let slice = (at - midnight) / self.every;
        next.min(midnight + (slice + 1) * self.every) - 1
    }

    /// The midnight before a moment, and the one after it. Where clocks are put forward, ask a calendar.
    pub fn midnights(self, at: i64) -> (i64, i64) {
        const DAY: i64 = 86_400_000;
        let east = i64::from(self.offset.seconds()) * 1_000;
        let midnight = (at + east).div_euclid(DAY) * DAY - east;
        (midnight, midnight + DAY)
    }

    /// A moment as the clocks of the site show it.
    pub fn text(self, ms: i64) -> String {
        let time = Timestamp::from_millisecond(ms).unwrap_or_default();
        self.offset.to_datetime(time).to_string()
    }
}
