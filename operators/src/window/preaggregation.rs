//! Gathering before the exchange: of the records of a key and a pane, of a key and a session, or of a key, one *partial* travels.
//!
//! It is a stage between the operator that gives the records and the router that sends them, not an operator of its own: it has no
//! uid and no state. What it keeps it sends before it passes on whatever could ask for it:
//!
//! | passed on | sent before |
//! |---|---|
//! | a watermark | the panes that it closes: those that end with it or before; all of sessions and aggregates that roll |
//! | a barrier, idleness, a flush (the input ran dry), a round of a loop, the end | all |
//! | nothing, but it keeps too many rows or bytes, or records of what has no panes | all |
//! | a record of a session that the watermark has closed, or that doesn't meet what is kept of its key | what is kept of its key |
//!
//! Sessions and aggregates that roll have no panes, and a watermark sends all. What rolls on has the time of the latest record that is in it,
//! and none may be late for its having been kept; what is kept of a session may make one longer that the watermark would end.
//!
//! A record of a pane that the watermark has closed, or whose own session it has, is sent at once and as it is. So nothing comes later for its
//! being kept: no window that has its pane fires before the pane closes, no session that it belongs to before what is kept of it has left, and
//! what is late, or makes a window fire again, is what it
//! would be without. Only where the receiver had got further than this sender (others were faster while it was idle, or
//! before a restore) can a partial be late itself; therefore it says of how many records it is.
//!
//! A partial of a session may be late in part then, and takes its late records along. So sessions are gathered from the first watermark on
//! only: after a restore that is no earlier than the last one before, unless parallelism or the watermarks' strategy have changed. What is
//! gathered of a session is merged into it as one, where one by one records might have made two sessions one first: a fold for which the order
//! of merging counts may tell. Therefore sessions are gathered only if the program asks for it.
//!
//! Within one process a record is handed on as it is, which mostly costs less than to gather it: there it is done only if the program asks for it.
//!
//! Where keys hardly repeat this is work for nothing. So it is judged by what has left: if fewer than every second record was
//! merged into another, records are passed on as they are for a while. A key's records keep their order.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;

use hashbrown::HashTable;
use rivus_core::{
    AnyStage, AsFirst, Batch, ByHash, CodecError, Control, Either, Event, Failure, HashBy, Hashed,
    InHashed, MIN_TIMESTAMP, Record, RouteFactory, SubtaskInfo, TaskContext, Timestamp, codec,
};

use super::Window;
use super::logic::WindowLogic;
use super::partial::Partial;
use super::slices::Panes;
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::selector::KeySelector;

/// Of eight new rows about one is looked at, whose hash, mixed, has zeros above so many bits. The others are taken to have what was found last.
const WEIGHED: u32 = 61;

/// After so many looks at rows that haven't grown, of others too only about every eighth is looked at, until one has grown again.
const WATCHED: u32 = 64;

/// Rows of so many records are looked at in any case.
const HEAVY: u64 = 64;

/// Partials sent between two looks at the buffer and the clock.
const STEP: usize = 32;

/// What it keeps at most, and when it is worth while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Keys of panes.
    pub(crate) rows: usize,
    /// Bytes of them. What a key's accumulator has is looked at when it has 64, 128, ... records, and at 2, 4, ... as long as some grow; of
    /// the others, and of new ones, about every eighth is.
    pub(crate) bytes: usize,
    /// Records, if there are no panes: nobody may come to ask for it.
    pub(crate) records: u64,
    /// Records that must have left before it is judged by them.
    pub(crate) judged: u64,
    /// If it wasn't worth while, so many times as many records pass.
    pub(crate) pass: u64,
}

impl Limits {
    /// A few megabytes for each exchange of a subtask: rows enough to merge ten thousand keys in several panes.
    const USUAL: Self = Self {
        rows: 1 << 15,
        bytes: 8 << 20,
        records: 1 << 16,
        judged: 1 << 13,
        pass: 16,
    };
}

/// What one partial is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathered {
    /// A key and a pane.
    Panes,
    /// A key and a session of such a gap, milliseconds.
    Sessions(i64),
    /// A key.
    Keys,
}

