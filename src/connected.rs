//! Two streams of different types that one operator reads.

use std::sync::Arc;

use rivus_core::{
    AsFirst, AsSecond, Either, HashBy, InHashed, Operator, OperatorFactory, Record, RouteFactory,
    StreamEdge,
};
use rivus_operators::{
    ByEither, CoProcessFunction, EitherIter, FlatMap, KeySelector, KeyedCoProcessFunction,
    KeyedProcessOperator, Map, OfBoth, ProcessOperator, SideOutputs, by_either,
};

use crate::keyed::KeyedStream;
use crate::program::{NewNode, Program};
use crate::stream::DataStream;

/// Two streams of different types that the next operator reads together, each with a function of its own.
///
/// Which of two records of different streams comes first is not given. The watermark is what both have reached.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let numbers = env.from_collection(vec![1, 2]);
/// let words = env.from_collection(vec!["three".to_owned()]);
/// let shown = numbers.connect(&words).map(|n| format!("{n}"), |word| word).collect();
/// env.execute("shown").await?;
/// let mut shown = shown.values();
/// shown.sort();
/// assert_eq!(shown, ["1", "2", "three"]);
/// # Ok(()) }
/// ```
#[must_use = "connected streams do nothing until something is made of them"]
pub struct ConnectedStreams<A, B> {
    first: DataStream<A>,
    second: DataStream<B>,
}

impl<A: Record> DataStream<A> {
    /// Reads this stream and another one together.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let cents = env.from_collection(vec![250_u64]);
    /// let euros = env.from_collection(vec![3.0]);
    /// let all = cents.connect(&euros).map(|cents| cents, |euros| (euros * 100.0) as u64).collect();
    /// env.execute("cents").await?;
    /// assert_eq!(all.values().iter().sum::<u64>(), 550);
    /// # Ok(()) }
    /// ```
    pub fn connect<B: Record>(&self, other: &DataStream<B>) -> ConnectedStreams<A, B> {
        self.program.joins(&other.program, "connect");
        ConnectedStreams {
            first: self.clone(),
            second: other.clone(),
        }
    }
}

impl<A: Record, B: Record> ConnectedStreams<A, B> {
    fn add<Out: Record>(
        &self,
        name: &'static str,
        operator: impl OperatorFactory + 'static,
        change: impl FnOnce(&mut NewNode),
    ) -> DataStream<Out> {
        let program = &self.first.program;
        let mut inputs = program.edges_as::<A, AsFirst<B>>(&self.first.origins);
        inputs.extend(program.edges_as::<B, AsSecond<A>>(&self.second.origins));
        add(program, inputs, name, operator, change)
    }

    /// One record for each, by the function of its stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let (paid, refunded) = (env.from_collection(vec![7_u32, 5]), env.from_collection(vec![2_u16]));
    /// let balance = paid.connect(&refunded).map(i64::from, |cents| -i64::from(cents)).collect();
    /// env.execute("balance").await?;
    /// assert_eq!(balance.values().iter().sum::<i64>(), 10);
    /// # Ok(()) }
    /// ```
    pub fn map<Out, F, G>(&self, first: F, second: G) -> DataStream<Out>
    where
        Out: Record,
        F: Fn(A) -> Out + Clone + Send + Sync + 'static,
        G: Fn(B) -> Out + Clone + Send + Sync + 'static,
    {
        let map = Map::new(move |record| match record {
            Either::First(record) => first(record),
            Either::Second(record) => second(record),
        });
        self.add("co_map", map, |_| {})
    }

    /// Any number of records for each, by the function of its stream; they are made as they are wanted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let lines = env.from_collection(vec!["1 2".to_owned()]);
    /// let ranges = env.from_collection(vec![(3, 5)]);
    /// let parse = |line: String| line.split(' ').flat_map(str::parse::<u32>).collect::<Vec<_>>();
    /// let numbers = lines.connect(&ranges).flat_map(parse, |(from, to)| from..to).collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(numbers.values().iter().sum::<u32>(), 1 + 2 + 3 + 4);
    /// # Ok(()) }
    /// ```
    pub fn flat_map<I, J, F, G>(&self, first: F, second: G) -> DataStream<I::Item>
    where
        I: IntoIterator<Item: Record, IntoIter: Send> + 'static,
        J: IntoIterator<Item = I::Item, IntoIter: Send> + 'static,
        F: Fn(A) -> I + Clone + Send + Sync + 'static,
        G: Fn(B) -> J + Clone + Send + Sync + 'static,
    {
        let map = FlatMap::new(move |record| match record {
            Either::First(record) => EitherIter::First(first(record).into_iter()),
            Either::Second(record) => EitherIter::Second(second(record).into_iter()),
        });
        self.add("co_flat_map", map, |_| {})
    }

