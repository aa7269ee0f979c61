//! A TaskManager's end of a control link. Looks who leads, connects, and stands in for whoever leads; looks on meanwhile, so a
//! leader that is stopped and replaced is left for the next one before its silence has lasted too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::{Failure, Incarnation, JobId, LeaderEpoch, TaskManagerId, codec};
use rivus_state::Leader;
use rivus_wire::{Call, ConnectError, Connection, Outbox, Receive, Refusal, link};

use super::messages::{News, Purpose, ToLeader, ToTaskManager};
use super::refused::{LONGEST, Refused};
use super::say;
use super::stand_in::{Pass, StandIn};
use crate::context::NodeContext;
use crate::job_master::JobMasterMessage;
use crate::resource_manager::ResourceManagerMessage;
use crate::task_manager::TaskManagerMessage;

/// How often one looks that has no leader; at least as often as a candidate does.
const LOOK: Duration = Duration::from_millis(200);

/// What the actor is told.
pub(crate) enum LeaderLinkMessage {
    /// Time to look who leads, in a chain of looks.
    Look(Chain),
    /// Who leads; `Err` if the election can't be asked.
    Looked(Chain, Result<Option<Leader>, String>),
    /// How connecting to the leader of a term went.
    Called(u64, Result<Box<Connection>, NotConnected>),
    /// The leader of a term says something.
    Told(u64, Box<ToTaskManager>),
    /// The link to the leader of a term is closed.
    Closed(u64, String),
}

/// Looks of which each leads to the next one. Of an older chain nothing is heard, so that there is only one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chain(u64);

/// Why there is no connection to a leader.
pub(crate) struct NotConnected {
    why: WhyNot,
    /// In one line.
    reason: String,
}

/// The same for whoever decides when to call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhyNot {
    /// It isn't there.
    Absent,
    /// It is there, and won't have this TaskManager.
    Refuses,
    /// It won't have it by its name, which another one has.
    NameTaken,
}

impl WhyNot {
    fn of(error: &ConnectError) -> Self {
        match error.refusal() {
            Some(Refusal::Taken(_)) => Self::NameTaken,
            Some(Refusal::Other(_)) => Self::Refuses,
            None if error.is_refusal() => Self::Refuses,
            None => Self::Absent,
        }
    }
}

/// What the actor is started with.
pub(crate) struct LeaderLinkArgs {
    pub(crate) node: Arc<NodeContext>,
    /// The TaskManager's name.
    pub(crate) id: TaskManagerId,
    /// Which life of it.
    pub(crate) life: Incarnation,
    /// Its actor, which is the supervisor.
    pub(crate) task_manager: ActorRef<TaskManagerMessage>,
}

/// The actor.
pub(crate) struct LeaderLinkActor;

/// A leader that is connected.
struct Followed {
    term: u64,
    outbox: Outbox,
    resources: ActorRef<ResourceManagerMessage>,
    masters: BTreeMap<JobId, (LeaderEpoch, ActorRef<JobMasterMessage>)>,
}

/// What the actor remembers.
pub(crate) struct LeaderLinkState {
    args: LeaderLinkArgs,
    myself: ActorRef<LeaderLinkMessage>,
    followed: Option<Followed>,
    /// Whether a leader is being called.
    calling: bool,
    looks: Chain,
    /// The one that has refused last, if none has let it in since.
    refused: Refused,
    /// What was last said about why there is no leader: once is enough.
    complaint: String,
}

