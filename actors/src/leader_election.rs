//! Contends for leadership, renews it, gives it up. It only decides who *tries*: what an ex-leader may
//! still write is decided by the jobs' logs.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_state::{Campaign, Renewal};

use crate::context::NodeContext;
use crate::node::NodeMessage;
use crate::probe::{ActorKind, Step};

/// What the actor is told.
pub enum LeaderElectionMessage {
    /// Time to campaign, or to renew; an older timer's is ignored.
    Tick {
        /// Which timer.
        timer: u64,
    },
    /// Nobody leads: campaign at once.
    Campaign,
    /// How a campaign went; `Err` if the store can't be reached.
    Campaigned(Result<Campaign, String>),
    /// How a renewal went.
    Renewed(Result<Renewal, String>),
    /// The leader in this candidate's name is gone: give the lease up.
    Resign,
}

/// What the actor is started with.
pub struct LeaderElectionArgs {
    /// The process.
    pub node: Arc<NodeContext>,
    /// Its supervisor.
    pub root: ActorRef<NodeMessage>,
    /// In whose name it contends.
    pub candidate: String,
}

/// The actor.
pub struct LeaderElectionActor;

/// What the actor remembers.
pub struct LeaderElectionState {
    args: LeaderElectionArgs,
    myself: ActorRef<LeaderElectionMessage>,
    leading: Option<Leading>,
    /// The one timer that counts.
    timer: u64,
}

struct Leading {
    term: u64,
    until: Duration,
}

impl Actor for LeaderElectionActor {
    type Msg = LeaderElectionMessage;
    type State = LeaderElectionState;
    type Arguments = LeaderElectionArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<LeaderElectionMessage>,
        args: LeaderElectionArgs,
    ) -> Result<LeaderElectionState, ActorProcessingErr> {
        let cell = myself.get_cell();
        args.node
            .spawned(ActorKind::LeaderElection, &args.candidate, cell);
        myself.cast(LeaderElectionMessage::Campaign)?;
        Ok(LeaderElectionState {
            args,
            myself,
            leading: None,
            timer: 0,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<LeaderElectionMessage>,
        message: LeaderElectionMessage,
        state: &mut LeaderElectionState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LeaderElectionMessage::Tick { timer } => {
                if timer == state.timer {
                    state.tick()?;
                }
            }
            LeaderElectionMessage::Campaign => {
                if state.leading.is_none() {
                    state.tick()?;
                }
            }
            LeaderElectionMessage::Campaigned(result) => state.campaigned(result),
            LeaderElectionMessage::Renewed(result) => state.renewed(result),
            LeaderElectionMessage::Resign => state.resign(),
        }
        Ok(())
    }
}

impl LeaderElectionState {
    fn pass(&self, step: Step) -> Result<(), ActorProcessingErr> {
        let cell = self.myself.get_cell();
        let label = &self.args.candidate;
        let node = &self.args.node;
        node.pass(ActorKind::LeaderElection, label, step, &cell)
    }

    fn tick_later(&mut self, after: Duration) {
        self.timer += 1;
        let tick = LeaderElectionMessage::Tick { timer: self.timer };
        self.args.node.send_later(&self.myself, after, tick);
    }

    /// A third of the lease: a renewal may fail twice before the lease is lost.
    fn rhythm(&self) -> Duration {
        self.args.node.config.lease / 3
    }

    fn tick(&mut self) -> Result<(), ActorProcessingErr> {
        let node = &self.args.node;
        let (election, myself) = (Arc::clone(&node.election), self.myself.clone());
        let (candidate, now) = (self.args.candidate.clone(), node.now());
        match &self.leading {
            Some(leading) => {
                self.pass(Step::Renew)?;
                let term = leading.term;
                node.blocking.run(Box::new(move || {
                    let renewed = election.renew(&candidate, term, now);
                    let renewed = renewed.map_err(|error| error.to_string());
                    let _ = myself.cast(LeaderElectionMessage::Renewed(renewed));
                }));
            }
            None => {
                self.pass(Step::Campaign)?;
                node.blocking.run(Box::new(move || {
                    let campaign = election.campaign(&candidate, now);
                    let campaign = campaign.map_err(|error| error.to_string());
                    let _ = myself.cast(LeaderElectionMessage::Campaigned(campaign));
                }));
            }
        }
        Ok(())
    }

    fn campaigned(&mut self, result: Result<Campaign, String>) {
        let now = self.args.node.now();
        match result {
            Ok(Campaign::Leading { term }) => {
                let until = now + self.args.node.config.lease;
                self.leading = Some(Leading { term, until });
                let _ = self.args.root.cast(NodeMessage::Elected {
                    candidate: self.args.candidate.clone(),
                    term,
                });
                self.tick_later(self.rhythm());
            }
            Ok(Campaign::Following { until, .. }) => {
                let wait = until.saturating_sub(now).min(self.rhythm());
                self.tick_later(wait.max(Duration::from_millis(10)));
            }
            Err(error) => {
                tracing::warn!(candidate = %self.args.candidate, %error, "can't campaign");
                self.tick_later(self.rhythm());
            }
        }
    }

    fn renewed(&mut self, result: Result<Renewal, String>) {
        let now = self.args.node.now();
        match result {
            Ok(Renewal::Renewed { until }) => {
                if let Some(leading) = &mut self.leading {
                    leading.until = until;
                }
            }
            Ok(Renewal::Lost { .. }) => self.depose("another candidate leads"),
            Err(error) if self.leading.as_ref().is_some_and(|l| l.until <= now) => {
                self.depose(&error);
            }
            Err(_) => {}
        }
        self.tick_later(self.rhythm());
    }

    /// A leader that can't renew ends itself.
    fn depose(&mut self, reason: &str) {
        if self.leading.take().is_some() {
            tracing::warn!(candidate = %self.args.candidate, reason, "leadership is lost");
            let _ = self.args.root.cast(NodeMessage::Deposed {
                candidate: self.args.candidate.clone(),
            });
        }
    }

    fn resign(&mut self) {
        let Some(Leading { term, .. }) = self.leading.take() else {
            return;
        };
        let node = &self.args.node;
        let election = Arc::clone(&node.election);
        let (candidate, root) = (self.args.candidate.clone(), self.args.root.clone());
        node.blocking.run(Box::new(move || {
            if let Err(error) = election.resign(&candidate, term) {
                tracing::warn!(candidate, %error, "can't resign, the lease will run out");
            }
            let _ = root.cast(NodeMessage::Vacant);
        }));
    }
}
