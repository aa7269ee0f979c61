//! Who runs a job on this host.
//!
//! ```text
//! <directory>/jobs/<job>/running#0    empty; locked by the process that runs the job, for as long as it does
//! ```
//!
//! The log fences whoever writes behind another's back, so what is true stays true without this. But two processes that both
//! mean to run a job would take it from each other for ever. Where a directory has the log, the second one is told at once. The
//! lock is the system's: it goes with the process, however that ends. A store without locks keeps nobody off.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rivus_core::JobId;

use crate::error::StorageError;
use crate::log::JobLog;

/// Its name is one that the store never lists.
const NAME: &str = "running#0";

/// A job that this process runs: on this host nobody else gets one of the same job, as long as this lives.
#[derive(Debug)]
pub struct JobClaim {
    locked: Option<(File, PathBuf)>,
}

impl JobClaim {
    /// Nobody here runs the job any more: it is over, or was refused. What the claim has made goes.
    pub fn settle(self) {
        if let Some((file, path)) = self.locked {
            // While it is locked it is nobody else's. The folder goes if there is no log in it.
            let _ = fs::remove_file(&path);
            let _ = path.parent().map(fs::remove_dir);
            drop(file);
        }
    }
}

impl JobLog {
    /// Claims a job for whoever holds what is returned; none if somebody else on this host does. It may block.
    ///
    /// # Errors
    /// [`StorageError::Claim`] if the file can't be locked.
    ///
    /// ```
    /// use rivus_state::{JobLog, ObjectStorage};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path();
    /// # let job = rivus_core::JobId(uuid::Uuid::from_u128(7));
    /// let [one, another] = [ObjectStorage::directory(path)?, ObjectStorage::directory(path)?].map(JobLog::new);
    /// let claim = one.claim_job(job)?;
    /// assert!(claim.is_some() && another.claim_job(job)?.is_none());
    /// drop(claim);
    /// assert!(another.claim_job(job)?.is_some());
    /// # Ok::<(), rivus_state::StorageError>(())
    /// ```
    pub fn claim_job(&self, job: JobId) -> Result<Option<JobClaim>, StorageError> {
        let Some(folder) = self.folder_on_disk(job) else {
            return Ok(Some(JobClaim { locked: None }));
        };
        let path = folder.join(NAME);
        let failed = |source| StorageError::Claim {
            path: path.clone(),
            source,
        };
        loop {
            let Some(file) = open(&folder, &path).map_err(failed)? else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Some(JobClaim { locked: None }));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            if is_there(&file, &path).map_err(failed)? {
                let locked = Some((file, path));
                return Ok(Some(JobClaim { locked }));
            }
            // Whoever had it has just removed it: what is locked is no file any more.
        }
    }
}

/// Opens the file, and makes it if need be; none if its folder has just been removed.
fn open(folder: &Path, path: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).write(true).truncate(false);
    match options.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file that is open is still the one of its name.
#[cfg(unix)]
fn is_there(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_there(_file: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}
