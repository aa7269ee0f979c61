//! The probe that breaks actors as a plan says, and writes down everything that it sees.
//!
//! What it sees goes into a hash: virtual time, kind of actor, label, step, and every fault. Deaths do not:
//! ractor keeps an actor's children in a randomly seeded map, so orphans die in any order, and nothing
//! that the engine does may depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ractor::{ActorCell, ActorStatus};
use rivus::connectors::SplitMix;
use rivus::engine::core::job::LogEntry;
use rivus::engine::{ActorKind, Fault, Probe, Step};
use rivus::{CheckpointId, JobId};
use tokio::sync::Notify;

use crate::cells::{Cell, Hits};
use crate::entries::Entry;
use crate::history::History;
use crate::jobs::Region;
use crate::plan::{Arm, Crash, Injection, Kill, LEADERS, Plan, Scope};
use crate::victims::{Heir, Struck, Victims, execution};

/// A probe that breaks what its plan says.
pub struct Faults {
    inner: Mutex<Inner>,
    /// Told when the process has crashed at a step.
    crash: Notify,
}

struct Inner {
    history: History,
    injections: Vec<Armed>,
    rng: SplitMix,
    emitted: Arc<AtomicU64>,
    /// Whether the checkpoint under way was triggered when records had been read.
    holds_state: bool,
    state_checkpoints: u32,
    /// The checkpoint of the first job that was completed last, by what is or is about to be in its log.
    completed: CheckpointId,
    /// The entry that each JobMaster is about to write, or has just written.
    entries: BTreeMap<String, Entry>,
    /// The first that held state.
    first_with_state: Option<CheckpointId>,
    /// Those that were started last under their names, and as which one of all.
    actors: BTreeMap<(ActorKind, String), (ActorCell, usize)>,
    spawned: Vec<(ActorKind, String, ActorCell)>,
    /// Labels of executions that have worked on something.
    worked: BTreeSet<String>,
    victims: Victims,
    /// What a subtask had waiting at its inputs when it was most, by the number of its channels.
    queued: BTreeMap<usize, usize>,
    passed: BTreeMap<Cell, u64>,
    external: u32,
    /// The process's present life.
    life: usize,
    /// Whether it is over.
    crashed: bool,
    /// The step at which it ends, and how often that is still to be passed.
    crash_at: Option<(Cell, u32)>,
    scope: Scope,
    /// The job that the run is about.
    job: Option<FirstJob>,
}

/// The job that the run is about, as labels have it.
struct FirstJob {
    /// How the labels of what belongs to it end.
    suffix: String,
    /// Its first region.
    region: Region,
}

struct Armed {
    injection: Injection,
    passed: u32,
    left: u32,
}

