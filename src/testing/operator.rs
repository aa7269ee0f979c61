//! One operator, or a chain of them, to be tested by itself.

use std::sync::Arc;

use rivus_core::{
    DEFAULT_MAX_PARALLELISM, Either, Failure, ManualClock, ParallelInstance, Record, Timestamp,
};
use rivus_operators::SideOutputTag;
use rivus_operators::testing::{Backend, CaptureFactory, Harness, HarnessSettings, Show, steps};
use rivus_state::StateBackend;

use super::expected::difference;
use super::inlets::{ToInlet, inlet, to_one, to_two};
use super::running::{RunningOperator, Snapshot};
use super::streams::{RunningStreams, Streams, Write};
use super::words::{Words, in_debug_form, reads_and_shows};
use crate::error::JobError;
use crate::program::Program;
use crate::stream::{DataStream, SinkHandle};

/// What a test's streams end in: a stream, or a sink.
pub trait Tested {
    /// The records that come out.
    type Out: Record;

    /// The stream.
    fn into_stream(self) -> DataStream<Self::Out>;
}

impl<T: Record> Tested for DataStream<T> {
    type Out = T;

    fn into_stream(self) -> Self {
        self
    }
}

impl Tested for SinkHandle {
    type Out = ();

    fn into_stream(self) -> DataStream<()> {
        self.0
    }
}

/// One operator, or a chain of operators in one subtask, that is driven by hand: without actors, threads or time of its own,
/// but with the engine's own routers, state, snapshots and timers.
///
/// It is made of what a program calls, from a stream to a stream or a sink. The calls may be anything behind which no records
/// cross to other subtasks.
///
/// **By pictures**: a line of what happens, a line of what comes out, in the words of [`testing`](crate::testing). Every picture is
/// tried in memory and over a store, with outputs that have no credit now and then.
///
/// ```
/// use rivus::DataStream;
/// use rivus::testing::OperatorTest;
///
/// type Order = (String, u64);
///
/// fn totals(orders: &DataStream<Order>) -> DataStream<Order> {
///     orders.key_by_ref(|order| order.0.as_str()).sum(|order| order.1)
/// }
///
/// OperatorTest::of(totals)
///     .reads(|word| {
///         let (who, cents) = word.split_once('=').unwrap();
///         (who.to_owned(), cents.parse().unwrap())
///     })
///     .shows(|(who, cents)| format!("{who}={cents}"))
///     // The last record before the crash is undone, and comes again.
///     .check("ann=5@1 bob=2@2 | ann=1@3 x bob=3@4", "ann=5@1 bob=2@2 | ann=6@3 bob=5@4");
/// ```
///
/// **Step by step**: see [`RunningOperator`].
///
/// ```
/// use rivus::Event;
/// # use rivus::DataStream;
/// # use rivus::testing::OperatorTest;
/// # fn totals(orders: &DataStream<(String, u64)>) -> DataStream<(String, u64)> {
/// #     orders.key_by_ref(|order| order.0.as_str()).sum(|order| order.1)
/// # }
///
/// let test = OperatorTest::of(totals);
/// let mut totals = test.start()?;
/// totals.push(1, ("ann".to_owned(), 5))?;
/// totals.push(2, ("ann".to_owned(), 2))?;
/// assert_eq!(totals.output()[1], Event::at(2, ("ann".to_owned(), 7)));
/// assert_eq!(totals.state::<str, u64>("ann")?, Some(7));
/// # Ok::<(), rivus::Failure>(())
/// ```
pub struct OperatorTest<'a, In, Out> {
    streams: Streams<'a, In, Out>,
    settings: HarnessSettings,
    starts_at: Timestamp,
}

impl<'a, In: Record, Out: Record> OperatorTest<'a, In, Out> {
    /// Of what is made of one stream.
    pub fn of<R: Tested<Out = Out>>(made: impl Fn(&DataStream<In>) -> R + 'a) -> Self {
        let write = move |program: &Program| made(&inlet(program)).into_stream();
        Self::new(Box::new(write), to_one)
    }
}

