//! Operators with state by key.

mod aggregates;
mod aggregating;
mod best;
mod distinct;
mod fold;
mod process;
mod rolling;
mod rows;
mod timers;
mod top_n;

pub use aggregates::{AggregateFunction, Avg, Count, Max, Mean, Min, Sum};
pub use aggregating::AggregatingState;
pub use best::{MaxBy, MinBy};
pub use distinct::DistinctOperator;
pub use fold::Fold;
pub use process::{Keyed, KeyedProcessFunction, KeyedProcessOperator};
pub use rolling::{Rolling, RollingAggregate, RollingOperator, RollingReduce};
pub(crate) use rows::Rows;
pub use timers::{TimeDomain, Timer};
pub use top_n::TopN;
