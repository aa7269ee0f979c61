//! TaskManagers and their tasks, as a leader sees them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rivus_core::job::{
    Manifest, SnapshotPart, SnapshotRef, SubtaskSnapshot, TaskPhase, TaskReport,
};
use rivus_core::{
    AttemptId, Barrier, CheckpointId, Failure, Incarnation, JobGraph, LeaderEpoch, Slot, SplitId,
    SubtaskId,
};

/// What a leader wants of a TaskManager.
#[derive(Debug, Clone)]
pub enum Command {
    Report,
    Deploy(Vec<(AttemptId, Slot)>, Option<Box<Manifest>>),
    Connect(Vec<AttemptId>),
    End(Vec<AttemptId>),
    Trigger(AttemptId, Barrier),
    Completed(CheckpointId),
    Aborted,
    AddSplits(AttemptId, Vec<SplitId>, bool),
}

/// What a task has to tell.
#[derive(Debug, Clone)]
pub enum TaskEvent {
    Ready,
    Drained,
    NeedsSplit,
    Acknowledged(CheckpointId, SubtaskSnapshot),
    Declined(CheckpointId),
    Committed(CheckpointId),
    Failed(Failure),
    Canceled,
}

/// What a TaskManager tells a leader.
#[derive(Debug, Clone)]
pub enum Told {
    Task(AttemptId, TaskEvent),
    Report(Vec<TaskReport>),
}

/// What a source's snapshot holds.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Splits read to the end, in order.
    pub read: Vec<SplitId>,
    /// Splits that have been given and not been read.
    unread: VecDeque<SplitId>,
    /// All splits that have ever been given.
    received: BTreeSet<SplitId>,
    /// Those of them that no completed checkpoint is known to hold, and the first that will.
    unsettled: BTreeMap<SplitId, Option<CheckpointId>>,
    no_more: bool,
}

/// Where snapshots lie, by name.
pub type Snapshots = BTreeMap<String, Content>;

pub struct TaskModel {
    pub report: TaskReport,
    is_source: bool,
    content: Content,
    asked: bool,
    /// The last barrier that it has passed on.
    barrier: CheckpointId,
}

pub struct TaskManagerModel {
    pub name: u32,
    pub incarnation: Incarnation,
    pub tasks: BTreeMap<AttemptId, TaskModel>,
    pub inbox: VecDeque<(LeaderEpoch, Command)>,
    pub outbox: VecDeque<(LeaderEpoch, Told)>,
    /// The highest epoch that it has heard of.
    pub epoch: LeaderEpoch,
}

impl TaskModel {
    pub fn is_alive(&self) -> bool {
        !self.report.phase.is_over()
    }

    pub fn received(&self) -> &BTreeSet<SplitId> {
        &self.content.received
    }

    fn runs(&self) -> bool {
        matches!(self.report.phase, TaskPhase::Running | TaskPhase::Drained)
    }
}

impl TaskManagerModel {
    /// Takes the next command. Returns what it was, if it was carried out.
    pub fn obey(&mut self, graph: &JobGraph, snapshots: &mut Snapshots) -> Option<Command> {
        let (epoch, command) = self.inbox.pop_front()?;
        if epoch < self.epoch {
            return None;
        }
        self.epoch = epoch;
        match command.clone() {
            Command::Report => {
                let reports = self.tasks.values().map(|task| task.report.clone());
                let told = Told::Report(reports.collect());
                self.outbox.push_back((epoch, told));
            }
            Command::Deploy(attempts, manifest) => {
                for (attempt, slot) in attempts {
                    self.start(attempt, slot, graph, manifest.as_deref(), snapshots);
                }
            }
            Command::Connect(attempts) => {
                for attempt in attempts {
                    self.connect(attempt);
                }
            }
            Command::End(attempts) => attempts.iter().for_each(|attempt| self.end(*attempt)),
            Command::Trigger(attempt, barrier) => self.snapshot(attempt, barrier.id, snapshots),
            Command::Completed(id) => {
                for task in self.tasks.values_mut() {
                    task.report.settle(id);
                    let unsettled = &mut task.content.unsettled;
                    unsettled.retain(|_, held| held.is_none_or(|first| first > id));
                }
                let running: Vec<AttemptId> = self.running().collect();
                for attempt in running {
                    self.tell(attempt, TaskEvent::Committed(id));
                }
            }
            Command::Aborted => {}
            // None have been found yet: it waits on.
            Command::AddSplits(_, splits, false) if splits.is_empty() => {}
            Command::AddSplits(attempt, splits, no_more) => {
                if let Some(task) = self.tasks.get_mut(&attempt).filter(|t| t.is_alive()) {
                    task.report.needs_split = false;
                    task.report.received.extend(&splits);
                    task.asked = false;
                    task.content.no_more |= no_more;
                    for split in splits {
                        if let Entry::Vacant(place) = task.content.unsettled.entry(split) {
                            place.insert(None);
                            let new = task.content.received.insert(split);
                            assert!(new, "{split:?} is given to {attempt} again");
                            task.content.unread.push_back(split);
                        }
                    }
                }
            }
        }
        Some(command)
    }

