//! Parts of files, and how files are cut into them.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::place::Place;
use super::source_error::FileSourceError;

/// The lines that begin in a range of a file's bytes, and how far they have been read.
///
/// A line belongs to the split in which it *begins*: the reader of a split that starts in the middle of a
/// line leaves that line to the split before, and reads its own last line beyond its end. A packed file is
/// one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.FileSplit")]
pub struct FileSplit {
    /// The file.
    pub path: PathBuf,
    /// The range's first byte.
    pub start: u64,
    /// How long the file was when it was looked at last.
    pub len: u64,
    /// The byte after the range; `u64::MAX` in a packed file, whose length isn't known before its end.
    pub end: u64,
    /// Where the next line begins; before the first read the range's start, which may lie within a line.
    pub offset: u64,
    /// How many lines of the file lie before `offset`; `None` in splits that don't start at its head.
    pub lines_before: Option<u64>,
    /// How the file is packed. If it is, `offset` counts unpacked bytes.
    pub compression: Option<Compression>,
}

impl FileSplit {
    /// Cuts a file of `len` bytes into splits of `split_bytes`, the last of which may be shorter.
    pub(super) fn cut(path: &Path, len: u64, split_bytes: u64) -> impl Iterator<Item = Self> {
        (0..len.div_ceil(split_bytes)).map(move |part| {
            let start = part * split_bytes;
            Self {
                path: path.to_owned(),
                start,
                len,
                end: start.saturating_add(split_bytes).min(len),
                offset: start,
                lines_before: (start == 0).then_some(0),
                compression: None,
            }
        })
    }

    /// A file of `len` bytes that can't be entered in the middle.
    pub(super) fn packed(path: &Path, len: u64, compression: Compression) -> Self {
        Self {
            path: path.to_owned(),
            start: 0,
            len,
            end: u64::MAX,
            offset: 0,
            lines_before: Some(0),
            compression: Some(compression),
        }
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

    /// The file can't be read at `offset`.
    pub(super) fn unreadable(&self, source: io::Error) -> FileSourceError {
        let path = || self.path.clone();
        let found_here = source.raw_os_error().is_none();
        let broken = self.compression.is_some() && found_here;
        match source.kind() {
            io::ErrorKind::UnexpectedEof if found_here => FileSourceError::CutOff { path: path() },
            _ if broken => FileSourceError::Damaged {
                path: path(),
                source,
            },
            _ => FileSourceError::Read {
                place: self.next_place(),
                source,
            },
        }
    }

    /// The file is as long as that now. Its last split has what is new, a packed one in itself. False if nothing is.
    pub(super) fn grow(&mut self, found: u64) -> bool {
        let grown = found > self.len;
        if grown && self.end == self.len {
            self.end = found;
        }
        self.len = found;
        grown
    }

    /// Moves past some lines and their ends.
    pub(super) fn pass(&mut self, next: u64, lines: u64) {
        self.offset = next;
        self.lines_before = self.lines_before.map(|before| before + lines);
    }
}
