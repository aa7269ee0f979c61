//! Gathering before the exchange: of the records of a key and a pane, or of a key between two watermarks, one *partial* travels.
//!
//! It is a stage between the operator that gives the records and the router that sends them, not an operator of its own: it has no
//! uid and no state. What it keeps it sends before it passes on whatever could ask for it:
//!
//! | passed on | sent before |
//! |---|---|
//! | a watermark | the panes that it closes: those that end with it or before; all if the aggregate rolls |
//! | a barrier, idleness, a flush (the input ran dry), a round of a loop, the end | all |
//! | nothing, but it keeps too many rows or bytes, or records of an aggregate that rolls | all |
//!
//! For an aggregate that rolls there are no panes, and a watermark sends all: what rolls on has the time of the latest record that is in it,
//! and none may be late for its having been kept.
//!
//! A record of a pane that the watermark has closed is sent at once and as it is. So nothing comes later for its being
//! kept: no window that has its pane fires before the pane closes, and what is late, or makes a window fire again, is what it
//! would be without. Only where the receiver had got further than this sender (others were faster while it was idle, or
//! before a restore) can a partial be late itself; therefore it says of how many records it is.
//!
//! Within one process a record is handed on as it is, which costs less than to gather it: there it is done only if the program asks for it.
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

use super::logic::WindowLogic;
use super::partial::Partial;
use super::slices::Panes;
use crate::driver::{Driver, Work};
use crate::outlet::Emitter;
use crate::selector::KeySelector;

/// Of eight new rows about one is looked at, whose hash, mixed, has zeros above so many bits. The others are taken to have what was found last.
const WEIGHED: u32 = 61;

/// Partials sent between two looks at the buffer and the clock.
const STEP: usize = 32;

/// What it keeps at most, and when it is worth while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Keys of panes.
    pub(crate) rows: usize,
    /// Bytes of them. What a key's accumulator has is looked at when it has 2, 4, 8, ... records; of new ones about every eighth is.
    pub(crate) bytes: usize,
    /// Records, if the aggregate rolls: nobody may come to ask for it.
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

/// Makes the stage that gathers, and the router behind it. Made by
/// [`WindowOperator::pre_aggregated`](super::WindowOperator::pre_aggregated) and
/// [`RollingOperator::pre_aggregated`](crate::RollingOperator::pre_aggregated).
pub struct PreAggregation<In, S, L> {
    selector: S,
    logic: L,
    panes: Panes,
    /// Whether it gathers within one process, too.
    is_asked: bool,
    is_rolling: bool,
    limits: Limits,
    of: PhantomData<fn(In)>,
}

impl<In, S, L> PreAggregation<In, S, L> {
    pub(super) fn new(selector: S, logic: L, panes: Panes, is_asked: bool) -> Self {
        Self {
            is_asked,
            is_rolling: false,
            selector,
            logic,
            panes,
            limits: Limits::USUAL,
            of: PhantomData,
        }
    }

    /// For an aggregate that rolls: what is kept has no pane, or all times are one.
    pub(crate) fn rolling(selector: S, logic: L) -> Self {
        // From 146 million years before the epoch to as many behind it.
        let panes = Panes::of(i64::MAX, i64::MAX, i64::MIN / 2);
        Self {
            is_rolling: true,
            ..Self::new(selector, logic, panes, true)
        }
    }

    #[cfg(test)]
    pub(crate) fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
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
            is_rolling: self.is_rolling,
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
        }
    }
}

/// What is kept of a key in a pane.
struct Row<K, A> {
    hash: u64,
    /// When its latest record was.
    ts: Timestamp,
    /// What it was found to have.
    bytes: usize,
    partial: Partial<K, A>,
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
    /// Whether what is kept leaves with every watermark, at the time of its latest record.
    is_rolling: bool,
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
        Some(std::mem::take(&mut self.kept[place]))
    }

    /// The pane of the last record, open from now on.
    fn enter(&mut self, ts: Timestamp) -> usize {
        let (kept, free, spare) = (&mut self.kept, &mut self.free, &mut self.spare);
        *self.open.entry(self.cursor.pane).or_insert_with(|| {
            let place = free.pop().unwrap_or_else(|| {
                kept.push(Pane::default());
                kept.len() - 1
            });
            let spare = spare.pop().unwrap_or_default();
            kept[place] = Pane { ts, ..spare };
            place
        })
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
            self.left.rows += 1;
            self.left.records += row.partial.records;
            let hash = row.hash;
            let value = Either::Second(row.partial);
            let ts = match self.is_rolling {
                true => row.ts,
                false => self.leaving.ts,
            };
            out.emit(ts, Hashed { hash, value });
        }
        false
    }

    fn keep<In>(&mut self, ts: Timestamp, value: In)
    where
        In: Record,
        S: KeySelector<In, Key = K>,
        L: WindowLogic<K, In = In, Acc = A>,
        A: Record,
        K: rivus_core::Key,
    {
        let open = self.enter(ts);
        let pane = &mut self.kept[open];
        let (selector, logic) = (&self.selector, &self.logic);
        let hash = selector.hash(&value);
        let is_it = |place: &u32| {
            let row = &pane.rows[*place as usize];
            row.hash == hash && selector.is_key(&row.partial.key, &value)
        };
        let place = match pane.places.find(hash, is_it) {
            Some(place) => *place as usize,
            None => {
                let place = pane.rows.len();
                let partial = Partial {
                    key: selector.key(&value),
                    acc: logic.create(),
                    records: 0,
                };
                pane.rows.push(Row {
                    hash,
                    ts,
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
        let row = &mut pane.rows[place];
        logic.add(&mut row.partial.acc, value);
        row.partial.records += 1;
        row.ts = row.ts.max(ts);
        if row.partial.records.is_power_of_two() {
            // By the key, so that no order of keys passes the heavy ones over; by bits that choose no lane.
            let is_chosen = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> WEIGHED == 0;
            if row.partial.records > 1 || self.rows == 1 || is_chosen {
                self.weight = size_of::<Row<K, A>>() + codec::encoded_len(&row.partial);
            }
            self.bytes = self.bytes + self.weight - row.bytes;
            row.bytes = self.weight;
        }
        self.records += 1;
        self.is_full = self.rows >= self.limits.rows
            || self.bytes >= self.limits.bytes
            || (self.is_rolling && self.records >= self.limits.records);
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
        if self.passing == 0 && (self.is_rolling || self.cursor.closes_at > self.watermark) {
            self.keep(ts, value);
            return Ok(());
        }
        self.passing = self.passing.saturating_sub(1);
        let hash = self.selector.hash(&value);
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
                self.leave(self.is_rolling, out)
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
