//! Defects planted on purpose, behind the feature `planted-defects`: the chaos suite proves its worth by
//! catching each. Which one is active is chosen by [`plant`]. Without the feature they don't exist.

/// A defect that the chaos suite has to catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// A receiver forgets to give credits back, now and then.
    LostCredit,
    /// A checkpoint is announced, and so committed, before its log entry is written.
    CommitBeforeLog,
    /// A channel that should be parked for an alignment is not.
    BatchThroughAlignment,
}

#[cfg(feature = "planted-defects")]
mod active {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Defect;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a defect in this process, or none.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.store(defect.map_or(0, |defect| defect as u8 + 1), Relaxed);
    }

    pub(super) fn is_planted(defect: Defect) -> bool {
        PLANTED.load(Relaxed) == defect as u8 + 1
    }
}

#[cfg(feature = "planted-defects")]
pub use active::plant;

#[cfg(feature = "planted-defects")]
fn is_planted(defect: Defect) -> bool {
    active::is_planted(defect)
}

#[cfg(not(feature = "planted-defects"))]
#[inline]
fn is_planted(_defect: Defect) -> bool {
    false
}

/// [`Defect::LostCredit`]: from some point on a channel's credits don't come back.
#[inline]
pub(crate) fn lose_a_credit(granted: u64) -> bool {
    granted > 12 && is_planted(Defect::LostCredit)
}

/// [`Defect::CommitBeforeLog`].
#[inline]
pub(crate) fn commit_before_log() -> bool {
    is_planted(Defect::CommitBeforeLog)
}

/// [`Defect::BatchThroughAlignment`].
#[inline]
pub(crate) fn let_through_alignment() -> bool {
    is_planted(Defect::BatchThroughAlignment)
}
