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

/// Steps of all actors after which a victim that is still there has got over its fault.
const DIES_WITHIN: u64 = 100;

/// Counts a hit only when its victim has died of it: at once, and not with everybody else when the job is over.
#[derive(Default)]
pub(crate) struct Victims {
    struck: Vec<(u64, Struck)>,
    hits: Hits,
    /// Steps passed.
    steps: u64,
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
        self.struck.push((self.steps, struck));
    }

    /// A step is passed: counts the victims that have died since the one before.
    pub(crate) fn settle(&mut self) {
        self.steps += 1;
        let (hits, steps) = (&mut self.hits, self.steps);
        self.struck.retain(|(at, struck)| {
            let dead = struck.victim.get_status() == ActorStatus::Stopped;
            if dead {
                let count = hits.entry((struck.cell, struck.fault)).or_default();
                match struck.with_state {
                    true => count.with_state += 1,
                    false => count.before_state += 1,
                }
            }
            !dead && steps - at < DIES_WITHIN
        });
    }

    pub(crate) fn hits(&mut self) -> Hits {
        self.settle();
        self.hits.clone()
    }
}
