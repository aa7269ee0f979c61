//! Executions from their deployment to their end.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorRef};
use rivus_core::job::{JobOptions, Manifest, TaskPhase, TaskReport};
use rivus_core::{AttemptId, CheckpointId, Failure, JobGraph, Slot, SubtaskMetrics};

use tokio::runtime::Handle;

use super::{JobTasksMessage, JobTasksState, TaskEntry, TaskEvent};
use crate::subtask::{GivenUp, Restore, SubtaskActor, SubtaskArgs, SubtaskMessage};

impl JobTasksState {
    pub(super) fn start(
        &mut self,
        attempt: AttemptId,
        slot: Slot,
        graph: &Arc<JobGraph>,
        options: &Arc<JobOptions>,
        restore: Option<(&Manifest, bool)>,
    ) {
        let restored = restore.map(|(manifest, only_commit)| {
            let restored = Restore::of(manifest, attempt.subtask, graph);
            let only_commits = restored.only_commits || only_commit;
            Restore {
                only_commits,
                ..restored
            }
        });
        let checkpoint = restored.as_ref().map(|restore| restore.checkpoint);
        let Some(mut task) = self.new_task(attempt, slot, checkpoint) else {
            return;
        };
        let alive = Arc::new(());
        task.alive = Arc::downgrade(&alive);
        task.patience = options.cancellation_timeout;
        let runtimes = &self.args.node.runtimes;
        task.worker = runtimes.worker(self.args.job, graph, attempt.subtask);
        let worker = runtimes.data[task.worker].clone();
        let args = SubtaskArgs {
            node: Arc::clone(&self.args.node),
            job: self.args.job,
            graph: Arc::clone(graph),
            options: Arc::clone(options),
            attempt,
            restore: restored,
            parent: self.myself.clone(),
            metrics: Arc::clone(&task.metrics),
            given_up: task.given_up.clone(),
            _alive: alive,
        };
        self.tasks.insert(attempt, task);
        self.spawn(attempt, &worker, args);
    }

    /// An execution that is new here, instead of what went before it. None if it was meant for an earlier life of this
    /// process, or is here already: deployed again by a new leader.
    pub(super) fn new_task(
        &mut self,
        attempt: AttemptId,
        slot: Slot,
        restored: Option<CheckpointId>,
    ) -> Option<TaskEntry> {
        if slot.incarnation != self.args.incarnation || self.tasks.contains_key(&attempt) {
            return None;
        }
        // What went before is over, and the leader knows.
        self.tasks
            .retain(|other, task| other.subtask != attempt.subtask || !task.report.phase.is_over());
        Some(TaskEntry {
            actor: None,
            report: TaskReport {
                attempt,
                slot,
                restored,
                phase: TaskPhase::Building,
                acknowledged: None,
                declined: CheckpointId(0),
                needs_split: false,
                received: BTreeSet::new(),
            },
            metrics: Arc::new(SubtaskMetrics::default()),
            ending: None,
            patience: Duration::MAX,
            worker: 0,
            alive: Weak::new(),
            given_up: GivenUp::default(),
            complained: None,
        })
    }

    /// Starts an execution on its worker. It may be spoken to as soon as it has
    /// registered itself.
    fn spawn(&self, attempt: AttemptId, worker: &Handle, args: SubtaskArgs) {
        let myself = self.myself.clone();
        worker.spawn(async move {
            let spawned = Actor::spawn_linked(None, SubtaskActor, args, myself.get_cell()).await;
            let message = match spawned {
                Ok((actor, _)) => JobTasksMessage::Spawned { attempt, actor },
                Err(error) => JobTasksMessage::SpawnFailed {
                    attempt,
                    reason: error.to_string(),
                },
            };
            let _ = myself.cast(message);
        });
    }

