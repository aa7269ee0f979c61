//! Streams without a key.

use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::sync::Arc;

use rivus_connectors::{BadLine, CollectSink, Collected, Parsed, PrintSink};
use rivus_core::{
    Event, Exchange, HashBy, Key, Operator, OperatorFactory, Record, Sink, UserError,
};
use rivus_operators::{
    Filter, FlatMap, KeySelector, Map, OnError, Output, ProcessFunction, ProcessOperator,
    SideOutputTag, SideOutputs, SinkOperator, TimestampAssigner, TryMap, WatermarkGenerator,
    WatermarkOperator, WatermarkStrategy, by_ref, by_value,
};
use serde::Serialize;

use crate::keyed::KeyedStream;
use crate::program::{NewNode, Origin, Program};

/// A stream of records of type `T`.
///
/// Methods that take a function add an operator; [`name`](Self::name), [`uid`](Self::uid) and
/// [`parallelism`](Self::parallelism) set something on the operator that was added last.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let numbers = env.from_collection(vec![1, 2, 3]);
/// let doubled = numbers.map(|n| n * 2).name("double").uid("double-v1").parallelism(2);
/// let doubled = doubled.collect();
/// let result = env.execute("doubled").await?;
/// assert_eq!(doubled.len(), 3);
/// assert!(result.view.subtasks.iter().any(|task| task.name.contains("double")));
/// # Ok(()) }
/// ```
///
/// A stream that nothing takes works for nothing. The compiler warns of it, and so does the environment when the program is run:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # let env = rivus::StreamEnvironment::default();
/// env.from_collection(vec![1, 2, 3]).map(|n| n * 2); // .print(), .sink_to(..), .collect()
/// ```
#[must_use = "a stream that nothing takes works for nothing: end it with a sink"]
pub struct DataStream<T> {
    pub(crate) program: Program,
    pub(crate) origins: Vec<Origin>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for DataStream<T> {
    fn clone(&self) -> Self {
        Self {
            program: self.program.clone(),
            origins: self.origins.clone(),
            of: PhantomData,
        }
    }
}

impl<T: Record> DataStream<T> {
    pub(crate) fn new(program: Program, origins: Vec<Origin>) -> Self {
        Self {
            program,
            origins,
            of: PhantomData,
        }
    }

    /// Adds an operator behind this stream.
    pub(crate) fn add<Out: Record>(
        &self,
        name: &'static str,
        operator: impl OperatorFactory + 'static,
        change: impl FnOnce(&mut NewNode),
    ) -> DataStream<Out> {
        let inputs = self.program.edges::<T>(&self.origins);
        let mut node = NewNode::new(name, Operator::Transform(Arc::new(operator)), inputs);
        change(&mut node);
        let origin = self.program.add::<Out>(node);
        DataStream::new(self.program.clone(), vec![origin])
    }

    /// The operator's name, for people.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).map(|n| n * 2).name("doubled").print();
    /// let tasks = env.execute("numbers").await?.view.subtasks;
    /// assert!(tasks.iter().any(|task| task.name.contains("doubled")));
    /// # Ok(()) }
    /// ```
    pub fn name(self, name: &str) -> Self {
        let set = |node: &mut crate::program::NodeSettings<'_>| name.clone_into(node.name);
        self.program.set(&self.origins, "name", set);
        self
    }

    /// The operator's stable name, by which its state is found again when the program has changed, and asked for while it runs.
    ///
    /// ```
    /// use rivus::testing::JobTest;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let test = JobTest::new(7);
    /// let (words, feed) = test.input::<String>();
    /// let _counts = words.key_by_ref(|word| word.as_str()).count().uid("counts").collect();
    /// let mut job = test.start().await?;
    /// feed.send("to".to_owned()).await?;
    /// job.checkpoint().await?;
    /// assert_eq!(job.handle().query::<str, u64>("counts", "to").await?, Some(1));
    /// # Ok(()) }
    /// ```
    pub fn uid(self, uid: &str) -> Self {
        self.program.set(&self.origins, "uid", |node| {
            *node.uid = Some(uid.to_owned())
        });
        self
    }

