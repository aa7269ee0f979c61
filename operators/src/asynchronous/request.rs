//! One request, from its first try to its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rivus_core::{Failure, FailureScope, Futures, Record};

use super::function::AsyncFunction;
use super::requests::Retry;

/// What came of a request. A panic is no answer: it fails the attempt, whatever was set for errors.
pub(super) type Answer<Out> = Result<Result<Vec<Out>, Failure>, Failure>;

/// Where requests leave their answers, until the operator looks.
pub(super) struct Answers<Out>(Mutex<Vec<(u64, Answer<Out>)>>);

impl<Out> Default for Answers<Out> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Out> Answers<Out> {
    /// Returns whether the operator has to be told.
    pub(super) fn leave(&self, request: u64, answer: Answer<Out>) -> bool {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push((request, answer));
        answers.len() == 1
    }

    pub(super) fn take(&self) -> Vec<(u64, Answer<Out>)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks until there is an answer, no try is left, or time is up.
pub(super) async fn answer<In: Record, F: AsyncFunction<In>>(
    function: Arc<F>,
    record: In,
    retry: Retry,
    timeout: Duration,
    futures: Arc<dyn Futures>,
) -> Answer<F::Out> {
    let mut time_is_up = futures.sleep(timeout);
    let mut tries = pin!(async {
        let mut failures = 0;
        loop {
            let failure = match function.call(record.clone()).await {
                Ok(values) => return Ok(values),
                Err(error) => Failure::user(&error).outside(),
            };
            failures += 1;
            match retry.after(failures) {
                Some(wait) if failure.scope == FailureScope::Attempt => futures.sleep(wait).await,
                _ => return Err(failure),
            }
        }
    });
    let answered = poll_fn(|cx| {
        match Failure::caught(|| Ok(tries.as_mut().poll(cx))) {
            Ok(Poll::Ready(answer)) => return Poll::Ready(Some(Ok(answer))),
            Err(panic) => return Poll::Ready(Some(Err(panic))),
            Ok(Poll::Pending) => {}
        }
        time_is_up.as_mut().poll(cx).map(|()| None)
    });
    match answered.await {
        Some(answer) => answer,
        None => {
            let late = || function.on_timeout(record.clone(), timeout);
            Failure::caught(|| Ok(late().map_err(|error| Failure::user(&error).outside())))
        }
    }
}
