//! What is broken in a run, and when.

use std::time::Duration;

use rivus::connectors::SplitMix;
use rivus::engine::{ActorKind, Fault, Step};

use crate::entries::Entry;
use crate::jobs::{Change, JobSpec, Rows};

/// From when on a fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// From the start.
    Start,
    /// Once so many checkpoints that hold state are complete.
    State(u32),
    /// As often as the plan's injection of this number has struck.
    After(usize),
    /// Once the job is being moved.
    Moving,
}

/// A fault at a step of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// Who is hit.
    pub kind: ActorKind,
    /// Where.
    pub step: Step,
    /// Only with such an entry, if one is named: where a JobMaster writes its log.
    pub entry: Option<Entry>,
    /// How.
    pub fault: Fault,
    /// From when on.
    pub arm: Arm,
    /// It strikes at each `every`th passing.
    pub every: u32,
    /// How often it strikes.
    pub times: u32,
}

/// A kill from outside, wherever the actor happens to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// Who is hit: one of the living, by the seed.
    pub kind: ActorKind,
    /// From when on.
    pub arm: Arm,
    /// How long after that.
    pub after: Duration,
}

/// Storage that fails now and then, once a checkpoint with state is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoragePlan {
    /// One operation in so many fails.
    pub one_in: u64,
    /// Faults in all.
    pub times: u32,
}

/// When the process dies, all of it at once: its actors do nothing more, and storage hears nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// So long after its start.
    At(Duration),
    /// When the step is passed for the so manieth time since its start.
    Step(ActorKind, Step, u32),
}

/// Which workers are broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    Everywhere,
    /// Those of the first job's first region only. No other region and no other job may notice.
    FirstRegion,
}

/// Everything that is broken in one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// From which the storage faults and the victims of kills are drawn.
    pub seed: u64,
    /// Which workers are broken.
    pub scope: Scope,
    /// Faults at steps.
    pub injections: Vec<Injection>,
    /// Kills from outside.
    pub kills: Vec<Kill>,
    /// Storage that fails.
    pub storage: Option<StoragePlan>,
    /// The longest that a piece of blocking work takes: a log entry, a part of a snapshot, a commit.
    pub latency: Duration,
    /// How each life of the process but the last one ends.
    pub crashes: Vec<Crash>,
    /// Whether the job is stopped in its midst and goes on from the savepoint.
    pub moves: Option<Move>,
    /// How the job is to end.
    pub ending: Ending,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// With its input.
    #[default]
    Completed,
    /// It is canceled so long after its start.
    Canceled(Duration),
    /// It fails.
    Failed,
}

/// A job is stopped with a savepoint, and another goes on from it; or the job itself, as one that is rescaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// How long after its start.
    pub after: Duration,
    /// How many savepoints are made before, while the job goes on. Where that can be compared, another job is started from the last
    /// of them when this one has ended.
    pub before: u32,
    /// Subtasks behind the sources of the job that goes on.
    pub wide: u32,
    /// The parallelism that the job itself goes on with, if it is rescaled.
    pub rescale_to: Option<u32>,
    /// Where the rows of the job that goes on lie, if it goes on with another backend.
    pub onto: Option<Rows>,
    /// What is another about the state of the job that goes on, if it is another version of the program.
    pub changed: Option<Change>,
}

/// Actors whose death no running task may notice.
pub const LEADERS: [ActorKind; 6] = [
    ActorKind::LeaderElection,
    ActorKind::JobManager,
    ActorKind::Dispatcher,
    ActorKind::ResourceManager,
    ActorKind::JobMaster,
    ActorKind::CheckpointCoordinator,
];

/// Actors on the branch where the work is done.
pub const WORKERS: [ActorKind; 3] = [
    ActorKind::TaskManager,
    ActorKind::JobTasks,
    ActorKind::Subtask,
];

/// All three ways to fail.
pub const FAULTS: [Fault; 3] = [Fault::Panic, Fault::Error, Fault::Kill];

impl Plan {
    /// Nothing is broken.
    pub fn undisturbed() -> Self {
        Self::default()
    }

