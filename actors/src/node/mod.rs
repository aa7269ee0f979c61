//! The root of a process's actors: its candidates for leadership, its JobManager while it leads, its
//! TaskManagers. What clients ask for is kept here until a leader has taken it up (`clients.rs`).

mod clients;

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use rivus_core::job::{JobOutcome, SavepointRequest};
use rivus_core::{JobId, TaskManagerId};
use rivus_state::Candidate;

pub use self::clients::Asked;
use self::clients::Client;
use crate::context::NodeContext;
use crate::dispatcher::Submission;
use crate::job_manager::{Intensity, JobManagerActor, JobManagerArgs, JobManagerMessage};
use crate::leader_election::{LeaderElectionActor, LeaderElectionArgs, LeaderElectionMessage};
use crate::remote::Caller;
use crate::resource_manager::ResourceManagerMessage;
use crate::task_manager::{TaskManagerActor, TaskManagerArgs, TaskManagerMessage};
use crate::view::JobView;

/// What the actor is told.
pub enum NodeMessage {
    /// Run a job, whose program has been registered.
    Submit {
        /// Its id.
        job: JobId,
        /// What is asked for.
        submission: Submission,
    },
    /// A job was refused, or could not be logged: there is none.
    SubmitFailed {
        /// The job.
        job: JobId,
        /// Why.
        error: String,
    },
    /// End a job.
    Cancel(JobId),
    /// Make a savepoint of a job.
    Savepoint(JobId, SavepointRequest),
    /// Whoever asked for something is gone: what no leader has taken up yet is not to be done later.
    Withdraw(JobId, Asked),
    /// A candidate of this process has been elected.
    Elected {
        /// Which.
        candidate: String,
        /// Its term.
        term: u64,
    },
    /// A candidate of this process leads no more.
    Deposed {
        /// Which.
        candidate: String,
    },
    /// Nobody leads: campaign now.
    Vacant,
    /// The JobManager is at work.
    Leading {
        /// Its term.
        term: u64,
        /// Its actor.
        manager: ActorRef<JobManagerMessage>,
        /// Where TaskManagers register.
        resource_manager: ActorRef<ResourceManagerMessage>,
    },
    /// A job at this moment.
    View(Box<JobView>),
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// How it ended.
        outcome: JobOutcome,
        /// Whether it has just ended, and hadn't before this leader came.
        is_news: bool,
    },
    /// A TaskManager of another process has connected.
    TaskManagerCalled(Box<Caller>),
    /// Kill the leading JobManager, as a test or a demonstration.
    KillLeader,
}

/// The actor.
pub struct NodeActor;

struct Leader {
    term: u64,
    candidate: String,
    manager: ActorRef<JobManagerMessage>,
    /// Known once the JobManager is at work.
    resource_manager: Option<ActorRef<ResourceManagerMessage>>,
}

/// What the actor remembers.
pub struct NodeState {
    node: Arc<NodeContext>,
    myself: ActorRef<NodeMessage>,
    candidates: BTreeMap<String, ActorRef<LeaderElectionMessage>>,
    task_managers: BTreeMap<TaskManagerId, ActorRef<TaskManagerMessage>>,
    leader: Option<Leader>,
    clients: BTreeMap<JobId, Client>,
    deaths: Intensity,
}

