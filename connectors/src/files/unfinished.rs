//! Splits of watched files that somebody is still writing.
//!
//! A file stood still for a while, was taken, and ends in the middle of a line, or of what was packed: an upload paused, and
//! goes on. Such a split is set aside and looked at again until its file has grown, or has stood still for good. Then a line
//! without an end is the last one; and a packed file is cut off, since nothing can be made of a part of it.

use std::collections::VecDeque;
use std::time::Duration;

use rivus_core::Timestamp;

use super::inputs::length;
use super::source_error::FileSourceError;
use super::split::FileSplit;
use super::watch::Watch;

/// For how many looks at the folder a packed file that ends in the middle may stand still.
const PATIENCE: u32 = 10;

/// Those that were set aside.
#[derive(Debug, Default)]
pub(super) struct Unfinished(VecDeque<SetAside>);

#[derive(Debug)]
struct SetAside {
    split: FileSplit,
    /// Since when its file is as long as it is.
    since: Timestamp,
    again: Timestamp,
}

/// What has become of a split that was set aside.
#[derive(Debug)]
pub(super) enum Found {
    /// Its file has grown: it goes on.
    Grown(FileSplit),
    /// Its file stands still: what is there is all.
    Still(FileSplit),
    /// Nothing yet.
    Waiting,
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_add(Timestamp::try_from(time.as_millis()).unwrap_or(Timestamp::MAX))
}

impl Unfinished {
    /// Sets a split aside, as it is at this moment.
    pub fn set_aside(&mut self, split: FileSplit, watch: &Watch, now: Timestamp) {
        let again = later(now, watch.settle);
        let since = now;
        self.0.push_back(SetAside {
            split,
            since,
            again,
        });
    }

    /// Looks at the file of one that is due.
    pub fn look(&mut self, watch: &Watch, now: Timestamp) -> Result<Found, FileSourceError> {
        let Some(place) = self.0.iter().position(|aside| aside.again <= now) else {
            return Ok(Found::Waiting);
        };
        let Some(mut aside) = self.0.remove(place) else {
            return Ok(Found::Waiting);
        };
        if aside.split.grow(length(&aside.split.path)?) {
            return Ok(Found::Grown(aside.split));
        }
        if aside.split.compression.is_none() {
            return Ok(Found::Still(aside.split));
        }
        if now >= later(aside.since, watch.interval * PATIENCE) {
            let path = aside.split.path;
            return Err(FileSourceError::CutOff { path });
        }
        aside.again = later(now, watch.settle);
        self.0.push_back(aside);
        Ok(Found::Waiting)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.0.iter().map(|aside| aside.again).min()
    }

    pub fn splits(&self) -> impl Iterator<Item = &FileSplit> {
        self.0.iter().map(|aside| &aside.split)
    }
}