/// Makes the stage that gathers, and the router behind it. Made by
/// [`WindowOperator::pre_aggregated`](super::WindowOperator::pre_aggregated) and
/// [`RollingOperator::pre_aggregated`](crate::RollingOperator::pre_aggregated).
pub struct PreAggregation<In, S, L> {
    selector: S,
    logic: L,
    panes: Panes,
    gathered: Gathered,
    /// Whether it gathers within one process, too.
    is_asked: bool,
    limits: Limits,
    of: PhantomData<fn(In)>,
}

impl<In, S, L> PreAggregation<In, S, L> {
    pub(super) fn of_panes(selector: S, logic: L, panes: Panes, is_asked: bool) -> Self {
        Self::new(selector, logic, panes, Gathered::Panes, is_asked)
    }

    /// For sessions of a gap, milliseconds.
    pub(super) fn of_sessions(selector: S, logic: L, gap: i64) -> Self {
        let gathered = Gathered::Sessions(gap);
        Self::new(selector, logic, all_of_time(), gathered, true)
    }

    /// For an aggregate that rolls.
    pub(crate) fn rolling(selector: S, logic: L) -> Self {
        Self::new(selector, logic, all_of_time(), Gathered::Keys, true)
    }

    fn new(selector: S, logic: L, panes: Panes, gathered: Gathered, is_asked: bool) -> Self {
        Self {
            selector,
            logic,
            panes,
            gathered,
            is_asked,
            limits: Limits::USUAL,
            of: PhantomData,
        }
    }

    #[cfg(test)]
    pub(crate) fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// One pane, from 146 million years before the epoch to as many behind it.
fn all_of_time() -> Panes {
    Panes::of(i64::MAX, i64::MAX, i64::MIN / 2)
}

/// What travels: a record as it is, or what was gathered of some.
type Sent<In, K, A> = Either<In, Partial<K, A>>;

impl<In, S, L> RouteFactory for PreAggregation<In, S, L>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        if !self.is_asked && !info.is_distributed {
            let selector = self.selector.clone();
            let by_key = HashBy::<In, _, InHashed<AsFirst<Partial<S::Key, L::Acc>>>>::carrying(
                move |value: &In| selector.hash(value),
            );
            return by_key.router(info, lanes);
        }
        let router = ByHash::<Sent<In, S::Key, L::Acc>>::default().stage(info, lanes);
        let work = Gathering {
            selector: self.selector.clone(),
            logic: self.logic.clone(),
            panes: self.panes,
            gathered: self.gathered,
            limits: self.limits,
            cursor: Cursor::at(&self.panes, 0),
            watermark: MIN_TIMESTAMP,
            open: BTreeMap::new(),
            kept: Vec::new(),
            free: Vec::new(),
            leaving: Pane::default(),
            spare: Vec::new(),
            rows: 0,
            bytes: 0,
            records: 0,
            weight: 0,
            watched: WATCHED,
            is_full: false,
            left: Left::default(),
            passing: 0,
        };
        let out = Emitter::before_exchange(router, info);
        AnyStage::new::<In>(Box::new(Driver::before_exchange(work, out)))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        ByHash::<Sent<In, S::Key, L::Acc>>::default().decode(bytes)
    }
}

/// The pane of the last record; the next one most often lies in it too.
#[derive(Clone, Copy)]
struct Cursor {
    pane: i64,
    start: Timestamp,
    end: Timestamp,
    /// The watermark that closes it.
    closes_at: Timestamp,
    /// Whether no window has it.
    between: bool,
    /// Where it is kept, once that was looked up.
    place: Option<usize>,
}

impl Cursor {
    fn at(panes: &Panes, ts: Timestamp) -> Self {
        let pane = panes.pane(ts);
        let (start, end) = panes.bounds(pane);
        Self {
            pane,
            start,
            end,
            closes_at: end.saturating_sub(1),
            between: panes.first_window(pane) > panes.last_window(pane),
            place: None,
        }
    }
}

