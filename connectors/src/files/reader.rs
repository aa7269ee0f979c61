//! Reads splits of files.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivus_core::{Event, Failure, MIN_TIMESTAMP, ReadStatus, SourceReader, Timestamp, UserError};

use super::compression::Input;
use super::decode::{Decoded, Header, LineDecoder, LineLayout};
use super::inputs::length;
use super::lines::{Lines, LinesError};
use super::pace::Pace;
use super::place::Place;
use super::source::{FileSource, LineOptions};
use super::source_error::FileSourceError;
use super::split::FileSplit;
use super::unfinished::{Found, Unfinished};
use super::watch::Watch;

/// How much of a file is read to find its header, to begin with.
const HEADER_BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of lines that a run may have beyond its first line: large ones are not to fill the memory, nor hold up others.
const RUN_BYTES: u64 = 256 * 1024;

/// Reads the splits it is given one after the other, each from its offset on.
#[derive(Debug)]
pub struct FileReader<D> {
    source: FileSource<D>,
    /// None if lines are read as fast as can be.
    pace: Option<Pace>,
    /// The split that is being read; never a finished one between two calls.
    current: Option<OpenSplit>,
    waiting: VecDeque<FileSplit>,
    /// Of files that somebody is still writing.
    unfinished: Unfinished,
    /// The last line of the split that was finished last.
    finished_at: Option<Place>,
    skipped: u64,
    /// Handed from split to split; empty while one is open.
    buffer: Vec<u8>,
    /// What the first line of the file that was opened last says; splits of one file come one after the other.
    header: Option<(PathBuf, Arc<Header>)>,
}

#[derive(Debug)]
struct OpenSplit {
    split: FileSplit,
    lines: Lines<Input>,
    layout: LineLayout,
    header: Option<Arc<Header>>,
    /// Whether somebody may still be writing the file.
    may_grow: bool,
    /// Where the line that was read last begins, and its number.
    last_line: Option<(u64, Option<u64>)>,
}

impl<D: LineDecoder> FileReader<D> {
    pub(super) fn new(source: FileSource<D>, pace: Option<Pace>) -> Self {
        Self {
            source,
            pace,
            current: None,
            waiting: VecDeque::new(),
            unfinished: Unfinished::default(),
            finished_at: None,
            skipped: 0,
            buffer: Vec::new(),
            header: None,
        }
    }

    /// Makes the next split the current one, unless there is none.
    fn open_next(&mut self, now: Timestamp) -> Result<(), FileSourceError> {
        let watch = self.source.watch.clone();
        let may_grow = watch.as_ref().is_some_and(Watch::may_grow);
        if let Some(split) = self.waiting.pop_front() {
            return self.open(split, may_grow, now);
        }
        let Some(watch) = watch else {
            return Ok(());
        };
        match self.unfinished.look(&watch, now)? {
            Found::Grown(split) => self.open(split, may_grow, now),
            Found::Still(split) => self.open(split, false, now),
            Found::Waiting => Ok(()),
        }
    }

    /// Makes a split the current one; or sets it aside, if its file ends before its first line does.
    fn open(
        &mut self,
        split: FileSplit,
        may_grow: bool,
        now: Timestamp,
    ) -> Result<(), FileSourceError> {
        let aside = may_grow.then(|| split.clone());
        match (self.opened(split, may_grow), aside) {
            (Err(FileSourceError::CutOff { .. }), Some(split)) => self.set_aside(split, now),
            (opened, _) => self.current = Some(opened?),
        }
        Ok(())
    }

    fn opened(&mut self, split: FileSplit, may_grow: bool) -> Result<OpenSplit, FileSourceError> {
        let buffer = std::mem::take(&mut self.buffer);
        let layout = self.source.decoder.layout();
        let header = match layout.header {
            true => self.header_of(&split, may_grow)?,
            false => None,
        };
        let open = OpenSplit::open(split, buffer, self.source.options, layout, may_grow)?;
        Ok(OpenSplit { header, ..open })
    }

    fn set_aside(&mut self, split: FileSplit, now: Timestamp) {
        if let Some(watch) = &self.source.watch {
            self.unfinished.set_aside(split, watch, now);
        }
    }

