//! A source's splits on the master's side: which exist, and which have been handed out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, SubtaskId};
use crate::source::{EncodedSplit, SplitId};

/// The splits of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPool {
    splits: Vec<EncodedSplit>,
    /// Who was given a split; nobody in particular if it was read before the checkpoint that was restored.
    assigned: BTreeMap<SplitId, Option<AttemptId>>,
    /// Splits that were given to a reader that has gone back behind that: they are kept for it.
    kept: BTreeMap<SplitId, SubtaskId>,
    /// Whether others may still be found.
    open: bool,
}

impl SplitPool {
    /// The splits found first, none handed out; `open` if others may be found.
    pub fn new(splits: Vec<EncodedSplit>, open: bool) -> Self {
        Self {
            splits,
            assigned: BTreeMap::new(),
            kept: BTreeMap::new(),
            open,
        }
    }

    /// Adds what was found later, under the next numbers; `last` if there will be no others.
    pub fn discover(&mut self, splits: &[Vec<u8>], last: bool) {
        let first = self.splits.len() as u32;
        let numbered = (first..).zip(splits).map(|(id, bytes)| EncodedSplit {
            id: SplitId(id),
            bytes: bytes.clone(),
        });
        self.splits.extend(numbered);
        self.open &= !last;
    }

    /// Whether others may still be found.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// All that were found so far, in order.
    pub fn found(&self) -> &[EncodedSplit] {
        &self.splits
    }

    /// The first split that nobody has or was promised: splits are handed out in order, so that event time
    /// advances. After a restart each reader gets those that it had before, and nobody else: another may have
    /// been further in time, and would hand on late what was not late the first time.
    pub fn next(&self, reader: SubtaskId, promised: &BTreeSet<SplitId>) -> Option<SplitId> {
        let is_free = |id: &SplitId| !self.assigned.contains_key(id) && !promised.contains(id);
        let mut own = self.kept.iter().filter(|(_, to)| **to == reader);
        if let Some((id, _)) = own.find(|(id, _)| is_free(id)) {
            return Some(*id);
        }
        self.splits
            .iter()
            .map(|split| split.id)
            .find(|id| is_free(id) && !self.kept.contains_key(id))
    }

    /// Notes that a split was handed out.
    pub fn assign(&mut self, id: SplitId, to: AttemptId) {
        self.kept.remove(&id);
        self.assigned.insert(id, Some(to));
    }

    /// What an execution has been given since it was deployed.
    pub fn assigned_to(&self, attempt: AttemptId) -> impl Iterator<Item = SplitId> + '_ {
        self.assigned
            .iter()
            .filter(move |(_, to)| **to == Some(attempt))
            .map(|(id, _)| *id)
    }

    /// Some of the readers go back to a checkpoint, up to which they had been given exactly these splits.
    /// What other readers have stays theirs, and so does what was read before an earlier checkpoint: it is
    /// in this one too.
    pub fn rewind(
        &mut self,
        readers: &BTreeSet<SubtaskId>,
        received: impl IntoIterator<Item = SplitId>,
    ) {
        let kept = &mut self.kept;
        self.assigned.retain(|id, to| match to {
            Some(reader) if readers.contains(&reader.subtask) => {
                kept.insert(*id, reader.subtask);
                false
            }
            _ => true,
        });
        for id in received {
            self.kept.remove(&id);
            self.assigned.insert(id, None);
        }
    }

    /// A split by its number.
    pub fn get(&self, id: SplitId) -> Option<&EncodedSplit> {
        let numbered = self.splits.get(id.0 as usize);
        numbered.filter(|split| split.id == id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.splits.len()
    }

    /// Whether the source has no split at all.
    pub fn is_empty(&self) -> bool {
        self.splits.is_empty()
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

    #[test]
    fn what_is_found_later_is_numbered_on_and_the_last_look_closes_the_pool() {
        let first = EncodedSplit {
            id: SplitId(0),
            bytes: vec![0],
        };
        let mut pool = SplitPool::new(vec![first], true);
        pool.assign(SplitId(0), reader(0, 1));
        pool.discover(&[vec![1], vec![2]], false);
        assert_eq!((free(&pool), pool.is_open()), (vec![1, 2], true));
        pool.discover(&[], true);
        assert!(!pool.is_open());
        assert_eq!(pool.get(SplitId(2)).unwrap().bytes, [2]);
    }

    #[test]
    fn a_split_is_free_until_it_is_handed_out_and_again_when_its_reader_goes_back_behind_it() {
        let splits = (0..6).map(|id| EncodedSplit {
            id: SplitId(id),
            bytes: Vec::new(),
        });
        let mut pool = SplitPool::new(splits.collect(), false);
        for (id, index) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            pool.assign(SplitId(id), reader(index, 1));
        }
        assert_eq!(free(&pool), [4, 5]);
        let first = BTreeSet::from([reader(0, 1).subtask]);
        // The first reader goes back to where it had been given 0 only, and gets 2 again; the second reads on.
        pool.rewind(&first, [SplitId(0)]);
        assert_eq!(
            (free_for(&pool, 0), free_for(&pool, 1)),
            (vec![2, 4, 5], vec![4, 5])
        );
        // To where it had been given nothing: what an earlier checkpoint holds is in this one too.
        pool.assign(SplitId(2), reader(0, 2));
        pool.rewind(&first, []);
        assert_eq!(free(&pool), [2, 4, 5]);
        // Both, to where 1 and 2 had been read by then: 3 was the second's.
        let both = BTreeSet::from([reader(0, 1).subtask, reader(1, 1).subtask]);
        pool.rewind(&both, [SplitId(1), SplitId(2)]);
        assert_eq!(
            (free_for(&pool, 0), free_for(&pool, 1)),
            (vec![4, 5], vec![3, 4, 5])
        );
    }
}
