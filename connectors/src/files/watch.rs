//! A folder or glob that is looked at again and again.
//!
//! What was found is in the job's log; so a new leader's watch is told of it and finds each file once. What is
//! only known here is how long a file that wasn't taken yet has stood still: a new leader begins to look anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rivus_core::{Discovered, SplitEnumerator, Timestamp, UserError};

use super::decode::LineDecoder;
use super::inputs::Inputs;
use super::source::FileSource;
use super::source_error::FileSourceError;
use super::split::FileSplit;

/// How a source watches.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// From one look to the next.
    pub interval: Duration,
    /// How long a file must have stood still.
    pub settle: Duration,
    /// The watch ends when this file is there.
    pub until: Option<PathBuf>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            settle: Duration::from_secs(1),
            until: None,
        }
    }
}

impl Watch {
    /// Whether a file may still be written when it is taken.
    pub fn may_grow(&self) -> bool {
        !self.settle.is_zero()
    }

    /// Refuses what can't be watched.
    pub fn check(&self, inputs: &Inputs) -> Result<(), FileSourceError> {
        if self.interval.is_zero() {
            let option = "the interval of watch";
            return Err(FileSourceError::Zero { option });
        }
        match inputs {
            Inputs::Paths(_) => Err(FileSourceError::NothingToWatch),
            Inputs::Glob(_) | Inputs::Folder(_) => Ok(()),
        }
    }
}

/// A file that wasn't taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    len: u64,
    changed: Option<SystemTime>,
    /// When it was first seen like this.
    since: Timestamp,
}

/// Finds the files that are new.
pub(super) struct Watching<D> {
    source: FileSource<D>,
    watch: Watch,
    taken: BTreeSet<PathBuf>,
    seen: BTreeMap<PathBuf, Sighting>,
}

impl<D: LineDecoder> Watching<D> {
    /// A watch that knows what was found before.
    pub fn new(source: FileSource<D>, watch: Watch, known: Vec<FileSplit>) -> Self {
        Self {
            source,
            watch,
            taken: known.into_iter().map(|split| split.path).collect(),
            seen: BTreeMap::new(),
        }
    }

    /// Whether a file, as it looks now, has stood still for long enough.
    fn is_still(&mut self, path: &PathBuf, found: &fs::Metadata, now: Timestamp) -> bool {
        let sighting = Sighting {
            len: found.len(),
            changed: found.modified().ok(),
            since: now,
        };
        let before = self.seen.get(path);
        let since = before
            .filter(|before| (before.len, before.changed) == (sighting.len, sighting.changed))
            .map_or(now, |before| before.since);
        self.seen
            .insert(path.clone(), Sighting { since, ..sighting });
        let still = u128::try_from(now.saturating_sub(since)).unwrap_or(0);
        still >= self.watch.settle.as_millis()
    }
}

impl<D: LineDecoder> SplitEnumerator for Watching<D> {
    type Split = FileSplit;

    fn interval(&self) -> Duration {
        self.watch.interval
    }

    fn discover(&mut self, now: Timestamp) -> Result<Discovered<FileSplit>, UserError> {
        let marker = self.watch.until.clone();
        // Looked for first: what was there before it is in the list.
        let last = marker.as_ref().is_some_and(|marker| marker.exists());
        let mut splits = Vec::new();
        let mut there = BTreeSet::new();
        for path in self.source.inputs.list()? {
            if self.taken.contains(&path) || marker.as_ref() == Some(&path) {
                continue;
            }
            // It may have been moved away since.
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            if found.len() == 0 {
                continue;
            }
            if self.is_still(&path, &found, now) || last {
                splits.extend(self.source.cut(&path, found.len()));
                self.taken.insert(path);
            } else {
                there.insert(path);
            }
        }
        self.seen.retain(|path, _| there.contains(path));
        Ok(Discovered { splits, last })
    }
}