    /// How many subtasks the operator has.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).map(|n| n * 2).name("doubled").parallelism(3).print();
    /// let tasks = env.execute("numbers").await?.view.subtasks;
    /// assert_eq!(tasks.iter().filter(|task| task.name.contains("doubled")).count(), 3);
    /// # Ok(()) }
    /// ```
    pub fn parallelism(self, parallelism: u32) -> Self {
        self.program.set(&self.origins, "parallelism", |node| {
            *node.parallelism = Some(parallelism);
        });
        self
    }

    /// One record for each.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let squares = env.from_collection(vec![1, 2, 3]).map(|n| n * n).collect();
    /// env.execute("squares").await?;
    /// assert_eq!(squares.values(), [1, 4, 9]);
    /// # Ok(()) }
    /// ```
    pub fn map<Out, F>(&self, map: F) -> DataStream<Out>
    where
        Out: Record,
        F: Fn(T) -> Out + Clone + Send + Sync + 'static,
    {
        self.add("map", Map::new(map), |_| {})
    }

    /// Only the records for which `keep` holds.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let even = env.from_collection(vec![1, 2, 3, 4]).filter(|n| n % 2 == 0).collect();
    /// env.execute("even").await?;
    /// assert_eq!(even.values(), [2, 4]);
    /// # Ok(()) }
    /// ```
    pub fn filter<F>(&self, keep: F) -> DataStream<T>
    where
        F: Fn(&T) -> bool + Clone + Send + Sync + 'static,
    {
        self.add("filter", Filter::new(keep), |_| {})
    }

    /// Any number of records for each.
    ///
    /// However many one record gives, memory stays bounded and a cancel is heard: they are made as they
    /// are wanted.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let below = env.from_collection(vec![2_u64, 3]).flat_map(|n| 0..n).collect();
    /// env.execute("below").await?;
    /// assert_eq!(below.values(), [0, 1, 0, 1, 2]);
    /// # Ok(()) }
    /// ```
    pub fn flat_map<I, F>(&self, map: F) -> DataStream<I::Item>
    where
        I: IntoIterator + 'static,
        I::IntoIter: Send,
        I::Item: Record,
        F: Fn(T) -> I + Clone + Send + Sync + 'static,
    {
        self.add("flat_map", FlatMap::<T, I, F>::new(map), |_| {})
    }

    /// One record for each, or what `on_error` says: fail the attempt, skip and count, or a side output.
    ///
    /// ```
    /// use rivus::{OnError, Rejected, SideOutputTag};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let refused = SideOutputTag::<Rejected<String>>::new("refused");
    /// let numbers = env
    ///     .from_collection(vec!["7".to_owned(), "seven".to_owned()])
    ///     .try_map(|line| line.parse::<u32>(), OnError::SideOutput(refused.clone()));
    /// let (numbers, refused) = (numbers.collect(), numbers.side_output(&refused).collect());
    /// env.execute("numbers").await?;
    /// assert_eq!(numbers.values(), [7]);
    /// assert_eq!(refused.values()[0].error, "invalid digit found in string");
    /// # Ok(()) }
    /// ```
    pub fn try_map<Out, E, F>(&self, map: F, on_error: OnError<T>) -> DataStream<Out>
    where
        Out: Record,
        E: Into<UserError> + 'static,
        F: Fn(T) -> Result<Out, E> + Clone + Send + Sync + 'static,
    {
        self.add("try_map", TryMap::new(map, on_error), |_| {})
    }

    /// What a [`ProcessFunction`] makes of each record.
    ///
    /// ```
    /// use rivus::{Event, Output, ProcessFunction, UserError};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Says every word twice.
    /// #[derive(Clone)]
    /// struct Echo;
    ///
    /// impl ProcessFunction<String> for Echo {
    ///     type Out = String;
    ///     fn process(&mut self, word: Event<String>, out: &mut Output<'_, String>) -> Result<(), UserError> {
    ///         out.emit(word.value.clone());
    ///         out.emit(word.value);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let heard = env.from_collection(vec!["hey".to_owned()]).process(Echo).collect();
    /// env.execute("echo").await?;
    /// assert_eq!(heard.values(), ["hey", "hey"]);
    /// # Ok(()) }
    /// ```
    ///
    /// It has no timers: those need a key.
    ///
    /// ```compile_fail,E0599
    /// # use rivus::*;
    /// # fn f(stream: DataStream<u32>) {
    /// #[derive(Clone)]
    /// struct Timeout;
    /// impl ProcessFunction<u32> for Timeout {
    ///     type Out = u32;
    ///     fn process(&mut self, event: Event<u32>, out: &mut Output<'_, u32>) -> Result<(), UserError> {
    ///         out.register_event_timer(event.ts + 1_000); // there is no such method: key_by first
    ///         Ok(())
    ///     }
    /// }
    /// # }
    /// ```
    pub fn process<P: ProcessFunction<T>>(&self, function: P) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let operator = ProcessOperator::new(function, sides.clone());
        self.add("process", operator, |node| node.declared = sides)
    }

