//! A leader: the two machines, and what their actors would do for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rivus_core::job::{
    CheckpointAction, CheckpointEvent, CheckpointMachine, JobAction, JobEvent, JobMachine,
    JobReport, JobState, JobTimer, LogEntry, Manifest, Tasks,
};
use rivus_core::{
    AttemptId, Barrier, CheckpointId, Failure, Incarnation, JobGraph, TaskManagerId, VertexId,
};

use crate::tasks::{Command, TaskEvent, Told};

/// From the coordinator to its master, in order.
pub enum Said {
    Append(LogEntry),
    Trigger(AttemptId, Barrier),
    Completed(CheckpointId),
    Aborted,
    ManifestStored(Manifest),
    Quiesced,
    JobDone,
    FailJob(Failure),
}

/// What the coordinator was told last.
enum Checkpointing {
    Quiet,
    On(Tasks),
    Quiescing,
    Recollecting(Tasks),
}

/// Work that is done off the actors.
pub enum Blocking {
    FindSplits(VertexId),
    DiscoverSplits(VertexId),
    ReadManifest(CheckpointId),
    /// By which coordinator.
    StoreManifest(u32, Manifest),
}

pub struct Coordinator {
    number: u32,
    machine: CheckpointMachine,
    tasks: Tasks,
    inbox: VecDeque<CheckpointEvent>,
    tick_at: Option<Duration>,
}

pub struct Leader {
    pub machine: JobMachine,
    pub coordinator: Coordinator,
    checkpointing: Checkpointing,
    /// Entries that wait to be written.
    pub queue: VecDeque<LogEntry>,
    /// The entry that has been written, and of which nobody has heard.
    pub written: Option<LogEntry>,
    pub said: VecDeque<Said>,
    pub blocking: Vec<Blocking>,
    timers: Vec<(Duration, JobTimer)>,
    /// TaskManagers that have joined.
    pub joined: BTreeSet<Incarnation>,
    /// Slots that are wanted.
    pub wanted: Option<usize>,
    expected: BTreeSet<Incarnation>,
    reports: BTreeMap<Incarnation, JobReport>,
    pub decided: bool,
    pub ended: bool,
    /// To be sent.
    pub commands: Vec<(Incarnation, Command)>,
    sources: BTreeSet<VertexId>,
}

impl Leader {
    /// After FENCE and REPLAY.
    pub fn new(state: JobState, graph: &JobGraph, now: Duration) -> Self {
        let expected = match state.outcome {
            Some(_) => BTreeSet::new(),
            None => {
                let executions = state.executions.values();
                executions.map(|e| e.slot.incarnation).collect()
            }
        };
        let sources = graph.vertices.iter().filter(|vertex| vertex.is_source);
        Self {
            coordinator: Coordinator::new(&state, 0, now),
            machine: JobMachine::new(state, graph, Box::new(|| 0.5)),
            checkpointing: Checkpointing::Quiet,
            queue: VecDeque::new(),
            written: None,
            said: VecDeque::new(),
            blocking: Vec::new(),
            timers: Vec::new(),
            joined: BTreeSet::new(),
            wanted: None,
            expected,
            reports: BTreeMap::new(),
            decided: false,
            ended: false,
            commands: Vec::new(),
            sources: sources.map(|vertex| vertex.id).collect(),
        }
    }

    fn command_all(&mut self, command: &Command) {
        for incarnation in &self.joined {
            self.commands.push((*incarnation, command.clone()));
        }
    }

    fn command_at(&mut self, attempt: AttemptId, command: Command) {
        if let Some(execution) = self.machine.state().executions.get(&attempt.subtask) {
            let incarnation = execution.slot.incarnation;
            if self.joined.contains(&incarnation) {
                self.commands.push((incarnation, command));
            }
        }
    }

    /// Lets the machine decide; returns what it decided after having it done.
    pub fn decide(&mut self, event: JobEvent, now: Duration) -> Vec<JobAction> {
        let actions = self.machine.on_event(event, now);
        for action in actions.clone() {
            self.act(action, now);
        }
        actions
    }

