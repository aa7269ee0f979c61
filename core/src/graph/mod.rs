//! From program to plan: `StreamGraph` (as written), `JobGraph` (chained), and the tasks built from it.
//! The parallel, running form is [`job::ExecutionGraph`](crate::job::ExecutionGraph).

mod build;
mod chained;
mod written;

pub use build::ChainBuilder;
pub use chained::{JobEdge, JobGraph, JobVertex};
pub use written::{Exchange, GraphError, NodeId, Operator, StreamEdge, StreamGraph, StreamNode};
