//! The seam through which a test makes storage fail.

use std::fmt;

/// What is about to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageOp {
    /// Write, replacing what was there.
    Put,
    /// Write, only if nothing is there.
    Create,
    /// Read.
    Get,
    /// List the names under a folder.
    List,
    /// Delete.
    Delete,
    /// Hand a piece to a streaming writer.
    Write,
    /// Publish what a streaming writer was given.
    Finish,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It does not happen, and reports failure.
    Fail,
    /// It happens, but reports failure: a put that timed out. Reads just fail.
    FailAfterWrite,
    /// Only the first half of the bytes get under the name, and it reports failure: a machine that died in the middle,
    /// on a store that can't write whole objects. What is no write just fails.
    Torn,
}

/// Decides which operations fail. The chaos suite implements it from its seed.
///
/// ```
/// use rivus_state::{Fault, ObjectStorage, StorageFaults, StorageOp};
/// use std::sync::Arc;
///
/// struct NoDeletes;
/// impl StorageFaults for NoDeletes {
///     fn before(&self, op: StorageOp, _name: &str) -> Option<Fault> {
///         (op == StorageOp::Delete).then_some(Fault::Fail)
///     }
/// }
///
/// let storage = ObjectStorage::in_memory().with_faults(Arc::new(NoDeletes));
/// storage.put("a", "b".into())?;
/// assert!(storage.delete("a").is_err());
/// # Ok::<(), rivus_state::StorageError>(())
/// ```
pub trait StorageFaults: Send + Sync {
    /// Asked once before each operation, with the name as the caller gave it. `None` lets it pass.
    fn before(&self, op: StorageOp, name: &str) -> Option<Fault>;
}

/// A verb that fits behind "could not".
impl fmt::Display for StorageOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put => "write",
            Self::Create => "create",
            Self::Get => "read",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Write => "write a part of",
            Self::Finish => "publish",
        })
    }
}
