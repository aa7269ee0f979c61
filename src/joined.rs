//! Two streams joined by key and window.

use std::marker::PhantomData;
use std::time::Duration;

use rivus_core::{Either, Key, Record};
use rivus_operators::{
    ByStream, CoWindowOperator, EndTrigger, Evicting, Evictor, Grouped, KeySelector, MaybeEvictor,
    Paired, SideOutputTag, Trigger, Unpaired, WindowAssigner, WindowJoinOperator, WindowOperator,
    Windowed, by_ref, by_value,
};
use serde::Serialize;

use crate::keyed::KeyedStream;
use crate::stream::DataStream;
use crate::windowed::WindowedStream;

/// Two streams that are to be joined: [`on`](Self::on) which keys, and in which [`window`](JoinedBy::window).
///
/// ```
/// use rivus::{Event, WatermarkStrategy, WindowAssigner};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let clicks = env
///     .from_events(vec![Event::at(100, ("ann", "shoes")), Event::at(1_200, ("ann", "hats"))].into_iter()
///         .map(|click| click.map(|(who, what)| (who.to_owned(), what.to_owned()))).collect())
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let purchases = env
///     .from_events(vec![Event::at(700, ("ann".to_owned(), 59_u32))])
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let bought = clicks
///     .join(&purchases)
///     .on(|click| click.0.clone(), |purchase| purchase.0.clone())
///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
///     .apply(|click, purchase| format!("{} for {}", click.1, purchase.1))
///     .map(|pair| pair.value)
///     .collect();
/// env.execute("bought").await?;
/// assert_eq!(bought.values(), ["shoes for 59"]);
/// # Ok(()) }
/// ```
#[must_use = "a join does nothing until something is made of it"]
pub struct JoinedStreams<A, B> {
    first: DataStream<A>,
    second: DataStream<B>,
}

impl<A: Record> DataStream<A> {
    /// Pairs this stream's records with those of another that have the same key and lie in the same window; see
    /// [`JoinedStreams`].
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let both = seconds.apply(|asked, offered| (*asked, *offered)).map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(both.values(), [(6, 6)]);
    /// # Ok(()) }
    /// ```
    pub fn join<B: Record>(&self, other: &DataStream<B>) -> JoinedStreams<A, B> {
        self.program.joins(&other.program, "join");
        JoinedStreams {
            first: self.clone(),
            second: other.clone(),
        }
    }
}

impl<A: Record, B: Record> JoinedStreams<A, B> {
    /// By keys that are made for each record.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 17_u32)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 27_u64)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_last_digit = asked.join(&offered).on(|asked| asked % 10, |offered| (offered % 10) as u32);
    /// let minutes = by_last_digit.window(WindowAssigner::tumbling(Duration::from_secs(60)));
    /// let pairs = minutes.apply(|asked, offered| (*asked, *offered)).map(|pair| pair.value).collect();
    /// env.execute("digits").await?;
    /// assert_eq!(pairs.values(), [(17, 27)]);
    /// # Ok(()) }
    /// ```
    pub fn on<K, F, G>(
        &self,
        first: F,
        second: G,
    ) -> JoinedBy<A, B, impl KeySelector<Either<A, B>, Key = K> + use<A, B, K, F, G>>
    where
        K: Key,
        F: Fn(&A) -> K + Clone + Send + Sync + 'static,
        G: Fn(&B) -> K + Clone + Send + Sync + 'static,
    {
        self.by(by_value(first), by_value(second))
    }

