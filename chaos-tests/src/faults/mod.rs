//! The probe that breaks actors as a plan says, and writes down everything that it sees.
//!
//! What it sees goes into a hash: virtual time, kind of actor, label, step, and every fault. Deaths do not:
//! ractor keeps an actor's children in a randomly seeded map, so orphans die in any order, and nothing
//! that the engine does may depend on it.

mod inner;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, ActorStatus};
use rivus::engine::core::job::LogEntry;
use rivus::engine::{ActorKind, Fault, Probe, Step};
use rivus::{CheckpointId, JobId};
use tokio::sync::Notify;

use self::inner::{FirstJob, Inner, label_suffix};
use crate::cells::{Cell, Hits};
use crate::entries::Entry;
use crate::jobs::Region;
use crate::plan::{Arm, Crash, Kill, Plan};
use crate::victims::execution;

/// A probe that breaks what its plan says.
pub struct Faults {
    inner: Mutex<Inner>,
    /// Told when the process has crashed at a step.
    crash: Notify,
}

impl Faults {
    /// A probe for one run. Must be made within the runtime whose time it shows.
    pub fn new(plan: &Plan, emitted: Arc<AtomicU64>) -> Self {
        Self {
            inner: Mutex::new(Inner::new(plan, emitted)),
            crash: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.inner().history.elapsed()
    }

    /// A digest of everything that was seen, in order.
    pub fn hash(&self) -> u64 {
        self.inner().history.hash
    }

    /// How much was seen.
    pub fn seen(&self) -> u64 {
        self.inner().history.seen
    }

    /// What was seen last.
    pub fn trace(&self) -> Vec<String> {
        self.inner().history.last()
    }

    /// Checkpoints that held state when they completed.
    pub fn state_checkpoints(&self) -> u32 {
        self.inner().state_checkpoints
    }

    /// Faults at steps of which an actor died.
    pub fn hits(&self) -> Hits {
        self.inner().victims.hits()
    }

    /// How often each step was passed.
    pub fn passed(&self) -> BTreeMap<Cell, u64> {
        self.inner().passed.clone()
    }

    /// The most bytes that ever waited at a subtask's inputs, by the number of its channels.
    pub fn queued(&self) -> BTreeMap<usize, usize> {
        self.inner().queued.clone()
    }

    /// Kills from outside that hit a living actor.
    pub fn external_kills(&self) -> u32 {
        self.inner().external
    }

    /// The run is about this job, whose first region this is.
    pub fn follow(&self, job: JobId, region: Region) {
        let suffix = label_suffix(job);
        self.inner().job = Some(FirstJob { suffix, region });
    }

    /// Whether a job's first executions were lost before any had worked on something: its leader died between their entry in
    /// the log and their deployment.
    pub fn never_began(&self, job: JobId) -> bool {
        let suffix = label_suffix(job);
        let inner = self.inner();
        let mut worked = inner.worked.iter();
        !worked.any(|label| label.ends_with(&suffix) && label.contains("#1 "))
    }

    /// Labels of all executions that were started, in order, but those of some jobs; or of those outside the first region
    /// only.
    pub fn executions(&self, bystanders_only: bool, but: &[JobId]) -> Vec<String> {
        let but: Vec<String> = but.iter().map(|job| label_suffix(*job)).collect();
        let inner = self.inner();
        let subtasks = inner.spawned.iter().filter(|(kind, label, _)| {
            *kind == ActorKind::Subtask
                && !but.iter().any(|suffix| label.ends_with(suffix))
                && !(bystanders_only && inner.is_in_first_region(*kind, label))
        });
        subtasks.map(|(_, label, _)| label.clone()).collect()
    }

    /// Actors of these kinds that still live.
    pub fn living(&self, kinds: &[ActorKind]) -> Vec<String> {
        let inner = self.inner();
        let alive = inner.spawned.iter().filter(|(kind, _, actor)| {
            kinds.contains(kind) && actor.get_status() != ActorStatus::Stopped
        });
        alive
            .map(|(kind, label, _)| format!("{kind:?} {label}"))
            .collect()
    }

    /// Whether a fault may strike.
    pub fn is_armed(&self, arm: Arm) -> bool {
        self.inner().is_armed(arm)
    }

    /// Kills one of the living. Returns whether there was one.
    pub fn kill_one(&self, kill: &Kill) -> bool {
        let mut inner = self.inner();
        let alive: Vec<(String, ActorCell)> = inner
            .spawned
            .iter()
            .filter(|(kind, label, actor)| {
                *kind == kill.kind
                    && actor.get_status() == ActorStatus::Running
                    && inner.may_break(*kind, label)
            })
            .map(|(_, label, actor)| (label.clone(), actor.clone()))
            .collect();
        if alive.is_empty() {
            return false;
        }
        let (label, actor) = &alive[inner.rng.below(alive.len() as u64) as usize];
        inner.history.note(format_args!(
            "{:?} {label} is killed from outside",
            kill.kind
        ));
        inner.external += 1;
        actor.kill();
        true
    }

    /// The process begins a life, which may have a step at which it ends.
    pub fn begin_life(&self, life: usize, crash: Option<Crash>) {
        let mut inner = self.inner();
        inner.life = life;
        inner.crashed = false;
        inner.crash_at = match crash {
            Some(Crash::Step(kind, step, passings)) => Some(((kind, step), passings)),
            _ => None,
        };
    }

    /// The job is about to be moved.
    pub fn moves(&self) {
        self.inner().moving = true;
    }

    /// The process dies here and now.
    pub fn end_life(&self) {
        let mut inner = self.inner();
        if !inner.crashed {
            inner.crashed = true;
            inner.history.note("the process crashes");
        }
    }

    /// Whether a life of the process is over, so that nothing it does may have an effect.
    pub fn is_over(&self, life: usize) -> bool {
        let inner = self.inner();
        inner.life > life || inner.crashed
    }

    /// Waits until the process crashes at a step.
    pub async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// Writes down something that happened outside the engine.
    pub fn note(&self, what: &str) {
        self.inner().history.note(what);
    }
}

impl Probe for Faults {
    fn spawned(&self, kind: ActorKind, label: &dyn Display, actor: ActorCell) {
        let label = label.to_string();
        let mut inner = self.inner();
        inner.history.note(format_args!("{kind:?} {label} starts"));
        let number = inner.spawned.len();
        let named = (actor.clone(), number);
        inner
            .actors
            .entry(kind)
            .or_default()
            .insert(label.clone(), named);
        inner.spawned.push((kind, label, actor));
    }

