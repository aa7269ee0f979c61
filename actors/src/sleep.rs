//! How often a worker has had nothing to do.
//!
//! A thread that runs subtasks goes to sleep when none of them is ready. Whoever has work that may wait looks here whether others wait
//! for the thread. Where nobody tells, as in a simulation, it never sleeps.

use std::cell::Cell;

thread_local! {
    static TIMES: Cell<u64> = const { Cell::new(0) };
}

/// This thread goes to sleep: what a runtime's `on_thread_park` calls.
pub fn worker_sleeps() {
    TIMES.set(TIMES.get() + 1);
}

/// How often this thread has gone to sleep.
pub(crate) fn times() -> u64 {
    TIMES.get()
}
