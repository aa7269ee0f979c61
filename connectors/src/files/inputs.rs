//! Which files there are to read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::source_error::FileSourceError;

/// What a source was told to read.
#[derive(Debug, Clone)]
pub(super) enum Inputs {
    Paths(Vec<PathBuf>),
    Glob(String),
    Folder(PathBuf),
}

impl Inputs {
    /// Refuses what can't name a file, whichever there are.
    pub fn check(&self) -> Result<(), FileSourceError> {
        match self {
            Self::Paths(paths) if paths.is_empty() => Err(FileSourceError::NoPaths),
            Self::Glob(pattern) => match glob::Pattern::new(pattern) {
                Ok(_) => Ok(()),
                Err(source) => Err(FileSourceError::Pattern {
                    pattern: pattern.clone(),
                    source,
                }),
            },
            Self::Paths(_) | Self::Folder(_) => Ok(()),
        }
    }

    /// All files, in the order in which they are read; none is an error.
    pub fn find(&self) -> Result<Vec<PathBuf>, FileSourceError> {
        let files = self.list()?;
        match (self, files.is_empty()) {
            (_, false) => Ok(files),
            (Self::Paths(_), true) => Err(FileSourceError::NoPaths),
            (Self::Glob(pattern), true) => Err(FileSourceError::NoMatch {
                pattern: pattern.clone(),
            }),
            (Self::Folder(path), true) => Err(FileSourceError::EmptyFolder { path: path.clone() }),
        }
    }

    /// The files that are there now, in the order in which they are read.
    pub fn list(&self) -> Result<Vec<PathBuf>, FileSourceError> {
        match self {
            Self::Paths(paths) => Ok(paths.clone()),
            Self::Glob(pattern) => matching(pattern),
            Self::Folder(path) => within(path),
        }
    }
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, FileSourceError> {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        require_literal_separator: true,
        ..glob::MatchOptions::default()
    };
    let found = glob::glob_with(pattern, options).map_err(|source| FileSourceError::Pattern {
        pattern: pattern.to_owned(),
        source,
    })?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| FileSourceError::List {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The files of a folder; hidden ones are passed.
fn within(folder: &Path) -> Result<Vec<PathBuf>, FileSourceError> {
    let list = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileSourceError::NoFolder {
            path: folder.to_owned(),
        },
        _ => FileSourceError::List {
            path: folder.to_owned(),
            source,
        },
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(list)? {
        let entry = entry.map_err(list)?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// How long a file is.
pub(super) fn length(path: &Path) -> Result<u64, FileSourceError> {
    let path = || path.to_owned();
    match fs::metadata(path()) {
        Ok(found) if found.is_file() => Ok(found.len()),
        Ok(_) => Err(FileSourceError::NotAFile { path: path() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileSourceError::Missing { path: path() })
        }
        Err(source) => Err(FileSourceError::Open {
            path: path(),
            source,
        }),
    }
}
