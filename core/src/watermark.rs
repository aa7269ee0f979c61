//! Watermarks of several channels merged into one.

use serde::{Deserialize, Serialize};

use crate::event::{MIN_TIMESTAMP, Timestamp};

/// What one channel has asserted about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.ChannelTime")]
pub struct ChannelTime {
    /// The channel's watermark.
    pub watermark: Timestamp,
    /// Whether nobody should wait for it.
    pub idle: bool,
}

impl Default for ChannelTime {
    fn default() -> Self {
        Self {
            watermark: MIN_TIMESTAMP,
            idle: false,
        }
    }
}

/// What a merge has to tell the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// Nothing new.
    None,
    /// All active channels have reached this time.
    Watermark(Timestamp),
    /// No channel is active any more.
    Idle,
}

/// The minimum over the active channels; it never falls.
#[derive(Debug, Clone)]
pub struct WatermarkMerge {
    channels: Vec<ChannelTime>,
    merged: Timestamp,
    /// Whether the chain has heard that all are idle.
    idle: bool,
    /// Whether it hasn't heard yet that they are not any more.
    woke: bool,
}

impl WatermarkMerge {
    /// A merge that goes on from what a snapshot holds: channel by channel if their number is the same,
    /// else from the least of them.
    pub fn restore(channels: usize, times: &[ChannelTime]) -> Self {
        let channels = if times.len() == channels {
            times.to_vec()
        } else {
            let least = times.iter().map(|time| time.watermark).min();
            let time = ChannelTime {
                watermark: least.unwrap_or(MIN_TIMESTAMP),
                idle: false,
            };
            vec![time; channels]
        };
        // A snapshot says of no channel less than what all had reached.
        let merged = channels.iter().map(|time| time.watermark).min();
        Self {
            merged: merged.unwrap_or(MIN_TIMESTAMP),
            idle: false,
            // Those behind were told before the snapshot.
            woke: !channels.is_empty() && channels.iter().all(|time| time.idle),
            channels,
        }
    }

    /// What all active channels have reached.
    pub fn merged(&self) -> Timestamp {
        self.merged
    }

    /// What each channel has asserted, to be part of a snapshot. Of one that woke up behind the others it says
    /// what they had reached without it, or the clock would fall at a restore.
    pub fn channels(&self) -> Vec<ChannelTime> {
        let reached = |time: &ChannelTime| ChannelTime {
            watermark: time.watermark.max(self.merged),
            idle: time.idle,
        };
        self.channels.iter().map(reached).collect()
    }

    /// A watermark arrived; the channel is active.
    pub fn on_watermark(&mut self, channel: usize, watermark: Timestamp) -> TimeChange {
        let time = &mut self.channels[channel];
        time.watermark = time.watermark.max(watermark);
        time.idle = false;
        self.update()
    }

    /// The channel is idle until it sends something else.
    pub fn on_idle(&mut self, channel: usize) -> TimeChange {
        self.channels[channel].idle = true;
        self.update()
    }

    /// Records arrived; the channel is active.
    pub fn on_records(&mut self, channel: usize) {
        self.channels[channel].idle = false;
        self.wake();
    }

    fn wake(&mut self) {
        self.woke |= std::mem::take(&mut self.idle);
    }

    fn update(&mut self) -> TimeChange {
        let active = self.channels.iter().filter(|time| !time.idle);
        let Some(least) = active.map(|time| time.watermark).min() else {
            self.woke = false;
            // Say it once.
            return if std::mem::replace(&mut self.idle, true) || self.channels.is_empty() {
                TimeChange::None
            } else {
                TimeChange::Idle
            };
        };
        self.wake();
        // Where no record gets to, this is how one hears that it is to be waited for again.
        if std::mem::take(&mut self.woke) || least > self.merged {
            self.merged = self.merged.max(least);
            TimeChange::Watermark(self.merged)
        } else {
            TimeChange::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_active_channel_holds_the_clock() {
        let mut merge = WatermarkMerge::restore(2, &[]);
        assert_eq!(merge.on_watermark(0, 5), TimeChange::None);
        assert_eq!(merge.on_watermark(1, 3), TimeChange::Watermark(3));
        assert_eq!(merge.on_idle(1), TimeChange::Watermark(5));
        assert_eq!(merge.on_idle(0), TimeChange::Idle);
        assert_eq!(merge.on_idle(0), TimeChange::None);
        // One that wakes up behind the others doesn't turn the clock back.
        assert_eq!(merge.on_watermark(1, 4), TimeChange::Watermark(5));
        assert_eq!(merge.on_watermark(1, 4), TimeChange::None);
        assert_eq!(merge.merged(), 5);
        assert_eq!(WatermarkMerge::restore(2, &merge.channels()).merged(), 5);
        assert_eq!(merge.on_watermark(1, 9), TimeChange::Watermark(9));
    }

    #[test]
    fn whoever_was_told_of_idleness_is_told_of_its_end() {
        let mut merge = WatermarkMerge::restore(1, &[]);
        assert_eq!(merge.on_watermark(0, 5), TimeChange::Watermark(5));
        assert_eq!(merge.on_idle(0), TimeChange::Idle);
        merge.on_records(0);
        assert_eq!(merge.on_watermark(0, 5), TimeChange::Watermark(5));
        assert_eq!(merge.on_watermark(0, 5), TimeChange::None);
        assert_eq!(merge.on_idle(0), TimeChange::Idle);
        merge.on_records(0);
        assert_eq!(merge.on_idle(0), TimeChange::Idle);
        // Also if it was told before a restore.
        let mut merge = WatermarkMerge::restore(1, &merge.channels());
        merge.on_records(0);
        assert_eq!(merge.on_watermark(0, 5), TimeChange::Watermark(5));
    }

    #[test]
    fn another_number_of_channels_goes_on_from_the_least() {
        let times = [7, 3].map(|watermark| ChannelTime {
            watermark,
            idle: true,
        });
        assert_eq!(WatermarkMerge::restore(3, &times).merged(), 3);
    }
}
