//! The operator of an interval join.

use std::marker::PhantomData;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Either, Event, Failure, Hashed, MIN_TIMESTAMP,
    OperatorFactory, Outlets, Record, RowId, SidesRead, StateAnswer, StateQuery, StateType,
    SubtaskMetrics, Task, TaskContext, Timestamp, codec,
};

use super::kept::{Waiting, drop_expired, events, some_of};
use super::{Interval, IntervalJoinFunction};
use crate::driver::{Driver, Work};
use crate::keyed::Rows;
use crate::keyed::timers::TimerQueue;
use crate::outlet::Emitter;
use crate::output::Output;
use crate::selector::KeySelector;
use crate::side::{Declared, SideOutputTag, SideOutputs};

/// Name of its own state in a snapshot.
const STATE: &str = "watermark";

/// Makes stages that give the pairs of two keyed streams.
///
/// ```
/// use rivus_operators::{EachPair, Interval, IntervalJoinOperator, by_either, by_value};
///
/// let by_user = by_either(by_value(|click: &(u32, String)| click.0), by_value(|buy: &(u32, u64)| buy.0));
/// let within_a_minute = Interval::between(0, 60_000);
/// let bought = EachPair(|click: &(u32, String), buy: &(u32, u64)| (click.1.clone(), buy.1));
/// let join = IntervalJoinOperator::new(by_user, within_a_minute, bought);
/// # let _: &dyn rivus_core::OperatorFactory = &join;
/// ```
pub struct IntervalJoinOperator<A, B, S, P> {
    selector: S,
    interval: Interval,
    function: P,
    sides: SideOutputs,
    late: Late<A, B>,
}

/// Where records go that come when the watermark has passed them.
struct Late<A, B> {
    first: Option<SideOutputTag<A>>,
    second: Option<SideOutputTag<B>>,
}

impl<A, B> Clone for Late<A, B> {
    fn clone(&self) -> Self {
        Self {
            first: self.first.clone(),
            second: self.second.clone(),
        }
    }
}

impl<A, B, S, P> IntervalJoinOperator<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    P: IntervalJoinFunction<A, B>,
{
    /// By key and interval.
    pub fn new(selector: S, interval: Interval, function: P) -> Self {
        Self {
            selector,
            interval,
            function,
            sides: SideOutputs::new(),
            late: Late {
                first: None,
                second: None,
            },
        }
    }

    /// Where its function's side outputs are, or will be, declared.
    #[must_use]
    pub fn sides(mut self, sides: SideOutputs) -> Self {
        self.sides = sides;
        self
    }

    /// Late records of the first stream go to a side output, which somebody must read; without one they are counted.
    #[must_use]
    pub fn late_first(mut self, tag: SideOutputTag<A>) -> Self {
        self.late.first = Some(tag);
        self
    }

    /// The same for the second stream.
    #[must_use]
    pub fn late_second(mut self, tag: SideOutputTag<B>) -> Self {
        self.late.second = Some(tag);
        self
    }
}

/// The record whose pairs are being given. It is the last one of its time in its row.
#[derive(Clone, Copy)]
struct Meeting {
    row: RowId,
    ts: Timestamp,
    is_first: bool,
    /// Where its next partner stands: its time, and how many of that time have been met.
    next: (Timestamp, usize),
    /// The last time at which it has partners.
    until: Timestamp,
    now: Timestamp,
}

struct IntervalJoining<A, B, S, P>
where
    S: KeySelector<Either<A, B>>,
{
    selector: S,
    interval: Interval,
    function: P,
    late: Late<A, B>,
    rows: Rows<S::Key, Waiting<A, B>>,
    /// For each row the watermark at which something of it is to go.
    expiring: TimerQueue,
    watermark: Timestamp,
    meeting: Option<Meeting>,
    of: PhantomData<fn(A, B)>,
}

