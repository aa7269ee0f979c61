//! What is often asked of a window's records.

use std::ops::AddAssign;

use rivus_core::Record;
use rivus_operators::{
    Avg, KeySelector, Max, MaxBy, MaybeEvictor, Min, MinBy, Sum, TopN, Trigger, Windowed,
};

use crate::stream::DataStream;
use crate::windowed::WindowedStream;

impl<T, S, G, E> WindowedStream<T, S, G, E>
where
    T: Record,
    S: KeySelector<T>,
    G: Trigger<T>,
    E: MaybeEvictor<T>,
{
    /// The sum of something in each window's records.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.sum(|degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [44, 25]);
    /// # Ok(()) }
    /// ```
    pub fn sum<N, F>(self, of: F) -> DataStream<Windowed<S::Key, N>>
    where
        N: Record + Default + AddAssign,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.aggregate(Sum::of(of))
    }

    /// The least of something in each window's records. Values that can't be compared, such as NaN, are passed over; where there is
    /// none that can, it is the type's default.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.min(|degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [20, 25]);
    /// # Ok(()) }
    /// ```
    pub fn min<N, F>(self, of: F) -> DataStream<Windowed<S::Key, N>>
    where
        N: Record + Default + PartialOrd,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.aggregate(Min::of(of))
    }

    /// The greatest of something in each window's records. Values that can't be compared, such as NaN, are
    /// passed over; where there is none that can, it is the type's default.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.max(|degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [24, 25]);
    /// # Ok(()) }
    /// ```
    pub fn max<N, F>(self, of: F) -> DataStream<Windowed<S::Key, N>>
    where
        N: Record + Default + PartialOrd,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.aggregate(Max::of(of))
    }

    /// The mean of something in each window's records.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.avg(|degrees| f64::from(*degrees)).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [22.0, 25.0]);
    /// # Ok(()) }
    /// ```
    pub fn avg<F>(self, of: F) -> DataStream<Windowed<S::Key, f64>>
    where
        F: Fn(&T) -> f64 + Clone + Send + Sync + 'static,
    {
        self.aggregate(Avg::of(of))
    }

    /// The record of each window with the least of something; of equal ones the first come. Of those in
    /// different panes of a sliding window that is the one of the earlier pane.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.min_by(|degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [20, 25]);
    /// # Ok(()) }
    /// ```
    pub fn min_by<N, F>(self, of: F) -> DataStream<Windowed<S::Key, T>>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        let least = MinBy::of(of);
        self.reduce_associative(move |best, next| least.keep(best, next))
    }

    /// The record of each window with the greatest of something; of equal ones the first come. Of those in
    /// different panes of a sliding window that is the one of the earlier pane.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.max_by(|degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [24, 25]);
    /// # Ok(()) }
    /// ```
    pub fn max_by<N, F>(self, of: F) -> DataStream<Windowed<S::Key, T>>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        let greatest = MaxBy::of(of);
        self.reduce_associative(move |best, next| greatest.keep(best, next))
    }

    /// The `n` records of each window with the highest scores, the best first and of equal ones the first come first.
    /// Records whose score can't be compared, such as NaN, are passed over.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let found = per_second.top_n(1, |degrees| *degrees).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(found.values(), [vec![24], vec![25]]);
    /// # Ok(()) }
    /// ```
    pub fn top_n<N, F>(self, n: usize, score: F) -> DataStream<Windowed<S::Key, Vec<T>>>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.aggregate(TopN::of(n, score))
    }
}
