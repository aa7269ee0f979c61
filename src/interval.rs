//! Two keyed streams joined by how far apart their records are.

use std::marker::PhantomData;

use rivus_core::{Either, Record, Timestamp};
use rivus_operators::{
    ByEither, EachPair, Interval, IntervalJoinFunction, IntervalJoinOperator, KeySelector,
    SideOutputTag, SideOutputs,
};

use crate::keyed::KeyedStream;
use crate::stream::DataStream;

/// Two keyed streams that are to be joined; [`between`](Self::between) says how far apart records may be.
///
/// ```
/// use rivus::{Event, WatermarkStrategy};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let clicks = env
///     .from_events(vec![Event::at(1_000, (7, "shoes".to_owned())), Event::at(9_000, (7, "hats".to_owned()))])
///     .assign_watermarks(WatermarkStrategy::monotonous())
///     .key_by(|click| click.0);
/// let purchases = env
///     .from_events(vec![Event::at(12_000, (7, 59_u32))])
///     .assign_watermarks(WatermarkStrategy::monotonous())
///     .key_by(|purchase| purchase.0);
/// let within_ten_seconds = clicks.interval_join(&purchases).between(0, 10_000);
/// let bought = within_ten_seconds.apply(|click, purchase| format!("{} for {}", click.1, purchase.1)).collect();
/// env.execute("bought").await?;
/// assert_eq!(bought.values(), ["hats for 59"]);
/// # Ok(()) }
/// ```
#[must_use = "a join does nothing until something is made of it"]
pub struct IntervalJoin<A, B, S> {
    both: KeyedStream<Either<A, B>, S>,
    of: PhantomData<fn(A, B)>,
}

impl<A: Record, S: KeySelector<A>> KeyedStream<A, S> {
    /// Pairs this stream's records with those of another that have the same key and a time not too far away; see
    /// [`IntervalJoin`].
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let clicks = env.from_events(vec![Event::at(1_000, 7_u32)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|user| *user);
    /// # let buys = env.from_events(vec![Event::at(900, (7_u32, 12)), Event::at(3_000, (7, 59))])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|buy| buy.0);
    /// let after = clicks.interval_join(&buys).between(0, 10_000).apply(|_, buy| buy.1).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(after.values(), [59]);
    /// # Ok(()) }
    /// ```
    pub fn interval_join<B, R>(
        &self,
        other: &KeyedStream<B, R>,
    ) -> IntervalJoin<A, B, ByEither<S, R>>
    where
        B: Record,
        R: KeySelector<B, Key = S::Key>,
    {
        IntervalJoin {
            both: self.beside(other, "interval_join"),
            of: PhantomData,
        }
    }
}

impl<A: Record, B: Record, S: KeySelector<Either<A, B>>> IntervalJoin<A, B, S> {
    /// A record of the first stream at time *t* meets those of the second from *t + lower* to *t + upper*, in
    /// milliseconds, both included; negative is earlier.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let clicks = env.from_events(vec![Event::at(1_000, 7_u32)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|user| *user);
    /// # let buys = env.from_events(vec![Event::at(900, (7_u32, 12)), Event::at(3_000, (7, 59))])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|buy| buy.0);
    /// let around = clicks.interval_join(&buys).between(-500, 5_000).apply(|_, buy| buy.1).collect();
    /// env.execute("numbers").await?;
    /// let mut around = around.values();
    /// around.sort();
    /// assert_eq!(around, [12, 59]);
    /// # Ok(()) }
    /// ```
    pub fn between(self, lower: Timestamp, upper: Timestamp) -> IntervalJoined<A, B, S> {
        IntervalJoined {
            both: self.both,
            interval: Interval::between(lower, upper),
            late_first: None,
            late_second: None,
        }
    }
}

/// Two keyed streams joined by an interval; see [`IntervalJoin`].
///
/// Each record is kept until the watermark of both streams says that no partner of it can come any more; a pair is given
/// when the later one comes, with the greater of both times. A record that comes when the watermark has passed it is late:
/// it meets none, and goes to its stream's late output or is counted.
#[must_use = "a join does nothing until something is made of it"]
pub struct IntervalJoined<A, B, S> {
    both: KeyedStream<Either<A, B>, S>,
    interval: Interval,
    late_first: Option<SideOutputTag<A>>,
    late_second: Option<SideOutputTag<B>>,
}

impl<A: Record, B: Record, S: KeySelector<Either<A, B>>> IntervalJoined<A, B, S> {
    /// The lower bound itself is out.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let at = |times: [i64; 3]| {
    ///     let events = times.map(|ts| Event::at(ts, ts)).to_vec();
    ///     env.from_events(events).assign_watermarks(WatermarkStrategy::monotonous()).key_by(|_| ())
    /// };
    /// let next = at([1, 2, 3]).interval_join(&at([2, 3, 4])).between(0, 2);
    /// let next = next.lower_bound_exclusive().upper_bound_exclusive().apply(|a, b| (*a, *b)).collect();
    /// env.execute("neighbours").await?;
    /// let mut next = next.values();
    /// next.sort();
    /// assert_eq!(next, [(1, 2), (2, 3), (3, 4)]);
    /// # Ok(()) }
    /// ```
    pub fn lower_bound_exclusive(mut self) -> Self {
        self.interval = self.interval.lower_bound_exclusive();
        self
    }

