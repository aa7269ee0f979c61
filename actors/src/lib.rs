//! The control plane and the data plane of Rivus, on ractor.
//!
//! ```text
//! Node                               one per process
//! +-- LeaderElection                 one per candidate: contends, renews, gives up
//! +-- JobManager                     lives as long as this process leads
//! |   +-- Dispatcher                 submits and recovers jobs
//! |   +-- ResourceManager            TaskManagers, slots, heartbeats
//! |   +-- JobMaster (one per job)    takes over, deploys, fails over, ends
//! |       +-- CheckpointCoordinator  triggers, completes, aborts
//! +-- TaskManager                    slots
//!     +-- JobTasks (one per job)     supervises its executions, keeps their reports
//!         +-- Subtask                one execution of a chain
//! ```
//!
//! Where they are in several processes, a *stand-in* takes each message that is meant for an actor of another one, and puts
//! it on the wire (`remote/`): whoever it stands for doesn't know the difference.
//!
//! An actor's file holds its messages and carries decisions out; the decisions are `rivus_core`'s. No
//! handler awaits a peer, storage or a lock: what may block goes to [`Blocking`](rivus_state::Blocking)
//! and comes back as a message. The two exceptions wait for nothing but the scheduler: `yield_now`, and
//! spawning a child, whose `pre_start` returns at once.

mod context;
mod coordinator;
mod dispatcher;
mod job_manager;
mod job_master;
mod job_tasks;
mod leader_election;
mod node;
mod planted;
mod probe;
mod programs;
mod remote;
mod resource_manager;
mod sleep;
mod slots;
mod standing;
mod subtask;
mod task_manager;
mod view;
mod views;

pub use context::{NodeConfig, NodeContext, Runtimes, Seed, Shared, TokioClock};
pub use dispatcher::Submission;
pub use job_master::replay;
pub use node::{Asked, NodeActor, NodeMessage};
pub use planted::Defect;
#[cfg(feature = "planted-defects")]
pub use planted::plant;
pub use probe::{ActorKind, Fault, InjectedFault, Probe, Step};
pub use programs::{ProgramFactories, Programs};
pub use remote::{Caller, ControlDoor, DataDoor, Remote};
pub use resource_manager::TaskManagerView;
pub use sleep::worker_sleeps;
pub use standing::{Stand, Standing};
pub use subtask::SubtaskMessage;
pub use view::{JobStatus, JobView, SubtaskView};
pub use views::Views;
