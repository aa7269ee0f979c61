//! Files of stores that checkpoints share: whatever happens to checkpoints, attempts and leaders, each retained checkpoint
//! has all of its files, and when the garbage has been cleared away nothing else is there.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use rivus_core::job::{
    KnownFiles, Manifest, SnapshotPart, SnapshotRef, StoredFile, StoredFiles, SubtaskSnapshot,
};
use rivus_core::{
    AttemptId, Changes, CheckpointId, CheckpointKind, JobId, MemoryStores, Space, StateStore,
    StoreImage, Stores, SubtaskId, VertexId, codec,
};
use rivus_state::{
    CheckpointStorage, LocalCopies, LocalCopy, ObjectStorage, SnapshotHandle, StorageError,
    StoredImage,
};
use uuid::Uuid;

const JOB: JobId = JobId(Uuid::from_u128(7));
const SUBTASKS: usize = 2;
const STORES: MemoryStores = MemoryStores { cache_bytes: 1 };

type Rows = BTreeMap<u8, u8>;

fn subtask(index: usize) -> SubtaskId {
    SubtaskId {
        vertex: VertexId(1),
        index: index as u32,
    }
}

/// What a subtask will hear of a checkpoint.
#[derive(Clone, Copy)]
enum News {
    Completed(CheckpointId),
    Aborted(CheckpointId),
}

struct Subtask {
    index: usize,
    attempt: u32,
    store: Arc<dyn StateStore>,
    rows: Rows,
    known: KnownFiles,
    news: VecDeque<News>,
}

impl Subtask {
    fn begin(index: usize, attempt: u32, from: Option<(&dyn StoreImage, &StoredFiles)>) -> Self {
        let store = STORES
            .open(&"op".into(), from.map(|(image, _)| image))
            .unwrap();
        let mut rows = Rows::new();
        let mut scan = store.scan(Space::Rows, &[]).unwrap();
        let each = &mut |key: &[u8], value: &[u8]| {
            rows.insert(key[0], value[0]);
            Ok(true)
        };
        scan.read(each).unwrap();
        let files = from.map(|(_, stored)| stored.clone());
        Self {
            index,
            attempt,
            store,
            rows,
            known: KnownFiles::restored(files.into_iter().collect()),
            news: VecDeque::new(),
        }
    }

    fn write(&mut self, key: u8, value: Option<u8>) {
        let mut changes = Changes::default();
        match value {
            Some(value) => {
                let append = |byte| {
                    move |out: &mut Vec<u8>| {
                        out.push(byte);
                        Ok::<_, ()>(())
                    }
                };
                changes
                    .put(Space::Rows, append(key), append(value))
                    .unwrap();
                self.rows.insert(key, value);
            }
            None => {
                changes.delete(Space::Rows, &[key]);
                self.rows.remove(&key);
            }
        }
        self.store.write(&changes).unwrap();
    }

    /// Stores what a checkpoint needs of it, or only the first few files.
    fn store(
        &self,
        storage: &CheckpointStorage,
        checkpoint: CheckpointId,
        most: usize,
    ) -> Option<StoredFiles> {
        let image = self.store.image().unwrap();
        let attempt = AttemptId {
            subtask: subtask(self.index),
            attempt: self.attempt,
        };
        let mut files = Vec::new();
        for (number, file) in image.files().iter().enumerate() {
            if number == most {
                return None;
            }
            if let Some(stored) = self.known.find(&"op".into(), file) {
                files.push(stored.clone());
                continue;
            }
            let operator = "op".into();
            let mut writer = storage.file_writer(JOB, checkpoint, attempt, &operator, &file.name);
            let write = &mut |piece: &[u8]| {
                writer.write(piece.to_vec().into()).unwrap();
                Ok(())
            };
            image.read(&file.name, write).unwrap();
            let SnapshotHandle { name, len, crc32c } = writer.finish().unwrap();
            let object = SnapshotRef { name, len, crc32c };
            files.push(StoredFile {
                name: file.name.clone(),
                object,
            });
        }
        Some(StoredFiles {
            operator: "op".into(),
            format: image.format().to_owned(),
            files,
        })
    }
}

