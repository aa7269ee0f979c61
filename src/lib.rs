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
//! | keep a job's state, and go on from it with another | [`Savepoint`] |
//! | transform a stream | [`DataStream`], [`KeyedStream`], [`WindowedStream`] |
//! | read two streams together | [`ConnectedStreams`], [`BroadcastConnectedStream`], [`JoinedStreams`], [`IntervalJoin`] |
//! | gather in windows | [`WindowAssigner`], [`Trigger`], [`Evictor`], [`DataStream::window_all`] |
//! | ask the usual of a key's records | [`KeyedStream`]: sum, min_by, top_n, distinct and others |
//! | keep state and timers by key | [`KeyedProcessFunction`], [`StateSet`], [`Expiring`] |
//! | ask a database or a service | [`DataStream::async_map`], [`AsyncRequests`] |
//! | keep state without a key | [`StatefulProcessFunction`] |
//! | feed a stream back to where it came from | [`DataStream::iterate`] |
//! | read and write | [`connectors`] |
//! | write a connector | [`Source`], [`Sink`] |
//! | test an operator, a job, a connector | [`testing`] |
//! | run a job from a command line of one's own | [`RunArgs`] |
//! | run jobs as a long-running service, by name | [`Jobs`], [`ServiceCommand`] |
//! | embed a job among actors of one's own | [`ActorSource`], [`ActorSink`], [`JobHandle::link`], [`JobHandle::query`] |

mod actor_sink;
mod actor_source;
mod asynchronous;
mod broadcasted;
mod claims;
mod cluster;
mod command_line;
mod config;
mod connected;
mod environment;
mod error;
mod feed;
mod handle;
mod inspect;
mod interval;
mod iterated;
mod jobs;
mod joined;
mod kept;
mod keyed;
mod keyed_aggregates;
mod linked;
mod partitioned;
mod program;
mod query;
mod rescale;
mod run_args;
mod runtimes;
mod savepoint;
mod service;
mod stateful;
mod storage;
mod stream;
mod telemetry;
mod tell;
pub mod testing;
mod windowed;
mod windowed_aggregates;
mod windows;
mod wire;

pub use actor_sink::{ActorCommittable, ActorSink, ActorSinkWriter, Handled};
pub use actor_source::{ActorSource, FeedReader, FeedSplit};
pub use broadcasted::{BroadcastConnectedStream, KeyedBroadcastConnectedStream};
pub use cluster::RuntimeMode;
pub use command_line::command_line;
pub use connected::{ConnectedStreams, KeyedConnectedStreams};
pub use environment::{EnvironmentBuilder, StreamEnvironment};
pub use error::JobError;
pub use feed::{ActorFeed, FeedClosed, Refused};
pub use handle::{JobHandle, JobResult};
pub use inspect::{SavedOperatorState, SavedState, SavepointContents, SavepointFile};
pub use interval::{IntervalJoin, IntervalJoined};
pub use jobs::{JobArgs, Jobs};
pub use joined::{JoinedBy, JoinedStreams, WindowedJoin};
pub use keyed::{KeyedStream, PreAggregatedStream};
pub use linked::{LinkedJob, LinkedJobMessage, LinkedJobState};
pub use query::QueryError;
pub use run_args::RunArgs;
pub use savepoint::{FromSavepoint, Savepoint};
pub use service::command::{
    At, ClusterArgs, ConfigCommand, JobManagerArgs, SavepointCommand, ServiceCommand, ShowArgs,
    SubmitArgs, TaskManagerArgs,
};
pub use storage::{Coordination, Storage};
pub use stream::{DataStream, SinkHandle};
pub use windowed::WindowedStream;

pub use rivus_actors::{JobStatus, JobView, NodeConfig, SubtaskView};
pub use rivus_connectors as connectors;
pub use rivus_core::job::{
    CheckpointMode, Happened, HistoryEvent, JobHistory, JobOptions, JobOutcome, RestartStrategy,
};
pub use rivus_core::{
    CheckpointId, Committer, Discovered, Either, Event, Expiring, ExpiringField, ExpiringMapState,
    Failure, FailureScope, GraphError, JobId, Key, KeyTimers, KnownSplits, ListState, MapState,
    ParallelInstance, ReadStatus, Record, ReducingState, Shares, Sink, SinkWriter, Source,
    SourceReader, SplitEnumerator, SplitMemory, StateField, StateSet, SubtaskFigures, Timestamp,
    Ttl, UserError, ValueState,
};
pub use rivus_operators::{
    AggregateFunction, AggregatingState, AsyncFunction, AsyncRequests, Avg,
    BroadcastProcessFunction, CoProcessFunction, ContinuousEventTimeTrigger,
    ContinuousProcessingTimeTrigger, Count, CountEvictor, CountTrigger, DeltaEvictor, EndTrigger,
    EventTimeTrigger, Evicting, Evictor, EvictorContext, Fold, Grouped, IntervalJoinFunction,
    Keyed, KeyedBroadcastProcessFunction, KeyedCoProcessFunction, KeyedProcessFunction, Max, MaxBy,
    MaybeEvictor, Mean, Min, MinBy, OnError, Output, ProcessFunction, ProcessingTimeTrigger,
    PurgingTrigger, Redistribution, Rejected, Retry, SideOutputTag, StatefulProcessFunction, Sum,
    TimeDomain, TimeEvictor, Timer, TopN, Trigger, TriggerContext, TriggerResult,
    WatermarkGenerator, WatermarkStrategy, Window, WindowAssigner, WindowFunction, Windowed,
};

#[cfg(feature = "etcd")]
pub use rivus_state::EtcdOptions;
pub use rivus_state::{RocksDbBackend, RocksDbMemory, StateBackend};
#[cfg(feature = "s3")]
pub use rivus_state::{S3Credentials, S3Options};

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

/// And those of the guide.
#[cfg(doctest)]
pub mod guide {
    #[doc = include_str!("../docs/guide/first-job.md")]
    pub struct FirstJob;
    #[doc = include_str!("../docs/guide/time.md")]
    pub struct Time;
    #[doc = include_str!("../docs/guide/windows.md")]
    pub struct Windows;
    #[doc = include_str!("../docs/guide/state.md")]
    pub struct State;
    #[doc = include_str!("../docs/guide/joins.md")]
    pub struct Joins;
    #[doc = include_str!("../docs/guide/loops.md")]
    pub struct Loops;
    #[doc = include_str!("../docs/guide/connectors.md")]
    pub struct Connectors;
    #[doc = include_str!("../docs/guide/fault-tolerance.md")]
    pub struct FaultTolerance;
    #[doc = include_str!("../docs/guide/failures.md")]
    pub struct Failures;
    #[doc = include_str!("../docs/guide/testing.md")]
    pub struct Testing;
    #[doc = include_str!("../docs/guide/changing-a-running-job.md")]
    pub struct ChangingARunningJob;
    #[doc = include_str!("../docs/guide/several-processes.md")]
    pub struct SeveralProcesses;
    #[doc = include_str!("../docs/guide/configuration.md")]
    pub struct Configuration;
}
