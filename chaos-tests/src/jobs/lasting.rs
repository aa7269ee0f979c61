//! Functions whose state is no row, or doesn't stay for ever.

use std::collections::BTreeMap;

use rivus::{
    AggregateFunction, AggregatingState, Event, Expiring, ExpiringMapState, Keyed,
    KeyedProcessFunction, ListState, MapState, Mean, Output, Redistribution, ReducingState,
    StateSet, StatefulProcessFunction, Timestamp, UserError, ValueState,
};
use serde::{Deserialize, Serialize};

use super::functions::{Line, fold};
use super::records::Reading;

/// Chains the records of each lane: what a record says depends on all before it in its lane, which is read by one
/// subtask, whichever that is.
#[derive(Clone)]
pub struct Lanes {
    count: u64,
    how: Redistribution,
    /// By lane, how many records, and all of them in order.
    folded: BTreeMap<u64, (u64, u64)>,
}

impl Lanes {
    /// Of so many lanes, each the records of one split.
    pub fn new(count: u64, how: Redistribution) -> Self {
        Self {
            count,
            how,
            folded: BTreeMap::new(),
        }
    }
}

impl StatefulProcessFunction<Reading> for Lanes {
    type Out = Reading;
    type Item = (u64, (u64, u64));

    fn redistribution(&self) -> Redistribution {
        self.how
    }

    fn process(
        &mut self,
        event: Event<Reading>,
        out: &mut Output<'_, Reading>,
    ) -> Result<(), UserError> {
        let mut reading = event.value;
        let lane = self.folded.entry(reading.key % self.count);
        let (seen, folded) = lane.or_default();
        *seen += 1;
        *folded = fold(*folded, &reading);
        reading.value = *folded % 1_000;
        out.emit(reading);
        Ok(())
    }

    fn snapshot(&self) -> Vec<Self::Item> {
        let lanes = self.folded.iter();
        lanes.map(|(lane, folded)| (*lane, *folded)).collect()
    }

    /// Of a union some items are those of subtasks that only know what another one had before.
    fn restore(&mut self, items: Vec<Self::Item>) -> Result<(), UserError> {
        for (lane, folded) in items {
            let newest = self.folded.entry(lane).or_default();
            *newest = folded.max(*newest);
        }
        Ok(())
    }
}

/// State of [`Gathering`].
#[derive(Default, Clone, Debug, Serialize, Deserialize, StateSet)]
pub struct Gathered {
    /// Goes away only long after the run.
    #[state(ttl = "30d", renew = "read_and_write")]
    mean: Expiring<AggregatingState<Mean>>,
    #[state(ttl = "1h")]
    greatest: Expiring<ReducingState<u64>>,
    /// Comes and goes; if it is there, it is the last record's number.
    #[state(ttl = "70ms")]
    recent: Expiring<ValueState<u64>>,
    /// Entries come and go; those that are there are records of this key, none of them newer than the last.
    #[state(ttl = "90ms", renew = "read_and_write")]
    lately: ExpiringMapState<u64, u64>,
    /// The records since the last pause, all of which come and go together; the last ones of them by kind.
    #[state(ttl = "80ms")]
    run: Expiring<ListState<u64>>,
    #[state(ttl = "60ms", renew = "read_and_write")]
    kinds: Expiring<MapState<u64, u64>>,
    last: ValueState<u64>,
    /// When that was, and how many had come since the last pause, by the clock.
    at: ValueState<Timestamp>,
    since_pause: ValueState<u64>,
}

impl Gathered {
    /// What is there of the last records, after so long without one, is what should be.
    fn check_run(&mut self, pause: Timestamp) -> Result<(), UserError> {
        let last = self.last.get().copied();
        if pause >= 80 {
            self.since_pause.set(0);
        }
        let since_pause = self.since_pause.get_or_default();
        let (run, kinds) = (self.run.as_slice(), self.kinds.values().copied().max());
        let run_is_right =
            run.len() as u64 == *since_pause && (run.is_empty() || run.last().copied() == last);
        *since_pause += 1;
        let newest = (pause < 60).then_some(last).flatten();
        match run_is_right && kinds == newest {
            true => Ok(()),
            false => Err(format!("{pause} ms after {last:?} there were {run:?}, {kinds:?}").into()),
        }
    }
}

/// Says the mean and the greatest of a key's values so far.
#[derive(Clone)]
pub struct Gathering<A>(pub A);

impl<A> KeyedProcessFunction<u64, Reading> for Gathering<A>
where
    A: AggregateFunction<In = Reading, Acc = Mean, Out = f64>,
{
    type Out = Line;
    type State = Gathered;

    fn process(
        &mut self,
        event: Event<Reading>,
        state: &mut Keyed<'_, u64, Gathered>,
        out: &mut Output<'_, Line>,
    ) -> Result<(), UserError> {
        let reading = event.value;
        let last = state.last.get().copied();
        if state
            .recent
            .get()
            .is_some_and(|recent| Some(*recent) != last)
        {
            return Err(format!("{:?} is recent and {last:?} the last", state.recent).into());
        }
        if let Some(newer) = state.lately.values().find(|id| Some(**id) > last) {
            return Err(format!("{newer} came lately, after {last:?}").into());
        }
        let now = state.processing_time();
        let pause = now - state.at.get().copied().unwrap_or(now);
        state.check_run(pause)?;
        state.at.set(now);
        state.lately.insert(reading.id % 4, reading.id);
        state.run.push(reading.id);
        state.kinds.insert(reading.id % 3, reading.id);
        state.recent.set(reading.id);
        state.last.set(reading.id);
        let greater = |best: &mut u64, next: u64| *best = next.max(*best);
        state.greatest.add(reading.value, greater);
        state.mean.add(&self.0, &reading);
        let (mean, greatest) = (state.mean.get(&self.0), state.greatest.get());
        let line = format!("{}: {mean:?} {greatest:?} after {last:?}", reading.id);
        out.emit((reading.key.to_string(), line));
        Ok(())
    }
}
