//! Operators with state by key.

mod aggregates;
mod aggregating;
mod best;
mod broadcast;
mod distinct;
mod fold;
mod interval;
mod process;
mod rolling;
mod rows;
mod timers;
mod top_n;

pub use aggregates::{AggregateFunction, Avg, Count, Max, Mean, Min, Sum};
pub use aggregating::AggregatingState;
pub use best::{MaxBy, MinBy};
pub use broadcast::{KeyedBroadcastOperator, KeyedBroadcastProcessFunction};
pub use distinct::DistinctOperator;
pub use fold::Fold;
pub use interval::{EachPair, Interval, IntervalJoinFunction, IntervalJoinOperator};
pub use process::{Keyed, KeyedProcessFunction, KeyedProcessOperator};
pub use rolling::{Rolling, RollingAggregate, RollingOperator, RollingReduce};
pub(crate) use rows::Rows;
pub use timers::{TimeDomain, Timer};
pub(crate) use timers::{TimerQueue, TimerSet};
pub use top_n::TopN;
