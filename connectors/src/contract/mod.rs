//! What the engine takes for granted of sources and sinks, as suites that a connector's author runs.
//!
//! A connector that keeps its contract reads and writes exactly once through crashes, takeovers and aborted
//! checkpoints. [`source()`] and [`sink()`] try it without the engine: they play the engine's part, break things
//! where they may break, and panic with one line that says which clause was broken, and when.
//!
//! ```
//! use rivus_connectors::{CollectionSource, contract};
//!
//! contract::source(|| CollectionSource::new(vec!["to", "be"].into_iter().map(str::to_owned).collect()))
//!     .yields(["be".to_owned(), "to".to_owned()])
//!     .check();
//! ```

mod script;
mod sink;
mod sink_job;
mod source;

pub use sink::{SinkContract, sink};
pub use sink_job::{SinkJob, SinkSavepoint};
pub use source::{SourceContract, source};
