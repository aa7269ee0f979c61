//! Data links: the channels between subtasks of two processes.
//!
//! ```text
//! a frame: head (MessagePack), and behind an Element's head the element's wire form
//!   Open     receiver --> sender   a channel is opened: nothing is sent before
//!   Credit   receiver --> sender   how much may be sent in all
//!   Element  sender --> receiver
//! ```
//!
//! Each names the execution that it is for. One that isn't here any more is no reason to wonder: its region is about to restart,
//! and whoever speaks to it learns it from the leader.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use ractor::ActorRef;
use rivus_core::{AttemptId, Element, Failure, Incarnation, JobId, codec};
use rivus_wire::{Call, Connection, Door, Frame, Link, Outbox, Receive, Refusal, link};
use serde::{Deserialize, Serialize};

use super::messages::Purpose;
use super::{Remote, frame};
use crate::context::NodeContext;
use crate::job_tasks::Placed;
use crate::subtask::{Peer, Receiver, SubtaskMessage};

/// A data link of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

/// A data link, for whoever sends over it.
#[derive(Clone)]
pub struct DataLink {
    pub(crate) id: LinkId,
    outbox: Outbox,
    /// The other end, for people.
    peer: Arc<str>,
}

/// An execution of another process.
#[derive(Clone)]
pub struct Elsewhere {
    pub(crate) link: DataLink,
    pub(crate) job: JobId,
    pub(crate) attempt: AttemptId,
}

/// What a frame is about.
#[derive(Debug, Serialize, Deserialize)]
enum Head {
    Open {
        job: JobId,
        producer: AttemptId,
        lane: u32,
        consumer: AttemptId,
        channel: u32,
        granted: u64,
    },
    Credit {
        job: JobId,
        producer: AttemptId,
        lane: u32,
        granted: u64,
    },
    Element {
        job: JobId,
        consumer: AttemptId,
        channel: u32,
        seq: u64,
    },
}

impl Elsewhere {
    /// Opens a channel that the execution sends on.
    pub(crate) fn open(
        &self,
        lane: usize,
        consumer: AttemptId,
        channel: usize,
        granted: u64,
    ) -> Result<(), Failure> {
        self.send(frame(&Head::Open {
            job: self.job,
            producer: self.attempt,
            lane: lane as u32,
            consumer,
            channel: channel as u32,
            granted,
        })?)
    }

    /// Gives the execution more credit on a channel that it sends on.
    pub(crate) fn credit(&self, lane: usize, granted: u64) -> Result<(), Failure> {
        self.send(frame(&Head::Credit {
            job: self.job,
            producer: self.attempt,
            lane: lane as u32,
            granted,
        })?)
    }

    /// Sends an element on a channel that the execution receives on.
    pub(crate) fn element(
        &self,
        channel: usize,
        seq: u64,
        element: &Element,
    ) -> Result<(), Failure> {
        let mut frame = frame(&Head::Element {
            job: self.job,
            consumer: self.attempt,
            channel: channel as u32,
            seq,
        })?;
        element.encode(frame.body())?;
        let most = self.link.outbox.frame_bytes();
        if frame.len() > most {
            return Err(Failure::job(format!(
                "a batch is {} bytes on its way to another process, where {most} is the most: \
                 make records smaller, or set batch_bytes lower if there are many in it",
                frame.len()
            )));
        }
        self.send(frame)
    }

    fn send(&self, frame: Frame) -> Result<(), Failure> {
        match self.link.outbox.send(frame) {
            true => Ok(()),
            false => Err(self.lost("it is closed")),
        }
    }

    /// What a subtask fails with that has lost it.
    pub(crate) fn lost(&self, reason: &str) -> Failure {
        let peer = &self.link.peer;
        Failure::attempt(format!("the data link to {peer} is lost: {reason}"))
    }
}

impl Remote {
    /// A link by which an execution of another process is heard; none if it can't be in another one.
    pub(crate) fn link_to(
        &self,
        node: &Arc<NodeContext>,
        from: Incarnation,
        placed: &Placed,
    ) -> Option<DataLink> {
        let (to, address) = (placed.incarnation, &placed.data_address);
        if address.is_empty() || self.is_alive(to) {
            return None;
        }
        let mut dialed = self.dialed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = dialed.get(&to)
            && !link.outbox.is_closed()
        {
            return Some(link.clone());
        }
        let about = Purpose::Data { from, to }.bytes().ok()?;
        let (data, waiting) = self.new_link(address);
        let call = Call {
            address: address.clone(),
            credentials: self.credentials.clone(),
            nonce: node.seed.nonce(),
            about,
        };
        let receive = FromPeer {
            node: Arc::clone(node),
            link: data.clone(),
            dialed: Some(to),
        };
        let _on_its_runtime = self.runtime.enter();
        waiting.dial(call, receive);
        dialed.insert(to, data.clone());
        Some(data)
    }

