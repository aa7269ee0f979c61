//! Storage that fails now and then, that takes its time, and that hears nothing of a process that has crashed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivus::connectors::SplitMix;
use rivus::engine::state::{Blocking, Fault, StorageFaults, StorageOp};

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

/// Blocking work that takes its time, in virtual time: some of it none, some longer than a checkpoint. So
/// entries, uploads and commits are under way when other things happen, and overtake one another; what a
/// dead actor has asked for is done all the same, after its successor has begun.
pub struct SlowBlocking {
    life: usize,
    faults: Arc<Faults>,
    longest_ms: u64,
    rng: Mutex<SplitMix>,
}

impl SlowBlocking {
    /// Work that takes up to the plan's latency. What is under way when its process crashes is never done.
    pub fn new(plan: &Plan, life: usize, faults: Arc<Faults>) -> Self {
        Self {
            life,
            faults,
            longest_ms: plan.latency.as_millis() as u64,
            rng: Mutex::new(SplitMix::of(plan.seed ^ life as u64, 6)),
        }
    }
}

impl Blocking for SlowBlocking {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        let wait = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            match rng.below(3) {
                0 => 0,
                _ => rng.below(self.longest_ms + 1),
            }
        };
        if wait == 0 {
            return job();
        }
        let (life, faults) = (self.life, Arc::downgrade(&self.faults));
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if faults.upgrade().is_some_and(|faults| !faults.is_over(life)) {
                job();
            }
        });
    }
}
