//! The threads of a process: one runtime for control, one for the futures of operators, one for each worker of the
//! data plane, and one for data links where there are other processes.
//!
//! Workers don't steal from one another. A subtask that moves between cores leaves its state in the wrong cache, and
//! its memory in the wrong thread's heap; where it runs is decided once, by
//! [`JobGraph::worker`](rivus_core::JobGraph::worker).
//!
//! Their end is waited for, for a while: what the actors hold is dropped on these threads, and a state store that is being
//! closed while the process ends meets what its library has taken down already.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rivus_actors::Runtimes;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::cluster::RuntimeMode;
use crate::error::JobError;

/// How long the end of the threads is waited for: blocking user code may be at work on one.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// Whether this is a thread of such a runtime: it can't wait for its own end.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// Counts threads that run.
#[derive(Clone, Default)]
struct Threads(Arc<(Mutex<usize>, Condvar)>);

impl Threads {
    fn change(&self, change: impl FnOnce(&mut usize)) {
        let (running, changed) = &*self.0;
        change(&mut running.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }

    /// This thread has begun.
    fn begin(&self) {
        OWN.set(true);
        self.change(|running| *running += 1);
    }

    /// This thread has nothing left.
    fn end(&self) {
        self.change(|running| *running -= 1);
    }

    /// Waits until none is left.
    fn wait(&self) {
        if OWN.get() {
            return;
        }
        let (running, changed) = &*self.0;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(running, PATIENCE, |running| *running > 0);
        let (running, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *running > 0 {
            tracing::warn!(
                threads = *running,
                "blocking work is still under way, nobody waits for it any more"
            );
        }
    }
}

/// Runtimes of one's own; they end when this is dropped.
#[derive(Default)]
pub(crate) struct OwnRuntimes {
    control: Option<Runtime>,
    futures: Option<Runtime>,
    /// Data links to other processes.
    wire: Option<Runtime>,
    workers: Vec<Worker>,
    threads: Threads,
}

/// A thread with a runtime of its own, until this is dropped.
struct Worker {
    _stop: oneshot::Sender<()>,
}

impl Drop for OwnRuntimes {
    fn drop(&mut self) {
        for runtime in [self.wire.take(), self.futures.take(), self.control.take()]
            .into_iter()
            .flatten()
        {
            // Dropping a runtime waits without end, and panics on another runtime's thread.
            runtime.shutdown_background();
        }
        self.workers.clear();
        self.threads.wait();
    }
}

/// The runtimes that a mode asks for.
pub(crate) fn runtimes(mode: RuntimeMode) -> Result<(Runtimes, OwnRuntimes), JobError> {
    let workers = match mode {
        RuntimeMode::Current => return Ok((current()?, OwnRuntimes::default())),
        RuntimeMode::Threads { workers: 0 } => {
            thread::available_parallelism().map_or(1, std::num::NonZero::get)
        }
        RuntimeMode::Threads { workers } => workers,
    };
    let threads = Threads::default();
    let control = multi_thread("rivus-control", 1, &threads)
        .enable_all()
        .build()
        .map_err(refused)?;
    let mut data = Vec::new();
    let handle = control.handle().clone();
    let mut own = OwnRuntimes {
        control: Some(control),
        futures: None,
        wire: None,
        workers: Vec::new(),
        threads: threads.clone(),
    };
    for index in 0..workers {
        let (handle, worker) = worker(index, &threads)?;
        data.push(handle);
        own.workers.push(worker);
    }
    // Clients of databases and services want input and output too, where the program has it in tokio.
    let futures = multi_thread("rivus-async", workers, &threads)
        .enable_all()
        .build()
        .map_err(refused)?;
    let runtimes = Runtimes::new(handle, data).with_futures(futures.handle().clone());
    own.futures = Some(futures);
    Ok((runtimes, own))
}

impl OwnRuntimes {
    /// A runtime of its own for data links: they would hold up leaders where those are, and be held up by subtasks.
    pub(crate) fn wire(&mut self) -> Result<Handle, JobError> {
        let runtime = multi_thread("rivus-wire", 1, &self.threads)
            .enable_all()
            .build()
            .map_err(refused)?;
        let handle = runtime.handle().clone();
        self.wire = Some(runtime);
        Ok(handle)
    }
}

/// How long a thread stays that has waited for a disk or a network and has nothing to wait for. Each keeps some 400 KB of memory: what
/// one moment needed isn't to be kept through the next ones.
pub(crate) const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(1);

fn multi_thread(name: &str, workers: usize, threads: &Threads) -> Builder {
    let (begin, end) = (threads.clone(), threads.clone());
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .thread_name(name)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .on_thread_start(move || begin.begin())
        .on_thread_stop(move || end.end());
    builder
}

fn worker(index: usize, threads: &Threads) -> Result<(Handle, Worker), JobError> {
    let threads = threads.clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let (give, take) = std::sync::mpsc::channel::<Runtime>();
    // The thread first: a runtime whose thread can't be started could not be dropped here.
    thread::Builder::new()
        .name(format!("rivus-data-{index}"))
        .spawn(move || {
            let Ok(runtime) = take.recv() else { return };
            threads.begin();
            // Ends, with an error that means just that, when the other end is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
            threads.end();
        })
        .map_err(refused)?;
    let runtime = Builder::new_current_thread()
        .enable_time()
        .on_thread_park(rivus_actors::worker_sleeps)
        .build()
        .map_err(refused)?;
    let handle = runtime.handle().clone();
    // Its thread waits for it.
    let _ = give.send(runtime);
    Ok((handle, Worker { _stop: stop }))
}

fn current() -> Result<Runtimes, JobError> {
    let current = Handle::try_current().map_err(|_| {
        JobError::Setup("RuntimeMode::Current needs a tokio runtime to run on".into())
    })?;
    if current.runtime_flavor() != RuntimeFlavor::CurrentThread {
        return Err(JobError::Setup(
            "RuntimeMode::Current on a runtime of several threads, where no run is like another: \
             use a current-thread runtime or RuntimeMode::Threads"
                .into(),
        ));
    }
    Ok(Runtimes::new(current.clone(), vec![current]))
}

fn refused(error: std::io::Error) -> JobError {
    JobError::Setup(format!("threads can't be started: {error}"))
}