    /// What a seed breaks.
    pub fn of(seed: u64, spec: &JobSpec) -> Self {
        let mut rng = SplitMix::of(seed, 2);
        let scope = match spec.has_bystanders() && rng.below(2) == 0 {
            true => Scope::FirstRegion,
            false => Scope::Everywhere,
        };
        let workers = workers(scope, spec);
        let kinds: &[&[ActorKind]] = match rng.below(4) {
            0 => &[&LEADERS],
            1 => &[workers],
            _ => &[&LEADERS, workers],
        };
        let kinds: Vec<ActorKind> = kinds.concat();
        let early = rng.below(5) == 0 && scope == Scope::Everywhere;
        let mut plan = Self {
            seed,
            scope,
            ..Self::default()
        };
        for _ in 0..1 + rng.below(5) {
            plan.injections.push(injection(&mut rng, &kinds, early));
        }
        if kinds.len() == LEADERS.len() + workers.len() {
            let double = match rng.below(2) {
                0 => double_fault(&mut rng, workers, plan.injections.len()),
                _ => half_triggered(plan.injections.len(), 1 + rng.below(3) as u32),
            };
            plan.injections.extend(double);
        }
        for _ in 0..1 + rng.below(3) {
            plan.kills.push(kill(&mut rng, &kinds, early));
        }
        if rng.below(4) == 0 && scope == Scope::Everywhere {
            plan.storage = Some(StoragePlan {
                one_in: 4 + rng.below(30),
                times: 1 + rng.below(6) as u32,
            });
        }
        if rng.below(3) > 0 {
            plan.latency = Duration::from_millis([3, 20, 100][rng.below(3) as usize]);
        }
        if rng.below(6) == 0 && scope == Scope::Everywhere {
            plan.crashes = (0..1 + rng.below(3))
                .map(|_| crash(&mut rng, spec))
                .collect();
        }
        if scope == Scope::Everywhere && !plan.spares_tasks() {
            plan.moves = moves(seed, spec);
        }
        plan
    }

    /// What a seed breaks in real time: kills only, for steps pass in another order each time.
    pub fn on_threads(seed: u64, spec: &JobSpec) -> Self {
        let mut rng = SplitMix::of(seed, 5);
        let kinds = [LEADERS.as_slice(), WORKERS.as_slice()].concat();
        let lasts = spec.lasts().as_millis() as u64;
        let kills = (0..3 + rng.below(4)).map(|_| Kill {
            after: Duration::from_millis(rng.below(lasts * 3 / 4)),
            ..kill(&mut rng, &kinds, false)
        });
        Self {
            seed,
            kills: kills.collect(),
            ..Self::default()
        }
    }

    /// What is another about the state of the job that goes on, if it is another version of the program.
    pub fn changes(&self) -> Option<Change> {
        self.moves.and_then(|moves| moves.changed)
    }

    /// Whether every fault hits the leader's side only, and only once the job runs, which is left where it is: then no task may
    /// notice.
    pub fn spares_tasks(&self) -> bool {
        let spared = |kind: &ActorKind, arm: &Arm| LEADERS.contains(kind) && *arm != Arm::Start;
        self.injections.iter().all(|i| spared(&i.kind, &i.arm))
            && self.kills.iter().all(|k| spared(&k.kind, &k.arm))
            && self.storage.is_none()
            && self.crashes.is_empty()
            && self.moves.is_none()
    }
}

/// Workers that can be broken without touching what is outside the scope.
fn workers(scope: Scope, spec: &JobSpec) -> &'static [ActorKind] {
    match (scope, spec.has_regions()) {
        (Scope::Everywhere, _) => &WORKERS,
        // What the others run of all regions dies with them.
        (Scope::FirstRegion, true) => &[ActorKind::Subtask],
        (Scope::FirstRegion, false) => &[ActorKind::JobTasks, ActorKind::Subtask],
    }
}

fn arm(rng: &mut SplitMix, early: bool) -> Arm {
    match early {
        true => Arm::Start,
        false => Arm::State(1 + rng.below(3) as u32),
    }
}

fn injection(rng: &mut SplitMix, kinds: &[ActorKind], early: bool) -> Injection {
    let steps: Vec<(ActorKind, Step)> = Step::ALL
        .into_iter()
        .filter(|(kind, _)| kinds.contains(kind))
        .collect();
    let (kind, step) = steps[rng.below(steps.len() as u64) as usize];
    let appends = matches!(step, Step::BeforeAppend | Step::AfterAppend);
    let entry = (appends && rng.below(2) == 0)
        .then(|| Entry::OFTEN[rng.below(Entry::OFTEN.len() as u64) as usize]);
    Injection {
        kind,
        step,
        entry,
        fault: FAULTS[rng.below(3) as usize],
        arm: arm(rng, early),
        every: 1 + rng.below(12) as u32,
        times: 1 + rng.below(2) as u32,
    }
}