impl<A, B, S, P> IntervalJoining<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    P: IntervalJoinFunction<A, B>,
{
    fn restore(
        operator: &IntervalJoinOperator<A, B, S, P>,
        cx: &BuildContext<'_>,
    ) -> Result<Self, Failure> {
        let watermarks: Vec<Timestamp> = cx.restored.blobs(cx.uid, STATE)?;
        let mut rows: Rows<S::Key, Waiting<A, B>> = Rows::restore(cx)?;
        let mut expiring = TimerQueue::new(&rows.table, 0);
        // The order is not part of the snapshot's rows: it follows from them.
        let basis = format!("{:?}", operator.interval);
        rows.table
            .visit(&basis, |id, row| match row.expires(operator.interval) {
                Some(expires) => expiring.enter(expires, id),
                None => Ok(()),
            })?;
        Ok(Self {
            selector: operator.selector.clone(),
            interval: operator.interval,
            function: operator.function.clone(),
            late: operator.late.clone(),
            rows,
            expiring,
            watermark: watermarks.into_iter().min().unwrap_or(MIN_TIMESTAMP),
            meeting: None,
            of: PhantomData,
        })
    }

    fn too_late(&self, event: Event<Either<A, B>>, out: &mut Emitter<P::Out>, cx: &TaskContext) {
        let Event { ts, value } = event;
        SubtaskMetrics::add(&cx.metrics.late, 1);
        match (value, &self.late.first, &self.late.second) {
            (Either::First(value), Some(tag), _) => out.sides.push(tag, Event { ts, value }),
            (Either::Second(value), _, Some(tag)) => out.sides.push(tag, Event { ts, value }),
            _ => {}
        }
    }

    /// Puts a record into its row, and the row's new place into the order.
    fn keep(&mut self, row: RowId, ts: Timestamp, value: Either<A, B>) -> Result<(), Failure> {
        let table = &mut self.rows.table;
        let kept = table.value_mut(row);
        let before = kept.expires(self.interval);
        match value {
            Either::First(value) => kept.first.entry(ts).or_default().push(value),
            Either::Second(value) => kept.second.entry(ts).or_default().push(value),
        }
        let after = kept.expires(self.interval);
        if before == after {
            return Ok(());
        }
        if let Some(before) = before {
            self.expiring.remove(before, row, table)?;
        }
        if let Some(after) = after {
            self.expiring.insert(after, row, table)?;
        }
        Ok(())
    }

    /// Gives some of the pairs. Returns those that are left.
    fn meet(
        &mut self,
        mut meeting: Meeting,
        out: &mut Emitter<P::Out>,
    ) -> Result<Option<Meeting>, Failure> {
        let row = self.rows.table.value(meeting.row);
        let function = &mut self.function;
        let (ts, now, watermark) = (meeting.ts, meeting.now, self.watermark);
        let mut join = |first: Event<&A>, second: Event<&B>| {
            let later = first.ts.max(second.ts);
            let mut output = Output::new(later, watermark, now, out);
            function
                .join(first, second, &mut output)
                .map_err(|error| Failure::user(&error))
        };
        let next = if meeting.is_first {
            let Some(first) = row.first.get(&ts).and_then(|same| same.last()) else {
                return Ok(None);
            };
            some_of(&row.second, meeting.next, meeting.until, |second| {
                join(Event::at(ts, first), second)
            })?
        } else {
            let Some(second) = row.second.get(&ts).and_then(|same| same.last()) else {
                return Ok(None);
            };
            some_of(&row.first, meeting.next, meeting.until, |first| {
                join(first, Event::at(ts, second))
            })?
        };
        Ok(next.map(|next| {
            meeting.next = next;
            meeting
        }))
    }

    /// Drops what of the next row has met all that it could. Returns whether there was none.
    fn expire(&mut self) -> Result<bool, Failure> {
        let table = &mut self.rows.table;
        let Some((_, row)) = self.expiring.next_due(self.watermark, table)? else {
            return Ok(true);
        };
        table.touch(row)?;
        let kept = table.value_mut(row);
        drop_expired(&mut kept.first, self.interval.first_waits(), self.watermark);
        drop_expired(
            &mut kept.second,
            self.interval.second_waits(),
            self.watermark,
        );
        match kept.expires(self.interval) {
            Some(expires) => self.expiring.insert(expires, row, table)?,
            None => {
                table.remove(row)?;
            }
        }
        Ok(false)
    }
}

