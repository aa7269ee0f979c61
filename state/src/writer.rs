//! Objects written piece by piece.

use std::fs::File;
use std::io::Read;
use std::mem;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::error::StorageError;
use crate::faults::{Fault, StorageOp};
use crate::folders::{despite_vanishing, link};
use crate::objects::{ObjectStorage, report};

/// Pieces are gathered to this many bytes before they go to the store. (S3 wants parts of at least 5 MiB.)
const PART_BYTES: usize = 8 << 20;

/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 20;

/// An object that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenObject {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// The crc32c of its bytes.
    pub crc32c: u32,
}

/// Writes one object piece by piece, in bounded memory. Nothing is visible under its name until
/// [`finish`](Self::finish); dropping it is [`abort`](Self::abort).
///
/// ```
/// use rivus_state::ObjectStorage;
///
/// let storage = ObjectStorage::in_memory();
/// let mut writer = storage.writer("snapshot");
/// writer.write("a piece, ".into())?;
/// writer.write("another".into())?;
/// assert_eq!(storage.get("snapshot")?, None);
/// assert_eq!(writer.finish()?.len, 16);
/// assert_eq!(storage.get("snapshot")?, Some("a piece, another".into()));
/// # Ok::<(), rivus_state::StorageError>(())
/// ```
#[derive(Debug)]
pub struct ObjectWriter {
    storage: ObjectStorage,
    name: String,
    /// What hasn't gone to the store yet. Never empty while there is an upload, so that there is always a last part.
    pending: Vec<Bytes>,
    pending_bytes: usize,
    /// Begun when the object turns out to be larger than one part.
    upload: Option<Box<dyn MultipartUpload>>,
    /// The file that has the same bytes, and is to be linked to.
    linked: Option<PathBuf>,
    len: u64,
    crc32c: u32,
    failed: bool,
}

impl ObjectWriter {
    pub(crate) fn new(storage: ObjectStorage, name: String) -> Self {
        Self {
            storage,
            name,
            pending: Vec::new(),
            pending_bytes: 0,
            upload: None,
            linked: None,
            len: 0,
            crc32c: 0,
            failed: false,
        }
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// After the first error the object can't be finished any more.
    pub fn write(&mut self, piece: Bytes) -> Result<(), StorageError> {
        self.try_write(&piece, || piece.clone())
    }

    /// Appends a piece, which is copied if need be.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_from(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.try_write(piece, || Bytes::copy_from_slice(piece))
    }

    /// The pieces that follow are the bytes of a file of this machine's disk that nobody ever changes. Where the storage is a
    /// directory on the same disk, a link to it is published and nothing is written once more. To be called before the first piece.
    pub fn links(&mut self, file: PathBuf) {
        if self.storage.on_disk(&self.name).is_some() {
            self.linked = Some(file);
        }
    }

    /// Publishes the object, durably and whole.
    ///
    /// # Errors
    /// Like any write, one that fails may have happened; but only [`StorageOp::Finish`] publishes.
    pub fn finish(mut self) -> Result<WrittenObject, StorageError> {
        self.check()?;
        self.publish()?;
        Ok(WrittenObject {
            name: mem::take(&mut self.name),
            len: self.len,
            crc32c: self.crc32c,
        })
    }

    /// Gives the object up: what went to the store is removed as far as possible, what has the name stays as it was.
    pub fn abort(self) {}

    fn check(&self) -> Result<(), StorageError> {
        if !self.failed {
            return Ok(());
        }
        Err(StorageError::Unfinished {
            name: self.name.clone(),
        })
    }

    fn try_write(
        &mut self,
        piece: &[u8],
        owned: impl FnOnce() -> Bytes,
    ) -> Result<(), StorageError> {
        self.check()?;
        let op = StorageOp::Write;
        let fault = self.storage.fault(op, &self.name);
        let mut result = fault.and_then(|fault| report(fault, op, &self.name));
        if result.is_ok() && !piece.is_empty() {
            self.len += piece.len() as u64;
            self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
            if self.linked.is_none() {
                result = self.append(op, owned());
            }
        }
        self.failed = result.is_err();
        result
    }

    fn append(&mut self, op: StorageOp, piece: Bytes) -> Result<(), StorageError> {
        if self.pending_bytes >= PART_BYTES {
            self.flush(op)?;
        }
        self.pending_bytes += piece.len();
        self.pending.push(piece);
        Ok(())
    }

    /// Appends a file that couldn't be linked to, which lies on another disk, mostly.
    fn append_file(&mut self, op: StorageOp, path: &Path) -> Result<(), StorageError> {
        let name = self.name.clone();
        let unreadable = |source| StorageError::LinkedFile {
            name: name.clone(),
            file: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).map_err(unreadable)?;
            if read == 0 {
                return Ok(());
            }
            piece.truncate(read);
            self.append(op, piece.into())?;
        }
    }

    /// Sends what is pending as one part.
    fn flush(&mut self, op: StorageOp) -> Result<(), StorageError> {
        let part = self.take_pending();
        let path = self.storage.path(&self.name)?;
        let Self {
            storage,
            name,
            upload,
            ..
        } = self;
        let send = async {
            let upload = match upload {
                Some(upload) => upload,
                none => none.insert(
                    despite_vanishing(storage, || storage.store().put_multipart(&path)).await?,
                ),
            };
            upload.put_part(part).await
        };
        storage
            .block(op, name, send)?
            .map_err(|source| storage.failed(op, name, source))
    }

    fn publish(&mut self) -> Result<(), StorageError> {
        let op = StorageOp::Finish;
        let fault = self.storage.fault(op, &self.name)?;
        if let Some(file) = self.linked.take() {
            let object = self.storage.on_disk(&self.name);
            // What is torn is not linked: the file is another's, too.
            if fault != Some(Fault::Torn)
                && object.is_some_and(|object| link(&self.storage, &file, &object).is_ok())
            {
                self.storage.check_root()?;
                return report(fault, op, &self.name);
            }
            self.append_file(op, &file)?;
        }
        if fault == Some(Fault::Torn) {
            self.tear();
        }
        if self.upload.is_some() {
            self.flush(op)?;
        }
        let rest = self.take_pending();
        let path = self.storage.path(&self.name)?;
        let Self {
            storage,
            name,
            upload,
            ..
        } = self;
        let publish = async {
            match upload {
                Some(upload) => upload.complete().await,
                None => {
                    despite_vanishing(storage, || storage.store().put(&path, rest.clone())).await
                }
            }
        };
        storage
            .block(op, name, publish)?
            .map_err(|source| storage.failed(op, name, source))?;
        self.upload = None;
        report(fault, op, &self.name)
    }

    fn take_pending(&mut self) -> PutPayload {
        self.pending_bytes = 0;
        mem::take(&mut self.pending).into_iter().collect()
    }

    /// Loses the second half of what is pending.
    fn tear(&mut self) {
        let mut keep = self.pending_bytes / 2;
        for piece in &mut self.pending {
            piece.truncate(keep);
            keep -= piece.len();
        }
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // Best effort: whoever gave the object up has no use for an error, and its parts are not visible.
            let _ = self
                .storage
                .block(StorageOp::Write, &self.name, upload.abort());
        }
    }
}
