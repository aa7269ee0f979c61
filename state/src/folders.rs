//! Folders that vanish under a writer.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::objects::ObjectStorage;

/// How often in a row a folder may vanish before the write fails. Each time takes another's delete in just that moment.
const ATTEMPTS: usize = 32;

/// Repeats a write to a directory as long as its folder is gone.
///
/// A delete removes the folder it leaves empty, possibly between the moments when another writer creates that folder
/// and puts its file there. Repeating is safe, also for create-if-absent: without the folder, nothing was written. If the
/// directory itself is gone, a repeated write would make it anew.
pub(crate) async fn despite_vanishing<T, W>(
    storage: &ObjectStorage,
    mut write: impl FnMut() -> W,
) -> object_store::Result<T>
where
    W: Future<Output = object_store::Result<T>>,
{
    for _ in 1..ATTEMPTS {
        match write().await {
            Err(error) if is_gone(&error) && storage.check_root().is_ok() => {}
            result => return result,
        }
    }
    write().await
}

/// Puts a file, whole and on the disk, under another name too, durably.
///
/// # Errors
/// If the two are not on one disk, or the disk's files have no links, or something has the name, or the storage is gone.
pub(crate) fn link(storage: &ObjectStorage, file: &Path, name: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    let folder = name.parent().unwrap_or(Path::new("."));
    for _ in 1..ATTEMPTS {
        storage.check_root().map_err(io::Error::other)?;
        let new: Vec<&Path> = folder.ancestors().take_while(|dir| !dir.exists()).collect();
        match fs::create_dir_all(folder).and_then(|()| fs::hard_link(file, name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            linked => linked?,
        }
        let parents = new.iter().filter_map(|dir| dir.parent());
        return parents
            .chain([folder])
            .try_for_each(|dir| File::open(dir)?.sync_all());
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether the operating system's own "not found" is at the bottom of the error.
fn is_gone(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::NotFound;
        }
        cause = error.source();
    }
    false
}
