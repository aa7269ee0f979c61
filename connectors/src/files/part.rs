//! A file in progress.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rivus_core::Event;

use super::committer::FileCommittable;
use super::format::Format;
use super::sink_error::FileSinkError;
use super::writer::OpenPart;

/// How many bytes are gathered before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// The file that a writer fills, and the bytes it hasn't written yet.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    pub sequence: u64,
    /// Bytes in the file.
    written: u64,
    bytes: Vec<u8>,
    /// The part of an earlier attempt whose beginning was copied.
    replaces: Option<PathBuf>,
}

impl Part {
    /// Begins an empty one. Its name is nobody else's: if there is such a file, another sink writes here.
    pub fn create(path: PathBuf, sequence: u64) -> Result<Self, FileSinkError> {
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
            replaces: None,
        })
    }

    /// Begins one with what a checkpoint knows to be in `open`, found at `source`. That file stays as it
    /// is: its attempt may still write to it, and another recovery from the same checkpoint needs it.
    pub fn resume(
        path: PathBuf,
        sequence: u64,
        open: &OpenPart,
        source: &Path,
    ) -> Result<Self, FileSinkError> {
        let unreadable = |error| FileSinkError::Restore {
            path: open.path.clone(),
            source: error,
        };
        let from = File::open(source).map_err(unreadable)?;
        let found = from.metadata().map_err(unreadable)?.len();
        if found < open.valid_len {
            return Err(FileSinkError::Truncated {
                path: source.to_owned(),
                expected: open.valid_len,
                found,
            });
        }
        let mut part = Self::create(path, sequence)?;
        let copied = io::copy(&mut from.take(open.valid_len), &mut part.file);
        part.written = copied.map_err(|source| part.failed(source))?;
        part.replaces = Some(open.path.clone());
        Ok(part)
    }

    /// Appends records until the part holds `enough` bytes; returns how many, one at least.
    pub fn append<T>(
        &mut self,
        run: &[Event<T>],
        format: &dyn Format<T>,
        enough: u64,
    ) -> Result<usize, FileSinkError> {
        let head = self.len() == 0;
        let room = usize::try_from(enough.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let appended = format.append(run, head, room.min(BUFFER_BYTES), &mut self.bytes)?;
        if self.bytes.len() >= BUFFER_BYTES {
            self.write()?;
        }
        Ok(appended)
    }

    /// How long it is.
    pub fn len(&self) -> u64 {
        self.written + self.bytes.len() as u64
    }

    /// Makes durable what it holds; its name is made durable with the directory.
    pub fn sync(&mut self) -> Result<(), FileSinkError> {
        self.write()?;
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    /// Closes it, to be committed under its final name.
    pub fn close(mut self, committed: PathBuf) -> Result<FileCommittable, FileSinkError> {
        self.sync()?;
        Ok(FileCommittable {
            tmp: self.path,
            committed,
            len: self.written,
            replaces: self.replaces,
        })
    }

    /// What a checkpoint must know of it. Call after [`sync`](Self::sync).
    pub fn open_part(&self) -> OpenPart {
        OpenPart {
            path: self.path.clone(),
            valid_len: self.written,
        }
    }

    fn write(&mut self) -> Result<(), FileSinkError> {
        let written = self.file.write_all(&self.bytes);
        written.map_err(|source| self.failed(source))?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
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
