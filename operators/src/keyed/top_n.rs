//! The best few records.

use std::fmt;
use std::marker::PhantomData;

use rivus_core::Record;

use super::aggregates::has_order;
use super::{AggregateFunction, Rolling};
use crate::OwnedOrLent;

/// The records with the highest scores, the best first; of equal ones the first come first.
///
/// Records whose score can't be compared, such as NaN, are passed over. The lowest scores are the highest of
/// [`Reverse`](std::cmp::Reverse).
///
/// ```
/// use rivus_operators::{AggregateFunction, TopN};
///
/// let fastest = TopN::of(2, |lap: &(String, u32)| std::cmp::Reverse(lap.1));
/// let mut acc = fastest.create();
/// for (driver, seconds) in [("ann", 83), ("bob", 79), ("cid", 79), ("dan", 90)] {
///     fastest.add(&mut acc, &(driver.into(), seconds));
/// }
/// let names: Vec<_> = fastest.result(&acc).into_iter().map(|lap| lap.0).collect();
/// assert_eq!(names, ["bob", "cid"]);
/// ```
pub struct TopN<T, N, F> {
    n: usize,
    score: F,
    of: PhantomData<fn(T) -> N>,
}

impl<T, N, F> TopN<T, N, F>
where
    T: Record,
    N: PartialOrd + 'static,
    F: Fn(&T) -> N + Clone + Send + Sync + 'static,
{
    /// The `n` records with the highest scores.
    pub fn of(n: usize, score: F) -> Self {
        Self {
            n,
            score,
            of: PhantomData,
        }
    }

    /// Puts a record among the best if it belongs there. Returns whether it does.
    fn insert<V: OwnedOrLent<T>>(&self, top: &mut Vec<T>, value: V) -> bool {
        let score = (self.score)(value.borrow());
        let as_good = |other: &T| (self.score)(other) >= score;
        let is_out = top.len() >= self.n && top.last().is_none_or(as_good);
        if is_out || !has_order(&score) {
            return false;
        }
        // Behind all that are as good: they came before.
        let at = top.partition_point(as_good);
        top.insert(at, value.into_owned());
        top.truncate(self.n);
        true
    }
}

impl<T, N, F: Clone> Clone for TopN<T, N, F> {
    fn clone(&self) -> Self {
        Self {
            n: self.n,
            score: self.score.clone(),
            of: PhantomData,
        }
    }
}

impl<T, N, F> fmt::Debug for TopN<T, N, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Top{}", self.n)
    }
}

impl<T, N, F> AggregateFunction for TopN<T, N, F>
where
    T: Record,
    N: PartialOrd + 'static,
    F: Fn(&T) -> N + Clone + Send + Sync + 'static,
{
    type In = T;
    type Acc = Vec<T>;
    type Out = Vec<T>;

    fn check(&self) -> Result<(), String> {
        match self.n {
            0 => Err("the best 0 records are none: ask for at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> Vec<T> {
        Vec::new()
    }

    #[inline]
    fn add(&self, acc: &mut Vec<T>, value: &T) {
        self.insert(acc, value);
    }

    fn merge(&self, acc: &mut Vec<T>, other: Vec<T>) {
        for value in other {
            self.insert(acc, value);
        }
    }

    fn result(&self, acc: &Vec<T>) -> Vec<T> {
        acc.clone()
    }
}

/// Says the best records whenever they are others than before.
impl<T, N, F> Rolling<T> for TopN<T, N, F>
where
    T: Record,
    N: PartialOrd + 'static,
    F: Fn(&T) -> N + Clone + Send + Sync + 'static,
{
    type Acc = Vec<T>;
    type Out = Vec<T>;

    const ONE_FOR_ONE: bool = false;

    fn check(&self) -> Result<(), String> {
        AggregateFunction::check(self)
    }

    fn create(&self) -> Vec<T> {
        Vec::new()
    }

    #[inline]
    fn roll<V: OwnedOrLent<T>>(&self, acc: &mut Vec<T>, value: V) -> Option<Vec<T>> {
        self.insert(acc, value).then(|| acc.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_top_is_that_of_a_stable_sort_wherever_the_records_are_split(
            scores in prop::collection::vec(prop_oneof![4 => 0..6_i32, 1 => Just(-1)], 0..30),
            n in 0..5_usize, split in 0..30_usize,
        ) {
            // A score below zero stands for one that can't be compared.
            let score = |record: &(usize, i32)| match record.1 {
                -1 => f64::NAN,
                score => f64::from(score),
            };
            let records: Vec<(usize, i32)> = scores.into_iter().enumerate().collect();
            let top = TopN::of(n, score);
            let half = |records: &[(usize, i32)]| {
                let mut acc = AggregateFunction::create(&top);
                records.iter().for_each(|record| top.add(&mut acc, record));
                acc
            };
            let split = split.min(records.len());
            let mut acc = half(&records[..split]);
            top.merge(&mut acc, half(&records[split..]));
            let mut expected: Vec<_> = records.iter().copied().filter(|record| record.1 >= 0).collect();
            expected.sort_by_key(|record| std::cmp::Reverse(record.1));
            expected.truncate(n);
            prop_assert_eq!(top.result(&acc), expected);
        }
    }
}
