//! Routers by key: all records of a key go to the one subtask that owns its key group.

use std::marker::PhantomData;
use std::ops::Range;

use super::{Route, Router};
use crate::batch::{Batch, Rows};
use crate::codec::CodecError;
use crate::context::SubtaskInfo;
use crate::either::{AsItIs, Carry};
use crate::event::{Hashed, Record};
use crate::key::KeyGroup;
use crate::stage::{AnyStage, Stage};
use crate::task::RouteFactory;

/// Makes routers that send to the owner of a record's key group.
pub struct HashBy<T, F, C = AsItIs> {
    hash: F,
    of: PhantomData<fn(T) -> C>,
}

/// Makes routers that do the same for records that bring their key's hash along.
pub struct ByHash<T>(PhantomData<fn() -> T>);

impl<T, F> HashBy<T, F> {
    /// By a function from record to [`key_hash`](crate::key_hash).
    pub fn new(hash: F) -> Self {
        Self::carrying(hash)
    }
}

impl<T, F, C> HashBy<T, F, C> {
    /// The same; `C` says what a record looks like on its way, with its hash.
    pub fn carrying(hash: F) -> Self {
        Self {
            hash,
            of: PhantomData,
        }
    }
}

impl<T> Default for ByHash<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Who owns which key group.
#[derive(Clone, Copy)]
struct Owners {
    max_parallelism: u32,
    lanes: u32,
}

impl Owners {
    fn of(info: &SubtaskInfo, lanes: &Range<usize>) -> Self {
        Self {
            max_parallelism: info.max_parallelism,
            lanes: lanes.len() as u32,
        }
    }

    #[inline]
    fn lane(self, hash: u64) -> usize {
        let group = KeyGroup::of(hash, self.max_parallelism);
        group.owner(self.lanes, self.max_parallelism) as usize
    }
}

/// Finds the hash.
struct HashRoute<F> {
    hash: F,
    owners: Owners,
}

/// Has the hash.
struct HashedRoute(Owners);

impl<T: Record, F: Fn(&T) -> u64 + Send + 'static> Route<T> for HashRoute<F> {
    type Wire = Hashed<T>;
    type Mark = u64;

    #[inline]
    fn lane(&mut self, value: &T) -> (usize, u64) {
        let hash = (self.hash)(value);
        (self.owners.lane(hash), hash)
    }

    #[inline]
    fn wire(hash: u64, value: T) -> Hashed<T> {
        Hashed { hash, value }
    }
}

impl<T: Record> Route<Hashed<T>> for HashedRoute {
    type Wire = Hashed<T>;
    type Mark = ();

    #[inline]
    fn lane(&mut self, value: &Hashed<T>) -> (usize, ()) {
        (self.0.lane(value.hash), ())
    }

    #[inline]
    fn wire((): (), value: Hashed<T>) -> Hashed<T> {
        value
    }
}

impl<T, F, C> RouteFactory for HashBy<T, F, C>
where
    T: Record,
    F: Fn(&T) -> u64 + Clone + Send + Sync + 'static,
    C: Carry<Hashed<T>>,
{
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        let route = HashRoute {
            hash: self.hash.clone(),
            owners: Owners::of(info, &lanes),
        };
        AnyStage::new::<T>(Box::new(Router::<T, _, C>::new(route, info, lanes)))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

impl<T: Record> ByHash<T> {
    /// The stage itself, for another one that stands before the exchange.
    pub fn stage(&self, info: &SubtaskInfo, lanes: Range<usize>) -> Box<dyn Stage<Hashed<T>>> {
        let route = HashedRoute(Owners::of(info, &lanes));
        Box::new(Router::<_, _, AsItIs>::new(route, info, lanes))
    }
}

impl<T: Record> RouteFactory for ByHash<T> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        AnyStage::new::<Hashed<T>>(self.stage(info, lanes))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<Hashed<T>>::decode(bytes)
    }
}
