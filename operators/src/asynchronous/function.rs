//! What is asked for each record.

use std::time::Duration;

use rivus_core::{ParallelInstance, Record, UserError};

/// What an `async_process` asks for each record.
///
/// Its futures run beside the subtask, many at a time. A record whose results have not been handed on at a checkpoint is
/// asked for again after a restore, so what a request changes elsewhere should be the same if it is made twice.
///
/// ```
/// use rivus_core::UserError;
/// use rivus_operators::AsyncFunction;
/// use std::time::Duration;
///
/// /// Finds the orders of a customer. If the answer takes too long: none.
/// #[derive(Clone)]
/// struct Orders;
///
/// impl AsyncFunction<String> for Orders {
///     type Out = (String, u32);
///     async fn call(&self, customer: String) -> Result<Vec<(String, u32)>, UserError> {
///         Ok((1..3).map(|order| (customer.clone(), order)).collect())
///     }
///     fn on_timeout(&self, _: String, _: Duration) -> Result<Vec<(String, u32)>, UserError> {
///         Ok(Vec::new())
///     }
/// }
/// ```
pub trait AsyncFunction<In>: Clone + Send + Sync + 'static {
    /// What it gives.
    type Out: Record;

    /// Begins to work as one of the operator's subtasks.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn open(&mut self, _instance: ParallelInstance) -> Result<(), UserError> {
        Ok(())
    }

    /// Asks for a record, and gives any number of others for it.
    ///
    /// # Errors
    /// If there is no answer: it is asked again, or what was set for errors happens.
    fn call(&self, record: In) -> impl Future<Output = Result<Vec<Self::Out>, UserError>> + Send;

    /// What there is for a record whose answer didn't come within `timeout`, retries included.
    ///
    /// # Errors
    /// Unless it says otherwise, that there was no answer.
    fn on_timeout(&self, _record: In, timeout: Duration) -> Result<Vec<Self::Out>, UserError> {
        Err(format!("no answer within {timeout:?}: give it a longer timeout").into())
    }
}

/// One record for each, by a function that returns a future.
#[derive(Clone)]
pub struct AsyncMap<F>(F);

impl<F> AsyncMap<F> {
    /// By a function.
    pub fn new(map: F) -> Self {
        Self(map)
    }
}

impl<In, F, Out, E, Fut> AsyncFunction<In> for AsyncMap<F>
where
    In: Record,
    Out: Record,
    E: Into<UserError> + 'static,
    Fut: Future<Output = Result<Out, E>> + Send + 'static,
    F: Fn(In) -> Fut + Clone + Send + Sync + 'static,
{
    type Out = Out;

    fn call(&self, record: In) -> impl Future<Output = Result<Vec<Out>, UserError>> + Send {
        let answer = (self.0)(record);
        async move {
            match answer.await {
                Ok(value) => Ok(vec![value]),
                Err(error) => Err(error.into()),
            }
        }
    }
}
