//! Why files can't be written.

use std::io;
use std::path::PathBuf;

use rivus_core::{Failure, UserError};
use thiserror::Error;

use super::passing::wants_somebody;

/// What went wrong with which file, and the mend.
///
/// What may pass by itself is tried again, by the job's restart strategy; what wants somebody fails the job at once:
///
/// | | tried again | fails the job |
/// |---|---|---|
/// | making, listing or syncing the directory ([`Directory`](Self::Directory)) | no space, quota, an I/O error, a network file system that is away, the directory removed under the job | no right, read-only, no directory, a name that can't be |
/// | creating or writing a part ([`Write`](Self::Write)) | the same | the same |
/// | renaming one ([`Rename`](Self::Rename)) | the same | the same |
/// | going on with an open part ([`Restore`](Self::Restore)) | an I/O error | it is gone, or no right to read it |
/// | a part that is shorter than it was, or nowhere, or whose name is taken ([`Truncated`](Self::Truncated), [`Lost`](Self::Lost), [`Taken`](Self::Taken)) | | always |
/// | a record that can't be formatted, options that don't go together (all others) | | always |
///
/// When a job is submitted, its directory is tried: a full disk is waited for, for a while, and whatever else is wrong refuses the job.
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
    /// Files in folders, of which there may be any number.
    #[error(
        "the files in folders of {} can't stay open over checkpoints: set RollingPolicy::on_checkpoint",
        dir.display()
    )]
    FoldersStayOpen {
        /// Where the folders were to be.
        dir: PathBuf,
    },
    /// A folder that would be elsewhere, or hidden.
    #[error(
        "a record is to go to folder {given:?} of {}: that must be names with a / between one and the next, none of them \
         empty or with a dot as its first letter", dir.display()
    )]
    Folder {
        /// What the function gave.
        given: String,
        /// Where the folder was to be.
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
    #[error(
        "cannot go on with {}, which the checkpoint left open: bring it back as it was, and go on from the job's last \
         checkpoint; or go on from a savepoint that was made before", path.display()
    )]
    Restore {
        /// The part.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A part is shorter than what was synced.
    #[error(
        "{} has {found} bytes but {expected} were written and synced: the file system lost them, or somebody took \
         them out; bring it back as it was, and go on from the job's last checkpoint; or go on from a savepoint that \
         was made before", path.display()
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
        "{} exists already and isn't overwritten: move it away; then the job goes on from its last checkpoint",
        path.display()
    )]
    Taken {
        /// The name.
        path: PathBuf,
    },
    /// A part that was prepared is nowhere.
    #[error(
        "neither {} nor {} exists: whoever moved or deleted the file must bring it back; then the job goes on from its last \
         checkpoint", tmp.display(), committed.display()
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
        let may_pass = match &self {
            Self::Directory { source, .. } | Self::Write { source, .. } => !wants_somebody(source),
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
        let may_pass = match &self {
            // A directory that is gone is made again by the next attempt.
            Self::Directory { source, .. }
            | Self::Write { source, .. }
            | Self::Rename { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || !wants_somebody(source)
            }
            Self::Restore { source, .. } => !wants_somebody(source),
            _ => false,
        };
        match may_pass {
            true => self.into(),
            false => Failure::permanent(self).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::FailureScope;

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

    #[test]
    fn what_wants_somebody_fails_the_job_and_what_may_pass_is_tried_again() {
        use io::ErrorKind::{
            NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StaleNetworkFileHandle,
            StorageFull,
        };
        let path = || PathBuf::from("out/part");
        type Make = fn(PathBuf, io::Error) -> FileSinkError;
        let (directory, write, rename, restore): (Make, Make, Make, Make) = (
            |path, source| FileSinkError::Directory { path, source },
            |path, source| FileSinkError::Write { path, source },
            |tmp, source| {
                let committed = PathBuf::from("out/committed");
                FileSinkError::Rename {
                    tmp,
                    committed,
                    source,
                }
            },
            |path, source| FileSinkError::Restore { path, source },
        );
        let scope = |error: FileSinkError| {
            let failure = Failure::user(&error.into_user_error());
            assert!(failure.message.contains("out/"), "{failure}");
            assert!(!failure.message.contains('\n'), "{failure}");
            failure.scope
        };
        for make in [directory, write, rename] {
            let scope = |kind: io::ErrorKind| scope(make(path(), kind.into()));
            for kind in [StorageFull, StaleNetworkFileHandle, NotFound] {
                assert_eq!(scope(kind), FailureScope::Attempt, "{kind}");
            }
            for kind in [PermissionDenied, ReadOnlyFilesystem, NotADirectory] {
                assert_eq!(scope(kind), FailureScope::Job, "{kind}");
            }
        }
        let restored = |kind: io::ErrorKind| scope(restore(path(), kind.into()));
        assert_eq!(restored(NotFound), FailureScope::Job);
        assert_eq!(restored(StaleNetworkFileHandle), FailureScope::Attempt);
        for error in [
            FileSinkError::Taken { path: path() },
            FileSinkError::Lost {
                tmp: path(),
                committed: path(),
            },
        ] {
            assert_eq!(scope(error), FailureScope::Job);
        }
    }
}
