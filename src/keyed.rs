//! Streams by key.

use std::marker::PhantomData;
use std::sync::Arc;

use rivus_core::{Operator, OperatorFactory, Record, StreamEdge};
use rivus_operators::{
    AggregateFunction, Count, KeySelector, KeyedProcessFunction, KeyedProcessOperator,
    RollingOperator, SideOutputs, WindowAssigner,
};

use crate::connected::sent_by;
use crate::program::{NewNode, Program};
use crate::stream::DataStream;
use crate::windowed::WindowedStream;

/// A stream whose records of one key all go to one subtask, which keeps state by key.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let words = env.from_collection(vec!["to".to_owned(), "be".to_owned(), "to".to_owned()]);
/// let by_word = words.key_by_ref(|word| word.as_str());
/// let (counts, joined) = (by_word.count().collect(), by_word.reduce(|all, word| *all += &word).collect());
/// env.execute("words").await?;
/// assert_eq!(counts.values().last(), Some(&("to".to_owned(), 2)));
/// assert_eq!(joined.values().last(), Some(&("to".to_owned(), "toto".to_owned())));
/// # Ok(()) }
/// ```
#[must_use = "a keyed stream does nothing until something is made of it"]
pub struct KeyedStream<T, S> {
    pub(crate) program: Program,
    pub(crate) edges: Vec<StreamEdge>,
    pub(crate) selector: S,
    of: PhantomData<fn() -> T>,
}

impl<T, S: Clone> Clone for KeyedStream<T, S> {
    fn clone(&self) -> Self {
        Self {
            program: self.program.clone(),
            edges: self.edges.clone(),
            selector: self.selector.clone(),
            of: PhantomData,
        }
    }
}

impl<T: Record, S: KeySelector<T>> KeyedStream<T, S> {
    pub(crate) fn new(program: Program, edges: Vec<StreamEdge>, selector: S) -> Self {
        Self {
            program,
            edges,
            selector,
            of: PhantomData,
        }
    }

    pub(crate) fn add<Out: Record>(
        &self,
        name: &'static str,
        operator: impl OperatorFactory + 'static,
        change: impl FnOnce(&mut NewNode),
    ) -> DataStream<Out> {
        let operator = Operator::Transform(Arc::new(operator));
        let mut node = NewNode::new(name, operator, self.edges.clone());
        change(&mut node);
        let origin = self.program.add::<Out>(node);
        DataStream::new(self.program.clone(), vec![origin])
    }

