//! Makes prepared parts visible.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rivus_core::{Committer, UserError};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, create_directory, sync_directory};
use super::part::remove;
use super::sink_error::FileSinkError;

/// A closed part, synced, that a commit renames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "rivus.FileCommittable")]
pub struct FileCommittable {
    /// Where it was written, and lies until it is committed, or a savepoint names it.
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

    fn keep(&self, committable: &FileCommittable) -> Result<(), UserError> {
        committable.keep().map_err(FileSinkError::into_user_error)
    }
}

fn decide(closed: Fact, committed: Fact, len: u64) -> Decision {
    match (closed, committed) {
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

/// What somebody else has moved is not an error: it is looked for again.
fn moved(renamed: io::Result<()>) -> io::Result<bool> {
    match renamed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl FileCommittable {
    fn commit(&self) -> Result<(), FileSinkError> {
        let (tmp, committed) = (self.tmp.clone(), self.committed.clone());
        loop {
            let (decision, closed) = self.observe().map_err(|source| self.failed(source))?;
            match decision {
                Decision::Done => break,
                // A savepoint may keep it just now, or another worker commit it.
                Decision::Rename => {
                    self.make_folder()?;
                    let renamed = moved(fs::rename(&closed, &committed));
                    if renamed.map_err(|source| self.failed(source))? {
                        break;
                    }
                }
                Decision::Truncated { found } => {
                    let expected = self.len;
                    return Err(FileSinkError::Truncated {
                        path: closed,
                        expected,
                        found,
                    });
                }
                Decision::Taken => return Err(FileSinkError::Taken { path: committed }),
                Decision::Lost => return Err(FileSinkError::Lost { tmp, committed }),
            }
        }
        if let Some(replaced) = &self.replaces {
            remove(replaced).map_err(|source| self.failed(source))?;
        }
        self.sync_directories()
    }

    /// Gives it a name that no restart removes. Where there is none of it, it has that name already or is committed.
    fn keep(&self) -> Result<(), FileSinkError> {
        let kept = moved(fs::rename(&self.tmp, Layout::prepared(&self.tmp)));
        match kept.map_err(|source| self.failed(source))? {
            true => sync_parent(&self.tmp),
            false => Ok(()),
        }
    }

    /// What is to be done, and where the part lies until it is committed. It only ever moves on, from being in progress by being
    /// kept to being committed, and is looked for in this order.
    fn observe(&self) -> io::Result<(Decision, PathBuf)> {
        let before = look(&self.committed)?;
        let mut path = self.tmp.clone();
        let mut closed = look(&path)?;
        if closed == Fact::Absent {
            path = Layout::prepared(&path);
            closed = look(&path)?;
        }
        // Renamed since the first look, it must not pass for lost.
        let committed = match closed {
            Fact::Absent => look(&self.committed)?,
            Fact::Present { .. } => before,
        };
        Ok((decide(closed, committed, self.len), path))
    }

    /// A folder that it is to appear in, beside which it was written.
    fn make_folder(&self) -> Result<(), FileSinkError> {
        match self.committed.parent() {
            Some(folder) if self.tmp.parent() != Some(folder) => create_directory(folder),
            _ => Ok(()),
        }
    }

    /// Both names: with both of them there after a power cut nobody could tell which counts.
    fn sync_directories(&self) -> Result<(), FileSinkError> {
        sync_parent(&self.committed)?;
        match self.tmp.parent() == self.committed.parent() {
            true => Ok(()),
            false => sync_parent(&self.tmp),
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

fn sync_parent(path: &Path) -> Result<(), FileSinkError> {
    sync_directory(path.parent().unwrap_or(Path::new(".")))
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
        for (closed, committed, decision) in [
            (present(9), absent, Decision::Rename),
            (absent, present(9), Decision::Done),
            (present(9), present(9), Decision::Taken),
            (absent, present(8), Decision::Taken),
            (present(8), absent, Decision::Truncated { found: 8 }),
            (absent, absent, Decision::Lost),
        ] {
            let decided = decide(closed, committed, 9);
            assert_eq!(decided, decision, "{closed:?} {committed:?}");
        }
    }
}
