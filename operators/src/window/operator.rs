//! The window operator.
//!
//! ```text
//! snapshot  rows "rows"      key -> panes
//!           blob "windows" = { figures, fired: [(key groups, watermark)] }
//! ```
//!
//! A window fires when the watermark reaches its last millisecond, and again for each record that comes
//! within the allowed lateness. How far windows had fired is kept by key group: after a restore at
//! another parallelism one subtask may own groups that had got further than its watermark; their windows
//! don't fire twice.

use std::marker::PhantomData;
use std::time::Duration;

use rivus_core::{
    AnyStage, BuildContext, Chain, Control, Event, Failure, Hashed, Key, KeyGroup, KeyGroupRange,
    MIN_TIMESTAMP, OperatorFactory, Outlets, Record, RowId, SidesRead, SubtaskMetrics, Task,
    TaskContext, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::assigner::Panes;
use super::logic::{WindowAggregate, WindowFunction, WindowLogic, WindowProcess, WindowReduce};
use super::panes::{PaneCursor, PaneIndex, PaneRing};
use super::{WindowAssigner, Windowed, millis};
use crate::OwnedOrLent;
use crate::driver::{Driver, Work};
use crate::keyed::{AggregateFunction, Rows};
use crate::outlet::Emitter;
use crate::selector::KeySelector;
use crate::side::{SideOutputTag, SideOutputs, check_only};

/// Name of its own state in a snapshot.
const STATE: &str = "windows";

/// Rows looked at between two looks at the buffer and the clock.
const STEP: usize = 32;

/// Makes stages that gather records by key and window, and emit
/// `Windowed<S::Key, L::Out>` at the window's last millisecond.
///
/// ```
/// use rivus_operators::{Count, WindowAssigner, WindowOperator, by_ref};
/// use std::time::Duration;
///
/// let by_page = by_ref::<String, str, _>(|page| page);
/// let views = WindowOperator::aggregate(
///     by_page,
///     WindowAssigner::tumbling(Duration::from_secs(60)),
///     Count::<String>::new(),
/// )
/// .allowed_lateness(Duration::from_secs(10));
/// # let _: &dyn rivus_core::OperatorFactory = &views;
/// ```
pub struct WindowOperator<In, S, L> {
    selector: S,
    assigner: WindowAssigner,
    logic: L,
    lateness: i64,
    late: Option<SideOutputTag<In>>,
}

impl<In: Record, S: KeySelector<In>, L: WindowLogic<S::Key, In = In>> WindowOperator<In, S, L> {
    fn new(selector: S, assigner: WindowAssigner, logic: L) -> Self {
        Self {
            selector,
            assigner,
            logic,
            lateness: 0,
            late: None,
        }
    }

    /// A window takes records for this much longer after it fired, and fires again for each.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = millis(lateness);
        self
    }

    /// Records that are too late for all of their windows go to a side output, which somebody must read;
    /// without one they are counted.
    pub fn late_output(mut self, tag: SideOutputTag<In>) -> Self {
        self.late = Some(tag);
        self
    }
}

impl<S, A> WindowOperator<A::In, S, WindowAggregate<A>>
where
    A: AggregateFunction,
    S: KeySelector<A::In>,
{
    /// By an aggregate function; emits `Windowed<S::Key, A::Out>`.
    pub fn aggregate(selector: S, assigner: WindowAssigner, function: A) -> Self {
        Self::new(selector, assigner, WindowAggregate(function))
    }
}

impl<T, S, F> WindowOperator<T, S, WindowReduce<T, F>>
where
    T: Record,
    S: KeySelector<T>,
    F: Fn(&mut T, T) + Clone + Send + Sync + 'static,
{
    /// By a function that folds a record into what was gathered; emits `Windowed<S::Key, T>`.
    pub fn reduce(selector: S, assigner: WindowAssigner, fold: F) -> Self {
        let logic = WindowReduce {
            fold,
            of: PhantomData,
        };
        Self::new(selector, assigner, logic)
    }
}

