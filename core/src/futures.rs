//! Futures that run beside a subtask. An operator says what to run; whoever runs the subtask says where.

use std::pin::Pin;
use std::time::Duration;

/// A future on its way to whoever runs it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a subtask's futures, away from the thread that the subtask works on.
pub trait Futures: Send + Sync {
    /// Runs a future to its end, or until what this returns is dropped.
    fn spawn(&self, future: BoxFuture<()>) -> RunningFuture;

    /// Waits, by the clock that the subtask goes by.
    fn sleep(&self, time: Duration) -> BoxFuture<()>;

    /// Makes a turn of the subtask due, in which its stages get a [`Control::Tick`](crate::Control::Tick).
    fn look_again(&self);
}

/// A future that runs: it ends, done or not, when this is dropped.
pub struct RunningFuture(Option<Box<dyn FnOnce() + Send>>);

impl RunningFuture {
    /// One that is ended by `cancel`.
    ///
    /// ```
    /// use rivus_core::RunningFuture;
    /// use std::sync::mpsc::channel;
    ///
    /// let (send, cancelled) = channel();
    /// drop(RunningFuture::new(move || send.send(true).unwrap()));
    /// assert_eq!(cancelled.recv(), Ok(true));
    /// ```
    pub fn new(cancel: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(cancel)))
    }
}

impl Drop for RunningFuture {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel();
        }
    }
}
