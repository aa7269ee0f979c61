//! Streams by key and window.

use std::sync::Arc;
use std::time::Duration;

use rivus_core::Record;
use rivus_operators::{
    AggregateFunction, Count, EndTrigger, Evicting, Evictor, KeySelector, MaybeEvictor,
    SideOutputTag, Trigger, WindowAssigner, WindowFunction, WindowLogic, WindowOperator, Windowed,
};

use crate::connected::sent_by;
use crate::keyed::KeyedStream;
use crate::stream::DataStream;

/// A stream gathered by key in windows.
///
/// By event time a window emits when the watermark reaches its end, and again for each record that comes within the
/// allowed lateness. What comes later goes to the late side output, or is counted. Windows may also be cut
/// [by processing time](WindowAssigner::processing_time), be [sessions](WindowAssigner::session), or
/// [have no end](WindowAssigner::global); and a [trigger](Self::trigger) may have them emit at other times.
///
/// Results have the time of their window's last millisecond; those of global windows, and so of windows by count, the
/// time of the record or timer that made them fire.
///
/// `G` is their trigger, `E` whether they [have an evictor](Self::evictor).
///
/// ```
/// use rivus::{Event, WatermarkStrategy, WindowAssigner};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// let readings = vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)];
/// let per_second = env
///     .from_events(readings)
///     .assign_watermarks(WatermarkStrategy::monotonous())
///     .key_by(|_| "kitchen".to_owned())
///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
///     .reduce(|hottest, reading| *hottest = reading.max(*hottest))
///     .collect();
/// env.execute("temperatures").await?;
/// let per_second = per_second.values();
/// assert_eq!((per_second[0].window.start, per_second[0].value), (0, 24));
/// assert_eq!((per_second[1].window.start, per_second[1].value), (1_000, 25));
/// # Ok(()) }
/// ```
#[must_use = "windows do nothing until something is made of them"]
pub struct WindowedStream<T, S, G = EndTrigger, E = ()> {
    pub(crate) windows: Windows<T, S>,
    pub(crate) trigger: Option<G>,
    pub(crate) evictor: E,
}

/// What is said of windows beside their trigger and evictor.
pub(crate) struct Windows<T, S> {
    pub(crate) keyed: KeyedStream<T, S>,
    pub(crate) assigner: WindowAssigner,
    gap_by: Option<GapBy<T>>,
    lateness: Duration,
    late: Option<SideOutputTag<T>>,
    is_single: bool,
    /// Whether the program says if records are gathered before the exchange.
    pre_aggregate: Option<bool>,
}

impl<T: Record, S: KeySelector<T>> Windows<T, S> {
    /// Has an operator do as is said.
    pub(crate) fn set<L: WindowLogic<S::Key, In = T>>(
        &self,
        operator: WindowOperator<T, S, L>,
    ) -> WindowOperator<T, S, L> {
        let mut operator = operator.allowed_lateness(self.lateness);
        if let Some(gap) = self.gap_by.clone() {
            operator = operator.gap_by(move |record| gap(record));
        }
        if let Some(tag) = self.late.clone() {
            operator = operator.late_output(tag);
        }
        if self.is_single {
            operator = operator.single();
        }
        operator
    }
}

/// Said where the program asks for what can't be.
const CANT_PRE_AGGREGATE: &str = "records can't be gathered before the exchange here: leave .pre_aggregate(true) out, or take windows of a \
     fixed size or sessions of one gap, by event time without trigger, evictor and late output, and .aggregate(..) or \
     .reduce_associative(..)";

type GapBy<T> = Arc<dyn Fn(&T) -> Duration + Send + Sync>;

impl<T: Record, S: KeySelector<T>> WindowedStream<T, S> {
    pub(crate) fn new(keyed: KeyedStream<T, S>, assigner: WindowAssigner) -> Self {
        Self {
            windows: Windows {
                keyed,
                assigner,
                gap_by: None,
                lateness: Duration::ZERO,
                late: None,
                is_single: false,
                pre_aggregate: None,
            },
            trigger: None,
            evictor: (),
        }
    }

    /// All records are of one key.
    pub(crate) fn single(mut self) -> Self {
        self.windows.is_single = true;
        self
    }
}

