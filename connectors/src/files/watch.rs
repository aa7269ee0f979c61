//! A folder or glob that is looked at again and again.
//!
//! What was found is in the job's log; so a new leader's watch is told of it and finds each file once. Of a file that has been
//! read the log keeps a number made of its path, or nothing where names say which files are new. Nothing else would do: a
//! file may be moved in with an old time of change, and one that was read may be touched. What is
//! only known here is how long a file that wasn't taken yet has stood still: a new leader begins to look anew.
//!
//! A file is known by its path from the root on, so that a source that spells its folder otherwise finds nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rivus_core::{
    Discovered, KnownSplits, Record, SplitEnumerator, SplitMemory, Timestamp, UserError, key_hash,
};

use super::inputs::Inputs;
use super::source_error::FileSourceError;

/// How a source goes on looking for files: the job reads those that are there, then each that comes, until it is canceled. A
/// `Duration` is a watch that looks so often.
///
/// Each file is read once, also through restarts and when the leader changes: what has been found is in the job's log, which grows
/// with every file by nine bytes, unless they come [in the order of their names](Self::in_order_of_names).
///
/// A file is known by its path: one that is replaced isn't read again, and what is appended to it later isn't read. How the path
/// is spelt makes no difference (`in`, `./in`, `in//`): it is taken from the root on, a relative one from the working
/// directory of the process that looks, so in another working directory `in` is another folder. Links aren't followed for that, nor
/// is `..`: under another of such names a file is read again.
///
/// A file is taken when it wasn't written to for a while ([`settle`](Self::settle)), or it is moved into the folder when it is
/// whole: under a name with a dot in front, or from another folder of the same file system.
///
/// ```
/// use rivus_connectors::{TextFileSource, Watch};
/// use std::time::Duration;
///
/// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
/// struct Trade { symbol: String, price: f64 }
///
/// let watch = Watch::every(Duration::from_secs(10)).settle(Duration::from_secs(30));
/// let trades = TextFileSource::glob("inbox/*.csv").csv::<Trade>().watch(watch);
/// ```
#[derive(Debug, Clone)]
pub struct Watch {
    pub(super) interval: Duration,
    pub(super) settle: Duration,
    pub(super) until: Option<PathBuf>,
    pub(super) by_name: bool,
}

impl From<Duration> for Watch {
    fn from(interval: Duration) -> Self {
        Self::every(interval)
    }
}

impl Watch {
    /// Looks so often, and takes what has stood still for a second.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            settle: Duration::from_secs(1),
            until: None,
            by_name: false,
        }
    }

    /// A file is taken when its length and its time of change have stood still for so long, as seen from one look to a later
    /// one; 1 s unless told otherwise. Zero takes files at first sight, for a folder that whole files are moved into.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// Says that files come in the order of their names: each new one has a name behind those of all before. A file that has still
    /// to stand still holds up those behind it, and one that is empty by the time a file behind it is taken is passed. Each is seen
    /// twice before it is taken. So the job remembers the last name and nothing else, however long it runs; a file that comes out of
    /// order is never read.
    ///
    /// ```
    /// use rivus_connectors::{TextFileSource, Watch};
    /// use std::time::Duration;
    ///
    /// // inbox/2024-03-01T00-15.csv and so on
    /// let watch = Watch::every(Duration::from_secs(10)).in_order_of_names();
    /// let arriving = TextFileSource::folder("inbox").watch(watch);
    /// ```
    #[must_use]
    pub fn in_order_of_names(mut self) -> Self {
        self.by_name = true;
        self
    }

    /// Ends the watch when there is such a file: what is there by then is read, and the source ends. The file itself isn't
    /// read.
    ///
    /// ```
    /// use rivus_connectors::{TextFileSource, Watch};
    /// use std::time::Duration;
    ///
    /// let watch = Watch::every(Duration::from_secs(10)).until("day/_DONE");
    /// let day = TextFileSource::folder("day").watch(watch);
    /// ```
    #[must_use]
    pub fn until(mut self, marker: impl Into<PathBuf>) -> Self {
        self.until = Some(marker.into());
        self
    }

    /// Whether a file may still be written when it is taken.
    pub(super) fn may_grow(&self) -> bool {
        !self.settle.is_zero()
    }

    /// Refuses what can't be watched.
    pub(super) fn check(&self, inputs: &Inputs) -> Result<(), FileSourceError> {
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

/// A source that cuts files into splits.
pub(super) trait CutsFiles: Send {
    /// A part of a file.
    type Split: Record;

    /// What there is to read.
    fn inputs(&self) -> &Inputs;

    /// A file's parts.
    ///
    /// # Errors
    /// If it isn't whole, as far as can be seen.
    fn cut(&self, path: &Path, len: u64) -> Result<Vec<Self::Split>, UserError>;

    /// The file that a part is of.
    fn path(split: &Self::Split) -> &Path;
}

/// Looks at a file that stands still and can't be cut, after which it is taken to be none.
const TRIES: u32 = 10;

/// A file that wasn't taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    len: u64,
    changed: Option<SystemTime>,
    /// When it was first seen like this.
    since: Timestamp,
    /// How often it could not be cut since.
    tried: u32,
}

