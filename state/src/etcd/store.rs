//! Objects as keys of etcd: small ones, such as a log's entries.
//!
//! Create-if-absent is a transaction on `create_revision == 0`. There is no writing piece by piece, and a listing knows
//! names, not sizes. etcd keeps what was deleted until its history is compacted: run it with
//! `--auto-compaction-retention`.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Compare, CompareOp, GetOptions as Query, Txn, TxnOp};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::{Etcd, EtcdError};
use crate::serving::{got, in_folder, meta, put};

/// Keys of one page of a listing.
const PAGE: i64 = 4_096;

/// All keys of a cluster, as objects.
#[derive(Debug, Clone)]
pub(crate) struct EtcdStore {
    pub(crate) etcd: Etcd,
}

impl EtcdStore {
    /// All keys below a folder, ascending.
    async fn keys(&self, folder: Option<&Path>) -> Result<Vec<Path>> {
        let folder = folder.map_or("", Path::as_ref);
        let start = if folder.is_empty() {
            String::from('\0')
        } else {
            format!("{folder}/")
        };
        // '0' follows '/', and a single 0 byte is etcd's word for the end of all keys.
        let end = if folder.is_empty() {
            String::from('\0')
        } else {
            format!("{folder}0")
        };
        let mut keys: Vec<Path> = Vec::new();
        let mut from = start;
        loop {
            let query = Query::new()
                .with_range(end.clone())
                .with_keys_only()
                .with_limit(PAGE);
            let page = self.etcd.call(|mut client| {
                let (from, query) = (from.clone(), query.clone());
                async move { client.get(from, Some(query)).await }
            });
            let page = page.await.map_err(failed)?;
            for found in page.kvs() {
                let name = String::from_utf8_lossy(found.key());
                // What isn't named like an object isn't one.
                keys.extend(Path::parse(&*name));
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = String::from_utf8_lossy(last.key()).into_owned() + "\0";
                }
                _ => return Ok(keys),
            }
        }
    }
}

#[async_trait]
impl ObjectStore for EtcdStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (key, value) = (location.as_ref(), Bytes::from(payload));
        let write = || TxnOp::put(key, &*value, None);
        let txn = match opts.mode {
            PutMode::Overwrite => Txn::new().and_then([write()]),
            PutMode::Create => {
                let absent = Compare::create_revision(key, CompareOp::Equal, 0);
                Txn::new().when([absent]).and_then([write()])
            }
            PutMode::Update(_) => return Err(self.not_there("replace one version by another")),
        };
        let done = self.etcd.call(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        });
        if !done.await.map_err(failed)?.succeeded() {
            return Err(Error::AlreadyExists {
                path: key.to_owned(),
                source: "the key has a revision".into(),
            });
        }
        Ok(put())
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.not_there("write large objects"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.etcd.call(|mut client| {
            let key = location.as_ref().to_owned();
            async move { client.get(key, None).await }
        });
        let mut found = found.await.map_err(failed)?.take_kvs();
        let Some(found) = found.pop() else {
            return Err(Error::NotFound {
                path: location.to_string(),
                source: "there is no such key".into(),
            });
        };
        let value = Bytes::from(found.into_key_value().1);
        got(STORE, location, &[value], &options)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Path| {
            let store = store.clone();
            async move {
                let deleted = store.etcd.call(|mut client| {
                    let key = location.as_ref().to_owned();
                    async move { client.delete(key, None).await }
                });
                deleted.await.map_err(failed)?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let keys = async move {
            let keys = store.keys(prefix.as_ref()).await?;
            Ok::<_, Error>(stream::iter(keys).map(|key| Ok(meta(key, 0))))
        };
        keys.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let keys = self.keys(prefix).await?;
        Ok(in_folder(prefix, keys.into_iter().map(|key| meta(key, 0))))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(self.not_there("copy objects"))
    }
}

impl EtcdStore {
    fn not_there(&self, operation: &str) -> Error {
        Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        }
    }
}

impl fmt::Display for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd at {}", self.etcd.endpoints())
    }
}

const STORE: &str = "etcd";

fn failed(error: EtcdError) -> Error {
    Error::Generic {
        store: STORE,
        source: Box::new(error),
    }
}

impl EtcdError {
    /// The other way round.
    pub(crate) fn within(error: Error) -> std::result::Result<Box<Self>, Error> {
        match error {
            Error::Generic { store, source } => source
                .downcast()
                .map_err(|source| Error::Generic { store, source }),
            other => Err(other),
        }
    }
}
