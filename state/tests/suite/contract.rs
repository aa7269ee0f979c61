//! One list of promises, kept by every storage: memory, a directory, a store reached over a runtime, S3; and of the log
//! etcd too.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use bytes::Bytes;
use object_store::memory::InMemory;
use rivus_core::job::SnapshotRef;
use rivus_core::{AttemptId, CheckpointId, FailureScope, JobId, SubtaskId, VertexId};
use rivus_state::{
    Append, CheckpointStorage, Created, Fault, JobLog, LogRecord, ObjectStorage, RecordKind,
    SnapshotHandle, StorageError, StorageFaults, StorageOp, checkpoint_folder,
};
use uuid::Uuid;

const OURS: u128 = 1;
const THEIRS: u128 = 2;

fn job() -> JobId {
    JobId(Uuid::from_u128(0xabc))
}

fn entry(index: u64) -> String {
    format!("jobs/{}/log/{index:020}", job())
}

fn attempt(attempt: u32) -> AttemptId {
    AttemptId {
        subtask: SubtaskId {
            vertex: VertexId(3),
            index: 0,
        },
        attempt,
    }
}

/// One fault for the first matching operation; everything after it passes.
struct Once(Mutex<Option<(StorageOp, Fault)>>);

impl StorageFaults for Once {
    fn before(&self, op: StorageOp, _name: &str) -> Option<Fault> {
        let mut armed = self.0.lock().unwrap();
        armed.take_if(|(at, _)| *at == op).map(|(_, fault)| fault)
    }
}

fn once(storage: &ObjectStorage, op: StorageOp, fault: Fault) -> ObjectStorage {
    let faults = Once(Mutex::new(Some((op, fault))));
    storage.clone().with_faults(Arc::new(faults))
}

fn log_of(storage: &ObjectStorage, entries: u64) -> JobLog {
    let log = JobLog::new(storage.clone());
    for index in 0..entries {
        let payload = format!("e{index}");
        let append = log.append(job(), index, OURS, payload.as_bytes());
        assert_eq!(append.unwrap(), Append::Written);
    }
    log
}

fn payloads(records: &[LogRecord]) -> String {
    let texts: Vec<_> = records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.payload))
        .collect();
    texts.join(" ")
}

fn snapshot(storage: &ObjectStorage, number: u64, bytes: &'static str) -> SnapshotHandle {
    let checkpoints = CheckpointStorage::new(storage.clone());
    let mut writer = checkpoints.snapshot_writer(job(), CheckpointId(number), attempt(1));
    writer.write(bytes.into()).unwrap();
    writer.finish().unwrap()
}

// Objects

pub(crate) fn what_is_put_can_be_read_listed_replaced_and_deleted(storage: ObjectStorage) {
    assert_eq!(storage.get("a/x").unwrap(), None);
    assert_eq!(storage.list("").unwrap(), [""; 0]);
    for name in ["b/z", "a/y/deep", "a/x", "ab"] {
        storage.put(name, name.into()).unwrap();
    }
    storage.put("a/x", "new".into()).unwrap();
    assert_eq!(storage.get("a/x").unwrap().unwrap(), "new");
    assert_eq!(storage.list("a").unwrap(), ["a/x", "a/y/deep"]);
    assert_eq!(storage.list("").unwrap(), ["a/x", "a/y/deep", "ab", "b/z"]);
    assert_eq!(storage.folders("").unwrap(), ["a", "b"]);
    assert_eq!(storage.folders("a").unwrap(), ["y"]);
    storage.delete("a/x").unwrap();
    storage.delete("a/x").unwrap();
    assert_eq!(storage.get("a/x").unwrap(), None);
}

