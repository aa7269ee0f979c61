//! A key's panes, and which rows have which pane.

use std::collections::BTreeMap;

use rivus_core::{Failure, Key, OrderCursor, Record, RowId, RowOrder, Table, VisitedRow};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// The panes of a key that hold records, by number, ascending. Most often one or two.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.PaneRing", bound = "A: Record")]
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

/// For each pane the rows that have it: exactly those, each once. Not among the snapshot's rows, it follows from
/// them.
pub(super) enum PaneIndex {
    Memory(BTreeMap<i64, Vec<RowId>>),
    Stored(RowOrder),
}

/// How far the rows of a pane have been read.
#[derive(Debug, Clone, Default)]
pub(super) struct PaneCursor {
    at: usize,
    stored: OrderCursor,
}

impl PaneIndex {
    pub(super) fn new<K: Key, V: Record>(table: &Table<K, V>) -> Self {
        match table.store() {
            None => Self::Memory(BTreeMap::new()),
            Some(_) => Self::Stored(RowOrder::new(table, 0)),
        }
    }

    #[inline]
    pub(super) fn push<K: Key, V: Record>(
        &mut self,
        pane: i64,
        row: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        match self {
            Self::Memory(panes) => {
                panes.entry(pane).or_default().push(row);
                Ok(())
            }
            Self::Stored(order) => order.insert(pane, row, table),
        }
    }

    /// Puts a row in that a visit came by.
    pub(super) fn enter(&mut self, pane: i64, row: VisitedRow<'_>) -> Result<(), Failure> {
        match (self, row) {
            (Self::Memory(panes), VisitedRow::Id(row)) => {
                panes.entry(pane).or_default().push(row);
                Ok(())
            }
            (Self::Stored(order), row) => order.enter(pane, row),
            (Self::Memory(_), VisitedRow::Stored(_)) => {
                Err(Failure::job("rows in a store, panes in memory"))
            }
        }
    }

    /// The order that lies in a store, for a snapshot.
    pub(super) fn orders(&mut self) -> Vec<&mut RowOrder> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Stored(order) => vec![order],
        }
    }

    /// The first pane from one on that any row has.
    pub(super) fn first(&mut self, from: i64) -> Result<Option<i64>, Failure> {
        match self {
            Self::Memory(panes) => Ok(panes.range(from..).next().map(|(pane, _)| *pane)),
            Self::Stored(order) => order.first(from),
        }
    }

    /// Reads some rows that have a pane, after a cursor; none come when all have been read.
    pub(super) fn read<K: Key, V: Record>(
        &mut self,
        pane: i64,
        cursor: &mut PaneCursor,
        limit: usize,
        table: &mut Table<K, V>,
        into: &mut Vec<RowId>,
    ) -> Result<(), Failure> {
        match self {
            Self::Memory(panes) => {
                let rows = panes.get(&pane).map_or(&[][..], Vec::as_slice);
                let end = rows.len().min(cursor.at + limit);
                into.extend_from_slice(&rows[cursor.at.min(end)..end]);
                cursor.at = end;
                Ok(())
            }
            Self::Stored(order) => order.read(pane, &mut cursor.stored, limit, table, into),
        }
    }

    /// Takes about `limit` rows off a pane's list.
    pub(super) fn take<K: Key, V: Record>(
        &mut self,
        pane: i64,
        limit: usize,
        table: &mut Table<K, V>,
        into: &mut Vec<RowId>,
    ) -> Result<(), Failure> {
        match self {
            Self::Memory(panes) => {
                let Some(rows) = panes.get_mut(&pane) else {
                    return Ok(());
                };
                let from = rows.len().saturating_sub(limit);
                into.extend(rows.drain(from..).rev());
                if rows.is_empty() {
                    panes.remove(&pane);
                }
                Ok(())
            }
            Self::Stored(order) => order.take(pane, limit, table, into),
        }
    }
}
