//! What a seed makes of a job: its size, how finely it is cut, what it runs on.

use std::ops::Range;
use std::time::Duration;

use rivus::RestartStrategy;
use rivus::connectors::SplitMix;

use super::shape::Shape;
use crate::paced::Pace;

/// What the barriers of periodic checkpoints do about what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barriers {
    /// They wait for it.
    Wait,
    /// They overtake it when they have waited so long.
    Overtake(Duration),
    /// They let pass what comes behind them: records may come twice.
    PassBy,
}

/// Where a job's rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// All of them in memory.
    InMemory,
    /// In RocksDB, with room for so many bytes of each store's in memory.
    InRocksDb(usize),
    /// In a stand-in for it, with as much room: where many runs are made that are not about rows.
    InStandIn(usize),
}

impl Rows {
    /// All there are, to be taken in turn.
    const EACH: [Self; 6] = [
        Self::InMemory,
        Self::InRocksDb(1),
        Self::InStandIn(2_000),
        Self::InMemory,
        Self::InRocksDb(2_000),
        Self::InStandIn(1),
    ];

    /// RocksDB in the place of its stand-in: on threads, where it is the threads that matter.
    pub fn for_real(self) -> Self {
        match self {
            Self::InStandIn(bytes) => Self::InRocksDb(bytes),
            rows => rows,
        }
    }

    /// The stand-in in the place of RocksDB: that merges files on threads of its own when it gets round to it, so that no run is just like
    /// another.
    pub fn stood_in(self) -> Self {
        match self {
            Self::InRocksDb(bytes) => Self::InStandIn(bytes),
            rows => rows,
        }
    }
}

/// What the files of a watched folder are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbox {
    /// A record a line.
    Csv,
    /// With a text that holds line ends.
    MultilineCsv,
    /// A JSON object a line.
    Json,
}

/// What the lines of its files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Key, tabulator, value.
    Lines,
    /// A row each.
    Csv,
    /// A JSON array each.
    Json,
}

/// Some of a job's subtasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Of these vertices.
    pub vertices: Range<u32>,
    /// Those with these indices.
    pub indices: Range<u32>,
}

impl Region {
    /// Whether a subtask is one of them.
    pub fn contains(&self, vertex: u32, index: u32) -> bool {
        self.vertices.contains(&vertex) && self.indices.contains(&index)
    }
}

/// A job, and the cluster that it runs on.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Where its records come from.
    pub seed: u64,
    /// What it does.
    pub shape: Shape,
    /// Records in all.
    pub records: u64,
    /// Keys of each source subtask.
    pub keys: u64,
    /// Source subtasks, and all others' that don't say otherwise.
    pub parallelism: u32,
    /// Subtasks behind the first exchange.
    pub wide: u32,
    /// TaskManagers.
    pub task_managers: u32,
    /// Candidates for leadership.
    pub job_managers: u32,
    /// Records in a full batch.
    pub batch_records: usize,
    /// Bytes that may wait at a subtask's inputs.
    pub input_bytes: usize,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// A subtask that waits longer for the last barrier declines the checkpoint.
    pub alignment_timeout: Duration,
    /// What its barriers do.
    pub barriers: Barriers,
    /// Completed checkpoints that are kept.
    pub retained: usize,
    /// Whether operators are chained.
    pub chaining: bool,
    /// How fast its sources are read.
    pub pace: Pace,
    /// How much later another job is started in the same environment, if one is.
    pub neighbour: Option<Duration>,
    /// Entries after which the log is folded into a snapshot.
    pub compact_log_every: u64,
    /// Where its rows lie.
    pub rows: Rows,
    /// Whether a restart may begin with files of this process's own.
    pub local_recovery: bool,
    /// Bytes of a snapshot of which a larger one is streamed when it is restored.
    pub read_at_once: u64,
    /// What it does about failures.
    pub restart: RestartStrategy,
}

impl JobSpec {
    /// The job of a seed: of each shape in turn, and each shape with its rows in each place in turn.
    pub fn of(seed: u64) -> Self {
        let (shapes, places) = (Shape::ALL.len() as u64, Rows::EACH.len() as u64);
        Self {
            rows: Rows::EACH[(seed / shapes % places) as usize],
            ..Self::shaped(Shape::ALL[(seed % shapes) as usize], seed)
        }
    }