/// What is kept of a key in a pane.
struct Row<K, A> {
    hash: u64,
    /// When its earliest record was.
    first: Timestamp,
    /// When its latest record was.
    last: Timestamp,
    /// What it was found to have.
    bytes: usize,
    /// Of no records, if it has left ahead of the others.
    partial: Partial<K, A>,
}

impl<K, A> Row<K, A> {
    /// The session that it is, if it stays the only one.
    fn session(&self, gap: i64) -> Window {
        Window {
            start: self.first,
            end: Window::session(self.last, gap).end,
        }
    }

    /// What is kept, which leaves ahead of the others, if it is any; `acc` is without records.
    fn take(&mut self, acc: A) -> Option<Partial<K, A>>
    where
        K: Clone,
    {
        let records = std::mem::take(&mut self.partial.records);
        (records > 0).then(|| Partial {
            key: self.partial.key.clone(),
            acc: std::mem::replace(&mut self.partial.acc, acc),
            records,
            span: self.last - self.first,
        })
    }
}

/// What is kept of a pane.
struct Pane<K, A> {
    /// When its first record was.
    ts: Timestamp,
    /// Where rows stand, by the hashes of their keys.
    places: HashTable<u32>,
    rows: Vec<Row<K, A>>,
}

impl<K, A> Default for Pane<K, A> {
    fn default() -> Self {
        Self {
            ts: MIN_TIMESTAMP,
            places: HashTable::new(),
            rows: Vec::new(),
        }
    }
}

/// What has left since it was last judged.
#[derive(Default)]
struct Left {
    records: u64,
    rows: u64,
}

/// The work of gathering.
struct Gathering<S, L, K, A> {
    selector: S,
    logic: L,
    panes: Panes,
    gathered: Gathered,
    limits: Limits,
    cursor: Cursor,
    watermark: Timestamp,
    /// Where panes are that are open, by number: a map of places is compiled once, of panes for every program.
    open: BTreeMap<i64, usize>,
    /// Open panes, and empty ones in the places that are free.
    kept: Vec<Pane<K, A>>,
    /// Places of panes that have left.
    free: Vec<usize>,
    /// The pane that is being sent, its rows backwards.
    leaving: Pane<K, A>,
    /// Panes that have left, for their memory.
    spare: Vec<Pane<K, A>>,
    rows: usize,
    bytes: usize,
    /// Records that are kept.
    records: u64,
    /// What a row was found to have last.
    weight: usize,
    /// So many more rows are looked at in any case.
    watched: u32,
    is_full: bool,
    left: Left,
    /// So many records more are passed on as they are.
    passing: u64,
}

impl<S, L, K, A> Gathering<S, L, K, A> {
    /// The next pane that is to leave: any, or one that is closed.
    fn take_pane(&mut self, any: bool) -> Option<Pane<K, A>> {
        let first = self.open.first_entry()?;
        let (_, end) = self.panes.bounds(*first.key());
        let is_closed = end.saturating_sub(1) <= self.watermark;
        if !any && !is_closed {
            return None;
        }
        let place = first.remove();
        self.free.push(place);
        self.cursor.place = None;
        Some(std::mem::take(&mut self.kept[place]))
    }

    /// The pane of the last record, open from now on.
    #[inline]
    fn enter(&mut self, ts: Timestamp) -> usize {
        match self.cursor.place {
            Some(place) => place,
            None => self.look_up(ts),
        }
    }

    fn look_up(&mut self, ts: Timestamp) -> usize {
        let (kept, free, spare) = (&mut self.kept, &mut self.free, &mut self.spare);
        let place = *self.open.entry(self.cursor.pane).or_insert_with(|| {
            let place = free.pop().unwrap_or_else(|| {
                kept.push(Pane::default());
                kept.len() - 1
            });
            let spare = spare.pop().unwrap_or_default();
            kept[place] = Pane { ts, ..spare };
            place
        });
        self.cursor.place = Some(place);
        place
    }

    /// Whether too few of the records that have left were merged. Then it passes on what comes.
    fn judge(&mut self) {
        let Left { records, rows } = self.left;
        if records < self.limits.judged {
            return;
        }
        self.left = Left::default();
        if records < 2 * rows {
            self.passing = self.limits.pass.saturating_mul(records);
        }
    }

