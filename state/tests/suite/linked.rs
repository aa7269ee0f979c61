//! Files that a storage and databases have in common because they lie on one disk.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rivus_core::job::{SnapshotRef, StoredFile, StoredFiles};
use rivus_core::{
    AttemptId, Changes, CheckpointId, JobId, OperatorUid, Space, StateStore, StoreImage, SubtaskId,
    VertexId,
};
use rivus_state::{
    CheckpointStorage, ObjectStorage, RocksDbBackend, StateBackend, StorageError, StoredImage,
};
use uuid::Uuid;

const JOB: JobId = JobId(Uuid::from_u128(7));

fn attempt(attempt: u32) -> AttemptId {
    let subtask = SubtaskId {
        vertex: VertexId(1),
        index: 0,
    };
    AttemptId { subtask, attempt }
}

fn sums() -> OperatorUid {
    "sums".into()
}

/// A storage and databases below one directory.
fn on_one_disk(directory: &Path) -> (CheckpointStorage, RocksDbBackend) {
    let objects = ObjectStorage::directory(directory.join("storage")).unwrap();
    let backend = RocksDbBackend::new(directory.join("state")).unwrap();
    (CheckpointStorage::new(objects), backend)
}

/// A checkpoint of a store with one row.
fn stored(checkpoints: &CheckpointStorage, store: &dyn StateStore) -> StoredFiles {
    let mut changes = Changes::default();
    let bytes = |bytes: &'static [u8]| {
        move |out: &mut Vec<u8>| {
            out.extend_from_slice(bytes);
            Ok::<(), Infallible>(())
        }
    };
    changes
        .put(Space::Rows, bytes(b"key"), bytes(b"value"))
        .unwrap();
    store.write(&changes).unwrap();
    let image = store.image().unwrap();
    let store_file = |name: &str| {
        let id = CheckpointId(1);
        let mut writer = checkpoints.file_writer(JOB, id, attempt(1), &sums(), name);
        if let Some(file) = image.on_disk(name) {
            writer.links(file);
        }
        let write = &mut |piece: &[u8]| {
            writer.write_from(piece).unwrap();
            Ok(())
        };
        image.read(name, write).unwrap();
        let handle = writer.finish().unwrap();
        StoredFile {
            name: name.to_owned(),
            object: SnapshotRef {
                name: handle.name,
                len: handle.len,
                crc32c: handle.crc32c,
            },
        }
    };
    let files = image.files().iter().map(|file| store_file(&file.name));
    StoredFiles {
        operator: sums(),
        format: image.format().to_owned(),
        files: files.collect(),
    }
}

/// All files below a directory that hold rows.
fn tables(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tables(&path));
        } else if path.extension().is_some_and(|ending| ending == "sst") {
            found.push(path);
        }
    }
    found
}

fn rows(store: &dyn StateStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let each = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(true)
    };
    store.scan(Space::Rows, &[]).unwrap().read(each).unwrap();
    rows
}

#[test]
fn a_file_that_holds_rows_is_on_the_disk_once_however_many_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let storage = directory.path().join("storage");
    let (checkpoints, backend) = on_one_disk(directory.path());
    let one = backend.stores(JOB, attempt(1)).open(&sums(), None).unwrap();
    let stored = stored(&checkpoints, &*one);
    let [table] = &tables(&storage)[..] else {
        panic!("one file holds the row");
    };
    assert_eq!(
        table.metadata().unwrap().nlink(),
        2,
        "the store's and the checkpoint's"
    );
    drop(one);
    assert_eq!(table.metadata().unwrap().nlink(), 1);
    let image: Arc<dyn StoreImage> = Arc::new(StoredImage::new(checkpoints, &stored));
    let stores = backend.stores(JOB, attempt(2));
    let again = stores.open(&sums(), Some(&*image)).unwrap();
    assert_eq!(table.metadata().unwrap().nlink(), 2);
    // The checkpoint is not needed any more; the store is.
    fs::remove_dir_all(&storage).unwrap();
    assert_eq!(rows(&*again), [(b"key".to_vec(), b"value".to_vec())]);
}

#[test]
fn a_stored_file_that_is_damaged_is_linked_to_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let storage = directory.path().join("storage");
    let (checkpoints, backend) = on_one_disk(directory.path());
    let one = backend.stores(JOB, attempt(1)).open(&sums(), None).unwrap();
    let stored = stored(&checkpoints, &*one);
    let table = &tables(&storage)[0];
    let mut bytes = fs::read(table).unwrap();
    bytes[3] ^= 1;
    fs::remove_file(table).unwrap();
    fs::write(table, bytes).unwrap();
    let image = StoredImage::new(checkpoints, &stored);
    let refused = backend.stores(JOB, attempt(2)).open(&sums(), Some(&image));
    let refusal = refused.err().unwrap().message;
    assert!(refusal.contains("is damaged"), "{refusal}");
    assert_eq!(table.metadata().unwrap().nlink(), 1);
}

#[test]
fn what_cannot_be_linked_to_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let bytes = vec![7; 20 << 20];
    fs::write(&file, &bytes).unwrap();
    let storages = [
        ObjectStorage::in_memory(),
        ObjectStorage::directory(directory.path().join("storage")).unwrap(),
    ];
    for storage in storages {
        // A link replaces nothing.
        storage.put("object", "before".into()).unwrap();
        let mut writer = storage.writer("object");
        writer.links(file.clone());
        for piece in bytes.chunks(1 << 20) {
            writer.write_from(piece).unwrap();
        }
        let written = writer.finish().unwrap();
        assert_eq!(written.len, bytes.len() as u64);
        assert_eq!(storage.get("object").unwrap().unwrap(), bytes);
    }
    assert_eq!(file.metadata().unwrap().nlink(), 1);
}

#[test]
fn a_file_that_has_gone_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::directory(directory.path().join("storage")).unwrap();
    let mut writer = storage.writer("object");
    writer.links(directory.path().join("file"));
    writer.write_from(b"what it held").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, StorageError::LinkedFile { .. }));
    assert!(
        error.to_string().contains("object") && error.to_string().contains("/file can't be read")
    );
    assert_eq!(storage.get("object").unwrap(), None);
}
