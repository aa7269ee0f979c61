//! The router of a broadcast.

use std::ops::Range;
use std::sync::Arc;

use super::batch_fullness;
use crate::batch::{Fullness, Rows};
use crate::context::{SubtaskInfo, TaskContext};
use crate::either::Carry;
use crate::element::Element;
use crate::event::{Event, Record, Timestamp};
use crate::failure::Failure;
use crate::metrics::SubtaskMetrics;
use crate::stage::{Control, Progress, Stage};

/// Sends every record to every subtask; the records are shared, not copied, until they are read.
pub(super) struct Broadcaster<T, C: Carry<T>> {
    lanes: Range<usize>,
    rows: Vec<Event<C::As>>,
    fullness: Fullness,
    /// What is left of a run that met a channel without credit.
    rest: std::vec::IntoIter<Event<T>>,
    watermark: Option<Timestamp>,
    idle: bool,
    pending: Option<Control>,
}

impl<T: Record, C: Carry<T>> Broadcaster<T, C> {
    pub(super) fn new(info: &SubtaskInfo, lanes: Range<usize>) -> Self {
        Self {
            lanes,
            rows: Vec::new(),
            fullness: batch_fullness::<C::As>(info),
            rest: Vec::new().into_iter(),
            watermark: None,
            idle: false,
            pending: None,
        }
    }

    fn credit_everywhere(&self, cx: &TaskContext) -> bool {
        self.lanes.clone().all(|lane| cx.outputs.has_credit(lane))
    }

    /// Sends the rows, then the watermark, then idleness, each to all or to none.
    fn send_all(&mut self, cx: &mut TaskContext) -> bool {
        if !self.rows.is_empty() {
            if !self.credit_everywhere(cx) {
                return false;
            }
            let rows = Arc::new(std::mem::take(&mut self.rows));
            self.fullness.emptied();
            SubtaskMetrics::add(&cx.metrics.records_out, rows.len() as u64);
            for lane in self.lanes.clone() {
                let batch = Box::new(Rows::Shared(Arc::clone(&rows)));
                cx.outputs.send(lane, Element::Batch(batch));
            }
        }
        if let Some(watermark) = self.watermark {
            if !self.credit_everywhere(cx) {
                return false;
            }
            self.watermark = None;
            for lane in self.lanes.clone() {
                cx.outputs.send(lane, Element::Watermark(watermark));
            }
        }
        if self.idle {
            if !self.credit_everywhere(cx) {
                return false;
            }
            self.idle = false;
            for lane in self.lanes.clone() {
                cx.outputs.send(lane, Element::Idle);
            }
        }
        true
    }

    /// Takes what is left of the run, a batch at a time.
    fn take_rest(&mut self, cx: &mut TaskContext) -> Progress {
        loop {
            let is_full = self.fullness.is_full(&self.rows);
            if is_full && !self.send_all(cx) && !self.rows.is_empty() {
                return Progress::Blocked;
            }
            match self.rest.next() {
                Some(event) => self.rows.push(event.map(C::carry)),
                None => return Progress::Done,
            }
        }
    }

    fn finish_pending(&mut self, cx: &mut TaskContext) -> Progress {
        let Some(control) = self.pending else {
            return Progress::Done;
        };
        let is_free = |lane| cx.outputs.is_open(lane) && cx.outputs.is_clear(lane);
        if !self.lanes.clone().all(is_free) || !self.send_all(cx) {
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

impl<T: Record, C: Carry<T>> Stage<T> for Broadcaster<T, C> {
    fn run(&mut self, run: Vec<Event<T>>, cx: &mut TaskContext) -> Result<Progress, Failure> {
        self.idle = false;
        self.rest = run.into_iter();
        Ok(self.take_rest(cx))
    }

    fn control(&mut self, control: Control, cx: &mut TaskContext) -> Result<Progress, Failure> {
        match control {
            Control::Watermark(watermark) => {
                self.watermark = Some(watermark);
                self.idle = false;
                self.send_all(cx);
            }
            Control::Idle => {
                self.idle = true;
                self.send_all(cx);
            }
            Control::Flush => {
                self.send_all(cx);
            }
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
        let progress = self.take_rest(cx);
        if progress.is_done() {
            return Ok(self.finish_pending(cx));
        }
        Ok(progress)
    }

    fn slice(&mut self, _rows: usize, _cx: &mut TaskContext) -> Result<bool, Failure> {
        Ok(true)
    }
}