    /// Gives records their time and makes watermarks. Event-time windows and timers need it before them.
    ///
    /// Records of files and collections have no time of their own: a strategy
    /// [`with_timestamps`](WatermarkStrategy::with_timestamps) finds it. A record without one fails the job.
    ///
    /// ```
    /// use rivus::{WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let clicks = env.from_collection(vec![(7, 59_000), (8, 61_000), (7, 58_000)]); // who, and when
    /// let per_minute = clicks
    ///     .assign_watermarks(
    ///         WatermarkStrategy::bounded_out_of_orderness(Duration::from_secs(5))
    ///             .with_timestamps(|click: &(u32, i64)| click.1),
    ///     )
    ///     .key_by(|click| click.0)
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(60)))
    ///     .count()
    ///     .collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(per_minute.values()[0].value, 2);
    /// # Ok(()) }
    /// ```
    pub fn assign_watermarks<G, S>(&self, strategy: WatermarkStrategy<T, G, S>) -> DataStream<T>
    where
        G: WatermarkGenerator<T>,
        S: TimestampAssigner<T>,
    {
        let alignment = strategy.alignment().cloned();
        let operator = WatermarkOperator::new(strategy);
        self.add("watermarks", operator, |node| {
            node.assigns_watermarks = true;
            node.alignment = alignment;
        })
    }

    /// The records of both.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let even = env.from_collection(vec![2, 4]);
    /// let odd = env.from_collection(vec![1, 3]);
    /// let sum = even.union(&odd).key_by(|_| ()).reduce(|sum, n| *sum += n).collect();
    /// env.execute("sum").await?;
    /// assert_eq!(sum.values().last(), Some(&((), 10)));
    /// # Ok(()) }
    /// ```
    pub fn union(&self, other: &DataStream<T>) -> DataStream<T> {
        self.program.joins(&other.program, "union");
        let origins = [self.origins.as_slice(), other.origins.as_slice()].concat();
        DataStream::new(self.program.clone(), origins)
    }

    /// What the operator added last emits under a tag. An operator that has no such side output is refused
    /// when the job starts, and so is one whose side output nobody reads. Only what a process function writes
    /// isn't known before: the job fails when it writes to a tag that nobody reads.
    ///
    /// ```
    /// use rivus::{Event, Output, ProcessFunction, SideOutputTag, UserError};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// #[derive(Clone)]
    /// struct Split {
    ///     negative: SideOutputTag<i64>,
    /// }
    ///
    /// impl ProcessFunction<i64> for Split {
    ///     type Out = i64;
    ///     fn process(&mut self, n: Event<i64>, out: &mut Output<'_, i64>) -> Result<(), UserError> {
    ///         match n.value {
    ///             n if n < 0 => out.side(&self.negative, n),
    ///             n => out.emit(n),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let negative = SideOutputTag::new("negative");
    /// let numbers = env.from_collection(vec![3, -1, 4]).process(Split { negative: negative.clone() });
    /// let (negative, others) = (numbers.side_output(&negative).collect(), numbers.collect());
    /// env.execute("split").await?;
    /// assert_eq!((negative.values(), others.values()), (vec![-1], vec![3, 4]));
    /// # Ok(()) }
    /// ```
    pub fn side_output<S: Record>(&self, tag: &SideOutputTag<S>) -> DataStream<S> {
        self.program.keep_exchange(&self.origins, "side_output");
        let origins = self
            .origins
            .iter()
            .map(|origin| self.program.side(origin, tag));
        DataStream::new(self.program.clone(), origins.collect())
    }

    /// The next operator's subtasks take turns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection((1..=100).collect::<Vec<u64>>()); // one subtask reads them
    /// let slow = numbers.rebalance().map(|n| n * n).parallelism(2); // two work on them
    /// let squares = slow.collect();
    /// env.execute("squares").await?;
    /// assert_eq!(squares.len(), 100);
    /// # Ok(()) }
    /// ```
    pub fn rebalance(self) -> Self {
        self.exchange(Exchange::Rebalance)
    }

    /// Each of the next operator's subtasks gets every record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let rules = env.from_collection(vec!["no cats".to_owned(), "no dogs".to_owned()]);
    /// let heard = rules.broadcast().map(|rule| rule).parallelism(2).collect();
    /// env.execute("rules").await?;
    /// assert_eq!(heard.len(), 4); // both rules in both subtasks
    /// # Ok(()) }
    /// ```
    pub fn broadcast(self) -> Self {
        self.exchange(Exchange::Broadcast)
    }

    /// The next operator's subtask of the same number takes the records; the parallelism must be equal.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![1, 2, 3]); // in one subtask
    /// numbers.forward().map(|n| n + 1).parallelism(2).print();
    /// let error = env.execute("unequal").await.unwrap_err();
    /// assert!(error.to_string().ends_with("make them equal, or use .rebalance()"));
    /// # Ok(()) }
    /// ```
    pub fn forward(self) -> Self {
        self.exchange(Exchange::Forward)
    }

    pub(crate) fn exchange(mut self, exchange: Exchange) -> Self {
        self.program
            .keep_exchange(&self.origins, &exchange.to_string());
        for origin in &mut self.origins {
            origin.exchange = exchange;
        }
        self
    }

    /// All records of a key to one subtask, where state is kept by key. Makes a key for each record; where
    /// it would be a clone of something in the record, [`key_by_ref`](Self::key_by_ref) is cheaper.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let parities = env.from_collection(vec![1, 2, 3]).key_by(|n| n % 2).count().collect();
    /// env.execute("parities").await?;
    /// assert_eq!(parities.values(), [(1, 1), (0, 1), (1, 2)]);
    /// # Ok(()) }
    /// ```
    pub fn key_by<K, F>(
        &self,
        key: F,
    ) -> KeyedStream<T, impl KeySelector<T, Key = K> + use<T, K, F>>
    where
        K: Key,
        F: Fn(&T) -> K + Clone + Send + Sync + 'static,
    {
        self.key_by_selector(by_value(key), "key_by")
    }

    /// Like [`key_by`](Self::key_by), by something that the record owns: allocates only for a new key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let visits = vec![("/".to_owned(), 200), ("/".to_owned(), 404)];
    /// let views = env.from_collection(visits).key_by_ref(|visit| visit.0.as_str()).count().collect();
    /// env.execute("views").await?;
    /// assert_eq!(views.values().last(), Some(&("/".to_owned(), 2)));
    /// # Ok(()) }
    /// ```
    pub fn key_by_ref<Q, F>(
        &self,
        key: F,
    ) -> KeyedStream<T, impl KeySelector<T, Key = Q::Owned> + use<T, Q, F>>
    where
        Q: ToOwned + Serialize + Ord + ?Sized + 'static,
        Q::Owned: Key,
        F: Fn(&T) -> &Q + Clone + Send + Sync + 'static,
    {
        self.key_by_selector(by_ref(key), "key_by")
    }

    /// By a selector; `what` was called for it.
    pub(crate) fn key_by_selector<S: KeySelector<T>>(
        &self,
        selector: S,
        what: &str,
    ) -> KeyedStream<T, S> {
        let by = selector.clone();
        let route = Arc::new(HashBy::<T, _>::new(move |value: &T| by.hash(value)));
        let edges = self.program.keyed_edges(&self.origins, route, what);
        KeyedStream::new(self.program.clone(), edges, selector)
    }

    /// Sends the stream to a sink. Two sinks of a job that would write to the same files are refused.
    ///
    /// ```
    /// use rivus::connectors::FileSink;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let dir = tempfile::tempdir()?;
    /// # let out = dir.path().join("squares");
    /// env.from_collection(vec![1, 4, 9]).sink_to(FileSink::lines(&out));
    /// let job = env.execute("squares").await?.view.job;
    /// let part = out.join(format!("part-{}-0-0.txt", job.short()));
    /// assert_eq!(std::fs::read_to_string(part)?, "1\n4\n9\n");
    /// # Ok(()) }
    /// ```
    pub fn sink_to<S: Sink<In = T>>(&self, sink: S) -> SinkHandle {
        SinkHandle(self.add("sink", SinkOperator::new(sink), |_| {}))
    }

    /// Collects the stream in memory, exactly once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![1, 2, 3]).collect();
    /// assert!(numbers.is_empty()); // nothing has run yet
    /// env.execute("numbers").await?;
    /// assert_eq!(numbers.values(), [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    pub fn collect(&self) -> Collected<T> {
        let sink = CollectSink::new();
        let collected = sink.collected();
        let _ = self.sink_to(sink).name("collect");
        collected
    }

    /// Prints every record to standard output; after a failure some are printed again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![1, 2, 3]).map(|n| format!("{n} squared is {}", n * n)).print();
    /// env.execute("squares").await?;
    /// # Ok(()) }
    /// ```
    pub fn print(&self) -> SinkHandle
    where
        T: Display,
    {
        self.sink_to(PrintSink::display()).name("print")
    }

    /// Like [`print`](Self::print), in debug form.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// env.from_collection(vec![(1, 1), (2, 4), (3, 9)]).print_debug();
    /// env.execute("squares").await?;
    /// # Ok(()) }
    /// ```
    pub fn print_debug(&self) -> SinkHandle
    where
        T: Debug,
    {
        self.sink_to(PrintSink::debug()).name("print")
    }
}