impl<'a, A: Record, B: Record, Out: Record> OperatorTest<'a, Either<A, B>, Out> {
    /// Of what is made of two streams. A picture's `reads` says of which a record is; so does
    /// [`push_first`](RunningOperator::push_first).
    ///
    /// ```
    /// use rivus::testing::OperatorTest;
    /// use rivus::{DataStream, Either};
    ///
    /// OperatorTest::of_two(|numbers: &DataStream<u32>, words: &DataStream<String>| {
    ///     numbers.connect(words).map(|n| n.to_string(), |word| word)
    /// })
    /// .reads(|word| match word.parse() {
    ///     Ok(number) => Either::First(number),
    ///     Err(_) => Either::Second(word.to_owned()),
    /// })
    /// .shows(String::clone)
    /// .check("1@1 two@2 !5", "1@1 two@2 !5");
    /// ```
    pub fn of_two<R: Tested<Out = Out>>(
        made: impl Fn(&DataStream<A>, &DataStream<B>) -> R + 'a,
    ) -> Self {
        let write = move |program: &Program| {
            let (first, second) = (inlet(program), inlet(program));
            made(&first, &second).into_stream()
        };
        Self::new(Box::new(write), to_two)
    }
}

/// What is tried with a seed.
fn variant(seed: u64) -> String {
    let rows = if seed % 2 == 1 {
        "over a store"
    } else {
        "in memory"
    };
    let credit = if seed == 0 {
        "that always have credit"
    } else {
        "that have none now and then"
    };
    format!("with seed {seed}, rows {rows}, outputs {credit}")
}

impl<'a, In: Record, Out: Record> OperatorTest<'a, In, Out> {
    fn new(write: Write<'a, Out>, deal: fn(Vec<rivus_core::Event<In>>) -> Vec<ToInlet>) -> Self {
        Self {
            streams: Streams {
                write,
                deal,
                words: Words::new(),
                sides: Vec::new(),
                max_parallelism: DEFAULT_MAX_PARALLELISM,
            },
            settings: HarnessSettings::default(),
            starts_at: 0,
        }
    }

    reads_and_shows!(streams.words);

    /// Reads a side output of the stream's last operator. In pictures its tag's name stands before its words: `late:a@1`.
    #[must_use]
    pub fn side_output<S: Record>(self, tag: &SideOutputTag<S>) -> Self {
        self.side_output_shown(tag, in_debug_form)
    }

    /// The same, with words of its own.
    #[must_use]
    pub fn side_output_shown<S: Record>(
        mut self,
        tag: &SideOutputTag<S>,
        show: impl Fn(&S) -> String + Send + Sync + 'static,
    ) -> Self {
        let (tag, show): (_, Show<S>) = (tag.clone(), Arc::new(show));
        self.streams.sides.push(Arc::new(move |stream, log, seed| {
            let capture = CaptureFactory::new(Some(tag.name()), Arc::clone(&show), log, seed);
            let _: DataStream<()> = stream.side_output(&tag).add("side output", capture, |_| {});
        }));
        self
    }

    /// How many subtasks the operator has; default 1. What the program says of it doesn't count here.
    #[must_use]
    pub fn parallelism(mut self, parallelism: u32) -> Self {
        self.settings.parallelism = parallelism;
        self
    }

    /// Number of key groups; default 128. The order in which timers of one time fire follows from it.
    #[must_use]
    pub fn max_parallelism(mut self, max_parallelism: u32) -> Self {
        self.settings.max_parallelism = max_parallelism;
        self.streams.max_parallelism = max_parallelism;
        self
    }

    /// What the clock shows in the beginning, in milliseconds since the epoch; default 0.
    #[must_use]
    pub fn starts_at(mut self, unix_millis: Timestamp) -> Self {
        self.starts_at = unix_millis;
        self
    }

