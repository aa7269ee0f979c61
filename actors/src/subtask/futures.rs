//! Futures of a subtask's operators, on the runtime that is theirs.

use std::time::Duration;

use ractor::ActorRef;
use rivus_core::{BoxFuture, Futures, RunningFuture};
use tokio::runtime::Handle;

use super::SubtaskMessage;

/// Runs futures for a subtask.
pub(super) struct SubtaskFutures {
    pub(super) runtime: Handle,
    pub(super) subtask: ActorRef<SubtaskMessage>,
}

impl Futures for SubtaskFutures {
    fn spawn(&self, future: BoxFuture<()>) -> RunningFuture {
        let running = self.runtime.spawn(future).abort_handle();
        RunningFuture::new(move || running.abort())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        // Made where it is awaited: a timer belongs to the runtime that it is made on.
        Box::pin(async move { tokio::time::sleep(time).await })
    }

    fn look_again(&self) {
        let _ = self.subtask.cast(SubtaskMessage::LookAgain);
    }
}
