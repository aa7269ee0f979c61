//! What a probe has seen, and what it breaks by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ractor::{ActorCell, ActorStatus};
use rivus::connectors::SplitMix;
use rivus::engine::{ActorKind, Fault, Step};
use rivus::{CheckpointId, JobId};

use crate::cells::Cell;
use crate::entries::Entry;
use crate::history::History;
use crate::jobs::Region;
use crate::plan::{Arm, Injection, LEADERS, Plan, Scope};
use crate::victims::{Heir, Struck, Victims, execution};

pub(super) struct Inner {
    pub(super) history: History,
    pub(super) injections: Vec<Armed>,
    pub(super) rng: SplitMix,
    pub(super) emitted: Arc<AtomicU64>,
    /// Whether the checkpoint under way was triggered when records had been read.
    pub(super) holds_state: bool,
    pub(super) state_checkpoints: u32,
    /// The checkpoint of the first job that was completed last, by what is or is about to be in its log.
    pub(super) completed: CheckpointId,
    /// The first that held state.
    pub(super) first_with_state: Option<CheckpointId>,
    /// The entry that each JobMaster is about to write, or has just written.
    pub(super) entries: BTreeMap<String, Entry>,
    /// Those that were started last under their names, and as which one of all.
    pub(super) actors: BTreeMap<ActorKind, BTreeMap<String, (ActorCell, usize)>>,
    pub(super) spawned: Vec<(ActorKind, String, ActorCell)>,
    /// Labels of executions that have worked on something.
    pub(super) worked: BTreeSet<String>,
    pub(super) victims: Victims,
    /// What a subtask had waiting at its inputs when it was most, by the number of its channels.
    pub(super) queued: BTreeMap<usize, usize>,
    pub(super) passed: BTreeMap<Cell, u64>,
    pub(super) external: u32,
    /// Whether the job is being moved, or has been.
    pub(super) moving: bool,
    /// The process's present life.
    pub(super) life: usize,
    /// Whether it is over.
    pub(super) crashed: bool,
    /// The step at which it ends, and how often that is still to be passed.
    pub(super) crash_at: Option<(Cell, u32)>,
    pub(super) scope: Scope,
    /// The job that the run is about.
    pub(super) job: Option<FirstJob>,
}

/// The job that the run is about, as labels have it.
pub(super) struct FirstJob {
    /// How the labels of what belongs to it end.
    pub(super) suffix: String,
    /// Its first region.
    pub(super) region: Region,
}

pub(super) struct Armed {
    pub(super) injection: Injection,
    pub(super) passed: u32,
    pub(super) left: u32,
}

impl Inner {
    /// Nothing yet, under a plan.
    pub(super) fn new(plan: &Plan, emitted: Arc<AtomicU64>) -> Self {
        let armed = |injection: &Injection| Armed {
            injection: *injection,
            passed: 0,
            left: injection.times,
        };
        Self {
            history: History::new(),
            injections: plan.injections.iter().map(armed).collect(),
            rng: SplitMix::of(plan.seed, 3),
            emitted,
            holds_state: false,
            state_checkpoints: 0,
            completed: CheckpointId::default(),
            first_with_state: None,
            entries: BTreeMap::new(),
            actors: BTreeMap::new(),
            spawned: Vec::new(),
            worked: BTreeSet::new(),
            victims: Victims::default(),
            queued: BTreeMap::new(),
            passed: BTreeMap::new(),
            external: 0,
            moving: false,
            life: 0,
            crashed: false,
            crash_at: None,
            scope: plan.scope,
            job: None,
        }
    }

    fn named(&self, kind: ActorKind, label: &str) -> Option<&(ActorCell, usize)> {
        self.actors.get(&kind)?.get(label)
    }

    /// An actor passes a step unbroken.
    pub(super) fn has_passed(&mut self, cell: Cell, label: &str) {
        if let Some((_, number)) = self.named(cell.0, label) {
            let number = *number;
            self.victims.passed(cell, label, number);
        }
    }

    /// An actor is broken at a step.
    pub(super) fn strike(&mut self, cell: Cell, label: &str, fault: Fault) {
        let Some((victim, _)) = self.named(cell.0, label) else {
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
    pub(super) fn heir_of_work(&self, victim: &ActorCell) -> Heir {
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

    pub(super) fn is_armed(&self, arm: Arm) -> bool {
        match arm {
            Arm::Start => true,
            Arm::Moving => self.moving,
            Arm::State(checkpoints) => self.state_checkpoints >= checkpoints,
            Arm::After(number) => self
                .injections
                .get(number)
                .is_some_and(|armed| armed.left < armed.injection.times),
        }
    }

    /// Counts a step down on which the process crashes.
    pub(super) fn crashes_at(&mut self, cell: Cell) -> bool {
        match &mut self.crash_at {
            Some((at, passings)) if *at == cell => {
                *passings -= 1;
                *passings == 0
            }
            _ => false,
        }
    }

    /// Whether an injection has struck as often as the one that it follows.
    pub(super) fn has_followed(&self, injection: &Armed) -> bool {
        let struck = |armed: &Armed| armed.injection.times - armed.left;
        match injection.injection.arm {
            Arm::After(number) => struck(injection) >= struck(&self.injections[number]),
            Arm::Start | Arm::State(_) | Arm::Moving => false,
        }
    }

    /// Whether an actor belongs to the first job, and if it is a subtask, to its first region.
    pub(super) fn is_in_first_region(&self, kind: ActorKind, label: &str) -> bool {
        let Some(job) = &self.job else {
            return false;
        };
        label.strip_suffix(job.suffix.as_str()).is_some_and(|own| {
            let is_inside = |(vertex, index)| job.region.contains(vertex, index);
            kind != ActorKind::Subtask || subtask_of(own).is_some_and(is_inside)
        })
    }

    /// Whether a JobMaster, whose label is its job, is the first job's.
    pub(super) fn is_of_first_job(&self, job: &str) -> bool {
        let prefix = self
            .job
            .as_ref()
            .and_then(|job| job.suffix.strip_prefix(" of "));
        prefix.is_some_and(|prefix| job.starts_with(prefix))
    }

    /// Whether the plan's scope allows an actor to be broken.
    pub(super) fn may_break(&self, kind: ActorKind, label: &str) -> bool {
        self.scope == Scope::Everywhere
            || LEADERS.contains(&kind)
            || self.is_in_first_region(kind, label)
    }

    /// A checkpoint of the first job holds state if records had been read when it was triggered: all of
    /// them precede its barriers, so they are in its snapshots.
    pub(super) fn follow_checkpoints(&mut self, step: Step, label: &str) {
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

    pub(super) fn due(&mut self, cell: Cell, label: &str) -> Option<Fault> {
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

/// How the labels of what belongs to a job end.
pub(super) fn label_suffix(job: JobId) -> String {
    format!(" of {}", &job.to_string()[..8])
}