    /// A line or what is packed was cut off. If the file may grow, the split waits for that; else that is the error.
    fn cut_off(&mut self, error: FileSourceError, now: Timestamp) -> Result<(), FileSourceError> {
        match (error, self.current.take()) {
            (FileSourceError::CutOff { .. }, Some(open)) if open.may_grow => {
                self.set_aside(open.split, now);
                self.buffer = open.lines.into_buffer();
                Ok(())
            }
            (error, open) => {
                self.current = open;
                Err(error)
            }
        }
    }

    /// What the first line of a split's file says, wherever the split begins; none of a file without lines.
    fn header_of(
        &mut self,
        split: &FileSplit,
        may_grow: bool,
    ) -> Result<Option<Arc<Header>>, FileSourceError> {
        let known = |(path, _): &&(PathBuf, Arc<Header>)| *path == split.path;
        if let Some((_, header)) = self.header.as_ref().filter(known) {
            return Ok(Some(Arc::clone(header)));
        }
        let head = FileSplit {
            start: 0,
            offset: 0,
            lines_before: Some(0),
            ..split.clone()
        };
        let options = LineOptions {
            skip_header: false,
            ..self.source.options
        };
        let layout = LineLayout {
            header: false,
            ..self.source.decoder.layout()
        };
        let place = head.next_place();
        let buffer = vec![0; HEADER_BUFFER_BYTES];
        let mut open = OpenSplit::open(head, buffer, options, layout, may_grow)?;
        let line = open.next_line(options, |line, _| line.to_vec());
        let line = line.map_err(|error| *error)?;
        let Some(line) = line else {
            return Ok(None);
        };
        let header = Arc::new(self.source.decoder.header(&line, place)?);
        self.header = Some((split.path.clone(), Arc::clone(&header)));
        Ok(Some(header))
    }

    fn finish_current(&mut self) {
        if let Some(open) = self.current.take() {
            self.finished_at = open.last_place().or(self.finished_at.take());
            self.buffer = open.lines.into_buffer();
            let mut split = open.split;
            let is_last = split.compression.is_none() && split.end == split.len;
            if open.may_grow && is_last && length(&split.path).is_ok_and(|found| split.grow(found))
            {
                self.waiting.push_front(split);
            }
        }
    }
}

impl<D: LineDecoder> FileReader<D> {
    /// Reads some lines, while there are any left to be read.
    fn read_lines(
        &mut self,
        out: &mut Vec<Event<D::Out>>,
        lines_left: &mut usize,
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let mut bytes = 0;
        loop {
            match &mut self.current {
                None if self.waiting.is_empty() => match self.unfinished.next() {
                    None => return Ok(ReadStatus::SplitsDone),
                    Some(again) if again > now => return Ok(ReadStatus::Later(again)),
                    Some(_) => self.next_split(now)?,
                },
                Some(open) if open.at_end() => self.finish_current(),
                _ if *lines_left == 0 || bytes >= RUN_BYTES => return Ok(ReadStatus::More),
                None => self.next_split(now)?,
                Some(open) if open.is_behind() => {
                    // However far the place is, others get their turns.
                    if let Err(error) = open.catch_up() {
                        let cut_off = self.cut_off(error, now);
                        cut_off.map_err(FileSourceError::into_user_error)?;
                    }
                    return Ok(ReadStatus::More);
                }
                Some(open) => {
                    *lines_left -= 1;
                    let from = open.lines.offset();
                    let record = open.next_record(&self.source);
                    bytes += open.lines.offset() - from;
                    match record {
                        Ok(Decoded::Record(record)) => out.push(Event::at(MIN_TIMESTAMP, record)),
                        Ok(Decoded::Skipped) => self.skipped += 1,
                        Ok(Decoded::Nothing) => {}
                        Err(error) => {
                            if let Err(error) = self.cut_off(*error, now) {
                                return Err(self.refused(error));
                            }
                        }
                    }
                }
            }
        }
    }

    fn next_split(&mut self, now: Timestamp) -> Result<(), UserError> {
        self.open_next(now)
            .map_err(FileSourceError::into_user_error)
    }

