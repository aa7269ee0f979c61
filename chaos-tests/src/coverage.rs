//! Every cell: a directed run for each step and each way to fail, with what it takes to get there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use rivus::engine::{ActorKind, Fault, Step};

use crate::cells::{Cell, HitCount, Hits};
use crate::entries::Entry;
use crate::jobs::{Barriers, JobSpec, Rows, Shape};
use crate::plan::{Arm, FAULTS, Injection, Kill, Plan, half_triggered};

/// One directed run.
#[derive(Debug, Clone)]
pub struct Directed {
    /// The cell that it is about.
    pub cell: Cell,
    /// The entry of the log that it is about, if it is about one.
    pub entry: Option<Entry>,
    /// How the actor is made to fail.
    pub fault: Fault,
    /// The job.
    pub spec: JobSpec,
    /// What is broken: the way there, then the cell itself.
    pub plan: Plan,
}

impl Directed {
    /// The run's name: kind of actor, step, the entry if it is about one, fault, seed.
    pub fn name(&self) -> String {
        let (kind, step) = self.cell;
        let entry = self.entry.map(|entry| format!("/{entry:?}"));
        let entry = entry.unwrap_or_default();
        format!(
            "{kind:?}/{step:?}{entry}/{:?}/{}",
            self.fault, self.plan.seed
        )
    }

    /// How the run is made again.
    pub fn replay_command(&self) -> String {
        let name = self.name();
        format!("RIVUS_CELL={name} cargo test -p rivus-chaos --test coverage -- --nocapture")
    }
}

/// Steps that are passed before any record is read. They can only be hit before a checkpoint holds state.
pub const BEFORE_STATE: [Step; 1] = [Step::Submit];

/// Whose death leads to a step that a healthy job doesn't pass again once it has state.
fn provoked_by(step: Step) -> Option<ActorKind> {
    match step {
        Step::Campaign | Step::Recover | Step::Register | Step::LeaderFound => {
            Some(ActorKind::JobManager)
        }
        Step::StartMaster
        | Step::ChildEnded
        | Step::Fence
        | Step::Replay
        | Step::Collect
        | Step::Decide
        | Step::Report => Some(ActorKind::JobMaster),
        Step::Allocate
        | Step::Deploy
        | Step::Connect
        | Step::TaskFailed
        | Step::StartTasks
        | Step::ConnectTasks
        | Step::Built
        | Step::PutBack
        | Step::Open => Some(ActorKind::Subtask),
        _ => None,
    }
}

/// The run for a cell and a fault; `round` varies everything else.
fn directed(cell: Cell, fault: Fault, round: u64) -> Directed {
    let (kind, step) = cell;
    let shapes = match step {
        // The other shapes hand out all splits at the start.
        Step::AssignSplit => [Shape::ManySplits, Shape::TextFiles],
        _ => [Shape::Tumbling, Shape::MultiStage],
    };
    let mut spec = JobSpec::directed(shapes[(round % 2) as usize], 1_000 + round);
    let mut kills = Vec::new();
    if let Some(kind) = provoked_by(step) {
        kills.extend((0..4).map(|number| Kill {
            kind,
            arm: Arm::State(2),
            after: Duration::from_millis(5 + 331 * number),
        }));
        // Takeovers wait for leases and reports: the job must outlast them.
        spec.records *= 2;
    }
    if step == Step::FileStored {
        // Only stores have files.
        spec.rows = Rows::InStandIn(1);
    }
    if let Step::Overtake | Step::PutBack = step {
        spec.barriers = Barriers::Overtake(Duration::ZERO);
    }
    if step == Step::Renew {
        // A lease is renewed once a second.
        spec.records *= 2;
    }
    let mut injections = Vec::new();
    let mut latency = Duration::ZERO;
    if step == Step::Decline {
        injections.extend(half_triggered(0, 1));
        latency = Duration::from_millis(100);
    }
    let early = BEFORE_STATE.contains(&step);
    injections.push(Injection {
        kind,
        step,
        entry: None,
        fault,
        arm: if early { Arm::Start } else { Arm::State(1) },
        every: if early { 1 } else { 1 + (round % 2) as u32 },
        times: 2,
    });
    Directed {
        cell,
        entry: None,
        fault,
        spec,
        plan: Plan {
            seed: 10_000 + round,
            injections,
            kills,
            latency,
            ..Plan::default()
        },
    }
}

/// All directed runs: every step, every fault, twice.
pub fn all_directed() -> Vec<Directed> {
    let mut runs = Vec::new();
    for cell in Step::ALL {
        for (at, fault) in FAULTS.into_iter().enumerate() {
            for round in 0..2 {
                runs.push(directed(cell, fault, 2 * at as u64 + round));
            }
        }
    }
    runs
}

/// Adds up what several runs hit.
pub fn add_up(all: impl IntoIterator<Item = Hits>) -> Hits {
    let mut sum = Hits::new();
    for hits in all {
        for (cell, count) in hits {
            let total = sum.entry(cell).or_default();
            total.before_state += count.before_state;
            total.with_state += count.with_state;
            total.recovered += count.recovered;
        }
    }
    sum
}

/// Effective hits of a cell: the victim died, and its successor went on from a checkpoint with state; or it died at all, where
/// state can't be.
pub fn effective(hits: &Hits, cell: Cell, fault: Fault) -> u32 {
    let count = hits.get(&(cell, fault)).copied().unwrap_or_default();
    match BEFORE_STATE.contains(&cell.1) {
        true => count.before_state + count.with_state,
        false => count.recovered,
    }
}

/// The table, for people.
pub fn table(hits: &Hits) -> String {
    let mut by_cell: BTreeMap<Cell, [HitCount; 3]> = BTreeMap::new();
    for ((cell, fault), count) in hits {
        let at = FAULTS.iter().position(|of| of == fault).unwrap_or(0);
        by_cell.entry(*cell).or_default()[at] = *count;
    }
    let mut text = String::from(
        "actor                 step             panic error  kill | died  before state\n",
    );
    for cell in Step::ALL {
        let counts = by_cell.get(&cell).copied().unwrap_or_default();
        let [panic, error, kill] = counts.map(|count| count.recovered);
        let died: u32 = counts.iter().map(|count| count.with_state).sum();
        let before: u32 = counts.iter().map(|count| count.before_state).sum();
        let (kind, step) = (format!("{:?}", cell.0), format!("{:?}", cell.1));
        let note = match BEFORE_STATE.contains(&cell.1) {
            true => "  (comes before any state by nature)",
            false => "",
        };
        let _ = writeln!(
            text,
            "{kind:<21} {step:<15} {panic:>6} {error:>5} {kill:>5} | {died:>4} {before:>5}{note}"
        );
    }
    text
}
