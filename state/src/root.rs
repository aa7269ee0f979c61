//! The directory of a storage. It is made when the storage is opened, and never again: one that was deleted meanwhile, or whose mount
//! fell away, would come back empty with the next write, and to whoever looks into an empty storage there are no jobs. Only a write that
//! is under way as it vanishes may still leave folders in its place; that write is not told as done, and nothing is read from them.

use std::fs::{self, File};
use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::StorageError;
use crate::identity;

/// A directory as it was when it was opened.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    seen: Mutex<Seen>,
    /// Whether it has been told that it isn't there.
    told: AtomicBool,
}

/// By what the directory is known again.
#[derive(Debug)]
struct Seen {
    numbers: Numbers,
    /// What stands in its `id`, if anything does.
    id: Option<Bytes>,
}

/// Device and number. A disk that is mounted again has the same, a network's directory may have others.
#[cfg(unix)]
type Numbers = (u64, u64);
#[cfg(not(unix))]
type Numbers = ();

#[cfg(unix)]
fn numbers(path: &Path) -> io::Result<Numbers> {
    use std::os::unix::fs::MetadataExt;
    let directory = fs::metadata(path)?;
    Ok((directory.dev(), directory.ino()))
}

#[cfg(not(unix))]
fn numbers(path: &Path) -> io::Result<Numbers> {
    fs::metadata(path).map(drop)
}

impl Root {
    /// Creates the directory durably if need be, and makes sure that it can be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        open_directory(path)?;
        let path = path::absolute(path)?;
        let seen = Seen {
            numbers: numbers(&path)?,
            id: fs::read(path.join(identity::NAME)).ok().map(Bytes::from),
        };
        Ok(Self {
            seen: Mutex::new(seen),
            path,
            told: AtomicBool::new(false),
        })
    }

    /// Where it is, from the root of the file system.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// This stands in its `id`.
    pub(crate) fn known_by(&self, id: &Bytes) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.id = Some(id.clone());
    }

    /// Whether what is there now is the directory that was opened.
    fn is_same(&self, found: Numbers) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if found != seen.numbers {
            let id = fs::read(self.path.join(identity::NAME)).ok();
            if id.is_none() || id.as_deref() != seen.id.as_deref() {
                return false;
            }
            seen.numbers = found;
        }
        true
    }

    /// Refuses whatever is to be done if the directory isn't there any more, or is another one. It is told once, and again when it
    /// has been there meanwhile.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let is_there = match numbers(&self.path) {
            Ok(found) => self.is_same(found),
            // What else is wrong, whatever is to be done says itself.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        let was_told = self.told.swap(!is_there, Ordering::Relaxed);
        if is_there {
            return Ok(());
        }
        let vanished = StorageError::Vanished {
            path: self.path.clone(),
        };
        if !was_told {
            tracing::error!("{vanished}");
        }
        Err(vanished)
    }
}

/// Creates the directory durably, and makes sure that it can be written.
pub(crate) fn open_directory(path: &Path) -> io::Result<()> {
    let path = path::absolute(path)?;
    let new: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(&path)?;
    #[cfg(unix)]
    for parent in new.iter().filter_map(|dir| dir.parent()) {
        File::open(parent)?.sync_all()?;
    }
    // Files named so are scratch to the store: it never lists them.
    let scratch = path.join("writable#0");
    File::create(&scratch)?;
    match fs::remove_file(&scratch) {
        // Another process that opens the same directory was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