    /// Outputs have no credit now and then, by a seed other than 0. With an odd one rows lie in a store. With 3, 7, 11 .. a
    /// snapshot is made of its files, if there is one subtask and there are as many bytes as the backend makes files of.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Where rows lie with odd seeds, with the backend's own memory. Without it, that is a stand-in in memory, with room
    /// for hardly a row above it.
    ///
    /// ```
    /// # use rivus::testing::OperatorTest;
    /// # use rivus::{DataStream, RocksDbBackend};
    /// # let dir = tempfile::tempdir()?;
    /// let rocks = RocksDbBackend::new(dir.path())?.memory(1 << 20).files_from(0);
    /// OperatorTest::of(|words: &DataStream<String>| words.key_by_ref(|word| word.as_str()).distinct())
    ///     .reads(str::to_owned)
    ///     .shows(String::clone)
    ///     .state_backend(rocks)
    ///     .check("a@1 b@2 | a@3 x a@4", "a@1 b@2 |");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn state_backend(mut self, backend: impl StateBackend + 'static) -> Self {
        let job = ParallelInstance::ALONE.job;
        self.settings.backend = Backend(Arc::new(move |attempt| backend.stores(job, attempt)));
        self
    }

    /// The operator as it starts, to be driven step by step.
    ///
    /// # Errors
    /// If the program is refused, or whatever keeps the operator from starting.
    pub fn start(&self) -> Result<RunningOperator<'_, In, Out>, Failure> {
        self.begin(self.settings.seed, None)
    }

    /// The operator as it goes on from a snapshot, which may have been taken at another parallelism and of another program.
    ///
    /// # Errors
    /// As [`start`](Self::start), and if state can't be read.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<RunningOperator<'_, In, Out>, Failure> {
        self.begin(self.settings.seed, Some(snapshot))
    }

    fn begin(
        &self,
        seed: u64,
        from: Option<&Snapshot>,
    ) -> Result<RunningOperator<'_, In, Out>, Failure> {
        let refused = |error: JobError| Failure::job(error.to_string());
        let settings = HarnessSettings {
            seed,
            clock: Arc::new(ManualClock::starting_at(self.starts_at)),
            ..self.settings.clone()
        };
        let plan = RunningStreams::new(&self.streams, settings.parallelism).map_err(refused)?;
        let operator = plan.operator();
        let from = from.map(|snapshot| &snapshot.0);
        let harness = Harness::start(Box::new(plan), settings, from)?;
        Ok(RunningOperator::new(harness, operator))
    }

    /// What a picture gives, with outputs and a backend of a seed.
    ///
    /// # Errors
    /// Whatever fails the operator.
    ///
    /// # Panics
    /// If a word means nothing, or nobody [`reads`](Self::reads) records.
    #[track_caller]
    pub fn play(&self, picture: &str, seed: u64) -> Result<String, Failure> {
        let read = self.streams.words.reader();
        let mut running = self.begin(seed, None)?;
        running.harness.play(steps(picture, read))?;
        Ok(running.harness.log.words().join(" "))
    }

    /// Checks what a picture gives: in memory and over a store, with outputs that always have credit and others. Records between `{` and
    /// `}` are expected in any order:
    ///
    /// ```
    /// # use rivus::testing::OperatorTest;
    /// # use rivus::{DataStream, WindowAssigner};
    /// # use std::time::Duration;
    /// let tens = WindowAssigner::tumbling(Duration::from_millis(10));
    /// OperatorTest::of(|words: &DataStream<String>| words.key_by_ref(|word| word.as_str()).window(tens.clone()).count())
    ///     .reads(str::to_owned)
    ///     .shows(|window| format!("{}={}", window.key, window.value))
    ///     .check("a@1 b@2 a@9 b@12 !9 !max", "{ a=2@9 b=1@9 } !9 b=1@19 !max");
    /// ```
    ///
    /// # Panics
    /// If something else comes out, or the operator fails.
    #[track_caller]
    pub fn check(&self, picture: &str, expected: &str) -> &Self {
        for seed in 0..4 {
            let with = variant(seed);
            match self.play(picture, seed) {
                Ok(came) => {
                    if let Some(told) = difference(&came, expected) {
                        panic!("not what is expected of the picture {picture}\n{with}:\n{told}");
                    }
                }
                Err(failure) => panic!("the picture {picture} failed\n{with}:\n{failure}"),
            }
        }
        self
    }

    /// Checks that a picture fails, and that the message says so.
    ///
    /// # Panics
    /// If it doesn't fail, or otherwise.
    #[track_caller]
    pub fn check_fails(&self, picture: &str, message: &str) -> &Self {
        let seed = self.settings.seed;
        match self.play(picture, seed) {
            Ok(came) => panic!("the picture {picture} didn't fail: {came}"),
            Err(failure) => {
                let told = failure.to_string();
                assert!(
                    told.contains(message),
                    "the picture {picture} failed otherwise\n{}:\n  came out  {told}\n  expected  {message}",
                    variant(seed)
                );
            }
        }
        self
    }
}
