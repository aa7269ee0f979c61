//! Lines out of bytes, through one buffer.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// How much is read at a time.
pub(super) const BUFFER_BYTES: usize = 1024 * 1024;

/// Takes a file apart at its line ends, from an offset on. Allocates nothing but the buffer.
///
/// A line ends with `\n` or `\r\n`, which are not part of it, or with the file (as in [`str::lines`]).
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    /// As long as it is large; `unread..filled` has been read from the file and not yet passed.
    buffer: Vec<u8>,
    unread: usize,
    filled: usize,
    /// Of `unread`, in the file.
    offset: u64,
    ended: bool,
    max_line_bytes: usize,
}

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum LinesError {
    Io(io::Error),
    TooLong,
}

impl Lines<File> {
    /// The lines that begin at or after `offset`.
    ///
    /// A line begins after a line end: so the search starts one byte before, and what comes up to the
    /// first line end belongs to the line before.
    pub fn open(
        mut file: File,
        offset: u64,
        buffer: Vec<u8>,
        max_line_bytes: usize,
    ) -> io::Result<Self> {
        let before = offset.saturating_sub(1);
        file.seek(SeekFrom::Start(before))?;
        let mut lines = Self::new(file, before, buffer, max_line_bytes);
        if offset > 0 {
            lines.pass_line_end()?;
        }
        Ok(lines)
    }
}

impl<R: Read> Lines<R> {
    fn new(input: R, offset: u64, mut buffer: Vec<u8>, max_line_bytes: usize) -> Self {
        if buffer.is_empty() {
            buffer.resize(BUFFER_BYTES, 0);
        }
        Self {
            input,
            buffer,
            unread: 0,
            filled: 0,
            offset,
            ended: false,
            max_line_bytes,
        }
    }

    /// Where the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The buffer, for another file.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next line, without its end; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LinesError> {
        let mut searched = 0;
        loop {
            let bytes = &self.buffer[self.unread + searched..self.filled];
            let end = memchr::memchr(b'\n', bytes);
            searched += end.unwrap_or(bytes.len());
            // Wherever the buffer ends: a line is too long or not.
            if searched > self.max_line_bytes {
                return Err(LinesError::TooLong);
            }
            if end.is_some() {
                let line = self.take(searched + 1);
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            if self.ended {
                return Ok((searched > 0).then(|| self.take(searched)));
            }
            self.fill().map_err(LinesError::Io)?;
        }
    }

    /// Passes everything up to the first line end, however far it is.
    fn pass_line_end(&mut self) -> io::Result<()> {
        loop {
            let bytes = &self.buffer[self.unread..self.filled];
            if let Some(at) = memchr::memchr(b'\n', bytes) {
                self.take(at + 1);
                return Ok(());
            }
            self.take(bytes.len());
            if self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, len: usize) -> &[u8] {
        let from = self.unread;
        self.unread += len;
        self.offset += len as u64;
        &self.buffer[from..self.unread]
    }

    /// Reads on behind what is unread; makes room by moving that to the front, or else by growing.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.unread..self.filled, 0);
        self.filled -= self.unread;
        self.unread = 0;
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    self.ended = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, buffer: usize, max: usize) -> Result<Vec<String>, LinesError> {
        let mut lines = Lines::new(text.as_bytes(), 0, vec![0; buffer], max);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(lines.offset(), text.len() as u64);
        Ok(found)
    }

    #[test]
    fn lines_are_those_of_the_standard_library_whatever_the_buffer() {
        for text in [
            "",
            "\n",
            "a",
            "a\r\nb",
            "\r\n\r\n",
            "a\r",
            "a\n\nlonger than the buffer\r\nb\n",
        ] {
            for buffer in 1..9 {
                let expected: Vec<&str> = text.lines().collect();
                assert_eq!(
                    lines(text, buffer, 100).unwrap(),
                    expected,
                    "{text:?} by {buffer}"
                );
            }
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_wherever_the_buffer_ends() {
        for buffer in 1..20 {
            for text in ["123456\n", "123456", "1\n123456\n1\n", "12345\r\n"] {
                let found = lines(text, buffer, 5);
                assert!(
                    matches!(found, Err(LinesError::TooLong)),
                    "{text:?} by {buffer}: {found:?}"
                );
            }
            for text in ["12345\n12345", "1234\r\n", "\n"] {
                assert!(lines(text, buffer, 5).is_ok(), "{text:?} by {buffer}");
            }
        }
    }
}
