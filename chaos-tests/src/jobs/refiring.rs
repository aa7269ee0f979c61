//! Shapes with windows that fire more than once, or by the clock: what comes out depends on when, and what must be true of
//! it doesn't.

use std::time::Duration;

use rivus::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, DataStream, Event, Keyed,
    KeyedProcessFunction, ListState, Output, StreamEnvironment, Timer, Timestamp, Trigger,
    TriggerContext, TriggerResult, UserError, WatermarkGenerator, WatermarkStrategy,
    WindowAssigner,
};

use super::functions::{Line, Members};
use super::records::{DISORDER, Reading};
use super::shapes::members;
use super::world::World;

/// How long the windows are that fire more than once, in milliseconds.
pub const REFIRED: Timestamp = 240;

/// How long records wait for each other by the clock, in milliseconds.
const WAIT: Timestamp = 40;

/// Fires at records that strike, and at the window's end.
#[derive(Clone)]
struct Striking;

impl Trigger<Reading> for Striking {
    /// How many have struck.
    type State = u64;

    fn on_record(
        &self,
        reading: &Reading,
        _ts: Timestamp,
        cx: &mut TriggerContext<'_, u64>,
    ) -> TriggerResult {
        let end = cx.window().last();
        if end > cx.watermark() {
            cx.register_event_timer(end);
        }
        let strikes = reading.value % 4 == *cx.state() % 4;
        *cx.state() += u64::from(strikes);
        match strikes || end <= cx.watermark() {
            true => TriggerResult::Fire,
            false => TriggerResult::Continue,
        }
    }

    fn on_event_time(&self, _ts: Timestamp, _cx: &mut TriggerContext<'_, u64>) -> TriggerResult {
        TriggerResult::Fire
    }

    fn needs_watermarks(&self) -> bool {
        true
    }
}

/// Watermarks so far behind the latest record; or, if that is negative, ahead of it.
#[derive(Clone)]
struct Behind {
    by: Timestamp,
    latest: Option<Timestamp>,
}

impl Behind {
    fn by(by: Timestamp) -> WatermarkStrategy<Reading, Self> {
        WatermarkStrategy::custom(Self { by, latest: None })
    }
}

impl WatermarkGenerator<Reading> for Behind {
    fn on_event(&mut self, _ts: Timestamp, reading: &Reading) {
        self.latest = self.latest.max(Some(reading.ts - self.by));
    }

    fn on_run(&mut self) -> Option<Timestamp> {
        self.latest
    }
}

/// Tells a key's records together, some time after the first of them came.
#[derive(Clone)]
struct Patient;

impl KeyedProcessFunction<u64, Reading> for Patient {
    type Out = Line;
    type State = ListState<u64>;

    fn process(
        &mut self,
        event: Event<Reading>,
        waiting: &mut Keyed<'_, u64, ListState<u64>>,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        if waiting.is_empty() {
            let until = waiting.processing_time() + WAIT;
            waiting.register_processing_timer(until);
        }
        waiting.push(event.value.id);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        waiting: &mut Keyed<'_, u64, ListState<u64>>,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let ids: Vec<String> = waiting.iter().map(u64::to_string).collect();
        waiting.clear();
        let line = format!("{}:{}", timer.ts, ids.join(","));
        out.emit((waiting.key().to_string(), line));
        Ok(())
    }
}

impl World {
    fn refired<G: Trigger<Reading>>(
        &self,
        timed: &DataStream<Reading>,
        trigger: G,
    ) -> DataStream<Line> {
        timed
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(
                REFIRED as u64,
            )))
            .trigger(trigger)
            .process(Members)
            .parallelism(self.wide())
            .map(members)
            .parallelism(self.wide())
    }

    /// Late records within the allowed lateness, continuous triggers, and a trigger of one's own.
    pub(super) fn refiring(&self, env: &StreamEnvironment) {
        let readings = self.generated(env, 0);
        let mended = readings
            .assign_watermarks(Behind::by(-REFIRED / 2))
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(
                REFIRED as u64,
            )))
            .allowed_lateness(Duration::from_secs(3_600))
            .process(Members)
            .parallelism(self.wide())
            .map(members)
            .parallelism(self.wide());
        self.sink(&mended, &self.main);
        let marked = WatermarkStrategy::punctuated(|reading: &Reading, _| {
            reading
                .value
                .is_multiple_of(4)
                .then_some(reading.ts - DISORDER - 1)
        });
        let every = ContinuousEventTimeTrigger::every(Duration::from_millis(REFIRED as u64 / 4));
        let so_far = self.refired(&readings.assign_watermarks(marked), every);
        self.sink(&so_far, &self.serial);
        let known = readings.assign_watermarks(Behind::by(DISORDER + 1));
        let striking = self.refired(&known, Striking);
        self.sink(&striking, &self.late);
        let by_the_clock = ContinuousProcessingTimeTrigger::every(Duration::from_millis(30));
        let watched = self.refired(&self.timed(&readings), by_the_clock);
        self.sink(&watched, &self.came);
    }

    /// Windows and timers by the clock.
    pub(super) fn clocked(&self, env: &StreamEnvironment) {
        let readings = self.generated(env, 0);
        let keyed = readings.key_by(|reading| reading.key);
        let windows = keyed
            .window(WindowAssigner::tumbling(Duration::from_millis(100)).processing_time())
            .process(Members)
            .parallelism(self.wide());
        self.sink(&windows.map(members).parallelism(self.wide()), &self.main);
        let told = keyed.process(Patient).parallelism(self.wide());
        self.sink(&told, &self.serial);
    }
}
