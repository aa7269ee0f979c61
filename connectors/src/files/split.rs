//! Parts of files, and how files are cut into them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::Place;
use super::source_error::FileSourceError;

/// The lines that begin in a range of a file's bytes, and how far they have been read.
///
/// A line belongs to the split in which it *begins*: the reader of a split that starts in the middle of a
/// line leaves that line to the split before, and reads its own last line beyond its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSplit {
    /// The file.
    pub path: PathBuf,
    /// The range's first byte.
    pub start: u64,
    /// The byte after the range.
    pub end: u64,
    /// Where the next line begins; before the first read the range's start, which may lie within a line.
    pub offset: u64,
    /// How many lines of the file lie before `offset`; `None` in splits that don't start at its head.
    pub lines_before: Option<u64>,
}

impl FileSplit {
    /// Cuts a file of `len` bytes into splits of `split_bytes`, the last of which may be shorter.
    pub(super) fn cut(path: &Path, len: u64, split_bytes: u64) -> impl Iterator<Item = Self> {
        (0..len.div_ceil(split_bytes)).map(move |part| {
            let start = part * split_bytes;
            Self {
                path: path.to_owned(),
                start,
                end: start.saturating_add(split_bytes).min(len),
                offset: start,
                lines_before: (start == 0).then_some(0),
            }
        })
    }

    /// The place of the line that begins at `offset`.
    pub(super) fn next_place(&self) -> Place {
        Place {
            path: self.path.clone(),
            line: self.lines_before.map(|lines| lines + 1),
            byte: self.offset,
        }
    }

    /// The file is no longer as long as it was.
    pub(super) fn shrunk(&self, found: u64) -> FileSourceError {
        FileSourceError::Shrunk {
            path: self.path.clone(),
            planned: self.end,
            found,
        }
    }

    /// Moves past a line and its end.
    pub(super) fn pass(&mut self, next: u64) {
        self.offset = next;
        self.lines_before = self.lines_before.map(|lines| lines + 1);
    }
}