impl<T: Record> DataStream<Parsed<T>> {
    /// The lines that could be parsed; the others go to a side output of the stream that this returns, which
    /// somebody must read. It is done where the lines are read, and by as many subtasks: lines of one file stay in their order.
    ///
    /// ```
    /// use rivus::connectors::{BadLine, TextFileSource};
    /// use rivus::{SideOutputTag, StreamEnvironment};
    ///
    /// let env = StreamEnvironment::default();
    /// let bad: SideOutputTag<BadLine> = SideOutputTag::new("bad lines");
    /// let source = TextFileSource::new("numbers.txt").parsed_by(str::parse::<u32>).collecting_bad_lines();
    /// let numbers = env.from_source(source).bad_lines_to(&bad);
    /// numbers.side_output(&bad).print_debug();
    /// ```
    pub fn bad_lines_to(&self, tag: &SideOutputTag<BadLine>) -> DataStream<T> {
        let sides = SideOutputs::new();
        let split = SplitParsed { bad: tag.clone() };
        let operator = ProcessOperator::<Parsed<T>, _>::new(split, sides.clone()).writing_to(tag);
        let parsed = self.add("parsed", operator, |node| node.declared = sides);
        match self.program.parallelism_of(&self.origins) {
            Some(parallelism) => parsed.parallelism(parallelism),
            None => parsed,
        }
    }
}