pub(crate) fn of_many_creators_racing_on_threads_exactly_one_wins(storage: ObjectStorage) {
    let start = Barrier::new(8);
    let won: Vec<usize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|writer: usize| {
                let (storage, start) = (&storage, &start);
                scope.spawn(move || {
                    start.wait();
                    let bytes = Bytes::from(writer.to_string());
                    let created = storage.create("race/slot", bytes).unwrap();
                    (created == Created::Created).then_some(writer)
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.flatten().collect()
    });
    let [winner] = won[..] else {
        panic!("{won:?} won")
    };
    let found = storage.get("race/slot").unwrap().unwrap();
    assert_eq!(found, winner.to_string());
    assert_eq!(storage.list("").unwrap(), ["race/slot"]);
}

pub(crate) fn a_writer_shows_nothing_until_it_is_finished(storage: ObjectStorage) {
    let mut writer = storage.writer("big");
    let piece = Bytes::from(vec![7; 5 << 20]);
    for _ in 0..5 {
        writer.write(piece.clone()).unwrap();
        assert_eq!(storage.get("big").unwrap(), None);
        assert_eq!(storage.list("").unwrap(), [""; 0]);
    }
    let written = writer.finish().unwrap();
    let found = storage.get("big").unwrap().unwrap();
    assert_eq!(found, vec![7; 25 << 20]);
    assert_eq!((written.name.as_str(), written.len), ("big", 25 << 20));
    assert_eq!(written.crc32c, crc32c::crc32c(&found));
}

pub(crate) fn a_writer_given_up_or_dropped_leaves_what_was_there(storage: ObjectStorage) {
    storage.put("big", "old".into()).unwrap();
    for drop_it in [false, true] {
        let mut writer = storage.writer("big");
        for _ in 0..3 {
            writer.write(vec![7; 9 << 20].into()).unwrap();
        }
        if drop_it {
            drop(writer);
        } else {
            writer.abort();
        }
        assert_eq!(storage.get("big").unwrap().unwrap(), "old");
        assert_eq!(storage.list("").unwrap(), ["big"]);
    }
}

pub(crate) fn an_object_of_no_bytes_is_an_object(storage: ObjectStorage) {
    assert_eq!(storage.writer("empty").finish().unwrap().len, 0);
    assert_eq!(storage.get("empty").unwrap().unwrap(), "");
}

pub(crate) fn a_name_that_leads_elsewhere_is_refused(storage: ObjectStorage) {
    let error = storage.put("a/../../b", "".into()).unwrap_err();
    assert!(error.to_string().contains("a/../../b"), "{error}");
}

// Faults

pub(crate) fn each_fault_does_what_it_says(storage: ObjectStorage) {
    for (fault, left) in [
        (Fault::Fail, None),
        (Fault::FailAfterWrite, Some("12345678".into())),
        (Fault::Torn, Some("1234".into())),
    ] {
        let put = once(&storage, StorageOp::Put, fault).put("put", "12345678".into());
        let created = once(&storage, StorageOp::Create, fault).create("created", "12345678".into());
        let mut writer = once(&storage, StorageOp::Finish, fault).writer("finished");
        writer.write("123".into()).unwrap();
        writer.write("45678".into()).unwrap();
        let finished = writer.finish();
        for (name, error) in [
            ("put", put.unwrap_err()),
            ("created", created.map(|_| ()).unwrap_err()),
            ("finished", finished.unwrap_err()),
        ] {
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(storage.get(name).unwrap(), left, "{fault:?} of {name}");
            storage.delete(name).unwrap();
        }
    }
}

pub(crate) fn a_writer_that_failed_once_can_not_be_finished(storage: ObjectStorage) {
    let mut writer = once(&storage, StorageOp::Write, Fault::Fail).writer("half");
    assert!(writer.write("lost".into()).is_err());
    assert!(writer.write("kept".into()).is_err());
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, StorageError::Unfinished { name } if name == "half"));
    assert_eq!(storage.get("half").unwrap(), None);
}

// Checkpoints

pub(crate) fn a_snapshot_is_invisible_until_finished_and_then_reads_back(storage: ObjectStorage) {
    let checkpoints = CheckpointStorage::new(storage.clone());
    let mut writer = checkpoints.snapshot_writer(job(), CheckpointId(12), attempt(4));
    writer.write("some ".into()).unwrap();
    assert_eq!(checkpoints.list(job()).unwrap(), []);
    writer.write("state".into()).unwrap();
    let handle = writer.finish().unwrap();
    let name = format!("jobs/{}/checkpoints/12/v3-0-4.snapshot", job());
    assert_eq!((&handle.name, handle.len), (&name, 10));
    assert_eq!(checkpoints.read_snapshot(&handle).unwrap(), "some state");
    let json = serde_json::to_string(&handle).unwrap();
    assert_eq!(
        serde_json::from_str::<SnapshotHandle>(&json).unwrap(),
        handle
    );
}

