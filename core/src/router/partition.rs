//! Routers that send a record to a subtask of somebody's choice: a function's, chance's, or always the first.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::{Route, Router};
use crate::batch::{Batch, Rows};
use crate::codec::CodecError;
use crate::context::SubtaskInfo;
use crate::either::{AsItIs, Carry};
use crate::event::Record;
use crate::key::key_hash;
use crate::stage::AnyStage;
use crate::task::RouteFactory;

/// Chooses one of so many subtasks for a record, counted from 0.
pub type Partition<T> = Arc<dyn Fn(&T, usize) -> usize + Send + Sync>;

/// Makes routers that send to the subtask that a function chooses. One that isn't there fails the attempt.
pub struct PartitionBy<T, C = AsItIs> {
    partition: Partition<T>,
    of: PhantomData<fn() -> C>,
}

/// Makes routers that send everything to the first subtask.
pub struct Global<T, C = AsItIs>(PhantomData<fn() -> (T, C)>);

/// Makes routers that send to subtasks by chance, evenly. Its seed is the sender's place in the plan: each attempt
/// draws the same.
pub struct Shuffle<T, C = AsItIs>(PhantomData<fn() -> (T, C)>);

impl<T, C> PartitionBy<T, C> {
    /// By a function.
    pub fn new(partition: Partition<T>) -> Self {
        Self {
            partition,
            of: PhantomData,
        }
    }
}

impl<T, C> Default for Global<T, C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, C> Default for Shuffle<T, C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// One router for all of them: programs are compiled with what any stream may be asked for.
struct ChosenRoute<T> {
    choice: Choice<T>,
    lanes: usize,
}

enum Choice<T> {
    Function(Partition<T>),
    First,
    Chance(SplitMix),
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
struct SplitMix(u64);

impl SplitMix {
    #[inline]
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        drawn ^ (drawn >> 31)
    }
}

impl<T: Record> Route<T> for ChosenRoute<T> {
    type Wire = T;
    type Mark = ();

    #[inline]
    fn lane(&mut self, value: &T) -> (usize, ()) {
        let lane = match &mut self.choice {
            Choice::Function(partition) => partition(value, self.lanes),
            Choice::First => 0,
            Choice::Chance(numbers) => {
                ((u128::from(numbers.draw()) * self.lanes as u128) >> 64) as usize
            }
        };
        (lane, ())
    }

    #[inline]
    fn wire((): (), value: T) -> T {
        value
    }
}

fn router<T: Record, C: Carry<T>>(
    choice: Choice<T>,
    info: &SubtaskInfo,
    lanes: Range<usize>,
) -> AnyStage {
    let route = ChosenRoute {
        choice,
        lanes: lanes.len(),
    };
    AnyStage::new::<T>(Box::new(Router::<T, _, C>::new(route, info, lanes)))
}

impl<T: Record, C: Carry<T>> RouteFactory for PartitionBy<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        let choice = Choice::Function(Arc::clone(&self.partition));
        router::<T, C>(choice, info, lanes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

impl<T: Record, C: Carry<T>> RouteFactory for Global<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        router::<T, C>(Choice::First, info, lanes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}

impl<T: Record, C: Carry<T>> RouteFactory for Shuffle<T, C> {
    fn router(&self, info: &SubtaskInfo, lanes: Range<usize>) -> AnyStage {
        let subtask = info.attempt.subtask;
        let seed = key_hash(&(subtask.vertex.0, subtask.index, lanes.start));
        router::<T, C>(Choice::Chance(SplitMix(seed)), info, lanes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<dyn Batch>, CodecError> {
        Rows::<C::As>::decode(bytes)
    }
}
