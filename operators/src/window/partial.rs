//! What was gathered of some records of a key, and how a window takes it in.

use rivus_core::{Either, Key, Record, UserError};
use serde::{Deserialize, Serialize};

use super::Window;
use super::logic::WindowLogic;
use crate::OwnedOrLent;

/// What some records of a key and a pane, or of a key and a session, give in their stead. Its time is that of one of them; of a session's
/// that of the earliest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename = "rivus.Partial", bound = "K: Key, A: Record")]
pub struct Partial<K, A> {
    /// Their key.
    pub key: K,
    /// What has been gathered of them.
    pub acc: A,
    /// How many they are.
    pub records: u64,
    /// How long after its time the latest of a session's is, milliseconds; 0 if it is of a pane or of a key.
    pub span: i64,
}

impl<K, A> Partial<K, A> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }
}

/// Takes records, and what was gathered of records.
#[derive(Debug, Clone)]
pub(super) struct Merging<L>(pub(super) L);

impl<K: Key, L: WindowLogic<K>> WindowLogic<K> for Merging<L> {
    type In = Either<L::In, Partial<K, L::Acc>>;
    type Acc = L::Acc;
    type Out = L::Out;

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }

    fn can_merge_panes(&self) -> bool {
        self.0.can_merge_panes()
    }

    #[inline]
    fn records(&self, value: &Self::In) -> u64 {
        match value {
            Either::First(record) => self.0.records(record),
            Either::Second(partial) => partial.records,
        }
    }

    fn create(&self) -> L::Acc {
        self.0.create()
    }

    #[inline]
    fn add<V: OwnedOrLent<Self::In>>(&self, acc: &mut L::Acc, value: V) {
        match value.borrow() {
            Either::First(record) => self.0.add(acc, record),
            Either::Second(partial) => self.0.merge(acc, partial.acc.clone()),
        }
    }

    #[inline]
    fn merge(&self, acc: &mut L::Acc, other: L::Acc) {
        self.0.merge(acc, other);
    }

    fn finish(
        &mut self,
        key: &K,
        window: Window,
        acc: L::Acc,
        out: &mut Vec<L::Out>,
    ) -> Result<(), UserError> {
        self.0.finish(key, window, acc, out)
    }
}
