//! A process's own directory: its stores, and the images of them.
//!
//! ```text
//! <directory>/rivus.lock                       locked while a process comes or clears up
//! <directory>/rivus-<pid>-<number>/owner       locked as long as the process lives
//!                                 /<attempt>/<operator>/...     a store
//!                                 /image-<number>/...           hard links to files that a store had once
//! ```
//!
//! The operating system unlocks what a process had locked when it dies, however it does. So whoever comes next sees which
//! directories nobody owns any more, and removes them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PREFIX: &str = "rivus-";
const OWNER: &str = "owner";

/// A directory that no other process uses; gone when the last store and the last image are.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) directory: PathBuf,
    images: AtomicU64,
    _owner: File,
}

impl Process {
    /// Makes a directory that no other backend has, of this process or another one.
    pub(super) fn begin(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let coming = File::create(directory.join("rivus.lock"))?;
        coming.lock()?;
        remove_abandoned(directory)?;
        let process = std::process::id();
        let mut number = 0;
        let own = loop {
            let own = directory.join(format!("{PREFIX}{process}-{number}"));
            match fs::create_dir(&own) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => break made.map(|()| own)?,
            }
        };
        let owner = File::create(own.join(OWNER))?;
        owner.lock()?;
        Ok(Self {
            directory: own,
            images: AtomicU64::new(0),
            _owner: owner,
        })
    }

    /// A place for an image that no other has.
    pub(super) fn place_for_image(&self) -> PathBuf {
        let number = self.images.fetch_add(1, Relaxed);
        self.directory.join(format!("image-{number}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Stores and images remove their own; what is left is only in the way.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes directories whose owner is gone.
fn remove_abandoned(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with(PREFIX)) || !path.is_dir() {
            continue;
        }
        let is_abandoned = match File::open(path.join(OWNER)) {
            Ok(owner) => match owner.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(error),
            },
            // It died before it had locked anything: whoever comes holds the other lock.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_abandoned && let Err(error) = fs::remove_dir_all(&path) {
            let directory = path.display();
            tracing::warn!(%directory, %error, "state of a process that is gone can't be removed");
        }
    }
    Ok(())
}
