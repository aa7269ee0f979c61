//! Rivus: a fault-tolerant stream processor on actors.
//!
//! A job is written against a [`StreamEnvironment`]: sources become [`DataStream`]s, streams are
//! transformed, keyed and windowed, and end in sinks. [`StreamEnvironment::execute`] runs it in this
//! process, on actors of its own: every subtask is supervised, the job's master stands under an elected
//! leader with a standby, and whichever actor dies, the output is that of an undisturbed run.
//!
//! ```
//! use rivus::{Count, StreamEnvironment, WatermarkStrategy, WindowAssigner};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rivus::JobError> {
//! let env = StreamEnvironment::builder().parallelism(2).build();
//! let views = env
//!     .from_collection(vec![("/".to_owned(), 1_000), ("/about".to_owned(), 2_000), ("/".to_owned(), 61_000)])
//!     .assign_watermarks(WatermarkStrategy::monotonous().with_timestamps(|view: &(String, i64)| view.1))
//!     .key_by_ref(|view| view.0.as_str())
//!     .window(WindowAssigner::tumbling(Duration::from_secs(60)))
//!     .aggregate(Count::new())
//!     .collect();
//! env.execute("views per minute").await?;
//! assert_eq!(views.len(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! |---|---|
//! | run a job and watch it | [`StreamEnvironment`], [`JobHandle`] |
//! | transform a stream | [`DataStream`], [`KeyedStream`], [`WindowedStream`] |
//! | keep state and timers by key | [`KeyedProcessFunction`], [`StateSet`] |
//! | read and write | [`connectors`] |
//! | write a connector | [`Source`], [`Sink`] |

mod cluster;
mod environment;
mod error;
mod handle;
mod keyed;
mod program;
mod runtimes;
mod stream;
mod telemetry;
mod windowed;

pub use cluster::{RuntimeMode, Storage};
pub use environment::{EnvironmentBuilder, StreamEnvironment};
pub use error::JobError;
pub use handle::{JobHandle, JobResult};
pub use keyed::KeyedStream;
pub use stream::{DataStream, SinkHandle};
pub use windowed::WindowedStream;

pub use rivus_actors::{JobStatus, JobView, NodeConfig, SubtaskView};
pub use rivus_connectors as connectors;
pub use rivus_core::job::{JobOptions, JobOutcome, RestartStrategy};
pub use rivus_core::{
    CheckpointId, Committer, Discovered, Event, Failure, FailureScope, GraphError, JobId, Key,
    ListState, MapState, ParallelInstance, ReadStatus, Record, Shares, Sink, SinkWriter, Source,
    SourceReader, SplitEnumerator, StateField, StateSet, SubtaskFigures, Timestamp, UserError,
    ValueState,
};
pub use rivus_operators::{
    AggregateFunction, Avg, Count, Keyed, KeyedProcessFunction, Max, Min, OnError, Output,
    ProcessFunction, Rejected, SideOutputTag, Sum, TimeDomain, Timer, WatermarkGenerator,
    WatermarkStrategy, Window, WindowAssigner, WindowFunction, Windowed,
};

pub use rivus_state::{RocksDbBackend, StateBackend};

/// What a connector's author tests with.
pub mod testing {
    pub use rivus_connectors::contract;
}

/// What drives the engine itself, for test kits: probes, faults, the actors' context.
pub mod engine {
    pub use rivus_actors::*;
    pub use rivus_core as core;
    pub use rivus_state as state;
}

/// The README's programs run too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