impl<T: Record, S: KeySelector<T>, E> WindowedStream<T, S, EndTrigger, E> {
    /// When windows emit, instead of at their end: one of the ready-made triggers ([`CountTrigger`](crate::CountTrigger),
    /// [`ContinuousEventTimeTrigger`](crate::ContinuousEventTimeTrigger), [`PurgingTrigger`](crate::PurgingTrigger) ..)
    /// or a [`Trigger`] of your own.
    ///
    /// ```
    /// use rivus::{ContinuousEventTimeTrigger, Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// # use rivus::connectors::GeneratorSource;
    /// # let clicks = env
    /// #     .from_source(GeneratorSource::new(|n, _| [100, 900, 1_200, 9_000][n as usize]).count(4).rate(1))
    /// #     .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms));
    /// // Clicks at 100, 900, 1200 and 9000 ms. Of every ten seconds: what has come so far, every second of event time. The
    /// // third click shows that the first second is over, and is among what has come.
    /// let so_far = clicks
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(10)))
    ///     .trigger(ContinuousEventTimeTrigger::every(Duration::from_secs(1)))
    ///     .count()
    ///     .map(|clicks| clicks.value)
    ///     .collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(so_far.values(), [3, 4]);
    /// # Ok(()) }
    /// ```
    pub fn trigger<G: Trigger<T>>(self, trigger: G) -> WindowedStream<T, S, G, E> {
        WindowedStream {
            windows: self.windows,
            trigger: Some(trigger),
            evictor: self.evictor,
        }
    }
}

impl<T: Record, S: KeySelector<T>, G: Trigger<T>, E> WindowedStream<T, S, G, E> {
    /// Which of a window's records count when it emits: [`CountEvictor`](crate::CountEvictor),
    /// [`TimeEvictor`](crate::TimeEvictor), [`DeltaEvictor`](crate::DeltaEvictor), or an [`Evictor`] of your own. All
    /// records of a window are then kept until it ends.
    ///
    /// ```
    /// use rivus::{CountEvictor, Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(300, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    /// let last_two = readings // 20, 24 and 25 within a second
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .evictor(CountEvictor::keep(2))
    ///     .reduce(|sum, reading| *sum += reading)
    ///     .collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(last_two.values()[0].value, 24 + 25);
    /// # Ok(()) }
    /// ```
    pub fn evictor(self, evictor: impl Evictor<T>) -> WindowedStream<T, S, G, Evicting<T>> {
        WindowedStream {
            windows: self.windows,
            trigger: self.trigger,
            evictor: Evicting::by(evictor),
        }
    }
}

