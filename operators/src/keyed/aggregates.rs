//! Aggregate functions: how records are folded into an accumulator, and the ready-made ones.

use std::fmt;
use std::marker::PhantomData;
use std::ops::AddAssign;

use rivus_core::{Record, ValueState};
use serde::{Deserialize, Serialize};

/// Folds records into an accumulator, which can be merged with another.
///
/// ```
/// use rivus_operators::AggregateFunction;
///
/// #[derive(Clone)]
/// struct Longest;
///
/// impl AggregateFunction for Longest {
///     type In = String;
///     type Acc = String;
///     type Out = usize;
///     fn create(&self) -> String { String::new() }
///     fn add(&self, acc: &mut String, word: &String) {
///         if word.len() > acc.len() { acc.clone_from(word); }
///     }
///     fn merge(&self, acc: &mut String, other: String) { self.add(acc, &other); }
///     fn result(&self, acc: &String) -> usize { acc.len() }
/// }
/// ```
pub trait AggregateFunction: Clone + Send + Sync + 'static {
    /// What it takes.
    type In: Record;
    /// What is kept.
    type Acc: Record;
    /// What comes out.
    type Out: Record;

    /// Refuses figures with which it can't work, before the job is started.
    ///
    /// # Errors
    /// One line that says what is wrong and the mend.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether records may be gathered where they come from, before they are sent to where their key is at home: whether it is
    /// the same to [`merge`](Self::merge) what was gathered of a few as to [`add`](Self::add) each. Windows by event time then
    /// send what was gathered to other processes instead of the records. The ready-made ones say yes.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, Count};
    ///
    /// assert!(Count::<String>::new().can_pre_aggregate());
    /// ```
    fn can_pre_aggregate(&self) -> bool {
        false
    }

    /// The accumulator before any record.
    fn create(&self) -> Self::Acc;

    /// Adds a record.
    fn add(&self, acc: &mut Self::Acc, value: &Self::In);

    /// Adds what another accumulator has gathered. The other's records may be older or newer.
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);

    /// What has been gathered.
    fn result(&self, acc: &Self::Acc) -> Self::Out;
}

/// Two aggregates of the same records at once.
impl<A, B> AggregateFunction for (A, B)
where
    A: AggregateFunction,
    B: AggregateFunction<In = A::In>,
{
    type In = A::In;
    type Acc = (A::Acc, B::Acc);
    type Out = (A::Out, B::Out);

    fn check(&self) -> Result<(), String> {
        self.0.check()?;
        self.1.check()
    }

    fn can_pre_aggregate(&self) -> bool {
        self.0.can_pre_aggregate() && self.1.can_pre_aggregate()
    }

    fn create(&self) -> Self::Acc {
        (self.0.create(), self.1.create())
    }

    #[inline]
    fn add(&self, acc: &mut Self::Acc, value: &Self::In) {
        self.0.add(&mut acc.0, value);
        self.1.add(&mut acc.1, value);
    }

    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        self.0.merge(&mut acc.0, other.0);
        self.1.merge(&mut acc.1, other.1);
    }

    fn result(&self, acc: &Self::Acc) -> Self::Out {
        (self.0.result(&acc.0), self.1.result(&acc.1))
    }
}

/// Number of records.
///
/// ```
/// use rivus_operators::{AggregateFunction, Count};
///
/// let count = Count::<String>::new();
/// let mut acc = count.create();
/// count.add(&mut acc, &"a record".to_owned());
/// assert_eq!(count.result(&acc), 1);
/// ```
pub struct Count<T>(PhantomData<fn(T)>);

impl<T> Count<T> {
    /// Counts.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Count<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Count<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: Record> AggregateFunction for Count<T> {
    type In = T;
    type Acc = u64;
    type Out = u64;

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> u64 {
        0
    }

    #[inline]
    fn add(&self, acc: &mut u64, _value: &T) {
        *acc += 1;
    }

    fn merge(&self, acc: &mut u64, other: u64) {
        *acc += other;
    }

    fn result(&self, acc: &u64) -> u64 {
        *acc
    }
}

