//! `process` on a stream beside a broadcast one, of which every subtask holds a copy.
//!
//! ```text
//! snapshot  blob "broadcast" = the subtask's copy
//! ```
//!
//! What expires in it does so by the clock of the process, in each copy by itself: before user code sees it, and at the
//! latest a tenth of its time to live later, if nothing comes.
//!
//! Each subtask writes its own copy, so that after a restore none waits for another. A subtask that starts from several
//! takes the one at its own number, counted around: which one doesn't matter while copies are the same.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, Asked, BuildContext, Chain, Control, Either, Event, Failure, MIN_TIMESTAMP,
    OperatorFactory, OperatorUid, Outlets, Record, SidesRead, StateAnswer, StateQuery, StateSet,
    StateType, Task, TaskContext, Timestamp, UserError, codec,
};

use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::side::SideOutputs;

/// Name of the copy in a snapshot.
const STATE: &str = "broadcast";

/// A subtask's copy of broadcast state.
#[derive(Debug, Clone)]
pub(crate) struct BroadcastCopy<C> {
    state: C,
    /// The wake that was asked for last; later ones are implied.
    armed: Option<Timestamp>,
}

impl<C: StateSet> BroadcastCopy<C> {
    /// What it is in a snapshot.
    pub(crate) fn state() -> StateType {
        StateType::of::<C>(STATE)
    }

    /// The copy that the attempt starts from.
    pub(crate) fn restore(cx: &BuildContext<'_>) -> Result<Self, Failure> {
        let mut copies: Vec<C> = cx.restored.blobs(cx.uid, STATE)?;
        let index = cx.info.attempt.subtask.index as usize;
        let state = match copies.len() {
            0 => C::default(),
            written => copies.swap_remove(index % written),
        };
        Ok(Self { state, armed: None })
    }

    /// What user code sees of it at a time.
    #[inline]
    pub(crate) fn at(&mut self, now: Timestamp) -> &mut C {
        self.state.expire(now);
        &mut self.state
    }

    /// Notes that user code has had it in hand.
    #[inline]
    pub(crate) fn used(&mut self, now: Timestamp) {
        self.state.stamp(now);
    }

    /// Asks to be woken when something in it will have expired.
    #[inline]
    pub(crate) fn arm(&mut self, cx: &mut TaskContext) {
        if C::EXPIRES
            && let Some(due) = self.state.due()
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            cx.wake_at(due);
        }
    }

    /// A wake has come, whoever it was for.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.armed = None;
        self.state.expire(now);
    }

    /// Answers a question about it; none if another operator is asked, or for something else.
    pub(crate) fn query(
        &self,
        uid: &OperatorUid,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        if query.operator != *uid || query.asked != Asked::Broadcast {
            return Ok(None);
        }
        Ok(Some(match query.wants::<C>() {
            Ok(cut) => {
                let mut seen = self.state.clone();
                seen.expire(now);
                StateAnswer::Found(cut.out_of(codec::encode(&seen)?)?)
            }
            Err(refused) => StateAnswer::Refused(refused),
        }))
    }

    /// Writes it into the open snapshot.
    pub(crate) fn write(&mut self, uid: &OperatorUid, cx: &mut TaskContext) -> Result<(), Failure> {
        self.state.expire(cx.now());
        Ok(cx.open_snapshot()?.blob::<C>(uid, STATE, &self.state)?)
    }
}

/// What a `process` on a stream without a key does beside a broadcast one.
///
/// Every subtask gets all broadcast records and makes its own copy of the broadcast state of them. See
/// [`KeyedBroadcastProcessFunction`](crate::KeyedBroadcastProcessFunction) for what that takes.
///
/// ```
/// use rivus_core::{Event, MapState, UserError};
/// use rivus_operators::{BroadcastProcessFunction, Output};
///
/// /// Passes on words that are not forbidden.
/// #[derive(Clone)]
/// struct Polite;
///
/// impl BroadcastProcessFunction<String, String> for Polite {
///     type Out = String;
///     type Broadcast = MapState<String, ()>;
///
///     fn process(
///         &mut self, word: Event<String>, forbidden: &Self::Broadcast, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if !forbidden.contains_key(&word.value) {
///             out.emit(word.value);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self, word: Event<String>, forbidden: &mut Self::Broadcast, _out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         forbidden.insert(word.value, ());
///         Ok(())
///     }
/// }
/// ```
pub trait BroadcastProcessFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What every subtask holds a copy of, most often a [`MapState`](rivus_core::MapState). It is written in one piece
    /// at each checkpoint, by each subtask.
    type Broadcast: StateSet;

    /// Takes a record of the other stream.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<A>,
        broadcast: &Self::Broadcast,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// Takes a broadcast record, once in every subtask. What it emits comes from every subtask.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process_broadcast(
        &mut self,
        event: Event<B>,
        broadcast: &mut Self::Broadcast,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;
}

/// Makes stages of a [`BroadcastProcessFunction`].
pub struct BroadcastOperator<A, B, P> {
    function: P,
    sides: SideOutputs,
    of: PhantomData<fn(A, B)>,
}

impl<A: Record, B: Record, P: BroadcastProcessFunction<A, B>> BroadcastOperator<A, B, P> {
    /// Of a function; `sides` is where its side outputs are, or will be, declared.
    pub fn new(function: P, sides: SideOutputs) -> Self {
        Self {
            function,
            sides,
            of: PhantomData,
        }
    }
}

struct Broadcasting<P, C> {
    function: P,
    copy: BroadcastCopy<C>,
    uid: OperatorUid,
    watermark: Timestamp,
}

impl<A, B, P> Work<Either<A, B>> for Broadcasting<P, P::Broadcast>
where
    A: Record,
    B: Record,
    P: BroadcastProcessFunction<A, B>,
{
    type Out = P::Out;

    #[inline]
    fn record(
        &mut self,
        event: Event<Either<A, B>>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Event { ts, value } = event;
        let now = cx.now();
        let mut output = Output::new(ts, self.watermark, now, out);
        let (function, copy) = (&mut self.function, self.copy.at(now));
        match value {
            Either::First(value) => function.process(Event { ts, value }, copy, &mut output),
            Either::Second(value) => {
                function.process_broadcast(Event { ts, value }, copy, &mut output)
            }
        }
        .map_err(|error| Failure::user(&error))?;
        self.copy.used(now);
        self.copy.arm(cx);
        Ok(())
    }

    fn control(
        &mut self,
        control: Control,
        _out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Watermark(watermark) => self.watermark = self.watermark.max(watermark),
            Control::Barrier(_) => self.copy.write(&self.uid, cx)?,
            Control::Tick => self.copy.tick(cx.now()),
            _ => {}
        }
        self.copy.arm(cx);
        Ok(true)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.copy.query(&self.uid, query, now)
    }
}

impl<A, B, P> OperatorFactory for BroadcastOperator<A, B, P>
where
    A: Record,
    B: Record,
    P: BroadcastProcessFunction<A, B>,
{
    /// The function may write to any tag.
    fn check(&self, _read: &SidesRead) -> Result<(), String> {
        Ok(())
    }

    fn states(&self) -> Vec<StateType> {
        vec![BroadcastCopy::<P::Broadcast>::state()]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work = Broadcasting {
            function: self.function.clone(),
            copy: BroadcastCopy::restore(cx)?,
            uid: cx.uid.clone(),
            watermark: MIN_TIMESTAMP,
        };
        let driver: Driver<Either<A, B>, _> = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<Either<A, B>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Either<A, B>>::task(stage)
    }
}