pub(crate) fn a_snapshot_that_is_damaged_cut_or_gone_is_named(storage: ObjectStorage) {
    let checkpoints = CheckpointStorage::new(storage.clone());
    let handle = snapshot(&storage, 1, "12345");
    for (damage, says) in [
        (Some("12x45"), "is damaged: checksum"),
        (Some("123"), "is truncated: 3 bytes instead of 5"),
        (None, "is missing"),
    ] {
        match damage {
            Some(bytes) => storage.put(&handle.name, bytes.into()).unwrap(),
            None => storage.delete(&handle.name).unwrap(),
        }
        let error = checkpoints.read_snapshot(&handle).unwrap_err();
        assert!(error.is_for_good());
        let failure = checkpoints.failure(error);
        // To try again won't help.
        assert_eq!(failure.scope, FailureScope::Job);
        let error = failure.message;
        assert!(
            error.starts_with(&format!("{:?} is ", handle.name)),
            "{error}"
        );
        let mend = format!(
            "/{} back from a copy, or go on from a savepoint that is whole",
            handle.name
        );
        assert!(
            error.contains(": bring ") && error.ends_with(&mend),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

pub(crate) fn a_file_from_elsewhere_is_verified_and_goes_with_the_checkpoint_it_is_copied_for(
    storage: ObjectStorage,
) {
    let elsewhere = ObjectStorage::in_memory();
    let SnapshotHandle { name, len, crc32c } = snapshot(&elsewhere, 9, "12345");
    let file = SnapshotRef { name, len, crc32c };
    let checkpoints = CheckpointStorage::new(storage.clone());
    let other = CheckpointStorage::new(elsewhere.clone());
    let folder = checkpoint_folder(job(), CheckpointId(9));
    let copy = || checkpoints.copy_from(&other, &file, &folder);
    copy().unwrap();
    let copied = storage.get(&format!("{folder}/{}", file.name)).unwrap();
    assert_eq!(copied.unwrap(), "12345");
    assert_eq!(checkpoints.list(job()).unwrap(), [CheckpointId(9)]);
    // It is no longer retained.
    checkpoints
        .clean_up(job(), &[CheckpointId(10)], false)
        .unwrap();
    assert_eq!(checkpoints.list(job()).unwrap(), []);
    elsewhere.put(&file.name, "12x45".into()).unwrap();
    assert!(copy().unwrap_err().is_damage());
    assert_eq!(checkpoints.list(job()).unwrap(), []);
}

pub(crate) fn a_manifest_is_written_once_and_its_damage_is_named(storage: ObjectStorage) {
    let checkpoints = CheckpointStorage::new(storage.clone());
    let n = CheckpointId(7);
    let missing = checkpoints.read_manifest(job(), n).unwrap_err();
    assert!(matches!(missing, StorageError::Missing { .. }));
    checkpoints.write_manifest(job(), n, b"first").unwrap();
    checkpoints.write_manifest(job(), n, b"first").unwrap();
    let other = checkpoints.write_manifest(job(), n, b"other").unwrap_err();
    assert!(matches!(other, StorageError::ManifestExists { .. }));
    assert_eq!(checkpoints.read_manifest(job(), n).unwrap(), "first");

    let name = format!("jobs/{}/checkpoints/7/manifest", job());
    let whole = storage.get(&name).unwrap().unwrap();
    storage.put(&name, whole.slice(..whole.len() - 1)).unwrap();
    let error = checkpoints.read_manifest(job(), n).unwrap_err();
    assert!(matches!(&error, StorageError::Length { name: at, .. } if *at == name));
    storage
        .put(&name, "something else altogether".into())
        .unwrap();
    let error = checkpoints.read_manifest(job(), n).unwrap_err();
    assert!(error.to_string().contains("is not a checkpoint manifest"));
}

pub(crate) fn a_manifest_put_that_timed_out_can_be_repeated(storage: ObjectStorage) {
    let slow = once(&storage, StorageOp::Create, Fault::FailAfterWrite);
    let checkpoints = CheckpointStorage::new(slow);
    let n = CheckpointId(1);
    assert!(checkpoints.write_manifest(job(), n, b"m").is_err());
    checkpoints.write_manifest(job(), n, b"m").unwrap();
}

pub(crate) fn checkpoints_are_listed_by_number_and_deleted_whole(storage: ObjectStorage) {
    let checkpoints = CheckpointStorage::new(storage.clone());
    for number in [10, 9, 100] {
        snapshot(&storage, number, "state");
        let n = CheckpointId(number);
        checkpoints.write_manifest(job(), n, b"manifest").unwrap();
    }
    checkpoints
        .delete_checkpoint(job(), CheckpointId(10))
        .unwrap();
    checkpoints
        .delete_checkpoint(job(), CheckpointId(10))
        .unwrap();
    let left = checkpoints.list(job()).unwrap();
    assert_eq!(left, [CheckpointId(9), CheckpointId(100)]);
    assert_eq!(storage.list("").unwrap().len(), 4);
}

// The log

pub(crate) fn the_log_reads_back_what_was_appended(storage: ObjectStorage) {
    let log = log_of(&storage, 12);
    assert_eq!(payloads(&log.read_from(job(), 9).unwrap()), "e9 e10 e11");
    assert_eq!(log.read_from(job(), 12).unwrap(), []);
    let all = log.read_all(job()).unwrap();
    assert_eq!((all.entries.len(), all.next_index()), (12, 12));
    assert_eq!(all.snapshot, None);
    assert_eq!(all.entries[3].nonce, OURS);
    assert_eq!(log.jobs().unwrap(), [job()]);
    let nobody = JobId(Uuid::from_u128(1));
    assert_eq!(log.read_all(nobody).unwrap().next_index(), 0);
}

pub(crate) fn only_jobs_with_a_log_are_listed(storage: ObjectStorage) {
    snapshot(&storage, 1, "of a job without a log");
    storage.put("jobs/notes/log/1", "foreign".into()).unwrap();
    assert_eq!(JobLog::new(storage).jobs().unwrap(), []);
}

pub(crate) fn two_leaders_racing_for_one_slot_agree_on_who_has_it(storage: ObjectStorage) {
    for slot in 0..20 {
        let start = Barrier::new(2);
        let race = |nonce: u128| {
            let (storage, start) = (storage.clone(), &start);
            move || {
                start.wait();
                JobLog::new(storage).append(job(), slot, nonce, b"Leader")
            }
        };
        let (ours, theirs) = thread::scope(|scope| {
            let ours = scope.spawn(race(OURS));
            let theirs = scope.spawn(race(THEIRS));
            (ours.join().unwrap(), theirs.join().unwrap())
        });
        match (ours.unwrap(), theirs.unwrap()) {
            (Append::Written, Append::Lost { by }) => assert_eq!(by.nonce, OURS),
            (Append::Lost { by }, Append::Written) => assert_eq!(by.nonce, THEIRS),
            both => panic!("slot {slot}: {both:?}"),
        }
    }
}

pub(crate) fn a_put_that_timed_out_but_happened_is_known_by_its_nonce(storage: ObjectStorage) {
    let log = JobLog::new(once(&storage, StorageOp::Create, Fault::FailAfterWrite));
    let append = log.append(job(), 0, OURS, b"x").unwrap();
    assert_eq!(append, Append::Written);
    let again = log.append(job(), 0, OURS, b"x").unwrap();
    assert_eq!(again, Append::Written);
    let other_payload = log.append(job(), 0, OURS, b"y").unwrap();
    assert!(matches!(other_payload, Append::Lost { .. }));
}

pub(crate) fn a_put_that_failed_is_an_error_and_may_be_repeated(storage: ObjectStorage) {
    let log = JobLog::new(once(&storage, StorageOp::Create, Fault::Fail));
    let error = log.append(job(), 0, OURS, b"x").unwrap_err();
    assert!(matches!(error, StorageError::Injected { .. }), "{error}");
    let again = log.append(job(), 0, OURS, b"x").unwrap();
    assert_eq!(again, Append::Written);
}

pub(crate) fn a_put_that_failed_in_a_taken_slot_has_lost(storage: ObjectStorage) {
    log_of(&storage, 1);
    let log = JobLog::new(once(&storage, StorageOp::Create, Fault::Fail));
    let append = log.append(job(), 0, THEIRS, b"x").unwrap();
    assert!(matches!(append, Append::Lost { by } if by.payload == "e0"));
}

pub(crate) fn a_torn_entry_is_reported_with_its_name(storage: ObjectStorage) {
    log_of(&storage, 2);
    let log = JobLog::new(once(&storage, StorageOp::Create, Fault::Torn));
    for error in [
        log.append(job(), 2, OURS, b"torn apart").unwrap_err(),
        log.read_from(job(), 0).unwrap_err(),
        log.read_all(job()).unwrap_err(),
        log.append(job(), 2, THEIRS, b"next").unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains(&entry(2)), "{error}");
        assert!(error.contains("truncated"), "{error}");
    }
}

pub(crate) fn a_damaged_entry_is_reported_with_its_name(storage: ObjectStorage) {
    let log = log_of(&storage, 3);
    let mut bytes = storage.get(&entry(1)).unwrap().unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    storage.put(&entry(1), bytes.into()).unwrap();
    let error = log.read_from(job(), 0).unwrap_err();
    assert!(matches!(&error, StorageError::Checksum { name, .. } if *name == entry(1)));
    assert_eq!(payloads(&log.read_from(job(), 2).unwrap()), "e2");
}

pub(crate) fn a_gap_is_reported_with_the_name_of_what_is_missing(storage: ObjectStorage) {
    let log = log_of(&storage, 4);
    storage.delete(&entry(1)).unwrap();
    let error = log.read_all(job()).unwrap_err();
    assert!(matches!(&error, StorageError::Gap { name, .. } if *name == entry(1)));
}

pub(crate) fn a_compacted_log_reads_from_its_newest_snapshot(storage: ObjectStorage) {
    let log = log_of(&storage, 6);
    for upto in [2, 4, 5] {
        let fold = format!("fold{upto}");
        let written = log.write_snapshot(job(), upto, OURS, fold.as_bytes());
        assert_eq!(written.unwrap(), Append::Written);
    }
    log.truncate_before(job(), 5).unwrap();
    log.truncate_before(job(), 5).unwrap();
    let all = log.read_all(job()).unwrap();
    let snapshot = all.snapshot.as_ref().unwrap();
    assert_eq!((snapshot.kind, snapshot.index), (RecordKind::Snapshot, 5));
    assert_eq!(
        (snapshot.nonce, &snapshot.payload[..]),
        (OURS, &b"fold5"[..])
    );
    assert_eq!(
        (payloads(&all.entries).as_str(), all.next_index()),
        ("e5", 6)
    );
    // One entry, and the newest two snapshots.
    assert_eq!(storage.list("").unwrap().len(), 3);
    let error = log.read_from(job(), 1).unwrap_err();
    assert!(
        matches!(error, StorageError::Compacted { upto: 5, .. }),
        "{error}"
    );

    let _ = log.write_snapshot(job(), 6, OURS, b"fold6").unwrap();
    log.truncate_before(job(), 6).unwrap();
    let all = log.read_all(job()).unwrap();
    assert_eq!((all.entries.len(), all.next_index()), (0, 6));
    assert_eq!(log.jobs().unwrap(), [job()]);
    let next = log.append(job(), 6, OURS, b"e6").unwrap();
    assert_eq!(next, Append::Written);
}

pub(crate) fn a_leader_that_slept_through_a_truncation_can_not_win_a_freed_slot(
    storage: ObjectStorage,
) {
    let log = log_of(&storage, 6);
    let _ = log.write_snapshot(job(), 5, OURS, b"fold").unwrap();
    log.truncate_before(job(), 5).unwrap();
    // Twice: what the first try left behind must not help the second.
    for _ in 0..2 {
        let late = log.append(job(), 3, THEIRS, b"Completed(9)").unwrap();
        assert!(
            matches!(&late, Append::Lost { by } if by.kind == RecordKind::Snapshot && by.index == 5),
            "{late:?}"
        );
    }
    let all = log.read_all(job()).unwrap();
    assert_eq!(payloads(&all.entries), "e5");
    log.truncate_before(job(), 5).unwrap();
    assert_eq!(storage.get(&entry(3)).unwrap(), None);
}

pub(crate) fn nothing_is_folded_or_deleted_too_far(storage: ObjectStorage) {
    let log = log_of(&storage, 3);
    for error in [
        log.truncate_before(job(), 1).unwrap_err(),
        log.write_snapshot(job(), 4, OURS, b"").unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Compaction { .. }), "{error}");
    }
    let _ = log.write_snapshot(job(), 2, OURS, b"fold").unwrap();
    assert!(log.truncate_before(job(), 3).is_err());
    log.truncate_before(job(), 1).unwrap();
    assert_eq!(payloads(&log.read_from(job(), 1).unwrap()), "e1 e2");
}

