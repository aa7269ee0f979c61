//! Reads splits of files.

use std::collections::VecDeque;
use std::fs::File;

use rivus_core::{Event, Failure, MIN_TIMESTAMP, ReadStatus, SourceReader, Timestamp, UserError};

use super::decode::LineDecoder;
use super::lines::{Lines, LinesError};
use super::place::Place;
use super::source::{FileSource, LineOptions};
use super::source_error::FileSourceError;
use super::split::FileSplit;

/// Reads the splits it is given one after the other, each from its offset on.
#[derive(Debug)]
pub struct FileReader<D> {
    source: FileSource<D>,
    /// The split that is being read; never a finished one between two calls.
    current: Option<OpenSplit>,
    waiting: VecDeque<FileSplit>,
    /// The last line of the split that was finished last.
    finished_at: Option<Place>,
    skipped: u64,
    /// Handed from split to split; empty while one is open.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct OpenSplit {
    split: FileSplit,
    lines: Lines<File>,
    /// Where the line that was read last begins.
    last_line: Option<u64>,
}

impl<D: LineDecoder> FileReader<D> {
    pub(super) fn new(source: FileSource<D>) -> Self {
        Self {
            source,
            current: None,
            waiting: VecDeque::new(),
            finished_at: None,
            skipped: 0,
            buffer: Vec::new(),
        }
    }

    /// Makes the next waiting split the current one, unless there is none.
    fn open_next(&mut self) -> Result<(), FileSourceError> {
        if let Some(split) = self.waiting.pop_front() {
            let buffer = std::mem::take(&mut self.buffer);
            self.current = Some(OpenSplit::open(split, buffer, self.source.options)?);
        }
        Ok(())
    }

    fn finish_current(&mut self) {
        if let Some(open) = self.current.take() {
            self.finished_at = open.last_place().or(self.finished_at.take());
            self.buffer = open.lines.into_buffer();
        }
    }
}

impl<D: LineDecoder> SourceReader for FileReader<D> {
    type Out = D::Out;
    type Split = FileSplit;

    fn add_split(&mut self, split: FileSplit) -> Result<(), UserError> {
        self.waiting.push_back(split);
        Ok(())
    }

    /// Skipped lines count as work: a long run of them doesn't hold up the subtask.
    fn read(
        &mut self,
        out: &mut Vec<Event<D::Out>>,
        max: usize,
        _now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let mut lines_left = max;
        loop {
            match &mut self.current {
                None if self.waiting.is_empty() => return Ok(ReadStatus::SplitsDone),
                Some(open) if open.at_end() => self.finish_current(),
                _ if lines_left == 0 => return Ok(ReadStatus::More),
                None => self.open_next().map_err(FileSourceError::into_user_error)?,
                Some(open) => {
                    lines_left -= 1;
                    match open.next_record(&self.source) {
                        Ok(Some(record)) => out.push(Event::at(MIN_TIMESTAMP, record)),
                        Ok(None) => self.skipped += 1,
                        Err(error) => return Err(open.refused(error)),
                    }
                }
            }
        }
    }

    fn snapshot(&self) -> Vec<FileSplit> {
        let current = self.current.iter().map(|open| &open.split);
        current.chain(&self.waiting).cloned().collect()
    }

    fn position(&self) -> Option<String> {
        let current = self.current.as_ref().and_then(OpenSplit::last_place);
        let place = current.or_else(|| self.finished_at.clone());
        place.map(|place| place.to_string())
    }

    fn skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}

impl OpenSplit {
    fn open(
        mut split: FileSplit,
        buffer: Vec<u8>,
        options: LineOptions,
    ) -> Result<Self, FileSourceError> {
        let (file, len) = open_file(&split)?;
        if len < split.end {
            return Err(split.shrunk(len));
        }
        let lines =
            Lines::open(file, split.offset, buffer, options.max_line_bytes).map_err(|source| {
                FileSourceError::Read {
                    place: split.next_place(),
                    source,
                }
            })?;
        let at_head = split.offset == 0;
        split.offset = lines.offset();
        let mut open = Self {
            split,
            lines,
            last_line: None,
        };
        if at_head && options.skip_header && !open.at_end() {
            open.next_line(options, |_, _| ())?;
        }
        Ok(open)
    }

    /// Whether no further line begins in the split.
    fn at_end(&self) -> bool {
        self.split.offset >= self.split.end
    }

    fn next_record<D: LineDecoder>(
        &mut self,
        source: &FileSource<D>,
    ) -> Result<Option<D::Out>, FileSourceError> {
        self.next_line(source.options, |line, split| {
            source
                .decoder
                .decode(line, source.options.lossy, || split.next_place())
        })?
    }

    /// Shows the next line to `see`, then moves past it.
    fn next_line<O>(
        &mut self,
        options: LineOptions,
        see: impl FnOnce(&[u8], &FileSplit) -> O,
    ) -> Result<O, FileSourceError> {
        let seen = match self.lines.next_line() {
            Ok(Some(line)) => see(line, &self.split),
            Ok(None) => return Err(self.split.shrunk(self.lines.offset())),
            Err(LinesError::TooLong) => {
                return Err(FileSourceError::TooLong {
                    place: self.split.next_place(),
                    limit: options.max_line_bytes,
                });
            }
            Err(LinesError::Io(source)) => {
                let place = self.split.next_place();
                return Err(FileSourceError::Read { place, source });
            }
        };
        self.last_line = Some(self.split.offset);
        self.split.pass(self.lines.offset());
        Ok(seen)
    }

    /// The error, as the engine takes it. A refused line is named by its number, which splits behind a file's
    /// first don't know as they read.
    fn refused(&self, mut error: FileSourceError) -> UserError {
        let place = match &mut error {
            FileSourceError::TooLong { place, .. } | FileSourceError::NotUtf8 { place, .. } => {
                place.count_lines();
                Some(place.clone())
            }
            FileSourceError::BadLine { bad } => self.last_place().map(|mut place| {
                place.count_lines();
                bad.place = place.to_string();
                place
            }),
            _ => None,
        };
        let failure = Failure::user(&error.into_user_error());
        failure.at(place.map(|place| place.to_string())).into()
    }

    fn last_place(&self) -> Option<Place> {
        Some(Place {
            path: self.split.path.clone(),
            line: self.split.lines_before,
            byte: self.last_line?,
        })
    }
}

fn open_file(split: &FileSplit) -> Result<(File, u64), FileSourceError> {
    File::open(&split.path)
        .and_then(|file| file.metadata().map(|found| (file, found.len())))
        .map_err(|source| FileSourceError::Open {
            path: split.path.clone(),
            source,
        })
}
