//! Names of parts; drawn in [`sink`](super::sink).

use std::fs;
use std::path::{Path, PathBuf};

use super::sink_error::FileSinkError;

/// Names the parts that one subtask of a job writes in a directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub dir: PathBuf,
    pub prefix: String,
    pub extension: String,
    /// [`JobId::short`](rivus_core::JobId::short).
    pub job: String,
    pub subtask: u32,
    /// Whether parts end up in folders of the directory.
    pub has_folders: bool,
}

/// The files of one subtask of a job that are in a directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sequence numbers of committed parts.
    pub committed: Vec<u64>,
    /// Of parts that a savepoint may name.
    pub prepared: Vec<u64>,
    /// Parts in progress.
    pub in_progress: Vec<InProgress>,
}

/// A part in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InProgress {
    pub path: PathBuf,
    pub sequence: u64,
    pub attempt: u32,
}

impl Layout {
    /// Where a part ends up: in the directory, or in a folder of it.
    pub fn committed(&self, folder: &str, sequence: u64) -> PathBuf {
        let (own, extension) = (self.own(), &self.extension);
        let name = format!("{own}-{sequence}.{extension}");
        match folder {
            "" => self.dir.join(name),
            folder => self.dir.join(folder).join(name),
        }
    }

    /// Where a part is written.
    pub fn in_progress(&self, sequence: u64, attempt: u32) -> PathBuf {
        let own = self.own();
        self.dir
            .join(format!(".{own}-{sequence}-{attempt}.inprogress"))
    }

    /// What becomes of the name of a closed part that a savepoint names.
    pub fn prepared(in_progress: &Path) -> PathBuf {
        in_progress.with_extension("prepared")
    }

    /// What the names of all of the subtask's files begin with.
    fn own(&self) -> String {
        let Self {
            prefix,
            job,
            subtask,
            ..
        } = self;
        format!("{prefix}-{job}-{subtask}")
    }

    /// Makes the directory, and sees whether files can be made in it.
    pub fn try_out(&self) -> Result<(), FileSinkError> {
        create_directory(&self.dir)?;
        let path = self.dir.join(format!(".{}.tried", self.prefix));
        let made = fs::File::create(&path).map(drop);
        let _ = fs::remove_file(&path);
        made.map_err(|source| FileSinkError::Write { path, source })
    }

