//! `process` on a keyed stream beside a broadcast one: state by key, and state of which every subtask holds a copy.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Either, Event, Failure, Hashed, Key, OperatorFactory,
    OperatorUid, Outlets, Record, SidesRead, StateAnswer, StateQuery, StateSet, Task, TaskContext,
    Timestamp, UserError,
};

use super::process::KeyedProcessing;
use super::{Keyed, KeyedProcessFunction, Timer};
use crate::broadcast::BroadcastCopy;
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::selector::KeySelector;
use crate::side::SideOutputs;

/// What a `process` on a keyed stream does beside a broadcast one.
///
/// Every subtask gets all broadcast records and makes its own copy of the broadcast state of them; records by key may
/// read it. The copies are the same only if [`process_broadcast`](Self::process_broadcast) makes the same of the same
/// records, and if it doesn't matter in which order those of several senders come. Which records by key come before a
/// broadcast one is not given.
///
/// ```
/// use rivus_core::{Event, MapState, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedBroadcastProcessFunction, Output};
///
/// /// Passes on what reaches its user's limit; limits come by kind of user.
/// #[derive(Clone)]
/// struct Limits;
///
/// impl KeyedBroadcastProcessFunction<u64, (u64, String), (String, u32)> for Limits {
///     type Out = u64;
///     type State = ValueState<u32>;
///     type Broadcast = MapState<String, u32>;
///
///     fn process(
///         &mut self, event: Event<(u64, String)>, count: &mut Keyed<'_, u64, Self::State>,
///         limits: &Self::Broadcast, out: &mut Output<'_, u64>,
///     ) -> Result<(), UserError> {
///         let (user, kind) = event.value;
///         *count.get_or_default() += 1;
///         if count.get() >= limits.get(&kind) {
///             out.emit(user);
///         }
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self, limit: Event<(String, u32)>, limits: &mut Self::Broadcast, _out: &mut Output<'_, u64>,
///     ) -> Result<(), UserError> {
///         limits.insert(limit.value.0, limit.value.1);
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedBroadcastProcessFunction<K: Key, A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What it keeps by key. Derive [`StateSet`].
    type State: StateSet;
    /// What every subtask holds a copy of, most often a [`MapState`](rivus_core::MapState). It is written in one piece
    /// at each checkpoint, by each subtask.
    type Broadcast: StateSet;

    /// Takes a record by key.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<A>,
        state: &mut Keyed<'_, K, Self::State>,
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

    /// A timer of a key fires. Timers fire in the order (time, key group, key); event time is what both streams have
    /// reached.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, Self::State>,
        broadcast: &Self::Broadcast,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let _ = (timer, state, broadcast, out);
        Ok(())
    }
}

/// The function with its copy of the broadcast state: to the rows and timers a function of one stream.
struct WithBroadcast<B, P, C> {
    function: P,
    copy: C,
    of: PhantomData<fn(B)>,
}

impl<B, P: Clone, C: Clone> Clone for WithBroadcast<B, P, C> {
    fn clone(&self) -> Self {
        Self {
            function: self.function.clone(),
            copy: self.copy.clone(),
            of: PhantomData,
        }
    }
}

impl<K, A, B, P, C> KeyedProcessFunction<K, A> for WithBroadcast<B, P, BroadcastCopy<C>>
where
    K: Key,
    B: 'static,
    C: StateSet,
    P: KeyedBroadcastProcessFunction<K, A, B, Broadcast = C>,
{
    type Out = P::Out;
    type State = P::State;

    #[inline]
    fn process(
        &mut self,
        event: Event<A>,
        state: &mut Keyed<'_, K, P::State>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        self.function.process(event, state, &self.copy.state, out)
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, P::State>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        self.function.on_timer(timer, state, &self.copy.state, out)
    }
}

/// Makes stages of a [`KeyedBroadcastProcessFunction`]. They take `Either<Hashed<A>, B>`: broadcast records have no key.
pub struct KeyedBroadcastOperator<A, B, S, P> {
    selector: S,
    function: P,
    sides: SideOutputs,
    of: PhantomData<fn(A, B)>,
}

impl<A, B, S, P> KeyedBroadcastOperator<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    P: KeyedBroadcastProcessFunction<S::Key, A, B>,
{
    /// Of a function; `sides` is where its side outputs are, or will be, declared.
    pub fn new(selector: S, function: P, sides: SideOutputs) -> Self {
        Self {
            selector,
            function,
            sides,
            of: PhantomData,
        }
    }
}

/// The function as the rows and timers know it.
type Inner<A, B, S, P> = WithBroadcast<B, P, BroadcastCopy<CopyOf<A, B, S, P>>>;

/// What every subtask holds a copy of.
type CopyOf<A, B, S, P> =
    <P as KeyedBroadcastProcessFunction<<S as KeySelector<A>>::Key, A, B>>::Broadcast;

struct KeyedBroadcasting<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    P: KeyedBroadcastProcessFunction<S::Key, A, B>,
{
    keyed: KeyedProcessing<A, S, Inner<A, B, S, P>>,
    uid: OperatorUid,
}

impl<A, B, S, P> Work<Either<Hashed<A>, B>> for KeyedBroadcasting<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    P: KeyedBroadcastProcessFunction<S::Key, A, B>,
{
    type Out = P::Out;

    fn look_ahead(&mut self, run: &[Event<Either<Hashed<A>, B>>]) -> Result<(), Failure> {
        self.keyed
            .load(run.iter().filter_map(|event| match &event.value {
                Either::First(record) => Some(record),
                Either::Second(_) => None,
            }))
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Either<Hashed<A>, B>>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Event { ts, value } = event;
        match value {
            Either::First(value) => self.keyed.record(Event { ts, value }, out, cx),
            Either::Second(value) => {
                let mut output = Output::new(ts, self.keyed.watermark, cx.now(), out);
                let WithBroadcast { function, copy, .. } = &mut self.keyed.function;
                function
                    .process_broadcast(Event { ts, value }, &mut copy.state, &mut output)
                    .map_err(|error| Failure::user(&error))
            }
        }
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        if let Control::Barrier(_) = control {
            self.keyed.function.copy.write(&self.uid, cx)?;
        }
        self.keyed.control(control, out, cx)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.keyed.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.keyed.query(query, now)
    }
}

impl<A, B, S, P> OperatorFactory for KeyedBroadcastOperator<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    P: KeyedBroadcastProcessFunction<S::Key, A, B>,
{
    /// The function may write to any tag.
    fn check(&self, _read: &SidesRead) -> Result<(), String> {
        Ok(())
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let function = WithBroadcast {
            function: self.function.clone(),
            copy: BroadcastCopy::restore(cx)?,
            of: PhantomData,
        };
        let work: KeyedBroadcasting<A, B, S, P> = KeyedBroadcasting {
            keyed: KeyedProcessing::restore(self.selector.clone(), function, cx)?,
            uid: cx.uid.clone(),
        };
        let driver = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<Either<Hashed<A>, B>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Either<Hashed<A>, B>>::task(stage)
    }
}