impl<T, S, P> WindowOperator<T, S, WindowProcess<T, P>>
where
    T: Record,
    S: KeySelector<T>,
    P: WindowFunction<S::Key, T>,
{
    /// By a function of all records of a window; emits `Windowed<S::Key, P::Out>`.
    pub fn process(selector: S, assigner: WindowAssigner, function: P) -> Self {
        let logic = WindowProcess {
            function,
            of: PhantomData,
        };
        Self::new(selector, assigner, logic)
    }
}

/// What a snapshot holds beside the rows.
#[derive(Debug, Serialize, Deserialize)]
struct WindowsState {
    /// Size, slide and offset: the panes in the rows mean nothing with others.
    figures: [i64; 3],
    /// Windows of these key groups had fired up to a watermark.
    fired: Vec<(KeyGroupRange, Timestamp)>,
}

/// The pane of the last record; the next one most often lies in it too.
#[derive(Clone, Copy)]
struct Cursor {
    pane: i64,
    start: Timestamp,
    end: Timestamp,
    /// The watermark at which the last of its windows takes no more records.
    late_at: Timestamp,
    /// The watermark at which the first of its windows fires.
    fires_at: Timestamp,
    /// Whether no window has it.
    between: bool,
}

/// A window that is being fired, and how far its rows have been read, pane by pane.
#[derive(Clone)]
struct Firing {
    window: i64,
    pane: i64,
    read: PaneCursor,
}

/// What was taken out: the key, if its row went too, and the pane.
type TakenPane<K, A> = (Option<K>, Option<A>);

struct Windowing<In, S: KeySelector<In>, L: WindowLogic<S::Key, In = In>> {
    selector: S,
    logic: L,
    lateness: i64,
    late: Option<SideOutputTag<In>>,
    figures: [i64; 3],
    panes: Panes,
    rows: Rows<S::Key, PaneRing<L::Acc>>,
    index: PaneIndex,
    watermark: Timestamp,
    /// How far windows of a key group have fired, where that is further than the watermark.
    floors: Vec<Timestamp>,
    highest_floor: Timestamp,
    key_groups: KeyGroupRange,
    max_parallelism: u32,
    /// All windows before this one have fired.
    unfired: i64,
    cursor: Cursor,
    firing: Option<Firing>,
    /// Rows of the window that is being fired, the next one last.
    read: Vec<RowId>,
    results: Vec<L::Out>,
    taken: Vec<RowId>,
}

