//! A source's splits on the master's side: which exist, and which have been handed out.
//!
//! ```text
//!   0 .. settled          | settled .. len()
//!   forgotten, but for    | found; free, kept for a reader, given to an attempt,
//!   what is remembered    | or held by a completed checkpoint
//! ```
//!
//! Nobody goes back behind a completed checkpoint. So a split that one holds as received is nobody's to hand out any more, and when
//! all before it are held too it is forgotten: its position is in the checkpoint, and only a source that goes on looking
//! has something of it remembered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, SubtaskId};
use crate::source::{EncodedSplit, FoundSplit, KnownSplits, SplitId, SplitMemory};

/// The splits of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPool {
    /// How many are forgotten, from the first on.
    settled: u32,
    /// The others, by number.
    splits: VecDeque<FoundSplit>,
    /// All before it are forgotten, handed out, kept, or one reader's first.
    free_from: u32,
    /// Who was given a split; nobody in particular if a completed checkpoint holds it.
    assigned: BTreeMap<SplitId, Option<AttemptId>>,
    kept: Kept,
    /// So many of the first splits belong to a reader each. None if the job began with a savepoint: then some readers have others to
    /// read, or have ended.
    readers: u32,
    /// What is remembered of those that are forgotten, for as long as others may be found.
    remembered: KnownSplits<Vec<u8>>,
    /// Whether others may still be found.
    open: bool,
}

/// Splits that were given to readers that have gone back behind that: they are kept for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept(BTreeMap<SubtaskId, BTreeSet<SplitId>>);

impl Kept {
    fn keep(&mut self, id: SplitId, reader: SubtaskId) {
        self.0.entry(reader).or_default().insert(id);
    }

    /// What is kept for a reader, in order.
    fn of(&self, reader: SubtaskId) -> impl Iterator<Item = SplitId> + '_ {
        self.0.get(&reader).into_iter().flatten().copied()
    }

    /// For whom a split is kept.
    fn reader(&self, id: SplitId) -> Option<SubtaskId> {
        let own = self.0.iter().find(|(_, own)| own.contains(&id));
        own.map(|(reader, _)| *reader)
    }

    fn release(&mut self, id: SplitId) {
        if let Some(reader) = self.reader(id)
            && let Some(own) = self.0.get_mut(&reader)
        {
            own.remove(&id);
            if own.is_empty() {
                self.0.remove(&reader);
            }
        }
    }
}

impl SplitPool {
    /// The splits found first, none handed out; `open` if others may be found.
    pub fn new(splits: Vec<EncodedSplit>, open: bool) -> Self {
        let found = splits.into_iter().map(|split| FoundSplit {
            bytes: split.bytes,
            memory: SplitMemory::Whole,
        });
        Self {
            splits: found.collect(),
            open,
            ..Self::default()
        }
    }

    /// The same for so many readers, each of which has one of the first splits: those may be read side by side, and a reader that
    /// was through with its own would hand on late what another hasn't asked for yet. Event time waits for a reader that hasn't asked.
    pub fn read_by(self, readers: u32) -> Self {
        let free_from = readers;
        Self {
            readers,
            free_from,
            ..self
        }
    }

    /// Adds what was found later, under the next numbers; `last` if there will be no others.
    pub fn discover(&mut self, splits: &[FoundSplit], last: bool) {
        self.splits.extend(splits.iter().cloned());
        self.open &= !last;
        self.forget();
    }

    /// Whether others may still be found.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// What the source's next enumerator is told.
    pub fn known(&self) -> KnownSplits<Vec<u8>> {
        let mut known = self.remembered.clone();
        let splits = self.splits.iter().map(|split| split.bytes.clone());
        known.splits.extend(splits);
        known
    }

    /// The first split that nobody has or was promised: splits are handed out in order, so that event time
    /// advances. A reader's first is its own, and after a restart those that it had before are kept for it: another may have been further
    /// in time, and would hand on late what was not late the first time.
    pub fn next(&self, reader: SubtaskId, promised: &BTreeSet<SplitId>) -> Option<SplitId> {
        let is_free = |id: &SplitId| !self.assigned.contains_key(id) && !promised.contains(id);
        let found = self.settled..self.len() as u32;
        let first = Some(reader.index).filter(|of| *of < self.readers && found.contains(of));
        let own = first
            .map(SplitId)
            .into_iter()
            .chain(self.kept.of(reader))
            .find(is_free);
        let mut others = (self.free_from..found.end).map(SplitId);
        own.or_else(|| others.find(|id| is_free(id) && self.kept.reader(*id).is_none()))
    }

