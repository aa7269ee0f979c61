//! A shape with requests: each answer comes after a while that follows from its record.

use std::time::Duration;

use rivus::{AsyncRequests, DataStream, Retry, WindowAssigner};

use super::functions::{Line, Members};
use super::records::Reading;
use super::shapes::members;
use super::world::World;

/// Longer than any answer takes, however long a simulation holds the job up.
const PATIENCE: Duration = Duration::from_secs(3_600);

impl World {
    /// Which records a window holds follows from their times alone, so long as no watermark passes a record.
    pub(super) fn asking(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let retry = Retry::fixed(3, Duration::from_millis(3));
        let capacity = 1 + self.spec.records as usize % 40;
        let first = AsyncRequests::unordered(PATIENCE).capacity(capacity);
        let second = AsyncRequests::ordered(PATIENCE).capacity(capacity * 2);
        readings
            .async_map(asked, first.retry(retry))
            .rebalance()
            .async_map(asked, second)
            .parallelism(self.wide())
            .key_by(|reading| reading.key)
            .window(WindowAssigner::tumbling(Duration::from_millis(300)))
            .process(Members)
            .parallelism(self.wide())
            .map(|mut window| {
                window.value.sort_unstable();
                members(window)
            })
            .parallelism(self.wide())
    }
}

async fn asked(reading: Reading) -> Result<Reading, String> {
    tokio::time::sleep(Duration::from_millis(reading.value % 23)).await;
    Ok(reading)
}
