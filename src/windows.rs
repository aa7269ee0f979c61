//! Windows by count, and windows over a whole stream.

use rivus_core::Record;
use rivus_operators::{
    CountEvictor, CountTrigger, Evicting, KeySelector, PurgingTrigger, WindowAssigner,
};

use crate::keyed::KeyedStream;
use crate::stream::DataStream;
use crate::windowed::WindowedStream;

impl<T: Record, S: KeySelector<T>> KeyedStream<T, S> {
    /// Gathers the records of each key, so many at a time. What is left over at the end gives nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sums = env
    ///     .from_collection(vec![1, 2, 3, 4, 5])
    ///     .key_by(|_| ())
    ///     .count_window(2)
    ///     .reduce(|sum, n| *sum += n)
    ///     .map(|pair| pair.value)
    ///     .collect();
    /// env.execute("sums").await?;
    /// assert_eq!(sums.values(), [3, 7]);
    /// # Ok(()) }
    /// ```
    ///
    /// What is often asked of windows can be asked of these.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let keyed = env.from_collection(vec![1, 5, 3, 4, 2]).key_by(|_| ());
    /// let greatest = keyed.count_window(2).max(|n| *n).map(|pair| pair.value).collect();
    /// let least = keyed.count_window_sliding(3, 2).min_by(|n| *n).map(|three| three.value).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!((greatest.values(), least.values()), (vec![5, 4], vec![1, 3]));
    /// # Ok(()) }
    /// ```
    pub fn count_window(&self, records: u64) -> WindowedStream<T, S, PurgingTrigger<CountTrigger>> {
        self.window(WindowAssigner::global())
            .trigger(PurgingTrigger::of(CountTrigger::every(records)))
    }

    /// The last `records` of each key, at every `slide` records of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sums = env
    ///     .from_collection(vec![1, 2, 3, 4, 5, 6])
    ///     .key_by(|_| ())
    ///     .count_window_sliding(3, 2)
    ///     .reduce(|sum, n| *sum += n)
    ///     .map(|three| three.value)
    ///     .collect();
    /// env.execute("sums").await?;
    /// assert_eq!(sums.values(), [1 + 2, 2 + 3 + 4, 4 + 5 + 6]);
    /// # Ok(()) }
    /// ```
    pub fn count_window_sliding(
        &self,
        records: u64,
        slide: u64,
    ) -> WindowedStream<T, S, CountTrigger, Evicting<T>> {
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        self.window(WindowAssigner::global())
            .trigger(CountTrigger::every(slide))
            .evictor(CountEvictor::keep(records))
    }
}

impl<T: Record> DataStream<T> {
    /// Gathers all records in windows, without a key, in one subtask: the job goes no faster than that. Where it can be
    /// done, gather by key first, and then what that gives.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let seconds = env
    ///     .from_events([100, 900, 1_200].map(|ms| Event::at(ms, "click".to_owned())).to_vec())
    ///     .assign_watermarks(WatermarkStrategy::monotonous())
    ///     .window_all(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .count()
    ///     .map(|clicks| (clicks.window.start, clicks.value))
    ///     .collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(seconds.values(), [(0, 2), (1_000, 1)]);
    /// # Ok(()) }
    /// ```
    pub fn window_all(
        &self,
        assigner: WindowAssigner,
    ) -> WindowedStream<T, impl KeySelector<T, Key = ()> + use<T>> {
        self.key_by(|_: &T| ()).window(assigner).single()
    }

    /// Gathers all records, so many at a time, in one subtask. What is left over at the end gives nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sums = env
    ///     .from_collection(vec![1, 2, 3, 4, 5])
    ///     .count_window_all(2)
    ///     .reduce(|sum, n| *sum += n)
    ///     .map(|pair| pair.value)
    ///     .collect();
    /// env.execute("sums").await?;
    /// assert_eq!(sums.values(), [3, 7]);
    /// # Ok(()) }
    /// ```
    pub fn count_window_all(
        &self,
        records: u64,
    ) -> WindowedStream<T, impl KeySelector<T, Key = ()> + use<T>, PurgingTrigger<CountTrigger>>
    {
        self.window_all(WindowAssigner::global())
            .trigger(PurgingTrigger::of(CountTrigger::every(records)))
    }

    /// The last `records`, at every `slide` records, in one subtask.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sums = env
    ///     .from_collection(vec![1, 2, 3, 4, 5, 6])
    ///     .count_window_all_sliding(3, 2)
    ///     .reduce(|sum, n| *sum += n)
    ///     .map(|three| three.value)
    ///     .collect();
    /// env.execute("sums").await?;
    /// assert_eq!(sums.values(), [1 + 2, 2 + 3 + 4, 4 + 5 + 6]);
    /// # Ok(()) }
    /// ```
    pub fn count_window_all_sliding(
        &self,
        records: u64,
        slide: u64,
    ) -> WindowedStream<T, impl KeySelector<T, Key = ()> + use<T>, CountTrigger, Evicting<T>> {
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        self.window_all(WindowAssigner::global())
            .trigger(CountTrigger::every(slide))
            .evictor(CountEvictor::keep(records))
    }
}
