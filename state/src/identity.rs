//! By what processes see that they mean the same storage.
//!
//! ```text
//! <directory>/id    a UUID; created if absent by whoever shares the storage with others, never changed or deleted
//! ```
//!
//! A directory may be another one by the same path on another machine, or the same by another; a copy of one with all that is in it
//! has its id, too. A bucket is known by its name.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StorageError;
use crate::objects::ObjectStorage;

/// The object that says it.
pub(crate) const NAME: &str = "id";

/// A storage among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageIdentity {
    /// As the process that says it calls it.
    place: String,
    /// The same for all processes.
    id: String,
}

impl ObjectStorage {
    /// Which storage it is. A directory that has no id gets this one.
    ///
    /// # Errors
    /// If it can't be written or read.
    ///
    /// ```
    /// use rivus_state::ObjectStorage;
    ///
    /// # let [dir, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    /// # let [path, other] = [dir.path(), other.path()];
    /// # let [one, two, three] = [1, 2, 3].map(uuid::Uuid::from_u128);
    /// let first = ObjectStorage::directory(path)?.identity(one)?;
    /// let by_another_way = ObjectStorage::directory(path.join("."))?.identity(two)?;
    /// assert!(first.is_same(&by_another_way));
    /// assert!(!first.is_same(&ObjectStorage::directory(other)?.identity(three)?));
    /// # Ok::<(), rivus_state::StorageError>(())
    /// ```
    pub fn identity(&self, new: Uuid) -> Result<StorageIdentity, StorageError> {
        let Some(place) = self.directory_path() else {
            let place = self.to_string();
            let id = place.clone();
            return Ok(StorageIdentity { place, id });
        };
        let id = loop {
            match self.get(NAME)? {
                Some(id) => break id,
                // Whoever is faster has the say.
                None => drop(self.create(NAME, new.to_string().into())?),
            }
        };
        self.known_by(&id);
        Ok(StorageIdentity {
            place: place.display().to_string(),
            id: String::from_utf8_lossy(&id).trim().to_owned(),
        })
    }
}

impl StorageIdentity {
    /// Whether two processes mean the same storage.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Display for StorageIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, id } = self;
        match place == id {
            true => write!(f, "{place}"),
            false => write!(f, "{place} (id {id})"),
        }
    }
}
