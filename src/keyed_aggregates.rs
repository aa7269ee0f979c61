//! What is often asked of a key's records so far.

use std::ops::AddAssign;

use rivus_core::Record;
use rivus_operators::{
    Avg, DistinctOperator, Fold, KeySelector, Max, MaxBy, Min, MinBy, Rolling, RollingOperator,
    Sum, TopN,
};

use crate::keyed::KeyedStream;
use crate::stream::DataStream;

impl<T: Record, S: KeySelector<T>> KeyedStream<T, S> {
    fn roll<R: Rolling<T>>(&self, name: &'static str, rolling: R) -> DataStream<(S::Key, R::Out)> {
        let operator = RollingOperator::new(self.selector.clone(), rolling);
        self.add(name, operator, |_| {})
    }

    /// Folds each record into a value of its key, which begins as `initial`, and emits it, for every record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![1, 2, 3]);
    /// let seen = numbers.key_by(|n| n % 2).fold(Vec::new(), |seen, n| seen.push(*n)).collect();
    /// env.execute("seen").await?;
    /// assert_eq!(seen.values(), [(1, vec![1]), (0, vec![2]), (1, vec![1, 3])]);
    /// # Ok(()) }
    /// ```
    pub fn fold<A, F>(&self, initial: A, fold: F) -> DataStream<(S::Key, A)>
    where
        A: Record,
        F: Fn(&mut A, &T) + Clone + Send + Sync + 'static,
    {
        self.roll("fold", Fold::new(initial, fold))
    }

    /// The sum of something in a key's records so far, for every record. It is what `+=` makes of it: integers that are too small for
    /// their sum wrap around in a release build, so take a type that has room.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let trades = [("IBM", 5), ("SAP", 2), ("IBM", 3)].map(|(name, volume)| (name.to_owned(), volume));
    /// let trades = env.from_collection(trades.to_vec());
    /// let volumes = trades.key_by_ref(|trade| trade.0.as_str()).sum(|trade| trade.1).collect();
    /// env.execute("volumes").await?;
    /// assert_eq!(volumes.values().last(), Some(&("IBM".to_owned(), 8)));
    /// # Ok(()) }
    /// ```
    pub fn sum<N, F>(&self, of: F) -> DataStream<(S::Key, N)>
    where
        N: Record + Default + AddAssign,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::aggregate(self.selector.clone(), Sum::of(of));
        self.add("sum", operator, |_| {})
    }

    /// The least of something in a key's records so far, for every record. Values that can't be compared, such as
    /// NaN, are passed over; where there is none that can, it is the type's default.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let coldest = env.from_collection(vec![4.5, -1.0, 3.0]).key_by(|_| ()).min(|degrees| *degrees).collect();
    /// env.execute("coldest").await?;
    /// assert_eq!(coldest.values(), [((), 4.5), ((), -1.0), ((), -1.0)]);
    /// # Ok(()) }
    /// ```
    pub fn min<N, F>(&self, of: F) -> DataStream<(S::Key, N)>
    where
        N: Record + Default + PartialOrd,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::aggregate(self.selector.clone(), Min::of(of));
        self.add("min", operator, |_| {})
    }

    /// The greatest of something in a key's records so far, for every record. Values that can't be compared, such as
    /// NaN, are passed over; where there is none that can, it is the type's default.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let words = env.from_collection(vec!["be".to_owned(), "not".to_owned(), "to".to_owned()]);
    /// let longest = words.key_by(|_| ()).max(|word| word.len()).collect();
    /// env.execute("longest").await?;
    /// assert_eq!(longest.values(), [((), 2), ((), 3), ((), 3)]);
    /// # Ok(()) }
    /// ```
    pub fn max<N, F>(&self, of: F) -> DataStream<(S::Key, N)>
    where
        N: Record + Default + PartialOrd,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::aggregate(self.selector.clone(), Max::of(of));
        self.add("max", operator, |_| {})
    }

    /// The mean of something in a key's records so far, for every record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let means = env.from_collection(vec![20, 21]).key_by(|_| ()).avg(|degrees| f64::from(*degrees)).collect();
    /// env.execute("means").await?;
    /// assert_eq!(means.values(), [((), 20.0), ((), 20.5)]);
    /// # Ok(()) }
    /// ```
    pub fn avg<F>(&self, of: F) -> DataStream<(S::Key, f64)>
    where
        F: Fn(&T) -> f64 + Clone + Send + Sync + 'static,
    {
        let operator = RollingOperator::aggregate(self.selector.clone(), Avg::of(of));
        self.add("avg", operator, |_| {})
    }

    /// The record with the least of something among a key's records so far, for every record; of equal ones the
    /// first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let offers = env.from_collection(vec![("a".to_owned(), 3), ("b".to_owned(), 2), ("c".to_owned(), 2)]);
    /// let cheapest = offers.key_by(|_| ()).min_by(|offer| offer.1).map(|(_, offer)| offer.0).collect();
    /// env.execute("cheapest").await?;
    /// assert_eq!(cheapest.values(), ["a", "b", "b"]);
    /// # Ok(()) }
    /// ```
    pub fn min_by<N, F>(&self, of: F) -> DataStream<(S::Key, T)>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.roll("min_by", MinBy::of(of))
    }

    /// The record with the greatest of something among a key's records so far, for every record; of equal ones the
    /// first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let words = env.from_collection(vec!["to".to_owned(), "not".to_owned(), "too".to_owned()]);
    /// let longest = words.key_by(|_| ()).max_by(|word| word.len()).map(|(_, word)| word).collect();
    /// env.execute("longest").await?;
    /// assert_eq!(longest.values(), ["to", "not", "not"]);
    /// # Ok(()) }
    /// ```
    pub fn max_by<N, F>(&self, of: F) -> DataStream<(S::Key, T)>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.roll("max_by", MaxBy::of(of))
    }

    /// The first record of each key. Every key is remembered for as long as the job runs; to forget it after
    /// a while, keep an [`Expiring`](crate::Expiring) state in a [`process`](Self::process).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let visits = vec![("ann".to_owned(), 9), ("bob".to_owned(), 10), ("ann".to_owned(), 11)];
    /// let first = env.from_collection(visits).key_by_ref(|visit| visit.0.as_str()).distinct().collect();
    /// env.execute("first visits").await?;
    /// assert_eq!(first.values(), [("ann".to_owned(), 9), ("bob".to_owned(), 10)]);
    /// # Ok(()) }
    /// ```
    pub fn distinct(&self) -> DataStream<T> {
        self.add(
            "distinct",
            DistinctOperator::new(self.selector.clone()),
            |_| {},
        )
    }

    /// The `n` records of a key with the highest scores so far, the best first and of equal ones the first
    /// come first; emitted whenever they are others than before. Records whose score can't be compared, such
    /// as NaN, are passed over. For the lowest scores, take [`Reverse`](std::cmp::Reverse) of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let numbers = env.from_collection(vec![5, 1, 3, 2]);
    /// let top = numbers.key_by(|_| ()).top_n(2, |n| *n).map(|(_, top)| top).collect();
    /// env.execute("top two").await?;
    /// assert_eq!(top.values(), [vec![5], vec![5, 1], vec![5, 3]]); // 2 changes nothing
    /// # Ok(()) }
    /// ```
    pub fn top_n<N, F>(&self, n: usize, score: F) -> DataStream<(S::Key, Vec<T>)>
    where
        N: PartialOrd + 'static,
        F: Fn(&T) -> N + Clone + Send + Sync + 'static,
    {
        self.roll("top_n", TopN::of(n, score))
    }
}
