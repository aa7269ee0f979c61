//! Named objects, written whole or not at all: a blocking façade over `object_store`.

use std::fmt;
use std::io;
use std::path::{Path as Directory, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::Handle;

use crate::drive::Drive;
use crate::error::StorageError;
#[cfg(feature = "etcd")]
use crate::etcd::{Etcd, EtcdError, EtcdStore};
use crate::faults::{Fault, StorageFaults, StorageOp};
use crate::folders::despite_vanishing;
use crate::memory::Memory;
use crate::root::Root;
use crate::writer::ObjectWriter;

/// What [`ObjectStorage::create`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Created {
    /// The object is there, as handed in.
    Created,
    /// Something was there before, and is untouched.
    AlreadyExists,
}

/// Objects under names like `jobs/7/manifest`. Cheap to clone; every clone sees the same objects.
///
/// - **It blocks.** Never call it in an actor's handler; hand the call to a [`Blocking`](crate::Blocking). It may be
///   called on any thread, inside a tokio runtime or not, on a full blocking pool too.
/// - A write is atomic (whole or not at all) and durable when it returns: a directory fsyncs the file and its folder.
/// - A write that *fails* may have happened all the same (a timeout). Ask the object.
///
/// ```
/// use rivus_state::{Created, ObjectStorage};
///
/// let storage = ObjectStorage::in_memory();
/// assert_eq!(storage.create("log/0", "mine".into())?, Created::Created);
/// assert_eq!(storage.create("log/0", "yours".into())?, Created::AlreadyExists);
/// assert_eq!(storage.get("log/0")?, Some("mine".into()));
/// assert_eq!(storage.list("log")?, ["log/0"]);
/// # Ok::<(), rivus_state::StorageError>(())
/// ```
#[derive(Clone)]
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    /// The same, if it is a directory.
    disk: Option<Disk>,
    prefix: Path,
    drive: Drive,
    faults: Option<Arc<dyn StorageFaults>>,
}

/// A store that is a directory.
#[derive(Clone)]
struct Disk {
    root: Arc<Root>,
    files: Arc<LocalFileSystem>,
}

impl ObjectStorage {
    /// Objects in this process's memory, gone with the last clone.
    pub fn in_memory() -> Self {
        Self::over_memory(Memory::default())
    }

    pub(crate) fn over_memory(memory: Memory) -> Self {
        Self::new(Arc::new(memory), Path::ROOT, Drive::Inline)
    }

