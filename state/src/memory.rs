//! Objects in memory, in the pieces in which they were written.
//!
//! A snapshot comes in thousands of buffers. To join them at the end, as `object_store`'s own memory does, takes a core for more than a
//! second a gigabyte, while the job wants that core; here they are joined when somebody reads the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};

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
        Ok(PutResult {
            e_tag: None,
            version: None,
            extensions: Default::default(),
        })
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

fn len(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// There is no clock here, and nobody asks for an object's age.
fn meta(path: &Path, pieces: &[Bytes]) -> ObjectMeta {
    ObjectMeta {
        location: path.clone(),
        last_modified: Default::default(),
        size: len(pieces),
        e_tag: None,
        version: None,
    }
}

/// The part of some pieces that lies in a range.
fn cut(pieces: &[Bytes], range: &Range<u64>) -> Vec<Bytes> {
    let mut begin = 0;
    let mut cut = Vec::new();
    for piece in pieces {
        let end = begin + piece.len() as u64;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            cut.push(piece.slice((from - begin) as usize..(to - begin) as usize));
        }
        begin = end;
    }
    cut
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
        let pieces = self.find(location)?;
        let meta = meta(location, &pieces);
        options.check_preconditions(&meta)?;
        let range = match options.range {
            None => 0..meta.size,
            Some(range) => range.as_range(meta.size).map_err(|source| Error::Generic {
                store: "memory",
                source: source.into(),
            })?,
        };
        let pieces = cut(&pieces, &range).into_iter().map(Ok);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(pieces).boxed()),
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
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
        let found: Vec<_> = found.map(|(path, object)| Ok(meta(path, object))).collect();
        stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::ROOT;
        let prefix = prefix.unwrap_or(&root);
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        for (path, object) in &*self.objects() {
            let Some(mut rest) = path.prefix_match(prefix) else {
                continue;
            };
            match (rest.next(), rest.next()) {
                (Some(folder), Some(_)) => drop(folders.insert(prefix.clone().join(folder))),
                (Some(_), None) => objects.push(meta(path, object)),
                (None, _) => {}
            }
        }
        Ok(ListResult {
            objects,
            common_prefixes: folders.into_iter().collect(),
            extensions: Default::default(),
        })
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

    #[test]
    fn a_part_of_pieces_is_cut_out_wherever_it_begins_and_ends() {
        let pieces: Vec<Bytes> = ["ab", "c", "def"].map(Bytes::from).into();
        for start in 0..7 {
            for end in start..7 {
                let expected = &"abcdef"[start.min(6)..end.min(6)];
                assert_eq!(
                    cut(&pieces, &(start as u64..end as u64)).concat(),
                    expected.as_bytes()
                );
            }
        }
    }
}
