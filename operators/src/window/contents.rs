//! What a live window holds: what its records were folded into, or the records themselves where an evictor chooses.

use std::sync::Arc;

use rivus_core::{Event, Record, Timestamp, UserError};

use super::evictor::{Evictor, EvictorContext};
use super::logic::WindowLogic;
use crate::OwnedOrLent;

/// How a live window gathers records and gives results.
pub(super) trait Contents<K>: Clone + Send + 'static {
    /// What it takes.
    type In: Record;
    /// What a window holds.
    type Held: Record;
    /// What a window gives, beside its key and bounds.
    type Out: Record;

    /// For how many records this one stands.
    fn records(&self, value: &Self::In) -> u64 {
        let _ = value;
        1
    }

    /// A window without records.
    fn create(&self) -> Self::Held;

    /// Adds a record.
    fn add<V: OwnedOrLent<Self::In>>(&self, held: &mut Self::Held, ts: Timestamp, value: V);

    /// Adds what a later window holds.
    fn merge(&self, held: &mut Self::Held, later: Self::Held);

    /// Appends what a window gives that keeps its records.
    fn fire(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        held: &mut Self::Held,
        out: &mut Vec<Self::Out>,
    ) -> Result<(), UserError>;

    /// Appends what a window gives whose records aren't needed any more.
    fn fire_last(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        held: Self::Held,
        out: &mut Vec<Self::Out>,
    ) -> Result<(), UserError>;
}

/// Each record is folded into what its window has gathered.
#[derive(Clone)]
pub(super) struct Folded<L>(pub(super) L);

impl<K, L: WindowLogic<K>> Contents<K> for Folded<L> {
    type In = L::In;
    type Held = L::Acc;
    type Out = L::Out;

    fn records(&self, value: &L::In) -> u64 {
        self.0.records(value)
    }

    #[inline]
    fn create(&self) -> L::Acc {
        self.0.create()
    }

    #[inline]
    fn add<V: OwnedOrLent<L::In>>(&self, held: &mut L::Acc, _ts: Timestamp, value: V) {
        self.0.add(held, value);
    }

    fn merge(&self, held: &mut L::Acc, later: L::Acc) {
        self.0.merge(held, later);
    }

    fn fire(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        held: &mut L::Acc,
        out: &mut Vec<L::Out>,
    ) -> Result<(), UserError> {
        self.0.finish(key, cx.window(), held.clone(), out)
    }

    fn fire_last(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        held: L::Acc,
        out: &mut Vec<L::Out>,
    ) -> Result<(), UserError> {
        self.0.finish(key, cx.window(), held, out)
    }
}

/// Records are kept; when a window fires, those that an evictor leaves are folded.
pub(super) struct Evicted<In, L> {
    pub(super) logic: L,
    pub(super) evictor: Arc<dyn Evictor<In>>,
}

impl<In, L: Clone> Clone for Evicted<In, L> {
    fn clone(&self) -> Self {
        Self {
            logic: self.logic.clone(),
            evictor: Arc::clone(&self.evictor),
        }
    }
}

impl<K, In: Record, L: WindowLogic<K, In = In>> Contents<K> for Evicted<In, L> {
    type In = In;
    type Held = Vec<Event<In>>;
    type Out = L::Out;

    fn create(&self) -> Vec<Event<In>> {
        Vec::new()
    }

    #[inline]
    fn add<V: OwnedOrLent<In>>(&self, held: &mut Vec<Event<In>>, ts: Timestamp, value: V) {
        held.push(Event::at(ts, value.into_owned()));
    }

    fn merge(&self, held: &mut Vec<Event<In>>, mut later: Vec<Event<In>>) {
        held.append(&mut later);
    }

    fn fire(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        held: &mut Vec<Event<In>>,
        out: &mut Vec<L::Out>,
    ) -> Result<(), UserError> {
        self.evictor.evict_before(held, cx);
        if !held.is_empty() {
            let mut acc = self.logic.create();
            for event in held.iter() {
                self.logic.add(&mut acc, &event.value);
            }
            self.logic.finish(key, cx.window(), acc, out)?;
        }
        self.evictor.evict_after(held, cx);
        Ok(())
    }

    fn fire_last(
        &mut self,
        key: &K,
        cx: &EvictorContext,
        mut held: Vec<Event<In>>,
        out: &mut Vec<L::Out>,
    ) -> Result<(), UserError> {
        self.evictor.evict_before(&mut held, cx);
        if held.is_empty() {
            return Ok(());
        }
        let mut acc = self.logic.create();
        for event in held {
            self.logic.add(&mut acc, event.value);
        }
        self.logic.finish(key, cx.window(), acc, out)
    }
}