    /// Folds each record into the first of its key, and emits what has been gathered, for every record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sums = env.from_collection(vec![1, 2, 3, 4]).key_by(|n| n % 2).reduce(|sum, n| *sum += n).collect();
    /// env.execute("sums").await?;
    /// assert_eq!(sums.values(), [(1, 1), (0, 2), (1, 4), (0, 6)]);
    /// # Ok(()) }
    /// ```
    pub fn reduce<F>(&self, fold: F) -> DataStream<(S::Key, T)>
    where
        F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::reduce(self.selector.clone(), fold);
        self.add("reduce", operator, |_| {})
    }

    /// Aggregates by key, and emits what has been gathered, for every record.
    ///
    /// ```
    /// use rivus::{Max, Min};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let range = (Min::of(|n: &i32| *n), Max::of(|n: &i32| *n));
    /// let seen = env.from_collection(vec![5, 3, 8]).key_by(|_| ()).aggregate(range).collect();
    /// env.execute("range").await?;
    /// assert_eq!(seen.values(), [((), (5, 5)), ((), (3, 5)), ((), (3, 8))]);
    /// # Ok(()) }
    /// ```
    pub fn aggregate<A: AggregateFunction<In = T>>(
        &self,
        function: A,
    ) -> DataStream<(S::Key, A::Out)> {
        let operator = RollingOperator::aggregate(self.selector.clone(), function);
        self.add("aggregate", operator, |_| {})
    }

    /// Gathers the records of a key where they come from, as long as no watermark passes, so that one record for each travels to where
    /// the key is at home, instead of all of them; what is made of it is said once for all of those. (Local aggregation, a mini-batch.)
    ///
    /// It leaves at the latest with a watermark, a checkpoint, when the input runs dry, or with 65,536 records; each result has the time of the
    /// latest record in it, and those of different keys are not in the order of their times. It pays where keys repeat, and where
    /// nobody asks for what each single record brings; where they hardly repeat records pass as they are. State and savepoints
    /// are the same with it and without.
    ///
    /// ```
    /// use rivus::Sum;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let sold = env.from_collection(vec![('a', 3), ('b', 5), ('a', 4)]).key_by(|sold| sold.0);
    /// let sums = sold.pre_aggregate().aggregate(Sum::of(|sold: &(char, i32)| sold.1)).collect();
    /// env.execute("sums").await?;
    /// let mut sums = sums.values();
    /// sums.sort();
    /// assert_eq!(sums, [('a', 7), ('b', 5)]);
    /// # Ok(()) }
    /// ```
    pub fn pre_aggregate(&self) -> PreAggregatedStream<T, S> {
        PreAggregatedStream(self.clone())
    }

    /// How many records of its key there have been, for every record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let parities = env.from_collection(vec![1, 2, 3]).key_by(|n| n % 2).count().collect();
    /// env.execute("parities").await?;
    /// assert_eq!(parities.values(), [(1, 1), (0, 1), (1, 2)]);
    /// # Ok(()) }
    /// ```
    pub fn count(&self) -> DataStream<(S::Key, u64)> {
        self.aggregate(Count::new())
    }

    /// What a [`KeyedProcessFunction`] makes of records, its state and its timers.
    ///
    /// ```
    /// use rivus::{Event, Keyed, KeyedProcessFunction, Output, UserError, ValueState};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Lets the first record of each key pass.
    /// #[derive(Clone)]
    /// struct Distinct;
    ///
    /// impl KeyedProcessFunction<u32, u32> for Distinct {
    ///     type Out = u32;
    ///     type State = ValueState<()>;
    ///     fn process(
    ///         &mut self, n: Event<u32>, seen: &mut Keyed<'_, u32, ValueState<()>>, out: &mut Output<'_, u32>,
    ///     ) -> Result<(), UserError> {
    ///         if seen.is_empty() {
    ///             seen.set(());
    ///             out.emit(n.value);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let distinct = env.from_collection(vec![3, 1, 3]).key_by(|n| *n).process(Distinct).collect();
    /// env.execute("distinct").await?;
    /// assert_eq!(distinct.values(), [3, 1]);
    /// # Ok(()) }
    /// ```
    pub fn process<P: KeyedProcessFunction<S::Key, T>>(&self, function: P) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let operator = KeyedProcessOperator::new(self.selector.clone(), function, sides.clone());
        self.add("process", operator, |node| node.declared = sides)
    }

    /// Gathers records by key in windows: of a fixed size, sessions, or one without end; by event time or processing
    /// time. See [`WindowedStream`].
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
    ///     .key_by_ref(|what| what.as_str())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .count()
    ///     .map(|clicks| (clicks.window.start, clicks.value))
    ///     .collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(seconds.values(), [(0, 2), (1_000, 1)]);
    /// # Ok(()) }
    /// ```
    pub fn window(&self, assigner: WindowAssigner) -> WindowedStream<T, S> {
        WindowedStream::new(self.clone(), assigner)
    }
}

/// A [`KeyedStream`] whose records are gathered before they travel, see [`KeyedStream::pre_aggregate`].
#[must_use = "a keyed stream does nothing until something is made of it"]
pub struct PreAggregatedStream<T, S>(KeyedStream<T, S>);

impl<T: Record, S: KeySelector<T>> PreAggregatedStream<T, S> {
    /// Aggregates by key, and emits what has been gathered, for all records that were gathered together. The function's
    /// [`merge`](AggregateFunction::merge) is called; records of a key are gathered in their order.
    ///
    /// ```
    /// use rivus::Max;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![5, 3, 8]).key_by(|_| ()).pre_aggregate();
    /// let most = numbers.aggregate(Max::of(|n: &i32| *n)).collect();
    /// env.execute("most").await?;
    /// assert_eq!(most.values(), [((), 8)]);
    /// # Ok(()) }
    /// ```
    pub fn aggregate<A: AggregateFunction<In = T>>(
        &self,
        function: A,
    ) -> DataStream<(S::Key, A::Out)> {
        let Self(keyed) = self;
        let operator = RollingOperator::aggregate(keyed.selector.clone(), function);
        let (before, behind) = operator.pre_aggregated();
        // To the program it is one operator on the same edges.
        let edges = sent_by(&keyed.edges, before);
        let keyed = KeyedStream::<T, S>::new(keyed.program.clone(), edges, keyed.selector.clone());
        keyed.add("aggregate", behind, |_| {})
    }

    /// How many records of its key there have been.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let counts = env.from_collection(vec![5, 3, 8]).key_by(|_| ()).pre_aggregate().count().collect();
    /// env.execute("counts").await?;
    /// assert_eq!(counts.values(), [((), 3)]);
    /// # Ok(()) }
    /// ```
    pub fn count(&self) -> DataStream<(S::Key, u64)> {
        self.aggregate(Count::new())
    }
}
