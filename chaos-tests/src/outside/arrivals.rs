//! Files that come into a folder while a job runs.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rivus::Timestamp;

/// Files that lie ready under hidden names, and when each is moved to its place. Outlives a crash of the simulated
/// process, as the outside world does.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    /// From where to where, the last one first.
    files: Vec<(PathBuf, PathBuf)>,
    every: Duration,
    /// When the next one comes; none before somebody has looked.
    next: Option<Timestamp>,
}

impl Arrivals {
    /// One after the other, at this distance.
    pub fn new(mut files: Vec<(PathBuf, PathBuf)>, every: Duration) -> Self {
        files.reverse();
        Self(Mutex::new(Ahead {
            files,
            every,
            next: None,
        }))
    }

    /// Moves what has come by now to its place.
    ///
    /// # Errors
    /// If a file can't be moved.
    pub fn deliver(&self, now: Timestamp) -> io::Result<()> {
        let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = ahead.next.unwrap_or(now);
        while next <= now
            && let Some((from, to)) = ahead.files.pop()
        {
            std::fs::rename(from, to)?;
            next += ahead.every.as_millis().max(1) as Timestamp;
        }
        ahead.next = Some(next);
        Ok(())
    }
}
