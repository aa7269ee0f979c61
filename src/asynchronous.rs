//! Requests to databases and services, many at a time.

use rivus_core::{Record, UserError};
use rivus_operators::{AsyncFunction, AsyncMap, AsyncOperator, AsyncRequests};

use crate::stream::DataStream;

impl<T: Record> DataStream<T> {
    /// One record for each, by a function that returns a future: a look-up in a database, a call of a service. Many are
    /// under way at a time, on threads of their own; [`AsyncRequests`] says how many, in which order their results come,
    /// how long they may take, and what happens to those that fail.
    ///
    /// No result is lost or repeated by a failure: records that are under way are part of a checkpoint and are asked for
    /// again. Times are kept, and watermarks stay behind the records before them.
    ///
    /// ```
    /// use rivus::{AsyncRequests, Retry};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// async fn name_of(customer: u32) -> Result<(u32, String), std::io::Error> {
    ///     tokio::time::sleep(Duration::from_millis(10)).await; // asks a database
    ///     Ok((customer, format!("customer {customer}")))
    /// }
    ///
    /// let requests = AsyncRequests::ordered(Duration::from_secs(5))
    ///     .capacity(20)
    ///     .retry(Retry::fixed(2, Duration::from_millis(100)));
    /// let names = env.from_collection(vec![2, 1]).async_map(name_of, requests).collect();
    /// env.execute("names").await?;
    /// assert_eq!(names.values(), [(2, "customer 2".to_owned()), (1, "customer 1".to_owned())]);
    /// # Ok(()) }
    /// ```
    ///
    /// A request that fails is made again as often as it should be. Then its record goes aside, if that is wanted:
    ///
    /// ```
    /// use rivus::{AsyncRequests, OnError, Retry, SideOutputTag};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let unknown = SideOutputTag::new("unknown");
    /// let requests = AsyncRequests::unordered(Duration::from_secs(5))
    ///     .retry(Retry::fixed(1, Duration::from_millis(10)))
    ///     .on_error(OnError::SideOutput(unknown.clone()));
    /// let name_of = |id: u32| async move {
    ///     let name = (id < 100).then(|| format!("customer {id}"));
    ///     name.ok_or_else(|| format!("there is no customer {id}"))
    /// };
    /// let names = env.from_collection(vec![700, 7]).async_map(name_of, requests);
    /// let (unknown, names) = (names.side_output(&unknown).collect(), names.collect());
    /// env.execute("names").await?;
    /// assert_eq!(names.values(), ["customer 7"]);
    /// assert_eq!(unknown.values()[0].error, "there is no customer 700");
    /// # Ok(()) }
    /// ```
    pub fn async_map<Out, E, Fut, F>(&self, map: F, requests: AsyncRequests<T>) -> DataStream<Out>
    where
        Out: Record,
        E: Into<UserError> + 'static,
        Fut: Future<Output = Result<Out, E>> + Send + 'static,
        F: Fn(T) -> Fut + Clone + Send + Sync + 'static,
    {
        let operator = AsyncOperator::new(AsyncMap::new(map), requests);
        self.add("async_map", operator, |_| {})
    }

    /// Like [`async_map`](Self::async_map), by an [`AsyncFunction`]: it gives any number of records for each, and says
    /// what there is for one whose answer takes too long.
    ///
    /// ```
    /// use rivus::{AsyncFunction, AsyncRequests, UserError};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Asks a slow service, and doesn't wait for it if it sleeps.
    /// #[derive(Clone)]
    /// struct Ask;
    ///
    /// impl AsyncFunction<u64> for Ask {
    ///     type Out = String;
    ///     async fn call(&self, seconds: u64) -> Result<Vec<String>, UserError> {
    ///         tokio::time::sleep(Duration::from_secs(seconds)).await;
    ///         Ok(vec!["awake".to_owned()])
    ///     }
    ///     fn on_timeout(&self, seconds: u64, _: Duration) -> Result<Vec<String>, UserError> {
    ///         Ok(vec![format!("sleeps for {seconds} s")])
    ///     }
    /// }
    ///
    /// let requests = AsyncRequests::unordered(Duration::from_millis(50));
    /// let told = env.from_collection(vec![3_600, 0]).async_process(Ask, requests).collect();
    /// env.execute("ask").await?;
    /// assert_eq!(told.values(), ["awake", "sleeps for 3600 s"]);
    /// # Ok(()) }
    /// ```
    pub fn async_process<F: AsyncFunction<T>>(
        &self,
        function: F,
        requests: AsyncRequests<T>,
    ) -> DataStream<F::Out> {
        self.add(
            "async_process",
            AsyncOperator::new(function, requests),
            |_| {},
        )
    }
}
