//! A file in progress.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivus_core::{Event, Timestamp};

use super::committer::FileCommittable;
use super::compression::{Compression, Packer};
use super::format::{AnyFormat, ClosedPart, LineFormat};
use super::sink_error::FileSinkError;
use super::writer::OpenPart;

/// How many bytes are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// How a part comes to its bytes.
pub(super) struct Making<T> {
    pub format: AnyFormat<T>,
    pub compression: Option<Compression>,
    pub folder: Option<FolderOf<T>>,
}

/// Says to which folder a record goes that happened then.
pub(super) type FolderOf<T> = Arc<dyn Fn(&T, Timestamp) -> String + Send + Sync>;

/// The file that a writer fills, and the bytes it hasn't written yet.
///
/// A packed part is a row of frames: at each barrier over which it stays open one ends, so that what a
/// checkpoint covers can be unpacked, and gone on with, without what comes behind.
pub(super) struct Part<T> {
    file: File,
    path: PathBuf,
    pub sequence: u64,
    /// Bytes in the file.
    written: u64,
    /// As they are formatted, before they are packed.
    bytes: Vec<u8>,
    content: Content<T>,
    packer: Option<Packer>,
    /// The part of an earlier attempt that it takes the place of.
    replaces: Option<PathBuf>,
}

enum Content<T> {
    Lines {
        format: Arc<dyn LineFormat<T>>,
        /// Whether it holds a record.
        begun: bool,
    },
    Closed(Box<dyn ClosedPart<T>>),
    /// It has been finished.
    Finished,
}

impl<T> Part<T> {
    /// Begins an empty one. Its name is nobody else's: if there is such a file, another sink writes here.
    pub fn create(path: PathBuf, sequence: u64, making: &Making<T>) -> Result<Self, FileSinkError> {
        let content = match &making.format {
            AnyFormat::Lines(format) => Content::Lines {
                format: Arc::clone(format),
                begun: false,
            },
            AnyFormat::Closed(format) => Content::Closed(format.begin()?),
        };
        let file = File::create_new(&path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FileSinkError::Taken { path: path.clone() },
            _ => FileSinkError::Write {
                path: path.clone(),
                source,
            },
        })?;
        Ok(Self {
            file,
            path,
            sequence,
            written: 0,
            bytes: Vec::with_capacity(BUFFER_BYTES),
            content,
            packer: making.compression.map(Packer::new),
            replaces: None,
        })
    }

    /// Begins one with what a checkpoint knows to be in `open`. That file stays as it is: its attempt may still write to it, and
    /// another recovery from the same checkpoint needs it.
    pub fn copy(
        path: PathBuf,
        sequence: u64,
        open: &OpenPart,
        making: &Making<T>,
    ) -> Result<Self, FileSinkError> {
        let unreadable = |error| FileSinkError::Restore {
            path: open.path.clone(),
            source: error,
        };
        let (from, source) = open.find().map_err(unreadable)?;
        let found = from.metadata().map_err(unreadable)?.len();
        if found < open.valid_len {
            return Err(FileSinkError::Truncated {
                path: source,
                expected: open.valid_len,
                found,
            });
        }
        let mut part = Self::create(path, sequence, making)?;
        let copied = io::copy(&mut from.take(open.valid_len), &mut part.file);
        part.written = copied.map_err(|source| part.failed(source))?;
        if let Content::Lines { begun, .. } = &mut part.content {
            *begun = part.written > 0;
        }
        Ok(part)
    }

    /// Whoever commits it removes that one.
    pub fn replaces(&mut self, other: PathBuf) {
        self.replaces = Some(other);
    }

    /// Appends records until the part holds `enough` bytes; returns how many, one at least.
    pub fn append(&mut self, run: &[Event<T>], enough: u64) -> Result<usize, FileSinkError> {
        let room = usize::try_from(enough.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let appended = match &mut self.content {
            Content::Lines { format, begun } => {
                let head = !std::mem::replace(begun, true);
                format.append(run, head, room.min(BUFFER_BYTES), &mut self.bytes)?
            }
            Content::Closed(part) => {
                part.append(run, &mut self.bytes)?;
                run.len()
            }
            Content::Finished => 0,
        };
        if self.bytes.len() >= BUFFER_BYTES.min(room) {
            self.write()?;
        }
        Ok(appended)
    }

    /// How long it is, about: what a packed part, or one that is whole only at its end, still holds back is
    /// counted as far as it is known.
    pub fn len(&self) -> u64 {
        let held = match &self.content {
            Content::Closed(part) => part.held(),
            _ => 0,
        };
        self.written + self.bytes.len() as u64 + held
    }

    /// Makes durable what it holds; its name is made durable with the directory. What it holds then can be read,
    /// whatever comes behind it.
    pub fn sync(&mut self) -> Result<(), FileSinkError> {
        self.write()?;
        if let Some(packer) = &mut self.packer {
            let rest = packer.end().map_err(|source| self.failed(source))?;
            self.put(&rest)?;
        }
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    /// Closes it, to be committed under its final name.
    pub fn close(mut self, committed: PathBuf) -> Result<FileCommittable, FileSinkError> {
        let content = std::mem::replace(&mut self.content, Content::Finished);
        if let Content::Closed(part) = content {
            part.finish(&mut self.bytes)?;
        }
        self.sync()?;
        Ok(FileCommittable {
            tmp: self.path,
            committed,
            len: self.written,
            replaces: self.replaces,
        })
    }

    /// What a checkpoint must know of it. Call after [`sync`](Self::sync).
    pub fn open_part(&self, committed: PathBuf) -> OpenPart {
        OpenPart {
            path: self.path.clone(),
            committed,
            valid_len: self.written,
        }
    }

    fn write(&mut self) -> Result<(), FileSinkError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        match &mut self.packer {
            None => self.put(&bytes)?,
            Some(packer) => {
                let packed = packer.pack(&bytes).map_err(|source| self.failed(source))?;
                self.put(&packed)?;
            }
        }
        bytes.clear();
        self.bytes = bytes;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FileSinkError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| self.failed(source))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> FileSinkError {
        FileSinkError::Write {
            path: self.path.clone(),
            source,
        }
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
