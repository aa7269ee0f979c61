//! Rivus as a long-running service, asked and told by HTTP: one process with all roles, or JobManagers and TaskManagers in processes
//! of their own.
//!
//! ```text
//! POST   /v1/jobs                      SubmitRequest            -> Submitted
//! GET    /v1/jobs                                               -> [JobSummary]
//! GET    /v1/jobs/{job}                                         -> JobDetails
//! POST   /v1/jobs/{job}/cancel                                  -> JobSummary
//! POST   /v1/jobs/{job}/savepoints     SavepointOptions         -> SavepointMade, when it is complete
//! POST   /v1/jobs/{job}/rescale        RescaleRequest           -> JobSummary, when the job goes on with it
//! GET    /v1/jobs/{job}/log?after=N                             -> [EventDetails], what has happened behind the one of that number
//! GET    /v1/jobs/{job}/graph                                   -> the plan, in Graphviz's language
//! GET    /v1/factories                                          -> [FactoryDetails]
//! GET    /v1/leader                                             -> LeaderDetails, by the leader
//! GET    /v1/taskmanagers                                       -> [TaskManagerDetails]
//! GET    /healthz                                               -> "ok leader" or "ok standby", by who is asked
//! GET    /metrics                                               -> figures for Prometheus, by who is asked
//! ```
//!
//! `{job}` is a job's id, the beginning of one that no other job shares, or its name if no other running job has it; where one only
//! looks, the name of the job that ended last will do if none of that name runs.
//! An answer other than 2xx has a [`Refusal`](api::Refusal) of one line. Jobs outlive the process: their logs and
//! checkpoints lie in the storage, and the next process on the same storage goes on with them.
//!
//! **Any process may be asked** (`standby.rs`). One that doesn't lead answers at once: 307 with the place of the one that does, or 503
//! if nobody does at present. What was answered so has not been done, and may be asked again. A request is for now: if its
//! connection is closed, or the leadership lost, before a leader has begun with it, it is dropped.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod command;
mod dot;
mod metrics;
mod server;
pub(crate) mod settings;
mod standby;
