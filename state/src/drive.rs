//! How an async call of the object store is run to its end by a caller that blocks.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use futures::executor::block_on;
use tokio::runtime::Handle;

#[cfg(any(feature = "etcd", feature = "s3"))]
use crate::network::NetworkRuntime;

/// Which thread runs a store's futures. It depends on what the store awaits.
#[derive(Debug, Clone)]
pub(crate) enum Drive {
    /// The caller's: memory is always ready.
    Inline,
    /// A thread without a tokio context. `LocalFileSystem` does its I/O on the thread it is on, unless it finds
    /// itself in a tokio context, where it asks for *another* blocking thread. A full pool of blocking threads, each
    /// waiting for one more, would wait for ever.
    OffRuntime,
    /// A thread that enters this runtime: for stores that speak to a network.
    Runtime(Handle),
    /// The same, with a runtime that is the store's own.
    #[cfg(any(feature = "etcd", feature = "s3"))]
    Network(NetworkRuntime),
}

impl Drive {
    /// Runs the future to its end. Fails only when a thread cannot be started.
    pub(crate) fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> io::Result<T> {
        if matches!(self, Self::Inline) || Handle::try_current().is_err() {
            return Ok(self.block(future));
        }
        thread::scope(|scope| {
            let thread = thread::Builder::new()
                .name("rivus-storage".to_owned())
                .spawn_scoped(scope, || self.block(future))?;
            Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn block<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Inline | Self::OffRuntime => block_on(future),
            Self::Runtime(runtime) => runtime.block_on(future),
            #[cfg(any(feature = "etcd", feature = "s3"))]
            Self::Network(runtime) => runtime.handle().block_on(future),
        }
    }
}
