//! The threads of a process: one runtime for control, one for the futures of operators, and one for each worker of the
//! data plane.
//!
//! Workers don't steal from one another. A subtask that moves between cores leaves its state in the wrong cache, and
//! its memory in the wrong thread's heap; where it runs is decided once, by
//! [`JobGraph::worker`](rivus_core::JobGraph::worker).

use std::thread;

use rivus_actors::Runtimes;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::cluster::RuntimeMode;
use crate::error::JobError;

/// Runtimes of one's own; they end when this is dropped, which doesn't wait for them.
#[derive(Default)]
pub(crate) struct OwnRuntimes {
    control: Option<Runtime>,
    futures: Option<Runtime>,
    workers: Vec<Worker>,
}

/// A thread with a runtime of its own, until this is dropped.
struct Worker {
    _stop: oneshot::Sender<()>,
}

impl Drop for OwnRuntimes {
    fn drop(&mut self) {
        for runtime in [self.futures.take(), self.control.take()]
            .into_iter()
            .flatten()
        {
            // Dropping a runtime waits, which must not happen on another runtime's thread.
            runtime.shutdown_background();
        }
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
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("rivus-control")
        .enable_time()
        .build()
        .map_err(refused)?;
    let mut data = Vec::new();
    let handle = control.handle().clone();
    let mut own = OwnRuntimes {
        control: Some(control),
        futures: None,
        workers: Vec::new(),
    };
    for index in 0..workers {
        let (handle, worker) = worker(index)?;
        data.push(handle);
        own.workers.push(worker);
    }
    // Clients of databases and services want input and output too, where the program has it in tokio.
    let futures = Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("rivus-async")
        .enable_all()
        .build()
        .map_err(refused)?;
    let runtimes = Runtimes::new(handle, data).with_futures(futures.handle().clone());
    own.futures = Some(futures);
    Ok((runtimes, own))
}

fn worker(index: usize) -> Result<(Handle, Worker), JobError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (give, take) = std::sync::mpsc::channel::<Runtime>();
    // The thread first: a runtime whose thread can't be started could not be dropped here.
    thread::Builder::new()
        .name(format!("rivus-data-{index}"))
        .spawn(move || {
            let Ok(runtime) = take.recv() else { return };
            // Ends, with an error that means just that, when the other end is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })
        .map_err(refused)?;
    let runtime = Builder::new_current_thread()
        .enable_time()
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