pub(crate) fn a_second_fold_of_the_same_entries_loses_to_the_first(storage: ObjectStorage) {
    let log = log_of(&storage, 2);
    let _ = log.write_snapshot(job(), 2, OURS, b"fold").unwrap();
    let second = log.write_snapshot(job(), 2, THEIRS, b"fold").unwrap();
    assert!(matches!(second, Append::Lost { by } if by.nonce == OURS));
}

pub(crate) fn a_log_compacted_under_a_reader_is_read_anew(storage: ObjectStorage) {
    let log = log_of(&storage, 50);
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        let compacting = scope.spawn(|| {
            begin.wait();
            for upto in 1..=50 {
                let _ = log.write_snapshot(job(), upto, OURS, b"fold").unwrap();
                log.truncate_before(job(), upto).unwrap();
            }
        });
        begin.wait();
        while !compacting.is_finished() {
            assert_eq!(log.read_all(job()).unwrap().next_index(), 50);
        }
    });
}

/// Does something, once, before the operation of a number; or fails it.
struct Before<F> {
    operation: u32,
    operations: AtomicU32,
    does: F,
}

impl<F: Fn() -> Option<Fault> + Send + Sync> StorageFaults for Before<F> {
    fn before(&self, _: StorageOp, _: &str) -> Option<Fault> {
        match self.operations.fetch_add(1, Ordering::Relaxed) == self.operation {
            true => (self.does)(),
            false => None,
        }
    }
}