    /// The job of a seed, of a given shape.
    pub fn shaped(shape: Shape, seed: u64) -> Self {
        let mut rng = SplitMix::of(seed, 1);
        let parallelism = match shape {
            // One is idle, or fails, and others are not.
            Shape::Idle | Shape::Straight => 2 + rng.below(3) as u32,
            _ => 1 + rng.below(4) as u32,
        };
        // The sources take about this long, if nothing happens.
        let lasts = 1_500 + rng.below(2_000);
        let records = 600 + rng.below(1_800);
        let bursts = 12 + rng.below(60);
        let pace = Pace {
            burst: (records / bursts / u64::from(parallelism)).max(1) as usize,
            every: Duration::from_millis(lasts / bursts),
        };
        // Where the two go together, triggers come in the middle of bursts.
        let checkpoint_interval = match rng.below(4) {
            0 => Duration::from_millis([20, 50, 100, 250][rng.below(4) as usize]),
            multiple => pace.every * multiple as u32,
        };
        Self {
            seed,
            shape,
            records,
            keys: 1 + rng.below(12),
            parallelism,
            wide: 1 + rng.below(4) as u32,
            task_managers: 1 + rng.below(2) as u32,
            job_managers: 2 + rng.below(2) as u32,
            batch_records: [2, 4, 8, 32][rng.below(4) as usize],
            input_bytes: [64, 64, 512, 4_096][rng.below(4) as usize],
            checkpoint_interval,
            retained: 1 + rng.below(2) as usize,
            chaining: rng.below(4) > 0,
            pace,
            neighbour: match rng.below(4) {
                0 => Some(Duration::from_millis(lasts * rng.below(3) / 3)),
                // They write into one folder.
                1 if shape.writes_files() => Some(Duration::ZERO),
                _ => None,
            },
            // By virtual time barriers arrive all at once, unless a leader dies between two triggers.
            alignment_timeout: Duration::from_millis([10, 5_000][rng.below(2) as usize]),
            compact_log_every: [5, 40, 1_000][rng.below(3) as usize],
            rows: match rng.below(4) {
                0 | 1 => Rows::InMemory,
                2 => Rows::InStandIn(1),
                _ => Rows::InStandIn(2_000),
            },
            local_recovery: rng.below(2) == 0,
            barriers: barriers(shape, &mut rng),
            read_at_once: [0, 300, 2_000, 4 << 20][rng.below(4) as usize],
            restart: restart(&mut rng),
        }
    }

    /// The job on which steps are hit one by one: wide enough that every step is passed.
    pub fn directed(shape: Shape, seed: u64) -> Self {
        Self {
            seed,
            shape,
            records: 1_600,
            keys: 6,
            parallelism: 2,
            wide: 2,
            task_managers: 2,
            job_managers: 2,
            batch_records: 8,
            input_bytes: 512,
            checkpoint_interval: Duration::from_millis(60),
            retained: 1,
            chaining: true,
            pace: Pace {
                burst: 16,
                every: Duration::from_millis(60),
            },
            neighbour: None,
            alignment_timeout: Duration::from_millis(10),
            barriers: Barriers::Wait,
            compact_log_every: 20,
            rows: Rows::InMemory,
            local_recovery: false,
            read_at_once: 300,
            restart: longer_and_longer(),
        }
    }

    /// The job that runs beside this one.
    pub fn neighbouring(&self) -> Option<Self> {
        self.neighbour.map(|_| Self {
            seed: self.seed + 1_000_000,
            shape: Shape::Tumbling,
            neighbour: None,
            ..self.clone()
        })
    }

    /// Slots of each TaskManager: one alone can run it all.
    pub fn slots(&self) -> u32 {
        let own = self.parallelism.max(self.wide);
        own + self.neighbouring().map_or(0, |other| other.slots())
    }

    /// The job's first region.
    pub fn first_region(&self) -> Region {
        let vertices = match (self.shape, self.chaining) {
            // A source with its watermarks; behind the exchange everything to the sink.
            (Shape::TwoPipelines, true) => 0..2,
            (Shape::TwoPipelines, false) => 0..5,
            _ => 0..u32::MAX,
        };
        let indices = match self.shape {
            Shape::Straight => 0..1,
            _ => 0..u32::MAX,
        };
        Region { vertices, indices }
    }

    /// Whether the job has several regions, of which one process may run more than one.
    pub fn has_regions(&self) -> bool {
        matches!(self.shape, Shape::TwoPipelines | Shape::Straight)
    }

    /// Whether there is more than the job's first region.
    pub fn has_bystanders(&self) -> bool {
        self.neighbour.is_some() || self.has_regions()
    }

