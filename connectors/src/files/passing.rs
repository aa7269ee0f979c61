//! Which errors of the system may pass by themselves.

use std::io::{self, ErrorKind};

/// Whether somebody has to do something before what failed can work: rights are given, a path is put right, a file is brought back.
/// A disk may get room, though, a network file system answer again, and an interrupted call be tried once more.
pub(super) fn wants_somebody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
    )
}
