//! Why files can't be written.

use std::io;
use std::path::PathBuf;

use rivus_core::{Failure, UserError};
use thiserror::Error;

/// What went wrong with which file, and the mend.
#[derive(Debug, Error)]
pub enum FileSinkError {
    /// A name that would make files elsewhere, or none.
    #[error("{option} {given:?} of the files in {}: it must not be empty or hold a /", dir.display())]
    Name {
        /// Which option.
        option: &'static str,
        /// Its value.
        given: String,
        /// Where the files were to be.
        dir: PathBuf,
    },
    /// A directory that can't be made, listed or synced.
    #[error("cannot use the directory {}: check the space on the disk and that it may be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A part that can't be written.
    #[error("cannot write {}: check the space on the disk and that the directory may be written", path.display())]
    Write {
        /// The part.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A record that can't be formatted.
    #[error("cannot format a record as {format}: mend its Serialize")]
    Format {
        /// The format's name.
        format: &'static str,
        /// The serializer's reason.
        #[source]
        source: UserError,
    },
    /// A record that isn't made of columns.
    #[error("cannot make the columns of a Parquet file of {record}")]
    Columns {
        /// The record's type.
        record: &'static str,
        /// The field, and the mend.
        #[source]
        source: UserError,
    },
    /// A record whose columns have no names.
    #[error("cannot write the header of a CSV file for a record")]
    Header {
        /// The field, and the mend.
        #[source]
        source: UserError,
    },
    /// A file whose end makes it whole.
    #[error(
        "the files in {} are whole only once they are closed, and can't stay open over checkpoints: set \
         RollingPolicy::on_checkpoint", dir.display()
    )]
    CannotStayOpen {
        /// Where the files were to be.
        dir: PathBuf,
    },
    /// A file that is packed inside.
    #[error("the files in {} are packed inside: leave compressed(..) out", dir.display())]
    PackedTwice {
        /// Where the files were to be.
        dir: PathBuf,
    },
    /// A part that stays open over checkpoints, of a writer that is no more.
    #[error(
        "{} stays open over checkpoints and there are fewer writers than before: give the sink its \
         parallelism back, or close files at checkpoints (RollingPolicy::on_checkpoint) before lowering it",
        path.display()
    )]
    Retired {
        /// The part.
        path: PathBuf,
    },
    /// The part that a checkpoint left open can't be read.
    #[error("cannot go on with {}, which the checkpoint left open: resume from a later checkpoint", path.display())]
    Restore {
        /// The part.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A part is shorter than what was synced.
    #[error(
        "{} has {found} bytes but {expected} were written and synced: \
         the file system lost them; resume from an earlier checkpoint", path.display()
    )]
    Truncated {
        /// The part.
        path: PathBuf,
        /// How long it was.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A part is to appear under a name that is taken.
    #[error(
        "{} exists already and isn't overwritten: move it away (does another job write here? \
         give each its own directory or prefix)", path.display()
    )]
    Taken {
        /// The name.
        path: PathBuf,
    },
    /// A part that was prepared is nowhere.
    #[error(
        "neither {} nor {} exists: whoever moved or deleted the file must bring it back, \
         or the job resume from an earlier checkpoint", tmp.display(), committed.display()
    )]
    Lost {
        /// Where it was in progress.
        tmp: PathBuf,
        /// Where it was to appear.
        committed: PathBuf,
    },
    /// A part that was prepared can't be made visible.
    #[error("cannot rename {} to {}: check that the directory may be written", tmp.display(), committed.display())]
    Rename {
        /// Where it is.
        tmp: PathBuf,
        /// Where it is to appear.
        committed: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl FileSinkError {
    /// As it is told when a job is submitted: what says nothing against the directory, such as a full disk, may have passed at the
    /// next try.
    pub(super) fn into_refusal(self) -> UserError {
        use io::ErrorKind::{
            AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
            PermissionDenied, ReadOnlyFilesystem,
        };
        let may_pass = match &self {
            Self::Directory { source, .. } | Self::Write { source, .. } => !matches!(
                source.kind(),
                AlreadyExists
                    | InvalidFilename
                    | InvalidInput
                    | IsADirectory
                    | NotADirectory
                    | NotFound
                    | PermissionDenied
                    | ReadOnlyFilesystem
            ),
            _ => false,
        };
        let error: UserError = self.into();
        match may_pass {
            true => Failure::user(&error).into(),
            false => error,
        }
    }

    /// As the engine takes it: what a second try would meet again fails the job.
    pub(super) fn into_user_error(self) -> UserError {
        match self {
            Self::Name { .. }
            | Self::CannotStayOpen { .. }
            | Self::PackedTwice { .. }
            | Self::Format { .. }
            | Self::Columns { .. }
            | Self::Truncated { .. } => Failure::permanent(self).into(),
            _ => self.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such_and_may_have_room_in_a_moment() {
        let path = || PathBuf::from("out");
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        type Make = fn(PathBuf, io::Error) -> FileSinkError;
        let (write, directory): (Make, Make) = (
            |path, source| FileSinkError::Write { path, source },
            |path, source| FileSinkError::Directory { path, source },
        );
        for make in [write, directory] {
            let refusal = make(path(), full()).into_refusal();
            let message = refusal.downcast_ref::<Failure>().unwrap().message.as_str();
            assert!(message.contains("the space on the disk"), "{message}");
            assert!(message.ends_with("no storage space"), "{message}");
            assert!(!make(path(), denied()).into_refusal().is::<Failure>());
        }
    }
}
