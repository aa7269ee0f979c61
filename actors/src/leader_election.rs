//! Contends for leadership, renews it, gives it up. It only decides who *tries*: what an ex-leader may
//! still write is decided by the jobs' logs.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rivus_core::Failure;
use rivus_state::{Campaign, Candidate, ElectionError, Renewal};

use crate::context::{NodeContext, SHORTEST_LOOK};
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
    pub candidate: Candidate,
}

/// The actor.
pub struct LeaderElectionActor;

/// What the actor remembers.
pub struct LeaderElectionState {
    args: LeaderElectionArgs,
    myself: ActorRef<LeaderElectionMessage>,
    leading: Option<Leading>,
    campaign: Campaigning,
    /// Campaigns that failed since the last one that didn't.
    failures: u32,
    /// The one timer that counts.
    timer: u64,
}

/// One campaign at a time: a second one in the same name would win against the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Campaigning {
    No,
    UnderWay,
    /// And something has changed since it began.
    OnceMore,
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
            .spawned(ActorKind::LeaderElection, &args.candidate.name, cell);
        myself.cast(LeaderElectionMessage::Campaign)?;
        Ok(LeaderElectionState {
            args,
            myself,
            leading: None,
            campaign: Campaigning::No,
            failures: 0,
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
        let label = &self.args.candidate.name;
        let node = &self.args.node;
        node.pass(ActorKind::LeaderElection, label, step, &cell)
    }

    fn tick_later(&mut self, after: Duration) {
        self.timer += 1;
        let tick = LeaderElectionMessage::Tick { timer: self.timer };
        self.args.node.send_later(&self.myself, after, tick);
    }

    /// A third of the lease: a renewal may fail twice before the lease is lost.
    fn renewal_interval(&self) -> Duration {
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
                    let renewed = election.renew(&candidate.name, term, now).map_err(told);
                    let _ = myself.cast(LeaderElectionMessage::Renewed(renewed));
                }));
            }
            None if self.campaign != Campaigning::No => self.campaign = Campaigning::OnceMore,
            None => {
                self.pass(Step::Campaign)?;
                self.campaign = Campaigning::UnderWay;
                node.blocking.run(Box::new(move || {
                    let campaign = election.campaign(&candidate, now).map_err(told);
                    let _ = myself.cast(LeaderElectionMessage::Campaigned(campaign));
                }));
            }
        }
        Ok(())
    }

    fn campaigned(&mut self, result: Result<Campaign, String>) {
        let now = self.args.node.now();
        let once_more = std::mem::replace(&mut self.campaign, Campaigning::No);
        if result.is_ok() {
            self.failures = 0;
        }
        match result {
            Ok(Campaign::Leading { term }) => {
                let until = now + self.args.node.config.lease;
                self.leading = Some(Leading { term, until });
                let _ = self.args.root.cast(NodeMessage::Elected {
                    candidate: self.args.candidate.name.clone(),
                    term,
                });
                self.tick_later(self.renewal_interval());
            }
            Ok(Campaign::Following { .. }) if once_more == Campaigning::OnceMore => {
                self.tick_later(Duration::ZERO);
            }
            Ok(Campaign::Following { until, .. }) => {
                let wait = until
                    .saturating_sub(now)
                    .min(self.args.node.config.look_interval());
                self.tick_later(wait.max(SHORTEST_LOOK));
            }
            Err(error) => {
                self.failures += 1;
                // Once a second it would be all that a log says.
                if self.failures.is_power_of_two() {
                    let (candidate, failures) = (&self.args.candidate.name, self.failures);
                    tracing::warn!(%candidate, failures, %error, "can't campaign, again soon");
                }
                self.tick_later(self.renewal_interval());
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
        self.tick_later(self.renewal_interval());
    }

    /// A leader that can't renew ends itself.
    fn depose(&mut self, reason: &str) {
        if self.leading.take().is_some() {
            tracing::warn!(candidate = %self.args.candidate.name, reason, "leadership is lost");
            let _ = self.args.root.cast(NodeMessage::Deposed {
                candidate: self.args.candidate.name.clone(),
            });
        }
    }

    fn resign(&mut self) {
        let Some(Leading { term, .. }) = self.leading.take() else {
            return;
        };
        let node = &self.args.node;
        let election = Arc::clone(&node.election);
        let (candidate, root) = (self.args.candidate.name.clone(), self.args.root.clone());
        node.blocking.run(Box::new(move || {
            if let Err(error) = election.resign(&candidate, term) {
                let error = told(error);
                tracing::warn!(candidate, error, "can't resign, the lease will run out");
            }
            let _ = root.cast(NodeMessage::Vacant);
        }));
    }
}

/// An error with its causes, in one line.
fn told(error: ElectionError) -> String {
    Failure::user(&error.into()).message
}