    /// By keys that the records own: allocates only for a new one.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let at = |ts, name: &str| vec![Event::at(ts, name.to_owned())];
    /// # let asked = env.from_events(at(1, "hat")).assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(at(2, "hat")).assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_name = asked.join(&offered).on_ref(|asked| asked.as_str(), |offered| offered.as_str());
    /// let minutes = by_name.window(WindowAssigner::tumbling(Duration::from_secs(60)));
    /// let found = minutes.apply(|asked, _| asked.clone()).map(|pair| pair.value).collect();
    /// env.execute("names").await?;
    /// assert_eq!(found.values(), ["hat"]);
    /// # Ok(()) }
    /// ```
    pub fn on_ref<Q, F, G>(
        &self,
        first: F,
        second: G,
    ) -> JoinedBy<A, B, impl KeySelector<Either<A, B>, Key = Q::Owned> + use<A, B, Q, F, G>>
    where
        Q: ToOwned + Serialize + Ord + ?Sized + 'static,
        Q::Owned: Key,
        F: Fn(&A) -> &Q + Clone + Send + Sync + 'static,
        G: Fn(&B) -> &Q + Clone + Send + Sync + 'static,
    {
        self.by(by_ref(first), by_ref(second))
    }

    fn by<S: KeySelector<A>, R: KeySelector<B, Key = S::Key>>(
        &self,
        first: S,
        second: R,
    ) -> JoinedBy<A, B, impl KeySelector<Either<A, B>, Key = S::Key> + use<A, B, S, R>> {
        let first = self.first.key_by_selector(first, "join");
        let second = self.second.key_by_selector(second, "join");
        JoinedBy {
            both: first.beside(&second, "join"),
            of: PhantomData,
        }
    }
}

/// Two streams that are to be joined by key; see [`JoinedStreams`].
#[must_use = "a join does nothing until something is made of it"]
pub struct JoinedBy<A, B, S> {
    both: KeyedStream<Either<A, B>, S>,
    of: PhantomData<fn(A, B)>,
}

impl<A: Record, B: Record, S: KeySelector<Either<A, B>>> JoinedBy<A, B, S> {
    /// In windows: of a fixed size or sessions, by event time or processing time.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let both = seconds.apply(|asked, _| *asked).map(|pair| (pair.window.start, pair.value)).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(both.values(), [(0, 6)]);
    /// # Ok(()) }
    /// ```
    ///
    /// By processing time nobody needs watermarks.
    ///
    /// ```
    /// use rivus::{WindowAssigner, connectors::GeneratorSource};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// let numbers = || env.from_source(GeneratorSource::new(|n, _| n).count(100).rate(10)); // for ten seconds
    /// let by_number = numbers().join(&numbers()).on(|n| *n, |n| *n);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)).processing_time());
    /// let pairs = seconds.apply(|n, same| (*n, *same)).map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// assert!(pairs.len() >= 80 && pairs.values().iter().all(|(n, same)| n == same));
    /// # Ok(()) }
    /// ```
    pub fn window(&self, assigner: WindowAssigner) -> WindowedJoin<A, B, S> {
        WindowedJoin(WindowedStream::new(self.both.clone(), assigner))
    }
}

/// Two streams by key and window; see [`JoinedStreams`].
///
/// A window fires when the watermark of both streams reaches its end, or the clock passes it, and again for each record that comes within the
/// allowed lateness. Its records are kept until then. A pair has the time of its window's last millisecond. The pairs of a
/// key are made one after the other as they are wanted: however many there are, memory holds only the records.
///
/// `G` is its trigger, `E` whether it [has an evictor](Self::evictor).
#[must_use = "a join does nothing until something is made of it"]
pub struct WindowedJoin<A, B, S, G = EndTrigger, E = ()>(WindowedStream<Either<A, B>, S, G, E>);