impl Actor for LeaderLinkActor {
    type Msg = LeaderLinkMessage;
    type State = LeaderLinkState;
    type Arguments = LeaderLinkArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<LeaderLinkMessage>,
        args: LeaderLinkArgs,
    ) -> Result<LeaderLinkState, ActorProcessingErr> {
        let looks = Chain::default();
        myself.cast(LeaderLinkMessage::Look(looks))?;
        Ok(LeaderLinkState {
            args,
            myself,
            followed: None,
            calling: false,
            looks,
            refused: Refused::default(),
            complaint: String::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<LeaderLinkMessage>,
        message: LeaderLinkMessage,
        state: &mut LeaderLinkState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LeaderLinkMessage::Look(chain) | LeaderLinkMessage::Looked(chain, _)
                if chain != state.looks => {}
            LeaderLinkMessage::Look(_) => state.look(),
            LeaderLinkMessage::Looked(_, leader) => {
                let term = leader.as_ref().ok().and_then(|l| Some(l.as_ref()?.term));
                state.looked(leader);
                state.look_later(term);
            }
            LeaderLinkMessage::Called(term, called) => {
                state.calling = false;
                match called {
                    Ok(connection) => state.follow(term, *connection).await?,
                    Err(not) if not.why == WhyNot::Absent => state.complain(not.reason),
                    Err(not) => state.refused(term, not),
                }
            }
            LeaderLinkMessage::Told(term, told) => state.told(term, *told).await?,
            LeaderLinkMessage::Closed(term, reason) => state.closed(term, &reason),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<LeaderLinkMessage>,
        event: SupervisionEvent,
        state: &mut LeaderLinkState,
    ) -> Result<(), ActorProcessingErr> {
        // A stand-in does nothing that fails; if one has, another link has others.
        if let SupervisionEvent::ActorFailed(_, error) = event
            && let Some(followed) = &state.followed
        {
            tracing::warn!(%error, "a stand-in has died");
            followed.outbox.close();
        }
        Ok(())
    }
}

impl LeaderLinkState {
    fn look(&self) {
        let (election, myself) = (Arc::clone(&self.args.node.election), self.myself.clone());
        let chain = self.looks;
        self.args.node.blocking.run(Box::new(move || {
            let looked = election.leader();
            let looked = looked.map_err(|error| Failure::user(&error.into()).message);
            let _ = myself.cast(LeaderLinkMessage::Looked(chain, looked));
        }));
    }

    /// In the place of the look that would come next.
    fn look_now(&mut self) {
        self.looks.0 += 1;
        self.look();
    }

    /// A leader that has refused is looked at as one that is followed, for another one may be there.
    fn look_later(&self, term: Option<u64>) {
        let node = &self.args.node;
        let rhythm = node.config.lease / 3;
        let refused = self.refused_for(term.unwrap_or_default());
        let wait = match &self.followed {
            Some(_) => rhythm,
            None if refused.is_zero() => LOOK.min(node.config.look_interval()),
            None => rhythm.min(refused),
        };
        node.send_later(&self.myself, wait, LeaderLinkMessage::Look(self.looks));
    }

    fn looked(&mut self, leader: Result<Option<Leader>, String>) {
        if let Ok(Some(leader)) = &leader {
            self.refused.sees(leader.term, self.args.node.now());
        }
        let followed = self.followed.as_ref().map(|followed| followed.term);
        match leader {
            Ok(Some(leader))
                if Some(leader.term) > followed
                    && !self.calling
                    && self.refused_for(leader.term).is_zero() =>
            {
                self.call(leader);
            }
            Ok(Some(leader)) if Some(leader.term) == followed => self.complaint.clear(),
            Ok(Some(_)) => {}
            Ok(None) if followed.is_none() => self.complain("nobody leads".to_owned()),
            Ok(None) => {}
            Err(error) => self.complain(error),
        }
    }

    fn refused_for(&self, term: u64) -> Duration {
        self.refused.wait(term, self.args.node.now())
    }

    /// It is there, and won't have this TaskManager: told once, and tried again less and less often.
    fn refused(&mut self, term: u64, not: NotConnected) {
        let NotConnected { why, reason } = not;
        let now = self.args.node.now();
        self.refused.again(term, why == WhyNot::NameTaken, now);
        if self.complaint != reason {
            tracing::warn!(
                task_manager = %self.args.id, reason,
                "refused, and tried again after waits of up to {LONGEST:?}"
            );
            self.complaint = reason;
        }
    }

    /// Who has a leader goes on with it.
    fn complain(&mut self, reason: String) {
        if self.complaint != reason {
            let so = match self.followed {
                Some(_) => "follows the leader it has, and finds no other one",
                None => "no leader yet",
            };
            tracing::warn!(task_manager = %self.args.id, reason, "{so}");
            self.complaint = reason;
        }
    }

    /// Connects to a leader, off this actor.
    fn call(&mut self, leader: Leader) {
        let node = &self.args.node;
        let Some(remote) = &node.remote else {
            return;
        };
        let (term, address) = (leader.term, leader.candidate.address);
        if address.is_empty() {
            return self.complain(format!(
                "the leader of term {term} takes no TaskManagers: start it with the command jobmanager"
            ));
        }
        let purpose = Purpose::Control {
            id: self.args.id.clone(),
            life: self.args.life,
            term,
            storage: remote.storage.clone(),
        };
        let about = match purpose.bytes() {
            Ok(about) => about,
            Err(error) => return self.complain(error.to_string()),
        };
        let call = Call {
            address: address.clone(),
            credentials: remote.credentials.clone(),
            nonce: node.seed.nonce(),
            about,
        };
        tracing::debug!(task_manager = %self.args.id, term, address, "calls the leader");
        self.calling = true;
        let (limits, myself) = (remote.limits.clone(), self.myself.clone());
        node.runtimes.control.spawn(async move {
            let called = call.dial(&limits).await;
            let called = called.map(Box::new).map_err(|error| NotConnected {
                why: WhyNot::of(&error),
                reason: format!("the leader of term {term} at {address}: {}", error.line()),
            });
            let _ = myself.cast(LeaderLinkMessage::Called(term, called));
        });
    }

    async fn follow(
        &mut self,
        term: u64,
        connection: Connection,
    ) -> Result<(), ActorProcessingErr> {
        let Some(remote) = &self.args.node.remote else {
            return Ok(());
        };
        let (outbox, link) = link(&remote.limits);
        let saying = outbox.clone();
        let pass: Pass<ResourceManagerMessage> = Box::new(move |message| match message {
            ResourceManagerMessage::Register { registration, .. } => {
                say(&saying, &ToLeader::Register(registration));
            }
            ResourceManagerMessage::Heartbeat { incarnation, .. } => {
                say(&saying, &ToLeader::Heartbeat(incarnation));
            }
            // Only those two does a TaskManager say.
            _ => {}
        });
        let supervisor = self.myself.get_cell();
        let (resources, _) =
            Actor::spawn_linked(None, StandIn::default(), pass, supervisor).await?;
        let actor = self.myself.clone();
        link.run(connection, FromLeader { actor, term });
        self.leave();
        tracing::info!(task_manager = %self.args.id, term, "follows a leader");
        self.complaint.clear();
        self.refused = Refused::default();
        let found = TaskManagerMessage::LeaderFound(resources.clone());
        let _ = self.args.task_manager.cast(found);
        self.followed = Some(Followed {
            term,
            outbox,
            resources,
            masters: BTreeMap::new(),
        });
        Ok(())
    }

    /// Follows nobody any more.
    fn leave(&mut self) {
        if let Some(followed) = self.followed.take() {
            followed.outbox.close();
            followed.resources.stop(None);
            for (_, master) in followed.masters.into_values() {
                master.stop(None);
            }
            let _ = self.args.task_manager.cast(TaskManagerMessage::LeaderLost);
        }
    }

    fn closed(&mut self, term: u64, reason: &str) {
        if self
            .followed
            .as_ref()
            .is_some_and(|followed| followed.term == term)
        {
            tracing::warn!(task_manager = %self.args.id, term, reason, "the leader is lost, tasks go on");
            self.leave();
            self.look_now();
        }
    }

    async fn told(&mut self, term: u64, told: ToTaskManager) -> Result<(), ActorProcessingErr> {
        let myself = self.myself.clone();
        let Some(followed) = self
            .followed
            .as_mut()
            .filter(|followed| followed.term == term)
        else {
            return Ok(());
        };
        let message = match told {
            ToTaskManager::Command {
                job,
                epoch,
                command,
            } => TaskManagerMessage::Command {
                master: followed.master(job, epoch, &myself).await?,
                job,
                epoch,
                command,
            },
            ToTaskManager::ForgetJob(job) => {
                if let Some((_, master)) = followed.masters.remove(&job) {
                    master.stop(None);
                }
                TaskManagerMessage::ForgetJob(job)
            }
            ToTaskManager::Register => TaskManagerMessage::LeaderFound(followed.resources.clone()),
        };
        let _ = self.args.task_manager.cast(message);
        Ok(())
    }
}

impl Followed {
    /// The stand-in for a job's master. There is one for each job: an older master's last words are for its successor's
    /// stand-in, and are refused by their epoch.
    async fn master(
        &mut self,
        job: JobId,
        epoch: LeaderEpoch,
        supervisor: &ActorRef<LeaderLinkMessage>,
    ) -> Result<ActorRef<JobMasterMessage>, ActorProcessingErr> {
        if let Some((known, master)) = self.masters.get(&job)
            && *known >= epoch
        {
            return Ok(master.clone());
        }
        let outbox = self.outbox.clone();
        let pass: Pass<JobMasterMessage> = Box::new(move |message| {
            let news = match message {
                JobMasterMessage::Task { attempt, event } => News::Task(attempt, event),
                JobMasterMessage::Report(report) => News::Report(report),
                JobMasterMessage::Figures(figures) => News::Figures(figures),
                JobMasterMessage::TaskManagerLost(incarnation) => News::Lost(incarnation),
                // Only those does a TaskManager say.
                _ => return,
            };
            say(&outbox, &ToLeader::News { job, epoch, news });
        });
        let supervisor = supervisor.get_cell();
        let (master, _) = Actor::spawn_linked(None, StandIn::default(), pass, supervisor).await?;
        if let Some((_, older)) = self.masters.insert(job, (epoch, master.clone())) {
            older.stop(None);
        }
        Ok(master)
    }
}

/// What comes from a leader.
struct FromLeader {
    actor: ActorRef<LeaderLinkMessage>,
    term: u64,
}

impl Receive for FromLeader {
    fn frame(&mut self, payload: Bytes) -> Result<(), String> {
        let told = codec::decode(&payload).map_err(|error| error.to_string())?;
        let told = LeaderLinkMessage::Told(self.term, Box::new(told));
        self.actor.cast(told).map_err(|error| error.to_string())
    }

    fn closed(&mut self, reason: &str) {
        let closed = LeaderLinkMessage::Closed(self.term, reason.to_owned());
        let _ = self.actor.cast(closed);
    }
}
