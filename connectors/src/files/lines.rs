//! Lines out of bytes, through one buffer.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::compression::Input;

/// How much is read at a time: what a core's nearer caches hold, so that lines are taken apart where they were copied to.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// Takes a file apart at its line ends, from an offset on. Allocates nothing but the buffer.
///
/// A line ends with `\n` or `\r\n`, which are not part of it, or with the file (as in [`str::lines`]); unless the file may
/// grow, for then such a line is one that was cut off.
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
    /// Whether a line goes on in the next one while a quote is open.
    multiline: bool,
    /// Whether a line needs an end.
    ended_only: bool,
}

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum LinesError {
    Io(io::Error),
    TooLong,
}

impl Lines<Input> {
    /// The lines that begin at or after `offset`.
    ///
    /// A line begins after a line end: so the search starts one byte before, and what comes up to the
    /// first line end belongs to the line before.
    pub fn open(
        mut file: File,
        offset: u64,
        buffer: Vec<u8>,
        max_line_bytes: usize,
        may_grow: bool,
    ) -> io::Result<Self> {
        let before = offset.saturating_sub(1);
        file.seek(SeekFrom::Start(before))?;
        let mut lines = Self::new(Input::Plain(file), before, buffer, max_line_bytes);
        lines.ended_only = may_grow;
        if offset > 0 {
            lines.pass_line_end()?;
        }
        Ok(lines)
    }
}

impl<R: Read> Lines<R> {
    /// The lines of an input that stands at `offset`, where a line begins.
    pub fn new(input: R, offset: u64, mut buffer: Vec<u8>, max_line_bytes: usize) -> Self {
        if buffer.is_empty() {
            // Comes zeroed from the system, and is touched only as far as it is filled.
            buffer = vec![0; BUFFER_BYTES];
        }
        Self {
            input,
            buffer,
            unread: 0,
            filled: 0,
            offset,
            ended: false,
            max_line_bytes,
            multiline: false,
            ended_only: false,
        }
    }

    /// Whether a line goes on in the next one while a quote is open.
    pub fn multiline(mut self, multiline: bool) -> Self {
        self.multiline = multiline;
        self
    }

    /// Passes at most `max` bytes, and not many at once; returns how many, none at the end of the file.
    pub fn pass(&mut self, max: u64) -> io::Result<u64> {
        if self.unread == self.filled {
            self.fill()?;
        }
        let ahead = self.filled - self.unread;
        let passed = usize::try_from(max).map_or(ahead, |max| max.min(ahead));
        self.take(passed);
        Ok(passed as u64)
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
        let mut quoted = false;
        loop {
            let bytes = &self.buffer[self.unread + searched..self.filled];
            let end = memchr::memchr(b'\n', bytes);
            let passed = end.unwrap_or(bytes.len());
            if self.multiline {
                quoted ^= memchr::memchr_iter(b'"', &bytes[..passed]).count() % 2 == 1;
            }
            searched += passed;
            // Wherever the buffer ends: a line is too long or not.
            if searched > self.max_line_bytes {
                return Err(LinesError::TooLong);
            }
            if end.is_some() && quoted {
                searched += 1;
                continue;
            }
            if end.is_some() {
                let line = self.take(searched + 1);
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)));
            }
            if self.ended {
                if self.ended_only && searched > 0 {
                    return Err(LinesError::Io(io::ErrorKind::UnexpectedEof.into()));
                }
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
                return match self.ended_only {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(()),
                };
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
    fn a_line_goes_on_while_a_quote_is_open_wherever_the_buffer_ends() {
        let text = "a,\"b\nc\"\r\n\"\"\"\n\",d\n\ne,\"f\n";
        for buffer in 1..20 {
            let mut lines = Lines::new(text.as_bytes(), 0, vec![0; buffer], 100).multiline(true);
            let mut found = Vec::new();
            while let Some(line) = lines.next_line().unwrap() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
            let expected = ["a,\"b\nc\"", "\"\"\"\n\",d", "", "e,\"f\n"];
            assert_eq!(found, expected, "by {buffer}");
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
