//! A keyed process function that keeps a document by key, and counts beside it.

use std::marker::PhantomData;

use rivus::{Event, Keyed, KeyedProcessFunction, Output, StateSet, UserError, ValueState};
use serde::{Deserialize, Serialize};

use super::bid::Bid;

/// A document, and what each record changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, StateSet)]
#[state(crate = "rivus_core")]
pub(crate) struct Document {
    text: ValueState<String>,
    bids: ValueState<u64>,
    volume: ValueState<u64>,
    last: ValueState<u64>,
}

/// The same, of which a snapshot's copy has nothing in common with the row: rows are written whole before they change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WholeDocument(Document);

impl StateSet for WholeDocument {
    fn is_empty(&self) -> bool {
        StateSet::is_empty(&self.0)
    }
}

/// A state that has a document.
pub(crate) trait HasDocument: StateSet {
    fn document(&mut self) -> &mut Document;
}

impl HasDocument for Document {
    fn document(&mut self) -> &mut Document {
        self
    }
}

impl HasDocument for WholeDocument {
    fn document(&mut self) -> &mut Document {
        &mut self.0
    }
}

/// Makes a key's document at its first record, and counts; passes the record's times on.
#[derive(Clone)]
pub(crate) struct Documents<S> {
    bytes: usize,
    of: PhantomData<fn() -> S>,
}

impl<S> Documents<S> {
    pub(crate) fn of(bytes: usize) -> Self {
        Self {
            bytes,
            of: PhantomData,
        }
    }
}

impl<S: HasDocument> KeyedProcessFunction<String, Bid> for Documents<S> {
    type Out = (String, (u64, u64));
    type State = S;

    fn process(
        &mut self,
        bid: Event<Bid>,
        state: &mut Keyed<'_, String, S>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let document = state.document();
        if document.text.is_empty() {
            document.text.set("x".repeat(self.bytes));
        }
        *document.bids.get_or_default() += 1;
        *document.volume.get_or_default() += bid.value.price;
        document.last.set(bid.value.time);
        out.emit((bid.value.user, (bid.value.auction, bid.value.time)));
        Ok(())
    }
}
