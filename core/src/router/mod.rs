//! Routers: the end of a chain, where a stream crosses to the subtasks of another vertex.
//!
//! A router fills a buffer per output channel and sends it when it is full, when a barrier or the end
//! comes, or when the input ran dry: full batches under load, low latency without. Without credit it
//! keeps what is left of its run and blocks.
//!
//! A watermark never passes records that came before it, but may fall behind some that came after: that
//! is always safe, it only asserts less. So it waits behind a buffer that is being filled, merged with
//! its successors, and goes out with it.
//!
//! A barrier goes out behind all that came before it. If it is to overtake, there is an overdraft: then buffers and what waits
//! behind them are handed over whether there is credit or not, and [`Outputs`](crate::Outputs) lets the barrier pass them.

mod broadcast;
mod keyed;
mod partition;

pub use self::keyed::{ByHash, HashBy};
pub use self::partition::{Global, Partition, PartitionBy, Shuffle};

use std::marker::PhantomData;
use std::ops::Range;

use self::broadcast::Broadcaster;
use crate::batch::{Batch, Fullness, Rows, batch_records};
use crate::codec::CodecError;
use crate::context::{SubtaskInfo, TaskContext};
use crate::either::{AsItIs, Carry};
use crate::element::Element;
use crate::event::{Event, Record, Timestamp};
use crate::failure::Failure;
use crate::metrics::SubtaskMetrics;
use crate::stage::{AnyStage, Control, Progress, Stage};
use crate::task::RouteFactory;

/// Decides which of `lanes` channels a record takes, and what it looks like on its way.
pub trait Route<T>: Send + 'static {
    /// The record as it travels.
    type Wire: Record;
    /// What was learnt of a record while its channel was found.
    type Mark: Copy;

    /// The channel, counted from the edge's first. By reference, so that the record is moved once only.
    fn lane(&mut self, value: &T) -> (usize, Self::Mark);

    /// The record as it travels.
    fn wire(mark: Self::Mark, value: T) -> Self::Wire;
}

/// One subtask after the other.
pub struct RebalanceRoute {
    next: usize,
    lanes: usize,
}

impl<T: Record> Route<T> for RebalanceRoute {
    type Wire = T;
    type Mark = ();

    #[inline]
    fn lane(&mut self, _value: &T) -> (usize, ()) {
        self.next += 1;
        if self.next >= self.lanes {
            self.next = 0;
        }
        (self.next, ())
    }

    #[inline]
    fn wire((): (), value: T) -> T {
        value
    }
}

/// The channel of the same index.
pub struct ForwardRoute;

impl<T: Record> Route<T> for ForwardRoute {
    type Wire = T;
    type Mark = ();

    #[inline]
    fn lane(&mut self, _value: &T) -> (usize, ()) {
        (0, ())
    }

    #[inline]
    fn wire((): (), value: T) -> T {
        value
    }
}

/// An output channel's buffer.
struct Buffer<W> {
    rows: Vec<Event<W>>,
    fullness: Fullness,
    /// Goes out behind the buffer.
    watermark: Option<Timestamp>,
    idle: bool,
    /// Records routed anywhere when this buffer's oldest watermark was put in.
    watermark_since: u64,
}

/// Sends a stream over an edge, as `C` carries it.
struct Router<T, R: Route<T>, C: Carry<R::Wire>> {
    route: R,
    lanes: Range<usize>,
    buffers: Vec<Buffer<C::As>>,
    /// What is left of a run that met a channel without credit.
    rest: std::vec::IntoIter<Event<T>>,
    /// A barrier, a round or the end that waits for the buffers before it.
    pending: Option<Control>,
    routed: u64,
}

/// When a batch of such records is full.
fn batch_fullness<W>(info: &SubtaskInfo) -> Fullness {
    Fullness::new(batch_records::<W>(info.batch_records), info.batch_bytes)
}