    /// Records in each of the files that it reads.
    pub fn per_file(&self) -> u64 {
        let files = match self.shape {
            Shape::Straight => u64::from(6 * self.parallelism),
            Shape::Watched => 6,
            // So few that one digit numbers them.
            Shape::Parquet => 9,
            _ => 4,
        };
        self.records.div_ceil(files).max(1)
    }

    /// One of so many kinds of something: each among the seeds of a shape, and among seeds one after the other. Places of rows come again
    /// after three rounds, each with another kind.
    pub fn kind(&self, kinds: u64) -> usize {
        let shapes = Shape::ALL.len() as u64;
        let (round, shape) = (self.seed / shapes, self.seed % shapes);
        ((round + round / 3 + shape) % kinds) as usize
    }

    /// Records that its feed holds. Some hold less than comes from one checkpoint to the next, and wait for it.
    pub fn feed_capacity(&self) -> usize {
        let round = self.seed / Shape::ALL.len() as u64;
        self.records as usize / [1, 6, 12][((self.seed + round) % 3) as usize]
    }

    /// What comes into its inbox. In each file there is a line that is no record.
    pub fn inbox(&self) -> Inbox {
        [Inbox::Csv, Inbox::MultilineCsv, Inbox::Json][self.kind(3)]
    }

    /// What it writes into files that are not Parquet.
    pub fn written(&self) -> Written {
        match self.shape {
            Shape::Packed => [Written::Lines, Written::Csv, Written::Json][self.kind(3)],
            _ => Written::Lines,
        }
    }

    /// Whether its feed is read again after a failure.
    pub fn is_replayed(&self) -> bool {
        self.kind(3) > 0
    }

    /// Whether it waits for what its application's actor has handled, where it tells that at once.
    pub fn is_acknowledged(&self) -> bool {
        self.kind(6) == 3
    }

    /// Whether the undisturbed run's output is the only right one.
    pub fn is_confluent(&self) -> bool {
        !matches!(
            self.shape,
            Shape::Union | Shape::Idle | Shape::Clocked | Shape::Refiring
        )
    }

    /// Whether it may go on as another version of its program: what stands beside the shape then counts each record once.
    pub fn may_change(&self) -> bool {
        self.shape.is_generated() && self.barriers != Barriers::PassBy
    }

    /// Whether a job may be started from a savepoint of it and be compared with it: its input is all there again, and what it puts
    /// out tells before which checkpoint's barrier it was written.
    pub fn may_begin_again(&self) -> bool {
        self.shape.is_generated() && !self.shape.writes_files()
    }

    /// How many sources feed the job's first window.
    pub fn sources(&self) -> u64 {
        match self.shape {
            Shape::Union => 2,
            _ => 1,
        }
    }

    /// About how long its sources are read, if nothing happens.
    pub fn lasts(&self) -> Duration {
        let per_burst = self.pace.burst as u64 * u64::from(self.parallelism);
        self.pace.every * self.records.div_ceil(per_burst).max(1) as u32
    }
}

fn barriers(shape: Shape, rng: &mut SplitMix) -> Barriers {
    let drawn = rng.below(6);
    let wait = [0, 2, 8][rng.below(3) as usize];
    if shape == Shape::Looping {
        // Barriers keep their place in a loop.
        return Barriers::Wait;
    }
    match drawn {
        0 | 1 => Barriers::Overtake(Duration::from_millis(wait)),
        2 => Barriers::Overtake(Duration::ZERO),
        // Of these it can be seen that no record is lost, whatever comes twice.
        3 | 4
            if matches!(
                shape,
                Shape::Tumbling
                    | Shape::Sliding
                    | Shape::ManySplits
                    | Shape::TextFiles
                    | Shape::Watched
                    | Shape::Union
                    | Shape::Idle
            ) =>
        {
            Barriers::PassBy
        }
        _ => Barriers::Wait,
    }
}

/// Waits that grow for as long as there are failures.
fn longer_and_longer() -> RestartStrategy {
    RestartStrategy::ExponentialDelay {
        initial: Duration::from_millis(20),
        max: Duration::from_secs(1),
        factor: 1.5,
        jitter: 0.1,
        reset_after: Duration::from_secs(60),
    }
}

/// None of them gives a job up for as many failures as a plan makes.
fn restart(rng: &mut SplitMix) -> RestartStrategy {
    let delay = Duration::from_millis([5, 30, 200][rng.below(3) as usize]);
    match rng.below(4) {
        0 => RestartStrategy::FixedDelay {
            attempts: 1_000,
            delay,
        },
        1 => RestartStrategy::FailureRate {
            failures: 1_000,
            interval: Duration::from_secs(1),
            delay,
        },
        _ => longer_and_longer(),
    }
}
