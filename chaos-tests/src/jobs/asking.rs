//! A shape with requests: each answer comes after a while that follows from its record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rivus::{AsyncFunction, AsyncRequests, DataStream, Retry, UserError, WindowAssigner};

use super::functions::{Line, Members};
use super::records::Reading;
use super::shapes::members;
use super::world::World;

/// Longer than any answer takes, however long a simulation holds the job up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How often a request is made again.
const RETRIES: u32 = 3;

/// Who is asked, and how often for which record. Outlives the job's processes.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Asked {
    /// An answer comes after a while; of some records only the second try has one, or the last.
    async fn ask(self, reading: Reading) -> Result<Reading, String> {
        tokio::time::sleep(Duration::from_millis(reading.value % 23)).await;
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(reading.id).or_default();
        *times += 1;
        match u64::from(*times) <= reading.id.wrapping_mul(0x9e37_79b9) % u64::from(RETRIES + 1) {
            true => Err(format!("try {times} for record {}", reading.id)),
            false => Ok(reading),
        }
    }
}

/// Some records get no answer; what is to be made of them is known without.
#[derive(Clone)]
struct Unanswered;

impl AsyncFunction<Reading> for Unanswered {
    type Out = Reading;

    async fn call(&self, reading: Reading) -> Result<Vec<Reading>, UserError> {
        match reading.value % 25 {
            0 => std::future::pending().await,
            _ => Ok(vec![reading]),
        }
    }

    fn on_timeout(&self, reading: Reading, _: Duration) -> Result<Vec<Reading>, UserError> {
        Ok(vec![reading])
    }
}

impl World {
    /// Which records a window holds follows from their times alone, so long as no watermark passes a record.
    pub(super) fn asking(&self, readings: &DataStream<Reading>) {
        let readings = self.timed(readings);
        let lines = self.gathered(&readings);
        self.sink(&lines, &self.main);
        // What was asked for in order is handed on in order, whatever has no answer.
        let soon = AsyncRequests::ordered(Duration::from_millis(10)).capacity(7);
        let ordered = readings.async_process(Unanswered, soon);
        self.sink(&self.rolling(&ordered), &self.serial);
    }

    fn gathered(&self, readings: &DataStream<Reading>) -> DataStream<Line> {
        let retry = Retry::fixed(RETRIES, Duration::from_millis(3));
        let asked = self.asked.clone();
        let capacity = 1 + self.spec.records as usize % 40;
        let first = AsyncRequests::unordered(PATIENCE).capacity(capacity);
        let second = AsyncRequests::ordered(PATIENCE).capacity(capacity * 2);
        readings
            .async_map(
                move |reading| asked.clone().ask(reading),
                first.retry(retry),
            )
            .rebalance()
            .async_map(answered, second)
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

async fn answered(reading: Reading) -> Result<Reading, String> {
    tokio::time::sleep(Duration::from_millis(reading.value % 23)).await;
    Ok(reading)
}