/// A leader dies around the entry that completes a checkpoint, and a task on hearing of it: the next
/// leader finds neither as the log has it. `at` is the number of the first of the two injections.
fn double_fault(rng: &mut SplitMix, workers: &[ActorKind], at: usize) -> [Injection; 2] {
    let leader = [
        (ActorKind::JobMaster, Step::BeforeAppend),
        (ActorKind::JobMaster, Step::AfterAppend),
        (ActorKind::CheckpointCoordinator, Step::Complete),
        (ActorKind::CheckpointCoordinator, Step::Announce),
    ];
    let task = [
        (ActorKind::Subtask, Step::Committed),
        (ActorKind::Subtask, Step::Commit),
        (ActorKind::Subtask, Step::Batch),
        (ActorKind::JobTasks, Step::TaskEvent),
    ];
    let (kind, step) = leader[rng.below(4) as usize];
    let first = Injection {
        kind,
        step,
        entry: None,
        fault: FAULTS[rng.below(3) as usize],
        arm: Arm::State(1),
        every: 2 + rng.below(6) as u32,
        times: 3,
    };
    let steps = task
        .iter()
        .filter(|(kind, _)| workers.contains(kind))
        .count();
    let (kind, step) = task[rng.below(steps as u64) as usize];
    let second = Injection {
        kind,
        step,
        entry: None,
        fault: FAULTS[rng.below(3) as usize],
        arm: Arm::After(at),
        every: 1,
        times: 3,
    };
    [first, second]
}

/// A leader dies when only some sources have heard of a checkpoint, and its JobMaster while the next one
/// finds out: meanwhile subtasks wait for barriers, and may give the checkpoint up. `at` is the number of
/// the first of the two injections.
pub(crate) fn half_triggered(at: usize, every: u32) -> [Injection; 2] {
    let first = Injection {
        kind: ActorKind::CheckpointCoordinator,
        step: Step::BetweenTriggers,
        entry: None,
        fault: Fault::Error,
        arm: Arm::State(1),
        every,
        times: 4,
    };
    let second = Injection {
        kind: ActorKind::JobMaster,
        step: Step::Collect,
        arm: Arm::After(at),
        every: 1,
        ..first
    };
    [first, second]
}

fn moves(seed: u64, spec: &JobSpec) -> Option<Move> {
    let mut rng = SplitMix::of(seed, 6);
    let lasts = spec.lasts().as_millis() as u64;
    let widest = spec.parallelism.max(spec.wide);
    if rng.below(2) > 0 {
        return None;
    }
    let mut moves = Move {
        after: Duration::from_millis(rng.below(lasts)),
        before: rng.below(3) as u32,
        wide: 1 + rng.below(u64::from(widest)) as u32,
        rescale_to: (rng.below(2) == 0).then(|| {
            // Fewer readers read one after the other what was read side by side, where the source doesn't see to the order.
            let least = match spec.shape.keeps_order() {
                true => 1,
                false => spec.parallelism,
            };
            least + rng.below(u64::from(widest - least + 1)) as u32
        }),
        onto: None,
        changed: None,
    };
    // Another backend is another environment's, and a job beside this one is at home in the first.
    if moves.rescale_to.is_none() && spec.neighbour.is_none() {
        moves.onto = match spec.rows {
            Rows::InMemory => Some(Rows::InRocksDb([1, 2_000][rng.below(2) as usize])),
            Rows::InRocksDb(_) | Rows::InStandIn(_) => Some(Rows::InMemory),
        };
    }
    if moves.rescale_to.is_none() && spec.may_change() {
        let mut rng = SplitMix::of(seed, 8);
        moves.changed = Change::ALL.get(rng.below(4) as usize).copied();
    }
    Some(moves)
}

fn crash(rng: &mut SplitMix, spec: &JobSpec) -> Crash {
    let lasts = spec.lasts().as_millis() as u64;
    if rng.below(3) == 0 {
        return Crash::At(Duration::from_millis(rng.below(lasts)));
    }
    let (kind, step) = Step::ALL[rng.below(Step::ALL.len() as u64) as usize];
    Crash::Step(kind, step, 1 + rng.below(20) as u32)
}

fn kill(rng: &mut SplitMix, kinds: &[ActorKind], early: bool) -> Kill {
    Kill {
        kind: kinds[rng.below(kinds.len() as u64) as usize],
        arm: arm(rng, early),
        after: Duration::from_millis(rng.below(1_500)),
    }
}
