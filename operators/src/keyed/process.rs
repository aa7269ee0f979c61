//! `process` on a keyed stream: state, timers, side outputs.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, Hashed, Key, MIN_TIMESTAMP,
    OperatorFactory, Outlets, Record, RowId, SidesRead, StateSet, Table, Task, TaskContext,
    Timestamp, UserError,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Rows;
use super::timers::{TimeDomain, Timer, TimerQueue, TimerSet};
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::selector::{KeySelector, load_made};
use crate::side::SideOutputs;

/// Name of its own state in a snapshot.
const STATE: &str = "watermark";

/// What a `process` on a keyed stream does.
///
/// ```
/// use rivus_core::{Event, StateSet, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedProcessFunction, Output, Timer};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
/// #[state(crate = "rivus_core")] // only inside the workspace
/// struct Session { clicks: ValueState<u32>, ends: ValueState<i64> }
///
/// /// Counts a user's clicks until there was none for half an hour.
/// #[derive(Clone)]
/// struct Sessions;
///
/// impl KeyedProcessFunction<String, String> for Sessions {
///     type Out = u32;
///     type State = Session;
///
///     fn process(
///         &mut self,
///         click: Event<String>,
///         state: &mut Keyed<'_, String, Session>,
///         _out: &mut Output<'_, u32>,
///     ) -> Result<(), UserError> {
///         if let Some(ends) = state.ends.take() {
///             state.delete_event_timer(ends);
///         }
///         let ends = click.ts + 30 * 60 * 1000;
///         state.ends.set(ends);
///         state.register_event_timer(ends);
///         *state.clicks.get_or_default() += 1;
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self,
///         _timer: Timer,
///         state: &mut Keyed<'_, String, Session>,
///         out: &mut Output<'_, u32>,
///     ) -> Result<(), UserError> {
///         out.emit(state.clicks.take().unwrap_or(0));
///         state.ends.clear();
///         Ok(())
///     }
/// }
/// ```
pub trait KeyedProcessFunction<K: Key, In>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Record;
    /// What it keeps by key. Derive [`StateSet`].
    type State: StateSet;

    /// Takes a record.
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn process(
        &mut self,
        event: Event<In>,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError>;

    /// A timer of a key fires. Timers fire in the order (time, key group, key).
    ///
    /// # Errors
    /// Whatever is to fail the attempt.
    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, K, Self::State>,
        out: &mut Output<'_, Self::Out>,
    ) -> Result<(), UserError> {
        let _ = (timer, state, out);
        Ok(())
    }
}

/// A key's row: its state and its timers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound = "S: StateSet")]
struct ProcessRow<S> {
    state: S,
    event_timers: TimerSet,
    processing_timers: TimerSet,
}

impl<S: StateSet> ProcessRow<S> {
    #[inline]
    fn is_empty(&self) -> bool {
        self.event_timers.is_empty() && self.processing_timers.is_empty() && self.state.is_empty()
    }
}

/// The state of the key whose record or timer is being worked on; derefs to the state, and knows the
/// key, the times, and the key's timers.
///
/// ```
/// use rivus_core::{Event, UserError, ValueState};
/// use rivus_operators::{Keyed, KeyedProcessFunction, Output, Timer};
///
/// /// Says which devices have been silent for a minute, by the wall clock.
/// #[derive(Clone)]
/// struct Silent;
///
/// impl KeyedProcessFunction<String, u32> for Silent {
///     type Out = String;
///     type State = ValueState<i64>;
///
///     fn process(
///         &mut self, _reading: Event<u32>, alarm: &mut Keyed<'_, String, Self::State>, _out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if let Some(earlier) = alarm.take() {
///             alarm.delete_processing_timer(earlier);
///         }
///         let at = alarm.processing_time() + 60_000;
///         alarm.register_processing_timer(at);
///         alarm.set(at);
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, _timer: Timer, alarm: &mut Keyed<'_, String, Self::State>, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         alarm.clear();
///         out.emit(format!("{} is silent since event time {}", alarm.key(), alarm.watermark()));
///         Ok(())
///     }
/// }
/// ```
pub struct Keyed<'a, K, S> {
    key: &'a K,
    row: &'a mut ProcessRow<S>,
    changed: &'a mut Vec<TimerChange>,
    watermark: Timestamp,
    now: Timestamp,
}