    fn act(&mut self, action: JobAction, now: Duration) {
        match action {
            JobAction::Append(entry) => self.queue.push_back(entry),
            JobAction::FindSplits(source) => self.blocking.push(Blocking::FindSplits(source)),
            JobAction::DiscoverSplits(source) => {
                self.blocking.push(Blocking::DiscoverSplits(source));
            }
            JobAction::RequestSlots { count, .. } => self.wanted = Some(count),
            JobAction::ReadManifest(id) => self.blocking.push(Blocking::ReadManifest(id)),
            JobAction::Deploy {
                attempts, restore, ..
            } => {
                let manifest = self.machine.manifest().cloned().map(Box::new);
                let manifest = manifest.filter(|manifest| Some(manifest.id) == restore);
                assert_eq!(manifest.is_some(), restore.is_some(), "no manifest");
                for incarnation in self.joined.clone() {
                    let mut here = attempts.clone();
                    here.retain(|(_, slot)| slot.incarnation == incarnation);
                    let command = Command::Deploy(here, manifest.clone());
                    self.commands.push((incarnation, command));
                }
            }
            JobAction::Run(attempts) => self.command_all(&Command::Connect(attempts)),
            JobAction::Cancel(attempts) | JobAction::Finish(attempts) => {
                self.command_all(&Command::End(attempts));
            }
            JobAction::AssignSplits {
                attempt,
                splits,
                no_more,
            } => {
                let splits = splits.iter().map(|split| split.id).collect();
                self.command_at(attempt, Command::AddSplits(attempt, splits, no_more));
            }
            JobAction::SetTimer(timer, wait) => self.timers.push((now + wait, timer)),
            JobAction::StartCheckpoints { tasks, reports } => {
                self.checkpointing = Checkpointing::On(tasks.clone());
                self.coordinate(CheckpointEvent::Started { tasks, reports });
            }
            JobAction::Quiesce => {
                self.checkpointing = Checkpointing::Quiescing;
                self.coordinate(CheckpointEvent::Quiesce);
            }
            JobAction::AllDrained => self.coordinate(CheckpointEvent::AllDrained),
            JobAction::PrepareRescale(_) | JobAction::BeginAgain => {
                unreachable!("nobody rescales the model's job")
            }
            JobAction::Ended(_) => self.ended = true,
        }
    }

    fn coordinate(&mut self, event: CheckpointEvent) {
        self.coordinator.inbox.push_back(event);
    }

    /// The written entry is heard of.
    pub fn appended(&mut self, now: Duration) {
        let Some(entry) = self.written.take() else {
            return;
        };
        self.decide(JobEvent::Appended(entry.clone()), now);
        if let LogEntry::CheckpointTriggered { .. }
        | LogEntry::CheckpointCompleted { .. }
        | LogEntry::CheckpointAborted { .. }
        | LogEntry::CheckpointCommitted { .. }
        | LogEntry::CancelRequested
        | LogEntry::JobFailing { .. } = entry
        {
            self.coordinate(CheckpointEvent::Appended(entry));
        }
    }

    // --- the takeover ---

    pub fn joins(&mut self, incarnation: Incarnation) {
        self.joined.insert(incarnation);
        self.commands.push((incarnation, Command::Report));
    }

    pub fn lost(&mut self, incarnation: Incarnation, now: Duration) {
        if self.decided {
            self.decide(JobEvent::TaskManagerLost(incarnation), now);
            self.recollect_if_complete();
            return;
        }
        self.joined.remove(&incarnation);
        self.expected.remove(&incarnation);
        self.reports.remove(&incarnation);
    }

    /// Whether DECIDE may begin: everybody has reported, or nobody is waited for any more.
    pub fn collected(&self, impatient: bool) -> bool {
        !self.decided && (self.expected.is_empty() || impatient)
    }

    /// Who has been expected and has not reported.
    pub fn expected(&self) -> &BTreeSet<Incarnation> {
        &self.expected
    }

    /// DECIDE. Returns the reports, and what was decided.
    pub fn take_over(&mut self, now: Duration) -> (Vec<JobReport>, Vec<JobAction>) {
        self.decided = true;
        self.expected.clear();
        let reports: Vec<JobReport> = std::mem::take(&mut self.reports).into_values().collect();
        let actions = self.decide(JobEvent::Collected(reports.clone()), now);
        (reports, actions)
    }

    pub fn told(&mut self, incarnation: Incarnation, told: Told, now: Duration) {
        match told {
            Told::Report(tasks) => {
                let report = JobReport {
                    task_manager: TaskManagerId("t".into()),
                    incarnation,
                    tasks,
                };
                self.expected.remove(&incarnation);
                self.reports.insert(incarnation, report.clone());
                if self.decided {
                    self.decide(JobEvent::LateReport(report), now);
                    self.recollect_if_complete();
                }
            }
            Told::Task(attempt, event) => {
                let event = match event {
                    TaskEvent::Ready => JobEvent::TaskReady(attempt),
                    TaskEvent::Drained => JobEvent::TaskDrained(attempt),
                    TaskEvent::NeedsSplit => JobEvent::NeedsSplit(attempt),
                    TaskEvent::Failed(failure) => JobEvent::TaskFailed(attempt, failure),
                    TaskEvent::Canceled => JobEvent::TaskCanceled(attempt),
                    TaskEvent::Acknowledged(id, snapshot) => {
                        return self.coordinate(CheckpointEvent::Acknowledged {
                            attempt,
                            id,
                            snapshot,
                        });
                    }
                    TaskEvent::Declined(id) => {
                        return self.coordinate(CheckpointEvent::Declined {
                            attempt,
                            id,
                            reason: "slow".into(),
                        });
                    }
                    TaskEvent::Committed(id) => {
                        return self.coordinate(CheckpointEvent::Committed { attempt, id });
                    }
                };
                self.decide(event, now);
            }
        }
    }

    // --- the coordinator ---

