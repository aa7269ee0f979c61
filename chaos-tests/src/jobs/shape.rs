//! The shapes that jobs have.

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Keyed tumbling windows are counted.
    Tumbling,
    /// Keyed sliding windows are counted.
    Sliding,
    /// A rolling aggregate that depends on the order of a key's records.
    Rolling,
    /// A process function with event timers, maps and lists.
    Timers,
    /// Flat map, rebalance, window, a second key, reduce, files.
    MultiStage,
    /// The union of two sources with late records: not confluent.
    Union,
    /// Every subtask of the next operator gets every record.
    Broadcast,
    /// A collection in many small splits.
    ManySplits,
    /// Text files in many small splits.
    TextFiles,
    /// A watched folder into which CSV files, every other one packed, come while the job runs.
    Watched,
    /// Packed files out, closed at checkpoints or kept open over them.
    Packed,
    /// Two pipelines that share nothing but the job: two regions.
    TwoPipelines,
    /// A source subtask that falls silent, and whose records are late when it wakes up: not confluent.
    Idle,
    /// A process function of two keyed streams with state and timers.
    Connected,
    /// A keyed process function beside broadcast rules.
    BroadcastRules,
    /// Two streams joined by key and window.
    WindowJoin,
    /// Two streams joined by key and how far apart their records are.
    IntervalJoin,
    /// Rescale, a partitioner of its own, shuffle and global before a window.
    Partitioned,
    /// Keyed sessions, each record saying how long it keeps its own open; and all records in windows without a key.
    Sessions,
    /// Windows with a trigger and an evictor.
    Evicted,
    /// Windows by count, tumbling and sliding.
    CountWindows,
    /// The ready-made aggregates, by key and in windows, and the first record of each key.
    Aggregates,
    /// Operator state, then keyed states that expire: some long after the run, some all the time and unseen.
    Expiring,
    /// Requests with answers after a while, ordered and unordered, before windows.
    Async,
    /// Two sources of one alignment group, one faster than the other.
    Aligned,
    /// A loop with requests and keyed state in its body.
    Looping,
    /// A feed of the application's, replayed or as it is, and an actor of the application's that is sent to.
    Fed,
    /// Lines from a socket whose connections break: what nobody hears is lost.
    Socket,
    /// Parquet files in, windows, Parquet files out.
    Parquet,
    /// Windows by processing time, and timers: what still waits at the end gives nothing.
    Clocked,
    /// Windows that fire again: for late records, by a continuous trigger, by one of the job's own. Not confluent.
    Refiring,
    /// Two streams in groups, in outer joins, without a key, and in rules that visit all keys.
    CoGrouped,
    /// Text files in, a function with state, files out, and no exchange: as many regions as subtasks, all of which share one
    /// source's splits.
    Straight,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 33] = [
        Self::Tumbling,
        Self::Sliding,
        Self::Rolling,
        Self::Timers,
        Self::MultiStage,
        Self::Union,
        Self::Broadcast,
        Self::ManySplits,
        Self::TextFiles,
        Self::Watched,
        Self::Packed,
        Self::TwoPipelines,
        Self::Idle,
        Self::Connected,
        Self::BroadcastRules,
        Self::WindowJoin,
        Self::IntervalJoin,
        Self::Partitioned,
        Self::Sessions,
        Self::Evicted,
        Self::CountWindows,
        Self::Aggregates,
        Self::Expiring,
        Self::Async,
        Self::Aligned,
        Self::Looping,
        Self::Fed,
        Self::Socket,
        Self::Parquet,
        Self::Clocked,
        Self::Refiring,
        Self::CoGrouped,
        Self::Straight,
    ];

    /// Whether its output is in files, which show the order of a key's records.
    pub fn writes_files(self) -> bool {
        matches!(
            self,
            Self::MultiStage | Self::Packed | Self::Parquet | Self::Straight
        )
    }

    /// Whether its records come from one generator and from nowhere else.
    pub fn is_generated(self) -> bool {
        matches!(
            self,
            Self::Tumbling
                | Self::Sliding
                | Self::Rolling
                | Self::Timers
                | Self::MultiStage
                | Self::Packed
                | Self::Broadcast
                | Self::Sessions
                | Self::Evicted
                | Self::CountWindows
                | Self::Aggregates
                | Self::Expiring
                | Self::Async
                | Self::Looping
        )
    }

    /// Whether one reader of all its splits gives their records in the order that several would.
    pub fn keeps_order(self) -> bool {
        matches!(
            self,
            Self::Tumbling
                | Self::Sliding
                | Self::Rolling
                | Self::Timers
                | Self::MultiStage
                | Self::Sessions
                | Self::Evicted
                | Self::Aggregates
        )
    }
}