/// A log of four entries, and before one of the next operations on it something happens.
fn log_with<F>(storage: &ObjectStorage, job: JobId, operation: u32, does: F) -> JobLog
where
    F: Fn() -> Option<Fault> + Send + Sync + 'static,
{
    let log = JobLog::new(storage.clone());
    for index in 0..4 {
        let _ = log.append(job, index, OURS, b"entry").unwrap();
    }
    let operations = AtomicU32::new(0);
    let before = Before {
        operation,
        operations,
        does,
    };
    JobLog::new(storage.clone().with_faults(Arc::new(before)))
}

pub(crate) fn a_log_compacted_to_its_end_while_it_is_read_is_not_taken_for_none(
    storage: ObjectStorage,
) {
    for operation in 0..12 {
        for upto in [2, 4] {
            let job = JobId(Uuid::from_u128(
                u128::from(operation) << 8 | u128::from(upto),
            ));
            let leader = JobLog::new(storage.clone());
            let compact = move || {
                let _ = leader.write_snapshot(job, upto, OURS, b"fold").unwrap();
                leader.truncate_before(job, upto).unwrap();
                None
            };
            let read = log_with(&storage, job, operation, compact).read_all(job);
            let next = read.map(|read| read.next_index());
            assert_eq!(next.unwrap(), 4, "before operation {operation}");
        }
    }
}

