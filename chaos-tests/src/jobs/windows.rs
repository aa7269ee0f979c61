//! Shapes with windows of every kind. All of a key's records come in a given order and none is late, so what comes out
//! is given too.

use std::time::Duration;

use rivus::{
    CountTrigger, DataStream, DeltaEvictor, Event, Evictor, EvictorContext, TimeEvictor,
    WindowAssigner, Windowed,
};

use super::functions::{InOrder, Line, Members, SoFar};
use super::records::Reading;
use super::shapes::members;
use super::world::World;

/// The least don't count, and the greatest do only once.
struct Extremes;

impl Evictor<Reading> for Extremes {
    fn evict_before(&self, readings: &mut Vec<Event<Reading>>, _: &EvictorContext) {
        let least = readings.iter().map(|reading| reading.value.value).min();
        readings.retain(|reading| Some(reading.value.value) != least);
    }

    fn evict_after(&self, readings: &mut Vec<Event<Reading>>, _: &EvictorContext) {
        let greatest = readings.iter().map(|reading| reading.value.value).max();
        readings.retain(|reading| Some(reading.value.value) != greatest);
    }
}

impl World {
    pub(super) fn sessions(&self, readings: &DataStream<Reading>) {
        let readings = self.timed(readings);
        let sessions = readings
            .key_by(|reading| reading.key)
            .window(WindowAssigner::session(Duration::from_millis(1)))
            .gap_by(|reading: &Reading| Duration::from_millis(1 + reading.value % 90))
            .process(Members)
            .parallelism(self.wide());
        let lines = sessions.map(bounded).parallelism(self.wide());
        self.sink(&lines, &self.main);
        let all = readings
            .window_all(WindowAssigner::tumbling(Duration::from_millis(300)))
            .count()
            .map(|window| {
                let of = ("all".to_owned(), window.window.start);
                (of.0, format!("{}:{}", of.1, window.value))
            })
            .parallelism(1);
        let _ = all.sink_to(self.serial.sink()).parallelism(1);
    }

    pub(super) fn evicted(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let windows = readings
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(400)))
            .trigger(CountTrigger::every(3));
        let apart = |a: &Reading, b: &Reading| a.value.abs_diff(b.value) as f64;
        let windows = match self.spec.kind(3) {
            0 => windows.evictor(DeltaEvictor::keep_within(400.0, apart)),
            1 => windows.evictor(TimeEvictor::keep(Duration::from_millis(100))),
            _ => windows.evictor(Extremes),
        };
        windows
            .process(Members)
            .parallelism(self.wide())
            .map(members)
            .parallelism(self.wide())
    }

    /// By key and of all records, without watermarks.
    pub(super) fn count_windows(&self, readings: &DataStream<Reading>) {
        let fives = readings
            .key_by(|reading| reading.key)
            .count_window(5)
            .process(Members)
            .parallelism(self.wide())
            .map(members)
            .parallelism(self.wide());
        self.sink(&fives, &self.main);
        let last_seven = readings
            .key_by(|reading| reading.key)
            .count_window_sliding(7, 3)
            .aggregate(InOrder)
            .parallelism(self.wide())
            .map(|window: Windowed<u64, SoFar>| {
                let SoFar { count, fold, .. } = window.value;
                (window.key.to_string(), format!("{count}:{fold:x}"))
            })
            .parallelism(self.wide());
        self.sink(&last_seven, &self.serial);
        // Which records are in them is chance, but how many.
        let all = readings.count_window_all(40).count();
        let all = all.map(|window| ("all".to_owned(), window.value.to_string()));
        let _ = all.parallelism(1).sink_to(self.late.sink()).parallelism(1);
    }
}

fn bounded(window: Windowed<u64, Vec<u64>>) -> Line {
    let end = window.window.end;
    let (key, line) = members(window);
    (key, format!("{line} until {end}"))
}
