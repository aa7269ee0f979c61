//! Windows one by one: sessions, processing time, global windows, triggers and evictors.
//!
//! ```text
//! snapshot  rows "rows"           key -> live windows: bounds, what is held, trigger state, timers
//!           blob "live windows" = { assigner, fired: [(key groups, watermark)] }
//! ```
//!
//! A window has a timer for whatever its trigger has asked for, and ends for good when its clock has passed its last
//! millisecond and the allowed lateness. Rows stand in the order of both clocks by what is to be done next, see
//! [`WindowRow`]; the order follows from the rows and isn't part of the snapshot.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rivus_core::{
    BuildContext, Control, Event, Failure, Hashed, KeyGroupRange, Record, RowId, StateAnswer,
    StateQuery, StateType, SubtaskMetrics, TaskContext, Timestamp, codec,
};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::assigner::WindowKind;
use super::contents::Contents;
use super::orders::Orders;
use super::reached::Reached;
use super::row::{Due, Lifetime, LiveWindow, WindowRow};
use super::scene::Scene;
use super::slices::Panes;
use super::trigger::Trigger;
use super::{Window, WindowAssigner, Windowed, millis};
use crate::OwnedOrLent;
use crate::driver::Work;
use crate::keyed::{Rows, TimeDomain};
use crate::outlet::Emitter;
use crate::selector::KeySelector;
use crate::side::SideOutputTag;

/// Name of its own state in a snapshot.
pub(super) const STATE: &str = "live windows";

/// How long a record keeps its session open.
pub(super) type GapOf<In> = Arc<dyn Fn(&In) -> Duration + Send + Sync>;

/// What a snapshot holds beside the rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "rivus.LiveState")]
pub(super) struct LiveState {
    /// What the windows were.
    assigner: String,
    /// How far event time had got in these key groups.
    fired: Vec<(KeyGroupRange, Timestamp)>,
}

/// Which windows a record belongs to.
enum Assign<In> {
    Sliced(Panes),
    Session(i64, Option<GapOf<In>>),
    Global,
}

impl<In> Assign<In> {
    fn new(assigner: &WindowAssigner, gap_of: Option<GapOf<In>>) -> Result<Self, Failure> {
        Ok(match assigner.kind() {
            WindowKind::Sliced { .. } => Self::Sliced(assigner.panes()?),
            WindowKind::Session { gap } => Self::Session(gap, gap_of),
            WindowKind::Global => Self::Global,
        })
    }
}

/// The windows that a time belongs to, earliest first.
enum AllOf {
    /// By number.
    Sliced(Panes, RangeInclusive<i64>),
    /// Whether it is still to come.
    Global(bool),
}

impl AllOf {
    fn next(&mut self) -> Option<Window> {
        match self {
            Self::Sliced(panes, numbers) => Some(panes.window(numbers.next()?)),
            Self::Global(is_left) => std::mem::take(is_left).then_some(Window::GLOBAL),
        }
    }
}

/// What is set on the operator.
pub(super) struct LiveSettings<In, C, G> {
    pub(super) assigner: WindowAssigner,
    pub(super) gap_of: Option<GapOf<In>>,
    pub(super) contents: C,
    pub(super) trigger: G,
    pub(super) lateness: i64,
    pub(super) late: Option<SideOutputTag<In>>,
}

/// A record on its way to its windows.
struct Arrived<V> {
    ts: Timestamp,
    /// Where it lies by the clock that ends windows.
    at: Timestamp,
    hash: u64,
    /// As its key group knows it.
    watermark: Timestamp,
    value: V,
}

type Row<In, S, C, G> =
    WindowRow<<C as Contents<<S as KeySelector<In>>::Key>>::Held, <G as Trigger<In>>::State>;

type RowAndScene<'a, In, S, C, G> = (
    &'a mut Row<In, S, C, G>,
    Scene<'a, <S as KeySelector<In>>::Key, C, G>,
);

