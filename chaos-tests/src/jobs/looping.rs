//! A shape with a loop: records go round, each as often as it says, and from key to key.

use std::time::Duration;

use rivus::{
    AsyncRequests, DataStream, Event, Keyed, KeyedProcessFunction, Output, SideOutputTag,
    UserError, ValueState,
};
use serde::{Deserialize, Serialize};

use super::functions::{Line, fold};
use super::records::Reading;
use super::world::World;

/// Longer than any answer takes, however long a simulation holds the job up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A record on its way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lap {
    reading: Reading,
    /// How often it is still to go round.
    left: u64,
    /// All laps so far, in their order.
    seen: u64,
}

/// Counts what comes by, by key.
#[derive(Clone)]
struct Visits {
    visits: SideOutputTag<Line>,
}

impl KeyedProcessFunction<u64, Lap> for Visits {
    type Out = Lap;
    type State = ValueState<u64>;

    fn process(
        &mut self,
        lap: Event<Lap>,
        visits: &mut Keyed<'_, u64, ValueState<u64>>,
        out: &mut Output<'_, Lap>,
    ) -> Result<(), UserError> {
        *visits.get_or_default() += 1;
        let count = visits.get().copied().unwrap_or_default();
        let line = (format!("visits {}", visits.key()), count.to_string());
        out.side(&self.visits, line);
        let Lap {
            reading,
            left,
            seen,
        } = lap.value;
        out.emit(Lap {
            seen: fold(seen.wrapping_add(left), &reading),
            left: left.saturating_sub(1),
            reading,
        });
        Ok(())
    }
}

impl World {
    /// There is little room for requests, so that most of what goes round waits at the loop's head. What a record has seen
    /// follows from itself; the visits of a key are counted in order, whoever they are.
    pub(super) fn looping(&self, readings: &DataStream<Reading>) {
        let wide = self.wide();
        let capacity = 1 + self.spec.records as usize % 5;
        let requests = AsyncRequests::unordered(PATIENCE).capacity(capacity);
        let visits = SideOutputTag::new("visits");
        let function = Visits {
            visits: visits.clone(),
        };
        let laps = readings.map(|reading| Lap {
            left: reading.value % 6,
            seen: 0,
            reading,
        });
        let (out, visits) = laps.iterate(|looped| {
            let looped = looped.parallelism(wide);
            let waited = looped.async_map(lap, requests).parallelism(wide);
            let counted = waited
                .key_by(|lap| lap.reading.key.wrapping_add(lap.left))
                .process(function)
                .parallelism(wide);
            let visits = counted.side_output(&visits);
            let back = counted.filter(|lap| lap.left > 0).parallelism(wide);
            let out = counted.filter(|lap| lap.left == 0).parallelism(wide);
            (back, (out, visits))
        });
        let out = out.map(|lap| (lap.reading.id.to_string(), format!("{:x}", lap.seen)));
        self.sink(&out.parallelism(wide), &self.main);
        self.sink(&visits, &self.serial);
    }
}

async fn lap(lap: Lap) -> Result<Lap, String> {
    tokio::time::sleep(Duration::from_millis(1 + lap.reading.value % 3)).await;
    Ok(lap)
}