    /// What a [`CoProcessFunction`] makes of each record.
    ///
    /// ```
    /// use rivus::{CoProcessFunction, Event, Output, SideOutputTag, UserError};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Numbers, some of them in words.
    /// #[derive(Clone)]
    /// struct Numbers { unknown: SideOutputTag<String> }
    ///
    /// impl CoProcessFunction<u32, String> for Numbers {
    ///     type Out = u32;
    ///     fn process_first(&mut self, number: Event<u32>, out: &mut Output<'_, u32>) -> Result<(), UserError> {
    ///         out.emit(number.value);
    ///         Ok(())
    ///     }
    ///     fn process_second(&mut self, word: Event<String>, out: &mut Output<'_, u32>) -> Result<(), UserError> {
    ///         match word.value.as_str() {
    ///             "one" => out.emit(1),
    ///             _ => out.side(&self.unknown, word.value),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let words = env.from_collection(vec!["one".to_owned(), "zillion".to_owned()]);
    /// let unknown = SideOutputTag::new("unknown");
    /// let numbers = env.from_collection(vec![7]).connect(&words).process(Numbers { unknown: unknown.clone() });
    /// let (unknown, numbers) = (numbers.side_output(&unknown).collect(), numbers.collect());
    /// env.execute("numbers").await?;
    /// assert_eq!((numbers.values().iter().sum::<u32>(), unknown.values()), (8, vec!["zillion".to_owned()]));
    /// # Ok(()) }
    /// ```
    pub fn process<P: CoProcessFunction<A, B>>(&self, function: P) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let operator: ProcessOperator<Either<A, B>, _> =
            ProcessOperator::new(OfBoth(function), sides.clone());
        self.add("co_process", operator, |node| node.declared = sides)
    }
}

/// Adds an operator behind some edges.
pub(crate) fn add<Out: Record>(
    program: &Program,
    inputs: Vec<StreamEdge>,
    name: &'static str,
    operator: impl OperatorFactory + 'static,
    change: impl FnOnce(&mut NewNode),
) -> DataStream<Out> {
    let mut node = NewNode::new(name, Operator::Transform(Arc::new(operator)), inputs);
    change(&mut node);
    let origin = program.add::<Out>(node);
    DataStream::new(program.clone(), vec![origin])
}

/// Two streams keyed alike, so that records of both that have the same key meet in that key's state.
///
/// ```
/// use rivus::{Event, Keyed, KeyedCoProcessFunction, Output, StateSet, Timer, UserError, ValueState, WatermarkStrategy};
/// use serde::{Deserialize, Serialize};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// struct Open { amount: ValueState<u32>, paid: ValueState<()> }
///
/// /// Finds the orders that were not paid within a minute.
/// #[derive(Clone)]
/// struct Unpaid;
///
/// impl KeyedCoProcessFunction<u64, (u64, u32), u64> for Unpaid {
///     type Out = (u64, u32);
///     type State = Open;
///
///     fn process_first(
///         &mut self, order: Event<(u64, u32)>, open: &mut Keyed<'_, u64, Open>, _out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         open.amount.set(order.value.1);
///         open.register_event_timer(order.ts + 60_000);
///         Ok(())
///     }
///
///     fn process_second(
///         &mut self, _payment: Event<u64>, open: &mut Keyed<'_, u64, Open>, _out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         open.paid.set(());
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, _timer: Timer, open: &mut Keyed<'_, u64, Open>, out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         if let (Some(amount), None) = (open.amount.take(), open.paid.take()) {
///             out.emit((*open.key(), amount));
///         }
///         Ok(())
///     }
/// }
///
/// let orders = env
///     .from_events(vec![Event::at(1_000, (1, 250)), Event::at(2_000, (2, 990))])
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let payments = env
///     .from_events(vec![Event::at(31_000, 2)])
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let by_order = orders.key_by(|order| order.0);
/// let unpaid = by_order.connect(&payments.key_by(|order| *order)).process(Unpaid).collect();
/// env.execute("unpaid").await?;
/// assert_eq!(unpaid.values(), [(1, 250)]);
/// # Ok(()) }
/// ```
#[must_use = "connected streams do nothing until something is made of them"]
pub struct KeyedConnectedStreams<A, B, S, R> {
    both: KeyedStream<Either<A, B>, ByEither<S, R>>,
}

