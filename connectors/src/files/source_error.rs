//! Why files can't be read.

use std::io;
use std::path::PathBuf;
use std::str::Utf8Error;

use rivus_core::{Failure, UserError};
use thiserror::Error;

use super::decode::BadLine;
use super::passing::wants_somebody;
use super::place::Place;

/// What went wrong with which file, and the mend.
///
/// What may pass by itself is tried again, by the job's restart strategy; what wants somebody fails the job at once:
///
/// | | tried again | fails the job |
/// |---|---|---|
/// | before the job begins: looking for files, options | | always: the job is refused |
/// | looking for new files while it runs ([`List`](Self::List), [`NoFolder`](Self::NoFolder) and whatever else a look meets) | ten looks in a row | the tenth |
/// | opening a file ([`Open`](Self::Open)) | too many open files, an I/O error, a network file system that is away | it is gone, no right to read it, no file |
/// | reading it ([`Read`](Self::Read)) | the same | no right to read it, no file |
/// | a file that is shorter than it was, packed and damaged or cut off, or no Parquet ([`Shrunk`](Self::Shrunk), [`Damaged`](Self::Damaged), [`CutOff`](Self::CutOff), [`Parquet`](Self::Parquet)) | | always |
/// | a line that can't be read ([`BadLine`](Self::BadLine), [`NotUtf8`](Self::NotUtf8), [`TooLong`](Self::TooLong), [`Header`](Self::Header)) | | always, unless bad lines are skipped or collected |
#[derive(Debug, Error)]
pub enum FileSourceError {
    /// A named file isn't there.
    #[error("no file {}: check the path and the directory the program was started in", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// A name stands for something that has no lines.
    #[error("{} is not a file: to read a directory's files, give a glob such as {}/*", path.display(), path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A glob names nothing.
    #[error(
        "no file matches {pattern}: check the pattern and the directory the program was started in"
    )]
    NoMatch {
        /// The glob.
        pattern: String,
    },
    /// A folder that isn't there.
    #[error("no folder {}: make it, or check the path and the directory the program was started in", path.display())]
    NoFolder {
        /// The folder as given.
        path: PathBuf,
    },
    /// A folder without files.
    #[error("no file in {}: check the path, or wait for files with watch(..)", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Files that were named one by one.
    #[error("watch(..) looks for new files: give the source a folder or a glob, or leave it out")]
    NothingToWatch,
    /// A glob that isn't one.
    #[error("{pattern} is not a glob: escape *, ? and [ as [*], [?] and [[]")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: glob::PatternError,
    },
    /// A list of files without files.
    #[error("the list of files to read is empty: name at least one")]
    NoPaths,
    /// An option that can't be.
    #[error("{option} is 0: give at least 1")]
    Zero {
        /// The option's name.
        option: &'static str,
    },
    /// A directory that a glob looks into.
    #[error("cannot list {}: check that it may be read", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that can't be opened.
    #[error("cannot open {}: check that it exists on this machine and may be read", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that can't be read.
    #[error("cannot read {place}: check the disk")]
    Read {
        /// Where.
        place: Place,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A packed file that stops in the middle.
    #[error("{} ends in the middle: it was cut off, copy it again", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// A packed file that can't be unpacked.
    #[error("cannot unpack {}: is it what its name says? if it is, copy it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// A file that isn't Parquet, or not of the records' columns.
    #[error("cannot read {} as Parquet: is it, and has it the columns of the record's fields?", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        #[source]
        source: UserError,
    },
    /// A first line that is no header.
    #[error("{place}: cannot read the header: {reason}")]
    Header {
        /// The line.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A format that no file can have.
    #[error("{reason}: give another")]
    Format {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The header would be passed before it could be read.
    #[error(
        "skip_header() passes the line that csv() takes the columns' names from: leave it out, or read by \
         order with CsvFormat::without_header()"
    )]
    HeaderSkipped,
    /// A file that was changed under the job.
    #[error(
        "{} shrank from {planned} to {found} bytes since it was planned: \
         files must stay as they are while a job reads them", path.display()
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// How long it has to be.
        planned: u64,
        /// How long it is.
        found: u64,
    },
    /// A line without end.
    #[error(
        "{place}: a line of more than {limit} bytes: is it text? raise max_line_bytes if it is"
    )]
    TooLong {
        /// Where it begins.
        place: Place,
        /// The limit.
        limit: usize,
    },
    /// Bytes that aren't text.
    #[error("{place}: not UTF-8: convert the file, or read it with lossy_utf8()")]
    NotUtf8 {
        /// The line.
        place: Place,
        /// Where in the line.
        #[source]
        source: Utf8Error,
    },
    /// A line that the parser refuses.
    #[error("{}: cannot parse {:?}: {}; mend the line, or skip or collect bad lines", bad.place, shortened(&bad.text), bad.error)]
    BadLine {
        /// The line.
        bad: BadLine,
    },
}

impl FileSourceError {
    /// As the engine takes it: what a second try would meet again fails the job.
    pub(super) fn into_user_error(self) -> UserError {
        match self {
            Self::Open { ref source, .. } | Self::Read { ref source, .. }
                if wants_somebody(source) =>
            {
                Failure::permanent(self).into()
            }
            Self::Shrunk { .. }
            | Self::CutOff { .. }
            | Self::Damaged { .. }
            | Self::Header { .. }
            | Self::TooLong { .. }
            | Self::NotUtf8 { .. }
            | Self::BadLine { .. } => Failure::permanent(self).into(),
            _ => self.into(),
        }
    }
}

/// A message stays one readable line however long the text is.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::FailureScope;

    use super::*;

    #[test]
    fn what_wants_somebody_fails_the_job_and_what_may_pass_is_tried_again() {
        use io::ErrorKind::{
            IsADirectory, NotFound, PermissionDenied, StaleNetworkFileHandle, TimedOut,
        };
        let path = || PathBuf::from("in/a.csv");
        let scopes = |kind: io::ErrorKind| {
            let place = Place {
                path: path(),
                line: None,
                byte: 7,
            };
            let open = FileSourceError::Open {
                path: path(),
                source: kind.into(),
            };
            let read = FileSourceError::Read {
                place,
                source: kind.into(),
            };
            [open, read].map(|error| {
                let failure = Failure::user(&error.into_user_error());
                assert!(failure.message.contains("in/a.csv"), "{failure}");
                failure.scope
            })
        };
        for kind in [PermissionDenied, NotFound, IsADirectory] {
            assert_eq!(scopes(kind), [FailureScope::Job; 2], "{kind}");
        }
        for kind in [StaleNetworkFileHandle, TimedOut] {
            assert_eq!(scopes(kind), [FailureScope::Attempt; 2], "{kind}");
        }
    }
}
