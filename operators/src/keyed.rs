//! Operators with state by key.

mod aggregates;
mod broadcast;
mod interval;
mod process;
mod rolling;
mod rows;
mod timers;

pub use aggregates::{AggregateFunction, Avg, Count, Max, Mean, Min, Sum};
pub use broadcast::{KeyedBroadcastOperator, KeyedBroadcastProcessFunction};
pub use interval::{EachPair, Interval, IntervalJoinFunction, IntervalJoinOperator};
pub use process::{Keyed, KeyedProcessFunction, KeyedProcessOperator};
pub use rolling::{Rolling, RollingAggregate, RollingOperator, RollingReduce};
pub(crate) use rows::Rows;
pub use timers::{TimeDomain, Timer};
pub(crate) use timers::{TimerQueue, TimerSet};
