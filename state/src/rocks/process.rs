//! A process's own directory: its stores, and the images of them.
//!
//! ```text
//! <directory>/rivus.lock                       locked while a process comes or clears up
//! <directory>/rivus.coming                     the directory of a process that comes, until it has an owner
//! <directory>/rivus-<pid>-<number>/owner       locked as long as the process lives
//!                                 /<attempt>/<operator>/...     a store
//!                                 /image-<number>/...           hard links to files that a store had once
//! ```
//!
//! The operating system unlocks what a process had locked when it dies, however it does. So whoever comes next sees which
//! directories nobody owns any more, and removes them. One gets its name when it has its owner, so what has such a name
//! and no owner, or another name, is somebody else's.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
            let own = directory.join(format!("rivus-{process}-{number}"));
            if !fs::exists(&own)? {
                break own;
            }
            number += 1;
        };
        // There may be one of a process that died just here.
        let unnamed = directory.join("rivus.coming");
        fs::create_dir_all(&unnamed)?;
        let owner = File::create(unnamed.join(OWNER))?;
        owner.lock()?;
        fs::rename(&unnamed, &own)?;
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

/// Whether a directory has the name of a process's own: `rivus-<pid>-<number>`.
fn is_of_a_process(name: &OsStr) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.to_str().and_then(|name| name.strip_prefix("rivus-"));
    let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// Removes directories whose owner is gone.
fn remove_abandoned(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(is_of_a_process) {
            continue;
        }
        let owner = match File::open(path.join(OWNER)) {
            Ok(owner) => owner,
            Err(_) => continue,
        };
        match owner.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Err(error) = fs::remove_dir_all(&path) {
            let directory = path.display();
            tracing::warn!(%directory, %error, "state of a process that is gone can't be removed");
        }
    }
    Ok(())
}