    /// The error, with the place of the line.
    fn refused(&self, error: FileSourceError) -> UserError {
        match &self.current {
            Some(open) => open.refused(error),
            None => error.into_user_error(),
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
        now: Timestamp,
    ) -> Result<ReadStatus, UserError> {
        let due = self.pace.as_mut().map_or(max, |pace| pace.due(now, max));
        let mut lines_left = due;
        let status = self.read_lines(out, &mut lines_left, now)?;
        let Some(pace) = &mut self.pace else {
            return Ok(status);
        };
        pace.read(due - lines_left);
        match (status, pace.next(now)) {
            (ReadStatus::More, next) if next > now => Ok(ReadStatus::Later(next)),
            (status, _) => Ok(status),
        }
    }

    fn snapshot(&self) -> Vec<FileSplit> {
        let current = self.current.iter().map(|open| &open.split);
        let unread = current.chain(&self.waiting);
        unread.chain(self.unfinished.splits()).cloned().collect()
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
        layout: LineLayout,
        may_grow: bool,
    ) -> Result<Self, FileSourceError> {
        let (file, len) = open_file(&split.path)?;
        if split.compression.is_none() && len < split.end {
            return Err(split.shrunk(len));
        }
        let (offset, limit) = (split.offset, options.max_line_bytes);
        let lines = match split.compression {
            None => Lines::open(file, offset, buffer, limit, may_grow),
            packed => Input::new(file, packed).map(|input| Lines::new(input, 0, buffer, limit)),
        };
        let lines = lines.map_err(|source| split.unreadable(source))?;
        let at_head = split.offset == 0;
        if split.compression.is_none() {
            split.offset = lines.offset();
        }
        let mut open = Self {
            split,
            lines: lines.multiline(layout.multiline),
            layout,
            header: None,
            may_grow,
            last_line: None,
        };
        if at_head && (options.skip_header || layout.header) && !open.at_end() {
            open.next_line(options, |_, _| ()).map_err(|error| *error)?;
        }
        Ok(open)
    }

    /// Whether no further line begins in the split.
    fn at_end(&self) -> bool {
        self.split.offset >= self.split.end
    }

    /// Whether a packed file has still to be unpacked up to the split's place.
    fn is_behind(&self) -> bool {
        self.lines.offset() < self.split.offset
    }

    /// Unpacks some of what has been read before.
    fn catch_up(&mut self) -> Result<(), FileSourceError> {
        let ahead = self.split.offset - self.lines.offset();
        let passed = self.lines.pass(ahead);
        match passed.map_err(|source| self.split.unreadable(source))? {
            0 => Err(FileSourceError::Shrunk {
                path: self.split.path.clone(),
                planned: self.split.offset,
                found: self.lines.offset(),
            }),
            _ => Ok(()),
        }
    }

    fn next_record<D: LineDecoder>(
        &mut self,
        source: &FileSource<D>,
    ) -> Result<Decoded<D::Out>, Box<FileSourceError>> {
        let header = self.header.take();
        let (decoder, lossy) = (&source.decoder, source.options.lossy);
        let decoded = self.next_line(source.options, |line, split| {
            decoder.decode(line, header.as_deref(), lossy, || split.next_place())
        });
        self.header = header;
        decoded?.unwrap_or(Ok(Decoded::Nothing))
    }

    /// Shows the next line to `see`, then moves past it. None at the end of a packed file.
    fn next_line<O>(
        &mut self,
        options: LineOptions,
        see: impl FnOnce(&[u8], &FileSplit) -> O,
    ) -> Result<Option<O>, Box<FileSourceError>> {
        let (seen, lines) = match self.lines.next_line() {
            Ok(Some(line)) => {
                let within = match self.layout.multiline {
                    true => memchr::memchr_iter(b'\n', line).count(),
                    false => 0,
                };
                (see(line, &self.split), 1 + within as u64)
            }
            Ok(None) if self.split.compression.is_some() => {
                self.split.end = self.split.offset;
                return Ok(None);
            }
            Ok(None) => return Err(Box::new(self.split.shrunk(self.lines.offset()))),
            Err(LinesError::TooLong) => {
                return Err(Box::new(FileSourceError::TooLong {
                    place: self.split.next_place(),
                    limit: options.max_line_bytes,
                }));
            }
            Err(LinesError::Io(source)) => return Err(Box::new(self.split.unreadable(source))),
        };
        let number = self.split.lines_before.map(|before| before + 1);
        self.last_line = Some((self.split.offset, number));
        self.split.pass(self.lines.offset(), lines);
        Ok(Some(seen))
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
        let (byte, line) = self.last_line?;
        Some(Place {
            path: self.split.path.clone(),
            line,
            byte,
        })
    }
}

fn open_file(path: &Path) -> Result<(File, u64), FileSourceError> {
    File::open(path)
        .and_then(|file| file.metadata().map(|found| (file, found.len())))
        .map_err(|source| FileSourceError::Open {
            path: path.to_owned(),
            source,
        })
}
