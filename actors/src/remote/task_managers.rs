//! A leader's end of a control link: a TaskManager of another process, as one of this process would be.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use rivus_core::{JobId, LeaderEpoch, codec};
use rivus_wire::{Connection, Door, Outbox, Receive, Refusal, link};

use super::messages::{News, Purpose, ToLeader, ToTaskManager};
use super::places::Place;
use super::say;
use super::stand_in::StandIn;
use crate::context::{NodeContext, Shared};
use crate::job_master::JobMasterMessage;
use crate::node::NodeMessage;
use crate::resource_manager::ResourceManagerMessage;
use crate::task_manager::TaskManagerMessage;

/// Where TaskManagers of other processes come in: while this process leads, and only those who want the leader of that term.
pub struct ControlDoor {
    node: Arc<NodeContext>,
    root: ActorRef<NodeMessage>,
}

impl ControlDoor {
    /// For a process and its root actor.
    pub fn new(node: Arc<NodeContext>, root: ActorRef<NodeMessage>) -> Self {
        Self { node, root }
    }
}

/// A TaskManager that has connected.
pub struct Caller {
    connection: Connection,
    place: Place,
}

impl Door for ControlDoor {
    fn admit(&self, about: &[u8]) -> Result<(), Refusal> {
        let Some(remote) = &self.node.remote else {
            return Err(Refusal::Other("it is alone".to_owned()));
        };
        let leading = remote.leading.load(Ordering::Relaxed);
        let refusal = match Purpose::read(about).map_err(Refusal::Other)? {
            Purpose::Control { term, .. } if leading == 0 => {
                format!("it doesn't lead, in term {term} or any other at present")
            }
            Purpose::Control { term, .. } if term != leading => {
                format!("it leads in term {leading}, not {term}")
            }
            Purpose::Control { storage, .. } if !storage.is_same(&remote.storage) => format!(
                "its storage is {}, and the TaskManager's is {storage}: give all processes the same --storage",
                remote.storage
            ),
            Purpose::Control { id, life, .. } => return remote.places.check(&id, life),
            Purpose::Data { .. } => "records don't go to a JobManager".to_owned(),
        };
        Err(Refusal::Other(refusal))
    }

    fn connected(&self, connection: Connection) {
        let (Some(remote), Ok(Purpose::Control { id, life, .. })) =
            (&self.node.remote, Purpose::read(&connection.about))
        else {
            return;
        };
        match remote.places.take(&id, life, connection.peer) {
            Ok(place) => {
                let caller = Box::new(Caller { connection, place });
                let _ = self.root.cast(NodeMessage::TaskManagerCalled(caller));
            }
            // Two came at the same moment; it is told why when it comes again.
            Err(reason) => tracing::warn!(peer = %connection.peer, %reason, "a peer is dropped"),
        }
    }
}

/// More slots than any process has.
const MOST_SLOTS: u32 = 1 << 16;

/// What both directions of a link have in common.
struct LeaderEnd {
    resources: Mutex<ActorRef<ResourceManagerMessage>>,
    /// The masters that have told this TaskManager something.
    masters: Shared<JobId, (LeaderEpoch, ActorRef<JobMasterMessage>)>,
}

impl LeaderEnd {
    /// Replaced whole, if at all.
    fn resources(&self) -> ActorRef<ResourceManagerMessage> {
        let resources = self.resources.lock();
        resources.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a message on the wire.
    fn pass(&self, message: TaskManagerMessage, outbox: &Outbox) {
        match message {
            TaskManagerMessage::Command {
                job,
                epoch,
                master,
                command,
            } => {
                self.masters.insert(job, (epoch, master));
                say(
                    outbox,
                    &ToTaskManager::Command {
                        job,
                        epoch,
                        command,
                    },
                );
            }
            TaskManagerMessage::ForgetJob(job) => {
                self.masters.remove(&job);
                say(outbox, &ToTaskManager::ForgetJob(job));
            }
            TaskManagerMessage::LeaderFound(resources) => {
                let mut known = self.resources.lock();
                **known.as_mut().unwrap_or_else(|known| known.get_mut()) = resources;
                say(outbox, &ToTaskManager::Register);
            }
            // Those are its own affairs.
            TaskManagerMessage::LeaderLost | TaskManagerMessage::Heartbeat => {}
        }
    }
}

/// What comes from a TaskManager.
struct FromTaskManager {
    end: Arc<LeaderEnd>,
    stand_in: ActorRef<TaskManagerMessage>,
    /// Free again when the link is closed.
    _place: Place,
}

impl Receive for FromTaskManager {
    fn frame(&mut self, payload: Bytes) -> Result<(), String> {
        let said: ToLeader = codec::decode(&payload).map_err(|error| error.to_string())?;
        match said {
            ToLeader::Register(registration) if registration.slots > MOST_SLOTS => {
                return Err(format!("{} slots are too many", registration.slots));
            }
            ToLeader::Register(registration) => {
                let register = ResourceManagerMessage::Register {
                    registration,
                    actor: self.stand_in.clone(),
                };
                let _ = self.end.resources().cast(register);
            }
            ToLeader::Heartbeat(incarnation) => {
                let heartbeat = ResourceManagerMessage::Heartbeat {
                    incarnation,
                    actor: self.stand_in.clone(),
                };
                let _ = self.end.resources().cast(heartbeat);
            }
            ToLeader::News { job, epoch, news } => {
                if let Some((of, master)) = self.end.masters.get(&job)
                    && of == epoch
                {
                    let _ = master.cast(match news {
                        News::Task(attempt, event) => JobMasterMessage::Task { attempt, event },
                        News::Report(report) => JobMasterMessage::Report(report),
                        News::Figures(figures) => JobMasterMessage::Figures(figures),
                        News::Lost(incarnation) => JobMasterMessage::TaskManagerLost(incarnation),
                    });
                }
            }
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        tracing::info!(reason, "the link of a TaskManager is closed");
        // Its supervisor tells who has to know.
        self.stand_in.stop(None);
    }
}

/// Takes a TaskManager on that has connected. Its stand-in ends when the link does, and the link when the stand-in does.
pub(crate) async fn take_on(
    node: &Arc<NodeContext>,
    caller: Caller,
    resources: ActorRef<ResourceManagerMessage>,
    supervisor: ActorCell,
) -> Result<ActorRef<TaskManagerMessage>, ActorProcessingErr> {
    let Some(remote) = &node.remote else {
        return Err("a TaskManager has connected to a process that is alone".into());
    };
    let (outbox, link) = link(&remote.limits);
    let end = Arc::new(LeaderEnd {
        resources: Mutex::new(resources),
        masters: Shared::default(),
    });
    let passing = Arc::clone(&end);
    let pass = Box::new(move |message| passing.pass(message, &outbox));
    let (stand_in, _) = Actor::spawn_linked(None, StandIn::default(), pass, supervisor).await?;
    let from = FromTaskManager {
        end,
        stand_in: stand_in.clone(),
        _place: caller.place,
    };
    link.run(caller.connection, from);
    Ok(stand_in)
}