impl<T: Record, R: Route<T>, C: Carry<R::Wire>> Router<T, R, C> {
    fn new(route: R, info: &SubtaskInfo, lanes: Range<usize>) -> Self {
        let buffers = lanes
            .clone()
            .map(|_| Buffer {
                rows: Vec::new(),
                fullness: batch_fullness::<C::As>(info),
                watermark: None,
                idle: false,
                watermark_since: 0,
            })
            .collect();
        Self {
            route,
            lanes,
            buffers,
            rest: Vec::new().into_iter(),
            pending: None,
            routed: 0,
        }
    }

    /// Sends a buffer if its channel has credit. Returns whether the buffer is empty now.
    fn send_rows(&mut self, index: usize, cx: &mut TaskContext) -> bool {
        let lane = self.lanes.start + index;
        if self.buffers[index].rows.is_empty() {
            return true;
        }
        if !cx.outputs.has_credit(lane) {
            return false;
        }
        let rows = std::mem::take(&mut self.buffers[index].rows);
        self.buffers[index].fullness.emptied();
        SubtaskMetrics::add(&cx.metrics.records_out, rows.len() as u64);
        cx.outputs
            .send(lane, Element::Batch(Box::new(Rows::Owned(rows))));
        true
    }

    /// Sends a channel's buffer and then what waits behind it, as far as credit goes.
    fn send_all(&mut self, index: usize, cx: &mut TaskContext) -> bool {
        if !self.send_rows(index, cx) {
            return false;
        }
        let lane = self.lanes.start + index;
        let buffer = &mut self.buffers[index];
        if cx.outputs.has_credit(lane)
            && let Some(watermark) = buffer.watermark.take()
        {
            cx.outputs.send(lane, Element::Watermark(watermark));
        }
        if buffer.idle && buffer.watermark.is_none() && cx.outputs.has_credit(lane) {
            buffer.idle = false;
            cx.outputs.send(lane, Element::Idle);
        }
        true
    }

    fn flush(&mut self, cx: &mut TaskContext) {
        for index in 0..self.buffers.len() {
            self.send_all(index, cx);
        }
    }

    /// Routes what is left of the run.
    ///
    /// # Errors
    /// If a record is to take a channel that isn't there.
    fn route_rest(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        // Whichever buffer is full must go before anything is added to it.
        for index in 0..self.buffers.len() {
            let Buffer { rows, fullness, .. } = &mut self.buffers[index];
            if fullness.is_full(rows) && !self.send_rows(index, cx) {
                return Ok(Progress::Blocked);
            }
        }
        while let Some(next) = self.rest.as_slice().first() {
            let (index, mark) = self.route.lane(&next.value);
            self.routed += 1;
            let lanes = self.buffers.len();
            let Some(buffer) = self.buffers.get_mut(index) else {
                return Err(no_such_lane(index, lanes));
            };
            if buffer.rows.capacity() == 0 {
                buffer.rows.reserve_exact(buffer.fullness.expected());
            }
            let Some(event) = self.rest.next() else {
                break;
            };
            buffer
                .rows
                .push(event.map(|value| C::carry(R::wire(mark, value))));
            if buffer.fullness.is_full(&buffer.rows) && !self.send_all(index, cx) {
                return Ok(Progress::Blocked);
            }
        }
        Ok(Progress::Done)
    }

    /// A channel that gets few records must not hold its watermark back for long.
    fn send_overdue_watermarks(&mut self, cx: &mut TaskContext) {
        let expected = self.buffers.iter().map(|buffer| buffer.fullness.expected());
        let patience = expected.sum::<usize>() as u64;
        for index in 0..self.buffers.len() {
            let buffer = &self.buffers[index];
            if buffer.watermark.is_some() && self.routed - buffer.watermark_since >= patience {
                self.send_all(index, cx);
            }
        }
    }

    fn note_watermark(&mut self, watermark: Timestamp, cx: &mut TaskContext) {
        for index in 0..self.buffers.len() {
            let routed = self.routed;
            let buffer = &mut self.buffers[index];
            if buffer.watermark.is_none() {
                buffer.watermark_since = routed;
            }
            buffer.watermark = Some(watermark);
            buffer.idle = false;
            if buffer.rows.is_empty() {
                self.send_all(index, cx);
            }
        }
        self.send_overdue_watermarks(cx);
    }

