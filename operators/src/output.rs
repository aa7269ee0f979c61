//! Where a process function puts what it emits.

use rivus_core::{Event, Record, Timestamp};

use crate::outlet::{Emitter, Sides};
use crate::side::SideOutputTag;

/// Takes what a process function emits.
///
/// ```
/// use rivus_core::{Event, UserError};
/// use rivus_operators::{Output, ProcessFunction, SideOutputTag};
///
/// /// Passes each record on, an hour earlier; what would be late downstream goes to the side.
/// #[derive(Clone)]
/// struct AnHourEarlier { late: SideOutputTag<String> }
///
/// impl ProcessFunction<String> for AnHourEarlier {
///     type Out = String;
///     fn process(&mut self, event: Event<String>, out: &mut Output<'_, String>) -> Result<(), UserError> {
///         let ts = event.ts - 3_600_000;
///         if ts <= out.watermark() {
///             out.side(&self.late, format!("{} at {}", event.value, out.processing_time()));
///         } else {
///             out.emit_at(ts, event.value);
///         }
///         Ok(())
///     }
/// }
/// ```
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
