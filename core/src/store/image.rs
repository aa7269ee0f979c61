//! Images: what a store held at one moment, as files.
//!
//! A checkpoint over a store is its files, most of which an earlier checkpoint had already. What is in them is the store's
//! own business; everybody else sees names, lengths and bytes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::StateStore;
use crate::failure::Failure;
use crate::ids::OperatorUid;

/// One of an image's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Its name within the image.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Whether every image that has a file of this name has the same: every other one of this store, and of any that was
    /// opened with one of them.
    pub is_lasting: bool,
}

/// Takes the next piece of a file.
pub type EachPiece<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// A store's files at one moment. They are there as long as this is.
pub trait StoreImage: fmt::Debug + Send + Sync {
    /// Which kind of store can be opened with it.
    fn format(&self) -> &str;

    /// The files.
    fn files(&self) -> &[ImageFile];

    /// Reads a file from its beginning to its end, piece by piece. It blocks.
    ///
    /// # Errors
    /// If it can't be read or is damaged, or whatever `each` returns.
    fn read(&self, file: &str, each: EachPiece<'_>) -> Result<(), Failure>;

    /// Where a file lies on this machine's disk, if it does, is whole, and nobody ever changes it: a link to it is then as good as a
    /// copy. It may read all of it. None if not, or if it can't be read.
    fn on_disk(&self, file: &str) -> Option<PathBuf> {
        let _ = file;
        None
    }

    /// Why a store of another kind can't be opened with it.
    fn refused_by(&self, operator: &OperatorUid, other: &str) -> Failure {
        files_refused(operator, self.format(), &format!("state backend {other}"))
    }
}

/// Why state that lies in a store's files can't be taken in, in one line.
pub fn files_refused(operator: &OperatorUid, format: &str, by: &str) -> Failure {
    Failure::job(format!(
        "state of operator {operator} lies in files of state backend {format}, which {by} can't read: \
         resume the job with the backend that it had, in all of its TaskManagers, or let it go on from a savepoint"
    ))
}

/// What keeps changes from a store: as long as somebody has one, its table and orders write nothing that has changed since.
#[derive(Debug, Default)]
pub(crate) struct Hold(AtomicUsize);

impl Hold {
    pub(crate) fn is_held(&self) -> bool {
        self.0.load(SeqCst) > 0
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Holding {
        self.0.fetch_add(1, SeqCst);
        Holding(Arc::clone(self))
    }
}

/// Keeps changes from a store until it is dropped.
#[derive(Debug)]
pub(crate) struct Holding(Arc<Hold>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// A store that holds what it held at a barrier, and gets nothing else until its image is made.
pub struct FrozenStore {
    /// Whose rows are in it.
    pub operator: OperatorUid,
    store: Arc<dyn StateStore>,
    holding: Holding,
}

impl FrozenStore {
    pub(crate) fn new(operator: OperatorUid, store: Arc<dyn StateStore>, holding: Holding) -> Self {
        Self {
            operator,
            store,
            holding,
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Makes the image, and lets changes into the store again. It blocks.
    ///
    /// # Errors
    /// If the store or its files can't be written.
    pub fn image(self) -> Result<Arc<dyn StoreImage>, Failure> {
        let image = self.store.image();
        drop(self.holding);
        image
    }
}

impl fmt::Debug for FrozenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrozenStore({})", self.operator)
    }
}