impl Actor for NodeActor {
    type Msg = NodeMessage;
    type State = NodeState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<NodeMessage>,
        node: Arc<NodeContext>,
    ) -> Result<NodeState, ActorProcessingErr> {
        let mut state = NodeState {
            myself,
            candidates: BTreeMap::new(),
            task_managers: BTreeMap::new(),
            leader: None,
            clients: BTreeMap::new(),
            deaths: Intensity::default(),
            node,
        };
        for index in 0..state.node.config.task_managers {
            let id = TaskManagerId(format!("{}tm-{index}", state.node.config.name));
            state.start_task_manager(id).await?;
        }
        for index in 0..state.node.config.job_managers {
            let candidate = format!("{}jm-{index}", state.node.config.name);
            state.start_candidate(candidate).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<NodeMessage>,
        message: NodeMessage,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeMessage::Submit { job, submission } => {
                state.clients.insert(job, Client::of(submission));
                state.ask_leader();
            }
            NodeMessage::SubmitFailed { job, error } => {
                let failure = rivus_core::Failure::job(error);
                state.job_ended(job, JobOutcome::Failed(failure), true);
                state.node.views.never_was(job);
            }
            NodeMessage::Cancel(job) => {
                state.client(job, Client::cancel);
            }
            NodeMessage::Savepoint(job, request) => {
                state.client(job, |client| client.savepoint(request));
            }
            NodeMessage::Withdraw(job, asked) => state.withdraw(job, asked),
            NodeMessage::Elected { candidate, term } => state.elected(candidate, term).await?,
            NodeMessage::Deposed { candidate } => state.deposed(&candidate),
            NodeMessage::Vacant => {
                for candidate in state.candidates.values() {
                    let _ = candidate.cast(LeaderElectionMessage::Campaign);
                }
            }
            NodeMessage::Leading {
                term,
                manager,
                resource_manager,
            } => state.leading(term, &manager, resource_manager),
            NodeMessage::View(view) => state.view(*view),
            NodeMessage::JobEnded {
                job,
                outcome,
                is_news,
            } => state.job_ended(job, outcome, is_news),
            NodeMessage::TaskManagerCalled(caller) => state.task_manager_called(caller),
            NodeMessage::KillLeader => {
                if let Some(leader) = &state.leader {
                    leader.manager.kill();
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<NodeMessage>,
        event: SupervisionEvent,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                tracing::warn!(%error, "a child of the node failed");
                state.child_ended(&actor).await?;
            }
            SupervisionEvent::ActorTerminated(actor, _, _) => state.child_ended(&actor).await?,
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl NodeState {
    async fn start_task_manager(&mut self, id: TaskManagerId) -> Result<(), ActorProcessingErr> {
        let args = TaskManagerArgs {
            node: Arc::clone(&self.node),
            id: id.clone(),
        };
        let supervisor = self.myself.get_cell();
        let (actor, _) = Actor::spawn_linked(None, TaskManagerActor, args, supervisor).await?;
        if let Some(Leader {
            resource_manager: Some(resource_manager),
            ..
        }) = &self.leader
        {
            let found = TaskManagerMessage::LeaderFound(resource_manager.clone());
            let _ = actor.cast(found);
        }
        self.task_managers.insert(id, actor);
        Ok(())
    }

    async fn start_candidate(&mut self, candidate: String) -> Result<(), ActorProcessingErr> {
        let args = LeaderElectionArgs {
            node: Arc::clone(&self.node),
            root: self.myself.clone(),
            candidate: Candidate {
                name: candidate.clone(),
                address: self.node.config.address.clone(),
                commands: self.node.config.commands.clone(),
            },
        };
        let supervisor = self.myself.get_cell();
        let (actor, _) = Actor::spawn_linked(None, LeaderElectionActor, args, supervisor).await?;
        self.candidates.insert(candidate, actor);
        Ok(())
    }

    async fn elected(&mut self, candidate: String, term: u64) -> Result<(), ActorProcessingErr> {
        self.tell_who_leads(0);
        if let Some(old) = self.leader.take() {
            // Two candidates of one process: the later term is right, and the log will say so too.
            old.manager.kill();
        }
        tracing::info!(candidate, term, "leads");
        self.node.stand.begins(term);
        let args = JobManagerArgs {
            node: Arc::clone(&self.node),
            root: self.myself.clone(),
            term,
        };
        let supervisor = self.myself.get_cell();
        match Actor::spawn_linked(None, JobManagerActor, args, supervisor).await {
            Ok((manager, _)) => {
                self.leader = Some(Leader {
                    term,
                    candidate,
                    manager,
                    resource_manager: None,
                });
            }
            Err(error) => {
                tracing::warn!(%error, candidate, "the JobManager did not start");
                self.leads_no_more();
                self.resign(&candidate);
            }
        }
        Ok(())
    }

    fn deposed(&mut self, candidate: &str) {
        if self
            .leader
            .as_ref()
            .is_some_and(|leader| leader.candidate == candidate)
            && let Some(leader) = self.leader.take()
        {
            leader.manager.kill();
            self.leads_no_more();
        }
    }

    /// Passed on to whoever leads; if nobody does any more, it is closed, and its TaskManager looks on.
    fn task_manager_called(&self, caller: Box<Caller>) {
        if let Some(leader) = &self.leader {
            let called = JobManagerMessage::TaskManagerCalled(caller);
            let _ = leader.manager.cast(called);
        }
    }

    fn leads_no_more(&mut self) {
        self.node.stand.steps_down();
        self.drop_withdrawn();
        self.tell_who_leads(0);
        for task_manager in self.task_managers.values() {
            let _ = task_manager.cast(TaskManagerMessage::LeaderLost);
        }
    }

    /// TaskManagers of other processes are let in only while this one leads.
    fn tell_who_leads(&self, term: u64) {
        if let Some(remote) = &self.node.remote {
            remote.lead(term);
        }
    }

    fn resign(&self, candidate: &str) {
        if let Some(election) = self.candidates.get(candidate) {
            let _ = election.cast(LeaderElectionMessage::Resign);
        }
    }

    fn leading(
        &mut self,
        term: u64,
        manager: &ActorRef<JobManagerMessage>,
        resource_manager: ActorRef<ResourceManagerMessage>,
    ) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        if leader.term != term || leader.manager.get_id() != manager.get_id() {
            return;
        }
        leader.resource_manager = Some(resource_manager.clone());
        self.tell_who_leads(term);
        for task_manager in self.task_managers.values() {
            let found = TaskManagerMessage::LeaderFound(resource_manager.clone());
            let _ = task_manager.cast(found);
        }
        self.ask_leader();
    }

    fn job_ended(&mut self, job: JobId, outcome: JobOutcome, is_news: bool) {
        self.node.programs.remove(job);
        self.node.led.remove(&job);
        self.node.runtimes.forget(job);
        self.node.drop_copies(self.node.local.forget(job));
        self.clients.remove(&job);
        let at = is_news.then(|| self.node.clock.unix_millis());
        self.node.views.ended(job, outcome, at);
    }

    async fn child_ended(&mut self, actor: &ActorCell) -> Result<(), ActorProcessingErr> {
        let id = actor.get_id();
        let is_leader = |leader: &Leader| leader.manager.get_id() == id;
        if self.leader.as_ref().is_some_and(is_leader) {
            if self.deaths.exceeded(self.node.now()) {
                return Err("leading JobManagers die too often".into());
            }
            if let Some(leader) = self.leader.take() {
                tracing::warn!(
                    term = leader.term,
                    "the leading JobManager died, tasks go on"
                );
                self.leads_no_more();
                self.resign(&leader.candidate);
            }
            return Ok(());
        }
        let candidate = self
            .candidates
            .iter()
            .find(|(_, candidate)| candidate.get_id() == id)
            .map(|(name, _)| name.clone());
        let task_manager = self
            .task_managers
            .iter()
            .find(|(_, task_manager)| task_manager.get_id() == id)
            .map(|(id, _)| id.clone());
        if candidate.is_none() && task_manager.is_none() {
            return Ok(());
        }
        if self.deaths.exceeded(self.node.now()) {
            return Err("children of the node die too often".into());
        }
        if let Some(candidate) = candidate {
            // Nobody renews the lease of a leader in its name any more.
            self.deposed(&candidate);
            self.start_candidate(candidate).await?;
        }
        if let Some(task_manager) = task_manager {
            if let Some(leader) = &self.leader {
                let died = JobManagerMessage::TaskManagerDied(id);
                let _ = leader.manager.cast(died);
            }
            self.start_task_manager(task_manager).await?;
        }
        Ok(())
    }
}

impl Drop for NodeState {
    fn drop(&mut self) {
        self.node.views.close();
    }
}
