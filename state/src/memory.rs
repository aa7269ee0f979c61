//! Objects in memory, in the pieces in which they were written.
//!
//! A snapshot comes in thousands of buffers. To join them at the end, as `object_store`'s own memory does, takes a core for more than a
//! second a gigabyte, while the job wants that core; here they are joined when somebody reads the whole.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use crate::serving::{got, in_folder, meta, put};

/// All objects. Each is replaced as a whole; whoever reads one has its pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    objects: Arc<Mutex<BTreeMap<Path, Object>>>,
}

/// The pieces of an object.
type Object = Arc<[Bytes]>;

impl Memory {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<Path, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &Path) -> Result<Object> {
        let object = self.objects().get(path).cloned();
        object.ok_or_else(|| Error::NotFound {
            path: path.to_string(),
            source: "nothing has that name".into(),
        })
    }

    /// Puts an object under its name, unless it has to be new and isn't.
    fn publish(&self, path: &Path, pieces: Object, new: bool) -> Result<PutResult> {
        let mut objects = self.objects();
        if new && objects.contains_key(path) {
            return Err(Error::AlreadyExists {
                path: path.to_string(),
                source: "something has that name".into(),
            });
        }
        let old = objects.insert(path.clone(), pieces);
        drop(objects);
        // Giving a large object's memory back takes a while.
        drop(old);
        Ok(put())
    }

    fn refused(&self, operation: &str) -> Error {
        Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

fn meta_of(path: &Path, pieces: &[Bytes]) -> ObjectMeta {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    meta(path.clone(), size)
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let new = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(self.refused("an update of a known version")),
        };
        self.publish(location, payload.into_iter().collect(), new)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            memory: self.clone(),
            path: location.clone(),
            pieces: Vec::new(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        got("memory", location, &self.find(location)?, &options)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let memory = self.clone();
        let deleted = locations.map(move |location| {
            let location = location?;
            let object = memory.objects().remove(&location);
            drop(object);
            Ok(location)
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = Path::ROOT;
        let prefix = prefix.unwrap_or(&root);
        let below = |path: &Path| {
            let rest = path.prefix_match(prefix);
            rest.is_some_and(|mut rest| rest.next().is_some())
        };
        let objects = self.objects();
        let found = objects.iter().filter(|(path, _)| below(path));
        let found: Vec<_> = found
            .map(|(path, object)| Ok(meta_of(path, object)))
            .collect();
        stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let objects = self.objects();
        let metas = objects.iter().map(|(path, object)| meta_of(path, object));
        Ok(in_folder(prefix, metas))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let object = self.find(from)?;
        let new = matches!(options.mode, CopyMode::Create);
        self.publish(to, object, new).map(drop)
    }
}

/// An object that comes piece by piece.
#[derive(Debug)]
struct Upload {
    memory: Memory,
    path: Path,
    pieces: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        self.pieces.extend(payload);
        Box::pin(ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let pieces = std::mem::take(&mut self.pieces);
        self.memory.publish(&self.path, pieces.into(), false)
    }

    async fn abort(&mut self) -> Result<()> {
        self.pieces.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectStorage;

    #[test]
    fn an_object_is_kept_in_its_pieces_and_read_as_one() {
        let memory = Memory::default();
        let storage = ObjectStorage::over_memory(memory.clone());
        let pieces = ["the first piece, ", "", "another, ", "the last"];
        let mut writer = storage.writer("folder/object");
        for piece in pieces {
            writer.write(piece.into()).unwrap();
        }
        writer.finish().unwrap();
        let whole = pieces.concat();
        assert_eq!(storage.get("folder/object").unwrap().unwrap(), whole);
        for first in 0..=whole.len() as u64 + 3 {
            let read = storage.get_first("folder/object", first).unwrap().unwrap();
            assert_eq!(read, whole[..whole.len().min(first as usize)]);
        }
        let kept = memory.find(&Path::from("folder/object")).unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!(storage.list("folder").unwrap(), ["folder/object"]);
        storage.delete("folder/object").unwrap();
        assert_eq!(storage.get("folder/object").unwrap(), None);
    }
}
