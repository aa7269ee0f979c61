//! chaos
mod coverage;
mod faults;
mod jobs;
mod oracle;
mod paced;
mod plan;
mod simulation;
mod storage;
mod suite;

pub use coverage::{BEFORE_STATE, Directed, add_up, all_directed, effective, table};
pub use faults::{Cell, Faults, HitCount, Hits};
pub use jobs::{Committed, JobSpec, Line, Reading, Shape, World};
pub use oracle::judge;
pub use paced::{Pace, Paced};
pub use plan::{Arm, Crash, FAULTS, Injection, Kill, LEADERS, Plan, StoragePlan, WORKERS};
pub use simulation::{Outcome, run_on_threads, simulate};
pub use suite::{Failed, References, check, hush, on_all_cores, replay_command, run_seeds};
