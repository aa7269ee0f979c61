//! Storage that fails now and then, and that hears nothing of a process that has crashed.

use std::sync::{Arc, Mutex, PoisonError};

use rivus::connectors::SplitMix;
use rivus::engine::state::{Fault, StorageFaults, StorageOp};

use crate::faults::Faults;
use crate::plan::{Arm, Plan, StoragePlan};

/// Storage as one life of the process sees it. It fails as a plan says, once a checkpoint that holds state
/// is complete; after a crash it does nothing any more.
pub struct FlakyStorage {
    life: usize,
    plan: StoragePlan,
    faults: Arc<Faults>,
    drawn: Mutex<(SplitMix, u32)>,
}

impl FlakyStorage {
    /// Storage faults of a plan, written down by the probe.
    pub fn new(plan: &Plan, life: usize, faults: Arc<Faults>) -> Self {
        let none = StoragePlan {
            one_in: 1,
            times: 0,
        };
        Self {
            life,
            plan: plan.storage.unwrap_or(none),
            faults,
            drawn: Mutex::new((SplitMix::of(plan.seed ^ life as u64, 4), 0)),
        }
    }
}

impl StorageFaults for FlakyStorage {
    fn before(&self, op: StorageOp, name: &str) -> Option<Fault> {
        if self.faults.is_over(self.life) {
            return Some(Fault::Fail);
        }
        if name.starts_with("probe/") || !self.faults.is_armed(Arm::State(1)) {
            return None;
        }
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let (rng, times) = &mut *drawn;
        if *times == self.plan.times || rng.below(self.plan.one_in) > 0 {
            return None;
        }
        *times += 1;
        let fault = match rng.below(3) {
            0 => Fault::Fail,
            1 => Fault::FailAfterWrite,
            // The log is for stores that write whole objects: half an entry is damage, and says so.
            _ if name.contains("/log/") || name.contains("/snapshot/") => Fault::Fail,
            _ => Fault::Torn,
        };
        self.faults.note(&format!("{fault:?}: {op} {name}"));
        Some(fault)
    }
}
