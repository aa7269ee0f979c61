//! What becomes of actors that are broken: they die, and others go on where a checkpoint with state left off.
//!
//! A fault is *effective* when both have been seen. Who goes on depends on who died:
//!
//! | victim | its successor has gone on when |
//! |---|---|
//! | LeaderElection, JobManager, JobMaster | a JobMaster that was started since has decided what it adopts |
//! | CheckpointCoordinator | one that was started since announces a completed checkpoint |
//! | Dispatcher | one that was started since has read which jobs there are |
//! | ResourceManager | a TaskManager registers with one that was started since |
//! | TaskManager, JobTasks, Subtask | a later execution of a subtask that died with it has been restored |
//!
//! The log that leaders go on from held a completed checkpoint with state when the victim died; what executions are restored
//! from is such a checkpoint. Of a TaskManager or JobTasks that ran nothing, and died before it could start what was deployed
//! there, the successor is an execution whose number is two higher than that of the last one that was started.

use std::collections::BTreeMap;

use ractor::{ActorCell, ActorStatus};
use rivus::engine::{ActorKind, Fault, Step};

use crate::cells::{Cell, Hits};

/// Steps of all actors after which a victim that is still there has got over its fault.
const DIES_WITHIN: u64 = 100;

/// A subtask of a job, and the number of one of its executions.
pub(crate) type Execution = (String, u32);

/// The execution that a label names, `v3[0]#1 of 0123abcd`.
pub(crate) fn execution(label: &str) -> Option<Execution> {
    let (subtask, rest) = label.split_once('#')?;
    let (attempt, job) = rest.split_once(' ')?;
    Some((format!("{subtask} {job}"), attempt.parse().ok()?))
}

/// Who shows that somebody has gone on.
pub(crate) enum Heir {
    /// An actor that was started later than so many others, and passes this step.
    Leader {
        of: Cell,
        /// If it has to be this one.
        label: Option<String>,
        started: usize,
    },
    /// An execution that comes after one of these.
    Executions(BTreeMap<String, u32>),
    /// An execution that comes after one that was never started; these were, last.
    Unstarted(BTreeMap<String, u32>),
}

impl Heir {
    /// Of a leader, when so many actors have been started.
    pub(crate) fn of_leader(kind: ActorKind, label: &str, started: usize) -> Self {
        let own = Some(label.to_owned());
        let (of, label) = match kind {
            ActorKind::CheckpointCoordinator => ((kind, Step::Announce), own),
            ActorKind::Dispatcher => ((kind, Step::Recover), own),
            ActorKind::ResourceManager => ((kind, Step::Register), own),
            ActorKind::JobMaster => ((kind, Step::Decide), own),
            _ => ((ActorKind::JobMaster, Step::Decide), None),
        };
        Self::Leader { of, label, started }
    }

    fn is_restored(&self, (subtask, attempt): &Execution) -> bool {
        let later = |than: &BTreeMap<String, u32>, by| {
            than.get(subtask).is_some_and(|last| *attempt >= last + by)
        };
        match self {
            Self::Leader { .. } => false,
            Self::Executions(died) => later(died, 1),
            Self::Unstarted(last) => later(last, 2),
        }
    }
}

/// A fault whose victim is not known to be dead yet.
pub(crate) struct Struck {
    pub(crate) cell: Cell,
    pub(crate) fault: Fault,
    pub(crate) victim: ActorCell,
    /// Whether a checkpoint with state was complete.
    pub(crate) with_state: bool,
    pub(crate) heir: Heir,
}

/// Counts hits: victims that have died, and those of them whose successors have gone on.
#[derive(Default)]
pub(crate) struct Victims {
    struck: Vec<(u64, Struck)>,
    /// Dead, and nobody has gone on.
    dead: Vec<Struck>,
    hits: Hits,
    /// Steps passed.
    steps: u64,
}

impl Victims {
    pub(crate) fn strike(&mut self, struck: Struck) {
        self.struck.push((self.steps, struck));
    }

    /// A step is passed: counts the victims that have died since the one before.
    pub(crate) fn settle(&mut self) {
        self.steps += 1;
        let steps = self.steps;
        let has_died = |struck: &Struck| struck.victim.get_status() == ActorStatus::Stopped;
        let died = self.struck.extract_if(.., |(_, struck)| has_died(struck));
        for (_, struck) in died {
            let count = self.hits.entry((struck.cell, struck.fault)).or_default();
            match struck.with_state {
                true => {
                    count.with_state += 1;
                    self.dead.push(struck);
                }
                false => count.before_state += 1,
            }
        }
        self.struck.retain(|(at, _)| steps - at < DIES_WITHIN);
    }

    /// An actor passes a step and is not broken there; it was started as this one of all.
    pub(crate) fn passed(&mut self, cell: Cell, label: &str, number: usize) {
        self.go_on(|heir| match heir {
            Heir::Leader {
                of,
                label: own,
                started,
            } => *of == cell && number >= *started && own.as_ref().is_none_or(|own| own == label),
            Heir::Executions(_) | Heir::Unstarted(_) => false,
        });
    }

    /// An execution has been restored from a checkpoint that holds state.
    pub(crate) fn restored(&mut self, execution: &Execution) {
        self.settle();
        self.go_on(|heir| heir.is_restored(execution));
    }

    fn go_on(&mut self, is_heir: impl Fn(&Heir) -> bool) {
        for struck in self.dead.extract_if(.., |dead| is_heir(&dead.heir)) {
            let count = self.hits.entry((struck.cell, struck.fault)).or_default();
            count.recovered += 1;
        }
    }

    pub(crate) fn hits(&mut self) -> Hits {
        self.settle();
        self.hits.clone()
    }
}