    /// The coordinator dies; another goes on from the log and from fresh reports.
    pub fn restart_coordinator(&mut self, now: Duration) {
        let number = self.coordinator.number + 1;
        self.coordinator = Coordinator::new(self.machine.state(), number, now);
        match std::mem::replace(&mut self.checkpointing, Checkpointing::Quiet) {
            Checkpointing::Quiet => {}
            Checkpointing::Quiescing => {
                self.checkpointing = Checkpointing::Quiescing;
                self.coordinate(CheckpointEvent::Quiesce);
            }
            Checkpointing::On(tasks) | Checkpointing::Recollecting(tasks) => {
                self.checkpointing = Checkpointing::Recollecting(tasks);
                self.reports.clear();
                let executions = self.machine.state().executions.values();
                self.expected = executions.map(|e| e.slot.incarnation).collect();
                self.command_all(&Command::Report);
            }
        }
    }

    fn recollect_if_complete(&mut self) {
        if let Checkpointing::Recollecting(tasks) = &self.checkpointing
            && self.expected.is_empty()
        {
            let tasks = tasks.clone();
            let reports = std::mem::take(&mut self.reports).into_values();
            let reports = reports.flat_map(|report| report.tasks).collect();
            self.checkpointing = Checkpointing::On(tasks.clone());
            self.coordinate(CheckpointEvent::Started { tasks, reports });
        }
    }

    /// The coordinator takes its next message.
    pub fn coordinator_steps(&mut self, now: Duration) {
        if let Some(event) = self.coordinator.inbox.pop_front() {
            if let CheckpointEvent::Started { tasks, .. } = &event {
                self.coordinator.tasks.clone_from(tasks);
            }
            self.coordinator_decides(event, now);
        }
    }

    fn coordinator_decides(&mut self, event: CheckpointEvent, now: Duration) {
        for action in self.coordinator.machine.on_event(event, now) {
            let said = match action {
                CheckpointAction::Append(entry) => Said::Append(entry),
                CheckpointAction::Trigger(barrier) => {
                    for (subtask, attempt) in &self.coordinator.tasks {
                        if self.sources.contains(&subtask.vertex) {
                            self.said.push_back(Said::Trigger(*attempt, barrier));
                        }
                    }
                    continue;
                }
                CheckpointAction::StoreManifest(manifest) => {
                    let work = Blocking::StoreManifest(self.coordinator.number, manifest);
                    self.blocking.push(work);
                    continue;
                }
                CheckpointAction::AnnounceCompleted(id) => Said::Completed(id),
                CheckpointAction::AnnounceAborted(_) => Said::Aborted,
                CheckpointAction::Quiesced => Said::Quiesced,
                CheckpointAction::JobDone => Said::JobDone,
                CheckpointAction::FailJob(failure) => Said::FailJob(failure),
            };
            self.said.push_back(said);
        }
        if let Some(wait) = self.coordinator.machine.next_tick(now) {
            let at = now + wait;
            if self.coordinator.tick_at.is_none_or(|due| due > at) {
                self.coordinator.tick_at = Some(at);
            }
        }
    }

    /// The master takes the coordinator's next message.
    pub fn hears_coordinator(&mut self, now: Duration) {
        match self.said.pop_front() {
            None => {}
            Some(Said::Append(entry)) => self.queue.push_back(entry),
            Some(Said::Trigger(attempt, barrier)) => {
                self.command_at(attempt, Command::Trigger(attempt, barrier));
            }
            Some(Said::Completed(id)) => self.command_all(&Command::Completed(id)),
            Some(Said::Aborted) => self.command_all(&Command::Aborted),
            Some(Said::ManifestStored(manifest)) => self.machine.set_manifest(manifest),
            Some(Said::Quiesced) => {
                self.checkpointing = Checkpointing::Quiet;
                self.decide(JobEvent::Quiesced, now);
            }
            Some(Said::JobDone) => {
                self.decide(JobEvent::JobDone, now);
            }
            Some(Said::FailJob(failure)) => {
                self.decide(JobEvent::FailJob(failure), now);
            }
        }
    }

    /// The manifest is in the storage.
    pub fn manifest_stored(&mut self, by: u32, manifest: Manifest) {
        let id = manifest.id;
        self.said.push_back(Said::ManifestStored(manifest));
        if by == self.coordinator.number {
            self.coordinate(CheckpointEvent::ManifestStored { id, error: None });
        }
    }

    pub fn has_messages(&self) -> bool {
        !self.coordinator.inbox.is_empty()
    }

    /// Timers that are due go off.
    pub fn time_passes(&mut self, now: Duration) {
        let (due, later) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.timers = later;
        let due: Vec<(Duration, JobTimer)> = due;
        for (_, timer) in due {
            self.decide(JobEvent::Timer(timer), now);
        }
        if self.coordinator.tick_at.is_some_and(|at| at <= now) {
            self.coordinator.tick_at = None;
            self.coordinator_decides(CheckpointEvent::Tick, now);
        }
    }
}

impl Coordinator {
    fn new(state: &JobState, number: u32, now: Duration) -> Self {
        Self {
            number,
            machine: CheckpointMachine::new(state, 128, now),
            tasks: Tasks::new(),
            inbox: VecDeque::new(),
            tick_at: None,
        }
    }
}