impl<K, S> Keyed<'_, K, S> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &K {
        self.key
    }

    /// The watermark: event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time, milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }

    /// Fires when the watermark reaches a time; one that it has passed fires at the next watermark.
    /// Registering the same time again changes nothing.
    ///
    /// A job whose watermarks don't reach the operator fails here: the timer would never fire.
    pub fn register_event_timer(&mut self, ts: Timestamp) {
        if self.row.event_timers.insert(ts) {
            self.changed.push((TimeDomain::Event, ts, true));
        }
    }

    /// Fires when the wall clock reaches a time. Registering the same time again changes nothing.
    pub fn register_processing_timer(&mut self, ts: Timestamp) {
        if self.row.processing_timers.insert(ts) {
            self.changed.push((TimeDomain::Processing, ts, true));
        }
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_event_timer(&mut self, ts: Timestamp) -> bool {
        let was = self.row.event_timers.remove(ts);
        if was {
            self.changed.push((TimeDomain::Event, ts, false));
        }
        was
    }

    /// Takes a timer back. Returns whether there was one.
    pub fn delete_processing_timer(&mut self, ts: Timestamp) -> bool {
        let was = self.row.processing_timers.remove(ts);
        if was {
            self.changed.push((TimeDomain::Processing, ts, false));
        }
        was
    }
}

impl<K, S> Deref for Keyed<'_, K, S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.row.state
    }
}

impl<K, S> DerefMut for Keyed<'_, K, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S {
        &mut self.row.state
    }
}

/// The order of the timers, by time domain.
struct Queues {
    event: TimerQueue,
    processing: TimerQueue,
    /// What the record or timer that is being worked on has changed.
    changed: Vec<TimerChange>,
    /// The wake that was asked for last; later ones are implied.
    armed: Option<Timestamp>,
}

/// A timer of the present key that was registered, or taken back.
type TimerChange = (TimeDomain, Timestamp, bool);

impl Queues {
    fn new<K: Key, V: Serialize + DeserializeOwned>(table: &Table<K, V>) -> Self {
        Self {
            event: TimerQueue::new(table, 0),
            processing: TimerQueue::new(table, 1),
            changed: Vec::new(),
            armed: None,
        }
    }

    fn of(&mut self, domain: TimeDomain) -> &mut TimerQueue {
        match domain {
            TimeDomain::Event => &mut self.event,
            TimeDomain::Processing => &mut self.processing,
        }
    }

    /// Puts the changes of a row's timers into the order.
    fn apply<K: Key, V: Serialize + DeserializeOwned>(
        &mut self,
        id: RowId,
        table: &Table<K, V>,
    ) -> Result<(), Failure> {
        let mut changed = std::mem::take(&mut self.changed);
        for (domain, ts, registered) in changed.drain(..) {
            let queue = self.of(domain);
            if registered {
                queue.insert(ts, id, table)?;
            } else {
                queue.remove(ts, id, table)?;
            }
        }
        self.changed = changed;
        Ok(())
    }

    /// Asks to be woken for the earliest processing timer.
    #[inline]
    fn arm(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        if let Some(earliest) = self.processing.earliest()?
            && self.armed.is_none_or(|armed| earliest < armed)
        {
            self.armed = Some(earliest);
            cx.wake_at(earliest);
        }
        Ok(())
    }
}

/// Makes stages of a [`KeyedProcessFunction`].
pub struct KeyedProcessOperator<In, S, P> {
    selector: S,
    function: P,
    sides: SideOutputs,
    of: PhantomData<fn(In)>,
}

impl<In, S, P> KeyedProcessOperator<In, S, P>
where
    In: Record,
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
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