    /// Objects as files below a directory, which is created if need be. Folders that become empty are removed. If the directory
    /// itself vanishes later, it is not created again: all that is done then is [`StorageError::Vanished`], until it is back.
    ///
    /// Several processes may share it, if hard links work there (create-if-absent is `link(2)`).
    ///
    /// # Errors
    /// [`StorageError::OpenDirectory`] if the directory can't be created or isn't writable.
    pub fn directory(path: impl AsRef<Directory>) -> Result<Self, StorageError> {
        let failed = |source| StorageError::OpenDirectory {
            path: path.as_ref().to_owned(),
            source,
        };
        let root = Root::open(path.as_ref()).map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&path)
            .map_err(|error| failed(io::Error::other(error)))?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        let files = Arc::new(store);
        Ok(Self {
            disk: Some(Disk {
                root: Arc::new(root),
                files: Arc::clone(&files),
            }),
            ..Self::new(files, Path::ROOT, Drive::OffRuntime)
        })
    }

    /// Objects of any other store, below a prefix (which may be empty). Its futures run on the given multi-threaded
    /// runtime, which must outlive the storage.
    ///
    /// # Errors
    /// [`StorageError::Name`] if the prefix is no path of the store.
    pub fn over(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        runtime: Handle,
    ) -> Result<Self, StorageError> {
        Self::driven(store, prefix, Drive::Runtime(runtime))
    }

    /// Small objects in etcd, below the connection's prefix: for a job log, not for checkpoints.
    ///
    /// # Errors
    /// [`StorageError::Name`] if the prefix is no path of objects.
    #[cfg(feature = "etcd")]
    pub fn etcd(etcd: &Etcd) -> Result<Self, StorageError> {
        let store = EtcdStore { etcd: etcd.clone() };
        Self::driven(Arc::new(store), etcd.prefix(), etcd.drive.clone())
    }

    pub(crate) fn driven(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        drive: Drive,
    ) -> Result<Self, StorageError> {
        Ok(Self::new(store, parse(prefix)?, drive))
    }

    /// The same objects, seen through faults: each operation of this clone asks first whether it shall fail.
    #[must_use]
    pub fn with_faults(mut self, faults: Arc<dyn StorageFaults>) -> Self {
        self.faults = Some(faults);
        self
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: Path, drive: Drive) -> Self {
        Self {
            store,
            disk: None,
            prefix,
            drive,
            faults: None,
        }
    }

    /// Writes the object, replacing what was there.
    pub fn put(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.write_whole(StorageOp::Put, name, bytes).map(drop)
    }

    /// Writes the object only if nothing has that name. Of any number of writers, one gets [`Created::Created`].
    pub fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StorageError> {
        self.write_whole(StorageOp::Create, name, bytes)
    }

    fn write_whole(
        &self,
        op: StorageOp,
        name: &str,
        mut bytes: Bytes,
    ) -> Result<Created, StorageError> {
        let fault = self.fault(op, name)?;
        if fault == Some(Fault::Torn) {
            bytes.truncate(bytes.len() / 2);
        }
        let mode = match op {
            StorageOp::Create => PutMode::Create,
            _ => PutMode::Overwrite,
        };
        let path = self.path(name)?;
        let payload = PutPayload::from(bytes);
        let put = despite_vanishing(self, || {
            self.store
                .put_opts(&path, payload.clone(), mode.clone().into())
        });
        let created = match self.block(op, name, put)? {
            Ok(_) => Created::Created,
            Err(object_store::Error::AlreadyExists { .. }) if op == StorageOp::Create => {
                Created::AlreadyExists
            }
            Err(source) => return Err(self.failed(op, name, source)),
        };
        report(fault, op, name)?;
        Ok(created)
    }

    /// Reads the object; `None` if it isn't there.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>, StorageError> {
        let op = StorageOp::Get;
        report(self.fault(op, name)?, op, name)?;
        let path = self.path(name)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        match self.block(op, name, read)? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(op, name, source)),
        }
    }

    /// Reads the object's first bytes, as many as asked for or as there are; `None` if it isn't there.
    pub fn get_first(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, StorageError> {
        self.get_range(name, 0..bytes)
    }

    /// How long the object is; `None` if it isn't there.
    pub fn size(&self, name: &str) -> Result<Option<u64>, StorageError> {
        let op = StorageOp::Get;
        report(self.fault(op, name)?, op, name)?;
        let path = self.path(name)?;
        match self.block(op, name, self.store.head(&path))? {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(op, name, source)),
        }
    }

    /// Reads a part of the object, as much as there is of it; `None` if it isn't there.
    pub fn get_range(
        &self,
        name: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Option<Bytes>, StorageError> {
        let op = StorageOp::Get;
        report(self.fault(op, name)?, op, name)?;
        let path = self.path(name)?;
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let read = async { self.store.get_range(&path, range).await };
        match self.block(op, name, read)? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.failed(op, name, source)),
        }
    }

    /// The names of all objects below this folder, at any depth, sorted. `""` is everything.
    ///
    /// An object that is created or deleted meanwhile may be missing or not.
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let op = StorageOp::List;
        report(self.fault(op, prefix)?, op, prefix)?;
        let path = self.path(prefix)?;
        // Inside the future, for the store looks around for a tokio context as early as here.
        let found = async { self.store.list(Some(&path)).try_collect::<Vec<_>>().await };
        let found = self
            .block(op, prefix, found)?
            .map_err(|source| self.failed(op, prefix, source))?;
        let mut names: Vec<String> = found.iter().map(|meta| self.name(&meta.location)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The folders right below this folder, as their last segment, sorted. In a directory, one may be empty.
    pub fn folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let op = StorageOp::List;
        report(self.fault(op, prefix)?, op, prefix)?;
        let path = self.path(prefix)?;
        let found = self
            .block(op, prefix, self.store.list_with_delimiter(Some(&path)))?
            .map_err(|source| self.failed(op, prefix, source))?;
        let mut names: Vec<String> = found
            .common_prefixes
            .iter()
            .filter_map(|folder| folder.filename().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes the object. That it isn't there is fine.
    pub fn delete(&self, name: &str) -> Result<(), StorageError> {
        let op = StorageOp::Delete;
        let fault = self.fault(op, name)?;
        if fault == Some(Fault::Torn) {
            return report(fault, op, name);
        }
        let path = self.path(name)?;
        match self.block(op, name, self.store.delete(&path))? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => report(fault, op, name),
            Err(source) => Err(self.failed(op, name, source)),
        }
    }

    /// Begins to write an object piece by piece. Nothing is visible under the name until it is finished.
    pub fn writer(&self, name: &str) -> ObjectWriter {
        ObjectWriter::new(self.clone(), name.to_owned())
    }

    /// Where an object of this name lies, if the objects are files. Others may link to it: objects are replaced, never changed.
    pub(crate) fn on_disk(&self, name: &str) -> Option<PathBuf> {
        let disk = self.disk.as_ref()?;
        disk.files.path_to_filesystem(&self.path(name).ok()?).ok()
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// The name in the store.
    pub(crate) fn path(&self, name: &str) -> Result<Path, StorageError> {
        let path = parse(name)?;
        Ok(self.prefix.parts().chain(path.parts()).collect())
    }

    /// The name without the prefix: the other way round.
    fn name(&self, path: &Path) -> String {
        let name = path.as_ref();
        let name = name.strip_prefix(self.prefix.as_ref()).unwrap_or(name);
        name.trim_start_matches('/').to_owned()
    }

    /// The fault for this operation, unless it is one that keeps the operation from happening at all.
    pub(crate) fn fault(&self, op: StorageOp, name: &str) -> Result<Option<Fault>, StorageError> {
        let fault = self
            .faults
            .as_ref()
            .and_then(|faults| faults.before(op, name));
        match fault {
            Some(Fault::Fail) => Err(injected(op, name)),
            other => Ok(other),
        }
    }

    /// From now on its directory is known by this id, whatever becomes of the disk that it is on.
    pub(crate) fn known_by(&self, id: &Bytes) {
        if let Some(disk) = &self.disk {
            disk.root.known_by(id);
        }
    }

    /// The directory, if it is one.
    pub(crate) fn directory_path(&self) -> Option<&Directory> {
        self.disk.as_ref().map(|disk| disk.root.path())
    }

    /// Refuses what is to be done in a directory that has vanished.
    pub(crate) fn check_root(&self) -> Result<(), StorageError> {
        let disk = self.disk.as_ref();
        disk.map_or(Ok(()), |disk| disk.root.check())
    }

    /// Runs a call of the store to its end. If its directory has vanished meanwhile, nobody knows what the call has seen of it.
    pub(crate) fn block<T: Send>(
        &self,
        op: StorageOp,
        name: &str,
        call: impl Future<Output = T> + Send,
    ) -> Result<T, StorageError> {
        self.check_root()?;
        let done = self
            .drive
            .run(call)
            .map_err(|source| StorageError::Thread {
                op,
                name: name.to_owned(),
                source,
            })?;
        self.check_root()?;
        Ok(done)
    }

    pub(crate) fn failed(
        &self,
        op: StorageOp,
        name: &str,
        error: object_store::Error,
    ) -> StorageError {
        let name = name.to_owned();
        #[cfg(feature = "etcd")]
        let error = match EtcdError::within(error) {
            Ok(source) => return StorageError::Etcd { op, name, source },
            Err(other) => other,
        };
        StorageError::Store {
            op,
            name,
            store: self.to_string(),
            error: Box::new(error),
        }
    }
}

impl fmt::Display for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.store)?;
        if self.prefix.is_root() {
            return Ok(());
        }
        write!(f, "/{}", self.prefix)
    }
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStorage({self})")
    }
}

/// Tells the caller of a fault, after what it let happen has happened.
pub(crate) fn report(fault: Option<Fault>, op: StorageOp, name: &str) -> Result<(), StorageError> {
    match fault {
        None => Ok(()),
        Some(_) => Err(injected(op, name)),
    }
}

fn injected(op: StorageOp, name: &str) -> StorageError {
    StorageError::Injected {
        op,
        name: name.to_owned(),
    }
}

fn parse(name: &str) -> Result<Path, StorageError> {
    Path::parse(name).map_err(|source| StorageError::Name {
        name: name.to_owned(),
        source,
    })
}
