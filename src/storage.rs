//! Where state lies, and who leads among those who share it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "s3")]
use rivus_state::S3Options;
use rivus_state::{
    DirectoryElection, Election, InProcessElection, JobLog, ObjectStorage, StorageError,
};
#[cfg(feature = "etcd")]
use rivus_state::{Etcd, EtcdElection, EtcdOptions};

use crate::cluster::RuntimeMode;
use crate::error::JobError;

/// Where checkpoints and job logs lie.
///
/// ```
/// use rivus::engine::state::ObjectStorage;
/// use rivus::{Storage, StreamEnvironment};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let state = dir.path().to_owned();
/// for storage in [Storage::Memory, Storage::Directory(state), Storage::Objects(ObjectStorage::in_memory())] {
///     let env = StreamEnvironment::builder().storage(storage).build();
///     let numbers = env.from_collection(vec![1, 2, 3]).collect();
///     env.execute("numbers").await?;
///     assert_eq!(numbers.values(), [1, 2, 3]);
/// }
/// # Ok(()) }
/// ```
///
/// In a bucket:
///
/// ```no_run
/// use rivus::{S3Options, Storage, StreamEnvironment};
///
/// let bucket = S3Options::new("state").prefix("orders").region("eu-central-1"); // credentials from the environment
/// let env = StreamEnvironment::builder().storage(Storage::S3(bucket)).build();
/// ```
#[derive(Debug, Clone)]
pub enum Storage {
    /// In memory: jobs survive the death of any actor, not of the process.
    Memory,
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket of S3, or of what speaks like it and honours `If-None-Match`. One that doesn't is refused.
    #[cfg(feature = "s3")]
    S3(S3Options),
    /// In a storage that was made elsewhere, such as by a test.
    Objects(ObjectStorage),
}

/// Who leads among the processes that share a storage. One does; the others stand by, and go on with their jobs when it
/// is gone.
///
/// ```
/// use rivus::{Coordination, JobId, Storage, StreamEnvironment};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let state = dir.path().to_owned();
/// let env = StreamEnvironment::builder()
///     .storage(Storage::Directory(state.clone()))
///     .coordination(Coordination::Directory(state.join("leaders")))
///     .build();
/// env.from_collection(vec![1, 2, 3]).print();
/// let id = JobId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?);
/// env.resume("numbers", id).await?.wait().await?; // a second process that is started now waits, and has nothing to do
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub enum Coordination {
    /// This process is alone.
    #[default]
    InProcess,
    /// Processes of one host, by this directory of it. Who is killed is replaced at once, who is stopped after its lease.
    Directory(PathBuf),
    /// Processes anywhere, by etcd, which then has the jobs' logs too. Checkpoints, and whatever is too large for etcd,
    /// lie in the storage.
    #[cfg(feature = "etcd")]
    Etcd(EtcdOptions),
}

impl Storage {
    pub(crate) fn open(&self) -> Result<ObjectStorage, JobError> {
        match self {
            Self::Memory => Ok(ObjectStorage::in_memory()),
            Self::Objects(objects) => Ok(objects.clone()),
            Self::Directory(path) => ObjectStorage::directory(path).map_err(JobError::setup),
            #[cfg(feature = "s3")]
            Self::S3(options) => ObjectStorage::s3(options).map_err(JobError::setup),
        }
    }

    /// Refuses what a simulation can't have: a disk or a network, whose time is not its own.
    pub(crate) fn check(&self, mode: RuntimeMode) -> Result<(), JobError> {
        let place = match self {
            Self::Directory(path) if mode == RuntimeMode::Current => path.display().to_string(),
            #[cfg(feature = "s3")]
            Self::S3(_) if mode == RuntimeMode::Current => "S3".to_owned(),
            _ => return Ok(()),
        };
        Err(JobError::Setup(format!(
            "RuntimeMode::Current with the storage in {place}: a simulation keeps it in memory, \
             use Storage::Memory or RuntimeMode::Threads"
        )))
    }
}

impl Coordination {
    /// The election, and the log that it goes with.
    pub(crate) fn open(
        &self,
        lease: Duration,
        objects: &ObjectStorage,
    ) -> Result<(Arc<dyn Election>, JobLog), JobError> {
        let log = JobLog::new(objects.clone());
        Ok(match self {
            Self::InProcess => (Arc::new(InProcessElection::new(lease)), log),
            Self::Directory(path) => {
                let election = DirectoryElection::open(path, lease).map_err(JobError::setup)?;
                (Arc::new(election), log)
            }
            #[cfg(feature = "etcd")]
            Self::Etcd(options) => {
                let etcd = Etcd::new(options.clone()).map_err(JobError::setup)?;
                let log = JobLog::new(ObjectStorage::etcd(&etcd).map_err(JobError::setup)?)
                    .with_large(objects.clone(), Etcd::VALUE_BYTES);
                (Arc::new(EtcdElection::new(etcd, lease)), log)
            }
        })
    }

    /// Whether other processes contend too.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::InProcess)
    }

    pub(crate) fn check(&self, mode: RuntimeMode) -> Result<(), JobError> {
        if self.is_shared() && mode == RuntimeMode::Current {
            return Err(JobError::Setup(format!(
                "RuntimeMode::Current with {self:?}: a simulation is alone, \
                 use Coordination::InProcess or RuntimeMode::Threads"
            )));
        }
        Ok(())
    }
}

/// Why no log can be kept. What it was tried with says nothing to anybody if etcd isn't there at all.
pub(crate) fn no_log(error: StorageError) -> JobError {
    match error {
        #[cfg(feature = "etcd")]
        StorageError::Etcd { source, .. } => {
            let may_pass = source.may_pass();
            match JobError::setup(*source) {
                JobError::Setup(line) if may_pass => JobError::Unreachable(line),
                other => other,
            }
        }
        other => JobError::setup(other),
    }
}