    fn new_link(&self, peer: &str) -> (DataLink, Link) {
        let (outbox, waiting) = link(&self.limits);
        let id = LinkId(self.links.fetch_add(1, Ordering::Relaxed));
        let peer = Arc::from(peer);
        (DataLink { id, outbox, peer }, waiting)
    }

    /// A link of this process's own making is no more.
    fn forget(&self, to: Incarnation, link: LinkId) {
        let mut dialed = self.dialed.lock().unwrap_or_else(PoisonError::into_inner);
        if dialed.get(&to).is_some_and(|known| known.id == link) {
            dialed.remove(&to);
        }
    }
}

/// Where other processes open data links: to TaskManagers that live here.
pub struct DataDoor(Arc<NodeContext>);

impl DataDoor {
    /// For a process.
    pub fn new(node: Arc<NodeContext>) -> Self {
        Self(node)
    }
}

impl Door for DataDoor {
    fn admit(&self, about: &[u8]) -> Result<(), Refusal> {
        let remote = self.0.remote.as_ref();
        let refusal = match Purpose::read(about).map_err(Refusal::Other)? {
            Purpose::Data { to, .. } if remote.is_some_and(|remote| remote.is_alive(to)) => {
                return Ok(());
            }
            Purpose::Data { .. } => "that life of the TaskManager is over, or was never here",
            Purpose::Control { .. } => "nobody leads at a data address",
        };
        Err(Refusal::Other(refusal.to_owned()))
    }

    fn connected(&self, connection: Connection) {
        let Some(remote) = &self.0.remote else {
            return;
        };
        let peer = match Purpose::read(&connection.about) {
            Ok(Purpose::Data { from, .. }) => format!("TaskManager life {}", from.0.simple()),
            _ => return,
        };
        let (link, waiting) = remote.new_link(&peer);
        let receive = FromPeer {
            node: Arc::clone(&self.0),
            link,
            dialed: None,
        };
        waiting.run(connection, receive);
    }
}

/// What comes over a data link.
struct FromPeer {
    node: Arc<NodeContext>,
    link: DataLink,
    /// To whom, if it was opened from here.
    dialed: Option<Incarnation>,
}

impl FromPeer {
    fn tell(&self, job: JobId, attempt: AttemptId, message: SubtaskMessage) {
        if let Some(actor) = self.node.peers.get(&(job, attempt)) {
            let _ = actor.cast(message);
        }
    }
}

impl Receive for FromPeer {
    fn frame(&mut self, payload: Bytes) -> Result<(), String> {
        let nonsense = |error: rivus_core::CodecError| error.to_string();
        let mut rest: &[u8] = &payload;
        let head = codec::decode_prefix(&mut rest).map_err(nonsense)?;
        let body = payload.slice(payload.len() - rest.len()..);
        match head {
            Head::Open {
                job,
                producer,
                lane,
                consumer,
                channel,
                granted,
            } => {
                let peer = Elsewhere {
                    link: self.link.clone(),
                    job,
                    attempt: consumer,
                };
                let message = SubtaskMessage::Open {
                    lane: lane as usize,
                    producer,
                    receiver: Receiver {
                        attempt: consumer,
                        peer: Peer::Elsewhere(peer),
                        channel: channel as usize,
                    },
                    granted,
                };
                self.tell(job, producer, message);
            }
            Head::Credit {
                job,
                producer,
                lane,
                granted,
            } => {
                let message = SubtaskMessage::Credit {
                    lane: lane as usize,
                    granted,
                    given_back: Vec::new(),
                };
                self.tell(job, producer, message);
            }
            Head::Element {
                job,
                consumer,
                channel,
                seq,
            } => {
                let message = SubtaskMessage::Element {
                    channel: channel as usize,
                    seq,
                    element: Element::decode(body).map_err(nonsense)?,
                };
                self.tell(job, consumer, message);
            }
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        tracing::info!(peer = %self.link.peer, reason, "a data link is closed");
        if let (Some(to), Some(remote)) = (self.dialed, &self.node.remote) {
            remote.forget(to, self.link.id);
        }
        let all: Vec<ActorRef<SubtaskMessage>> = self.node.peers.values();
        for actor in all {
            let _ = actor.cast(SubtaskMessage::LinkLost {
                link: self.link.id,
                reason: reason.to_owned(),
            });
        }
    }
}
