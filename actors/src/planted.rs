//! Defects planted on purpose, behind the feature `planted-defects`: the chaos suite proves its worth by
//! catching each. Which one is active is chosen by [`plant`]; none is until then. Without the feature they don't exist.

/// A defect that the chaos suite has to catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// One credit of one channel doesn't come back. Once.
    LostCredit,
    /// A checkpoint is announced, and so committed, before its log entry is written.
    CommitBeforeLog,
    /// One batch of a channel that should be parked goes through an alignment. Once.
    BatchThroughAlignment,
    /// What was queued on one channel when a barrier overtook it is not put back at a restore. Once.
    LostQueue,
}

#[cfg(feature = "planted-defects")]
mod active {
    use std::cell::Cell;

    use super::Defect;

    thread_local! {
        static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Plants a defect in this thread, or none: a simulation is one thread, and its neighbours have theirs.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.set(defect);
    }

    fn is_planted(defect: Defect) -> bool {
        PLANTED.get() == Some(defect)
    }

    /// Whether the defect strikes here and now: nowhere else, and not again.
    fn strikes(defect: Defect) -> bool {
        let strikes = is_planted(defect);
        if strikes {
            plant(None);
        }
        strikes
    }

    pub(crate) fn commit_before_log() -> bool {
        is_planted(Defect::CommitBeforeLog)
    }

    pub(crate) fn loses_queue() -> bool {
        strikes(Defect::LostQueue)
    }

    /// Where a subtask's channels are not handled as they should be.
    #[derive(Default)]
    pub(crate) struct Slips {
        /// The channel that is short of a credit.
        short: Option<usize>,
        /// The channel that an alignment has left open.
        open: Option<usize>,
    }

    impl Slips {
        pub(crate) fn granted(&mut self, channel: usize, granted: u64) -> u64 {
            // Later than at the start: data flows.
            if granted > 12 && strikes(Defect::LostCredit) {
                self.short = Some(channel);
            }
            granted - u64::from(self.short == Some(channel))
        }

        pub(crate) fn leaves_open(&mut self, channel: usize) -> bool {
            let strikes = strikes(Defect::BatchThroughAlignment);
            if strikes {
                self.open = Some(channel);
            }
            strikes
        }

        pub(crate) fn is_through(&mut self, channel: usize) -> bool {
            self.open.take_if(|open| *open == channel).is_some()
        }

        pub(crate) fn aligned(&mut self) {
            if self.open.take().is_some() {
                // No batch came: another alignment's turn.
                plant(Some(Defect::BatchThroughAlignment));
            }
        }
    }

    impl Drop for Slips {
        fn drop(&mut self) {
            self.aligned();
        }
    }
}

#[cfg(feature = "planted-defects")]
pub use active::plant;
#[cfg(feature = "planted-defects")]
pub(crate) use active::{Slips, commit_before_log, loses_queue};

/// Nothing is planted.
#[cfg(not(feature = "planted-defects"))]
mod inert {
    /// [`Defect::CommitBeforeLog`](super::Defect::CommitBeforeLog).
    #[inline]
    pub(crate) fn commit_before_log() -> bool {
        false
    }

    /// [`Defect::LostQueue`](super::Defect::LostQueue).
    #[inline]
    pub(crate) fn loses_queue() -> bool {
        false
    }

    /// Where a subtask's channels are not handled as they should be: nowhere.
    #[derive(Default)]
    pub(crate) struct Slips {}

    impl Slips {
        /// What the sender of a channel is told that it may send in all.
        #[inline]
        pub(crate) fn granted(&mut self, _channel: usize, granted: u64) -> u64 {
            granted
        }

        /// Whether a channel that should be parked is not.
        #[inline]
        pub(crate) fn leaves_open(&mut self, _channel: usize) -> bool {
            false
        }

        /// Whether the batch has come that was let through: now its channel is parked.
        #[inline]
        pub(crate) fn is_through(&mut self, _channel: usize) -> bool {
            false
        }

        /// The alignment is over.
        #[inline]
        pub(crate) fn aligned(&mut self) {}
    }
}

#[cfg(not(feature = "planted-defects"))]
pub(crate) use inert::{Slips, commit_before_log, loses_queue};