impl<T, S, G, E> WindowedStream<T, S, G, E>
where
    T: Record,
    S: KeySelector<T>,
    G: Trigger<T>,
    E: MaybeEvictor<T>,
{
    /// For how long a session stays open after a record, by a function of the record.
    ///
    /// ```
    /// use rivus::{Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// // Who reads an article stays longer than who looks at the front page.
    /// let visits = env
    ///     .from_events(vec![Event::at(0, "article"), Event::at(9_000, "front"), Event::at(12_000, "front")]
    ///         .into_iter().map(|page| page.map(str::to_owned)).collect())
    ///     .assign_watermarks(WatermarkStrategy::monotonous())
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::session(Duration::from_secs(1)))
    ///     .gap_by(|page: &String| Duration::from_secs(if page == "article" { 10 } else { 1 }))
    ///     .count()
    ///     .map(|visit| visit.value)
    ///     .collect();
    /// env.execute("visits").await?;
    /// assert_eq!(visits.values(), [2, 1]);
    /// # Ok(()) }
    /// ```
    pub fn gap_by(mut self, gap: impl Fn(&T) -> Duration + Send + Sync + 'static) -> Self {
        self.windows.gap_by = Some(Arc::new(gap));
        self
    }

    /// For how much longer a window takes records after it has fired.
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// let seconds = env
    ///     .from_source(GeneratorSource::new(|n, _| [1_000, 9_000, 1_500][n as usize]).count(3).rate(1))
    ///     .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .allowed_lateness(Duration::from_secs(10))
    ///     .count()
    ///     .map(|clicks| (clicks.window.start, clicks.value))
    ///     .collect();
    /// env.execute("clicks").await?;
    /// assert_eq!(seconds.values(), [(1_000, 1), (1_000, 2), (9_000, 1)]); // the first window, mended
    /// # Ok(()) }
    /// ```
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.windows.lateness = lateness;
        self
    }

    /// Where records go that are too late for all of their windows; it must be read with
    /// [`DataStream::side_output`] on the stream of results.
    ///
    /// ```
    /// use rivus::connectors::GeneratorSource;
    /// use rivus::{SideOutputTag, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::builder().runtime(rivus::RuntimeMode::Current).build();
    /// let late = SideOutputTag::new("late");
    /// let seconds = env
    ///     .from_source(GeneratorSource::new(|n, _| [1_000, 9_000, 1_500][n as usize]).count(3).rate(1))
    ///     .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|ms: &i64| *ms))
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .late_output(&late)
    ///     .count();
    /// let (late, seconds) = (seconds.side_output(&late).collect(), seconds.collect());
    /// env.execute("clicks").await?;
    /// assert_eq!((late.values(), seconds.len()), (vec![1_500], 2));
    /// # Ok(()) }
    /// ```
    pub fn late_output(mut self, tag: &SideOutputTag<T>) -> Self {
        self.windows.late = Some(tag.clone());
        self
    }

    /// Whether records are gathered by key and pane where they come from, so that one record for each travels to where the key is
    /// at home, instead of all of them. Nothing else changes: results, state and savepoints are the same.
    ///
    /// In a cluster of several processes it is done unless you say no, wherever that can't be told from the results: windows of a fixed size by event time with
    /// neither trigger nor evictor nor late output, and an aggregate that
    /// [says so](AggregateFunction::can_pre_aggregate), as the ready-made ones do. Ask for it to have it within one process, too, where
    /// it pays if few keys have most of the records or state is in RocksDB, or for an aggregate of your own that doesn't say it; whatever
    /// else can't do it is refused.
    ///
    /// Sessions of one gap are gathered only if you ask: those records of a key that come between two watermarks and within the gap of one
    /// another. An aggregate for which the order of merging counts may tell: what is gathered is merged into a session as one. And right after a source was idle, or after
    /// a restore at another parallelism or with other watermarks, records that are too late by themselves may be taken in with others.
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
    /// let counts = per_second.pre_aggregate(false).count().map(|second| second.value).collect();
    /// env.execute("readings").await?;
    /// assert_eq!(counts.values(), [2, 1]);
    /// # Ok(()) }
    /// ```
    pub fn pre_aggregate(mut self, pre_aggregate: bool) -> Self {
        self.windows.pre_aggregate = Some(pre_aggregate);
        self
    }

    fn add<L: WindowLogic<S::Key, In = T>>(
        self,
        operator: WindowOperator<T, S, L>,
    ) -> DataStream<Windowed<S::Key, L::Out>> {
        let Self {
            windows,
            trigger,
            evictor,
        } = self;
        let operator = windows.set(operator).evictor(evictor);
        let needs = windows.assigner.needs_watermarks();
        let is_asked = windows.pre_aggregate == Some(true);
        let is_possible = trigger.is_none() && windows.pre_aggregate != Some(false);
        let pre_aggregated = is_possible.then(|| operator.pre_aggregated(is_asked));
        let pre_aggregated = pre_aggregated.flatten();
        if is_asked && pre_aggregated.is_none() {
            windows.keyed.program.mistake(CANT_PRE_AGGREGATE.to_owned());
        }
        let stream = match (pre_aggregated, trigger) {
            // To the program it is one operator on the same edges.
            (Some((before, behind)), _) => {
                let edges = sent_by(&windows.keyed.edges, before);
                KeyedStream::new(windows.keyed.program, edges, windows.keyed.selector).add(
                    "window",
                    behind,
                    |node| node.needs_watermarks = needs,
                )
            }
            (None, None) => windows
                .keyed
                .add("window", operator, |node| node.needs_watermarks = needs),
            (None, Some(trigger)) => {
                let needs = needs || trigger.needs_watermarks();
                let operator = operator.trigger(trigger);
                windows
                    .keyed
                    .add("window", operator, |node| node.needs_watermarks = needs)
            }
        };
        match windows.is_single {
            true => stream.parallelism(1),
            false => stream,
        }
    }

    /// Aggregates each window. Windows of a fixed size by event time are kept by pane, so that a sliding one costs per
    /// slide, not per window.
    ///
    /// ```
    /// use rivus::{Avg, Count, Event, WatermarkStrategy, WindowAssigner};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// let per_second = readings
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .aggregate((Count::new(), Avg::of(|degrees: &i32| f64::from(*degrees))))
    ///     .map(|second| second.value)
    ///     .collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(per_second.values(), [(2, 22.0), (1, 25.0)]);
    /// # Ok(()) }
    /// ```
    pub fn aggregate<A: AggregateFunction<In = T>>(
        self,
        function: A,
    ) -> DataStream<Windowed<S::Key, A::Out>> {
        let operator = WindowOperator::aggregate(
            self.windows.keyed.selector.clone(),
            self.windows.assigner,
            function,
        );
        self.add(operator)
    }

    /// How many records each window has.
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
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1))).count();
    /// let counts = per_second.map(|second| second.value).collect();
    /// env.execute("readings").await?;
    /// assert_eq!(counts.values(), [2, 1]);
    /// # Ok(()) }
    /// ```
    pub fn count(self) -> DataStream<Windowed<S::Key, u64>> {
        self.aggregate(Count::new())
    }

    /// Folds a window's records into the first of them, in the order in which they come. Windows that overlap do so each
    /// by itself, which costs every record one update of each window that it lies in; where the fold is associative,
    /// [`reduce_associative`](Self::reduce_associative) costs one in all. Sessions that become one are folded as if the
    /// result of the later one were a record, so that of sessions the fold must be associative.
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
    /// let hottest = readings
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::tumbling(Duration::from_secs(1)))
    ///     .reduce(|hottest, reading| *hottest = reading.max(*hottest))
    ///     .map(|second| second.value)
    ///     .collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(hottest.values(), [24, 25]);
    /// # Ok(()) }
    /// ```
    pub fn reduce<F>(self, fold: F) -> DataStream<Windowed<S::Key, T>>
    where
        F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let selector = self.windows.keyed.selector.clone();
        let operator = WindowOperator::reduce(selector, self.windows.assigner, fold);
        self.add(operator)
    }

    /// As [`reduce`](Self::reduce), with a fold for which it makes no difference in which pairs it is done: what was folded
    /// of some records is folded as if it were a record. Windows by event time that overlap share what they have in common.
    ///
    /// `max` is such a fold, and so is `+`. `|far, next| *far = far.abs_diff(next)` isn't: of 1, 2 and 4 it makes
    /// 3 one after the other, and 1 if 2 and 4 are folded first.
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
    /// let hottest_of_two_seconds = readings
    ///     .key_by(|_| ())
    ///     .window(WindowAssigner::sliding(Duration::from_secs(2), Duration::from_secs(1)))
    ///     .reduce_associative(|hottest, reading| *hottest = reading.max(*hottest))
    ///     .map(|seconds| seconds.value)
    ///     .collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(hottest_of_two_seconds.values(), [24, 25, 25]);
    /// # Ok(()) }
    /// ```
    pub fn reduce_associative<F>(self, fold: F) -> DataStream<Windowed<S::Key, T>>
    where
        F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
    {
        let selector = self.windows.keyed.selector.clone();
        let operator = WindowOperator::reduce(selector, self.windows.assigner, fold);
        self.add(operator.associative())
    }

    /// What a [`WindowFunction`] makes of all records of a window, which are kept until it fires.
    ///
    /// ```
    /// use rivus::{Event, UserError, WatermarkStrategy, Window, WindowAssigner, WindowFunction};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// # let readings = env
    /// #     .from_events(vec![Event::at(100, 20), Event::at(200, 24), Event::at(1_500, 25)])
    /// #     .assign_watermarks(WatermarkStrategy::monotonous());
    ///
    /// /// The middle one of a window's readings.
    /// #[derive(Clone)]
    /// struct Median;
    ///
    /// impl WindowFunction<(), i32> for Median {
    ///     type Out = i32;
    ///     fn apply(
    ///         &mut self, _key: &(), _window: Window, mut readings: Vec<i32>, out: &mut Vec<i32>,
    ///     ) -> Result<(), UserError> {
    ///         readings.sort();
    ///         out.push(readings[readings.len() / 2]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let per_second = readings.key_by(|_| ()).window(WindowAssigner::tumbling(Duration::from_secs(1)));
    /// let medians = per_second.process(Median).map(|second| second.value).collect();
    /// env.execute("temperatures").await?;
    /// assert_eq!(medians.values(), [24, 25]);
    /// # Ok(()) }
    /// ```
    pub fn process<P: WindowFunction<S::Key, T>>(
        self,
        function: P,
    ) -> DataStream<Windowed<S::Key, P::Out>> {
        let selector = self.windows.keyed.selector.clone();
        let operator = WindowOperator::process(selector, self.windows.assigner, function);
        self.add(operator)
    }
}