impl<In, S, L> Windowing<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    fn new(operator: &WindowOperator<In, S, L>, cx: &BuildContext<'_>) -> Result<Self, Failure> {
        let panes = operator.assigner.panes()?;
        let key_groups = cx.info.key_groups();
        let rows = Rows::restore(cx)?;
        let index = PaneIndex::new(&rows.table);
        let mut work = Self {
            selector: operator.selector.clone(),
            logic: operator.logic.clone(),
            lateness: operator.lateness,
            late: operator.late.clone(),
            figures: operator.assigner.figures(),
            panes,
            rows,
            index,
            watermark: MIN_TIMESTAMP,
            floors: vec![MIN_TIMESTAMP; key_groups.len()],
            highest_floor: MIN_TIMESTAMP,
            key_groups,
            max_parallelism: cx.info.max_parallelism,
            unfired: i64::MIN,
            cursor: Self::cursor(&panes, operator.lateness, 0),
            firing: None,
            read: Vec::new(),
            results: Vec::new(),
            taken: Vec::new(),
        };
        work.restore(cx)?;
        Ok(work)
    }

    fn restore(&mut self, cx: &BuildContext<'_>) -> Result<(), Failure> {
        let states: Vec<WindowsState> = cx.restored.blobs(cx.uid, STATE)?;
        for state in states {
            if state.figures != self.figures {
                return Err(Failure::job(format!(
                    "windows of operator {} were {:?} ms (size, slide, offset) and are {:?} now: \
                     give the operator another uid",
                    cx.uid, state.figures, self.figures,
                )));
            }
            for (groups, watermark) in state.fired {
                for group in groups.start..groups.end {
                    if self.key_groups.contains(KeyGroup(group)) {
                        let floor = &mut self.floors[usize::from(group - self.key_groups.start)];
                        *floor = watermark.max(*floor);
                    }
                }
            }
        }
        self.highest_floor = self.floors.iter().copied().max().unwrap_or(MIN_TIMESTAMP);
        self.watermark = self.floors.iter().copied().min().unwrap_or(MIN_TIMESTAMP);
        self.unfired = self.panes.first_unfired(self.watermark);
        let index = &mut self.index;
        self.rows
            .table
            .visit(|id, panes| panes.numbers().try_for_each(|pane| index.enter(pane, id)))
    }

    fn snapshot(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.rows.freeze(cx)?;
        let mut fired: Vec<(KeyGroupRange, Timestamp)> = Vec::new();
        for (group, floor) in self.floors.iter().enumerate() {
            let start = self.key_groups.start + group as u16;
            let watermark = self.watermark.max(*floor);
            match fired.last_mut() {
                Some((groups, same)) if *same == watermark => groups.end = start + 1,
                _ => fired.push((
                    KeyGroupRange {
                        start,
                        end: start + 1,
                    },
                    watermark,
                )),
            }
        }
        let state = WindowsState {
            figures: self.figures,
            fired,
        };
        let snapshot = cx.open_snapshot()?;
        snapshot.blob(self.rows.uid(), STATE, &state)?;
        Ok(())
    }

    fn cursor(panes: &Panes, lateness: i64, ts: Timestamp) -> Cursor {
        let pane = panes.pane(ts);
        let (start, end) = panes.bounds(pane);
        let (first, last) = (panes.first_window(pane), panes.last_window(pane));
        Cursor {
            pane,
            start,
            end,
            late_at: panes.fires_at(last, lateness),
            fires_at: panes.fires_at(first, 0),
            between: first > last,
        }
    }

    /// How far windows of a record's key group have fired.
    #[inline]
    fn reached(&self, hash: u64) -> Timestamp {
        if self.highest_floor <= self.watermark {
            return self.watermark;
        }
        let group = KeyGroup::of(hash, self.max_parallelism).0 - self.key_groups.start;
        self.watermark.max(self.floors[usize::from(group)])
    }

    fn too_late<V: OwnedOrLent<In>>(
        &self,
        ts: Timestamp,
        value: V,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
        cx: &TaskContext,
    ) {
        match &self.late {
            Some(tag) => out.sides.push(tag, Event::at(ts, value.into_owned())),
            None => SubtaskMetrics::add(&cx.metrics.late, 1),
        }
    }

    #[inline]
    fn gather<V: OwnedOrLent<In>>(
        &mut self,
        ts: Timestamp,
        hash: u64,
        value: V,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
        cx: &TaskContext,
    ) -> Result<(), Failure> {
        if ts < self.cursor.start || ts >= self.cursor.end {
            self.cursor = Self::cursor(&self.panes, self.lateness, ts);
        }
        let cursor = self.cursor;
        if cursor.between {
            return Ok(());
        }
        let reached = self.reached(hash);
        if reached >= cursor.late_at {
            self.too_late(ts, value, out, cx);
            return Ok(());
        }
        let table = &mut self.rows.table;
        let id = self
            .selector
            .find(table, hash, value.borrow(), PaneRing::default)?;
        let logic = &self.logic;
        let (acc, is_new) = table.value_mut(id).entry(cursor.pane, || logic.create());
        logic.add(acc, value);
        if is_new {
            self.index.push(cursor.pane, id, table)?;
        }
        if self.lateness > 0 && reached >= cursor.fires_at {
            self.fire_again(id, cursor.pane, reached, out)?;
        }
        Ok(())
    }

    /// Fires a window of a row, merging its panes. Panes stay.
    fn fire(
        &mut self,
        id: RowId,
        window: i64,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
    ) -> Result<(), Failure> {
        let (from, to) = self.panes.of_window(window);
        let table = &self.rows.table;
        let Some(((_, first), others)) = table.value(id).range(from, to).split_first() else {
            return Ok(());
        };
        let mut acc = first.clone();
        for (_, other) in others {
            self.logic.merge(&mut acc, other.clone());
        }
        let bounds = self.panes.window(window);
        let key = table.key(id);
        self.logic
            .finish(key, bounds, acc, &mut self.results)
            .map_err(|error| Failure::user(&error))?;
        let ts = self.panes.fires_at(window, 0);
        for value in self.results.drain(..) {
            let key = key.clone();
            out.emit(
                ts,
                Windowed {
                    key,
                    window: bounds,
                    value,
                },
            );
        }
        Ok(())
    }

    /// Fires again, for one key, every window of a pane that has fired and still takes records.
    #[cold]
    fn fire_again(
        &mut self,
        id: RowId,
        pane: i64,
        reached: Timestamp,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
    ) -> Result<(), Failure> {
        for window in self.panes.first_window(pane)..=self.panes.last_window(pane) {
            let fired = self.panes.fires_at(window, 0) <= reached;
            if fired && self.panes.fires_at(window, self.lateness) > reached {
                self.fire(id, window, out)?;
            }
        }
        Ok(())
    }

    /// The next window that has records and that the watermark has reached.
    fn next_due(&mut self) -> Result<Option<Firing>, Failure> {
        let (from, _) = self.panes.of_window(self.unfired);
        let Some(pane) = self.index.first(from)? else {
            return Ok(None);
        };
        let window = self.panes.first_window(pane).max(self.unfired);
        if window > self.panes.last_window(pane) {
            // At the end of time panes of different windows fall together.
            return Ok(None);
        }
        let is_due = self.panes.fires_at(window, 0) <= self.watermark;
        Ok(is_due.then(|| Firing {
            window,
            pane,
            read: PaneCursor::default(),
        }))
    }

    /// Whether a pane is one window, and goes when that has fired.
    fn fires_once(&self) -> bool {
        self.lateness == 0 && self.panes.per_window == 1 && self.panes.per_slide == 1
    }

    /// Does a step of what a watermark sets off. Returns whether that was the last.
    fn advance(&mut self, out: &mut Emitter<Windowed<S::Key, L::Out>>) -> Result<bool, Failure> {
        if self.firing.is_none() {
            self.firing = self.next_due()?;
        }
        match self.firing.take() {
            Some(firing) if self.fires_once() => self.fire_and_drop(firing, out)?,
            Some(firing) => self.fire_some(firing, out)?,
            None => {
                self.unfired = self.unfired.max(self.panes.first_unfired(self.watermark));
                return self.expire_some();
            }
        }
        Ok(false)
    }

    /// Fires some of a window's rows: each is found in the list of its first pane inside the window.
    fn fire_some(
        &mut self,
        mut firing: Firing,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
    ) -> Result<(), Failure> {
        let (from, to) = self.panes.of_window(firing.window);
        let fires_at = self.panes.fires_at(firing.window, 0);
        if self.read.is_empty() {
            let table = &mut self.rows.table;
            let (pane, cursor) = (firing.pane, &mut firing.read);
            self.index.read(pane, cursor, STEP, table, &mut self.read)?;
            self.read.reverse();
        }
        if self.read.is_empty() {
            firing.read = PaneCursor::default();
            match self.index.first(firing.pane.saturating_add(1))? {
                Some(pane) if pane <= to && pane > firing.pane => firing.pane = pane,
                _ => {
                    self.unfired = firing.window.saturating_add(1);
                    return Ok(());
                }
            }
        }
        while let Some(id) = self.read.pop() {
            let first = self.rows.table.value(id).range(from, to).first();
            let is_first = first.is_some_and(|(pane, _)| *pane == firing.pane);
            if is_first && self.floors[id.group() as usize] < fires_at {
                self.fire(id, firing.window, out)?;
            }
            if out.is_full() {
                break;
            }
        }
        self.firing = Some(firing);
        Ok(())
    }

    /// Fires some of a window's rows, and takes its only pane out of them.
    fn fire_and_drop(
        &mut self,
        firing: Firing,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
    ) -> Result<(), Failure> {
        let window = self.panes.window(firing.window);
        let ts = self.panes.fires_at(firing.window, 0);
        let mut taken = std::mem::take(&mut self.taken);
        let table = &mut self.rows.table;
        self.index.take(firing.pane, STEP, table, &mut taken)?;
        for id in taken.drain(..) {
            let (key, acc) = self.take_pane(id, firing.pane)?;
            let Some(acc) = acc else { continue };
            if self.floors[id.group() as usize] >= ts {
                continue;
            }
            let found = match &key {
                Some(key) => key,
                None => self.rows.table.key(id),
            };
            self.logic
                .finish(found, window, acc, &mut self.results)
                .map_err(|error| Failure::user(&error))?;
            let last = self.results.pop();
            for value in self.results.drain(..) {
                let key = found.clone();
                out.emit(ts, Windowed { key, window, value });
            }
            if let Some(value) = last {
                let key = key.unwrap_or_else(|| self.rows.table.key(id).clone());
                out.emit(ts, Windowed { key, window, value });
            }
        }
        self.taken = taken;
        if self.index.first(firing.pane)? == Some(firing.pane) {
            self.firing = Some(firing);
        } else {
            self.unfired = firing.window.saturating_add(1);
        }
        Ok(())
    }

    /// Takes a pane out of a row; and the row out of the table, with its key, if that was its last.
    fn take_pane(&mut self, id: RowId, pane: i64) -> Result<TakenPane<S::Key, L::Acc>, Failure> {
        let table = &mut self.rows.table;
        if table.value(id).len() == 1 {
            return Ok(match table.remove(id)? {
                Some((key, mut ring)) => (Some(key), ring.take(pane)),
                None => (None, None),
            });
        }
        table.touch(id)?;
        Ok((None, table.value_mut(id).take(pane)))
    }

    /// Drops some panes that no window will want again. Returns whether there are no more.
    fn expire_some(&mut self) -> Result<bool, Failure> {
        let Some(pane) = self.index.first(i64::MIN)? else {
            return Ok(true);
        };
        let last = self.panes.last_window(pane);
        if self.panes.fires_at(last, self.lateness) > self.watermark {
            return Ok(true);
        }
        let mut taken = std::mem::take(&mut self.taken);
        let table = &mut self.rows.table;
        self.index.take(pane, STEP, table, &mut taken)?;
        for id in taken.drain(..) {
            self.take_pane(id, pane)?;
        }
        self.taken = taken;
        Ok(false)
    }
}

