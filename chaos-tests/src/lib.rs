//! Kill and compare: whole jobs under every fault that a seed can think of, and what must hold all the same.
//!
//! A *seed* makes a job (shape, size, parallelism, how finely it is cut), a cluster (TaskManagers,
//! candidates) and a plan of what is broken. [`simulate`] runs it on one thread with a virtual clock, so that
//! a job of seconds passes in milliseconds and the same seed is the same run, down to the last message (but for what RocksDB does on threads
//! of its own, see below): the probe folds everything it sees into a hash.
//!
//! # What is broken
//!
//! - Every kind of actor, at every step of its protocols: its handler panics, returns an error, or is
//!   killed. ractor's kill acts at an await only, so the steps are places in the engine's code at which the
//!   probe is asked ([`Injection`]).
//! - A leader right before and right after it writes an entry of each kind to the job's log ([`Entry`]).
//! - Any living actor, at any time, from outside ([`Kill`]).
//! - Two actors at once: a leader around the entry that completes a checkpoint, and a task on hearing of it.
//! - Storage: operations that fail, that happen and say they failed, or that write half ([`StoragePlan`]);
//!   and those that take up to a tenth of a second, while everything else goes on.
//! - The whole process, at a time or at a step ([`Crash`]): nothing that it still does has an effect on
//!   storage; the next life resumes the job from its log. It stands for the root of a process's actors, `Node`, which is no
//!   [`ActorKind`](rivus::engine::ActorKind): with it dies all that there is.
//!
//! All of it is in one process. A TaskManager's link to a leader elsewhere is no `ActorKind` either: it breaks where processes are
//! killed and stopped, in `tests/suite/dying.rs` and `tests/suite/cluster.rs`.
//!
//! Most faults wait until a checkpoint is complete that *holds state*: records had been read when it was
//! triggered, so they precede its barriers and are in its snapshots. In the directed runs a fault counts when its victim has
//! died and its successor has gone on from such a checkpoint.
//!
//! What a job does about its failures, the seed draws too, among the strategies that so many failures don't exhaust.
//!
//! # Where state lies
//!
//! In memory; in RocksDB, the real one, with room for one byte or two thousand of a store's rows in memory, so that they are written,
//! forgotten and read again all the time; or in a stand-in for it, which is in memory too. Of two hundred seeds each shape has each of
//! them. A job that is stopped and goes on, with no other beside it, does so on another backend: from memory over RocksDB, or back.
//! RocksDB merges files on threads of its own, when it gets round to it; a run over it is not just like the last one of its seed.
//!
//! # What becomes another
//!
//! A job that is stopped and goes on does so at another parallelism, and where its records come from one generator, often as another
//! version of its program: an operator has gone, another is new and begins with nothing, and the state of a third has
//! fields more and fewer, or a function makes it of what it was ([`Change`]). All three are counted without the engine, and what stays is
//! the undisturbed run's.
//!
//! Before that, or before it is rescaled, savepoints are made of it while it goes on. When it has ended, another job begins at the last of
//! them: together with what the first one had written for earlier checkpoints, it commits what the undisturbed run does.
//!
//! # What equality means
//!
//! A *committed* record is one that whoever reads the sink can see: what a collecting sink shows, or what
//! stands in files that have their final name.
//!
//! - A job is **confluent** if its output doesn't depend on how its inputs interleave: its records come too
//!   late for no window, and what a key's results depend on in order comes over one channel. Then the
//!   committed output is the undisturbed run's: the same as a multiset, and each key's results in the same
//!   order.
//! - [`Straight`](Shape::Straight) is, and needs no undisturbed run: which subtask reads a file doesn't matter, so each file's records
//!   come in their order, each with a digest of those before it that is worked out from the input alone.
//!
//! Four shapes are not, and are compared with their input:
//!
//! - [`Union`](Shape::Union), with watermarks that are too bold: accepted plus late records are the input, each exactly once and in its
//!   own window; and each key's rolling results follow from its records in *some* serial order, in which every source's records stand
//!   in their own order.
//! - [`Idle`](Shape::Idle), which waits for no subtask that sleeps: the same, of one source. How many are late when it wakes up is open.
//! - [`Clocked`](Shape::Clocked), which fires by processing time: each key's records come in their order, once. What still waits when
//!   the input ends gives nothing, so a key's last ones may be missing; a fourth of all records has to come.
//! - [`Refiring`](Shape::Refiring), whose windows fire again and again: whatever a window gives begins with what it gave before, and
//!   what it gives last is all of its records.
//!
//! Of any shape:
//!
//! - What comes from **outside** and can't be read again has the guarantee of its connector, no more and no less. A
//!   *replayed feed* is read exactly once by the process that it was handed to; whoever feeds hands over again what no
//!   checkpoint is known to cover, so over crashes it is at least once, and exactly once behind a function that drops numbers
//!   it has seen. A feed *as it is*, and lines from a *socket*, come at most once: of a socket's connection a first part is
//!   seen, without a gap, and of the last one all; what a feed counts as lost and what is seen add up to what it took.
//! - An application's **actor** hears what is committed exactly once in each process, or, if it is told at once, at least
//!   what is committed.
//! - A third of the jobs that count records in windows, or show their numbers, runs **at least once**: there every window
//!   has counted at least the records that it should, and each record is accepted or late somewhere.
//!
//! The undisturbed run is the engine's own, so it is counted first: each shape says how many records, groups, pairs or
//! firings it has to put out, by its input alone; of `Clocked` and `Refiring`, only that each output has some.
//!
//! Files are read while the job runs, every few milliseconds: a committed file holds for ever what it held when it was first
//! seen, and in the order in which files appear each key's lines are the reference's. So at each moment there is a first
//! part of every key. The same must be true of a job that is canceled, or fails for good, when it has ended.
//!
//! Half of all jobs let barriers overtake, at once or after some milliseconds: their output is as exact as any.
//!
//! # What else must hold
//!
//! - The job ends, within ten minutes of virtual time. If not, the failure says where it hangs.
//! - If only actors on the leader's side died, once the job ran, no task noticed: no restart, none found
//!   gone by a takeover, no execution started twice.
//! - If workers died in one region of one job only, no other region and no job beside it noticed.
//! - What waits at a subtask's inputs stays within the job's budget.
//! - Whoever asks for a key's state while a job runs, or the one beside it, hears what a first part of the key's records makes, or that there is
//!   nobody to answer at the moment: of rolling aggregates, of windows that are open, and, by its name, of one of several states.
//! - An actor of the application's that has the job under it hears of its end, once, and of nothing else.
//! - An ended job leaves no actor behind in a process that goes on; a process that ends leaves nothing.
//! - An ended job leaves no file of a store behind, unless storage failed, was late, or its process died.
//!
//! # How it is run
//!
//! | command | what |
//! |---|---|
//! | `cargo test -p rivus-chaos` | 200 seeds, every cell, every entry, the replay, threads |
//! | `RIVUS_SEEDS=5000 cargo test -p rivus-chaos --test seeds -- --nocapture` | as many seeds as one likes; without `--test seeds`, 25 times as many of every shape |
//! | `RIVUS_SEED=7 cargo test -p rivus-chaos --test seeds -- --nocapture` | one seed, with all that happened |
//! | `RIVUS_CELL=Subtask/Commit/Kill/10003 cargo test -p rivus-chaos --test coverage -- --nocapture` | one cell's run, with all that happened |
//! | `RIVUS_CELL=JobMaster/AfterAppend/Deployed/Kill/20302 cargo test -p rivus-chaos --test coverage -- --nocapture` | one around an entry |
//! | `RIVUS_RUN='once/TaskManager' cargo test -p rivus-chaos --test straight -- --nocapture` | one run of a shape's own tests, with all that happened |
//! | `cargo run -p rivus-chaos -- --from 1000 --seeds 5000` | the same from a program, with progress |
//! | `cargo test -p rivus-chaos --test planted -- --nocapture` | the defects that must be caught |
//!
//! | file | concern |
//! |---|---|
//! | `jobs/` | shapes of jobs, their records and functions |
//! | `paced.rs` | sources in bursts |
//! | `plan.rs` | what is broken, by the seed |
//! | `faults/`, `storage.rs` | breaking it |
//! | `cramped.rs` | RocksDB with hardly any memory |
//! | `history.rs`, `cells.rs`, `victims.rs` | noting what happened, who died, and who went on |
//! | `simulation/` | one run |
//! | `outside/` | who feeds a process, whom it sends to, what comes while it runs, and who reads its files |
//! | `oracle/`, `invariants.rs` | the verdict on its output, and on the rest |
//! | `coverage.rs`, `entries.rs` | directed runs for every cell, and around every entry of the log |
//! | `suite.rs`, `named.rs` | many seeds on all cores, and runs by name |

mod cells;
mod coverage;
mod cramped;
mod entries;
mod faults;
mod history;
mod invariants;
mod jobs;
mod named;
mod oracle;
mod outside;
mod paced;
mod plan;
mod simulation;
mod storage;
mod suite;
mod victims;

pub use cells::{Cell, HitCount, Hits};
pub use coverage::{BEFORE_STATE, Directed, add_up, all_directed, effective, table};
pub use entries::{Entry, around_entries};
pub use faults::Faults;
pub use history::keep_everything;
pub use jobs::{
    Barriers, Change, Committed, JobSpec, Line, Reading, Region, Rows, SECOND, Shape, Version,
    Versioned, World,
};
pub use named::{NamedRun, all_go_well, one_alone, run_all};
pub use oracle::{counted, judge};
pub use outside::{Deliveries, Observer};
pub use paced::{Pace, Paced};
pub use plan::{
    Arm, Crash, Ending, FAULTS, Injection, Kill, LEADERS, Move, Plan, Scope, StoragePlan, WORKERS,
};
pub use simulation::{Answered, Outcome, run_on_threads, simulate};
pub use suite::{
    Failed, References, Summary, check, hush, on_all_cores, replay_command, run_seeds, runs,
};
