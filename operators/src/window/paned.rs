//! Windows of fixed size by event time, by panes.
//!
//! ```text
//! snapshot  rows "rows"      key -> panes
//!           blob "windows" = { figures, fired: [(key groups, watermark)] }
//! ```
//!
//! A window fires when the watermark reaches its last millisecond, and again for each record that comes
//! within the allowed lateness. Windows that have fired don't fire twice after a restore, see [`Reached`].

use std::ops::RangeInclusive;

use rivus_core::{
    BuildContext, Control, Event, Failure, Hashed, Key, KeyGroupRange, Record, RowId, StateAnswer,
    StateQuery, StateType, SubtaskMetrics, TaskContext, Timestamp, codec,
};
use serde::{Deserialize, Serialize};

use super::logic::WindowLogic;
use super::panes::{PaneCursor, PaneIndex, PaneRing};
use super::reached::Reached;
use super::slices::Panes;
use super::{Window, WindowAssigner, Windowed};
use crate::OwnedOrLent;
use crate::driver::Work;
use crate::keyed::Rows;
use crate::outlet::Emitter;
use crate::selector::KeySelector;
use crate::side::SideOutputTag;

/// Name of its own state in a snapshot.
pub(super) const STATE: &str = "windows";

/// Rows looked at between two looks at the buffer and the clock.
const STEP: usize = 32;

/// What a snapshot holds beside the rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "rivus.WindowsState")]
pub(super) struct WindowsState {
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
    /// The watermark at which the first of them does.
    partly_late_at: Timestamp,
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

/// Windows of a row that a late record makes fire once more.
struct Again {
    id: RowId,
    /// Those of its pane that are still to be looked at.
    windows: RangeInclusive<i64>,
    reached: Timestamp,
}

/// What was taken out: the key, if its row went too, and the pane.
type TakenPane<K, A> = (Option<K>, Option<A>);

/// The work of windows by panes.
pub(super) struct PanedWindows<In, S: KeySelector<In>, L: WindowLogic<S::Key, In = In>> {
    selector: S,
    logic: L,
    lateness: i64,
    late: Option<SideOutputTag<In>>,
    figures: [i64; 3],
    panes: Panes,
    rows: Rows<S::Key, PaneRing<L::Acc>>,
    index: PaneIndex,
    reached: Reached,
    /// All windows before this one have fired.
    unfired: i64,
    cursor: Cursor,
    firing: Option<Firing>,
    /// Rows of the window that is being fired, the next one last.
    read: Vec<RowId>,
    results: Vec<L::Out>,
    taken: Vec<RowId>,
    again: Option<Again>,
}

impl<In, S, L> PanedWindows<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    pub(super) fn states() -> Vec<StateType> {
        vec![
            Rows::<S::Key, PaneRing<L::Acc>>::state(),
            StateType::of::<WindowsState>(STATE),
        ]
    }

    pub(super) fn new(
        selector: S,
        logic: L,
        assigner: &WindowAssigner,
        late: (i64, Option<SideOutputTag<In>>),
        cx: &BuildContext<'_>,
    ) -> Result<Self, Failure> {
        let panes = assigner.panes()?;
        let rows = Rows::restore(cx)?;
        let index = PaneIndex::new(&rows.table);
        let (lateness, late) = late;
        let mut work = Self {
            selector,
            logic,
            lateness,
            late,
            figures: panes.figures(),
            panes,
            rows,
            index,
            reached: Reached::new(cx.info),
            unfired: i64::MIN,
            cursor: Self::cursor(&panes, lateness, 0),
            firing: None,
            read: Vec::new(),
            results: Vec::new(),
            taken: Vec::new(),
            again: None,
        };
        work.restore(cx)?;
        Ok(work)
    }

    fn restore(&mut self, cx: &BuildContext<'_>) -> Result<(), Failure> {
        let states: Vec<WindowsState> = cx.restored.blobs(cx.uid, STATE)?;
        for state in &states {
            if state.figures != self.figures {
                return Err(Failure::job(format!(
                    "windows of operator {} were {:?} ms (size, slide, offset) and are {:?} now: \
                     give the operator another uid",
                    cx.uid, state.figures, self.figures,
                )));
            }
        }
        self.reached
            .restore(states.into_iter().flat_map(|state| state.fired));
        self.unfired = self.panes.first_unfired(self.reached.watermark());
        let index = &mut self.index;
        self.rows.table.visit("", |id, panes| {
            panes.numbers().try_for_each(|pane| index.enter(pane, id))
        })
    }

