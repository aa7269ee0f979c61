//! Where a line stands, for people.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::lines::BUFFER_BYTES;

/// A line of a file: `access.log:1207`, or `access.log@byte 123456` where lines weren't counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line's number, from 1, if the lines before it were counted.
    pub line: Option<u64>,
    /// The line's first byte, from 0.
    pub byte: u64,
}

impl Place {
    /// Counts the lines before it, unless they were counted as they were read. Reads the file from its head on,
    /// so only for a line that ends the job; if that fails the byte has to do.
    pub(super) fn count_lines(&mut self) {
        if self.line.is_none() {
            self.line = self.lines_before().ok().map(|lines| lines + 1);
        }
    }

    fn lines_before(&self) -> io::Result<u64> {
        let mut before = File::open(&self.path)?.take(self.byte);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut lines = 0;
        loop {
            match before.read(&mut buffer) {
                Ok(0) => return Ok(lines),
                Ok(read) => lines += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}@byte {}", self.path.display(), self.byte),
        }
    }
}