    /// Notes that a split was handed out.
    pub fn assign(&mut self, id: SplitId, to: AttemptId) {
        self.kept.release(id);
        self.assigned.insert(id, Some(to));
        self.pass_taken();
    }

    /// Looks at each split once, however many are handed out between two checkpoints.
    fn pass_taken(&mut self) {
        self.free_from = self.free_from.max(self.settled);
        let is_taken = |id| self.assigned.contains_key(&id) || self.kept.reader(id).is_some();
        while is_taken(SplitId(self.free_from)) {
            self.free_from += 1;
        }
    }

    /// What an execution has been given since it was deployed, but for what a completed checkpoint holds.
    pub fn assigned_to(&self, attempt: AttemptId) -> impl Iterator<Item = SplitId> + '_ {
        self.assigned
            .iter()
            .filter(move |(_, to)| **to == Some(attempt))
            .map(|(id, _)| *id)
    }

    /// A completed checkpoint holds these splits.
    pub fn settle<'a>(&mut self, received: impl IntoIterator<Item = &'a SplitId>) {
        for id in received {
            // Who had not heard of the checkpoint that settled a split says it again.
            if id.0 >= self.settled {
                self.kept.release(*id);
                self.assigned.insert(*id, None);
            }
        }
        self.forget();
    }

    /// Lets go of what is settled, up to the first split that is not.
    fn forget(&mut self) {
        // An enumerator may go by what was found last.
        while self.splits.len() > usize::from(self.open)
            && self.assigned.get(&SplitId(self.settled)) == Some(&None)
            && let Some(split) = self.splits.pop_front()
        {
            self.assigned.remove(&SplitId(self.settled));
            self.settled += 1;
            match split.memory {
                SplitMemory::Whole => self.remembered.splits.push(split.bytes),
                SplitMemory::Key(key) => {
                    self.remembered.keys.insert(key);
                }
                SplitMemory::Nothing => {}
            }
        }
        if !self.open {
            self.remembered = KnownSplits::default();
        }
        self.pass_taken();
    }

    /// Some of the readers go back to the last completed checkpoint. What it holds is read from there, and what other readers
    /// have stays theirs.
    pub fn rewind(&mut self, readers: &BTreeSet<SubtaskId>) {
        let kept = &mut self.kept;
        self.assigned.retain(|id, to| match to {
            Some(reader) if readers.contains(&reader.subtask) => {
                kept.keep(*id, reader.subtask);
                false
            }
            _ => true,
        });
    }

    /// As another job goes on with it from a savepoint that holds these splits: all others are free.
    pub fn saved<'a>(&self, received: impl IntoIterator<Item = &'a SplitId>) -> Self {
        self.gone_back(0, received)
    }

    /// As the same readers go on with it in another job, from a checkpoint that holds these splits.
    pub fn held<'a>(&self, received: impl IntoIterator<Item = &'a SplitId>) -> Self {
        self.gone_back(self.readers, received)
    }

    fn gone_back<'a>(&self, readers: u32, held: impl IntoIterator<Item = &'a SplitId>) -> Self {
        let mut pool = Self {
            kept: Kept::default(),
            readers,
            free_from: readers,
            ..self.clone()
        };
        pool.assigned.retain(|_, to| to.is_none());
        pool.settle(held);
        pool
    }

    /// A split by its number, unless it is forgotten.
    pub fn get(&self, id: SplitId) -> Option<EncodedSplit> {
        let place = id.0.checked_sub(self.settled)?;
        let split = self.splits.get(place as usize)?;
        Some(EncodedSplit {
            id,
            bytes: split.bytes.clone(),
        })
    }

    /// How many have been found.
    pub fn len(&self) -> usize {
        self.settled as usize + self.splits.len()
    }

    /// How many of them a completed checkpoint holds.
    pub fn settled(&self) -> usize {
        let held = self.assigned.values().filter(|to| to.is_none());
        self.settled as usize + held.count()
    }

    /// Whether the source has no split at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::VertexId;

    fn reader(index: u32, attempt: u32) -> AttemptId {
        let vertex = VertexId(0);
        let subtask = SubtaskId { vertex, index };
        AttemptId { subtask, attempt }
    }

    /// What can still be handed out to a reader, in order.
    fn free_for(pool: &SplitPool, index: u32) -> Vec<u32> {
        let mut promised = BTreeSet::new();
        while let Some(id) = pool.next(reader(index, 1).subtask, &promised) {
            promised.insert(id);
        }
        promised.iter().map(|id| id.0).collect()
    }

    fn free(pool: &SplitPool) -> Vec<u32> {
        free_for(pool, 0)
    }

    fn encoded(ids: std::ops::Range<u8>) -> Vec<EncodedSplit> {
        let split = |id: u8| EncodedSplit {
            id: SplitId(id.into()),
            bytes: vec![id],
        };
        ids.map(split).collect()
    }

    fn found(id: u8, memory: SplitMemory) -> FoundSplit {
        let bytes = vec![id];
        FoundSplit { bytes, memory }
    }

    #[test]
    fn what_is_found_later_is_numbered_on_and_the_last_look_closes_the_pool() {
        let mut pool = SplitPool::new(encoded(0..1), true);
        pool.assign(SplitId(0), reader(0, 1));
        let more = [1, 2].map(|id| found(id, SplitMemory::Whole));
        pool.discover(&more, false);
        assert_eq!((free(&pool), pool.is_open()), (vec![1, 2], true));
        pool.discover(&[], true);
        assert!(!pool.is_open());
        assert_eq!(pool.get(SplitId(2)).unwrap().bytes, [2]);
    }

    #[test]
    fn each_reader_has_one_of_the_first_and_the_others_go_to_whoever_asks() {
        let pool = |count, readers| {
            let pool = SplitPool::new(encoded(0..count), false);
            pool.read_by(readers)
        };
        let side_by_side = pool(3, 3);
        let each = [0, 1, 2, 3].map(|index| free_for(&side_by_side, index));
        assert_eq!(each, [vec![0], vec![1], vec![2], vec![]]);
        assert_eq!(free_for(&pool(2, 3), 2), [0; 0]);
        // The second has not asked yet; the first is done, and gets what comes behind.
        let mut more = pool(4, 2);
        more.assign(SplitId(0), reader(0, 1));
        let each = [0, 1].map(|index| free_for(&more, index));
        assert_eq!(each, [vec![2, 3], vec![1, 2, 3]]);
        // The first goes back; it has its own again, and the second still hasn't asked.
        more.rewind(&BTreeSet::from([reader(0, 1).subtask]));
        let each = [0, 1].map(|index| free_for(&more, index));
        assert_eq!(each, [vec![0, 2, 3], vec![1, 2, 3]]);
    }

    #[test]
    fn the_first_that_are_found_later_belong_to_a_reader_each_too() {
        let mut pool = SplitPool::new(encoded(0..1), true).read_by(2);
        assert_eq!((free_for(&pool, 0), free_for(&pool, 1)), (vec![0], vec![]));
        pool.assign(SplitId(0), reader(0, 1));
        let more = [1, 2].map(|id| found(id, SplitMemory::Nothing));
        pool.discover(&more, true);
        let each = [0, 1].map(|index| free_for(&pool, index));
        assert_eq!(each, [vec![2], vec![1, 2]]);
        // Read, settled and forgotten.
        for (id, index) in [(1, 1), (2, 0)] {
            pool.assign(SplitId(id), reader(index, 1));
        }
        pool.settle(&[0, 1, 2].map(SplitId));
        let each = [0, 1].map(|index| free_for(&pool, index));
        assert_eq!(each, [[0; 0], [0; 0]]);
    }

    /// Some of its readers may have ended, or have others' splits to read: none is left for one that never asks.
    #[test]
    fn whoever_goes_on_from_a_savepoint_is_given_what_is_free_in_order() {
        let mut pool = SplitPool::new(Vec::new(), true).read_by(2);
        pool.discover(&[0, 1].map(|id| found(id, SplitMemory::Whole)), true);
        pool.assign(SplitId(0), reader(0, 1));
        let saved = pool.saved(&[SplitId(0)]);
        let each = [0, 1].map(|index| free_for(&saved, index));
        assert_eq!(each, [vec![1], vec![1]]);
        let saved = pool.saved(&[SplitId(1)]);
        let each = [0, 1].map(|index| free_for(&saved, index));
        assert_eq!(each, [vec![0], vec![0]]);
        // In a checkpoint a reader that has ended has had its first.
        let held = pool.held(&[SplitId(0)]);
        let each = [0, 1].map(|index| free_for(&held, index));
        assert_eq!(each, [vec![], vec![1]]);
    }

    #[test]
    fn a_split_is_free_until_it_is_handed_out_and_again_when_its_reader_goes_back_behind_it() {
        let mut pool = SplitPool::new(encoded(0..6), false);
        for (id, index) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            pool.assign(SplitId(id), reader(index, 1));
        }
        assert_eq!(free(&pool), [4, 5]);
        let first = BTreeSet::from([reader(0, 1).subtask]);
        // The first reader goes back to where it had been given 0 only, and gets 2 again; the second reads on.
        pool.settle(&[SplitId(0)]);
        pool.rewind(&first);
        assert_eq!(
            (free_for(&pool, 0), free_for(&pool, 1)),
            (vec![2, 4, 5], vec![4, 5])
        );
        // Once more, to the same place.
        pool.assign(SplitId(2), reader(0, 2));
        pool.rewind(&first);
        assert_eq!(free(&pool), [2, 4, 5]);
        // Both, to where 1 and 2 had been read by then: 3 was the second's.
        pool.assign(SplitId(2), reader(0, 3));
        pool.settle(&[SplitId(1), SplitId(2)]);
        let both = BTreeSet::from([reader(0, 1).subtask, reader(1, 1).subtask]);
        pool.rewind(&both);
        assert_eq!(
            (free_for(&pool, 0), free_for(&pool, 1)),
            (vec![4, 5], vec![3, 4, 5])
        );
    }

    #[test]
    fn what_is_settled_is_forgotten_up_to_the_first_that_is_not_and_remembered_as_the_source_says()
    {
        let mut pool = SplitPool::new(encoded(0..1), true);
        let later = [
            SplitMemory::Key(70),
            SplitMemory::Nothing,
            SplitMemory::Key(90),
            SplitMemory::Key(91),
        ];
        let later: Vec<_> = (1..).zip(later).map(|(id, of)| found(id, of)).collect();
        pool.discover(&later, false);
        for id in 0..5 {
            pool.assign(SplitId(id), reader(0, 1));
        }
        let known = |pool: &SplitPool| {
            let KnownSplits { splits, keys } = pool.known();
            (splits.concat(), Vec::from_iter(keys))
        };
        assert_eq!(known(&pool), (vec![0, 1, 2, 3, 4], vec![]));
        pool.settle(&[SplitId(0), SplitId(1), SplitId(3)]);
        assert_eq!(known(&pool), (vec![0, 2, 3, 4], vec![70]));
        // A savepoint's pool is as if its barrier were a checkpoint's; the job's own is as it was.
        let saved = pool.saved(&[SplitId(2)]);
        assert_eq!(known(&saved), (vec![0, 4], vec![70, 90]));
        assert_eq!((free(&saved), saved.len()), (vec![4], 5));
        // Said again, of what is forgotten; and the last one stays.
        pool.settle(&[0, 1, 2, 4].map(SplitId));
        assert_eq!(known(&pool), (vec![0, 4], vec![70, 90]));
        assert_eq!((pool.settled(), free(&pool)), (5, vec![]));
        pool.rewind(&BTreeSet::from([reader(0, 1).subtask]));
        assert_eq!(free(&pool), [0; 0]);
        // Nobody looks any more, so nobody asks what was found.
        pool.discover(&[], true);
        assert_eq!(known(&pool), (vec![], vec![]));
        assert_eq!(pool.len(), 5);
    }

    #[test]
    fn a_split_is_not_looked_for_among_all_that_are_handed_out() {
        // So many that to look at each of them for each of them would not end.
        let (mut pool, splits) = (SplitPool::new(Vec::new(), false), 300_000);
        let found = vec![found(0, SplitMemory::Nothing); splits];
        pool.discover(&found, true);
        let (both, nothing) = ([0, 1].map(|index| reader(index, 1)), BTreeSet::new());
        let mut given = Vec::new();
        while let Some(id) = pool.next(both[given.len() % 2].subtask, &nothing) {
            pool.assign(id, both[given.len() % 2]);
            given.push(id);
        }
        assert_eq!(given.len(), splits);
        // Both go back, and the second is the first to have its own again.
        pool.rewind(&both.map(|reader| reader.subtask).into());
        let mut again = 0;
        while let Some(id) = pool.next(both[1].subtask, &nothing) {
            assert_eq!(id.0 % 2, 1);
            pool.assign(id, both[1]);
            again += 1;
        }
        assert_eq!(again, splits / 2);
        assert_eq!(pool.next(both[0].subtask, &nothing), Some(SplitId(0)));
        assert_eq!(
            free_for(&pool.saved(&given[..splits - 2]), 1),
            [299_998, 299_999]
        );
    }

    #[test]
    fn ten_thousand_splits_that_are_read_take_no_room() {
        let mut pool = SplitPool::new(Vec::new(), true);
        for id in 0..10_000_u32 {
            let bytes = format!("inbox/2024-03-01/{id}.csv").into_bytes();
            let memory = SplitMemory::Nothing;
            pool.discover(&[FoundSplit { bytes, memory }], false);
            pool.assign(SplitId(id), reader(id % 3, 1));
            if id % 100 == 99 {
                let received: Vec<_> = (id - 99..=id).map(SplitId).collect();
                pool.settle(&received);
                let size = crate::codec::encode(&pool).unwrap().len();
                assert!(size < 200, "{size} bytes after {id}");
            }
        }
    }
}
