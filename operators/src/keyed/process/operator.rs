//! The operator of a [`KeyedProcessFunction`].

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, Asked, BuildContext, Chain, Control, Event, Failure, Hashed, KeyTimers,
    MIN_TIMESTAMP, OperatorFactory, Outlets, Record, RowId, Sharing, SidesRead, StateAnswer,
    StateQuery, StateSet, StateType, TableWalk, Task, TaskContext, Timestamp, UserError, codec,
};

use super::KeyedProcessFunction;
use super::handle::{Keyed, ProcessRow};
use super::queues::Queues;
use crate::driver::{Driver, Work};
use crate::keyed::Rows;
use crate::keyed::timers::{TimeDomain, Timer};
use crate::outlet::Emitter;
use crate::output::Output;
use crate::selector::{KeySelector, load_made};
use crate::side::SideOutputs;

/// Name of its own state in a snapshot.
const STATE: &str = "watermark";

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

pub(in crate::keyed) struct KeyedProcessing<In, S, P>
where
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    selector: S,
    pub(in crate::keyed) function: P,
    rows: Rows<S::Key, ProcessRow<P::State>>,
    queues: Queues,
    /// Part of the snapshot: a watermark that is only said again after a restore fires nothing.
    pub(in crate::keyed) watermark: Timestamp,
    /// Whether the watermark that is being worked on is a new one.
    advancing: bool,
    /// What time it was when the tick began that is being worked on.
    ticking: Option<Timestamp>,
    /// A source from which no watermarks come, so that event timers would wait for ever.
    unmarked_source: Option<String>,
}