    /// Sends some of what is to leave. Returns whether that was the last.
    fn leave<In>(&mut self, all: bool, out: &mut Emitter<Hashed<Sent<In, K, A>>>) -> bool
    where
        Hashed<Sent<In, K, A>>: Record,
    {
        for _ in 0..STEP {
            let Some(row) = self.leaving.rows.pop() else {
                // Nothing is kept while records pass, or they would overtake it.
                let Some(mut pane) = self.take_pane(all || self.passing > 0) else {
                    let was_passing = self.passing > 0;
                    self.judge();
                    if self.passing > 0 && !was_passing {
                        continue;
                    }
                    self.is_full = false;
                    return true;
                };
                pane.rows.reverse();
                let mut left = std::mem::replace(&mut self.leaving, pane);
                left.places.clear();
                if self.spare.len() < 2 {
                    self.spare.push(left);
                }
                continue;
            };
            self.rows -= 1;
            self.bytes -= row.bytes;
            self.records -= row.partial.records;
            if row.partial.records == 0 {
                continue;
            }
            self.left.rows += 1;
            self.left.records += row.partial.records;
            let (hash, mut partial) = (row.hash, row.partial);
            let ts = match self.gathered {
                Gathered::Panes => self.leaving.ts,
                Gathered::Sessions(_) => {
                    partial.span = row.last - row.first;
                    row.first
                }
                Gathered::Keys => row.last,
            };
            let value = Either::Second(partial);
            out.emit(ts, Hashed { hash, value });
        }
        false
    }

    /// Where a key's row of the pane of the last record is, if it has one.
    fn find<In>(&self, open: usize, hash: u64, value: &In) -> Option<usize>
    where
        S: KeySelector<In, Key = K>,
    {
        let pane = &self.kept[open];
        let is_it = |place: &u32| {
            let row = &pane.rows[*place as usize];
            row.hash == hash && self.selector.is_key(&row.partial.key, value)
        };
        let place = pane.places.find(hash, is_it)?;
        Some(*place as usize)
    }

    /// Sends what is kept of a row ahead of the others.
    fn send_ahead<In>(
        &mut self,
        (open, place): (usize, usize),
        out: &mut Emitter<Hashed<Sent<In, K, A>>>,
    ) where
        L: WindowLogic<K, Acc = A>,
        K: Clone,
        Hashed<Sent<In, K, A>>: Record,
    {
        let row = &mut self.kept[open].rows[place];
        if let Some(partial) = row.take(self.logic.create()) {
            self.records -= partial.records;
            self.left.records += partial.records;
            self.left.rows += 1;
            let (ts, hash, value) = (row.first, row.hash, Either::Second(partial));
            out.emit(ts, Hashed { hash, value });
        }
    }

