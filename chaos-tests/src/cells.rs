//! Which cells were hit: a step, the kind of actor that passes it, and what became of it.

use std::collections::BTreeMap;

use rivus::engine::{ActorKind, Fault, Step};

/// A step and the kind of actor that passes it.
pub type Cell = (ActorKind, Step);

/// How often each cell was hit so that the actor died of it.
pub type Hits = BTreeMap<(Cell, Fault), HitCount>;

/// Hits of one cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HitCount {
    /// Before any checkpoint that held state.
    pub before_state: u32,
    /// After one.
    pub with_state: u32,
    /// Those after one whose victim's successor has gone on from it, or from a later one.
    pub recovered: u32,
}
