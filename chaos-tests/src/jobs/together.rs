//! A shape in which two streams meet in every way that has no shape of its own: in groups, in inner and outer joins, without a
//! key, and in broadcast records that visit all keys.

use std::time::Duration;

use rivus::{
    BroadcastProcessFunction, CoProcessFunction, Event, Keyed, KeyedBroadcastProcessFunction,
    MapState, Output, StateSet, StreamEnvironment, Timer, Timestamp, UserError, ValueState,
    WindowAssigner,
};
use serde::{Deserialize, Serialize};

use super::functions::Line;
use super::records::{FIRST, Reading};
use super::world::World;

/// After the last record of any job.
const LAST: Timestamp = FIRST + 1_000_000_000;

/// What a key knows of the rules.
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
pub struct Known {
    /// How often each rule was told to the key.
    rules: MapState<u64, u64>,
    records: ValueState<u64>,
}

impl Known {
    fn hear(&mut self, rule: u64) {
        *self.rules.entry(rule).or_default() += 1;
    }
}

/// Tells every rule to every key, once: to those that are there by a visit, to others when they come.
#[derive(Clone)]
struct EachOnce;

impl KeyedBroadcastProcessFunction<u64, Reading, Reading> for EachOnce {
    type Out = Line;
    type State = Known;
    type Broadcast = MapState<u64, ()>;

    fn process(
        &mut self,
        _: Event<Reading>,
        known: &mut Keyed<'_, u64, Known>,
        rules: &Self::Broadcast,
        _: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        if known.records.get().is_none() {
            known.register_event_timer(LAST);
            for (rule, ()) in rules.iter() {
                known.hear(*rule);
            }
        }
        *known.records.get_or_default() += 1;
        Ok(())
    }

    fn process_broadcast(
        &mut self,
        rule: Event<Reading>,
        rules: &mut Self::Broadcast,
        _: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        rules.insert(rule.value.id, ());
        Ok(())
    }

    fn visits_keys(&self, _: &Reading) -> bool {
        true
    }

    fn for_each_key(
        &mut self,
        rule: &Event<Reading>,
        known: &mut Keyed<'_, u64, Known>,
        _: &Self::Broadcast,
        _: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        known.hear(rule.value.id);
        Ok(())
    }

    fn on_timer(
        &mut self,
        _: Timer,
        known: &mut Keyed<'_, u64, Known>,
        _: &Self::Broadcast,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let (rules, times) = (known.rules.len(), known.rules.values().sum::<u64>());
        let records = known.records.get().copied().unwrap_or_default();
        let line = format!("{records} records, {rules} rules told {times} times");
        out.emit((format!("rules {}", known.key()), line));
        Ok(())
    }
}

/// Lets both streams pass, in one.
#[derive(Clone)]
struct Merged;

impl Merged {
    fn pass(reading: Event<Reading>, out: &mut Output<'_, Reading>) -> Result<(), UserError> {
        out.emit(reading.value);
        Ok(())
    }
}

impl CoProcessFunction<Reading, Reading> for Merged {
    type Out = Reading;

    fn process_first(
        &mut self,
        reading: Event<Reading>,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        Self::pass(reading, out)
    }

    fn process_second(
        &mut self,
        reading: Event<Reading>,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        Self::pass(reading, out)
    }
}

impl BroadcastProcessFunction<Reading, Reading> for Merged {
    type Out = Reading;
    type Broadcast = MapState<u64, ()>;

    fn process(
        &mut self,
        reading: Event<Reading>,
        _: &Self::Broadcast,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        Self::pass(reading, out)
    }

    fn process_broadcast(
        &mut self,
        rule: Event<Reading>,
        rules: &mut Self::Broadcast,
        _: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        let id = rule.value.id;
        match rules.insert(id, ()) {
            None => Ok(()),
            Some(()) => Err(format!("rule {id} came twice").into()),
        }
    }
}

impl World {
    pub(super) fn co_grouped(&self, env: &StreamEnvironment) {
        let (first, second) = self.both(env);
        let windows = || {
            let joined = first.join(&second).on(|a| a.key, |b| b.key);
            joined.window(WindowAssigner::tumbling(Duration::from_millis(60)))
        };
        let groups = windows().co_group(|group| {
            let ids = |side: &[Reading]| side.iter().map(|reading| reading.id).collect::<Vec<_>>();
            let (first, second) = &group.value;
            let line = format!("{:?} {:?}", ids(first), ids(second));
            Some((
                group.key.to_string(),
                format!("{}:{line}", group.window.start),
            ))
        });
        let groups = groups.parallelism(self.wide());
        let groups = groups.map(|group| group.value).parallelism(self.wide());
        self.sink(&groups, &self.main);

        let left = windows().left_outer(|a, b| (format!("left {}", a.key), paired(Some(a), b)));
        let right = windows().right_outer(|a, b| (format!("right {}", b.key), paired(a, Some(b))));
        let inner = windows().apply(|a, b| (format!("inner {}", a.key), paired(Some(a), Some(b))));
        let pairs = left
            .parallelism(self.wide())
            .union(&right.parallelism(self.wide()))
            .union(&inner.parallelism(self.wide()))
            .map(|pair| pair.value)
            .parallelism(self.wide());
        self.sink(&pairs, &self.serial);

        let rules = second.filter(|reading| reading.value % 16 == 0).broadcast();
        let visited = first
            .key_by(|reading| reading.key)
            .connect_broadcast(&rules)
            .process(EachOnce)
            .parallelism(self.wide());
        let merged = first.connect(&second).process(Merged);
        let merged = merged.connect_broadcast(&rules).process(Merged);
        let counted = self.windowed(&merged, false);
        self.sink(&visited.union(&counted), &self.late);
    }
}

fn paired(first: Option<&Reading>, second: Option<&Reading>) -> String {
    let id = |one: Option<&Reading>| one.map(|reading| reading.id);
    format!("{:?}+{:?}", id(first), id(second))
}