    fn entry(&self, label: &dyn Display, entry: &LogEntry) {
        let (label, mut inner) = (label.to_string(), self.inner());
        if let LogEntry::CheckpointCompleted { id, .. } = entry
            && inner.is_of_first_job(&label)
        {
            inner.completed = *id;
        }
        if let Some(entry) = Entry::of(entry) {
            inner
                .history
                .note(format_args!("JobMaster {label} {entry:?}"));
            inner.entries.insert(label, entry);
        }
    }

    fn restored(&self, label: &dyn Display, checkpoint: CheckpointId) {
        let mut inner = self.inner();
        inner
            .history
            .note(format_args!("{label} is restored from {checkpoint}"));
        let holds_state = inner
            .first_with_state
            .is_some_and(|first| checkpoint >= first);
        if holds_state && let Some(execution) = execution(&label.to_string()) {
            inner.victims.restored(&execution);
        }
    }

    fn filed(&self, _label: &dyn Display, channels: usize, queued_bytes: usize) {
        let mut inner = self.inner();
        let most = inner.queued.entry(channels).or_default();
        *most = queued_bytes.max(*most);
    }

    fn at(&self, kind: ActorKind, label: &dyn Display, step: Step) -> Option<Fault> {
        let mut inner = self.inner();
        inner.victims.settle();
        if inner.crashed {
            return Some(Fault::Kill);
        }
        inner
            .history
            .note(format_args!("{kind:?} {label} {step:?}"));
        *inner.passed.entry((kind, step)).or_default() += 1;
        if inner.crashes_at((kind, step)) {
            drop(inner);
            self.end_life();
            self.crash.notify_one();
            return Some(Fault::Kill);
        }
        let label = label.to_string();
        if (kind, step) == (ActorKind::Subtask, Step::Batch) && !inner.worked.contains(&label) {
            inner.worked.insert(label.clone());
        }
        inner.follow_checkpoints(step, &label);
        let fault = match inner.may_break(kind, &label) {
            true => inner.due((kind, step), &label),
            false => None,
        };
        let Some(fault) = fault else {
            inner.has_passed((kind, step), &label);
            return None;
        };
        inner.history.note(format_args!(
            "{fault:?} strikes {kind:?} {label} at {step:?}"
        ));
        inner.strike((kind, step), &label, fault);
        Some(fault)
    }
}