impl<In, S, P> KeyedProcessing<In, S, P>
where
    In: Record,
    S: KeySelector<In>,
    P: KeyedProcessFunction<S::Key, In>,
{
    pub(in crate::keyed) fn states() -> Vec<StateType> {
        vec![
            Rows::<S::Key, ProcessRow<P::State>>::state(),
            StateType::of::<Timestamp>(STATE),
        ]
    }

    /// A function with the rows that the attempt starts from.
    pub(in crate::keyed) fn restore(
        selector: S,
        function: P,
        cx: &BuildContext<'_>,
    ) -> Result<Self, Failure> {
        let watermarks: Vec<Timestamp> = cx.restored.blobs(cx.uid, STATE)?;
        let mut rows = Rows::restore(cx)?.measured(ProcessRow::heap_bytes);
        if P::State::SHARES {
            rows = rows.sharing(Sharing {
                copy: ProcessRow::share,
                read_ahead: ProcessRow::read_ahead,
            });
        }
        let queues = Queues::new(&rows.table);
        let mut work = Self {
            selector,
            function,
            rows,
            queues,
            watermark: watermarks.into_iter().min().unwrap_or(MIN_TIMESTAMP),
            advancing: false,
            ticking: None,
            unmarked_source: cx.unmarked_source.map(str::to_owned),
        };
        work.queue_timers()?;
        Ok(work)
    }

    /// Brings in the rows of some records' keys.
    pub(in crate::keyed) fn load<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Hashed<In>> + Clone,
    ) -> Result<(), Failure> {
        let hashes = records.clone().map(|record| record.hash);
        let keys = records.map(|record| self.selector.key(&record.value));
        load_made(&mut self.rows.table, hashes, keys)
    }

    /// The order is not part of the snapshot's rows: it follows from them.
    fn queue_timers(&mut self) -> Result<(), Failure> {
        let queues = &mut self.queues;
        let basis = format!("{:?}", P::State::LIFETIMES);
        self.rows.table.visit(&basis, |id, row| {
            for ts in row.event_timers.iter() {
                queues.event.enter(ts, id)?;
            }
            for ts in row.processing_timers.iter() {
                queues.processing.enter(ts, id)?;
            }
            if let Some(due) = row.state.due() {
                queues.expiry.enter(due, id)?;
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
        let now = cx.now();
        let (key, row) = self.rows.table.row_mut(id);
        let due = row.state.due();
        row.state.expire(now);
        let mut keyed = Keyed {
            key,
            row,
            changed: &mut self.queues.changed,
            watermark: self.watermark,
            now,
        };
        let mut output = Output::new(ts, self.watermark, now, out);
        call(&mut self.function, &mut keyed, &mut output).map_err(|error| Failure::user(&error))?;
        if let Some(source) = &self.unmarked_source
            && !keyed.row.event_timers.is_empty()
        {
            return Err(Failure::job(format!(
                "it registers an event timer, but no watermarks reach it from \"{source}\": \
                 call .assign_watermarks(..) between the two"
            )));
        }
        let row = keyed.row;
        row.state.stamp(now);
        let (is_empty, due_now) = (row.is_empty(), row.state.due());
        if due_now != due {
            let (queues, table) = (&mut self.queues, &self.rows.table);
            queues.move_due(due, due_now, id, table)?;
        }
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

    /// Gives the memory of the next row back that has expired. Returns whether there was none.
    fn expire(&mut self, now: Timestamp) -> Result<bool, Failure> {
        if !P::State::EXPIRES {
            return Ok(true);
        }
        let table = &mut self.rows.table;
        let Some((_, id)) = self.queues.expiry.next_due(now, table)? else {
            return Ok(true);
        };
        table.touch(id)?;
        let row = table.value_mut(id);
        row.state.expire(now);
        let (is_empty, due) = (row.is_empty(), row.state.due());
        // It has been taken out of where it was.
        self.queues.move_due(None, due, id, table)?;
        if is_empty {
            table.remove(id)?;
        }
        Ok(false)
    }

    /// Goes by some more rows; see [`Table::walk`](rivus_core::Table::walk).
    pub(in crate::keyed) fn walk(
        &mut self,
        walk: &mut TableWalk,
        limit: usize,
        into: &mut Vec<RowId>,
    ) -> Result<bool, Failure> {
        self.rows.table.walk(walk, limit, into)
    }

    /// Calls the function with a row that a walk has gone by.
    pub(in crate::keyed) fn visit(
        &mut self,
        id: RowId,
        ts: Timestamp,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
        call: impl FnOnce(
            &mut P,
            &mut Keyed<'_, S::Key, P::State>,
            &mut Output<'_, P::Out>,
        ) -> Result<(), UserError>,
    ) -> Result<(), Failure> {
        self.rows.table.touch(id)?;
        self.with_row(id, ts, out, cx, call)?;
        self.queues.arm::<P::State>(cx)
    }

    /// Does a step of what is due by the wall clock. Returns whether that was the last. What becomes due meanwhile waits for a tick of
    /// its own: timers that register themselves again would let nothing else have a turn if they take longer than it is to their time.
    fn tick(&mut self, out: &mut Emitter<P::Out>, cx: &mut TaskContext) -> Result<bool, Failure> {
        let until = *self.ticking.get_or_insert(cx.now());
        // Rows that were taken out of one order have to be done with before another brings in its own.
        if !self.queues.processing.has_taken() && !self.expire(until)? {
            return Ok(false);
        }
        let through = self.fire(TimeDomain::Processing, until, out, cx)?;
        if through {
            self.ticking = None;
        }
        Ok(through)
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
        self.queues.arm::<P::State>(cx)
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
                let through = self.tick(out, cx)?;
                self.queues.disarm();
                through
            }
            Control::Barrier(_) => {
                // What has expired need not be written.
                if !self.expire(cx.now())? {
                    return Ok(false);
                }
                self.rows.freeze(&mut self.queues.orders(), cx)?;
                let snapshot = cx.open_snapshot()?;
                snapshot.blob::<Timestamp>(self.rows.uid(), STATE, &self.watermark)?;
                true
            }
            Control::Aborted(checkpoint) => {
                self.rows.abort(checkpoint);
                true
            }
            _ => true,
        };
        if through {
            self.queues.arm::<P::State>(cx)?;
        }
        Ok(through)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }

    fn query(
        &mut self,
        query: &StateQuery,
        now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        if query.asked == Asked::Timers && query.operator == *self.rows.uid() {
            return self.rows.answer(query, |row| {
                let timers = KeyTimers {
                    event: row.event_timers.iter().collect(),
                    processing: row.processing_timers.iter().collect(),
                };
                codec::encode(&timers).map(Some)
            });
        }
        self.rows.query::<P::State>(query, |row| {
            if !P::State::EXPIRES {
                return row.shown().map(codec::encode).transpose();
            }
            let mut row = row.clone();
            row.state.expire(now);
            row.shown().map(codec::encode).transpose()
        })
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

    fn states(&self) -> Vec<StateType> {
        KeyedProcessing::<In, S, P>::states()
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
