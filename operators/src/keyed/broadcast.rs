//! `process` on a keyed stream beside a broadcast one: state by key, and state of which every subtask holds a copy.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Either, Event, Failure, Hashed, Key, OperatorFactory,
    OperatorUid, Outlets, Record, RowId, SidesRead, StateAnswer, StateQuery, StateSet, StateType,
    TableWalk, Task, TaskContext, Timestamp, UserError,
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

    /// Whether [`for_each_key`](Self::for_each_key) is to be called after a broadcast record.
    fn visits_keys(&self, record: &B) -> bool {
        let _ = record;
        false
    }

    /// Visits a key that has state or timers, after [`process_broadcast`](Self::process_broadcast) of a record for which
    /// [`visits_keys`](Self::visits_keys) says so. Every such key is visited once, in any order, some in each turn; the
    /// records, watermarks and checkpoints that come behind the broadcast record wait until all have been.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn for_each_key(
        &mut self,
        record: &Event<B>,
        state: &mut Keyed<'_, K, Self::State>,
        broadcast: &Self::Broadcast,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let _ = (record, state, broadcast, out);
        Ok(())
    }

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
        let now = state.processing_time();
        let copy = self.copy.at(now);
        self.function.process(event, state, copy, out)?;
        self.copy.used(now);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, P::State>,
        out: &mut Output<'_, P::Out>,
    ) -> Result<(), UserError> {
        let now = state.processing_time();
        let copy = self.copy.at(now);
        self.function.on_timer(timer, state, copy, out)?;
        self.copy.used(now);
        Ok(())
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
    /// The broadcast record for which keys are being visited.
    visit: Option<Visit<B>>,
    /// Whether a visit may have sent rows away that were brought in for the run.
    visited: bool,
}

/// A visit to all keys.
struct Visit<B> {
    record: Event<B>,
    walk: TableWalk,
    /// Rows that are in memory for it.
    rows: Vec<RowId>,
    /// Whether these are the last.
    last: bool,
}

/// Rows that are brought in together for a visit.
const TOGETHER: usize = 256;

impl<A, B, S, P> KeyedBroadcasting<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<A>,
    P: KeyedBroadcastProcessFunction<S::Key, A, B>,
{
    fn broadcast(
        &mut self,
        event: Event<B>,
        out: &mut Emitter<P::Out>,
        cx: &TaskContext,
    ) -> Result<(), Failure> {
        let WithBroadcast { function, copy, .. } = &mut self.keyed.function;
        if function.visits_keys(&event.value) {
            self.visited = true;
            self.visit = Some(Visit {
                record: event.clone(),
                walk: TableWalk::default(),
                rows: Vec::new(),
                last: false,
            });
        }
        let now = cx.now();
        let mut output = Output::new(event.ts, self.keyed.watermark, now, out);
        function
            .process_broadcast(event, copy.at(now), &mut output)
            .map_err(|error| Failure::user(&error))?;
        copy.used(now);
        Ok(())
    }

    /// Visits the next key. Returns whether there was none.
    fn visit_next(
        &mut self,
        visit: &mut Visit<B>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        if visit.rows.is_empty() && !visit.last {
            let (walk, rows) = (&mut visit.walk, &mut visit.rows);
            visit.last = !self.keyed.walk(walk, TOGETHER, rows)?;
        }
        let Some(id) = visit.rows.pop() else {
            return Ok(visit.last);
        };
        let record = &visit.record;
        self.keyed
            .visit(id, record.ts, out, cx, |with, state, output| {
                let now = state.processing_time();
                let copy = with.copy.at(now);
                with.function.for_each_key(record, state, copy, output)?;
                with.copy.used(now);
                Ok(())
            })?;
        Ok(false)
    }
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
        self.visited = false;
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
            Either::First(value) => {
                if self.visited {
                    self.keyed.load(std::iter::once(&value))?;
                }
                self.keyed.record(Event { ts, value }, out, cx)?;
            }
            Either::Second(value) => self.broadcast(Event { ts, value }, out, cx)?,
        }
        self.keyed.function.copy.arm(cx);
        Ok(())
    }

    #[inline]
    fn more(&mut self, out: &mut Emitter<P::Out>, cx: &mut TaskContext) -> Result<bool, Failure> {
        let Some(mut visit) = self.visit.take() else {
            return Ok(true);
        };
        let through = self.visit_next(&mut visit, out, cx)?;
        if !through {
            self.visit = Some(visit);
        }
        Ok(through)
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let is_barrier = matches!(control, Control::Barrier(_));
        if let Control::Tick = control {
            self.keyed.function.copy.tick(cx.now());
        }
        let through = self.keyed.control(control, out, cx)?;
        let copy = &mut self.keyed.function.copy;
        if is_barrier && through {
            copy.write(&self.uid, cx)?;
        }
        copy.arm(cx);
        Ok(through)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.keyed.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        match self.keyed.function.copy.query(&self.uid, query, now)? {
            Some(answer) => Ok(Some(answer)),
            None => self.keyed.query(query, now),
        }
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

    fn states(&self) -> Vec<StateType> {
        let mut states = KeyedProcessing::<A, S, Inner<A, B, S, P>>::states();
        states.push(BroadcastCopy::<CopyOf<A, B, S, P>>::state());
        states
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
            visit: None,
            visited: false,
        };
        let driver = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<Either<Hashed<A>, B>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Either<Hashed<A>, B>>::task(stage)
    }
}
