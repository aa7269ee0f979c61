//! Folders that vanish under a writer.

use std::error::Error;
use std::io;

/// How often in a row a folder may vanish before the write fails. Each time takes another's delete in just that moment.
const ATTEMPTS: usize = 32;

/// Repeats a write to a directory as long as its folder is gone.
///
/// A delete removes the folder it leaves empty, possibly between the moments when another writer creates that folder
/// and puts its file there. Repeating is safe, also for create-if-absent: without the folder, nothing was written.
pub(crate) async fn despite_vanishing<T, W>(mut write: impl FnMut() -> W) -> object_store::Result<T>
where
    W: Future<Output = object_store::Result<T>>,
{
    for _ in 1..ATTEMPTS {
        match write().await {
            Err(error) if is_gone(&error) => {}
            result => return result,
        }
    }
    write().await
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
