//! Which cells were hit: a step, the kind of actor that passes it, and whether the actor died of it.

use std::collections::BTreeMap;

use ractor::{ActorCell, ActorStatus};
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
}

/// Counts a hit only when its victim has died.
#[derive(Default)]
pub(crate) struct Victims {
    struck: Vec<Struck>,
    hits: Hits,
}

/// A fault whose victim is not known to be dead yet.
pub(crate) struct Struck {
    pub(crate) cell: Cell,
    pub(crate) fault: Fault,
    pub(crate) victim: ActorCell,
    pub(crate) with_state: bool,
}

impl Victims {
    pub(crate) fn strike(&mut self, struck: Struck) {
        self.struck.push(struck);
    }

    /// Counts the victims that have died since.
    pub(crate) fn settle(&mut self) {
        if self.struck.is_empty() {
            return;
        }
        let hits = &mut self.hits;
        self.struck.retain(|struck| {
            let dead = struck.victim.get_status() == ActorStatus::Stopped;
            if dead {
                let count = hits.entry((struck.cell, struck.fault)).or_default();
                match struck.with_state {
                    true => count.with_state += 1,
                    false => count.before_state += 1,
                }
            }
            !dead
        });
    }

    pub(crate) fn hits(&mut self) -> Hits {
        self.settle();
        self.hits.clone()
    }
}
