//! The entries of a job's log that its master writes, and directed runs in which the leader dies right before and right after
//! it has written one of each kind.

use std::time::Duration;

use rivus::RestartStrategy;
use rivus::engine::core::job::LogEntry;
use rivus::engine::{ActorKind, Fault, Step};

use crate::coverage::Directed;
use crate::jobs::{JobSpec, Shape};
use crate::plan::{Arm, Ending, FAULTS, Injection, Move, Plan, StoragePlan, half_triggered};

/// A kind of entry. A new job's first entry is its Dispatcher's, and a leader's first is the fence: each has a step of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// What a source has to read.
    SplitsFound,
    /// What a source has found since.
    SplitsDiscovered,
    /// A reader is given a split.
    SplitsAssigned,
    /// Executions are deployed.
    Deployed,
    /// A checkpoint is triggered.
    Triggered,
    /// A checkpoint is complete.
    Completed,
    /// A checkpoint is given up.
    Aborted,
    /// What a checkpoint let be committed is.
    Committed,
    /// A savepoint is asked for.
    SavepointRequested,
    /// A savepoint will not be.
    SavepointFailed,
    /// The job goes on with another plan, or doesn't after all.
    Rescaled,
    /// A region is restarted.
    FailoverStarted,
    /// The job's end is asked for.
    CancelRequested,
    /// The job fails.
    JobFailing,
    /// The job has ended.
    Finished,
}

impl Entry {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::SplitsFound,
        Self::SplitsDiscovered,
        Self::SplitsAssigned,
        Self::Deployed,
        Self::Triggered,
        Self::Completed,
        Self::Aborted,
        Self::Committed,
        Self::SavepointRequested,
        Self::SavepointFailed,
        Self::Rescaled,
        Self::FailoverStarted,
        Self::CancelRequested,
        Self::JobFailing,
        Self::Finished,
    ];

    /// Those that come again and again in any job that is broken.
    pub const OFTEN: [Self; 7] = [
        Self::Deployed,
        Self::Triggered,
        Self::Completed,
        Self::Aborted,
        Self::Committed,
        Self::FailoverStarted,
        Self::Finished,
    ];

    /// The kind of an entry that a JobMaster writes while it leads.
    pub fn of(entry: &LogEntry) -> Option<Self> {
        Some(match entry {
            LogEntry::Submitted { .. } | LogEntry::Leader { .. } => return None,
            LogEntry::SplitsFound { .. } => Self::SplitsFound,
            LogEntry::SplitsDiscovered { .. } => Self::SplitsDiscovered,
            LogEntry::SplitsAssigned { .. } => Self::SplitsAssigned,
            LogEntry::Deployed { .. } => Self::Deployed,
            LogEntry::CheckpointTriggered { .. } => Self::Triggered,
            LogEntry::CheckpointCompleted { .. } => Self::Completed,
            LogEntry::CheckpointAborted { .. } => Self::Aborted,
            LogEntry::CheckpointCommitted { .. } => Self::Committed,
            LogEntry::SavepointRequested { .. } => Self::SavepointRequested,
            LogEntry::SavepointFailed { .. } | LogEntry::SavepointRefused { .. } => {
                Self::SavepointFailed
            }
            LogEntry::Rescaled { .. } | LogEntry::RescaleFailed { .. } => Self::Rescaled,
            LogEntry::FailoverStarted { .. } => Self::FailoverStarted,
            LogEntry::CancelRequested => Self::CancelRequested,
            LogEntry::JobFailing { .. } => Self::JobFailing,
            LogEntry::Finished { .. } => Self::Finished,
        })
    }

    /// Whether it is written before any state is.
    pub fn is_before_state(self) -> bool {
        self == Self::SplitsFound
    }

    fn shape(self, round: u64) -> Shape {
        match self {
            Self::SplitsDiscovered => Shape::Watched,
            Self::SplitsAssigned => Shape::ManySplits,
            // What is committed of it by then can be seen, line by line.
            Self::CancelRequested | Self::JobFailing => Shape::Packed,
            _ => [Shape::Tumbling, Shape::MultiStage][(round % 2) as usize],
        }
    }

    /// A job and what leads it to such an entry.
    fn on_the_way(self, round: u64) -> (JobSpec, Plan) {
        let mut spec = JobSpec::directed(self.shape(round), 2_000 + 2 * round);
        let mut plan = Plan {
            seed: 20_000 + 100 * self as u64 + round,
            ..Plan::default()
        };
        match self {
            Self::Deployed | Self::FailoverStarted => plan.injections.push(a_task_fails(2)),
            Self::Aborted => {
                plan.injections.extend(half_triggered(0, 1));
                plan.latency = Duration::from_millis(100);
            }
            Self::SavepointRequested => plan.moves = Some(midway(1)),
            Self::Rescaled => {
                plan.moves = Some(Move {
                    rescale_to: Some(1),
                    ..midway(0)
                });
            }
            Self::SavepointFailed => {
                plan.moves = Some(midway(4));
                plan.storage = Some(StoragePlan {
                    one_in: 5,
                    times: 60,
                });
            }
            Self::CancelRequested => plan.ending = Ending::Canceled(Duration::from_millis(700)),
            Self::JobFailing => {
                spec.restart = RestartStrategy::None;
                plan.injections.push(a_task_fails(1));
                plan.ending = Ending::Failed;
            }
            _ => {}
        }
        (spec, plan)
    }

    /// From when on the leader dies of it.
    fn arm(self) -> Arm {
        match self {
            Self::SplitsFound => Arm::Start,
            Self::Deployed | Self::FailoverStarted | Self::JobFailing => Arm::After(0),
            _ => Arm::State(1),
        }
    }
}

fn midway(before: u32) -> Move {
    Move {
        after: Duration::from_millis(400),
        before,
        wide: 2,
        rescale_to: None,
        onto: None,
        changed: None,
    }
}

fn a_task_fails(times: u32) -> Injection {
    Injection {
        kind: ActorKind::Subtask,
        step: Step::Batch,
        entry: None,
        fault: Fault::Error,
        arm: Arm::State(2),
        every: 40,
        times,
    }
}

/// The runs: each kind of entry, before and after, by every fault.
pub fn around_entries() -> Vec<Directed> {
    let mut runs = Vec::new();
    for entry in Entry::ALL {
        for step in [Step::BeforeAppend, Step::AfterAppend] {
            for (round, fault) in (0..).zip(FAULTS) {
                let (spec, mut plan) = entry.on_the_way(round);
                plan.injections.push(Injection {
                    kind: ActorKind::JobMaster,
                    step,
                    entry: Some(entry),
                    fault,
                    arm: entry.arm(),
                    every: 1,
                    times: 2,
                });
                runs.push(Directed {
                    cell: (ActorKind::JobMaster, step),
                    entry: Some(entry),
                    fault,
                    spec,
                    plan,
                });
            }
        }
    }
    runs
}
