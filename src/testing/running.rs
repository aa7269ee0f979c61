//! An operator under test, while it runs.

use std::marker::PhantomData;
use std::time::Duration;

use rivus_core::{
    Asked, Clock, Control, Either, Event, Failure, KeyTimers, OperatorUid, Record, StateAnswer,
    StateQuery, SubtaskFigures, Timestamp, codec,
};
use rivus_operators::SideOutputTag;
use rivus_operators::testing::{Harness, Saved};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A checkpoint of an operator under test: what each of its subtasks wrote.
#[derive(Debug, Clone)]
pub struct Snapshot(pub(super) Saved);

impl Snapshot {
    /// How far event time had got.
    pub fn watermark(&self) -> Timestamp {
        self.0.watermark
    }

    /// Bytes of it.
    pub fn bytes(&self) -> usize {
        self.0.snapshots.iter().map(|bytes| bytes.len()).sum()
    }
}

/// An operator of an [`OperatorTest`](super::OperatorTest) that runs. Nothing happens but what it is told, and all of that
/// has happened when a call returns.
///
/// ```
/// use rivus::testing::OperatorTest;
/// use rivus::{DataStream, Event, Keyed, KeyedProcessFunction, Output, Timer, UserError, ValueState};
/// use std::time::Duration;
///
/// /// Says of a key that was silent for a minute how many records it had.
/// #[derive(Clone)]
/// struct Silence;
///
/// impl KeyedProcessFunction<u32, u32> for Silence {
///     type Out = (u32, u64);
///     type State = ValueState<u64>;
///
///     fn process(
///         &mut self, _: Event<u32>, count: &mut Keyed<'_, u32, Self::State>, _: &mut Output<'_, (u32, u64)>,
///     ) -> Result<(), UserError> {
///         *count.get_or_default() += 1;
///         let at = count.processing_time() + 60_000;
///         count.register_processing_timer(at);
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, timer: Timer, count: &mut Keyed<'_, u32, Self::State>, out: &mut Output<'_, (u32, u64)>,
///     ) -> Result<(), UserError> {
///         out.emit((*count.key(), count.take().unwrap_or(0)));
///         Ok(())
///     }
/// }
///
/// let test = OperatorTest::of(|numbers: &DataStream<u32>| numbers.key_by(|n| *n).process(Silence));
/// let mut silence = test.start()?;
/// silence.push(0, 7)?;
/// assert_eq!(silence.timers(&7_u32)?.processing, [60_000]);
/// let snapshot = silence.checkpoint()?;
///
/// silence.advance(Duration::from_secs(59))?;
/// assert_eq!(silence.output(), []);
/// silence.advance(Duration::from_secs(1))?;
/// assert_eq!(silence.output(), [Event::at(60_000, (7, 1))]);
/// assert_eq!(silence.state::<_, ValueState<u64>>(&7_u32)?, None);
///
/// silence.crash()?; // what came out since the checkpoint has never been
/// assert_eq!(silence.output(), []);
/// let state: Option<ValueState<u64>> = silence.state(&7_u32)?;
/// assert_eq!(state.and_then(|mut count| count.take()), Some(1));
///
/// // Key groups are dealt to three subtasks.
/// let three = OperatorTest::of(|numbers: &DataStream<u32>| numbers.key_by(|n| *n).process(Silence)).parallelism(3);
/// let mut three = three.restore(&snapshot)?;
/// three.push(0, 7)?;
/// three.advance(Duration::from_secs(60))?;
/// assert_eq!(three.output(), [Event::at(60_000, (7, 2))]);
/// # Ok::<(), rivus::Failure>(())
/// ```
pub struct RunningOperator<'a, In, Out> {
    pub(super) harness: Harness<'a, In>,
    operator: OperatorUid,
    of: PhantomData<fn() -> Out>,
}

impl<'a, In: Record, Out: Record> RunningOperator<'a, In, Out> {
    pub(super) fn new(harness: Harness<'a, In>, operator: OperatorUid) -> Self {
        Self {
            harness,
            operator,
            of: PhantomData,
        }
    }

