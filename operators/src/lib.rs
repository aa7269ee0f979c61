//! The operators of Rivus: what a stream's methods put into its graph.
//!
//! Each operator is a factory ([`OperatorFactory`](rivus_core::OperatorFactory) or
//! [`SourceFactory`](rivus_core::SourceFactory)) that makes a
//! [`Stage`](rivus_core::Stage) for each attempt from a clone of what the user gave. Stages are generic
//! over the user's types and closures: within an operator nothing is called dynamically per record.
//!
//! - Ends of a chain: [`SourceOperator`], [`SinkOperator`].
//! - Time: [`WatermarkStrategy`] and [`WatermarkOperator`].
//! - One record at a time: [`Map`], [`Filter`], [`FlatMap`], [`TryMap`], [`ProcessOperator`];
//!   with state of its own, [`StatefulProcessOperator`].
//!   What has to be asked of others, many records at a time: [`AsyncOperator`].
//! - By key, found by a [`KeySelector`]: [`RollingOperator`], [`DistinctOperator`],
//!   [`KeyedProcessOperator`], [`WindowOperator`]. Keyed operators take [`Hashed`](rivus_core::Hashed) records.
//! - Of two streams, whose records come as [`Either`](rivus_core::Either): [`OfBoth`] makes any of the above take two,
//!   [`by_either`] keys them; [`WindowJoinOperator`], [`IntervalJoinOperator`], and beside a broadcast stream
//!   [`BroadcastOperator`], [`KeyedBroadcastOperator`].
//!
//! - The head of a loop: [`IterationOperator`].
//!
//! [`testing`] drives one of them by hand.
//!
//! Those that may emit much for one input share one resumable loop (`driver`): they stop at any record,
//! timer or window when an output is blocked or the turn is over.

mod asynchronous;
mod broadcast;
mod connect;
mod driver;
mod iteration;
mod keyed;
mod lent;
mod naming;
mod operator_state;
mod outlet;
mod output;
mod selector;
mod side;
mod sink;
mod source;
mod stateless;
pub mod testing;
mod watermarks;
mod window;

pub use asynchronous::{AsyncFunction, AsyncMap, AsyncOperator, AsyncRequests, Retry};
pub use broadcast::{BroadcastOperator, BroadcastProcessFunction};
pub use connect::{CoProcessFunction, EitherIter, KeyedCoProcessFunction, OfBoth};
pub use iteration::IterationOperator;
pub use keyed::{
    AggregateFunction, AggregatingState, Avg, Count, DistinctOperator, EachPair, Fold, Interval,
    IntervalJoinFunction, IntervalJoinOperator, Keyed, KeyedBroadcastOperator,
    KeyedBroadcastProcessFunction, KeyedProcessFunction, KeyedProcessOperator, Max, MaxBy, Mean,
    Min, MinBy, Rolling, RollingAggregate, RollingOperator, RollingReduce, Sum, TimeDomain, Timer,
    TopN,
};
pub use lent::OwnedOrLent;
pub use operator_state::{Redistribution, StatefulProcessFunction, StatefulProcessOperator};
pub use output::Output;
pub use selector::{ByEither, ByRef, ByValue, KeySelector, by_either, by_ref, by_value};
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
    ByStream, CoWindowOperator, ContinuousEventTimeTrigger, ContinuousProcessingTimeTrigger,
    CountEvictor, CountTrigger, DeltaEvictor, EndTrigger, EventTimeTrigger, Evicting, Evictor,
    EvictorContext, Grouped, MaybeEvictor, Paired, Partial, PreAggregation, ProcessingTimeTrigger,
    PurgingTrigger, TimeEvictor, Trigger, TriggerContext, TriggerResult, Unpaired, Window,
    WindowAggregate, WindowAssigner, WindowFunction, WindowJoinOperator, WindowLogic,
    WindowOperator, WindowProcess, WindowReduce, Windowed,
};

#[cfg(test)]
mod tests;
