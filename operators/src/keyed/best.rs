//! The record with the least, or the greatest, of something.

use std::fmt;
use std::marker::PhantomData;

use rivus_core::{Record, ValueState};

use super::aggregates::{by_field, has_order};
use super::{AggregateFunction, Rolling};
use crate::OwnedOrLent;

by_field! {
    /// The record with the least of something; of equal ones the first.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, MinBy};
    ///
    /// let cheapest = MinBy::of(|offer: &(String, u32)| offer.1);
    /// let mut acc = cheapest.create();
    /// for (shop, price) in [("corner", 3), ("market", 2), ("station", 2)] {
    ///     cheapest.add(&mut acc, &(shop.into(), price));
    /// }
    /// assert_eq!(cheapest.result(&acc).unwrap().0, "market");
    /// ```
    MinBy, "By what a function finds in a record. One in which that can't be compared, such as NaN, gives way to any other."
}
by_field! {
    /// The record with the greatest of something; of equal ones the first.
    ///
    /// ```
    /// use rivus_operators::{AggregateFunction, MaxBy};
    ///
    /// let longest = MaxBy::of(|word: &String| word.len());
    /// let mut acc = longest.create();
    /// for word in ["to", "be", "not"] {
    ///     longest.add(&mut acc, &word.to_owned());
    /// }
    /// assert_eq!(longest.result(&acc).unwrap(), "not");
    /// ```
    MaxBy, "By what a function finds in a record. One in which that can't be compared, such as NaN, gives way to any other."
}

macro_rules! best {
    ($name:ident, $better:tt) => {
        impl<T, N, F> $name<T, N, F>
        where
            T: Record,
            N: PartialOrd + 'static,
            F: Fn(&T) -> N + Clone + Send + Sync + 'static,
        {
            #[inline]
            fn replaces(&self, next: &T, best: &T) -> bool {
                let (next, best) = ((self.field)(next), (self.field)(best));
                next $better best || (has_order(&next) && !has_order(&best))
            }

            /// Puts a record in the place of the best so far, if it is better.
            ///
            /// ```
            #[doc = concat!("use rivus_operators::", stringify!($name), ";")]
            ///
            #[doc = concat!("let by_number = ", stringify!($name), "::of(|pair: &(u32, char)| pair.0);")]
            /// let mut best = (7, 'a');
            /// by_number.keep(&mut best, (7, 'b'));
            /// assert_eq!(best, (7, 'a'));
            /// ```
            #[inline]
            pub fn keep<V: OwnedOrLent<T>>(&self, best: &mut T, next: V) {
                if self.replaces(next.borrow(), best) {
                    *best = next.into_owned();
                }
            }
        }

        impl<T, N, F> AggregateFunction for $name<T, N, F>
        where
            T: Record,
            N: PartialOrd + 'static,
            F: Fn(&T) -> N + Clone + Send + Sync + 'static,
        {
            type In = T;
            type Acc = ValueState<T>;
            type Out = Option<T>;

            fn can_pre_aggregate(&self) -> bool {
                true
            }

            fn create(&self) -> ValueState<T> {
                ValueState::default()
            }

            #[inline]
            fn add(&self, acc: &mut ValueState<T>, value: &T) {
                match acc.get_mut() {
                    Some(best) => self.keep(best, value),
                    None => acc.set(value.clone()),
                }
            }

            fn merge(&self, acc: &mut ValueState<T>, mut other: ValueState<T>) {
                match (acc.get_mut(), other.take()) {
                    (Some(best), Some(other)) => self.keep(best, other),
                    (None, Some(other)) => acc.set(other),
                    (_, None) => {}
                }
            }

            /// None before any record.
            fn result(&self, acc: &ValueState<T>) -> Option<T> {
                acc.get().cloned()
            }
        }

        impl<T, N, F> Rolling<T> for $name<T, N, F>
        where
            T: Record,
            N: PartialOrd + 'static,
            F: Fn(&T) -> N + Clone + Send + Sync + 'static,
        {
            type Acc = ValueState<T>;
            type Out = T;

            fn create(&self) -> ValueState<T> {
                ValueState::default()
            }

            #[inline]
            fn roll<V: OwnedOrLent<T>>(&self, acc: &mut ValueState<T>, value: V) -> Option<T> {
                match acc.get_mut() {
                    Some(best) => self.keep(best, value),
                    None => acc.set(value.into_owned()),
                }
                acc.get().cloned()
            }
        }
    };
}

best!(MinBy, <);
best!(MaxBy, >);

#[cfg(test)]
mod tests {
    use super::*;

    type Reading = (char, f64);

    fn over<A: AggregateFunction<In = Reading, Out = Option<Reading>>>(
        function: &A,
        readings: &[Reading],
        split: usize,
    ) -> Option<char> {
        let half = |readings: &[Reading]| {
            let mut acc = function.create();
            readings
                .iter()
                .for_each(|reading| function.add(&mut acc, reading));
            acc
        };
        let mut acc = half(&readings[..split]);
        function.merge(&mut acc, half(&readings[split..]));
        function.result(&acc).map(|(name, _)| name)
    }

    #[test]
    fn the_first_of_equal_records_is_kept_and_what_has_no_order_gives_way() {
        let none = f64::NAN;
        let table: [(&[Reading], Option<char>, Option<char>); 4] = [
            (&[], None, None),
            (
                &[('a', 2.0), ('b', 1.0), ('c', 2.0), ('d', 1.0)],
                Some('b'),
                Some('a'),
            ),
            (&[('a', none), ('b', none)], Some('a'), Some('a')),
            (
                &[('a', none), ('b', 3.0), ('c', none), ('d', 4.0)],
                Some('b'),
                Some('d'),
            ),
        ];
        for (readings, least, greatest) in table {
            for split in 0..=readings.len() {
                let by = |reading: &Reading| reading.1;
                assert_eq!(over(&MinBy::of(by), readings, split), least, "{readings:?}");
                assert_eq!(
                    over(&MaxBy::of(by), readings, split),
                    greatest,
                    "{readings:?}"
                );
            }
        }
    }
}