impl<A: Record, S: KeySelector<A>> KeyedStream<A, S> {
    /// Reads this stream and another one of the same keys together.
    ///
    /// ```
    /// use rivus::{Event, Keyed, KeyedCoProcessFunction, Output, UserError, ValueState};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Records and their taking back, in either order, leave nothing.
    /// #[derive(Clone)]
    /// struct Balance;
    ///
    /// impl KeyedCoProcessFunction<u32, u32, u32> for Balance {
    ///     type Out = (u32, i64);
    ///     type State = ValueState<i64>;
    ///     fn process_first(
    ///         &mut self, n: Event<u32>, sum: &mut Keyed<'_, u32, ValueState<i64>>, out: &mut Output<'_, (u32, i64)>,
    ///     ) -> Result<(), UserError> {
    ///         *sum.get_or_default() += 1;
    ///         out.emit((n.value, *sum.get_or_default()));
    ///         Ok(())
    ///     }
    ///     fn process_second(
    ///         &mut self, n: Event<u32>, sum: &mut Keyed<'_, u32, ValueState<i64>>, out: &mut Output<'_, (u32, i64)>,
    ///     ) -> Result<(), UserError> {
    ///         *sum.get_or_default() -= 1;
    ///         out.emit((n.value, *sum.get_or_default()));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (put, taken) = (env.from_collection(vec![7]), env.from_collection(vec![7]));
    /// let balance = put.key_by(|n| *n).connect(&taken.key_by(|n| *n)).process(Balance).collect();
    /// env.execute("balance").await?;
    /// assert_eq!(balance.values().last(), Some(&(7, 0)));
    /// # Ok(()) }
    /// ```
    ///
    /// Both must have keys of one type:
    ///
    /// ```compile_fail
    /// # let env = rivus::StreamEnvironment::default();
    /// let (by_number, by_text) = (env.from_collection(vec![7_u32]), env.from_collection(vec![7_u32]));
    /// by_number.key_by(|n| *n).connect(&by_text.key_by(|n| n.to_string()));
    /// ```
    pub fn connect<B, R>(&self, other: &KeyedStream<B, R>) -> KeyedConnectedStreams<A, B, S, R>
    where
        B: Record,
        R: KeySelector<B, Key = S::Key>,
    {
        KeyedConnectedStreams {
            both: self.beside(other, "connect"),
        }
    }

    /// The records of both streams, by key; `what` was called for it.
    pub(crate) fn beside<B, R>(
        &self,
        other: &KeyedStream<B, R>,
        what: &str,
    ) -> KeyedStream<Either<A, B>, ByEither<S, R>>
    where
        B: Record,
        R: KeySelector<B, Key = S::Key>,
    {
        self.program.joins(&other.program, what);
        let (first, second) = (self.selector.clone(), other.selector.clone());
        let selector = by_either(first.clone(), second.clone());
        let hash = move |value: &A| first.hash(value);
        let route = HashBy::<A, _, InHashed<AsFirst<B>>>::carrying(hash);
        let mut edges = sent_by(&self.edges, route);
        let hash = move |value: &B| second.hash(value);
        let route = HashBy::<B, _, InHashed<AsSecond<A>>>::carrying(hash);
        edges.extend(sent_by(&other.edges, route));
        KeyedStream::new(self.program.clone(), edges, selector)
    }
}

/// The same edges with another route.
pub(crate) fn sent_by(edges: &[StreamEdge], route: impl RouteFactory + 'static) -> Vec<StreamEdge> {
    let route: Arc<dyn RouteFactory> = Arc::new(route);
    let sent = edges.iter().map(|edge| StreamEdge {
        route: Arc::clone(&route),
        ..edge.clone()
    });
    sent.collect()
}

impl<A, B, S, R> KeyedConnectedStreams<A, B, S, R>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    R: KeySelector<B, Key = S::Key>,
{
    /// What a [`KeyedCoProcessFunction`] makes of the records of both streams, its state and its timers.
    ///
    /// ```
    /// use rivus::{Event, Keyed, KeyedCoProcessFunction, ListState, Output, StateSet, UserError, ValueState};
    /// use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    /// struct Account { name: ValueState<String>, waiting: ListState<u32> }
    ///
    /// /// Puts names to amounts; those that come before the name wait for it.
    /// #[derive(Clone)]
    /// struct Named;
    ///
    /// impl KeyedCoProcessFunction<u64, (u64, String), (u64, u32)> for Named {
    ///     type Out = String;
    ///     type State = Account;
    ///
    ///     fn process_first(
    ///         &mut self, user: Event<(u64, String)>, account: &mut Keyed<'_, u64, Account>, out: &mut Output<'_, String>,
    ///     ) -> Result<(), UserError> {
    ///         for amount in account.waiting.take() {
    ///             out.emit(format!("{} {amount}", user.value.1));
    ///         }
    ///         account.name.set(user.value.1);
    ///         Ok(())
    ///     }
    ///
    ///     fn process_second(
    ///         &mut self, paid: Event<(u64, u32)>, account: &mut Keyed<'_, u64, Account>, out: &mut Output<'_, String>,
    ///     ) -> Result<(), UserError> {
    ///         match account.name.get() {
    ///             Some(name) => out.emit(format!("{name} {}", paid.value.1)),
    ///             None => account.waiting.push(paid.value.1),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let users = env.from_collection(vec![(7, "ann".to_owned())]).key_by(|user| user.0);
    /// let paid = env.from_collection(vec![(7, 250), (7, 100)]).key_by(|paid| paid.0);
    /// let named = users.connect(&paid).process(Named).collect();
    /// env.execute("named").await?;
    /// assert_eq!(named.values(), ["ann 250", "ann 100"]);
    /// # Ok(()) }
    /// ```
    pub fn process<P: KeyedCoProcessFunction<S::Key, A, B>>(
        &self,
        function: P,
    ) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let selector = self.both.selector.clone();
        let operator: KeyedProcessOperator<Either<A, B>, _, _> =
            KeyedProcessOperator::new(selector, OfBoth(function), sides.clone());
        self.both
            .add("co_process", operator, |node| node.declared = sides)
    }
}