macro_rules! by_field {
    ($(#[$doc:meta])* $name:ident, $of:literal) => {
        $(#[$doc])*
        pub struct $name<T, N, F> {
            field: F,
            of: PhantomData<fn(T) -> N>,
        }

        impl<T: Record, N, F: Fn(&T) -> N + Clone + Send + Sync + 'static> $name<T, N, F> {
            #[doc = $of]
            pub fn of(field: F) -> Self {
                Self { field, of: PhantomData }
            }
        }

        impl<T, N, F: Clone> Clone for $name<T, N, F> {
            fn clone(&self) -> Self {
                Self { field: self.field.clone(), of: PhantomData }
            }
        }

        impl<T, N, F> fmt::Debug for $name<T, N, F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

pub(super) use by_field;

by_field! {
    /// Sum of a field.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, Sum};
    ///
    /// let bytes = Sum::of(|request: &(String, u64)| request.1);
    /// let mut acc = bytes.create();
    /// bytes.add(&mut acc, &("/".into(), 40));
    /// bytes.add(&mut acc, &("/".into(), 2));
    /// assert_eq!(bytes.result(&acc), 42);
    /// ```
    Sum, "Sums what a function finds in a record."
}
by_field! {
    /// Least value of a field.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, Min};
    ///
    /// let function = Min::of(|reading: &(String, u32)| reading.1);
    /// let mut acc = function.create();
    /// for degrees in [3, 1, 2] {
    ///     function.add(&mut acc, &("kitchen".into(), degrees));
    /// }
    /// assert_eq!(function.result(&acc), 1);
    /// ```
    Min, "The least of what a function finds in the records. Values that can't be compared, such as NaN, are passed over; where there is none that can, it is the type's default."
}
by_field! {
    /// Greatest value of a field.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, Max};
    ///
    /// let function = Max::of(|reading: &(String, u32)| reading.1);
    /// let mut acc = function.create();
    /// for degrees in [3, 1, 2] {
    ///     function.add(&mut acc, &("kitchen".into(), degrees));
    /// }
    /// assert_eq!(function.result(&acc), 3);
    /// ```
    Max, "The greatest of what a function finds in the records. Values that can't be compared, such as NaN, are passed over; where there is none that can, it is the type's default."
}
by_field! {
    /// Mean of a field.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, Avg};
    ///
    /// let degrees = Avg::of(|reading: &(String, f64)| reading.1);
    /// let mut acc = degrees.create();
    /// degrees.add(&mut acc, &("kitchen".into(), 20.0));
    /// degrees.add(&mut acc, &("kitchen".into(), 21.0));
    /// assert_eq!(degrees.result(&acc), 20.5);
    /// ```
    Avg, "The mean of what a function finds in the records."
}

impl<T, N, F> AggregateFunction for Sum<T, N, F>
where
    T: Record,
    N: Record + Default + AddAssign,
    F: Fn(&T) -> N + Clone + Send + Sync + 'static,
{
    type In = T;
    type Acc = N;
    type Out = N;

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> N {
        N::default()
    }

    #[inline]
    fn add(&self, acc: &mut N, value: &T) {
        *acc += (self.field)(value);
    }

    fn merge(&self, acc: &mut N, other: N) {
        *acc += other;
    }

    fn result(&self, acc: &N) -> N {
        acc.clone()
    }
}

/// Whether a value can be compared: what isn't equal to itself, such as NaN, has no order.
#[inline]
pub(super) fn has_order<N: PartialOrd>(value: &N) -> bool {
    value.partial_cmp(value).is_some()
}

macro_rules! extreme {
    ($name:ident, $better:tt) => {
        impl<T, N, F> AggregateFunction for $name<T, N, F>
        where
            T: Record,
            N: Record + Default + PartialOrd,
            F: Fn(&T) -> N + Clone + Send + Sync + 'static,
        {
            type In = T;
            type Acc = ValueState<N>;
            type Out = N;

            fn can_pre_aggregate(&self) -> bool {
                true
            }

            fn create(&self) -> ValueState<N> {
                ValueState::default()
            }

            #[inline]
            fn add(&self, acc: &mut ValueState<N>, value: &T) {
                let value = (self.field)(value);
                if has_order(&value) && acc.get().is_none_or(|best| value $better *best) {
                    acc.set(value);
                }
            }

            #[inline]
            fn merge(&self, acc: &mut ValueState<N>, mut other: ValueState<N>) {
                if let Some(other) = other.take()
                    && acc.get().is_none_or(|best| other $better *best)
                {
                    acc.set(other);
                }
            }

            /// The default if no value could be compared.
            fn result(&self, acc: &ValueState<N>) -> N {
                acc.get().cloned().unwrap_or_default()
            }
        }
    };
}

extreme!(Min, <);
extreme!(Max, >);

/// What a mean is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "rivus.Mean")]
pub struct Mean {
    /// Sum of the values.
    pub sum: f64,
    /// Number of values.
    pub count: u64,
}

impl<T, F> AggregateFunction for Avg<T, f64, F>
where
    T: Record,
    F: Fn(&T) -> f64 + Clone + Send + Sync + 'static,
{
    type In = T;
    type Acc = Mean;
    type Out = f64;

    fn can_pre_aggregate(&self) -> bool {
        true
    }

    fn create(&self) -> Mean {
        Mean::default()
    }

    #[inline]
    fn add(&self, acc: &mut Mean, value: &T) {
        acc.sum += (self.field)(value);
        acc.count += 1;
    }

    fn merge(&self, acc: &mut Mean, other: Mean) {
        acc.sum += other.sum;
        acc.count += other.count;
    }

    fn result(&self, acc: &Mean) -> f64 {
        acc.sum / acc.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over<A: AggregateFunction<In = f64>>(function: &A, values: &[f64], split: usize) -> A::Out {
        let half = |values: &[f64]| {
            let mut acc = function.create();
            for value in values {
                function.add(&mut acc, value);
            }
            acc
        };
        let mut acc = half(&values[..split]);
        function.merge(&mut acc, half(&values[split..]));
        function.result(&acc)
    }

    #[test]
    fn ready_made_aggregates_give_the_same_wherever_they_are_split() {
        let values = [3.0, f64::NAN, -1.0, 8.0];
        let finite = [3.0, -1.0, 8.0, 2.0];
        for split in 0..=4 {
            assert_eq!(over(&Count::new(), &values, split), 4);
            assert_eq!(over(&Sum::of(|v: &f64| *v), &finite, split), 12.0);
            assert_eq!(over(&Min::of(|v: &f64| *v), &values, split), -1.0);
            assert_eq!(over(&Max::of(|v: &f64| *v), &values, split), 8.0);
            assert_eq!(over(&Avg::of(|v: &f64| *v), &finite, split), 3.0);
            let both = (Count::new(), Max::of(|v: &f64| *v));
            assert_eq!(over(&both, &finite, split), (4, 8.0));
        }
    }
}