    /// An execution's actor is there, unless its death has been heard of before.
    pub(super) fn spawned(&mut self, attempt: AttemptId, actor: ActorRef<SubtaskMessage>) {
        if let Some(event) = self.early_deaths.remove(&actor.get_id()) {
            self.over(attempt, event);
            return;
        }
        self.by_actor.insert(actor.get_id(), attempt);
        match self.tasks.get_mut(&attempt) {
            Some(task) if !task.report.phase.is_over() => {
                task.actor = Some(actor);
                self.end_if_asked(attempt);
            }
            // Given up while it was being started.
            _ => actor.kill(),
        }
    }

    /// The actor of an execution, which registers itself as it starts.
    pub(super) fn actor(&mut self, attempt: AttemptId) -> Option<ActorRef<SubtaskMessage>> {
        let task = self.tasks.get_mut(&attempt)?;
        if task.actor.is_none() {
            let actor = self.args.node.peers.get(&(self.args.job, attempt))?;
            self.by_actor.insert(actor.get_id(), attempt);
            task.actor = Some(actor);
        }
        task.actor.clone()
    }

    pub(super) fn send(&mut self, attempt: AttemptId, message: SubtaskMessage) {
        if let Some(actor) = self.actor(attempt) {
            let _ = actor.cast(message);
        }
    }

    /// Tells all executions that have got so far.
    pub(super) fn send_to(
        &mut self,
        hears: impl Fn(&TaskPhase) -> bool,
        message: impl Fn() -> SubtaskMessage,
    ) {
        let hearing: Vec<AttemptId> = self
            .tasks
            .iter()
            .filter(|(_, task)| hears(&task.report.phase))
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in hearing {
            self.send(attempt, message());
        }
    }

    /// Ends an execution because it can't work.
    pub(super) fn fail(&mut self, attempt: AttemptId, failure: Failure) {
        if let Some(actor) = self.actor(attempt) {
            actor.kill();
        }
        self.over(attempt, TaskEvent::Failed(failure));
    }

    /// Ends an execution because the leader says so.
    pub(super) fn end(&mut self, attempt: AttemptId) {
        let actor = self.actor(attempt);
        let now = self.args.node.now();
        match self.tasks.get_mut(&attempt) {
            Some(task) if !task.report.phase.is_over() => {
                task.ending.get_or_insert(now);
                // One that is being started is ended when it says its first word.
                if let Some(actor) = actor {
                    actor.stop(None);
                }
            }
            // Over already, or never here: the leader hears of it again.
            Some(task) => {
                let event = match &task.report.phase {
                    TaskPhase::Failed(failure) => TaskEvent::Failed(failure.clone()),
                    _ => TaskEvent::Canceled,
                };
                self.tell(attempt, event);
            }
            None => self.tell(attempt, TaskEvent::Canceled),
        }
    }

    /// Ends an execution whose end was asked for before its actor was there.
    pub(super) fn end_if_asked(&mut self, attempt: AttemptId) {
        let task = self.tasks.get(&attempt);
        if task.is_some_and(|task| task.ending.is_some())
            && let Some(actor) = self.actor(attempt)
        {
            actor.stop(None);
        }
    }

    pub(super) fn actor_over(&mut self, actor: &ActorCell, event: TaskEvent) {
        let Some(attempt) = self.by_actor.remove(&actor.get_id()) else {
            self.early_deaths.insert(actor.get_id(), event);
            return;
        };
        let task = self.tasks.get(&attempt);
        if task.is_some_and(|task| !task.report.phase.is_over()) {
            self.over(attempt, event);
        }
    }

    pub(super) fn over(&mut self, attempt: AttemptId, event: TaskEvent) {
        if let Some(task) = self.tasks.get(&attempt) {
            // Before the leader hears of it, who may clean up then.
            task.given_up.set();
        }
        self.args.node.peers.remove(&(self.args.job, attempt));
        self.note(attempt, &event);
        self.tell(attempt, event);
    }

    /// Whether an execution has ended.
    pub(super) fn is_over(&self, attempt: AttemptId) -> bool {
        let task = self.tasks.get(&attempt);
        task.is_some_and(|task| task.report.phase.is_over())
    }
}