pub(crate) fn whatever_is_left_of_a_log_whose_deletion_broke_off_says_that_its_job_is_over(
    storage: ObjectStorage,
) {
    for operation in 0..12 {
        // The last entry is the job's end, which the newest snapshot may hold or not.
        for upto in [0, 2, 4] {
            let job = JobId(Uuid::from_u128(
                u128::from(operation) << 8 | u128::from(upto),
            ));
            let fails = || Some(Fault::Fail);
            let failing = log_with(&storage, job, operation, fails);
            let log = JobLog::new(storage.clone());
            if upto > 0 {
                let _ = log.write_snapshot(job, upto, OURS, b"fold").unwrap();
            }
            let _ = failing.delete(job);
            if let Ok(left) = log.read_all(job) {
                let next = left.next_index();
                assert!([0, 4].contains(&next), "{upto}, {operation}: {left:?}");
            }
            log.delete(job).unwrap();
            assert_eq!(log.read_all(job).unwrap().next_index(), 0);
        }
    }
}

fn with_large(storage: &ObjectStorage, beside: &ObjectStorage) -> JobLog {
    JobLog::new(storage.clone()).with_large(beside.clone(), 10)
}

pub(crate) fn large_payloads_lie_in_the_other_storage_and_go_with_their_records(
    storage: ObjectStorage,
) {
    let beside = ObjectStorage::in_memory();
    let log = with_large(&storage, &beside);
    let large = |index: u64| format!("a payload of many bytes, {index}").into_bytes();
    for index in 0..4 {
        let small = vec![b'e'; 10];
        let payload = if index % 2 == 0 { small } else { large(index) };
        for _ in 0..2 {
            let append = log.append(job(), index, OURS, &payload).unwrap();
            assert_eq!(append, Append::Written);
        }
    }
    // Who loses the slot leaves what it wrote, until the log is truncated there.
    let lost = log.append(job(), 3, THEIRS, &large(7)).unwrap();
    assert!(matches!(lost, Append::Lost { by } if by.payload == large(3)));
    assert_eq!(beside.list("").unwrap().len(), 3);
    let read = log.read_all(job()).unwrap().entries;
    assert_eq!(read[3].payload, large(3));
    assert_eq!(payloads(&read[..1]), "e".repeat(10));
    let whole = storage.get(&entry(3)).unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&whole).contains("many bytes"));

    for upto in 1..=4 {
        let _ = log.write_snapshot(job(), upto, OURS, &large(upto)).unwrap();
        log.truncate_before(job(), upto).unwrap();
    }
    let all = log.read_all(job()).unwrap();
    assert_eq!(all.snapshot.unwrap().payload, large(4));
    // Of the newest two snapshots.
    assert_eq!(beside.list("").unwrap().len(), 2);
}

