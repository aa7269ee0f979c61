//! The world outside a process: it goes on when the process crashes, and remembers what it has handed over.

mod application;
mod arrivals;
mod folder;
mod observer;
mod server;

use std::collections::BTreeMap;

pub use self::application::{Application, Told};
pub use self::arrivals::Arrivals;
pub use self::folder::Folder;
pub use self::observer::Observer;
pub use self::server::Server;

use crate::jobs::Line;

/// What the world outside says of a run. A *delivery* is all that was handed over to one process by whoever feeds it, or
/// over one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Numbers of the records that were handed over, in order, by the number of the delivery.
    pub handed: BTreeMap<u64, Vec<u64>>,
    /// How many of the last delivery are lost, says the feed.
    pub lost: u64,
    /// What an application's actor was sent, by the delivery of that time.
    pub told: Vec<(u64, Line)>,
}
