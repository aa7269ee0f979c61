//! The words and contracts of Rivus, and every decision as a pure function.
//!
//! Nothing here knows tokio, ractor, a file or a socket; the clock and all randomness are handed in. A
//! job is written as a [`StreamGraph`], chained into a [`JobGraph`], and run as subtasks whose work is a
//! [`Task`]: a chain of [`Stage`]s between input channels and [`Outputs`]. What the actors decide is
//! decided here, by values with `on_event(event) -> actions`: [`Alignment`], [`WatermarkMerge`] and the
//! machines of [`job`].

mod alignment;
mod batch;
mod chain;
mod clock;
pub mod codec;
mod context;
mod drift;
mod either;
mod element;
mod event;
mod evolution;
mod failure;
mod futures;
mod graph;
mod heap;
mod ids;
mod in_flight;
mod inputs;
mod iteration;
pub mod job;
mod key;
mod metrics;
mod outputs;
mod prefetch;
mod query;
mod router;
mod schema;
mod sink;
mod snapshot;
mod source;
mod stage;
mod state_set;
mod store;
mod table;
mod task;
mod watermark;

pub use alignment::{Alignment, AlignmentAction};
pub use batch::{Batch, Fullness, Rows, record_bytes, run_records};
pub use chain::{Chain, TypedOutput};
pub use clock::{Clock, ManualClock};
pub use codec::CodecError;
pub use context::{GivenBack, OperatorIndex, SubtaskInfo, TURN, TaskContext};
pub use drift::{AlignedTime, AlignmentGroup, Announcement, Reached, WatermarkAlignment};
pub use either::{AsFirst, AsItIs, AsSecond, Carry, Either, InHashed};
pub use element::{Element, EncodedBatch};
pub use event::{Event, Hashed, MAX_TIMESTAMP, MIN_TIMESTAMP, Record, Timestamp};
pub use evolution::Migrations;
pub use failure::{Failure, FailureScope, UserError};
pub use futures::{BoxFuture, Futures, RunningFuture};
pub use graph::{
    ChainBuilder, Exchange, GraphError, JobEdge, JobGraph, JobVertex, Loop, NodeId, Operator,
    StreamEdge, StreamGraph, StreamNode,
};
pub use ids::{
    AttemptId, CheckpointId, Incarnation, JobId, LeaderEpoch, OperatorUid, Slot, SubtaskId,
    TaskManagerId, VertexId,
};
pub use in_flight::{End, IN_FLIGHT_STATE, InFlight, PutBack};
pub use inputs::{Inputs, MAX_CREDITS};
pub use iteration::{LoopBarrierAction, LoopBarriers, LoopRounds, LoopStep, RoundMerge};
pub use key::{
    DEFAULT_MAX_PARALLELISM, Key, KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT, key_hash,
};
pub use metrics::{Shares, SubtaskFigures, SubtaskMetrics};
pub use outputs::{Outgoing, Outputs};
pub use query::{Asked, Cut, KeyTimers, StateAnswer, StateQuery};
pub use router::{
    Broadcast, ByHash, Forward, Global, HashBy, Partition, PartitionBy, Rebalance, Shuffle,
};
pub use schema::{Schema, Shape};
pub use sink::{CommitRequest, Committer, Sink, SinkWriter};
pub use snapshot::{
    RestoredState, RowFrames, SectionHeader, SectionId, SectionSummary, SnapshotBuilder,
    SnapshotBytes, SnapshotChunk, SnapshotEnd, StateType, StateView, WrittenStates, concat_chunks,
    encode_row, read_head,
};
pub use source::{
    DISCOVERY_TRIES, Discovered, EncodedSplit, FoundSplit, KnownSplits, ParallelInstance,
    ReadStatus, Source, SourceReader, SplitEnumerator, SplitId, SplitMemory,
};
pub use stage::{AnyStage, Barrier, CheckpointKind, Control, Progress, Stage};
pub use state_set::{
    Expiring, ExpiringField, ExpiringMapState, ListState, MapState, ReducingState, StateField,
    StateSet, Ttl, ValueState,
};
pub use store::{
    Changes, EachEntry, EachFound, EachPiece, FrozenStore, ImageFile, MemoryStore, MemoryStores,
    Space, StateStore, StoreImage, StoreScan, Stores, files_refused,
};
pub use table::{OrderCursor, RowId, RowOrder, Sharing, Table, TableWalk, VisitedRow};
pub use task::{
    AnyEnumerator, BuildContext, LoopHead, LoopWaiting, OperatorFactory, Outlets, OutputFactory,
    RouteFactory, SideTag, SidesRead, SourceFactory, SourceTask, SourceTurn, Task, no_side_outputs,
};
pub use watermark::{ChannelTime, TimeChange, WatermarkMerge};
