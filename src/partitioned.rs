//! Which of the next operator's subtasks a record goes to.

use std::sync::Arc;

use rivus_core::{Exchange, Partition, Record};

use crate::stream::DataStream;

impl<T: Record> DataStream<T> {
    /// The next operator's subtasks take turns, but each subtask of this one sends to its own share of them only: with 2
    /// subtasks before 4 each sends to 2, with 4 before 2 each to one. Fewer channels than
    /// [`rebalance`](Self::rebalance), and a failure restarts only those that are joined.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection((1..=100).collect::<Vec<u64>>()).rebalance().map(|n| n).parallelism(2);
    /// let squares = numbers.rescale().map(|n| n * n).parallelism(4).collect();
    /// env.execute("squares").await?;
    /// assert_eq!(squares.len(), 100);
    /// # Ok(()) }
    /// ```
    pub fn rescale(self) -> Self {
        self.exchange(Exchange::Rescale)
    }

    /// Each record goes to one of the next operator's subtasks by chance, evenly. What is drawn follows from the plan: an
    /// attempt that reads the same records sends them the same ways.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection((1..=100).collect::<Vec<u64>>());
    /// let squares = numbers.shuffle().map(|n| n * n).parallelism(2).collect();
    /// env.execute("squares").await?;
    /// assert_eq!(squares.len(), 100);
    /// # Ok(()) }
    /// ```
    pub fn shuffle(self) -> Self {
        self.exchange(Exchange::Shuffle)
    }

    /// All records go to the next operator's first subtask.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![1, 2, 3]).global().map(|n| n).parallelism(2);
    /// let numbers = numbers.collect();
    /// env.execute("numbers").await?;
    /// assert_eq!(numbers.values(), [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    pub fn global(self) -> Self {
        self.exchange(Exchange::Global)
    }

    /// Each record goes to the subtask that a function chooses: it is given the record's key and how many there are, and
    /// returns a number below that. Another number fails the attempt.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let orders = env.from_collection(vec![(7, "hat".to_owned()), (250, "coat".to_owned())]);
    /// let dear_ones_first = |cents: &u32, subtasks: usize| if *cents >= 100 { 0 } else { 1 % subtasks };
    /// let by_price = orders.partition_custom(dear_ones_first, |order| order.0);
    /// let packed = by_price.map(|order| order.1).parallelism(2).collect();
    /// env.execute("orders").await?;
    /// assert_eq!(packed.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn partition_custom<K, P, F>(self, partitioner: P, key: F) -> Self
    where
        P: Fn(&K, usize) -> usize + Send + Sync + 'static,
        F: Fn(&T) -> K + Send + Sync + 'static,
    {
        let partition: Partition<T> =
            Arc::new(move |value, subtasks| partitioner(&key(value), subtasks));
        let mut stream = self.exchange(Exchange::Custom);
        for origin in &mut stream.origins {
            origin.partition = Some(Arc::new(Arc::clone(&partition)));
        }
        stream
    }
}