impl Faults {
    /// A probe for one run. Must be made within the runtime whose time it shows.
    pub fn new(plan: &Plan, emitted: Arc<AtomicU64>) -> Self {
        let armed = |injection: &Injection| Armed {
            injection: *injection,
            passed: 0,
            left: injection.times,
        };
        let inner = Inner {
            history: History::new(),
            injections: plan.injections.iter().map(armed).collect(),
            rng: SplitMix::of(plan.seed, 3),
            emitted,
            holds_state: false,
            state_checkpoints: 0,
            completed: CheckpointId::default(),
            entries: BTreeMap::new(),
            first_with_state: None,
            actors: BTreeMap::new(),
            spawned: Vec::new(),
            worked: BTreeSet::new(),
            victims: Victims::default(),
            queued: BTreeMap::new(),
            passed: BTreeMap::new(),
            external: 0,
            life: 0,
            crashed: false,
            crash_at: None,
            scope: plan.scope,
            job: None,
        };
        Self {
            inner: Mutex::new(inner),
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
        inner
            .history
            .note(&format!("{:?} {label} is killed from outside", kill.kind));
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

/// How the labels of what belongs to a job end.
fn label_suffix(job: JobId) -> String {
    format!(" of {}", &job.to_string()[..8])
}

impl Probe for Faults {
    fn spawned(&self, kind: ActorKind, label: &dyn Display, actor: ActorCell) {
        let label = label.to_string();
        let mut inner = self.inner();
        inner.history.note(&format!("{kind:?} {label} starts"));
        let number = inner.spawned.len();
        let named = (actor.clone(), number);
        inner.actors.insert((kind, label.clone()), named);
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
            inner.history.note(&format!("JobMaster {label} {entry:?}"));
            inner.entries.insert(label, entry);
        }
    }

    fn restored(&self, label: &dyn Display, checkpoint: CheckpointId) {
        let mut inner = self.inner();
        inner
            .history
            .note(&format!("{label} is restored from {checkpoint}"));
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
        inner.history.note(&format!("{kind:?} {label} {step:?}"));
        *inner.passed.entry((kind, step)).or_default() += 1;
        if inner.crashes_at((kind, step)) {
            drop(inner);
            self.end_life();
            self.crash.notify_one();
            return Some(Fault::Kill);
        }
        let label = label.to_string();
        if (kind, step) == (ActorKind::Subtask, Step::Batch) {
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
        inner
            .history
            .note(&format!("{fault:?} strikes {kind:?} {label} at {step:?}"));
        inner.strike((kind, step), &label, fault);
        Some(fault)
    }
}

impl Inner {
    /// An actor passes a step unbroken.
    fn has_passed(&mut self, cell: Cell, label: &str) {
        let named = self.actors.get(&(cell.0, label.to_owned()));
        if let Some((_, number)) = named {
            self.victims.passed(cell, label, *number);
        }
    }

    /// An actor is broken at a step.
    fn strike(&mut self, cell: Cell, label: &str, fault: Fault) {
        let Some((victim, _)) = self.actors.get(&(cell.0, label.to_owned())) else {
            return;
        };
        let heir = match LEADERS.contains(&cell.0) {
            true => Heir::of_leader(cell.0, label, self.spawned.len()),
            false => self.heir_of_work(victim),
        };
        self.victims.strike(Struck {
            cell,
            fault,
            victim: victim.clone(),
            with_state: self.state_checkpoints > 0,
            heir,
        });
    }

    /// Who goes on with what a worker runs.
    fn heir_of_work(&self, victim: &ActorCell) -> Heir {
        let (mut runs, mut started) = (BTreeMap::new(), BTreeMap::new());
        for (kind, label, actor) in &self.spawned {
            if *kind != ActorKind::Subtask {
                continue;
            }
            if let Some((subtask, attempt)) = execution(label) {
                if actor.get_status() != ActorStatus::Stopped && is_under(actor, victim) {
                    runs.insert(subtask.clone(), attempt);
                }
                started.insert(subtask, attempt);
            }
        }
        match runs.is_empty() {
            true => Heir::Unstarted(started),
            false => Heir::Executions(runs),
        }
    }

    fn is_armed(&self, arm: Arm) -> bool {
        match arm {
            Arm::Start => true,
            Arm::State(checkpoints) => self.state_checkpoints >= checkpoints,
            Arm::After(number) => self
                .injections
                .get(number)
                .is_some_and(|armed| armed.left < armed.injection.times),
        }
    }

    /// Counts a step down on which the process crashes.
    fn crashes_at(&mut self, cell: Cell) -> bool {
        match &mut self.crash_at {
            Some((at, passings)) if *at == cell => {
                *passings -= 1;
                *passings == 0
            }
            _ => false,
        }
    }

    /// Whether an injection has struck as often as the one that it follows.
    fn has_followed(&self, injection: &Armed) -> bool {
        let struck = |armed: &Armed| armed.injection.times - armed.left;
        match injection.injection.arm {
            Arm::After(number) => struck(injection) >= struck(&self.injections[number]),
            Arm::Start | Arm::State(_) => false,
        }
    }

    /// Whether an actor belongs to the first job, and if it is a subtask, to its first region.
    fn is_in_first_region(&self, kind: ActorKind, label: &str) -> bool {
        let Some(job) = &self.job else {
            return false;
        };
        label.strip_suffix(job.suffix.as_str()).is_some_and(|own| {
            let is_inside = |(vertex, index)| job.region.contains(vertex, index);
            kind != ActorKind::Subtask || subtask_of(own).is_some_and(is_inside)
        })
    }

    /// Whether a JobMaster, whose label is its job, is the first job's.
    fn is_of_first_job(&self, job: &str) -> bool {
        let prefix = self
            .job
            .as_ref()
            .and_then(|job| job.suffix.strip_prefix(" of "));
        prefix.is_some_and(|prefix| job.starts_with(prefix))
    }

    /// Whether the plan's scope allows an actor to be broken.
    fn may_break(&self, kind: ActorKind, label: &str) -> bool {
        self.scope == Scope::Everywhere
            || LEADERS.contains(&kind)
            || self.is_in_first_region(kind, label)
    }

    /// A checkpoint of the first job holds state if records had been read when it was triggered: all of
    /// them precede its barriers, so they are in its snapshots.
    fn follow_checkpoints(&mut self, step: Step, label: &str) {
        let own = |job: &FirstJob| label.ends_with(&job.suffix);
        if !self.job.as_ref().is_some_and(own) {
            return;
        }
        match step {
            Step::Trigger => self.holds_state = self.emitted.load(Relaxed) > 0,
            Step::Announce if self.holds_state => {
                self.state_checkpoints += 1;
                self.first_with_state.get_or_insert(self.completed);
            }
            _ => {}
        }
    }

    fn due(&mut self, cell: Cell, label: &str) -> Option<Fault> {
        for at in 0..self.injections.len() {
            let Injection {
                kind,
                step,
                entry,
                arm,
                every,
                fault,
                ..
            } = self.injections[at].injection;
            let unarmed = !self.is_armed(arm) || self.has_followed(&self.injections[at]);
            let other = entry.is_some_and(|entry| self.entries.get(label) != Some(&entry));
            if (kind, step) != cell || unarmed || other {
                continue;
            }
            let armed = &mut self.injections[at];
            armed.passed += 1;
            if armed.left > 0 && armed.passed.is_multiple_of(every) {
                armed.left -= 1;
                return Some(fault);
            }
        }
        None
    }
}

/// Whether an actor is another one, or was started by it or by those that it has started.
fn is_under(actor: &ActorCell, other: &ActorCell) -> bool {
    let mut above = Some(actor.clone());
    while let Some(actor) = above {
        if actor.get_id() == other.get_id() {
            return true;
        }
        above = actor.try_get_supervisor();
    }
    false
}

/// The vertex and the index of `v3[0]#1`.
fn subtask_of(execution: &str) -> Option<(u32, u32)> {
    let (vertex, rest) = execution.strip_prefix('v')?.split_once('[')?;
    let (index, _) = rest.split_once(']')?;
    Some((vertex.parse().ok()?, index.parse().ok()?))
}
