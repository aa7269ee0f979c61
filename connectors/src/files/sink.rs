//! A sink whose files appear whole and only once.
//!
//! ```text
//! <dir>/
//!   <prefix>-<job>-<subtask>-<sequence>.<ext>                     committed: whole, final, never changed again
//!   <folder>/<prefix>-<job>-<subtask>-<sequence>.<ext>            the same, of a sink that is partitioned
//!   .<prefix>-<job>-<subtask>-<sequence>-<attempt>.inprogress     hidden: written, or prepared and not committed
//!   .<prefix>-<job>-<subtask>-<sequence>-<attempt>.prepared       hidden: the same, and a savepoint names it
//! ```
//!
//! Whoever reads the committed files only sees each record once and none missing. `<job>` is twelve hex digits that stand for the
//! job ([`JobId::short`](rivus_core::JobId::short)), so that several may write into one directory, at once or one after the
//! other, and each has its own files (ADR 16). A part's life:
//!
//! 1. A *writer* creates it in progress at its first record; so there are no empty parts. Each subtask
//!    numbers its parts. No two attempts ever write to one file: its attempt is in the name.
//! 2. The rolling policy, or the last barrier, closes it: flushed, synced, and at the next barrier handed
//!    over as a committable `{tmp, committed, len}`. A part that stays open over a barrier is synced and
//!    goes into the writer's state `{job, subtask, sequence, open: {path, committed, valid_len}}`.
//!    If that is for a savepoint of a job that goes on, all that is not committed is renamed: it is the savepoint's then.
//! 3. When the checkpoint is durable the *committer* renames it and syncs the directory. Again after a
//!    recovery: if the committed name exists and the other doesn't, that was done.
//!
//! After a recovery a writer copies the valid beginning of the open part into a file of its own attempt:
//! a zombie may still hold the old one. It leaves the old one in place, since the next recovery may be
//! from the same checkpoint; the commit of the copy removes it. A job that goes on from another one's
//! savepoint copies that one's open part, too, numbers its files on behind that one's, and makes visible what
//! the savepoint had prepared, under that one's names; but it removes nothing, since the other job may still
//! run, or be gone on from again. Who may delete what:
//!
//! - a writer: its job's and subtask's parts in progress of earlier attempts, with numbers that the restored
//!   checkpoint doesn't cover (`>= sequence`), except the one the checkpoint left open; if it begins without a
//!   state of its own, all of earlier attempts;
//! - a committer: the part that the committed one replaces;
//! - nobody: committed parts, what a savepoint may name, and whatever is another job's. What jobs that are over have left hidden may be deleted by hand.
//!
//! A partitioned sink has a part open for each of several folders. All are written in the directory itself, under numbers that
//! no other part of the subtask has, and come into their folders when they are committed. They are closed at every barrier,
//! so that none is ever in a writer's state.
//!
//! A packed part is a row of frames (gzip members, Zstandard frames), of which one ends at each barrier, so that
//! `valid_len` is always where a frame ends. A format whose parts are whole only at their end, as Parquet's with
//! its footer, closes them at every barrier: no part of it is ever in a writer's state.
//!
//! One sink of a job writes under a prefix in a directory: two of one program are refused, and a part in
//! progress is never overwritten. The directory must be one file system that every machine of the
//! job sees under the same path.
//!
//! A sink whose parts stay open over checkpoints can't go on with fewer writers: nobody would close the
//! parts of those that are no more. It says so.

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::sync::Arc;

use rivus_core::{Committer, ParallelInstance, Record, Sink, Timestamp, UserError};
use serde::Serialize;

use super::committer::{FileCommittable, FileCommitter};
use super::compression::Compression;
use super::format::{self, AnyFormat};
use super::layout::Layout;
use super::part::{FolderOf, Making};
use super::rolling::RollingPolicy;
use super::sink_error::FileSinkError;
use super::writer::{FileWriter, FileWriterState, OpenPart};

/// Writes records to files that appear whole, exactly once.
///
/// A subtask's files are `<dir>/<prefix>-<job>-<subtask>-<sequence>.<extension>`, where `<job>` is [`JobId::short`](rivus_core::JobId::short), twelve digits that
/// stand for the job: several jobs, or several runs of one program, may write into one directory, and each adds its own files beside
/// the others'. The directory is made if it is missing. Files in progress are hidden (their names start with a dot); those of
/// jobs that are over may be deleted.
///
/// ```
/// use rivus_connectors::{FileSink, RollingPolicy};
///
/// let words = FileSink::<String>::lines("out/words");
/// let pairs = FileSink::lines_with("out/pairs", |(word, times): &(String, u64)| format!("{word} {times}"));
/// let table = FileSink::<(String, u64)>::csv("out/table")
///     .prefix("counts")
///     .rolling(RollingPolicy { max_bytes: 1 << 30, on_checkpoint: false });
/// ```
pub struct FileSink<T> {
    dir: PathBuf,
    prefix: String,
    extension: String,
    rolling: RollingPolicy,
    format: AnyFormat<T>,
    compression: Option<Compression>,
    folder: Option<FolderOf<T>>,
}