impl<A: Record, B: Record, S: KeySelector<Either<A, B>>, E> WindowedJoin<A, B, S, EndTrigger, E> {
    /// When windows give their pairs, instead of at their end; as [`WindowedStream::trigger`](crate::WindowedStream::trigger), of the
    /// records of both streams. Each time all pairs of what is in the window are given, unless the trigger
    /// [purges](crate::PurgingTrigger) it. With a trigger windows may be [global](WindowAssigner::global).
    ///
    /// ```
    /// use rivus::{CountTrigger, Event, PurgingTrigger, WindowAssigner};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let asked = env.from_collection(vec![5, 6]);
    /// let offered = env.from_collection(vec![6, 5]);
    /// let met = asked
    ///     .join(&offered)
    ///     .on(|asked| *asked, |offered| *offered)
    ///     .window(WindowAssigner::global())
    ///     .trigger(PurgingTrigger::of(CountTrigger::every(2))) // as soon as both are there, whenever that is
    ///     .apply(|asked, _| *asked)
    ///     .map(|pair| pair.value)
    ///     .collect();
    /// env.execute("numbers").await?;
    /// let mut met = met.values();
    /// met.sort();
    /// assert_eq!(met, [5, 6]);
    /// # Ok(()) }
    /// ```
    pub fn trigger<G: Trigger<Either<A, B>>>(self, trigger: G) -> WindowedJoin<A, B, S, G, E> {
        WindowedJoin(self.0.trigger(trigger))
    }
}

impl<A, B, S, G, E> WindowedJoin<A, B, S, G, E>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    G: Trigger<Either<A, B>>,
{
    /// Which of a window's records count when it gives its pairs; as [`WindowedStream::evictor`](crate::WindowedStream::evictor), of
    /// the records of both streams.
    ///
    /// ```
    /// use rivus::{CountEvictor, Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 5_u32)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let one = seconds.evictor(CountEvictor::keep(1)).apply(|asked, _| *asked).collect(); // and its partner doesn't count
    /// env.execute("numbers").await?;
    /// assert_eq!(one.len(), 0);
    /// # Ok(()) }
    /// ```
    pub fn evictor(
        self,
        evictor: impl Evictor<Either<A, B>>,
    ) -> WindowedJoin<A, B, S, G, Evicting<Either<A, B>>> {
        WindowedJoin(self.0.evictor(evictor))
    }
}

