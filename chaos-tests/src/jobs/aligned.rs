//! A shape with two sources that wait for each other.

use std::time::Duration;

use rivus::{DataStream, StreamEnvironment, WatermarkStrategy};

use super::records::{DISORDER, Reading};
use super::world::World;

impl World {
    /// Each has times of its own, so that no record is late; the second is read at half the speed.
    pub(super) fn aligned(&self, env: &StreamEnvironment) -> DataStream<Reading> {
        let slow = self.generator(1).every(self.pace().every * 2);
        let fast = self.in_step(&self.generated(env, 0));
        fast.union(&self.in_step(&env.from_source(slow)))
    }

    fn in_step(&self, readings: &DataStream<Reading>) -> DataStream<Reading> {
        let drift = Duration::from_millis(50 * (self.spec.seed % 4));
        let bound = Duration::from_millis(DISORDER as u64);
        let strategy = WatermarkStrategy::bounded_out_of_orderness(bound)
            .with_timestamps(|reading: &Reading| reading.ts)
            .with_alignment_every("both", drift, self.pace().every * 2);
        readings.assign_watermarks(strategy)
    }
}
