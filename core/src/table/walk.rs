//! A walk by all rows of a table, some at a time, while rows are changed and removed.

use std::collections::BTreeSet;
use std::iter;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RowId, Slot, Table};
use crate::failure::Failure;
use crate::key::Key;
use crate::store::{Space, StoreScan};

/// How far a walk has got; see [`Table::walk`].
#[derive(Default)]
pub struct TableWalk {
    group: usize,
    row: usize,
    /// Keys that the store may lack, for what has changed must not get there yet.
    lacking: BTreeSet<Vec<u8>>,
    /// The rest of the rows, in the store as it was when all that had changed was written to it.
    scan: Option<Box<dyn StoreScan>>,
}

/// Free places that are looked at for each row that is wanted.
const LOOKS: usize = 8;

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// Goes by about `limit` more rows, which are in memory until others are brought in. Returns whether there may be more.
    /// A walk goes by each row once, if meanwhile none is added; the rows that it has given may be removed.
    ///
    /// # Errors
    /// If the store can't be read or written.
    pub fn walk(
        &mut self,
        walk: &mut TableWalk,
        limit: usize,
        into: &mut Vec<RowId>,
    ) -> Result<bool, Failure> {
        let Some(store) = self.store().cloned() else {
            return Ok(self.walk_memory(walk, limit, into));
        };
        let mut scan = match walk.scan.take() {
            Some(scan) => scan,
            None if self.settle(&mut walk.group, &mut walk.lacking)? => {
                store.scan(Space::Rows, &[])?
            }
            None => return Ok(true),
        };
        let mut keys: Vec<Vec<u8>> = Vec::with_capacity(limit);
        let mut more = scan.read(&mut |key, _| {
            // What it lacked may have come to it since.
            walk.lacking.remove(key);
            keys.push(key.to_vec());
            Ok(keys.len() < limit)
        })?;
        walk.scan = Some(scan);
        if !more {
            let room = limit.saturating_sub(keys.len()).max(1);
            keys.extend(iter::from_fn(|| walk.lacking.pop_first()).take(room));
            more = !walk.lacking.is_empty();
        }
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        into.extend(self.load_stored(&keys)?.into_iter().flatten());
        Ok(more)
    }

    fn walk_memory(&self, walk: &mut TableWalk, limit: usize, into: &mut Vec<RowId>) -> bool {
        let (mut rows, mut looks) = (limit.max(1), LOOKS * limit.max(1));
        while let Some(group) = self.groups.get(walk.group) {
            while let Some(slot) = group.slots.get(walk.row) {
                if rows == 0 || looks == 0 {
                    return true;
                }
                looks -= 1;
                if let Slot::Row(_) = slot {
                    rows -= 1;
                    into.push(RowId {
                        group: walk.group as u32,
                        row: walk.row as u32,
                    });
                }
                walk.row += 1;
            }
            walk.group += 1;
            walk.row = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperatorUid;
    use crate::key::{KeyGroupRange, key_hash};
    use crate::snapshot::{RestoredState, SnapshotBuilder};
    use crate::store::{FrozenStore, MemoryStores, Stores};
    use crate::{CheckpointId, concat_chunks};

    fn table(stores: Option<&dyn Stores>, from: &RestoredState) -> Table<u64, u64> {
        let range = KeyGroupRange::of(0, 1, 8);
        Table::restore(range, 8, &OperatorUid("op".into()), "rows", from, stores).unwrap()
    }

    fn put(table: &mut Table<u64, u64>, key: u64, value: u64) {
        let hash = key_hash(&key);
        table.load(std::iter::once((hash, &key))).unwrap();
        let id = table.find_or_insert(hash, &key, || (key, 0)).unwrap();
        *table.value_mut(id) = value;
    }

    /// Adds one to every value, some at a time, and removes those that get to 10.
    fn increment(table: &mut Table<u64, u64>) -> Vec<u64> {
        let (mut walk, mut seen, mut rows) = (TableWalk::default(), Vec::new(), Vec::new());
        loop {
            let more = table.walk(&mut walk, 3, &mut rows).unwrap();
            for id in rows.drain(..) {
                table.touch(id).unwrap();
                seen.push(*table.key(id));
                *table.value_mut(id) += 1;
                if *table.value(id) == 10 {
                    table.remove(id).unwrap();
                }
            }
            if !more {
                return seen;
            }
        }
    }

    #[test]
    fn a_walk_goes_by_every_row_once_wherever_it_lies_and_leaves_an_open_snapshot_alone() {
        let stores = MemoryStores { cache_bytes: 1 };
        for stores in [None, Some(&stores as &dyn Stores)] {
            let mut rows = table(stores, &RestoredState::default());
            for key in 0..100 {
                put(&mut rows, key, key % 10);
            }
            let mut snapshot = SnapshotBuilder::new(CheckpointId(1));
            rows.freeze(&OperatorUid("op".into()), "rows", &mut [], &mut snapshot)
                .unwrap();
            put(&mut rows, 7, 9);
            put(&mut rows, 200, 0);
            for left in [90, 80] {
                let before = rows.len();
                let seen = increment(&mut rows);
                assert_eq!(seen.len(), before);
                assert_eq!(BTreeSet::from_iter(seen).len(), before, "each once");
                assert_eq!(rows.len(), left);
            }
            while !rows.slice(5, &mut snapshot).unwrap() {}
            let bytes = concat_chunks(snapshot.finish().chunks);
            let mut back = table(None, &RestoredState::parse(&[bytes]).unwrap());
            assert_eq!(back.len(), 100);
            let found = back.peek(key_hash(&7_u64), &7, |value| *value).unwrap();
            assert_eq!(found, Some(7), "as it was at the barrier");
        }
    }

    /// A table of keys from 0 to 99, of which some are only in memory, frozen for a checkpoint of files that are not made yet.
    fn frozen(stores: &MemoryStores) -> (Table<u64, u64>, SnapshotBuilder, FrozenStore) {
        let mut rows = table(Some(stores), &RestoredState::default());
        for key in 0..100 {
            put(&mut rows, key, key % 10);
        }
        let mut snapshot = SnapshotBuilder::new(CheckpointId(1)).with_files();
        rows.freeze(&OperatorUid("op".into()), "rows", &mut [], &mut snapshot)
            .unwrap();
        while !rows.slice(5, &mut snapshot).unwrap() {}
        let store = snapshot.take_stores().pop().unwrap();
        (rows, snapshot, store)
    }

    /// Values by key, of a checkpoint.
    fn restored(
        stores: &MemoryStores,
        snapshot: SnapshotBuilder,
        store: FrozenStore,
    ) -> Vec<Option<u64>> {
        let bytes = concat_chunks(snapshot.finish().chunks);
        let mut restored = RestoredState::parse(&[bytes]).unwrap();
        restored.add_image("op".into(), store.image().unwrap());
        let mut rows = table(Some(stores), &restored);
        let of = |key: u64| rows.peek(key_hash(&key), &key, |value| *value).unwrap();
        (0..103).map(of).collect()
    }

    #[test]
    fn a_walk_goes_by_every_row_once_and_brings_no_change_into_files_that_are_not_made_yet() {
        for cache_bytes in [1, 1_500] {
            let stores = MemoryStores { cache_bytes };
            let (mut rows, snapshot, store) = frozen(&stores);
            for key in 100..103 {
                put(&mut rows, key, 0);
            }
            put(&mut rows, 7, 0);
            for key in [8, 100] {
                let hash = key_hash(&key);
                rows.load(std::iter::once((hash, &key))).unwrap();
                let id = rows.find(hash, &key).unwrap();
                rows.remove(id).unwrap();
            }
            for left in [91, 82] {
                let before = rows.len();
                let seen = increment(&mut rows);
                assert_eq!(seen.len(), before);
                assert_eq!(BTreeSet::from_iter(seen).len(), before, "each once");
                assert_eq!(rows.len(), left);
            }
            let as_at_the_barrier = (0..103).map(|key| (key < 100).then_some(key % 10));
            let restored = restored(&stores, snapshot, store);
            assert_eq!(restored, as_at_the_barrier.collect::<Vec<_>>());
            // The files are made: nothing waits any more.
            assert_eq!(increment(&mut rows).len(), 82);
        }
    }

    #[test]
    fn a_walk_goes_by_every_row_once_whenever_the_files_are_made() {
        let stores = MemoryStores { cache_bytes: 1_500 };
        for made_after in 0..60 {
            let (mut rows, _snapshot, store) = frozen(&stores);
            for key in 100..140 {
                put(&mut rows, key, 0);
            }
            let (mut walk, mut seen, mut store) = (TableWalk::default(), Vec::new(), Some(store));
            for step in 0.. {
                if step == made_after {
                    store.take().unwrap().image().unwrap();
                }
                let mut ids = Vec::new();
                let more = rows.walk(&mut walk, 3, &mut ids).unwrap();
                for id in ids {
                    rows.touch(id).unwrap();
                    seen.push(*rows.key(id));
                }
                if !more {
                    break;
                }
            }
            assert_eq!(seen.len(), 140);
            assert_eq!(BTreeSet::from_iter(seen).len(), 140, "each once");
        }
    }
}