impl<A, B, S, G, E> WindowedJoin<A, B, S, G, E>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    G: Trigger<Either<A, B>>,
    E: MaybeEvictor<Either<A, B>>,
{
    /// For how long a session stays open after a record, by a function for each stream.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// // An order waits for its payment for a minute; a payment waits for nothing.
    /// let orders = env.from_events(vec![Event::at(0, 1), Event::at(0, 2)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// let paid = env.from_events(vec![Event::at(50_000, 1), Event::at(70_000, 2)]);
    /// let paid = paid.assign_watermarks(WatermarkStrategy::monotonous());
    /// let in_time = orders
    ///     .join(&paid)
    ///     .on(|order| *order, |paid| *paid)
    ///     .window(WindowAssigner::session(Duration::from_secs(1)))
    ///     .gap_by(|_| Duration::from_secs(60), |_| Duration::from_millis(1))
    ///     .apply(|order, _| *order)
    ///     .map(|order| order.value)
    ///     .collect();
    /// env.execute("orders").await?;
    /// assert_eq!(in_time.values(), [1]);
    /// # Ok(()) }
    /// ```
    pub fn gap_by(
        self,
        first: impl Fn(&A) -> Duration + Send + Sync + 'static,
        second: impl Fn(&B) -> Duration + Send + Sync + 'static,
    ) -> Self {
        Self(self.0.gap_by(move |record| match record {
            Either::First(record) => first(record),
            Either::Second(record) => second(record),
        }))
    }

    /// For how much longer a window takes records after it has fired; for each it gives all of its pairs again.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let patient = seconds.allowed_lateness(Duration::from_secs(10));
    /// let both = patient.apply(|asked, _| *asked).map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(both.values(), [6]);
    /// # Ok(()) }
    /// ```
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self(self.0.allowed_lateness(lateness))
    }

    /// Where records go that are too late for all of their windows; it must be read with
    /// [`DataStream::side_output`] on the stream of results.
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{Either, Event, SideOutputTag, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// let late: SideOutputTag<Either<i64, i64>> = SideOutputTag::new("late");
    /// let times = |times: [i64; 3]| {
    ///     env.from_source(GeneratorSource::new(move |n, _| times[n as usize]).count(3).rate(1))
    ///         .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    /// };
    /// let pairs = times([1_000, 9_000, 1_500])
    ///     .join(&times([1_100, 9_100, 9_200]))
    ///     .on(|_| (), |_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .late_output(&late)
    ///     .apply(|a, b| (*a, *b));
    /// let (late, pairs) = (pairs.side_output(&late).collect(), pairs.map(|pair| pair.value).collect());
    /// env.execute("pairs").await?;
    /// assert_eq!(late.values(), [Either::First(1_500)]);
    /// assert_eq!(pairs.values(), [(1_000, 1_100), (9_000, 9_100), (9_000, 9_200)]);
    /// # Ok(()) }
    /// ```
    pub fn late_output(self, tag: &SideOutputTag<Either<A, B>>) -> Self {
        Self(self.0.late_output(tag))
    }

    /// What a function makes of each pair. Records without a partner give nothing.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let both = seconds.apply(|asked, offered| asked + offered).map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(both.values(), [12]);
    /// # Ok(()) }
    /// ```
    pub fn apply<R, F>(self, join: F) -> DataStream<Windowed<S::Key, R>>
    where
        R: Record,
        F: Fn(&A, &B) -> R + Clone + Send + Sync + 'static,
    {
        self.add("join", move |group| {
            let (first, second) = group.value;
            Paired::inner(first, second, join.clone())
        })
    }

    /// As [`apply`](Self::apply), and each record of the first stream without a partner by itself.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let orders = vec![Event::at(100, (1, "hat".to_owned())), Event::at(200, (2, "coat".to_owned()))];
    /// # let orders = env.from_events(orders).assign_watermarks(WatermarkStrategy::monotonous());
    /// # let paid = env.from_events(vec![Event::at(150, 1)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// let states = orders
    ///     .join(&paid)
    ///     .on(|order| order.0, |paid| *paid)
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .left_outer(|order, paid| (order.1.clone(), paid.is_some()))
    ///     .map(|state| state.value)
    ///     .collect();
    /// env.execute("orders").await?;
    /// let mut states = states.values();
    /// states.sort();
    /// assert_eq!(states, [("coat".to_owned(), false), ("hat".to_owned(), true)]);
    /// # Ok(()) }
    /// ```
    pub fn left_outer<R, F>(self, join: F) -> DataStream<Windowed<S::Key, R>>
    where
        R: Record,
        F: Fn(&A, Option<&B>) -> R + Clone + Send + Sync + 'static,
    {
        let unpaired = Unpaired {
            first: true,
            second: false,
        };
        self.outer(unpaired, move |first, second| Some(join(first?, second)))
    }

    /// As [`apply`](Self::apply), and each record of the second stream without a partner by itself.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let offered = seconds.right_outer(|asked, offered| (asked.is_some(), *offered));
    /// let offered = offered.map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// let mut offered = offered.values();
    /// offered.sort();
    /// assert_eq!(offered, [(false, 7), (true, 6)]);
    /// # Ok(()) }
    /// ```
    pub fn right_outer<R, F>(self, join: F) -> DataStream<Windowed<S::Key, R>>
    where
        R: Record,
        F: Fn(Option<&A>, &B) -> R + Clone + Send + Sync + 'static,
    {
        let unpaired = Unpaired {
            first: false,
            second: true,
        };
        self.outer(unpaired, move |first, second| Some(join(first, second?)))
    }

    /// As [`apply`](Self::apply), and each record of either stream without a partner by itself.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 6_u32), Event::at(3, 7)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let by_number = asked.join(&offered).on(|asked| *asked, |offered| *offered);
    /// let seconds = by_number.window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let all = seconds.full_outer(|asked, offered| (asked.copied(), offered.copied()));
    /// let all = all.map(|pair| pair.value).collect();
    /// env.execute("numbers").await?;
    /// let mut all = all.values();
    /// all.sort();
    /// assert_eq!(all, [(None, Some(7)), (Some(5), None), (Some(6), Some(6))]);
    /// # Ok(()) }
    /// ```
    pub fn full_outer<R, F>(self, join: F) -> DataStream<Windowed<S::Key, R>>
    where
        R: Record,
        F: Fn(Option<&A>, Option<&B>) -> R + Clone + Send + Sync + 'static,
    {
        let unpaired = Unpaired {
            first: true,
            second: true,
        };
        self.outer(unpaired, move |first, second| Some(join(first, second)))
    }

    fn outer<R, F>(self, unpaired: Unpaired, join: F) -> DataStream<Windowed<S::Key, R>>
    where
        R: Record,
        F: Fn(Option<&A>, Option<&B>) -> Option<R> + Clone + Send + Sync + 'static,
    {
        self.add("join", move |group| {
            let (first, second) = group.value;
            Paired::outer(first, second, unpaired, join.clone()).flatten()
        })
    }

    /// Any number of records for each key and window, of the records of both streams, which may be none of one.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let asked = env.from_events(vec![Event::at(1, 5_u32), Event::at(2, 6)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// # let offered = env.from_events(vec![Event::at(2, 4_u32)]).assign_watermarks(WatermarkStrategy::monotonous());
    /// let balance = asked
    ///     .join(&offered)
    ///     .on(|_| (), |_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .co_group(|second| {
    ///         let (asked, offered) = second.value;
    ///         Some(i64::from(offered.iter().sum::<u32>()) - i64::from(asked.iter().sum::<u32>()))
    ///     })
    ///     .map(|second| second.value)
    ///     .collect();
    /// env.execute("balance").await?;
    /// assert_eq!(balance.values(), [-7]);
    /// # Ok(()) }
    /// ```
    pub fn co_group<I, F>(self, give: F) -> DataStream<Windowed<S::Key, I::Item>>
    where
        I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
        F: Fn(Windowed<S::Key, Grouped<A, B>>) -> I + Clone + Send + Sync + 'static,
    {
        self.add("co_group", give)
    }

    fn add<I, F>(self, name: &'static str, give: F) -> DataStream<Windowed<S::Key, I::Item>>
    where
        I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
        F: Fn(Windowed<S::Key, Grouped<A, B>>) -> I + Clone + Send + Sync + 'static,
    {
        let WindowedStream {
            windows,
            trigger,
            evictor,
        } = self.0;
        let (both, assigner) = (&windows.keyed, windows.assigner);
        let window = WindowOperator::process(both.selector.clone(), assigner, ByStream);
        let window = windows.set(window).evictor(evictor);
        let needs = assigner.needs_watermarks();
        match trigger {
            None => give_of(both, name, window, needs, give),
            Some(trigger) => {
                let needs = needs || trigger.needs_watermarks();
                give_of(both, name, window.trigger(trigger), needs, give)
            }
        }
    }
}

/// Draws from each window that fires what a function gives of its two lists.
fn give_of<A, B, S, G, E, I, F>(
    both: &KeyedStream<Either<A, B>, S>,
    name: &'static str,
    window: CoWindowOperator<A, B, S, G, E>,
    needs_watermarks: bool,
    give: F,
) -> DataStream<Windowed<S::Key, I::Item>>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    G: Trigger<Either<A, B>>,
    E: MaybeEvictor<Either<A, B>>,
    I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
    F: Fn(Windowed<S::Key, Grouped<A, B>>) -> I + Clone + Send + Sync + 'static,
{
    let operator = WindowJoinOperator::new(window, move |group: Windowed<_, _>| {
        let (key, window) = (group.key.clone(), group.window);
        give(group).into_iter().map(move |value| Windowed {
            key: key.clone(),
            window,
            value,
        })
    });
    both.add(name, operator, |node| {
        node.needs_watermarks = needs_watermarks
    })
}
