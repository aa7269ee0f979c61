//! Which threads storage may be called on, and what happens to jobs that panic there.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;

use rivus_core::JobId;
use rivus_state::{Blocking, Inline, JobLog, ObjectStorage, Pool, StorageError};
use tokio::runtime::Builder;
use uuid::Uuid;

const JOB: JobId = JobId(Uuid::from_u128(7));

/// A bit of everything, in one line.
fn exercise(storage: &ObjectStorage) -> Result<Vec<String>, StorageError> {
    JobLog::new(storage.clone()).probe(7)?;
    let mut writer = storage.writer("a");
    writer.write(vec![1; 9 << 20].into())?;
    writer.write("end".into())?;
    writer.finish()?;
    storage.get("a")?;
    storage.list("")
}

#[test]
fn a_directory_works_on_a_pool_that_has_no_thread_to_spare() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::directory(dir.path()).unwrap();
    let (reply, told) = channel();
    Pool::new(runtime.handle().clone()).run(Box::new(move || {
        reply.send(exercise(&storage)).unwrap();
    }));
    assert_eq!(told.recv().unwrap().unwrap(), ["a"]);
}

#[test]
fn any_storage_works_inline_on_a_current_thread_runtime() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for storage in [
        ObjectStorage::in_memory(),
        ObjectStorage::directory(dir.path()).unwrap(),
    ] {
        let (reply, told) = channel();
        runtime.block_on(async {
            Inline.run(Box::new(move || {
                reply.send(exercise(&storage)).unwrap();
            }));
        });
        assert_eq!(told.recv().unwrap().unwrap(), ["a"]);
    }
}

#[test]
fn a_pool_goes_on_after_a_job_that_panicked() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let pool = Pool::new(runtime.handle().clone());
    let (lost, closed) = channel::<()>();
    pool.run(Box::new(move || {
        let _lost = lost;
        panic!("on purpose");
    }));
    assert!(closed.recv().is_err());
    let (reply, told) = channel();
    pool.run(Box::new(move || reply.send(1).unwrap()));
    assert_eq!(told.recv(), Ok(1));
}

#[test]
fn inline_lets_a_panic_through_to_its_caller() {
    let run = AssertUnwindSafe(|| Inline.run(Box::new(|| panic!("on purpose"))));
    assert!(catch_unwind(run).is_err());
}

#[test]
fn a_directory_is_created_and_its_objects_outlive_the_storage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/and/deep");
    let first = ObjectStorage::directory(&path).unwrap();
    first.put("a/b", "c".into()).unwrap();
    drop(first);
    let second = ObjectStorage::directory(&path).unwrap();
    assert_eq!(second.get("a/b").unwrap().unwrap(), "c");
    second.delete("a/b").unwrap();
    assert!(path.exists() && !path.join("a").exists());
}

#[test]
fn writers_are_not_hurt_by_folders_that_vanish_under_them() {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::directory(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let storage = storage.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let name = format!("a/b/c/{thread}");
                    let _ = storage.create(&name, "x".into()).unwrap();
                    storage.delete(&name).unwrap();
                    storage.writer(&name).finish().unwrap();
                    storage.delete(&name).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_directory_that_vanishes_is_not_made_anew_and_is_used_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let [path, aside] = ["storage", "aside"].map(|name| dir.path().join(name));
    let storage = ObjectStorage::directory(&path).unwrap();
    storage.put("a/b", "c".into()).unwrap();
    let expect_vanished = || {
        let refused = [
            storage.put("a/b", "d".into()),
            storage.create("a/c", "d".into()).map(drop),
            storage.get("a/b").map(drop),
            storage.list("").map(drop),
            storage.folders("").map(drop),
            storage.delete("a/b"),
            storage.writer("a/d").finish().map(drop),
            JobLog::new(storage.clone()).claim_job(JOB).map(drop),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert!(matches!(error, StorageError::Vanished { .. }), "{error}");
        }
    };
    std::fs::rename(&path, &aside).unwrap();
    expect_vanished();
    assert!(!path.exists());
    // Where a disk was mounted there is an empty directory.
    std::fs::create_dir(&path).unwrap();
    expect_vanished();
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(storage.list("").unwrap(), ["a/b"]);
    storage.put("a/b", "d".into()).unwrap();
}

#[test]
fn what_is_written_while_a_directory_vanishes_is_in_it_or_is_not_told_as_written() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let [path, aside] = ["storage", "aside"].map(|name| dir.path().join(name));
        let storage = ObjectStorage::directory(&path).unwrap();
        let (began, begun) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let mut written = 0;
            let error = loop {
                match storage.put(&format!("{written}/x"), "y".into()) {
                    Ok(()) => written += 1,
                    Err(error) => break error,
                }
                let _ = began.send(());
            };
            assert!(matches!(error, StorageError::Vanished { .. }), "{error}");
            written
        });
        (0..3).for_each(|_| begun.recv().unwrap());
        std::fs::rename(&path, &aside).unwrap();
        for name in 0..writer.join().unwrap() {
            assert!(aside.join(format!("{name}/x")).exists(), "{name}");
        }
    }
}

#[test]
fn a_directory_that_another_number_is_given_to_is_known_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let [path, aside] = ["storage", "aside"].map(|name| dir.path().join(name));
    let storage = ObjectStorage::directory(&path).unwrap();
    storage.identity(uuid::Uuid::from_u128(1)).unwrap();
    std::fs::rename(&path, &aside).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(storage.put("a", "b".into()).is_err());
    // As a directory that is mounted again.
    std::fs::copy(aside.join("id"), path.join("id")).unwrap();
    storage.put("a", "b".into()).unwrap();
}

#[test]
fn a_directory_that_can_not_be_is_named_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for path in [file.join("below"), file] {
        let error = ObjectStorage::directory(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(
            error.contains("it is a file, or lies in one: give a directory"),
            "{error}"
        );
    }
}
