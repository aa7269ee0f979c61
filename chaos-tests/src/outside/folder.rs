//! The folder that a job's files are in, maybe beside those of another job.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rivus::JobId;

/// The number of a subtask, and of one of its files.
pub type Part = (u32, u64);

/// A folder that a job writes into. It may share it with the one beside it.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// Whose files are of the job beside, once that has begun.
    beside: Arc<OnceLock<String>>,
    /// Whether it is seen as the job beside sees it.
    is_beside: bool,
}

impl Folder {
    /// One that a job has to itself.
    pub fn alone(path: PathBuf) -> Self {
        Self {
            path,
            beside: Arc::default(),
            is_beside: false,
        }
    }

    /// The same folder, for the job beside the one whose it is.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            is_beside: true,
            ..self.clone()
        }
    }

    /// The job beside has begun. It is the same for ever: the other one may go on as another.
    pub fn begins_beside(&self, job: JobId) {
        let _ = self.beside.set(job.short());
    }

    /// Whether it is seen as the job beside sees it.
    pub fn is_beside(&self) -> bool {
        self.is_beside
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The job's committed files. The folder may not be there yet.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn parts(&self) -> io::Result<BTreeMap<Part, PathBuf>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        let mut parts = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some((job, part)) = name.and_then(part)
                && self.is_beside == self.beside.get().is_some_and(|beside| beside == job)
            {
                parts.insert(part, path);
            }
        }
        Ok(parts)
    }
}

/// Of `part-0badcafe0bad-3-17.txt` the job's digits and the part. A job that goes on from another's savepoint numbers on, so which of
/// them wrote it doesn't matter.
fn part(name: &str) -> Option<(&str, Part)> {
    let (job, rest) = name.strip_prefix("part-")?.split_once('-')?;
    let (subtask, rest) = rest.split_once('-')?;
    let (sequence, _) = rest.split_once('.')?;
    Some((job, (subtask.parse().ok()?, sequence.parse().ok()?)))
}