pub(super) struct KeyedProcessing<In, S, P>
where
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    selector: S,
    pub(super) function: P,
    rows: Rows<S::Key, ProcessRow<P::State>>,
    queues: Queues,
    /// Part of the snapshot: a watermark that is only said again after a restore fires nothing.
    pub(super) watermark: Timestamp,
    /// Whether the watermark that is being worked on is a new one.
    advancing: bool,
    /// A source from which no watermarks come, so that event timers would wait for ever.
    unmarked_source: Option<String>,
}

impl<In, S, P> KeyedProcessing<In, S, P>
where
    In: Record,
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    /// A function with the rows that the attempt starts from.
    pub(super) fn restore(
        selector: S,
        function: P,
        cx: &BuildContext<'_>,
    ) -> Result<Self, Failure> {
        let watermarks: Vec<Timestamp> = cx.restored.blobs(cx.uid, STATE)?;
        let rows = Rows::restore(cx)?;
        let queues = Queues::new(&rows.table);
        let mut work = Self {
            selector,
            function,
            rows,
            queues,
            watermark: watermarks.into_iter().min().unwrap_or(MIN_TIMESTAMP),
            advancing: false,
            unmarked_source: cx.unmarked_source.map(str::to_owned),
        };
        work.queue_timers()?;
        Ok(work)
    }

    /// Brings in the rows of some records' keys.
    pub(super) fn load<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Hashed<In>> + Clone,
    ) -> Result<(), Failure> {
        let hashes = records.clone().map(|record| record.hash);
        let keys = records.map(|record| self.selector.key(&record.value));
        load_made(&mut self.rows.table, hashes, keys)
    }

    /// The order is not part of the snapshot: it follows from the rows.
    fn queue_timers(&mut self) -> Result<(), Failure> {
        let queues = &mut self.queues;
        self.rows.table.visit(|id, row| {
            for ts in row.event_timers.iter() {
                queues.event.enter(ts, id)?;
            }
            for ts in row.processing_timers.iter() {
                queues.processing.enter(ts, id)?;
            }
            Ok(())
        })
    }

    /// Calls the function with a row, and removes the row if it is empty afterwards.
    #[inline]
    fn with_row(
        &mut self,
        id: RowId,
        ts: Timestamp,
        out: &mut Emitter<P::Out>,
        cx: &TaskContext,
        call: impl FnOnce(
            &mut P,
            &mut Keyed<'_, S::Key, P::State>,
            &mut Output<'_, P::Out>,
        ) -> Result<(), UserError>,
    ) -> Result<(), Failure> {
        let (key, row) = self.rows.table.row_mut(id);
        let mut keyed = Keyed {
            key,
            row,
            changed: &mut self.queues.changed,
            watermark: self.watermark,
            now: cx.now(),
        };
        let mut output = Output::new(ts, self.watermark, cx.now(), out);
        call(&mut self.function, &mut keyed, &mut output).map_err(|error| Failure::user(&error))?;
        if let Some(source) = &self.unmarked_source
            && !keyed.row.event_timers.is_empty()
        {
            return Err(Failure::job(format!(
                "it registers an event timer, but no watermarks reach it from \"{source}\": \
                 call .assign_watermarks(..) between the two"
            )));
        }
        let is_empty = keyed.row.is_empty();
        if !self.queues.changed.is_empty() {
            self.queues.apply(id, &self.rows.table)?;
        }
        if is_empty {
            self.rows.table.remove(id)?;
        }
        Ok(())
    }

    /// Fires the next timer that is due. Returns whether there was none.
    fn fire(
        &mut self,
        domain: TimeDomain,
        until: Timestamp,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let table = &mut self.rows.table;
        let Some((ts, id)) = self.queues.of(domain).next_due(until, table)? else {
            return Ok(true);
        };
        // Its own key's code may have taken it back, and its row may be gone.
        let timers = table.get(id).map(|(_, row)| match domain {
            TimeDomain::Event => &row.event_timers,
            TimeDomain::Processing => &row.processing_timers,
        });
        if !timers.is_some_and(|timers| timers.contains(ts)) {
            return Ok(false);
        }
        table.touch(id)?;
        let row = table.value_mut(id);
        match domain {
            TimeDomain::Event => row.event_timers.remove(ts),
            TimeDomain::Processing => row.processing_timers.remove(ts),
        };
        let timer = Timer { ts, domain };
        self.with_row(id, ts, out, cx, |function, state, output| {
            function.on_timer(timer, state, output)
        })?;
        Ok(false)
    }
}

