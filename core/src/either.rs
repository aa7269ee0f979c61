//! Two streams of different types that one operator reads, and what a record looks like on its way there.
//!
//! Whatever reaches a subtask is of one type. So the sender puts a record of either stream into an [`Either`] as
//! it puts it into the batch, where it is moved anyway: the receiver neither copies nor maps anything, and batches
//! of both streams are lent and given back like any other.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::event::{Hashed, Record};

/// A record of one of two streams that are read together.
///
/// ```
/// use rivus_core::Either;
///
/// fn show(record: Either<u32, &str>) -> String {
///     match record {
///         Either::First(number) => format!("number {number}"),
///         Either::Second(text) => format!("text {text}"),
///     }
/// }
/// assert_eq!(show(Either::First(7)), "number 7");
/// assert_eq!(show(Either::Second("seven")), "text seven");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "rivus.Either")]
pub enum Either<A, B> {
    /// Of the first stream. Its name is written with each record, so it is short there.
    #[serde(rename = "1")]
    First(A),
    /// Of the second stream.
    #[serde(rename = "2")]
    Second(B),
}

/// What a record of type `T` looks like on its way over an edge.
pub trait Carry<T>: 'static {
    /// The record as it travels.
    type As: Record;

    /// Makes it of the record.
    fn carry(value: T) -> Self::As;
}

/// As it is.
pub struct AsItIs;

/// As one of the first of two streams; the second has records of type `B`.
pub struct AsFirst<B>(PhantomData<fn() -> B>);

/// As one of the second of two streams; the first has records of type `A`.
pub struct AsSecond<A>(PhantomData<fn() -> A>);

/// As `C` says, behind the hash of its key.
pub struct InHashed<C>(PhantomData<fn() -> C>);

impl<T: Record> Carry<T> for AsItIs {
    type As = T;

    #[inline]
    fn carry(value: T) -> T {
        value
    }
}

impl<A: Record, B: Record> Carry<A> for AsFirst<B> {
    type As = Either<A, B>;

    #[inline]
    fn carry(value: A) -> Either<A, B> {
        Either::First(value)
    }
}

impl<A: Record, B: Record> Carry<B> for AsSecond<A> {
    type As = Either<A, B>;

    #[inline]
    fn carry(value: B) -> Either<A, B> {
        Either::Second(value)
    }
}

impl<T, C: Carry<T>> Carry<Hashed<T>> for InHashed<C> {
    type As = Hashed<C::As>;

    #[inline]
    fn carry(Hashed { hash, value }: Hashed<T>) -> Hashed<C::As> {
        let value = C::carry(value);
        Hashed { hash, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn which_of_the_two_it_is_takes_three_bytes() {
        let first: Either<u8, u8> = Either::First(7);
        let bytes = codec::encode(&first).unwrap();
        assert_eq!(bytes.len(), 3 + 1);
        assert_eq!(codec::decode::<Either<u8, u8>>(&bytes).unwrap(), first);
    }
}
