//! Loops: streams that are fed back to where they came from.

use std::sync::Arc;

use rivus_core::{Operator, Record};
use rivus_operators::IterationOperator;

use crate::program::NewNode;
use crate::stream::DataStream;

impl<T: Record> DataStream<T> {
    /// A loop. The body is given the records of this stream and, again and again, what it feeds back itself; it returns the
    /// stream to feed back, and whatever is to leave the loop. Its records may cross subtasks and be keyed as anywhere.
    ///
    /// Where this stream ends, the loop ends as soon as no record is under way in it any more, at any parallelism; a body that
    /// goes on feeding back for ever never ends, and nobody can know that before. Records under way are part of each checkpoint
    /// and savepoint.
    ///
    /// Watermarks of this stream pass into the body and say nothing of what goes round. So what works in event time, in the
    /// body or behind it, needs watermarks of its own ([`assign_watermarks`](Self::assign_watermarks)).
    ///
    /// What waits to go round again is kept in memory up to the option
    /// [`loop_bytes`](crate::JobOptions::loop_bytes), and beyond it on disk if the environment has a state backend that has one.
    ///
    /// The name, uid and parallelism of the loop's head are set on the stream that the body is given.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// // How many steps it takes from each number to 1: half of an even one, or three times an odd one and 1 more.
    /// let numbers = env.from_collection(vec![1_u64, 6, 7]).map(|n| (n, n, 0));
    /// let steps = numbers.iterate(|looped| {
    ///     let looped = looped.name("collatz").uid("collatz");
    ///     let on_their_way = looped.filter(|(_, n, _)| *n > 1);
    ///     let there = looped.filter(|(_, n, _)| *n == 1);
    ///     let next = |(first, n, steps): (u64, u64, u32)| match n % 2 {
    ///         0 => (first, n / 2, steps + 1),
    ///         _ => (first, 3 * n + 1, steps + 1),
    ///     };
    ///     (on_their_way.map(next), there)
    /// });
    /// let steps = steps.map(|(first, _, steps)| (first, steps)).collect();
    /// env.execute("collatz").await?;
    /// let mut steps = steps.values();
    /// steps.sort();
    /// assert_eq!(steps, [(1, 0), (6, 8), (7, 16)]);
    /// # Ok(()) }
    /// ```
    pub fn iterate<Out>(&self, body: impl FnOnce(DataStream<T>) -> (DataStream<T>, Out)) -> Out {
        let operator = IterationOperator::<T>::default();
        let inputs = self.program.edges::<T>(&self.origins);
        let node = NewNode::new("iterate", Operator::Transform(Arc::new(operator)), inputs);
        let head = self.program.add::<T>(node);
        let looped = DataStream::new(self.program.clone(), vec![head.clone()]);
        let (feedback, out) = body(looped);
        self.program.joins(&feedback.program, "iterate");
        let edges = feedback.program.edges::<T>(&feedback.origins);
        self.program.feed_back(&head, edges);
        out
    }
}
