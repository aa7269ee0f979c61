//! The operators of Rivus: what a stream's methods put into its graph.
//!
//! Each operator is a factory ([`OperatorFactory`](rivus_core::OperatorFactory) or
//! [`SourceFactory`](rivus_core::SourceFactory)) that makes a
//! [`Stage`](rivus_core::Stage) for each attempt from a clone of what the user gave. Stages are generic
//! over the user's types and closures: within an operator nothing is called dynamically per record.
//!
//! - Ends of a chain: [`SourceOperator`], [`SinkOperator`].
//! - Time: [`WatermarkStrategy`] and [`WatermarkOperator`].
//! - One record at a time: [`Map`], [`Filter`], [`FlatMap`], [`TryMap`], [`ProcessOperator`].
//! - By key, found by a [`KeySelector`]: [`RollingOperator`], [`KeyedProcessOperator`],
//!   [`WindowOperator`]. Keyed operators take [`Hashed`](rivus_core::Hashed) records.
//!
//! Those that may emit much for one input share one resumable loop (`driver`): they stop at any record,
//! timer or window when an output is blocked or the turn is over.

mod driver;
mod keyed;
mod lent;
mod naming;
mod outlet;
mod output;
mod selector;
mod side;
mod sink;
mod source;
mod stateless;
mod watermarks;
mod window;

pub use keyed::{
    AggregateFunction, Avg, Count, Keyed, KeyedProcessFunction, KeyedProcessOperator, Max, Mean,
    Min, Rolling, RollingAggregate, RollingOperator, RollingReduce, Sum, TimeDomain, Timer,
};
pub use lent::OwnedOrLent;
pub use output::Output;
pub use selector::{ByRef, ByValue, KeySelector, by_ref, by_value};
pub use side::{SideOutputTag, SideOutputs};
pub use sink::SinkOperator;
pub use source::SourceOperator;
pub use stateless::{
    Filter, FlatMap, Map, OnError, ProcessFunction, ProcessOperator, Rejected, TryMap,
};
pub use watermarks::{
    BoundedOutOfOrderness, KeepTimestamps, Punctuated, TimestampAssigner, TimestampsBy,
    WatermarkGenerator, WatermarkOperator, WatermarkStrategy,
};
pub use window::{
    ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger, CountEvictor, CountTrigger,
    DeltaEvictor, EndTrigger, EventTimeTrigger, Evictor, EvictorContext, ProcessingTimeTrigger,
    PurgingTrigger, TimeEvictor, Trigger, TriggerContext, TriggerResult, Window, WindowAggregate,
    WindowAssigner, WindowFunction, WindowLogic, WindowOperator, WindowProcess, WindowReduce,
    Windowed,
};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
