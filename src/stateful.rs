//! Process functions without a key that have state.

use rivus_core::Record;
use rivus_operators::{SideOutputs, StatefulProcessFunction, StatefulProcessOperator};

use crate::stream::DataStream;

impl<T: Record> DataStream<T> {
    /// What a [`StatefulProcessFunction`] makes of each record and of what it has kept from others of its subtask.
    ///
    /// ```
    /// use rivus::{Event, Output, StatefulProcessFunction, UserError};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// /// Says of each reading by how much it differs from the one before.
    /// #[derive(Clone, Default)]
    /// struct Differences { last: Option<i64> }
    ///
    /// impl StatefulProcessFunction<i64> for Differences {
    ///     type Out = i64;
    ///     type Item = i64;
    ///     fn process(&mut self, reading: Event<i64>, out: &mut Output<'_, i64>) -> Result<(), UserError> {
    ///         if let Some(last) = self.last.replace(reading.value) {
    ///             out.emit(reading.value - last);
    ///         }
    ///         Ok(())
    ///     }
    ///     fn snapshot(&self) -> Vec<i64> {
    ///         self.last.into_iter().collect()
    ///     }
    ///     fn restore(&mut self, items: Vec<i64>) -> Result<(), UserError> {
    ///         self.last = items.into_iter().next();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let readings = env.from_collection(vec![20, 24, 25]);
    /// let differences = readings.process_with_state(Differences::default()).collect();
    /// env.execute("differences").await?;
    /// assert_eq!(differences.values(), [4, 1]);
    /// # Ok(()) }
    /// ```
    pub fn process_with_state<P: StatefulProcessFunction<T>>(
        &self,
        function: P,
    ) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let operator = StatefulProcessOperator::new(function, sides.clone());
        self.add("process", operator, |node| node.declared = sides)
    }
}
