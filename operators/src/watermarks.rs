//! Where event time begins: records get their time, and the stream its watermarks.
//!
//! A watermark goes out behind the run that raised it. A stream that is quiet for longer than its idleness
//! timeout says so, and nobody downstream waits for it; but time in which it *could not* have had
//! records, because an output was blocked or the source waited for a split, doesn't count.

mod assigner;
mod idle;
mod strategy;

pub use assigner::WatermarkOperator;
pub use strategy::{
    BoundedOutOfOrderness, KeepTimestamps, Punctuated, TimestampAssigner, TimestampsBy,
    WatermarkGenerator, WatermarkStrategy,
};