    /// Sends a barrier, a round or the end on every channel, behind everything that came before it.
    fn finish_pending(&mut self, cx: &mut TaskContext) -> Progress {
        let Some(control) = self.pending else {
            return Progress::Done;
        };
        for index in 0..self.buffers.len() {
            self.send_all(index, cx);
        }
        let waits = |buffer: &Buffer<C::As>| {
            !buffer.rows.is_empty() || buffer.watermark.is_some() || buffer.idle
        };
        let is_free = |lane| cx.outputs.is_open(lane) && cx.outputs.is_clear(lane);
        if self.buffers.iter().any(waits) || !self.lanes.clone().all(is_free) {
            return Progress::Blocked;
        }
        self.pending = None;
        for lane in self.lanes.clone() {
            match control {
                Control::Barrier(barrier) => cx.outputs.send_barrier(lane, barrier),
                Control::Round(claim) => cx.outputs.send(lane, Element::Round(claim)),
                _ => cx.outputs.send(lane, Element::EndOfInput),
            }
        }
        Progress::Done
    }
}

impl<T: Record, R: Route<T>, C: Carry<R::Wire>> Stage<T> for Router<T, R, C> {
    fn run(&mut self, run: Vec<Event<T>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        for buffer in &mut self.buffers {
            buffer.idle = false;
        }
        self.rest = run.into_iter();
        self.route_rest(cx)
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        match control {
            Control::Watermark(watermark) => self.note_watermark(watermark, cx),
            Control::Idle => {
                for index in 0..self.buffers.len() {
                    self.buffers[index].idle = true;
                    self.send_all(index, cx);
                }
            }
            Control::Flush => self.flush(cx),
            Control::Barrier(_) | Control::Round(_) | Control::EndOfInput => {
                self.pending = Some(control);
                return Ok(self.finish_pending(cx));
            }
            Control::Waiting
            | Control::Assigned
            | Control::Tick
            | Control::Completed(_)
            | Control::Aborted(_) => {}
        }
        Ok(Progress::Done)
    }

    fn resume(&mut self, cx: &mut TaskContext) -> Result<Progress, Failure> {
        let progress = self.route_rest(cx)?;
        if progress.is_done() {
            return Ok(self.finish_pending(cx));
        }
        Ok(progress)
    }

    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}

/// Only a function of the program's own can choose a channel that isn't there.
#[cold]
fn no_such_lane(index: usize, lanes: usize) -> Failure {
    Failure::attempt(format!(
        "the partitioner behind it chose subtask {index} of {lanes}: \
         return a number below the one that it is given"
    ))
}

/// Makes routers that send to the subtask of the same index.
pub struct Forward<T, C = AsItIs>(PhantomData<fn() -> (T, C)>);

/// Makes routers that send to one subtask after the other.
pub struct Rebalance<T, C = AsItIs>(PhantomData<fn() -> (T, C)>);

/// Makes routers that send to every subtask.
pub struct Broadcast<T, C = AsItIs>(PhantomData<fn() -> (T, C)>);

impl<T, C> Default for Forward<T, C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, C> Default for Rebalance<T, C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, C> Default for Broadcast<T, C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record, C: Carry<T>> RouteFactory for Forward<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        AnyStage::new::<T>(Box::new(Router::<T, _, C>::new(ForwardRoute, info, lanes)))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

impl<T: Record, C: Carry<T>> RouteFactory for Rebalance<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        let route = RebalanceRoute {
            // Subtasks begin at different places, or all would send their first record to the same one.
            next: info.attempt.subtask.index as usize % lanes.len().max(1),
            lanes: lanes.len(),
        };
        AnyStage::new::<T>(Box::new(Router::<T, _, C>::new(route, info, lanes)))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

impl<T: Record, C: Carry<T>> RouteFactory for Broadcast<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        AnyStage::new::<T>(Box::new(Broadcaster::<T, C>::new(info, lanes)))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests;