    fn keep<In>(&mut self, ts: Timestamp, value: In, out: &mut Emitter<Hashed<Sent<In, K, A>>>)
    where
        In: Record,
        S: KeySelector<In, Key = K>,
        L: WindowLogic<K, In = In, Acc = A>,
        A: Record,
        K: rivus_core::Key,
    {
        let open = self.enter(ts);
        let hash = self.selector.hash(&value);
        let place = match self.find(open, hash, &value) {
            Some(place) => {
                if let Gathered::Sessions(gap) = self.gathered {
                    let session = self.kept[open].rows[place].session(gap);
                    if !session.overlaps(&Window::session(ts, gap)) {
                        self.send_ahead((open, place), out);
                    }
                }
                place
            }
            None => {
                let partial = Partial {
                    key: self.selector.key(&value),
                    acc: self.logic.create(),
                    records: 0,
                    span: 0,
                };
                let pane = &mut self.kept[open];
                let place = pane.rows.len();
                pane.rows.push(Row {
                    hash,
                    first: ts,
                    last: ts,
                    bytes: 0,
                    partial,
                });
                let rows = &pane.rows;
                let hash_of = |place: &u32| rows[*place as usize].hash;
                pane.places.insert_unique(hash, place as u32, hash_of);
                self.rows += 1;
                place
            }
        };
        let row = &mut self.kept[open].rows[place];
        if row.partial.records == 0 {
            (row.first, row.last) = (ts, ts);
        }
        self.logic.add(&mut row.partial.acc, value);
        row.partial.records += 1;
        row.first = row.first.min(ts);
        row.last = row.last.max(ts);
        let records = row.partial.records;
        if records.is_power_of_two() {
            // By the key, so that no order of keys passes the heavy ones over; by bits that choose no lane.
            let is_chosen = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> WEIGHED == 0;
            let is_new = records == 1;
            let may_have_grown = self.watched > 0 || records >= HEAVY;
            let is_looked_at = is_chosen
                || if is_new {
                    self.rows == 1
                } else {
                    may_have_grown
                };
            if is_looked_at {
                self.weight = size_of::<Row<K, A>>() + codec::encoded_len(&row.partial);
            }
            if is_looked_at && !is_new {
                let has_grown = self.weight > row.bytes + row.bytes / 4;
                self.watched = match has_grown {
                    true => WATCHED,
                    false => self.watched.saturating_sub(1),
                };
            }
            if is_looked_at || is_new {
                self.bytes = self.bytes + self.weight - row.bytes;
                row.bytes = self.weight;
            }
        }
        self.records += 1;
        self.is_full = self.rows >= self.limits.rows
            || self.bytes >= self.limits.bytes
            || (self.gathered != Gathered::Panes && self.records >= self.limits.records);
    }

    /// Whether the watermark has closed the pane of the last record, or may have closed a session of it alone.
    #[inline]
    fn is_closed(&self, ts: Timestamp) -> bool {
        match self.gathered {
            Gathered::Panes => self.cursor.closes_at <= self.watermark,
            Gathered::Sessions(gap) => {
                self.watermark == MIN_TIMESTAMP || Window::session(ts, gap).last() <= self.watermark
            }
            Gathered::Keys => false,
        }
    }
}

impl<In, S, L> Work<In> for Gathering<S, L, S::Key, L::Acc>
where
    In: Record,
    S: KeySelector<In>,
    L: WindowLogic<S::Key, In = In>,
{
    type Out = Hashed<Sent<In, S::Key, L::Acc>>;

    #[inline]
    fn record(
        &mut self,
        event: Event<In>,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<(), Failure> {
        let Event { ts, value } = event;
        if ts < self.cursor.start || ts >= self.cursor.end {
            self.cursor = Cursor::at(&self.panes, ts);
        }
        if self.cursor.between {
            return Ok(());
        }
        if self.passing == 0 && !self.is_closed(ts) {
            self.keep(ts, value, out);
            return Ok(());
        }
        self.passing = self.passing.saturating_sub(1);
        let hash = self.selector.hash(&value);
        // It may belong to the session that is kept of its key, or be late: that is as it would be without only behind what came before.
        if matches!(self.gathered, Gathered::Sessions(_))
            && let Some(open) = self.open.get(&self.cursor.pane).copied()
            && let Some(place) = self.find(open, hash, &value)
        {
            self.send_ahead((open, place), out);
        }
        let value = Either::First(value);
        out.emit(ts, Hashed { hash, value });
        Ok(())
    }

    #[inline]
    fn more(
        &mut self,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        Ok(!self.is_full || self.leave(true, out))
    }

    fn control(
        &mut self,
        control: Control,
        out: &mut Emitter<Self::Out>,
        _cx: &mut TaskContext,
    ) -> Result<bool, Failure> {
        Ok(match control {
            Control::Watermark(watermark) => {
                self.watermark = self.watermark.max(watermark);
                self.leave(self.gathered != Gathered::Panes, out)
            }
            Control::Idle
            | Control::Barrier(_)
            | Control::Flush
            | Control::Round(_)
            | Control::EndOfInput => self.leave(true, out),
            Control::Waiting
            | Control::Assigned
            | Control::Tick
            | Control::Completed(_)
            | Control::Aborted(_) => true,
        })
    }
}