    /// The upper bound itself is out, as in the example of [`lower_bound_exclusive`](Self::lower_bound_exclusive).
    pub fn upper_bound_exclusive(mut self) -> Self {
        self.interval = self.interval.upper_bound_exclusive();
        self
    }

    /// Where late records of the first stream go; it must be read with [`DataStream::side_output`] on the stream of
    /// results.
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{SideOutputTag, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// let late = SideOutputTag::new("late");
    /// let times = |times: [i64; 3]| {
    ///     env.from_source(GeneratorSource::new(move |n, _| times[n as usize]).count(3).rate(1))
    ///         .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    ///         .key_by(|_| ())
    /// };
    /// let pairs = times([1_000, 9_000, 1_500])
    ///     .interval_join(&times([1_100, 9_100, 9_200]))
    ///     .between(-500, 500)
    ///     .late_first(&late)
    ///     .apply(|a, b| (*a, *b));
    /// let (late, pairs) = (pairs.side_output(&late).collect(), pairs.collect());
    /// env.execute("pairs").await?;
    /// assert_eq!((late.values(), pairs.len()), (vec![1_500], 3));
    /// # Ok(()) }
    /// ```
    pub fn late_first(mut self, tag: &SideOutputTag<A>) -> Self {
        self.late_first = Some(tag.clone());
        self
    }

    /// Where late records of the second stream go; see [`late_first`](Self::late_first).
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{SideOutputTag, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// # let times = |times: [i64; 3]| {
    /// #     env.from_source(GeneratorSource::new(move |n, _| times[n as usize]).count(3).rate(1))
    /// #         .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    /// #         .key_by(|_| ())
    /// # };
    /// let (orders, payments) = (times([1_100, 9_100, 9_200]), times([1_000, 9_000, 1_500]));
    /// let late = SideOutputTag::new("late");
    /// let pairs = orders.interval_join(&payments).between(-500, 500).late_second(&late).apply(|a, b| (*a, *b));
    /// let (late, pairs) = (pairs.side_output(&late).collect(), pairs.collect());
    /// env.execute("pairs").await?;
    /// assert_eq!((late.values(), pairs.len()), (vec![1_500], 3));
    /// # Ok(()) }
    /// ```
    pub fn late_second(mut self, tag: &SideOutputTag<B>) -> Self {
        self.late_second = Some(tag.clone());
        self
    }

    /// What a function makes of each pair.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let clicks = env.from_events(vec![Event::at(1_000, 7_u32)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|user| *user);
    /// # let buys = env.from_events(vec![Event::at(900, (7_u32, 12)), Event::at(3_000, (7, 59))])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|buy| buy.0);
    /// let paid = clicks.interval_join(&buys).between(0, 5_000).apply(|user, buy| (*user, buy.1)).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(paid.values(), [(7, 59)]);
    /// # Ok(()) }
    /// ```
    pub fn apply<R, F>(self, join: F) -> DataStream<R>
    where
        R: Record,
        F: Fn(&A, &B) -> R + Clone + Send + Sync + 'static,
    {
        self.process(EachPair(join))
    }

    /// What an [`IntervalJoinFunction`] makes of each pair, whose times it knows.
    ///
    /// ```
    /// use rivus::{Event, IntervalJoinFunction, Output, UserError, WatermarkStrategy};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let clicks = env.from_events(vec![Event::at(1_000, 7_u32)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|user| *user);
    /// # let purchases = env.from_events(vec![Event::at(3_000, (7_u32, 59))])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous()).key_by(|purchase| purchase.0);
    /// /// How long the purchase took.
    /// #[derive(Clone)]
    /// struct Delay;
    ///
    /// impl IntervalJoinFunction<u32, (u32, i32)> for Delay {
    ///     type Out = i64;
    ///     fn join(
    ///         &mut self, click: Event<&u32>, purchase: Event<&(u32, i32)>, out: &mut Output<'_, i64>,
    ///     ) -> Result<(), UserError> {
    ///         out.emit(purchase.ts - click.ts);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let delays = clicks.interval_join(&purchases).between(0, 10_000).process(Delay).collect();
    /// env.execute("delays").await?;
    /// assert_eq!(delays.values(), [2_000]);
    /// # Ok(()) }
    /// ```
    pub fn process<P: IntervalJoinFunction<A, B>>(self, function: P) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let selector = self.both.selector.clone();
        let mut operator =
            IntervalJoinOperator::new(selector, self.interval, function).sides(sides.clone());
        if let Some(tag) = self.late_first {
            operator = operator.late_first(tag);
        }
        if let Some(tag) = self.late_second {
            operator = operator.late_second(tag);
        }
        self.both.add("interval_join", operator, |node| {
            node.declared = sides;
            node.needs_watermarks = true;
        })
    }
}
