//! Whoever reads a job's committed files while it runs and is killed.
//!
//! What a committed file holds when it is first seen it holds for ever: it is neither short for a moment, nor written anew,
//! nor taken back. So what was there at any moment is known by the order in which files appeared, and it was right if each
//! key's lines, in that order, are a first part of what they should be at last.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::{Folder, Part};
use crate::jobs::{Line, lines};

/// At each look the newest files are read again, so many of them; and one of the others.
const NEWEST: usize = 3;

/// Looks at the committed files of a job, again and again.
pub struct Observer {
    folder: Folder,
    read: fn(&Path) -> io::Result<Vec<Line>>,
    /// What files held when they were first seen, in the order in which they appeared.
    seen: Vec<(Part, Vec<u8>)>,
    appeared: Vec<Line>,
    /// Which of those seen is read again next.
    next: usize,
    wrong: Vec<String>,
}

impl Observer {
    /// Of the text files in a folder.
    pub fn of_texts(dir: PathBuf) -> Self {
        Self::new(Folder::alone(dir), lines)
    }

    /// Of a job's files in a folder, whose lines `read` finds.
    pub fn new(folder: Folder, read: fn(&Path) -> io::Result<Vec<Line>>) -> Self {
        Self {
            folder,
            read,
            seen: Vec::new(),
            appeared: Vec::new(),
            next: 0,
            wrong: Vec::new(),
        }
    }

    /// Looks at what has appeared, and whether what is known has stayed as it was.
    pub fn look(&mut self, now: Duration) {
        let newest = self.seen.len().saturating_sub(NEWEST);
        let mut again: Vec<usize> = (newest..self.seen.len()).collect();
        if newest > 0 {
            self.next = (self.next + 1) % newest;
            again.push(self.next);
        }
        self.look_at(&again, now);
    }

    /// Looks at all files for the last time. Returns all lines, in the order in which they appeared, and what was wrong.
    pub fn look_at_last(mut self, now: Duration) -> (Vec<Line>, Vec<String>) {
        let all: Vec<usize> = (0..self.seen.len()).collect();
        self.look_at(&all, now);
        (self.appeared, self.wrong)
    }

    fn look_at(&mut self, again: &[usize], now: Duration) {
        let there = match self.folder.parts() {
            Ok(there) => there,
            Err(error) => return self.wrong(now, &format!("the folder can't be read: {error}")),
        };
        let mut changed = Vec::new();
        for (at, (part, bytes)) in self.seen.iter().enumerate() {
            match there.get(part) {
                None => changed.push(format!("{part:?} was committed and is gone")),
                Some(path) if again.contains(&at) => match std::fs::read(path) {
                    Ok(now) if now == *bytes => {}
                    Ok(now) => changed.push(format!(
                        "{part:?} was committed with {} bytes and has others, {}",
                        bytes.len(),
                        now.len()
                    )),
                    Err(error) => changed.push(format!("{part:?} can't be read: {error}")),
                },
                Some(_) => {}
            }
        }
        for line in changed {
            self.wrong(now, &line);
        }
        for (part, path) in there {
            if !self.seen.iter().any(|(seen, _)| *seen == part) {
                self.first_seen(part, &path, now);
            }
        }
    }

    fn first_seen(&mut self, part: Part, path: &Path, now: Duration) {
        let found = std::fs::read(path).and_then(|bytes| Ok((bytes, (self.read)(path)?)));
        match found {
            Ok((bytes, lines)) => {
                self.seen.push((part, bytes));
                self.appeared.extend(lines);
            }
            Err(error) => self.wrong(now, &format!("{part:?} is committed and no whole: {error}")),
        }
    }

    /// One thing may be wrong at every look.
    fn wrong(&mut self, now: Duration, what: &str) {
        if self.wrong.len() < 10 {
            let ms = now.as_millis();
            self.wrong
                .push(format!("at {ms} ms, of the committed files: {what}"));
        }
    }
}
