//! Makes prepared parts visible.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rivus_core::{Committer, UserError};
use serde::{Deserialize, Serialize};

use super::layout::sync_directory;
use super::part::remove;
use super::sink_error::FileSinkError;

/// A closed part, synced, that a commit renames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.FileCommittable")]
pub struct FileCommittable {
    /// Where it was written.
    pub tmp: PathBuf,
    /// Where it is to appear.
    pub committed: PathBuf,
    /// How long it is.
    pub len: u64,
    /// The part of an earlier attempt that it replaces; nobody needs that one after the commit.
    pub replaces: Option<PathBuf>,
}

/// What the directory says about a committable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    /// The file isn't there.
    Absent,
    /// It is, with this length.
    Present { len: u64 },
}

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Not renamed yet.
    Rename,
    /// Renamed by an earlier commit.
    Done,
    /// Shorter than it was when it was synced.
    Truncated { found: u64 },
    /// The name belongs to another file.
    Taken,
    /// There is neither.
    Lost,
}

/// Renames parts.
pub(super) struct FileCommitter;

impl Committer<FileCommittable> for FileCommitter {
    fn commit(&self, committable: &FileCommittable) -> Result<(), UserError> {
        committable.commit().map_err(FileSinkError::into_user_error)
    }
}

fn decide(tmp: Fact, committed: Fact, len: u64) -> Decision {
    match (tmp, committed) {
        (Fact::Present { .. }, Fact::Present { .. }) => Decision::Taken,
        (Fact::Present { len: found }, Fact::Absent) if found != len => {
            Decision::Truncated { found }
        }
        (Fact::Present { .. }, Fact::Absent) => Decision::Rename,
        (Fact::Absent, Fact::Present { len: found }) if found != len => Decision::Taken,
        (Fact::Absent, Fact::Present { .. }) => Decision::Done,
        (Fact::Absent, Fact::Absent) => Decision::Lost,
    }
}

impl FileCommittable {
    fn commit(&self) -> Result<(), FileSinkError> {
        let (tmp, committed) = (self.tmp.clone(), self.committed.clone());
        match self.observe()? {
            Decision::Rename => self.rename()?,
            Decision::Done => {}
            Decision::Truncated { found } => {
                let expected = self.len;
                return Err(FileSinkError::Truncated {
                    path: tmp,
                    expected,
                    found,
                });
            }
            Decision::Taken => return Err(FileSinkError::Taken { path: committed }),
            Decision::Lost => return Err(FileSinkError::Lost { tmp, committed }),
        }
        if let Some(replaced) = &self.replaces {
            remove(replaced).map_err(|source| self.failed(source))?;
        }
        sync_directory(self.committed.parent().unwrap_or(Path::new(".")))
    }

    fn observe(&self) -> Result<Decision, FileSinkError> {
        let look = |path| look(path).map_err(|source| self.failed(source));
        let before = look(&self.committed)?;
        let tmp = look(&self.tmp)?;
        // Renamed between the two looks, it must not pass for lost.
        let committed = match tmp {
            Fact::Absent => look(&self.committed)?,
            Fact::Present { .. } => before,
        };
        Ok(decide(tmp, committed, self.len))
    }

    /// Another worker may be committing the same part.
    fn rename(&self) -> Result<(), FileSinkError> {
        match fs::rename(&self.tmp, &self.committed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            Err(error) if self.observe()? != Decision::Done => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: io::Error) -> FileSinkError {
        FileSinkError::Rename {
            tmp: self.tmp.clone(),
            committed: self.committed.clone(),
            source,
        }
    }
}

fn look(path: &Path) -> io::Result<Fact> {
    match fs::metadata(path) {
        Ok(found) => Ok(Fact::Present { len: found.len() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fact::Absent),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_decided_by_which_of_the_two_names_exists() {
        let (absent, present) = (Fact::Absent, |len| Fact::Present { len });
        for (tmp, committed, decision) in [
            (present(9), absent, Decision::Rename),
            (absent, present(9), Decision::Done),
            (present(9), present(9), Decision::Taken),
            (absent, present(8), Decision::Taken),
            (present(8), absent, Decision::Truncated { found: 8 }),
            (absent, absent, Decision::Lost),
        ] {
            assert_eq!(decide(tmp, committed, 9), decision, "{tmp:?} {committed:?}");
        }
    }
}