impl<A, B, S, P> Work<Hashed<Either<A, B>>> for IntervalJoining<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    P: IntervalJoinFunction<A, B>,
{
    type Out = P::Out;

    fn look_ahead(&mut self, run: &[Event<Hashed<Either<A, B>>>]) -> Result<(), Failure> {
        self.selector.load(&mut self.rows.table, run)
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Hashed<Either<A, B>>>,
        out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let ts = event.ts;
        let Hashed { hash, value } = event.value;
        // Before any watermark nothing is late.
        if ts <= self.watermark && self.watermark != MIN_TIMESTAMP {
            self.too_late(Event { ts, value }, out, cx);
            return Ok(());
        }
        let table = &mut self.rows.table;
        let row = self.selector.find(table, hash, &value, Waiting::default)?;
        let Interval { lower, upper } = self.interval;
        let is_first = matches!(value, Either::First(_));
        let (from, until) = match is_first {
            true => (ts.saturating_add(lower), ts.saturating_add(upper)),
            false => (ts.saturating_sub(upper), ts.saturating_sub(lower)),
        };
        self.keep(row, ts, value)?;
        self.meeting = Some(Meeting {
            row,
            ts,
            is_first,
            next: (from, 0),
            until,
            now: cx.now(),
        });
        Ok(())
    }

    #[inline]
    fn more(&mut self, out: &mut Emitter<P::Out>, _cx: &mut TaskContext) -> Result<bool, Failure> {
        if let Some(meeting) = self.meeting.take() {
            self.meeting = self.meet(meeting, out)?;
        }
        Ok(self.meeting.is_none())
    }

    fn control(
        &mut self,
        control: Control,
        _out: &mut Emitter<P::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = self.watermark.max(watermark);
                return self.expire();
            }
            Control::Barrier(_) => {
                self.rows.freeze(&mut [self.expiring.order()], cx)?;
                let snapshot = cx.open_snapshot()?;
                snapshot.blob::<Timestamp>(self.rows.uid(), STATE, &self.watermark)?;
            }
            Control::Aborted(checkpoint) => self.rows.abort(checkpoint),
            _ => {}
        }
        Ok(true)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }

    /// Shows the records that may still meet others, of both streams.
    fn query(
        &mut self,
        query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        type Shown<A, B> = (Vec<Event<A>>, Vec<Event<B>>);
        self.rows.query::<Shown<A, B>>(query, |row| {
            codec::encode(&(events(&row.first), events(&row.second))).map(Some)
        })
    }
}

impl<A, B, S, P> OperatorFactory for IntervalJoinOperator<A, B, S, P>
where
    A: Record,
    B: Record,
    S: KeySelector<Either<A, B>>,
    P: IntervalJoinFunction<A, B>,
{
    /// The function may write to any tag.
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.interval.check()?;
        match (&self.late.first, &self.late.second) {
            (Some(first), Some(second)) if first.name() == second.name() => {
                return Err(format!(
                    "late records of both streams are to go to side output \"{}\": give one another name",
                    first.name()
                ));
            }
            _ => {}
        }
        self.late.first.iter().try_for_each(|tag| tag.check(read))?;
        self.late.second.iter().try_for_each(|tag| tag.check(read))
    }

    fn states(&self) -> Vec<StateType> {
        vec![
            Rows::<S::Key, Waiting<A, B>>::state(),
            StateType::of::<Timestamp>(STATE),
        ]
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        if let Some(tag) = &self.late.first {
            self.sides.declare(tag);
        }
        if let Some(tag) = &self.late.second {
            self.sides.declare(tag);
        }
        let work = IntervalJoining::restore(self, cx)?;
        let driver = Driver::new(work, cx, outlets, &self.sides)?;
        Ok(AnyStage::new::<Hashed<Either<A, B>>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<Either<A, B>>>::task(stage)
    }
}
