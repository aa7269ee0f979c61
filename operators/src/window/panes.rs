//! A key's panes, and which rows have which pane.

use std::collections::BTreeMap;

use rivus_core::{Record, RowId};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The panes of a key that hold records, by number, ascending. Most often one or two.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "A: Record")]
pub(super) struct PaneRing<A>(SmallVec<[(i64, A); 2]>);

impl<A> Default for PaneRing<A> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<A> PaneRing<A> {
    /// A pane, made by `new` if there is none; and whether it was.
    #[inline]
    pub(super) fn entry(&mut self, pane: i64, new: impl FnOnce() -> A) -> (&mut A, bool) {
        let last = self.0.last().map(|(last, _)| *last);
        let (at, is_new) = match last {
            Some(last) if last == pane => (self.0.len() - 1, false),
            Some(last) if last > pane => match self.place(pane) {
                Ok(at) => (at, false),
                Err(at) => {
                    self.0.insert(at, (pane, new()));
                    (at, true)
                }
            },
            _ => {
                self.0.push((pane, new()));
                (self.0.len() - 1, true)
            }
        };
        (&mut self.0[at].1, is_new)
    }

    fn place(&self, pane: i64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&pane, |(pane, _)| *pane)
    }

    /// The panes from one to another, both included.
    pub(super) fn range(&self, first: i64, last: i64) -> &[(i64, A)] {
        let start = self.0.partition_point(|(pane, _)| *pane < first);
        let end = self.0.partition_point(|(pane, _)| *pane <= last);
        &self.0[start..end.max(start)]
    }

    /// Takes a pane out.
    pub(super) fn take(&mut self, pane: i64) -> Option<A> {
        let at = self.place(pane).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().map(|(pane, _)| *pane)
    }
}

/// For each pane the rows that have it: exactly those, each once. Not in the snapshot, it follows from the
/// rows.
#[derive(Debug, Default)]
pub(super) struct PaneIndex(BTreeMap<i64, Vec<RowId>>);

impl PaneIndex {
    pub(super) fn push(&mut self, pane: i64, row: RowId) {
        self.0.entry(pane).or_default().push(row);
    }

    /// The first pane that any row has, within bounds.
    pub(super) fn first(&self, bounds: impl std::ops::RangeBounds<i64>) -> Option<i64> {
        self.0.range(bounds).next().map(|(pane, _)| *pane)
    }

    /// The rows that have a pane.
    pub(super) fn rows(&self, pane: i64) -> &[RowId] {
        self.0.get(&pane).map_or(&[], Vec::as_slice)
    }

    /// Takes about `limit` rows off a pane's list.
    pub(super) fn take(&mut self, pane: i64, limit: usize, into: &mut Vec<RowId>) {
        let Some(rows) = self.0.get_mut(&pane) else {
            return;
        };
        let from = rows.len().saturating_sub(limit);
        into.extend(rows.drain(from..).rev());
        if rows.is_empty() {
            self.0.remove(&pane);
        }
    }
}
