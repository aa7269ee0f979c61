//! Jobs that read two streams together, and those that send records to subtasks of their choice.
//!
//! Which of two records of different streams comes first is chance. So what is put out must not depend on it: functions
//! keep what comes until its time is over in both streams, and pairs are told one by one.

use std::time::Duration;

use rivus::{
    DataStream, Event, Keyed, KeyedBroadcastProcessFunction, KeyedCoProcessFunction, MapState,
    Output, StateSet, StreamEnvironment, Timer, Timestamp, UserError, ValueState, WindowAssigner,
};
use serde::{Deserialize, Serialize};

use super::functions::{Line, fold};
use super::records::Reading;
use super::world::World;

/// How much event time is gathered before it is told.
const BUCKET: Timestamp = 150;

fn bucket_end(ts: Timestamp) -> Timestamp {
    ts.div_euclid(BUCKET) * BUCKET + BUCKET - 1
}

/// State of [`SideBySide`].
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
pub struct Sides {
    /// Records by the end of their bucket and their number, which says whose they are.
    open: MapState<(Timestamp, u64), Reading>,
    /// Records that have been told.
    told: ValueState<u64>,
}

/// Gathers a key's records of both streams in buckets, with an event timer at each bucket's end.
#[derive(Clone)]
struct SideBySide;

/// A record of the second stream counts double, so that it matters which is which.
fn gather(event: Event<Reading>, times: u64, state: &mut Keyed<'_, u64, Sides>) {
    let end = bucket_end(event.ts);
    state.register_event_timer(end);
    let mut reading = event.value;
    reading.value *= times;
    state.open.insert((end, reading.id), reading);
}

impl KeyedCoProcessFunction<u64, Reading, Reading> for SideBySide {
    type Out = Line;
    type State = Sides;

    fn process_first(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, Sides>,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        gather(event, 1, state);
        Ok(())
    }

    fn process_second(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, Sides>,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        gather(event, 2, state);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, u64, Sides>,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let (mut told, mut count) = (0, 0);
        state.open.retain(|(end, _), record| {
            if *end == timer.ts {
                told = fold(told, record);
                count += 1;
            }
            *end != timer.ts
        });
        *state.told.get_or_default() += count;
        let all = state.told.get().copied().unwrap_or_default();
        let line = format!("{}: {count} of {all}, {told:x}", timer.ts);
        out.emit((state.key().to_string(), line));
        Ok(())
    }
}

/// Folds a key's records of each bucket with the rules that hold at its end.
#[derive(Clone)]
struct ByTheRules;

impl KeyedBroadcastProcessFunction<u64, Reading, Reading> for ByTheRules {
    type Out = Line;
    type State = MapState<(Timestamp, u64), Reading>;
    /// Rules by the time from which they hold, and their number.
    type Broadcast = MapState<(Timestamp, u64), u64>;

    fn process(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, Self::State>,
        _rules: &Self::Broadcast,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let end = bucket_end(event.ts);
        state.register_event_timer(end);
        state.insert((end, event.value.id), event.value);
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        rule: Event<Reading>,
        rules: &mut Self::Broadcast,
        _out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        rules.insert((rule.ts, rule.value.id), rule.value.value);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        state: &mut Keyed<'_, u64, Self::State>,
        rules: &Self::Broadcast,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        // Some may have come that hold only later; of those before, all have.
        let hold = rules.iter().take_while(|((from, _), _)| *from <= timer.ts);
        let (count, rule) = hold.fold((0, 0_u64), |(count, all), (_, rule)| {
            (count + 1, all.rotate_left(3) ^ rule)
        });
        let mut told = rule;
        state.retain(|(end, _), record| {
            if *end == timer.ts {
                told = fold(told, record);
            }
            *end != timer.ts
        });
        let line = format!("{}: {count} rules, {told:x}", timer.ts);
        out.emit((state.key().to_string(), line));
        Ok(())
    }
}

impl World {
    /// Two sources, each with its own watermarks.
    pub(super) fn both(
        &self,
        env: &StreamEnvironment,
    ) -> (DataStream<Reading>, DataStream<Reading>) {
        let timed = |source| self.timed(&self.generated(env, source));
        (timed(0), timed(1))
    }

    pub(super) fn connected(&self, env: &StreamEnvironment) -> DataStream<Line> {
        let (first, second) = self.both(env);
        let first = first.key_by(|reading| reading.key);
        let second = second.key_by(|reading| reading.key);
        let both = first.connect(&second).process(SideBySide);
        both.parallelism(self.wide())
    }

    pub(super) fn broadcast_rules(&self, env: &StreamEnvironment) -> DataStream<Line> {
        let (readings, others) = self.both(env);
        let rules = others.filter(|reading| reading.value % 8 == 0).broadcast();
        let keyed = readings.key_by(|reading| reading.key);
        let told = keyed.connect_broadcast(&rules).process(ByTheRules);
        told.parallelism(self.wide())
    }

    pub(super) fn window_join(&self, env: &StreamEnvironment) -> DataStream<Line> {
        let (first, second) = self.both(env);
        let pairs = first
            .join(&second)
            .on(|reading| reading.key, |reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(30)))
            .full_outer(|a, b| {
                let id = |one: Option<&Reading>| one.map(|reading| reading.id);
                format!("{:?}+{:?}", id(a), id(b))
            })
            .parallelism(self.wide());
        pairs
            .map(|pair| {
                let line = format!("{}:{}", pair.window.start, pair.value);
                (pair.key.to_string(), line)
            })
            .parallelism(self.wide())
    }

    /// The order of a key's pairs is chance: each is told by itself.
    pub(super) fn interval_join(&self, env: &StreamEnvironment) -> DataStream<Line> {
        let (first, second) = self.both(env);
        let first = first.key_by(|reading| reading.key);
        let second = second.key_by(|reading| reading.key);
        first
            .interval_join(&second)
            .between(-20, 35)
            .upper_bound_exclusive()
            .apply(|a, b| {
                (
                    format!("{} {} {}", a.key, a.id, b.id),
                    (b.ts - a.ts).to_string(),
                )
            })
            .parallelism(self.wide())
    }

    /// Where a record goes on its way doesn't matter to the windows.
    pub(super) fn partitioned(&self, env: &StreamEnvironment) -> DataStream<Line> {
        let to = |key: &u64, subtasks: usize| (key % subtasks as u64) as usize;
        let readings = self
            .timed(&self.generated(env, 0))
            .rescale()
            .map(|reading| reading)
            .parallelism(self.wide())
            .partition_custom(to, |reading: &Reading| reading.value)
            .map(|reading| reading)
            .shuffle()
            .map(|reading| reading)
            .parallelism(self.wide());
        let first = readings
            .clone()
            .global()
            .filter(|reading| reading.value % 2 == 0);
        let others = readings.filter(|reading| reading.value % 2 == 1);
        self.windowed(&first.union(&others.parallelism(self.wide())), false)
    }
}