impl<T> FileSink<T> {
    /// Each record as a line, as [`Display`] shows it (`part-<job>-0-0.txt`). A line end in it makes two lines.
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// let words = FileSink::<String>::lines("out/words");
    /// ```
    pub fn lines(dir: impl Into<PathBuf>) -> Self
    where
        T: Display + 'static,
    {
        Self::of(dir, "txt", format::display())
    }

    /// Each record as a line that a function makes of it (`part-<job>-0-0.txt`).
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// let pairs = FileSink::lines_with("out/pairs", |(word, times): &(String, u64)| format!("{word} {times}"));
    /// ```
    pub fn lines_with<S: Display>(
        dir: impl Into<PathBuf>,
        show: impl Fn(&T) -> S + Send + Sync + 'static,
    ) -> Self
    where
        T: 'static,
    {
        Self::of(dir, "txt", format::shown(show))
    }

    /// Each record as CSV, without a header (`part-<job>-0-0.csv`). The record is a struct or tuple of fields.
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// let table = FileSink::<(String, u64)>::csv("out/table");
    /// ```
    pub fn csv(dir: impl Into<PathBuf>) -> Self
    where
        T: Serialize + 'static,
    {
        Self::of(dir, "csv", format::csv(false))
    }

    /// As [`csv`](Self::csv); each file begins with the names of the struct's fields, those of nested structs
    /// joined by dots (`key,window.start,window.end,value`). Tuples have no names: such records, and lists
    /// and maps inside of records, fail the attempt.
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Views { page: String, times: u64 }
    ///
    /// let table = FileSink::<Views>::csv_with_header("out/views"); // begins with page,times
    /// ```
    pub fn csv_with_header(dir: impl Into<PathBuf>) -> Self
    where
        T: Serialize + 'static,
    {
        Self::of(dir, "csv", format::csv(true))
    }

    /// Each record as a line of JSON (`part-<job>-0-0.jsonl`).
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    /// struct Views { page: String, times: u64 }
    ///
    /// let views = FileSink::<Views>::json_lines("out/views"); // {"page":"/","times":7}
    /// ```
    pub fn json_lines(dir: impl Into<PathBuf>) -> Self
    where
        T: Serialize + 'static,
    {
        Self::of(dir, "jsonl", format::json())
    }

