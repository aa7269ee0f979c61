//! The rows of a keyed operator and their part in checkpoints.

use std::sync::atomic::Ordering::Relaxed;

use rivus_core::{
    Asked, BuildContext, CheckpointId, CodecError, Failure, Key, OperatorUid, RowOrder, Sharing,
    StateAnswer, StateQuery, StateType, Table, TaskContext,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Name of the rows among an operator's states.
const ROWS: &str = "rows";

/// A table that knows whose it is and which checkpoint it is being written for.
pub(crate) struct Rows<K, V> {
    pub(crate) table: Table<K, V>,
    uid: OperatorUid,
    frozen: Option<CheckpointId>,
}

impl<K: Key, V: Serialize + DeserializeOwned> Rows<K, V> {
    /// What they are in a snapshot.
    pub(crate) fn state() -> StateType {
        StateType::of_rows::<K, V>(ROWS)
    }

    /// The rows that the attempt starts from.
    pub(crate) fn restore(cx: &BuildContext<'_>) -> Result<Self, Failure> {
        let table = Table::restore(
            cx.info.key_groups(),
            cx.info.max_parallelism,
            cx.uid,
            ROWS,
            cx.restored,
            cx.stores,
        )?;
        Ok(Self {
            table,
            uid: cx.uid.clone(),
            frozen: None,
        })
    }

    /// Rows whose copies share what is large are copied when they change during a snapshot.
    pub(crate) fn sharing(mut self, share: Sharing<V>) -> Self {
        self.table = self.table.sharing(share);
        self
    }

    /// What a row has beside its place is known by itself.
    pub(crate) fn measured(mut self, heap_bytes: fn(&V) -> usize) -> Self {
        self.table = self.table.measured(heap_bytes);
        self
    }

    /// Answers a question about them. `look` encodes what is to be seen of a row, an `S`, if it is to be seen at all.
    pub(crate) fn query<S: DeserializeOwned + 'static>(
        &mut self,
        query: &StateQuery,
        look: impl FnOnce(&V) -> Result<Option<Vec<u8>>, CodecError>,
    ) -> Result<Option<StateAnswer>, Failure> {
        if query.operator != self.uid {
            return Ok(None);
        }
        let cut = match query.asked {
            Asked::Row | Asked::Field(_) => query.wants::<S>(),
            Asked::Timers => Err("it shows no timers: ask a keyed process function".to_owned()),
            Asked::Broadcast => Err("it has no broadcast state: ask for a key's".to_owned()),
            Asked::Items => Err("its state has keys: ask for one's".to_owned()),
        };
        match cut {
            Ok(cut) => self.answer(query, |row| {
                look(row)?.map(|bytes| cut.out_of(bytes)).transpose()
            }),
            Err(refused) => Ok(Some(StateAnswer::Refused(refused))),
        }
    }

    /// Answers with what `look` makes of the key's row.
    pub(crate) fn answer(
        &mut self,
        query: &StateQuery,
        look: impl FnOnce(&V) -> Result<Option<Vec<u8>>, CodecError>,
    ) -> Result<Option<StateAnswer>, Failure> {
        let key = match query.key::<K>() {
            Ok(key) => key,
            Err(refused) => return Ok(Some(StateAnswer::Refused(refused))),
        };
        let found = self.table.peek(query.hash, &key, look)?.transpose()?;
        Ok(Some(match found.flatten() {
            Some(bytes) => StateAnswer::Found(bytes),
            None => StateAnswer::Missing,
        }))
    }

    pub(crate) fn uid(&self) -> &OperatorUid {
        &self.uid
    }

    /// Begins to write the rows, as they are now, into the open snapshot; and all orders of them.
    pub(crate) fn freeze(
        &mut self,
        orders: &mut [&mut RowOrder],
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let rows = self.table.len() as u64;
        cx.metrics.state_rows.store(rows, Relaxed);
        let snapshot = cx.open_snapshot()?;
        self.frozen = Some(snapshot.checkpoint());
        self.table.freeze(&self.uid, ROWS, orders, snapshot)
    }

    /// The checkpoint will never complete, nor one before it. One that was begun since goes on.
    pub(crate) fn abort(&mut self, checkpoint: CheckpointId) {
        if self.frozen.is_some_and(|frozen| frozen <= checkpoint) {
            self.thaw();
        }
    }

    fn thaw(&mut self) {
        self.frozen = None;
        self.table.thaw();
    }

    /// Writes a slice, if the open snapshot is the one that the rows are frozen for.
    pub(crate) fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        match &mut cx.snapshot {
            Some(snapshot) if self.frozen == Some(snapshot.checkpoint()) => {
                let done = self.table.slice(rows, snapshot)?;
                if done {
                    self.frozen = None;
                }
                Ok(done)
            }
            _ => {
                self.thaw();
                Ok(true)
            }
        }
    }
}
