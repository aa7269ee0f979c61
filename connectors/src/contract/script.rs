//! What may happen to a job that writes.

use std::fmt;

use crate::splitmix::SplitMix;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// So many records are written.
    Write(u64),
    /// A checkpoint that is aborted.
    Abort,
    /// A checkpoint that completes; its commits are done, and done again if `twice`.
    Complete { twice: bool },
    /// A checkpoint that completes; the job crashes after the first `done` commits.
    CompleteAndCrash { done: usize },
    /// The attempt is lost after it prepared a checkpoint.
    PrepareAndCrash,
    /// The attempt is lost.
    Crash,
    /// The attempt is given up but goes on.
    Zombie,
    /// The job stops after a completed checkpoint and is started anew from there.
    Resubmit,
    /// A savepoint of a job that goes on, and goes back behind it if it `crashes`. Then it is canceled, and another one goes on from
    /// the savepoint.
    Savepoint { crashes: bool },
}

impl Fate {
    /// What happens in a case.
    pub fn script(case: u64) -> Vec<Self> {
        let mut rng = SplitMix::of(case, 0);
        let len = rng.below(30);
        (0..len).map(|_| Self::draw(&mut rng)).collect()
    }

    fn draw(rng: &mut SplitMix) -> Self {
        match rng.below(18) {
            0..6 => Self::Write(rng.below(9)),
            6 => Self::Abort,
            7..10 => Self::Complete {
                twice: rng.below(2) == 0,
            },
            10..12 => Self::CompleteAndCrash {
                done: rng.below(3) as usize,
            },
            12 => Self::PrepareAndCrash,
            13 => Self::Crash,
            14 => Self::Zombie,
            15 => Self::Resubmit,
            _ => Self::Savepoint {
                crashes: rng.below(2) == 0,
            },
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(count) => write!(f, "write {count}"),
            Self::Abort => f.write_str("an aborted checkpoint"),
            Self::Complete { twice: false } => f.write_str("a checkpoint"),
            Self::Complete { twice: true } => f.write_str("a checkpoint, committed twice"),
            Self::CompleteAndCrash { done } => {
                write!(f, "a checkpoint and a crash after {done} commits")
            }
            Self::PrepareAndCrash => f.write_str("a crash within a checkpoint"),
            Self::Crash => f.write_str("a crash"),
            Self::Zombie => f.write_str("a crash that leaves a zombie"),
            Self::Resubmit => f.write_str("the job anew from its last checkpoint"),
            Self::Savepoint { crashes: false } => f.write_str("another job from a savepoint"),
            Self::Savepoint { crashes: true } => {
                f.write_str("another job from a savepoint after a crash")
            }
        }
    }
}