    pub(super) fn of(dir: impl Into<PathBuf>, extension: &str, format: AnyFormat<T>) -> Self {
        let dir: PathBuf = dir.into();
        Self {
            // An empty path has no name that the system knows.
            dir: if dir.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                dir
            },
            prefix: "part".to_owned(),
            extension: extension.to_owned(),
            rolling: RollingPolicy::default(),
            format,
            compression: None,
            folder: None,
        }
    }

    /// Names files so, instead of `part`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Ends files' names so, without the dot.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Closes files by another policy.
    ///
    /// ```
    /// use rivus_connectors::{FileSink, RollingPolicy};
    ///
    /// // As few files as can be: each is seen when it holds a gigabyte, or at the end.
    /// let archive = FileSink::<String>::lines("archive")
    ///     .prefix("day")
    ///     .extension("log")
    ///     .rolling(RollingPolicy { max_bytes: 1 << 30, on_checkpoint: false });
    /// ```
    pub fn rolling(mut self, policy: RollingPolicy) -> Self {
        self.rolling = policy;
        self
    }

    /// Packs files; their names get another extension (`part-<job>-0-0.csv.gz`). Sources read them as they are. A
    /// file that stays open over checkpoints is a row of gzip members or Zstandard frames, which every tool unpacks as
    /// one. [`RollingPolicy::max_bytes`] counts packed bytes, those that the packer holds back not included.
    ///
    /// ```
    /// use rivus_connectors::{Compression, FileSink};
    ///
    /// let words = FileSink::<String>::lines("out/words").compressed(Compression::Zstd); // part-<job>-0-0.txt.zst
    /// ```
    pub fn compressed(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Puts each record into a folder of the directory, which a function names by the record and its event time, in milliseconds since
    /// the epoch; with a `/` between one folder and the next. Folders are made as they are needed. Each has files of its own, closed at every checkpoint; beyond
    /// 64 at a time the one that was written to least lately is closed before.
    ///
    /// ```
    /// use rivus_connectors::FileSink;
    ///
    /// // out/day=19675/hour=9/part-<job>-0-0.txt
    /// let clicks = FileSink::<String>::lines("out").partitioned_by(|_click, ts| {
    ///     let hours = ts / 3_600_000;
    ///     format!("day={}/hour={}", hours / 24, hours % 24)
    /// });
    /// ```
    pub fn partitioned_by(
        mut self,
        folder: impl Fn(&T, Timestamp) -> String + Send + Sync + 'static,
    ) -> Self {
        self.folder = Some(Arc::new(folder));
        self
    }

    /// Refuses settings that don't go together.
    fn usable(&self) -> Result<(), FileSinkError> {
        let dir = || self.dir.clone();
        if self.folder.is_some() && !self.rolling.on_checkpoint {
            return Err(FileSinkError::FoldersStayOpen { dir: dir() });
        }
        match &self.format {
            AnyFormat::Closed(_) if !self.rolling.on_checkpoint => {
                Err(FileSinkError::CannotStayOpen { dir: dir() })
            }
            AnyFormat::Closed(_) if self.compression.is_some() => {
                Err(FileSinkError::PackedTwice { dir: dir() })
            }
            AnyFormat::Closed(format) => format.check(),
            AnyFormat::Lines(_) => Ok(()),
        }
    }

    fn layout(&self, instance: ParallelInstance) -> Result<Layout, FileSinkError> {
        for (option, given) in [("prefix", &self.prefix), ("extension", &self.extension)] {
            if given.is_empty() || given.contains(std::path::is_separator) {
                return Err(FileSinkError::Name {
                    option,
                    given: given.clone(),
                    dir: self.dir.clone(),
                });
            }
        }
        Ok(Layout {
            dir: self.dir.clone(),
            prefix: self.prefix.clone(),
            extension: match self.compression {
                None => self.extension.clone(),
                Some(packed) => format!("{}.{}", self.extension, packed.extension()),
            },
            job: instance.job.short(),
            subtask: instance.index,
            has_folders: self.folder.is_some(),
        })
    }
}

impl<T> Clone for FileSink<T> {
    fn clone(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            prefix: self.prefix.clone(),
            extension: self.extension.clone(),
            rolling: self.rolling,
            format: self.format.clone(),
            compression: self.compression,
            folder: self.folder.clone(),
        }
    }
}

impl<T> fmt::Debug for FileSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("dir", &self.dir)
            .field("prefix", &self.prefix)
            .field("extension", &self.extension)
            .field("rolling", &self.rolling)
            .field("compression", &self.compression)
            .field("has_folders", &self.folder.is_some())
            .finish_non_exhaustive()
    }
}

impl<T: Record> Sink for FileSink<T> {
    type In = T;
    type State = FileWriterState;
    type Committable = FileCommittable;
    type Writer = FileWriter<T>;

    fn writer(
        &self,
        instance: ParallelInstance,
        state: Option<FileWriterState>,
    ) -> Result<FileWriter<T>, UserError> {
        let making = Making {
            format: self.format.clone(),
            compression: self.compression,
            folder: self.folder.clone(),
        };
        self.usable()
            .and_then(|()| self.layout(instance))
            .and_then(|layout| FileWriter::start(layout, making, self.rolling, instance, state))
            .map_err(FileSinkError::into_user_error)
    }

    fn check(&self) -> Result<(), UserError> {
        self.usable()?;
        self.layout(ParallelInstance::ALONE)?;
        Ok(())
    }

    fn prepare(&self) -> Result<(), UserError> {
        let tried = self
            .layout(ParallelInstance::ALONE)
            .and_then(|layout| layout.try_out());
        tried.map_err(FileSinkError::into_refusal)
    }

    fn target(&self) -> Option<String> {
        // One directory goes by many names; this sees through `./` and relative ones.
        let dir = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        let parts = dir.join(format!("{}-*", self.prefix));
        Some(parts.display().to_string())
    }

    fn retire(&self, state: FileWriterState) -> Result<(), UserError> {
        match state.open {
            None => Ok(()),
            Some(OpenPart { path, .. }) => Err(FileSinkError::Retired { path }.into_user_error()),
        }
    }

    fn committer(&self) -> Option<Arc<dyn Committer<FileCommittable>>> {
        Some(Arc::new(FileCommitter))
    }
}