impl<In, S, L> Work<Hashed<In>> for Windowing<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
    S::Key: Key,
{
    type Out = Windowed<S::Key, L::Out>;

    fn look_ahead(&mut self, run: &[Event<Hashed<In>>]) -> Result<(), Failure> {
        self.selector.load(&mut self.rows.table, run)
    }

    #[inline]
    fn record(
        &mut self,
        event: Event<Hashed<In>>,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = event.value;
        self.gather(event.ts, hash, value, out, cx)
    }

    #[inline]
    fn lent(
        &mut self,
        event: &Event<Hashed<In>>,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Hashed { hash, value } = &event.value;
        self.gather(event.ts, *hash, value, out, cx)
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = self.watermark.max(watermark);
                return self.advance(out);
            }
            Control::Barrier(_) => self.snapshot(cx)?,
            Control::Aborted(checkpoint) => self.rows.abort(checkpoint),
            _ => {}
        }
        Ok(true)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }
}

impl<In, S, L> OperatorFactory for WindowOperator<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    fn check(&self, read: &SidesRead) -> Result<(), String> {
        self.assigner.panes().map_err(|failure| failure.message)?;
        self.logic.check()?;
        check_only(self.late.as_ref(), read)
    }

    fn stage(&self, cx: &BuildContext<'_>, outlets: Outlets) -> Result<AnyStage, Failure> {
        let work = Windowing::new(self, cx)?;
        let sides = SideOutputs::new();
        if let Some(tag) = &self.late {
            sides.declare(tag);
        }
        let driver = Driver::new(work, cx, outlets, &sides)?;
        Ok(AnyStage::new::<Hashed<In>>(Box::new(driver)))
    }

    fn head(&self, stage: AnyStage) -> Result<Box<dyn Task>, Failure> {
        Chain::<Hashed<In>>::task(stage)
    }
}