struct Pending {
    id: CheckpointId,
    acknowledged: BTreeMap<usize, (StoredFiles, Rows)>,
}

struct World {
    objects: ObjectStorage,
    storage: CheckpointStorage,
    subtasks: Vec<Subtask>,
    retain: usize,
    last_id: u64,
    pending: Option<Pending>,
    /// What the log retains, and what each had in it.
    completed: Vec<(CheckpointId, Manifest, Vec<Rows>)>,
    /// What every leader that there ever was has seen retained.
    views: Vec<Vec<CheckpointId>>,
}

impl World {
    fn new(retain: usize) -> Self {
        let objects = ObjectStorage::in_memory();
        Self {
            storage: CheckpointStorage::new(objects.clone()),
            objects,
            subtasks: (0..SUBTASKS)
                .map(|index| Subtask::begin(index, 1, None))
                .collect(),
            retain,
            last_id: 0,
            pending: None,
            completed: Vec::new(),
            views: Vec::new(),
        }
    }

    fn tell(&mut self, news: News) {
        self.subtasks
            .iter_mut()
            .for_each(|subtask| subtask.news.push_back(news));
    }

    fn trigger(&mut self) {
        if let Some(given_up) = self.pending.take() {
            self.tell(News::Aborted(given_up.id));
        }
        self.last_id += 1;
        self.pending = Some(Pending {
            id: CheckpointId(self.last_id),
            acknowledged: BTreeMap::new(),
        });
    }

