//! Where blocking work runs: a pool of threads, or the caller itself.

use tokio::runtime::Handle;

/// Runs work that blocks (storage, compression, a state backend's files) away from the actors.
///
/// A job reports its own end, by a message or a channel it captured; `run` returns nothing. **Panics are the
/// caller's concern**: a job that may panic wraps itself in [`std::panic::catch_unwind`] and reports the panic like
/// any other result, because no implementation promises more than this: a panicking job harms neither the pool nor
/// the jobs after it. What it captured is dropped as it unwinds, so a closed reply channel also tells the waiter.
///
/// How much may wait is the caller's limit too: an implementation queues whatever it is given.
///
/// ```
/// use rivus_state::{Blocking, Inline};
/// use std::sync::mpsc::channel;
///
/// let (reply, told) = channel();
/// Inline.run(Box::new(move || {
///     let _ = reply.send(6 * 7);
/// }));
/// assert_eq!(told.recv(), Ok(42));
/// ```
pub trait Blocking: Send + Sync {
    /// Runs the job: now, or soon on another thread. The order of jobs is not promised.
    fn run(&self, job: Box<dyn FnOnce() + Send>);
}

/// Runs each job at once on the calling thread: for simulation on a single thread.
///
/// A panic of the job unwinds into the caller of [`Blocking::run`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

/// Runs jobs on the blocking threads of a tokio runtime.
///
/// A panic of the job ends there: tokio catches it, the thread goes on. A job handed in when the runtime is shutting
/// down is dropped unrun, and with it what it captured.
#[derive(Debug, Clone)]
pub struct Pool {
    runtime: Handle,
}

impl Pool {
    /// A pool on the blocking threads of this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Blocking for Inline {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

impl Blocking for Pool {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        drop(self.runtime.spawn_blocking(job));
    }
}