impl<In, S, P> Work<Hashed<In>> for KeyedProcessing<In, S, P>
where
    In: Record,
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    type Out = P::Out;

    fn look_ahead(&mut self, run: &[Event<Hashed<In>>]) -> Result<(), Failure> {
        self.selector.load(&mut self.rows.table, run)
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Hashed<In>>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = event.value;
        let new = ProcessRow::default;
        let id = self
            .selector
            .find(&mut self.rows.table, hash, &value, new)?;
        let event = Event::at(event.ts, value);
        self.with_row(id, event.ts, out, cx, |function, state, output| {
            function.process(event, state, output)
        })?;
        self.queues.arm(cx)
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        let through = match control {
            Control::Watermark(watermark) => {
                if watermark > self.watermark {
                    self.watermark = watermark;
                    self.advancing = true;
                }
                let through =
                    !self.advancing || self.fire(TimeDomain::Event, watermark, out, cx)?;
                self.advancing = !through;
                through
            }
            Control::Tick => {
                let through = self.fire(TimeDomain::Processing, cx.now(), out, cx)?;
                // The wake is used up, whoever it was for.
                self.queues.armed = None;
                through
            }
            Control::Barrier(_) => {
                self.rows.freeze(cx)?;
                let snapshot = cx.open_snapshot()?;
                snapshot.blob(self.rows.uid(), STATE, &self.watermark)?;
                true
            }
            Control::Aborted(checkpoint) => {
                self.rows.abort(checkpoint);
                true
            }
            _ => true,
        };
        if through {
            self.queues.arm(cx)?;
        }
        Ok(through)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }
}

impl<In, S, P> OperatorFactory for KeyedProcessOperator<In, S, P>
where
    In: Record,
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    /// The function may write to any tag.
    fn check(&self, _read: &SidesRead) -> Result<(), String> {
        Ok(())
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let (selector, function) = (self.selector.clone(), self.function.clone());
        let work: KeyedProcessing<In, S, P> = KeyedProcessing::restore(selector, function, cx)?;
        let driver = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<Hashed<In>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}

#[cfg(test)]
mod tests {
    use rivus_core::{KeyGroupRange, Table, ValueState, key_hash};

    use super::*;

    #[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
    #[state(crate = "rivus_core")]
    struct Ends {
        ends: ValueState<Timestamp>,
    }

    #[test]
    fn a_timer_that_is_moved_a_thousand_times_is_one_timer() {
        let mut table: Table<u32, ProcessRow<Ends>> = Table::new(KeyGroupRange::of(0, 1, 8), 8);
        let new = || (7, ProcessRow::default());
        let id = table.find_or_insert(key_hash(&7_u32), &7, new).unwrap();
        let mut queues = Queues::new(&table);
        for click in 0..1_000 {
            let (key, row) = table.row_mut(id);
            let mut keyed = Keyed {
                key,
                row,
                changed: &mut queues.changed,
                watermark: MIN_TIMESTAMP,
                now: 0,
            };
            if let Some(ends) = keyed.ends.take() {
                assert!(keyed.delete_event_timer(ends));
                assert!(keyed.delete_processing_timer(ends));
            }
            keyed.ends.set(click + 30);
            keyed.register_event_timer(click + 30);
            keyed.register_processing_timer(click + 30);
            queues.apply(id, &table).unwrap();
        }
        assert_eq!(queues.event.len(), 1);
        assert_eq!(queues.processing.len(), 1);
    }
}