    fn acknowledge(&mut self, index: usize, most: usize) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        let subtask = &mut self.subtasks[index];
        if pending.acknowledged.contains_key(&index) {
            return;
        }
        if let Some(stored) = subtask.store(&self.storage, pending.id, most) {
            subtask.known.acknowledged(pending.id, vec![stored.clone()]);
            let rows = subtask.rows.clone();
            pending.acknowledged.insert(index, (stored, rows));
        }
    }

    fn complete(&mut self) {
        let Some(pending) = self
            .pending
            .take_if(|pending| pending.acknowledged.len() == SUBTASKS)
        else {
            return;
        };
        let id = pending.id;
        let (mut subtasks, mut rows) = (BTreeMap::new(), Vec::new());
        for (index, (stored, of)) in pending.acknowledged {
            let snapshot = SnapshotRef {
                name: "none".into(),
                len: 0,
                crc32c: 0,
            };
            let part = SnapshotPart {
                stores: vec![stored],
                ..SnapshotPart::whole(snapshot)
            };
            let snapshot = SubtaskSnapshot {
                parts: vec![part],
                received: Vec::new(),
            };
            subtasks.insert(subtask(index), snapshot);
            rows.push(of);
        }
        let manifest = Manifest {
            id,
            kind: CheckpointKind::Checkpoint,
            fingerprint: 0,
            max_parallelism: 1,
            foreign: false,
            committed: false,
            subtasks,
        };
        let bytes = codec::encode(&manifest).unwrap();
        self.storage.write_manifest(JOB, id, &bytes).unwrap();
        self.completed.push((id, manifest, rows));
        let excess = self.completed.len().saturating_sub(self.retain);
        self.completed.drain(..excess);
        self.views
            .push(self.completed.iter().map(|(id, ..)| *id).collect());
        self.tell(News::Completed(id));
    }

    fn hear(&mut self, index: usize) {
        let subtask = &mut self.subtasks[index];
        match subtask.news.pop_front() {
            Some(News::Completed(id)) => subtask.known.completed(id),
            Some(News::Aborted(id)) => subtask.known.aborted(id),
            None => {}
        }
    }

    /// A leader clears up, which may have been replaced long ago. One that can't read what it needs does nothing.
    fn clean_up(&self, view: usize) {
        if let Some(view) = self.views.get(self.views.len().wrapping_sub(1 + view)) {
            match self.storage.clean_up(JOB, view, false) {
                Ok(()) | Err(StorageError::Missing { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// All attempts die; others go on from the last checkpoint, and have what they had.
    fn restart(&mut self) {
        if let Some(given_up) = self.pending.take() {
            self.tell(News::Aborted(given_up.id));
        }
        for index in 0..SUBTASKS {
            let attempt = self.subtasks[index].attempt + 1;
            let Some((_, manifest, rows)) = self.completed.last() else {
                self.subtasks[index] = Subtask::begin(index, attempt, None);
                continue;
            };
            let stored = &manifest.subtasks[&subtask(index)].parts[0].stores[0];
            let image = StoredImage::new(self.storage.clone(), stored);
            self.subtasks[index] = Subtask::begin(index, attempt, Some((&image, stored)));
            assert_eq!(self.subtasks[index].rows, rows[index]);
        }
    }

    fn named(&self) -> BTreeSet<String> {
        let manifests = self.completed.iter().map(|(_, manifest, _)| manifest);
        manifests
            .flat_map(Manifest::files)
            .map(str::to_owned)
            .collect()
    }

    fn stored(&self) -> BTreeSet<String> {
        self.storage.list_files(JOB).unwrap().into_iter().collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, u8, Option<u8>),
    Trigger,
    Acknowledge(usize, usize),
    Complete,
    Hear(usize),
    CleanUp(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..SUBTASKS;
    prop_oneof![
        6 => (which.clone(), 0..20_u8, any::<Option<u8>>())
            .prop_map(|(index, key, value)| Step::Write(index, key, value)),
        3 => Just(Step::Trigger),
        8 => (which.clone(), prop_oneof![9 => Just(usize::MAX), 1 => 0..3_usize])
            .prop_map(|(index, most)| Step::Acknowledge(index, most)),
        5 => Just(Step::Complete),
        5 => which.prop_map(Step::Hear),
        3 => (0..4_usize).prop_map(Step::CleanUp),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn files_are_there_as_long_as_a_checkpoint_names_them_and_no_longer(
        steps in prop::collection::vec(step(), 0..200),
        retain in 1..4_usize,
    ) {
        let mut world = World::new(retain);
        for step in steps {
            match step {
                Step::Write(index, key, value) => world.subtasks[index].write(key, value),
                Step::Trigger => world.trigger(),
                Step::Acknowledge(index, most) => world.acknowledge(index, most),
                Step::Complete => world.complete(),
                Step::Hear(index) => world.hear(index),
                Step::CleanUp(view) => world.clean_up(view),
                Step::Restart => world.restart(),
            }
            prop_assert!(world.stored().is_superset(&world.named()), "a file is gone");
        }
        // Another checkpoint, and all that was given up before it is garbage.
        world.trigger();
        (0..SUBTASKS).for_each(|index| world.acknowledge(index, usize::MAX));
        world.complete();
        world.clean_up(0);
        prop_assert_eq!(world.stored(), world.named());
        world.restart();
        // The job ends.
        world.storage.clean_up(JOB, &[], true).unwrap();
        prop_assert_eq!(world.stored(), BTreeSet::new());
        prop_assert_eq!(world.storage.list(JOB).unwrap(), Vec::new());
    }
}

impl World {
    /// A checkpoint with a changed row in each subtask, that all acknowledge and hear of. Nothing is cleared away.
    fn checkpoint(&mut self) {
        for index in 0..SUBTASKS {
            self.subtasks[index].write(self.last_id as u8, Some(1));
        }
        self.trigger();
        (0..SUBTASKS).for_each(|index| self.acknowledge(index, usize::MAX));
        self.complete();
        (0..SUBTASKS).for_each(|index| self.hear(index));
    }

    /// Every file that a retained checkpoint names is there, and it can be gone on from.
    fn expect_whole(&mut self) {
        assert!(self.stored().is_superset(&self.named()), "a file is gone");
        self.restart();
    }
}

#[test]
fn a_leader_that_was_replaced_deletes_no_file_that_a_later_checkpoint_names() {
    let mut world = World::new(1);
    (0..3).for_each(|_| world.checkpoint());
    let shared = world.named();
    // The third names files of the first two, which it built on; their leader clears up only now.
    assert!(shared.iter().any(|file| file.contains("/files/1/")));
    world.clean_up(2);
    world.clean_up(1);
    world.expect_whole();
    world.clean_up(0);
    assert_eq!(world.stored(), shared);
}

#[test]
fn files_of_an_aborted_checkpoint_go_with_the_next_clean_up_and_take_no_other_along() {
    let mut world = World::new(1);
    world.checkpoint();
    world.clean_up(0);
    let before = world.stored();
    // All of one subtask, one file of the other; then it is given up, and everybody hears of it.
    (0..SUBTASKS).for_each(|index| world.subtasks[index].write(200, Some(2)));
    world.trigger();
    world.acknowledge(0, usize::MAX);
    world.acknowledge(1, 1);
    let left: BTreeSet<String> = world.stored().difference(&before).cloned().collect();
    assert!(!left.is_empty());
    world.trigger();
    world.pending = None;
    (0..SUBTASKS).for_each(|index| world.hear(index));
    // They are of a later checkpoint than the last complete one: perhaps it is still under way.
    world.clean_up(0);
    assert!(world.stored().is_superset(&left));
    world.expect_whole();
    world.checkpoint();
    world.clean_up(0);
    assert!(world.stored().is_disjoint(&left));
    world.expect_whole();
}

#[test]
fn what_a_leader_did_not_get_to_delete_before_it_died_its_successor_deletes() {
    for deleted in 0..4 {
        let mut world = World::new(1);
        world.checkpoint();
        world.restart();
        world.checkpoint();
        // Its entry is in the log; it dies before the first deletion, or between two.
        let unneeded: Vec<String> = world.stored().difference(&world.named()).cloned().collect();
        assert!(!unneeded.is_empty());
        for file in unneeded.iter().take(deleted) {
            world.objects.delete(file).unwrap();
        }
        world.expect_whole();
        world.checkpoint();
        world.clean_up(0);
        assert_eq!(world.stored(), world.named());
        world.expect_whole();
    }
}

#[test]
fn a_checkpoint_stores_only_what_the_one_before_it_did_not() {
    let mut world = World::new(1);
    for key in 0..200 {
        world.subtasks[0].write(key, Some(1));
    }
    let mut stored = Vec::new();
    for _ in 0..3 {
        world.subtasks[0].write(7, Some(2));
        world.trigger();
        (0..SUBTASKS).for_each(|index| world.acknowledge(index, usize::MAX));
        world.complete();
        (0..SUBTASKS).for_each(|index| world.hear(index));
        let prefix = format!("jobs/{JOB}/files/{}/", world.last_id);
        let new = world
            .stored()
            .into_iter()
            .filter(|file| file.starts_with(&prefix));
        let sizes = new.map(|file| {
            let named = world.completed[0].1.subtasks[&subtask(0)].parts[0].stores[0]
                .files
                .iter();
            let file = named.clone().find(|stored| stored.object.name == file);
            file.map_or(0, |file| file.object.len)
        });
        stored.push(sizes.sum::<u64>());
        world.clean_up(0);
    }
    // 200 rows of 12 bytes; then one, and the list of the files.
    assert!(
        stored[0] > 2_000 && stored[1] < 100 && stored[2] < 100,
        "{stored:?}"
    );
}

/// A subtask with some rows, and a checkpoint of it.
fn checkpointed() -> (World, StoredFiles) {
    let mut world = World::new(1);
    for key in 0..100 {
        world.subtasks[0].write(key, Some(key));
    }
    world.trigger();
    (0..SUBTASKS).for_each(|index| world.acknowledge(index, usize::MAX));
    world.complete();
    let stored = world.completed[0].1.subtasks[&subtask(0)].parts[0].stores[0].clone();
    (world, stored)
}

#[test]
fn a_damaged_file_is_named() {
    for how in ["flipped", "torn", "gone"] {
        let objects = ObjectStorage::in_memory();
        let (mut world, _) = checkpointed();
        world.storage = CheckpointStorage::new(objects.clone());
        let stored = world.subtasks[0]
            .store(&world.storage, CheckpointId(9), usize::MAX)
            .unwrap();
        let name = &stored.files[0].object.name;
        let mut bytes = objects.get(name).unwrap().unwrap().to_vec();
        match how {
            "flipped" => bytes[20] ^= 1,
            _ => bytes.truncate(20),
        }
        match how {
            "gone" => objects.delete(name).unwrap(),
            _ => objects.put(name, bytes.into()).unwrap(),
        }
        let image = StoredImage::new(world.storage.clone(), &stored);
        let refused = STORES.open(&"op".into(), Some(&image));
        let refusal = refused.err().unwrap().message;
        assert!(refusal.contains(name), "{how}: {refusal}");
        assert!(!refusal.contains('\n'), "{how}: {refusal}");
    }
}

/// An image of which one byte is another.
#[derive(Debug)]
struct Flipped(Arc<dyn StoreImage>);

impl StoreImage for Flipped {
    fn format(&self) -> &str {
        self.0.format()
    }

    fn files(&self) -> &[rivus_core::ImageFile] {
        self.0.files()
    }

    fn read(&self, file: &str, each: rivus_core::EachPiece<'_>) -> Result<(), rivus_core::Failure> {
        let mut is_first = true;
        self.0.read(file, &mut |piece| {
            let mut piece = piece.to_vec();
            if std::mem::take(&mut is_first) {
                piece[0] ^= 1;
            }
            each(&piece)
        })
    }
}

#[test]
fn a_local_copy_is_used_only_if_it_is_what_the_checkpoint_names() {
    let (world, stored) = checkpointed();
    let of = subtask(0);
    let id = CheckpointId(1);
    let whole = world.subtasks[0].store.image().unwrap();
    let find = |image: Arc<dyn StoreImage>, stored_as: &StoredFiles| {
        let local = LocalCopies::default();
        let copy = LocalCopy {
            stored: stored_as.clone(),
            image,
        };
        local.keep(JOB, of, id, vec![copy]);
        local.find(JOB, of, id, &stored).is_some()
    };
    assert!(find(Arc::clone(&whole), &stored));
    assert!(!find(Arc::new(Flipped(Arc::clone(&whole))), &stored));
    let mut other = stored.clone();
    other.files[0].object.name.push_str("-of-another-attempt");
    assert!(!find(whole, &other));
}

#[test]
fn local_copies_go_when_a_later_checkpoint_is_complete_or_the_job_has_ended() {
    let (world, stored) = checkpointed();
    let image = world.subtasks[0].store.image().unwrap();
    let local = LocalCopies::default();
    let keep = |id| {
        let copy = LocalCopy {
            stored: stored.clone(),
            image: Arc::clone(&image),
        };
        local.keep(JOB, subtask(0), CheckpointId(id), vec![copy]);
    };
    let has = |id| {
        local
            .find(JOB, subtask(0), CheckpointId(id), &stored)
            .is_some()
    };
    (1..4).for_each(keep);
    assert_eq!(local.completed(JOB, subtask(0), CheckpointId(2)).len(), 1);
    assert_eq!([1, 2, 3].map(has), [false, true, true]);
    // A savepoint is no checkpoint to start from.
    assert_eq!(local.completed(JOB, subtask(0), CheckpointId(9)).len(), 0);
    assert_eq!(local.aborted(JOB, subtask(0), CheckpointId(3)).len(), 1);
    assert_eq!([2, 3].map(has), [true, false]);
    // It runs here, or it is another job's; and then it has moved to another process.
    let later = CheckpointId(4);
    let other = JobId(Uuid::from_u128(8));
    assert_eq!(local.completed_elsewhere(JOB, later, |_| true).len(), 0);
    assert_eq!(local.completed_elsewhere(other, later, |_| false).len(), 0);
    keep(4);
    assert_eq!(local.completed_elsewhere(JOB, later, |_| false).len(), 1);
    assert_eq!([2, 4].map(has), [false, true]);
    assert_eq!(local.forget(other).len(), 0);
    assert_eq!(local.forget(JOB).len(), 1);
    assert!(!has(4));
}