    /// A record comes.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn push(&mut self, ts: Timestamp, record: In) -> Result<(), Failure> {
        self.push_all(vec![Event::at(ts, record)])
    }

    /// Records come together.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn push_all(&mut self, records: Vec<Event<In>>) -> Result<(), Failure> {
        self.harness.run(records)?;
        self.harness.end_step()
    }

    /// Event time gets on: no record at or before `ts` will come in time.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn watermark(&mut self, ts: Timestamp) -> Result<(), Failure> {
        self.control(Control::Watermark(ts))
    }

    /// Time passes, by the clock. Timers fire on the way, and requests are answered or time out.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn advance(&mut self, time: Duration) -> Result<(), Failure> {
        self.harness.pass(time)?;
        self.harness.end_step()
    }

    /// The input has ended: event time too, and no record will come.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.watermark(rivus_core::MAX_TIMESTAMP)?;
        self.control(Control::EndOfInput)
    }

    /// Something else comes than records.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn control(&mut self, control: Control) -> Result<(), Failure> {
        self.harness.control(control)?;
        self.harness.end_step()
    }

    /// A checkpoint is taken and completed; a sink's commits have been made when this returns.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn checkpoint(&mut self) -> Result<Snapshot, Failure> {
        Ok(Snapshot(self.harness.checkpoint()?.clone()))
    }

    /// The operator dies and starts anew from the last checkpoint, or from nothing. What came out since then has never been.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn crash(&mut self) -> Result<(), Failure> {
        self.crash_into(self.harness.parallelism())
    }

    /// The same, and goes on in so many subtasks.
    ///
    /// # Errors
    /// Whatever keeps them from starting.
    pub fn crash_into(&mut self, parallelism: u32) -> Result<(), Failure> {
        self.harness.crash(parallelism).map(|_| ())
    }

    /// What the clock shows, milliseconds since the epoch.
    pub fn now(&self) -> Timestamp {
        self.harness.clock().unix_millis()
    }

    /// All that came out so far.
    pub fn output(&self) -> Vec<Event<Out>> {
        self.harness.log.records(None)
    }

    /// The same without times.
    pub fn values(&self) -> Vec<Out> {
        let output = self.output().into_iter();
        output.map(|event| event.value).collect()
    }

    /// What came out of a side output, which the test [reads](super::OperatorTest::side_output).
    pub fn side_output<S: Record>(&self, tag: &SideOutputTag<S>) -> Vec<Event<S>> {
        self.harness.log.records(Some(tag.name()))
    }

    /// All that came out, control elements too, as a picture.
    pub fn picture(&self) -> String {
        self.harness.log.words().join(" ")
    }

    /// Counters of the first subtask: late records, skipped ones, rows of state at the last checkpoint.
    pub fn figures(&self) -> SubtaskFigures {
        self.harness.cx().metrics.figures()
    }

    /// The state of a key, as [`JobHandle::query`](crate::JobHandle::query) shows it; of a chain's first operator, unless
    /// [`of_operator`](Self::of_operator) has named another.
    ///
    /// # Errors
    /// If the operator shows no state, or not such.
    pub fn state<K, S>(&mut self, key: &K) -> Result<Option<S>, Failure>
    where
        K: Serialize + ?Sized,
        S: DeserializeOwned,
    {
        let query = StateQuery::new::<K, S>(self.operator.clone(), key)?;
        self.ask(&query)
    }

    /// One state of a key, by its name.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn state_named<K, S>(&mut self, name: &str, key: &K) -> Result<Option<S>, Failure>
    where
        K: Serialize + ?Sized,
        S: DeserializeOwned,
    {
        let query = StateQuery::new::<K, S>(self.operator.clone(), key)?;
        self.ask(&query.asking(Asked::Field(name.to_owned())))
    }

    /// The first subtask's copy of broadcast state.
    ///
    /// # Errors
    /// If the operator has none, or not such.
    pub fn broadcast_state<S: DeserializeOwned>(&mut self) -> Result<Option<S>, Failure> {
        let query = StateQuery::of_broadcast::<S>(self.operator.clone())?;
        self.ask(&query)
    }

    /// The timers of a key.
    ///
    /// # Errors
    /// If the operator has none, or other keys.
    pub fn timers<K: Serialize + ?Sized>(&mut self, key: &K) -> Result<KeyTimers, Failure> {
        let query = StateQuery::new::<K, ()>(self.operator.clone(), key)?;
        let timers = self.ask(&query.asking(Asked::Timers))?;
        Ok(timers.unwrap_or_default())
    }

    /// Whose state is asked for from now on.
    #[must_use]
    pub fn of_operator(mut self, uid: &str) -> Self {
        self.operator = OperatorUid(uid.to_owned());
        self
    }

    fn ask<S: DeserializeOwned>(&mut self, query: &StateQuery) -> Result<Option<S>, Failure> {
        let refused = |reason: &str| {
            Err(Failure::job(format!(
                "operator {}: {reason}",
                query.operator
            )))
        };
        match self.harness.query(query)? {
            Some(StateAnswer::Found(bytes)) => Ok(Some(codec::decode(&bytes)?)),
            Some(StateAnswer::Missing) => Ok(None),
            Some(StateAnswer::Refused(reason)) => refused(&reason),
            None => refused("it shows no state of that kind"),
        }
    }
}

impl<A: Record, B: Record, Out: Record> RunningOperator<'_, Either<A, B>, Out> {
    /// A record of the first stream comes.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn push_first(&mut self, ts: Timestamp, record: A) -> Result<(), Failure> {
        self.push(ts, Either::First(record))
    }

    /// A record of the second stream comes.
    ///
    /// # Errors
    /// Whatever fails the operator.
    pub fn push_second(&mut self, ts: Timestamp, record: B) -> Result<(), Failure> {
        self.push(ts, Either::Second(record))
    }
}