    /// Looks for the subtask's files.
    pub fn find(&self) -> Result<Found, FileSinkError> {
        let list = |source| FileSinkError::Directory {
            path: self.dir.clone(),
            source,
        };
        let mut found = Found::default();
        for entry in fs::read_dir(&self.dir).map_err(list)? {
            let entry = entry.map_err(list)?;
            if self.has_folders && entry.file_type().map_err(list)?.is_dir() {
                self.find_below(&entry.path(), &mut found.committed)?;
                continue;
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(sequence) = self.parse_committed(name) {
                found.committed.push(sequence);
            } else if let Some((sequence, _)) = self.parse_hidden(name, ".prepared") {
                found.prepared.push(sequence);
            } else if let Some((sequence, attempt)) = self.parse_hidden(name, ".inprogress") {
                let path = self.dir.join(name);
                found.in_progress.push(InProgress {
                    path,
                    sequence,
                    attempt,
                });
            }
        }
        Ok(found)
    }

    /// Looks for committed parts in the folders below one.
    fn find_below(&self, folder: &Path, committed: &mut Vec<u64>) -> Result<(), FileSinkError> {
        let list = |source| FileSinkError::Directory {
            path: folder.to_owned(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(list)? {
            let entry = entry.map_err(list)?;
            if entry.file_type().map_err(list)?.is_dir() {
                self.find_below(&entry.path(), committed)?;
            } else if let Some(name) = entry.file_name().to_str() {
                committed.extend(self.parse_committed(name));
            }
        }
        Ok(())
    }

    /// Any extension: a sink that once wrote another one still keeps clear of its numbers.
    fn parse_committed(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(&format!("{}-", self.own()))?;
        rest.split_once('.')?.0.parse().ok()
    }

    /// Sequence and attempt.
    fn parse_hidden(&self, name: &str, suffix: &str) -> Option<(u64, u32)> {
        let rest = name.strip_prefix(&format!(".{}-", self.own()))?;
        let (sequence, attempt) = rest.strip_suffix(suffix)?.split_once('-')?;
        Some((sequence.parse().ok()?, attempt.parse().ok()?))
    }
}

/// Makes a directory and what is missing above it, so that they are there after a power cut: a name is
/// durable when the directory it stands in has been synced.
pub(super) fn create_directory(dir: &Path) -> Result<(), FileSinkError> {
    let parents = parents_of_missing(dir, Path::exists);
    fs::create_dir_all(dir).map_err(|source| FileSinkError::Directory {
        path: dir.to_owned(),
        source,
    })?;
    parents.into_iter().try_for_each(sync_directory)
}

/// The directories that get a new name when `dir` is made with all that is missing above it.
fn parents_of_missing(dir: &Path, exists: impl Fn(&Path) -> bool) -> Vec<&Path> {
    let missing = dir
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !exists(path));
    let parents = missing.filter_map(Path::parent);
    parents
        .map(|parent| match parent.as_os_str().is_empty() {
            true => Path::new("."),
            false => parent,
        })
        .collect()
}

/// Makes what was created, renamed or removed in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> Result<(), FileSinkError> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| FileSinkError::Directory {
            path: dir.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(prefix: &str, subtask: u32) -> Layout {
        Layout {
            dir: PathBuf::from("out"),
            prefix: prefix.into(),
            extension: "csv".into(),
            job: "0badcafe".into(),
            subtask,
            has_folders: false,
        }
    }

    #[test]
    fn names_are_read_back_as_they_were_written() {
        let own = layout("part", 3);
        let committed = "part-0badcafe-3-7.csv";
        let in_progress = ".part-0badcafe-3-7-2.inprogress";
        assert_eq!(own.committed("", 7), Path::new("out").join(committed));
        let folder = Path::new("out/a/b");
        assert_eq!(own.committed("a/b", 7), folder.join(committed));
        assert_eq!(own.in_progress(7, 2), Path::new("out").join(in_progress));
        assert_eq!(own.parse_committed(committed), Some(7));
        assert_eq!(own.parse_hidden(in_progress, ".inprogress"), Some((7, 2)));
        let prepared = Layout::prepared(Path::new(in_progress));
        let prepared = prepared.to_str().unwrap();
        assert_eq!(prepared, ".part-0badcafe-3-7-2.prepared");
        assert_eq!(own.parse_hidden(prepared, ".prepared"), Some((7, 2)));
    }

    #[test]
    fn every_directory_that_gets_a_new_name_is_synced() {
        for (dir, there, synced) in [
            ("out", &["."][..], &["."][..]),
            ("out", &["out"], &[]),
            ("a/b/c", &["a"], &["a/b", "a"]),
            ("a/b/c", &[], &["a/b", "a", "."]),
            ("/a/b", &["/"], &["/a", "/"]),
            ("./a", &["."], &["."]),
        ] {
            let exists = |path: &Path| there.iter().any(|there| path == Path::new(there));
            let found = parents_of_missing(Path::new(dir), exists);
            let expected: Vec<_> = synced.iter().map(Path::new).collect();
            assert_eq!(found, expected, "{dir} where there is {there:?}");
        }
    }

    #[test]
    fn directories_are_made_with_all_that_is_missing_above_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let below = dir.path().join("a/b");
        create_directory(&below).unwrap();
        create_directory(&below).unwrap();
        assert!(below.is_dir());
    }

    #[test]
    fn files_of_other_jobs_subtasks_and_prefixes_are_left_alone() {
        let other_job = Layout {
            job: "0badcaff".into(),
            ..layout("part", 3)
        };
        for other in [
            other_job,
            layout("part", 33),
            layout("part-0badcafe", 3),
            layout("part-0badcafe-3", 1),
            layout("part-3", 1),
            layout("par", 3),
        ] {
            for own in [layout("part", 3), layout("part-3", 7)] {
                let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(own.parse_committed(&name(other.committed("", 1))), None);
                let in_progress = name(other.in_progress(1, 1));
                assert_eq!(own.parse_hidden(&in_progress, ".inprogress"), None);
            }
        }
    }
}
