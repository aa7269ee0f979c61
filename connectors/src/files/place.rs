//! Where a line stands, for people.

use std::fmt;
use std::path::PathBuf;

/// A line of a file: `access.log:1207`, or `access.log@byte 123456` where lines weren't counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line's number, from 1, if every line before it was read by the same split.
    pub line: Option<u64>,
    /// The line's first byte, from 0.
    pub byte: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}@byte {}", self.path.display(), self.byte),
        }
    }
}