/// Tells parsed lines from bad ones.
#[derive(Clone)]
struct SplitParsed {
    bad: SideOutputTag<BadLine>,
}

impl<T: Record> ProcessFunction<Parsed<T>> for SplitParsed {
    type Out = T;

    fn process(
        &mut self,
        event: Event<Parsed<T>>,
        out: &mut Output<'_, T>,
    ) -> Result<(), UserError> {
        match event.value {
            Parsed::Ok(value) => out.emit(value),
            Parsed::Bad(line) => out.side(&self.bad, line),
        }
        Ok(())
    }
}

/// A sink that was added, for its settings: a stream of nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// env.from_collection(vec![1, 2, 3]).print().name("screen").uid("screen-v1").parallelism(1);
/// let result = env.execute("numbers").await?;
/// assert!(result.view.subtasks.iter().any(|task| task.name.contains("screen")));
/// # Ok(()) }
/// ```
pub struct SinkHandle(pub(crate) DataStream<()>);

impl SinkHandle {
    /// The sink's name, for people.
    pub fn name(self, name: &str) -> Self {
        Self(self.0.name(name))
    }

    /// The sink's stable name, by which its state is found again.
    pub fn uid(self, uid: &str) -> Self {
        Self(self.0.uid(uid))
    }

    /// How many subtasks write.
    pub fn parallelism(self, parallelism: u32) -> Self {
        Self(self.0.parallelism(parallelism))
    }
}
