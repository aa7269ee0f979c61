//! Other processes: how a TaskManager finds its leader, how leaders and TaskManagers speak, and how records cross.
//!
//! ```text
//!   leader's process                                   TaskManager's process
//!   ResourceManager <-------+                    +---> ResourceManager's stand-in <-- TaskManager
//!   JobMaster <-------------+-- control link ----+---> JobMaster's stand-in <-------- JobTasks
//!   TaskManager's stand-in -+                    +---> TaskManager
//!
//!   another TaskManager's process
//!   sender's Subtask ===== data link =====> receiver's Subtask      records and barriers; credits the other way
//! ```
//!
//! A **control link** is one TaskManager's to one leader, who is found by the election. It is the leader's of one term: when
//! that leader ends, the link does, and the TaskManager looks for the next one. On each end a stand-in takes the same messages as
//! the actor that it stands for, so leaders and TaskManagers don't know whether they share a process.
//!
//! A **data link** is opened by who receives, to the process of who sends, and carries all channels between the two in that
//! direction. Both ends are named by incarnation, so nothing is sent to a process's next life. Credits cross it as they
//! do within a process: what waits on its way is part of what its receivers allow. A link that is lost fails those who have a channel over
//! it, and so their region: what had arrived is not known then, and a checkpoint says it.
//!
//! | file | concern |
//! |---|---|
//! | `mod.rs` | what a process has that speaks with others |
//! | `messages.rs` | what is said on a control link |
//! | `stand_in.rs` | who takes messages for an actor of another process |
//! | `leader_link.rs` | a TaskManager's end of a control link |
//! | `refused.rs` | how long a leader is left alone that has refused |
//! | `task_managers.rs` | a leader's end |
//! | `places.rs` | who of them has which name |
//! | `data.rs` | data links |
//! | `shared.rs` | what is shared in a process and copied to another |

mod data;
mod leader_link;
mod messages;
mod places;
mod refused;
pub(crate) mod shared;
mod stand_in;
mod task_managers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rivus_core::{CodecError, Incarnation, codec};
use rivus_state::StorageIdentity;
use rivus_wire::{Credentials, Frame, Limits, Outbox};
use serde::Serialize;
use tokio::runtime::Handle;

pub use self::data::{DataDoor, DataLink, Elsewhere, LinkId};
pub(crate) use self::leader_link::{LeaderLinkActor, LeaderLinkArgs};
use self::places::Places;
pub(crate) use self::task_managers::take_on;
pub use self::task_managers::{Caller, ControlDoor};
use crate::context::{NodeContext, Shared};

/// What a process has that speaks with others.
pub struct Remote {
    credentials: Credentials,
    limits: Limits,
    /// Where checkpoints lie, which has to be the same for leaders and TaskManagers.
    storage: StorageIdentity,
    /// Where others open data links to this process; empty if they don't.
    data_address: String,
    /// Where data links run: neither where leaders live nor where subtasks work.
    runtime: Handle,
    /// The term in which this process leads; 0 if it doesn't.
    leading: AtomicU64,
    /// TaskManagers of other processes that follow it then.
    places: Places,
    /// TaskManagers that live here.
    lives: Shared<Incarnation, ()>,
    /// Data links that were opened from here.
    dialed: Mutex<BTreeMap<Incarnation, DataLink>>,
    /// Counts links.
    links: AtomicU64,
}

/// A TaskManager lives here as long as this does.
pub(crate) struct Life {
    node: Arc<NodeContext>,
    incarnation: Incarnation,
}

impl Remote {
    /// Speaks with whoever has such credentials too. `runtime` must be one with input and output.
    pub fn new(
        credentials: Credentials,
        limits: Limits,
        storage: StorageIdentity,
        data_address: String,
        runtime: Handle,
    ) -> Self {
        Self {
            credentials,
            limits,
            storage,
            data_address,
            runtime,
            leading: AtomicU64::new(0),
            places: Places::default(),
            lives: Shared::default(),
            dialed: Mutex::default(),
            links: AtomicU64::new(0),
        }
    }

    /// Where others open data links to this process; empty if they don't.
    pub fn data_address(&self) -> &str {
        &self.data_address
    }

    /// This process leads in a term, or in none.
    pub(crate) fn lead(&self, term: u64) {
        self.leading.store(term, Ordering::Relaxed);
    }

    /// A TaskManager begins to live in this process, if that is one that speaks with others.
    pub(crate) fn begin_life(node: &Arc<NodeContext>, incarnation: Incarnation) -> Option<Life> {
        let remote = node.remote.as_ref()?;
        remote.lives.insert(incarnation, ());
        Some(Life {
            node: Arc::clone(node),
            incarnation,
        })
    }

    fn is_alive(&self, incarnation: Incarnation) -> bool {
        self.lives.get(&incarnation).is_some()
    }
}

impl Life {
    /// Where others open data links to it.
    pub(crate) fn data_address(&self) -> &str {
        let remote = self.node.remote.as_ref();
        remote.map_or("", |remote| &remote.data_address)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(remote) = &self.node.remote {
            remote.lives.remove(&self.incarnation);
        }
    }
}

/// A frame that holds a message.
fn frame(message: &impl Serialize) -> Result<Frame, CodecError> {
    let mut frame = Frame::default();
    codec::encode_into(message, frame.body())?;
    Ok(frame)
}

/// Says something on a link. A link that is closed says so to whoever reads from it.
fn say(outbox: &Outbox, message: &impl Serialize) {
    match frame(message) {
        Ok(frame) => {
            outbox.send(frame);
        }
        Err(error) => {
            tracing::error!(%error, "a link is given up: what is to be said has no wire form");
            outbox.close();
        }
    }
}