/// Finds the files that are new.
pub(super) struct Watching<S> {
    source: S,
    watch: Watch,
    /// From where relative paths go on.
    base: PathBuf,
    /// The keys of all files that were taken, unless names say which are new.
    taken: BTreeSet<u64>,
    /// The last of them, by name.
    last: Option<PathBuf>,
    /// What was seen of others, by their paths as they were listed.
    seen: BTreeMap<PathBuf, Sighting>,
}

impl<S: CutsFiles> Watching<S> {
    /// A watch that knows what was found before.
    pub fn new(source: S, watch: Watch, known: KnownSplits<S::Split>) -> Self {
        let mut watching = Self {
            source,
            watch,
            base: std::env::current_dir().unwrap_or_default(),
            taken: known.keys,
            last: None,
            seen: BTreeMap::new(),
        };
        for split in known.splits {
            watching.take(watching.whole(S::path(&split)));
        }
        watching
    }

    /// A file's path from the root on, the same however the source's is spelt. What `..` means depends on the links before
    /// it, so it stays.
    fn whole(&self, path: &Path) -> PathBuf {
        self.base.join(path).components().collect()
    }

    fn take(&mut self, whole: PathBuf) {
        if !self.watch.by_name {
            self.taken.insert(key(&whole));
        }
        self.last = self.last.take().max(Some(whole));
    }

    fn is_taken(&self, whole: &PathBuf) -> bool {
        match self.watch.by_name {
            true => self.last.as_ref().is_some_and(|last| whole <= last),
            false => self.taken.contains(&key(whole)),
        }
    }

    /// Whether a file, as it looks now, has stood still for long enough.
    fn is_still(&mut self, path: &PathBuf, found: &fs::Metadata, now: Timestamp) -> bool {
        let sighting = Sighting {
            len: found.len(),
            changed: found.modified().ok(),
            since: now,
            tried: 0,
        };
        let is_same = |before: &&mut Sighting| {
            (before.len, before.changed) == (sighting.len, sighting.changed)
        };
        let since = match self.seen.get_mut(path).filter(is_same) {
            Some(before) => before.since,
            None => {
                self.seen.insert(path.clone(), sighting);
                now
            }
        };
        let still = u128::try_from(now.saturating_sub(since)).unwrap_or(0);
        still >= self.watch.settle.as_millis()
    }

    /// A file's parts; none if it can't be cut yet, unless this is the last look.
    fn cut(
        &mut self,
        path: &Path,
        len: u64,
        last: bool,
    ) -> Result<Option<Vec<S::Split>>, UserError> {
        match (self.source.cut(path, len), self.seen.get_mut(path)) {
            (Ok(splits), _) => Ok(Some(splits)),
            (Err(_), Some(seen)) if seen.tried + 1 < TRIES && !last => {
                seen.tried += 1;
                Ok(None)
            }
            (Err(refused), _) => Err(refused),
        }
    }
}

impl<S: CutsFiles> SplitEnumerator for Watching<S> {
    type Split = S::Split;

    fn interval(&self) -> Duration {
        self.watch.interval
    }

    fn discover(&mut self, now: Timestamp) -> Result<Discovered<S::Split>, UserError> {
        let marker = self.watch.until.clone();
        // Looked for first: what was there before it is in the list.
        let last = marker.as_ref().is_some_and(|marker| marker.exists());
        let marker = marker.map(|marker| self.whole(&marker));
        let mut splits = Vec::new();
        let mut there = BTreeSet::new();
        let mut in_order = true;
        for path in self.source.inputs().list()? {
            let whole = self.whole(&path);
            if self.is_taken(&whole) || marker.as_ref() == Some(&whole) {
                continue;
            }
            if path.to_str().is_none() {
                let shown = path.display();
                return Err(format!(
                    "{shown}: its name is not UTF-8, which a checkpoint can't hold: rename it"
                )
                .into());
            }
            let found = match fs::metadata(&path) {
                Ok(found) => found,
                // Moved away since.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if last => return Err(format!("{}: {error}", path.display()).into()),
                Err(_) => {
                    in_order &= !self.watch.by_name;
                    continue;
                }
            };
            if found.len() == 0 {
                continue;
            }
            // While a folder is listed a file may come, and be missed, before one that is seen: names say nothing of one look.
            let is_new = self.watch.by_name && !self.seen.contains_key(&path);
            let is_still = (self.is_still(&path, &found, now) && !is_new) || last;
            let cut = match is_still && in_order {
                true => self.cut(&path, found.len(), last)?,
                false => None,
            };
            if let Some(cut) = cut {
                splits.extend(cut);
                self.take(whole);
            } else {
                in_order &= !self.watch.by_name;
                there.insert(path);
            }
        }
        self.seen.retain(|path, _| there.contains(path));
        Ok(Discovered { splits, last })
    }

    fn memory(&self, split: &S::Split) -> SplitMemory {
        match self.watch.by_name {
            true => SplitMemory::Nothing,
            false => SplitMemory::Key(key(&self.whole(S::path(split)))),
        }
    }
}

/// By what a file is known again. That two of a million files have the same is as likely as one in thirty million.
fn key(path: &Path) -> u64 {
    key_hash(&*path.to_string_lossy())
}
