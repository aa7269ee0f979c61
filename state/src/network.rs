//! The runtime of a store that speaks to a network.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of a store's own: one thread, which waits for the network. It ends with the last clone, and nothing of the
/// store goes on without it.
#[derive(Debug, Clone)]
pub(crate) struct NetworkRuntime {
    handle: Handle,
    _own: Arc<Own>,
}

#[derive(Debug)]
struct Own(Option<Runtime>);

impl NetworkRuntime {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4) // Names are looked up there.
            .thread_name("rivus-network")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            _own: Arc::new(Own(Some(runtime))),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropping a runtime waits, which must not happen on another runtime's thread.
            runtime.shutdown_background();
        }
    }
}
