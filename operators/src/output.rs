//! Where a process function puts what it emits.

use rivus_core::{Event, Record, Timestamp};

use crate::outlet::{Emitter, Sides};
use crate::side::SideOutputTag;

/// Takes what a process function emits.
pub struct Output<'a, Out> {
    ts: Timestamp,
    watermark: Timestamp,
    now: Timestamp,
    rows: &'a mut Vec<Event<Out>>,
    sides: &'a mut Sides,
}

impl<'a, Out: Record> Output<'a, Out> {
    #[inline]
    pub(crate) fn new(
        ts: Timestamp,
        watermark: Timestamp,
        now: Timestamp,
        emitter: &'a mut Emitter<Out>,
    ) -> Self {
        Self {
            ts,
            watermark,
            now,
            rows: &mut emitter.rows,
            sides: &mut emitter.sides,
        }
    }

    /// Emits a record with the time of the record, or of the timer, that is being worked on.
    #[inline]
    pub fn emit(&mut self, value: Out) {
        self.emit_at(self.ts, value);
    }

    /// Emits a record with a time of its own. One before the watermark will be late downstream.
    #[inline]
    pub fn emit_at(&mut self, ts: Timestamp, value: Out) {
        self.rows.push(Event { ts, value });
    }

    /// Emits a record on the side. The job fails if nobody reads a side output of this name and type.
    pub fn side<S: Record>(&mut self, tag: &SideOutputTag<S>, value: S) {
        self.side_at(tag, self.ts, value);
    }

    /// Emits a record on the side with a time of its own.
    pub fn side_at<S: Record>(&mut self, tag: &SideOutputTag<S>, ts: Timestamp, value: S) {
        self.sides.push(tag, Event { ts, value });
    }

    /// The watermark: event time that all inputs have reached.
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time, milliseconds since the epoch.
    pub fn processing_time(&self) -> Timestamp {
        self.now
    }
}