/// The work of windows one by one.
pub(super) struct LiveWindows<In, S, C, G>
where
    S: KeySelector<In>,
    C: Contents<S::Key, In = In>,
    G: Trigger<In>,
{
    selector: S,
    assigner: WindowAssigner,
    assign: Assign<In>,
    contents: C,
    trigger: G,
    lifetime: Lifetime,
    late: Option<SideOutputTag<In>>,
    rows: Rows<S::Key, Row<In, S, C, G>>,
    orders: Orders,
    reached: Reached,
    /// Whether the watermark that is being worked on is a new one.
    advancing: bool,
    /// Which time had passed when the tick began that is being worked on: what becomes due meanwhile waits for a tick of its own.
    ticking: Option<Timestamp>,
    results: Vec<C::Out>,
}

impl<In, S, C, G> LiveWindows<In, S, C, G>
where
    In: Record,
    S: KeySelector<In>,
    C: Contents<S::Key, In = In>,
    G: Trigger<In>,
{
    pub(super) fn states() -> Vec<StateType> {
        vec![
            Rows::<S::Key, Row<In, S, C, G>>::state(),
            StateType::of::<LiveState>(STATE),
        ]
    }

    pub(super) fn new(
        selector: S,
        settings: LiveSettings<In, C, G>,
        cx: &BuildContext<'_>,
    ) -> Result<Self, Failure> {
        let LiveSettings {
            assigner,
            gap_of,
            contents,
            trigger,
            lateness,
            late,
        } = settings;
        let rows = Rows::restore(cx)?;
        let orders = Orders::new(&rows.table, cx.unmarked_source);
        let mut work = Self {
            selector,
            assigner,
            assign: Assign::new(&assigner, gap_of)?,
            contents,
            trigger,
            lifetime: Lifetime {
                domain: assigner.domain(),
                lateness,
            },
            late,
            rows,
            orders,
            reached: Reached::new(cx.info),
            advancing: false,
            ticking: None,
            results: Vec::new(),
        };
        work.restore(cx)?;
        Ok(work)
    }

    fn restore(&mut self, cx: &BuildContext<'_>) -> Result<(), Failure> {
        let states: Vec<LiveState> = cx.restored.blobs(cx.uid, STATE)?;
        let assigner = self.assigner.to_string();
        for state in &states {
            if state.assigner != assigner {
                return Err(Failure::job(format!(
                    "windows of operator {} were {} and are {assigner} now: give the operator another uid",
                    cx.uid, state.assigner,
                )));
            }
        }
        self.reached
            .restore(states.into_iter().flat_map(|state| state.fired));
        self.orders.restore(&mut self.rows.table)
    }

    fn snapshot(&mut self, cx: &mut TaskContext) -> Result<(), Failure> {
        self.rows.freeze(&mut self.orders.all(), cx)?;
        let state = LiveState {
            assigner: self.assigner.to_string(),
            fired: self.reached.fired(),
        };
        let snapshot = cx.open_snapshot()?;
        snapshot.blob::<LiveState>(self.rows.uid(), STATE, &state)?;
        Ok(())
    }

    /// A row, and what it takes to do something with its windows.
    #[inline]
    fn scene<'a>(
        &'a mut self,
        id: RowId,
        ts: Timestamp,
        watermark: Timestamp,
        out: &'a mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &TaskContext,
    ) -> RowAndScene<'a, In, S, C, G> {
        let (key, row) = self.rows.table.row_mut(id);
        let scene = Scene {
            key,
            contents: &mut self.contents,
            trigger: &self.trigger,
            domain: self.lifetime.domain,
            watermark,
            now: cx.now(),
            ts,
            results: &mut self.results,
            out,
        };
        (row, scene)
    }

    /// Gives a record to its windows.
    #[inline]
    fn gather<V: OwnedOrLent<In>>(
        &mut self,
        ts: Timestamp,
        hash: u64,
        value: V,
        out: &mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let record = Arrived {
            ts,
            at: match self.lifetime.domain {
                Some(TimeDomain::Processing) => cx.now(),
                Some(TimeDomain::Event) | None => ts,
            },
            hash,
            watermark: self.reached.of_hash(hash),
            value,
        };
        match &self.assign {
            Assign::Sliced(panes) => {
                let windows = AllOf::Sliced(*panes, panes.numbers(record.at));
                self.give_to_each(record, windows, out, cx)?;
            }
            Assign::Global => {
                self.give_to_each(record, AllOf::Global(true), out, cx)?;
            }
            Assign::Session(gap, gap_of) => {
                let gap = match gap_of {
                    Some(gap_of) => millis(gap_of(record.value.borrow())),
                    None => *gap,
                };
                self.give_to_session(record, gap, out, cx)?;
            }
        }
        self.orders.arm(cx)
    }

    /// Gives a record to those of its windows that still take records.
    fn give_to_each<V: OwnedOrLent<In>>(
        &mut self,
        record: Arrived<V>,
        mut windows: AllOf,
        out: &mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &TaskContext,
    ) -> Result<(), Failure> {
        let (lifetime, watermark) = (self.lifetime, record.watermark);
        let mut some_are_over = false;
        // Those that are over come first.
        let first = loop {
            let Some(window) = windows.next() else {
                // Between two windows it belongs to none, and is not late.
                if some_are_over {
                    self.too_late(record, out, cx);
                }
                return Ok(());
            };
            if !lifetime.is_over(window, watermark) {
                break window;
            }
            some_are_over = true;
        };
        if some_are_over {
            SubtaskMetrics::add(&cx.metrics.partly_late, 1);
        }
        let id = self.find(&record)?;
        let (row, mut scene) = self.scene(id, record.ts, watermark, out, cx);
        let value = record.value;
        let mut due = Due::default();
        let mut window = first;
        while let Some(next) = windows.next() {
            let at = row.enter(window);
            let lent: &In = value.borrow();
            scene.take(&mut row.live[at], lent)?;
            due = due.or(row.tidy(at, lifetime));
            window = next;
        }
        let at = row.enter(window);
        scene.take(&mut row.live[at], value)?;
        due = due.or(row.tidy(at, lifetime));
        self.settle(id, due)
    }

    /// Gives a record to its session, which it may begin, make longer, or make one with others.
    fn give_to_session<V: OwnedOrLent<In>>(
        &mut self,
        record: Arrived<V>,
        gap: i64,
        out: &mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &TaskContext,
    ) -> Result<(), Failure> {
        if gap <= 0 {
            return Err(Failure::job(
                "a session's gap must be at least one millisecond: let .gap_by(..) return a longer Duration",
            ));
        }
        let own = Window::session(record.at, gap);
        let lifetime = self.lifetime;
        let is_over = lifetime.is_over(own, record.watermark);
        let id = self.find(&record)?;
        let (row, mut scene) = self.scene(id, record.ts, record.watermark, out, cx);
        let met = row.overlapping(own);
        let at = met.start;
        if met.is_empty() {
            if is_over {
                self.settle(id, Due::default())?;
                self.too_late(record, out, cx);
                return Ok(());
            }
            row.live.insert(at, LiveWindow::new(own));
        } else if met.len() > 1 || row.live[at].window.around(&own) != row.live[at].window {
            let others: SmallVec<[_; 2]> = row.live.drain(at + 1..met.end).collect();
            let live = &mut row.live[at];
            live.window = live.window.around(&own);
            scene.merge(live, others.into_iter());
        }
        scene.take(&mut row.live[at], record.value)?;
        let due = row.live[at].due(lifetime);
        self.settle(id, due)
    }

    #[inline]
    fn find<V: OwnedOrLent<In>>(&mut self, record: &Arrived<V>) -> Result<RowId, Failure> {
        let table = &mut self.rows.table;
        let value = record.value.borrow();
        Ok(self
            .selector
            .find(table, record.hash, value, WindowRow::default)?)
    }

    #[cold]
    fn too_late<V: OwnedOrLent<In>>(
        &self,
        record: Arrived<V>,
        out: &mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &TaskContext,
    ) {
        let records = self.contents.records(record.value.borrow());
        SubtaskMetrics::add(&cx.metrics.late, records);
        if let Some(tag) = &self.late {
            let event = Event::at(record.ts, record.value.into_owned());
            out.sides.push(tag, event);
        }
    }

    /// A row has changed: it goes where it belongs in the orders, or away if it has no windows any more.
    #[inline]
    fn settle(&mut self, id: RowId, due: Due) -> Result<(), Failure> {
        self.orders.settle(id, &mut self.rows.table, due)
    }

    /// Does what is due next by a clock, for all windows of a row. Returns whether nothing was.
    fn strike(
        &mut self,
        domain: TimeDomain,
        until: Timestamp,
        out: &mut Emitter<Windowed<S::Key, C::Out>>,
        cx: &TaskContext,
    ) -> Result<bool, Failure> {
        let table = &mut self.rows.table;
        let Some((ts, id)) = self.orders.take_next(domain, until, table)? else {
            return Ok(true);
        };
        let (lifetime, watermark) = (self.lifetime, self.reached.of_group(id.group()));
        let merges = matches!(self.assign, Assign::Session(..));
        let (row, mut scene) = self.scene(id, ts, watermark, out, cx);
        let mut at = 0;
        while let Some(live) = row.live.get_mut(at) {
            let ends = lifetime.ends(domain, live.window);
            let goes = ends.is_some_and(|ends| ends <= ts);
            scene.strike(live, domain, goes)?;
            // A session that was purged still meets others.
            if goes || (!merges && live.is_as_new()) {
                row.live.remove(at);
            } else {
                at += 1;
            }
        }
        let due = row.due(lifetime);
        self.settle(id, due)?;
        Ok(false)
    }
}