    fn snapshot(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.rows.freeze(self.index.orders().as_mut_slice(), cx)?;
        let state = WindowsState {
            figures: self.figures,
            fired: self.reached.fired(),
        };
        let snapshot = cx.open_snapshot()?;
        snapshot.blob::<WindowsState>(self.rows.uid(), STATE, &state)?;
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
            partly_late_at: panes.fires_at(first, lateness),
            fires_at: panes.fires_at(first, 0),
            between: first > last,
        }
    }

    fn too_late<V: OwnedOrLent<In>>(
        &self,
        ts: Timestamp,
        value: V,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
        cx: &TaskContext,
    ) {
        SubtaskMetrics::add(&cx.metrics.late, self.logic.records(value.borrow()));
        if let Some(tag) = &self.late {
            out.sides.push(tag, Event::at(ts, value.into_owned()));
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
        let reached = self.reached.of_hash(hash);
        if reached >= cursor.late_at {
            self.too_late(ts, value, out, cx);
            return Ok(());
        }
        if reached >= cursor.partly_late_at {
            let records = self.logic.records(value.borrow());
            SubtaskMetrics::add(&cx.metrics.partly_late, records);
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
            let panes = &self.panes;
            let windows = panes.first_window(cursor.pane)..=panes.last_window(cursor.pane);
            self.again = Some(Again {
                id,
                windows,
                reached,
            });
        }
        Ok(())
    }

    /// What a window holds whose panes these are.
    #[inline]
    fn merged(logic: &L, panes: &[(i64, L::Acc)]) -> Option<L::Acc> {
        let ((_, first), others) = panes.split_first()?;
        let mut acc = first.clone();
        for (_, other) in others {
            logic.merge(&mut acc, other.clone());
        }
        Some(acc)
    }

    /// A key's windows that take records still, with what they hold.
    fn open_windows(
        ring: &PaneRing<L::Acc>,
        panes: &Panes,
        logic: &L,
        is_over: impl Fn(i64) -> bool,
    ) -> Vec<(Window, L::Acc)> {
        let mut open = Vec::new();
        let mut next = i64::MIN;
        for pane in ring.numbers() {
            let first = panes.first_window(pane).max(next);
            let last = panes.last_window(pane);
            for window in (first..=last).filter(|window| !is_over(*window)) {
                let (from, to) = panes.of_window(window);
                let held = Self::merged(logic, ring.range(from, to));
                open.extend(held.map(|held| (panes.window(window), held)));
            }
            next = next.max(last.saturating_add(1));
        }
        open
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
        let Some(acc) = Self::merged(&self.logic, table.value(id).range(from, to)) else {
            return Ok(());
        };
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

    /// Fires again, for one key, some of a pane's windows that have fired and still take records. Returns whether those
    /// were the last.
    #[cold]
    fn fire_again(
        &mut self,
        mut again: Again,
        out: &mut Emitter<Windowed<S::Key, L::Out>>,
    ) -> Result<bool, Failure> {
        for window in again.windows.by_ref().take(STEP) {
            let fired = self.panes.fires_at(window, 0) <= again.reached;
            if fired && self.panes.fires_at(window, self.lateness) > again.reached {
                self.fire(again.id, window, out)?;
            }
        }
        let last = again.windows.is_empty();
        self.again = (!last).then_some(again);
        Ok(last)
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
        let is_due = self.panes.fires_at(window, 0) <= self.reached.watermark();
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
                self.unfired = self
                    .unfired
                    .max(self.panes.first_unfired(self.reached.watermark()));
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
            if is_first && self.reached.floor(id.group()) < fires_at {
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
            if self.reached.floor(id.group()) >= ts {
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
        if self.panes.fires_at(last, self.lateness) > self.reached.watermark() {
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

impl<In, S, L> Work<Hashed<In>> for PanedWindows<In, S, L>
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

    #[inline]
    fn more(
        &mut self,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match self.again.take() {
            Some(again) => self.fire_again(again, out),
            None => Ok(true),
        }
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<Self::Out>,
        cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        match control {
            Control::Watermark(watermark) => {
                self.reached.advance(watermark);
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

    /// Shows a key's open windows, earliest first, with what they hold.
    fn query(
        &mut self,
        query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        if query.operator != *self.rows.uid() {
            return Ok(None);
        }
        let (panes, logic, lateness) = (self.panes, &self.logic, self.lateness);
        let reached = self.reached.of_hash(query.hash);
        let is_over = |window| panes.fires_at(window, lateness) <= reached;
        self.rows.query::<Vec<(Window, L::Acc)>>(query, |ring| {
            let open = Self::open_windows(ring, &panes, logic, is_over);
            (!open.is_empty()).then(|| codec::encode(&open)).transpose()
        })
    }
}
