//! Who runs a job on this host.
//!
//! ```text
//! <directory>/jobs/<job>/running#0    empty; locked by the process that runs the job, for as long as it does
//! ```
//!
//! The log fences whoever writes behind another's back, so what is true stays true without this. But two processes that both
//! mean to run a job would take it from each other for ever. Where a directory has the log, the second one is told at once. The
//! lock is the system's: it goes with the process, however that ends. A store without locks keeps nobody off.
//!
//! The file goes when the job is over. So one that is there and not locked is of a job that somebody has left behind: that is told
//! without a look into any log. Who only looks locks it too, but not for himself alone; whoever claims a job isn't kept off by that.

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

/// A job that was claimed on this host, and that nobody there has seen the end of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedJob {
    /// Which.
    pub job: JobId,
    /// Whether somebody runs it now. If not, whoever did is gone.
    pub is_held: bool,
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
        self.check_root()?;
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
                Err(TryLockError::WouldBlock) if is_held(&file).map_err(failed)? => {
                    return Ok(None);
                }
                // Somebody looks, and will be done at once.
                Err(TryLockError::WouldBlock) => continue,
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

    /// The jobs that were claimed on this host and never [settled](JobClaim::settle), where a directory has their logs. Some of them may
    /// be over: their logs know. It may block.
    ///
    /// # Errors
    /// If the jobs can't be listed, or [`StorageError::Claim`] if it can't be seen whether one is held.
    ///
    /// ```
    /// use rivus_state::{ClaimedJob, JobLog, ObjectStorage};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path();
    /// # let job = rivus_core::JobId(uuid::Uuid::from_u128(7));
    /// let log = JobLog::new(ObjectStorage::directory(path)?);
    /// let claim = log.claim_job(job)?;
    /// assert_eq!(log.claimed_jobs()?, [ClaimedJob { job, is_held: true }]);
    /// drop(claim); // the end of its process
    /// assert_eq!(log.claimed_jobs()?, [ClaimedJob { job, is_held: false }]);
    /// log.claim_job(job)?.unwrap().settle(); // the end of the job
    /// assert_eq!(log.claimed_jobs()?, []);
    /// # Ok::<(), rivus_state::StorageError>(())
    /// ```
    pub fn claimed_jobs(&self) -> Result<Vec<ClaimedJob>, StorageError> {
        let mut claimed = Vec::new();
        for job in self.folders()? {
            let Some(path) = self.folder_on_disk(job).map(|folder| folder.join(NAME)) else {
                continue;
            };
            let held = match File::open(&path) {
                Ok(file) => is_held(&file),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(error),
            };
            let is_held = held.map_err(|source| StorageError::Claim { path, source })?;
            claimed.push(ClaimedJob { job, is_held });
        }
        Ok(claimed)
    }
}

/// Whether somebody has the file for himself alone. Whoever claims it meanwhile tries again.
fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use crate::objects::ObjectStorage;

    use super::*;

    #[test]
    fn whoever_only_looks_keeps_nobody_off() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = JobLog::new(ObjectStorage::directory(dir.path()).expect("opens"));
        let job = JobId(uuid::Uuid::from_u128(7));
        drop(log.claim_job(job).expect("is asked for")); // left behind
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        log.claimed_jobs().expect("are listed");
                    }
                });
            }
            let claims = (0..1_000).map(|_| log.claim_job(job).expect("is asked for"));
            let refused = claims.filter(Option::is_none).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(refused, 0);
        });
    }
}