impl<In, S, C, G> Work<Hashed<In>> for LiveWindows<In, S, C, G>
where
    In: Record,
    S: KeySelector<In>,
    C: Contents<S::Key, In = In>,
    G: Trigger<In>,
{
    type Out = Windowed<S::Key, C::Out>;

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
        let through = match control {
            Control::Watermark(watermark) => {
                self.advancing |= self.reached.advance(watermark);
                let through =
                    !self.advancing || self.strike(TimeDomain::Event, watermark, out, cx)?;
                self.advancing = !through;
                through
            }
            Control::Tick => {
                // A time has passed when the clock shows a later one, as with watermarks.
                let passed = *self.ticking.get_or_insert(cx.now().saturating_sub(1));
                let through = self.strike(TimeDomain::Processing, passed, out, cx)?;
                if through {
                    self.ticking = None;
                }
                self.orders.wake_is_used_up();
                through
            }
            Control::Barrier(_) => {
                self.snapshot(cx)?;
                true
            }
            Control::Aborted(checkpoint) => {
                self.rows.abort(checkpoint);
                true
            }
            _ => true,
        };
        if through {
            self.orders.arm(cx)?;
        }
        Ok(through)
    }

    fn slice(&mut self, rows: usize, cx: &mut TaskContext) -> Result<bool, Failure> {
        self.rows.slice(rows, cx)
    }

    /// Shows a key's windows, earliest first, with what they hold.
    fn query(
        &mut self,
        query: &StateQuery,
        _now: Timestamp,
    ) -> Result<Option<StateAnswer>, Failure> {
        self.rows.query::<Vec<(Window, C::Held)>>(query, |row| {
            let held = row.live.iter();
            let held = held.filter_map(|live| Some((live.window, live.held.get()?)));
            let held: Vec<(Window, &C::Held)> = held.collect();
            (!held.is_empty()).then(|| codec::encode(&held)).transpose()
        })
    }
}