pub(crate) fn a_large_payload_that_is_damaged_or_gone_is_named(storage: ObjectStorage) {
    let beside = ObjectStorage::in_memory();
    let log = with_large(&storage, &beside);
    let payload = b"a payload of many bytes";
    let _ = log.append(job(), 0, OURS, payload).unwrap();
    let name = beside.list("").unwrap().remove(0);
    for damage in [Some("a payload of many bites"), Some("cut"), None] {
        match damage {
            Some(bytes) => beside.put(&name, bytes.into()).unwrap(),
            None => beside.delete(&name).unwrap(),
        }
        let error = log.read_all(job()).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
        // Nobody knows whose it is, so nobody steps down for it.
        assert!(log.append(job(), 0, THEIRS, payload).is_err());
    }
    let error = JobLog::new(storage).read_all(job()).unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

pub(crate) fn the_probe_accepts_a_store_that_honours_create_if_absent(storage: ObjectStorage) {
    JobLog::new(storage.clone()).probe(42).unwrap();
    assert_eq!(storage.list("").unwrap(), [""; 0]);
}

/// Forgets what was created before the second create of the same name.
struct Forgetful {
    behind: ObjectStorage,
    creates: AtomicU32,
}

impl StorageFaults for Forgetful {
    fn before(&self, op: StorageOp, name: &str) -> Option<Fault> {
        if op == StorageOp::Create && self.creates.fetch_add(1, Ordering::Relaxed) == 1 {
            self.behind.delete(name).unwrap();
        }
        None
    }
}

pub(crate) fn the_probe_refuses_a_store_where_a_second_create_wins(storage: ObjectStorage) {
    let forgetful = Forgetful {
        behind: storage.clone(),
        creates: AtomicU32::new(0),
    };
    let log = JobLog::new(storage.with_faults(Arc::new(forgetful)));
    let error = log.probe(42).unwrap_err();
    assert!(matches!(error, StorageError::NotWriteOnce { .. }));
    assert!(!error.to_string().contains('\n'), "{error}");
}

/// Runs promises over a storage, which is made with what must be kept.
macro_rules! promises {
    ($storage:ident, $make:expr, $($promise:ident),+ $(,)?) => {
        mod $storage {
            $(#[test]
            fn $promise() {
                let (storage, _kept) = $make();
                $crate::contract::$promise(storage);
            })+
        }
    };
}

/// What every storage promises of a job's log.
macro_rules! log {
    ($storage:ident, $make:expr) => {
        $crate::contract::promises! { $storage, $make,
            the_log_reads_back_what_was_appended,
            only_jobs_with_a_log_are_listed,
            two_leaders_racing_for_one_slot_agree_on_who_has_it,
            a_put_that_timed_out_but_happened_is_known_by_its_nonce,
            a_put_that_failed_is_an_error_and_may_be_repeated,
            a_put_that_failed_in_a_taken_slot_has_lost,
            a_torn_entry_is_reported_with_its_name,
            a_damaged_entry_is_reported_with_its_name,
            a_gap_is_reported_with_the_name_of_what_is_missing,
            a_compacted_log_reads_from_its_newest_snapshot,
            a_leader_that_slept_through_a_truncation_can_not_win_a_freed_slot,
            nothing_is_folded_or_deleted_too_far,
            a_second_fold_of_the_same_entries_loses_to_the_first,
            a_log_compacted_under_a_reader_is_read_anew,
            a_log_compacted_to_its_end_while_it_is_read_is_not_taken_for_none,
            whatever_is_left_of_a_log_whose_deletion_broke_off_says_that_its_job_is_over,
            large_payloads_lie_in_the_other_storage_and_go_with_their_records,
            a_large_payload_that_is_damaged_or_gone_is_named,
            the_probe_accepts_a_store_that_honours_create_if_absent,
            the_probe_refuses_a_store_where_a_second_create_wins,
        }
    };
}

/// What a storage of checkpoints promises besides.
macro_rules! checkpoints {
    ($storage:ident, $make:expr) => {
        $crate::contract::promises! { $storage, $make,
            what_is_put_can_be_read_listed_replaced_and_deleted,
            of_many_creators_racing_on_threads_exactly_one_wins,
            a_writer_shows_nothing_until_it_is_finished,
            a_writer_given_up_or_dropped_leaves_what_was_there,
            an_object_of_no_bytes_is_an_object,
            a_name_that_leads_elsewhere_is_refused,
            each_fault_does_what_it_says,
            a_writer_that_failed_once_can_not_be_finished,
            a_snapshot_is_invisible_until_finished_and_then_reads_back,
            a_snapshot_that_is_damaged_cut_or_gone_is_named,
            a_file_from_elsewhere_is_verified_and_goes_with_the_checkpoint_it_is_copied_for,
            a_manifest_is_written_once_and_its_damage_is_named,
            a_manifest_put_that_timed_out_can_be_repeated,
            checkpoints_are_listed_by_number_and_deleted_whole,
        }
    };
}

pub(crate) use {checkpoints, log, promises};

fn memory() -> (ObjectStorage, ()) {
    (ObjectStorage::in_memory(), ())
}

fn directory() -> (ObjectStorage, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (ObjectStorage::directory(dir.path()).unwrap(), dir)
}

fn over_a_runtime() -> (ObjectStorage, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Arc::new(InMemory::new());
    let storage = ObjectStorage::over(store, "some/prefix", runtime.handle().clone());
    (storage.unwrap(), runtime)
}

log!(log_in_memory, super::memory);
log!(log_in_a_directory, super::directory);
log!(log_over_a_runtime, super::over_a_runtime);

checkpoints!(checkpoints_in_memory, super::memory);
checkpoints!(checkpoints_in_a_directory, super::directory);
checkpoints!(checkpoints_over_a_runtime, super::over_a_runtime);