    fn running(&self) -> impl Iterator<Item = AttemptId> + '_ {
        let running = self.tasks.iter().filter(|(_, task)| task.runs());
        running.map(|(attempt, _)| *attempt)
    }

    fn start(
        &mut self,
        attempt: AttemptId,
        slot: Slot,
        graph: &JobGraph,
        manifest: Option<&Manifest>,
        snapshots: &Snapshots,
    ) {
        if slot.incarnation != self.incarnation || self.tasks.contains_key(&attempt) {
            return;
        }
        self.tasks
            .retain(|other, task| other.subtask != attempt.subtask || task.is_alive());
        let restored = manifest.map(|manifest| {
            let name = &manifest.subtasks[&attempt.subtask].parts[0].snapshot.name;
            // What it holds is settled.
            Content {
                unsettled: BTreeMap::new(),
                ..snapshots[name].clone()
            }
        });
        let task = TaskModel {
            report: TaskReport {
                attempt,
                slot,
                restored: manifest.map(|manifest| manifest.id),
                phase: TaskPhase::Building,
                acknowledged: None,
                declined: CheckpointId(0),
                needs_split: false,
                received: BTreeSet::new(),
            },
            is_source: graph.vertex(attempt.subtask.vertex).is_source,
            content: restored.unwrap_or_default(),
            asked: false,
            barrier: CheckpointId(0),
        };
        self.tasks.insert(attempt, task);
    }

    fn connect(&mut self, attempt: AttemptId) {
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return;
        };
        if task.report.phase == TaskPhase::Ready {
            task.report.phase = TaskPhase::Running;
            if let Some(id) = task.report.restored {
                // What the checkpoint holds may not have been committed before.
                self.tell(attempt, TaskEvent::Committed(id));
            }
        }
    }

    /// Ends an execution; the leader hears of it, again if it is over already.
    fn end(&mut self, attempt: AttemptId) {
        let event = match self.tasks.get(&attempt).map(|task| &task.report.phase) {
            Some(TaskPhase::Failed(failure)) => TaskEvent::Failed(failure.clone()),
            _ => TaskEvent::Canceled,
        };
        self.tell(attempt, event);
    }

    pub fn fail(&mut self, attempt: AttemptId) {
        let failure = Failure::attempt("boom");
        self.tell(attempt, TaskEvent::Failed(failure));
    }

    /// Gives up the barrier after the one it has passed on last.
    pub fn decline(&mut self, attempt: AttemptId, id: CheckpointId) {
        let task = &self.tasks[&attempt];
        if task.runs() && task.barrier < id && task.report.declined < id {
            self.tell(attempt, TaskEvent::Declined(id));
        }
    }

    /// Leaves a mark in the report and tells whoever leads.
    fn tell(&mut self, attempt: AttemptId, event: TaskEvent) {
        if let Some(task) = self.tasks.get_mut(&attempt) {
            let report = &mut task.report;
            match &event {
                TaskEvent::Ready => report.phase = TaskPhase::Ready,
                TaskEvent::Drained => report.phase = TaskPhase::Drained,
                TaskEvent::NeedsSplit => report.needs_split = true,
                TaskEvent::Acknowledged(id, snapshot) => {
                    report.acknowledged = Some((*id, snapshot.clone()));
                }
                TaskEvent::Declined(id) => report.declined = *id,
                TaskEvent::Committed(_) => {}
                TaskEvent::Failed(failure) => report.phase = TaskPhase::Failed(failure.clone()),
                TaskEvent::Canceled => report.phase = TaskPhase::Canceled,
            }
        }
        self.outbox
            .push_back((self.epoch, Told::Task(attempt, event)));
    }

    fn snapshot(&mut self, attempt: AttemptId, id: CheckpointId, snapshots: &mut Snapshots) {
        let Some(task) = self.tasks.get_mut(&attempt).filter(|task| task.runs()) else {
            return;
        };
        if id <= task.barrier || id <= task.report.declined {
            return;
        }
        task.barrier = id;
        let unsettled = task.content.unsettled.values_mut();
        unsettled.for_each(|held| *held = held.or(Some(id)));
        let name = format!("{id}/{attempt}");
        snapshots.insert(name.clone(), task.content.clone());
        let snapshot = SubtaskSnapshot {
            parts: vec![SnapshotPart::whole(SnapshotRef {
                name,
                len: 0,
                crc32c: 0,
            })],
            received: task.content.unsettled.keys().copied().collect(),
        };
        self.tell(attempt, TaskEvent::Acknowledged(id, snapshot));
    }

    /// A task takes a step of its own. `senders` are the last barriers of those it reads from, and whether
    /// they have drained; none if one of them isn't there.
    pub fn step(
        &mut self,
        attempt: AttemptId,
        senders: Option<&[(CheckpointId, bool)]>,
        snapshots: &mut Snapshots,
    ) {
        let Some(task) = self.tasks.get_mut(&attempt) else {
            return;
        };
        match task.report.phase {
            TaskPhase::Building => return self.tell(attempt, TaskEvent::Ready),
            TaskPhase::Running | TaskPhase::Drained => {}
            _ => return,
        }
        let running = task.report.phase == TaskPhase::Running;
        if task.is_source {
            if let Some(split) = task.content.unread.pop_front() {
                task.content.read.push(split);
            } else if task.content.no_more && running {
                self.tell(attempt, TaskEvent::Drained);
            } else if !task.content.no_more && !task.asked {
                task.asked = true;
                self.tell(attempt, TaskEvent::NeedsSplit);
            }
            return;
        }
        let Some(senders) = senders else {
            return;
        };
        let aligned = senders.iter().map(|(barrier, _)| *barrier).min();
        let drained = senders.iter().all(|(_, drained)| *drained);
        if running && drained {
            self.tell(attempt, TaskEvent::Drained);
        } else if let Some(id) = aligned {
            self.snapshot(attempt, id, snapshots);
        }
    }

    /// What a receiver sees of a task of this subtask.
    pub fn as_sender(&self, subtask: SubtaskId) -> Option<(CheckpointId, bool)> {
        let mut tasks = self.tasks.values();
        let task = tasks.find(|task| task.report.attempt.subtask == subtask && task.runs())?;
        let drained = task.report.phase == TaskPhase::Drained;
        Some((task.barrier, drained))
    }
}
