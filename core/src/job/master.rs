//! The JobMaster's decisions: deploying, failing over, taking over, ending.
//!
//! A job's *regions* (subtasks joined by channels) live through these phases on their own:
//!
//! ```text
//!  Idle --> Allocating --slots, manifest--> Append(Deployed) --> Deploying --all ready--> Running
//!               ^                                                    |                      |
//!               |                                                    +------ a failure -----+
//!               |                                                               |
//!          BackingOff <--all over, coordinator quiet-- Stopping <-- Append(FailoverStarted)
//! ```
//!
//! A takeover enters this picture where the log and the reports say that the region stands. What the log
//! and a report agree on is adopted as it runs; nothing is restarted for the leader's sake.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checkpoints::Tasks;
use super::entry::{JobOutcome, LogEntry, Manifest};
use super::report::{JobReport, TaskPhase, TaskReport};
use super::restart::{RestartDecision, RestartState};
use super::state::JobState;
use crate::failure::{Failure, FailureScope};
use crate::graph::JobGraph;
use crate::ids::{AttemptId, CheckpointId, Incarnation, OperatorUid, Slot, SubtaskId, VertexId};
use crate::source::{EncodedSplit, SplitId};

/// What happens to a job's master, after its log has been fenced and replayed.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// Everybody who may run something of the job has reported, or was given up.
    Collected(Vec<JobReport>),
    /// Somebody reported who was not expected any more.
    LateReport(JobReport),
    /// A source's splits were found.
    SplitsFound {
        /// Its vertex.
        source: VertexId,
        /// The splits, or why they could not be found.
        splits: Result<Vec<EncodedSplit>, Failure>,
    },
    /// The slots that the job may use now; as many as it asked for.
    SlotsGranted(Vec<Slot>),
    /// The manifest of the latest completed checkpoint, or why it can't be read.
    ManifestRead(Result<Box<Manifest>, Failure>),
    /// An execution waits to be connected.
    TaskReady(AttemptId),
    /// An execution has worked on all its input.
    TaskDrained(AttemptId),
    /// An execution has failed.
    TaskFailed(AttemptId, Failure),
    /// An execution has ended as it was told to.
    TaskCanceled(AttemptId),
    /// A source's reader waits for a split.
    NeedsSplit(AttemptId),
    /// A TaskManager is gone, and all that ran in it.
    TaskManagerLost(Incarnation),
    /// Another ResourceManager has taken over: what was asked of the old one is asked again.
    ResourceManagerChanged,
    /// Somebody asks for the job's end.
    Cancel,
    /// The coordinator has settled its affairs.
    Quiesced,
    /// The coordinator has seen the job through.
    JobDone,
    /// The job can't go on.
    FailJob(Failure),
    /// A timer that was asked for.
    Timer(JobTimer),
    /// An entry that was asked for is in the log.
    Appended(LogEntry),
}

/// What a master can be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobTimer {
    /// A region's wait before its restart is over.
    Restart {
        /// Which region.
        region: usize,
    },
}

/// What a master wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum JobAction {
    /// Write an entry.
    Append(LogEntry),
    /// Ask a source for its splits.
    FindSplits(VertexId),
    /// Ask for so many slots in all.
    RequestSlots(usize),
    /// Read the manifest of a checkpoint.
    ReadManifest(CheckpointId),
    /// Start executions.
    Deploy {
        /// Each with its place.
        attempts: Vec<(AttemptId, Slot)>,
        /// The checkpoint that they start from, whose manifest is [`JobMachine::manifest`].
        restore: Option<CheckpointId>,
    },
    /// Connect executions, all of which are ready.
    Run(Vec<AttemptId>),
    /// End executions.
    Cancel(Vec<AttemptId>),
    /// End executions that have done all their work.
    Finish(Vec<AttemptId>),
    /// Hand splits to a reader. `no_more`: there will never be others.
    AssignSplits {
        /// The reader.
        attempt: AttemptId,
        /// The splits.
        splits: Vec<EncodedSplit>,
        /// Whether the source has no others.
        no_more: bool,
    },
    /// Wake this machine.
    SetTimer(JobTimer, Duration),
    /// Let the coordinator take checkpoints of these.
    StartCheckpoints {
        /// The executions.
        tasks: Tasks,
        /// What is known of them from before this leader.
        reports: Vec<TaskReport>,
    },
    /// Let the coordinator settle its affairs.
    Quiesce,
    /// Tell the coordinator that all input has been worked on.
    AllDrained,
    /// The job has ended.
    Ended(JobOutcome),
}

/// Where a region stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegionPhase {
    /// Nothing has been asked for.
    Idle,
    /// Waits for slots, or for the manifest of the checkpoint to start from.
    Allocating,
    /// Its deployment is on its way to the log.
    Logging,
    /// These have not yet said that they are ready.
    Deploying(BTreeSet<AttemptId>),
    /// All connected.
    Running,
    /// Its failover is on its way to the log.
    Failing,
    /// Waits for its executions to end.
    Stopping(Duration),
    /// Waits before it is tried again.
    BackingOff,
}

struct Region {
    subtasks: BTreeSet<SubtaskId>,
    phase: RegionPhase,
}

/// The operator to blame, and where the source stood.
type Place = (Option<OperatorUid>, Option<String>);

/// Failures in a row at the same place after which it is called poison.
const POISON_AFTER: u32 = 3;

/// Whether the coordinator may have something under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoints {
    Quiet,
    On,
    Quiescing,
}

/// The master of one job.
pub struct JobMachine {
    state: JobState,
    regions: Vec<Region>,
    region_of: BTreeMap<SubtaskId, usize>,
    sources: Vec<VertexId>,
    slots_needed: usize,
    slots: Vec<Slot>,
    manifest: Option<Manifest>,
    checkpoints: Checkpoints,
    /// Executions that are known to be over.
    over: BTreeSet<AttemptId>,
    drained: BTreeSet<AttemptId>,
    /// TaskManagers that are gone.
    lost: BTreeSet<Incarnation>,
    /// What tasks said before the takeover was decided; none since then.
    early: Option<BTreeMap<AttemptId, TaskPhase>>,
    /// Splits whose assignment is on its way to the log.
    promised: BTreeMap<VertexId, BTreeSet<SplitId>>,
    /// What adopted executions reported, until the coordinator was told.
    adopted: Vec<TaskReport>,
    /// Where the last failure happened, and how often in a row.
    repeated: Option<(Place, u32)>,
    /// Whether the job's end is on its way to the log.
    ending: bool,
    /// Whether a takeover is being decided.
    deciding: bool,
    restart: RestartState,
    /// From the one seed.
    random: Box<dyn FnMut() -> f64 + Send>,
}

impl JobMachine {
    /// A master of what the log says. `random` yields numbers in 0..1, for jitter.
    pub fn new(state: JobState, graph: &JobGraph, random: Box<dyn FnMut() -> f64 + Send>) -> Self {
        let regions = regions(graph);
        let region_of = regions
            .iter()
            .enumerate()
            .flat_map(|(index, subtasks)| subtasks.iter().map(move |id| (*id, index)))
            .collect();
        let restart = RestartState::after(state.restarts);
        let sources = graph.vertices.iter().filter(|vertex| vertex.is_source);
        let widths = graph.vertices.iter().map(|vertex| vertex.parallelism);
        Self {
            state,
            regions: regions
                .into_iter()
                .map(|subtasks| Region {
                    subtasks,
                    phase: RegionPhase::Idle,
                })
                .collect(),
            region_of,
            sources: sources.map(|vertex| vertex.id).collect(),
            slots_needed: widths.max().unwrap_or(0) as usize,
            slots: Vec::new(),
            manifest: None,
            checkpoints: Checkpoints::Quiet,
            over: BTreeSet::new(),
            drained: BTreeSet::new(),
            lost: BTreeSet::new(),
            early: Some(BTreeMap::new()),
            promised: BTreeMap::new(),
            adopted: Vec::new(),
            repeated: None,
            ending: false,
            deciding: false,
            restart,
            random,
        }
    }

    /// The fold over the log.
    pub fn state(&self) -> &JobState {
        &self.state
    }

    /// The manifest of the latest completed checkpoint, once it has been read.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Remembers the manifest of a checkpoint that is about to be completed. One that was aborted while
    /// its manifest was being stored must not take the place of the one to start from.
    pub fn set_manifest(&mut self, manifest: Manifest) {
        if self
            .state
            .in_flight
            .is_some_and(|(id, _)| id == manifest.id)
        {
            self.manifest = Some(manifest);
        }
    }

    /// Whether every region runs.
    pub fn is_running(&self) -> bool {
        self.regions
            .iter()
            .all(|region| region.phase == RegionPhase::Running)
    }

    /// Decides.
    pub fn on_event(&mut self, event: JobEvent, now: Duration) -> Vec<JobAction> {
        let mut actions = Vec::new();
        match event {
            JobEvent::Collected(reports) => self.decide(reports, now, &mut actions),
            JobEvent::LateReport(report) => self.compare(report, now, &mut actions),
            JobEvent::SplitsFound { source, splits } => match splits {
                Ok(_) if self.is_ending() => {}
                Ok(splits) => {
                    actions.push(JobAction::Append(LogEntry::SplitsFound { source, splits }));
                }
                Err(failure) => self.fail_job(failure, &mut actions),
            },
            JobEvent::SlotsGranted(slots) => {
                for slot in &slots {
                    self.lost.remove(&slot.incarnation);
                }
                self.slots = slots;
                self.deploy(&mut actions);
            }
            JobEvent::ManifestRead(Ok(manifest)) => {
                self.manifest = Some(*manifest);
                self.deploy(&mut actions);
            }
            JobEvent::ManifestRead(Err(failure)) => self.fail_job(failure, &mut actions),
            JobEvent::TaskReady(attempt) => {
                self.note_early(attempt, TaskPhase::Ready);
                self.ready(attempt, &mut actions);
            }
            JobEvent::TaskDrained(attempt) => {
                self.note_early(attempt, TaskPhase::Drained);
                if self.is_current(attempt) {
                    self.drained.insert(attempt);
                    self.tell_if_drained(&mut actions);
                }
            }
            JobEvent::TaskFailed(attempt, failure) => {
                self.note_early(attempt, TaskPhase::Failed(failure.clone()));
                self.over.insert(attempt);
                if self.is_current(attempt) {
                    self.task_failed(attempt, failure, now, &mut actions);
                }
                self.advance_stopped(&mut actions);
            }
            JobEvent::TaskCanceled(attempt) => {
                self.note_early(attempt, TaskPhase::Canceled);
                self.over.insert(attempt);
                self.advance_stopped(&mut actions);
            }
            JobEvent::NeedsSplit(attempt) => self.assign_split(attempt, &mut actions),
            JobEvent::TaskManagerLost(incarnation) => {
                self.task_manager_lost(incarnation, now, &mut actions);
            }
            JobEvent::ResourceManagerChanged => {
                let waits = |region: &Region| region.phase == RegionPhase::Allocating;
                if self.regions.iter().any(waits) {
                    actions.push(JobAction::RequestSlots(self.slots_needed));
                }
            }
            JobEvent::Cancel => {
                if !self.is_ending() {
                    actions.push(JobAction::Append(LogEntry::CancelRequested));
                }
            }
            // An answer to a question that was put to a coordinator before this one is no answer.
            JobEvent::Quiesced if self.checkpoints != Checkpoints::Quiescing => {}
            JobEvent::Quiesced => {
                self.checkpoints = Checkpoints::Quiet;
                self.advance_stopped(&mut actions);
            }
            JobEvent::JobDone => {
                if !self.is_ending() {
                    self.end(JobOutcome::Completed, &mut actions);
                }
            }
            JobEvent::FailJob(failure) => self.fail_job(failure, &mut actions),
            JobEvent::Timer(JobTimer::Restart { region }) => {
                if self.regions[region].phase == RegionPhase::BackingOff {
                    self.allocate(region, &mut actions);
                }
            }
            JobEvent::Appended(entry) => self.appended(&entry, now, &mut actions),
        }
        actions
    }

    // --- taking over ---------------------------------------------------------------------------------

    /// The DECIDE step of a takeover; also how a new job starts, with nothing in the log or the reports.
    fn decide(&mut self, reports: Vec<JobReport>, now: Duration, actions: &mut Vec<JobAction>) {
        let mut tasks: Vec<TaskReport> = reports
            .into_iter()
            .flat_map(|report| report.tasks)
            .collect();
        // What was heard of a task is news, its report is older.
        let early = self.early.take().unwrap_or_default();
        for task in &mut tasks {
            if let Some(phase) = early.get(&task.attempt) {
                task.phase = phase.clone();
            }
        }
        self.cancel_strays(&tasks, actions);
        let mut known: BTreeMap<AttemptId, TaskReport> = tasks
            .into_iter()
            .filter(|task| self.is_current(task.attempt))
            .map(|task| (task.attempt, task))
            .collect();
        for execution in self.state.executions.values() {
            let over = known
                .get(&execution.attempt)
                .is_none_or(|task| task.phase.is_over());
            if over {
                self.over.insert(execution.attempt);
            }
        }
        if let Some(outcome) = self.state.outcome.clone() {
            actions.push(JobAction::Finish(self.alive()));
            actions.push(JobAction::Ended(outcome));
            return;
        }
        if self.is_ending() {
            // A cancel that was asked for, or a failure, is seen through by whoever leads.
            actions.push(JobAction::Cancel(self.alive()));
            self.quiesce(actions);
            self.end_if_over(actions);
            return;
        }
        self.deciding = true;
        for index in 0..self.regions.len() {
            self.decide_region(index, &mut known, now, actions);
        }
        self.deciding = false;
        if self.regions.iter().any(|r| r.phase == RegionPhase::Idle) {
            self.find_splits(actions);
        }
        for task in self.adopted.clone() {
            self.resend_splits(&task, actions);
        }
        self.start_checkpoints_if_running(actions);
        self.advance_stopped(actions);
    }

    fn decide_region(
        &mut self,
        index: usize,
        known: &mut BTreeMap<AttemptId, TaskReport>,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        let subtasks = self.regions[index].subtasks.clone();
        let intent = self
            .state
            .failovers
            .iter()
            .find(|failover| !failover.subtasks.is_disjoint(&subtasks))
            .map(|failover| failover.wait);
        if let Some(wait) = intent {
            actions.push(JobAction::Cancel(self.alive_in(index)));
            self.regions[index].phase = RegionPhase::Stopping(wait);
            self.quiesce(actions);
            return;
        }
        let attempts: Vec<AttemptId> = subtasks
            .iter()
            .filter_map(|subtask| self.state.executions.get(subtask))
            .map(|execution| execution.attempt)
            .collect();
        if attempts.is_empty() {
            return;
        }
        let mut waiting = BTreeSet::new();
        let mut connected = true;
        for attempt in &attempts {
            let failure = match known.get(attempt).map(|task| &task.phase) {
                Some(TaskPhase::Building) => {
                    waiting.insert(*attempt);
                    continue;
                }
                Some(TaskPhase::Ready) => {
                    connected = false;
                    continue;
                }
                Some(TaskPhase::Running) => continue,
                Some(TaskPhase::Drained) => {
                    self.drained.insert(*attempt);
                    continue;
                }
                Some(TaskPhase::Failed(failure)) => failure.clone(),
                Some(TaskPhase::Canceled) => {
                    Failure::attempt(format!("{attempt} was canceled while there was no leader"))
                }
                None => Failure::attempt(format!("{attempt} was gone when the leader took over")),
            };
            self.regions[index].phase = RegionPhase::Running;
            self.task_failed(*attempt, failure, now, actions);
            return;
        }
        self.adopted
            .extend(attempts.iter().filter_map(|attempt| known.remove(attempt)));
        if !waiting.is_empty() {
            self.regions[index].phase = RegionPhase::Deploying(waiting);
            return;
        }
        if !connected {
            // The old leader may have connected some of them; whoever is, ignores it.
            actions.push(JobAction::Run(attempts));
        }
        self.regions[index].phase = RegionPhase::Running;
    }

    /// Remembers what happened to a task while others had still to report.
    fn note_early(&mut self, attempt: AttemptId, phase: TaskPhase) {
        if let Some(early) = &mut self.early {
            early.insert(attempt, phase);
        }
    }

    /// Compares a report that nobody waited for with what the log says. What runs as it should is left
    /// alone. Strays end; and so does what had been given up for lost, before its subtask is tried again.
    fn compare(&mut self, report: JobReport, now: Duration, actions: &mut Vec<JobAction>) {
        self.lost.remove(&report.incarnation);
        self.cancel_strays(&report.tasks, actions);
        let (over, alive): (Vec<TaskReport>, Vec<TaskReport>) = report
            .tasks
            .into_iter()
            .filter(|task| self.is_current(task.attempt))
            .partition(|task| task.phase.is_over());
        if self.state.outcome.is_some() {
            let left: Vec<AttemptId> = alive.iter().map(|task| task.attempt).collect();
            if !left.is_empty() {
                actions.push(JobAction::Finish(left));
            }
            return;
        }
        for task in over {
            if self.over.insert(task.attempt) {
                let failure = match task.phase {
                    TaskPhase::Failed(failure) => failure,
                    _ => Failure::attempt(format!("{} was canceled", task.attempt)),
                };
                self.task_failed(task.attempt, failure, now, actions);
            }
        }
        let returned = alive.iter().map(|task| task.attempt);
        let returned: Vec<AttemptId> = returned.filter(|task| self.over.contains(task)).collect();
        for attempt in returned {
            self.end_returned(attempt, actions);
        }
        self.advance_stopped(actions);
    }

    /// Ends an execution that had been given up for lost.
    fn end_returned(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let region = &mut self.regions[self.region_of[&attempt.subtask]];
        if region.phase == RegionPhase::Logging {
            // Too late to wait for it: its successor is on its way to the log.
            actions.push(JobAction::Cancel(vec![attempt]));
            return;
        }
        self.over.remove(&attempt);
        match region.phase {
            // It is ended with the others, when the entry is written.
            RegionPhase::Failing => return,
            RegionPhase::BackingOff | RegionPhase::Allocating => {
                region.phase = RegionPhase::Stopping(Duration::ZERO);
            }
            _ => {}
        }
        actions.push(JobAction::Cancel(vec![attempt]));
    }

    /// Ends executions that the log doesn't know, or that have been replaced.
    fn cancel_strays(&mut self, tasks: &[TaskReport], actions: &mut Vec<JobAction>) {
        let strays: Vec<AttemptId> = tasks
            .iter()
            .filter(|task| !self.is_current(task.attempt) && !task.phase.is_over())
            .map(|task| task.attempt)
            .collect();
        if !strays.is_empty() {
            actions.push(JobAction::Cancel(strays));
        }
    }

    /// An old leader may have died between an assignment's entry and its message.
    fn resend_splits(&mut self, task: &TaskReport, actions: &mut Vec<JobAction>) {
        let Some(pool) = self.state.splits.get(&task.attempt.subtask.vertex) else {
            return;
        };
        let missing: Vec<EncodedSplit> = pool
            .assigned_to(task.attempt)
            .filter(|id| !task.received.contains(id))
            .filter_map(|id| pool.get(id).cloned())
            .collect();
        if !missing.is_empty() {
            actions.push(JobAction::AssignSplits {
                attempt: task.attempt,
                splits: missing,
                no_more: false,
            });
        } else if task.needs_split {
            self.assign_split(task.attempt, actions);
        }
    }

    // --- deploying -----------------------------------------------------------------------------------

    fn find_splits(&mut self, actions: &mut Vec<JobAction>) {
        let missing: Vec<VertexId> = self
            .sources
            .iter()
            .filter(|source| !self.state.splits.contains_key(source))
            .copied()
            .collect();
        if missing.is_empty() {
            for index in 0..self.regions.len() {
                if self.regions[index].phase == RegionPhase::Idle {
                    self.allocate(index, actions);
                }
            }
        }
        actions.extend(missing.into_iter().map(JobAction::FindSplits));
    }

    fn allocate(&mut self, region: usize, actions: &mut Vec<JobAction>) {
        self.regions[region].phase = RegionPhase::Allocating;
        self.slots.clear();
        actions.push(JobAction::RequestSlots(self.slots_needed));
        if let Some((id, _)) = self.state.latest()
            && self
                .manifest
                .as_ref()
                .is_none_or(|manifest| manifest.id != id)
        {
            actions.push(JobAction::ReadManifest(id));
        }
    }

    /// Deploys the regions that wait, once there are slots and the manifest to start from.
    fn deploy(&mut self, actions: &mut Vec<JobAction>) {
        let restore = self.state.latest().map(|(id, _)| id);
        let manifest = self.manifest.as_ref().filter(|m| Some(m.id) == restore);
        if self.slots.len() < self.slots_needed || manifest.is_some() != restore.is_some() {
            return;
        }
        if self.is_ending() {
            return;
        }
        for region in &mut self.regions {
            if region.phase != RegionPhase::Allocating {
                continue;
            }
            region.phase = RegionPhase::Logging;
            let attempts = region
                .subtasks
                .iter()
                .map(|subtask| {
                    let first = AttemptId {
                        subtask: *subtask,
                        attempt: 1,
                    };
                    let execution = self.state.executions.get(subtask);
                    let attempt = execution.map_or(first, |execution| execution.attempt.next());
                    (attempt, self.slots[subtask.index as usize].clone())
                })
                .collect();
            let mut received: BTreeMap<VertexId, Vec<SplitId>> = BTreeMap::new();
            for subtask in &region.subtasks {
                if self.state.splits.contains_key(&subtask.vertex) {
                    let of_source = received.entry(subtask.vertex).or_default();
                    if let Some(snapshot) = manifest.and_then(|m| m.subtasks.get(subtask)) {
                        of_source.extend(&snapshot.received);
                    }
                }
            }
            actions.push(JobAction::Append(LogEntry::Deployed {
                attempts,
                restore,
                received,
            }));
        }
    }

    fn ready(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let Some(index) = self.region_if_current(attempt) else {
            return;
        };
        let region = &mut self.regions[index];
        let RegionPhase::Deploying(waiting) = &mut region.phase else {
            return;
        };
        if self.state.cancel_requested || self.state.failing.is_some() {
            return;
        }
        waiting.remove(&attempt);
        if waiting.is_empty() {
            region.phase = RegionPhase::Running;
            let attempts = self.current_in(index);
            actions.push(JobAction::Run(attempts));
            self.start_checkpoints_if_running(actions);
        }
    }

    fn start_checkpoints_if_running(&mut self, actions: &mut Vec<JobAction>) {
        if !self.is_running() || self.is_ending() || self.checkpoints != Checkpoints::Quiet {
            return;
        }
        self.checkpoints = Checkpoints::On;
        let executions = self.state.executions.values();
        actions.push(JobAction::StartCheckpoints {
            tasks: executions
                .map(|execution| (execution.attempt.subtask, execution.attempt))
                .collect(),
            reports: std::mem::take(&mut self.adopted),
        });
        self.tell_if_drained(actions);
    }

    fn tell_if_drained(&mut self, actions: &mut Vec<JobAction>) {
        let mut executions = self.state.executions.values();
        if self.checkpoints == Checkpoints::On
            && executions.all(|execution| self.drained.contains(&execution.attempt))
        {
            actions.push(JobAction::AllDrained);
        }
    }

    fn assign_split(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let source = attempt.subtask.vertex;
        let Some(pool) = self.state.splits.get(&source) else {
            return;
        };
        if !self.is_current(attempt) || self.over.contains(&attempt) || self.is_ending() {
            return;
        }
        let promised = self.promised.entry(source).or_default();
        match pool.next(promised) {
            Some(id) => {
                promised.insert(id);
                actions.push(JobAction::Append(LogEntry::SplitsAssigned {
                    attempt,
                    splits: vec![id],
                }));
            }
            None => actions.push(JobAction::AssignSplits {
                attempt,
                splits: Vec::new(),
                no_more: true,
            }),
        }
    }

    // --- failing over --------------------------------------------------------------------------------

    fn task_failed(
        &mut self,
        attempt: AttemptId,
        failure: Failure,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        let Some(index) = self.region_if_current(attempt) else {
            return;
        };
        if self.is_ending() {
            return;
        }
        if failure.scope != FailureScope::Attempt {
            self.fail_job(failure, actions);
            return;
        }
        if !matches!(
            self.regions[index].phase,
            RegionPhase::Running | RegionPhase::Deploying(_)
        ) {
            return;
        }
        let failure = self.note_repetition(failure);
        let random = (self.random)();
        let strategy = &self.state.options.restart;
        match self.restart.on_failure(strategy, now, random) {
            RestartDecision::GiveUp => self.fail_job(failure, actions),
            RestartDecision::After(wait) => {
                self.regions[index].phase = RegionPhase::Failing;
                actions.push(JobAction::Append(LogEntry::FailoverStarted {
                    region: self.regions[index].subtasks.iter().copied().collect(),
                    cause: failure,
                    wait,
                    found_at_takeover: self.deciding,
                }));
            }
        }
    }

    /// A record that fails the attempt again and again is named as poison.
    fn note_repetition(&mut self, mut failure: Failure) -> Failure {
        let place = (failure.operator.clone(), failure.position.clone());
        let times = match &self.repeated {
            Some((known, times)) if *known == place && place.1.is_some() => times + 1,
            _ => 1,
        };
        self.repeated = Some((place, times));
        if times >= POISON_AFTER {
            let poison = format!("; the {times}th failure in a row at this place: a poison record");
            failure.message.push_str(&poison);
        }
        failure
    }

    fn task_manager_lost(
        &mut self,
        incarnation: Incarnation,
        now: Duration,
        actions: &mut Vec<JobAction>,
    ) {
        self.lost.insert(incarnation);
        let granted = self.slots.len();
        self.slots.retain(|slot| slot.incarnation != incarnation);
        let waits = |region: &Region| region.phase == RegionPhase::Allocating;
        if self.slots.len() < granted && self.regions.iter().any(waits) {
            // They had been granted, so nobody looks for others unless asked again.
            actions.push(JobAction::RequestSlots(self.slots_needed));
        }
        let lost: Vec<(AttemptId, Slot)> = self
            .state
            .executions
            .values()
            .filter(|execution| execution.slot.incarnation == incarnation)
            .filter(|execution| !self.over.contains(&execution.attempt))
            .map(|execution| (execution.attempt, execution.slot.clone()))
            .collect();
        self.lose(&lost, now, actions);
        self.advance_stopped(actions);
    }

    fn lose(&mut self, lost: &[(AttemptId, Slot)], now: Duration, actions: &mut Vec<JobAction>) {
        self.over.extend(lost.iter().map(|(attempt, _)| *attempt));
        for (attempt, slot) in lost {
            let failure = Failure::attempt(format!("TaskManager {} was lost", slot.task_manager));
            self.task_failed(*attempt, failure, now, actions);
        }
    }

    fn quiesce(&mut self, actions: &mut Vec<JobAction>) {
        // What an earlier leader left under way must not be completed by tasks that were restarted: a
        // final checkpoint would end the job before they have read their input again.
        let left = self.checkpoints == Checkpoints::Quiet && self.state.in_flight.is_some();
        if self.checkpoints == Checkpoints::On || left {
            self.checkpoints = Checkpoints::Quiescing;
            actions.push(JobAction::Quiesce);
        }
    }

    /// Goes on with regions, or with the job's end, when what had to end has ended.
    fn advance_stopped(&mut self, actions: &mut Vec<JobAction>) {
        if self.is_ending() {
            self.end_if_over(actions);
            return;
        }
        for index in 0..self.regions.len() {
            let RegionPhase::Stopping(wait) = self.regions[index].phase else {
                continue;
            };
            if self.checkpoints == Checkpoints::Quiet && self.alive_in(index).is_empty() {
                self.regions[index].phase = RegionPhase::BackingOff;
                let timer = JobTimer::Restart { region: index };
                actions.push(JobAction::SetTimer(timer, wait));
            }
        }
    }

    // --- ending --------------------------------------------------------------------------------------

    fn fail_job(&mut self, cause: Failure, actions: &mut Vec<JobAction>) {
        if !self.is_ending() {
            actions.push(JobAction::Append(LogEntry::JobFailing { cause }));
        }
    }

    fn is_ending(&self) -> bool {
        self.ending
            || self.state.cancel_requested
            || self.state.failing.is_some()
            || self.state.outcome.is_some()
    }

    fn end_if_over(&mut self, actions: &mut Vec<JobAction>) {
        let ended = self.ending || self.state.outcome.is_some();
        if ended || self.checkpoints != Checkpoints::Quiet || !self.alive().is_empty() {
            return;
        }
        let outcome = match &self.state.failing {
            Some(failure) => JobOutcome::Failed(failure.clone()),
            None => JobOutcome::Canceled,
        };
        self.end(outcome, actions);
    }

    fn end(&mut self, outcome: JobOutcome, actions: &mut Vec<JobAction>) {
        if !self.ending {
            self.ending = true;
            actions.push(JobAction::Append(LogEntry::Finished { outcome }));
        }
    }

    // --- the log -------------------------------------------------------------------------------------

    fn appended(&mut self, entry: &LogEntry, now: Duration, actions: &mut Vec<JobAction>) {
        self.state.apply(entry);
        match entry {
            LogEntry::SplitsFound { .. } => {
                let all = self
                    .sources
                    .iter()
                    .all(|source| self.state.splits.contains_key(source));
                if all && !self.is_ending() {
                    self.find_splits(actions);
                }
            }
            LogEntry::SplitsAssigned { attempt, splits } => {
                let source = attempt.subtask.vertex;
                if let Some(promised) = self.promised.get_mut(&source) {
                    splits.iter().for_each(|id| {
                        promised.remove(id);
                    });
                }
                if let Some(pool) = self.state.splits.get(&source)
                    && self.is_current(*attempt)
                {
                    actions.push(JobAction::AssignSplits {
                        attempt: *attempt,
                        splits: splits
                            .iter()
                            .filter_map(|id| pool.get(*id).cloned())
                            .collect(),
                        no_more: false,
                    });
                }
            }
            LogEntry::Deployed {
                attempts, restore, ..
            } => {
                let Some((first, _)) = attempts.first() else {
                    return;
                };
                let index = self.region_of[&first.subtask];
                if self.is_ending() {
                    // Logged, never deployed: nothing of it can be alive.
                    self.over
                        .extend(attempts.iter().map(|(attempt, _)| *attempt));
                    self.end_if_over(actions);
                    return;
                }
                let waiting = attempts.iter().map(|(attempt, _)| *attempt).collect();
                self.regions[index].phase = RegionPhase::Deploying(waiting);
                actions.push(JobAction::Deploy {
                    attempts: attempts.clone(),
                    restore: *restore,
                });
                // A TaskManager may have been lost while the entry was being written.
                let mut gone = attempts.clone();
                gone.retain(|(_, slot)| self.lost.contains(&slot.incarnation));
                self.lose(&gone, now, actions);
            }
            LogEntry::FailoverStarted { region, wait, .. } => {
                if let Some(first) = region.first() {
                    let index = self.region_of[first];
                    actions.push(JobAction::Cancel(self.alive_in(index)));
                    self.regions[index].phase = RegionPhase::Stopping(*wait);
                    self.quiesce(actions);
                    self.advance_stopped(actions);
                }
            }
            LogEntry::CancelRequested | LogEntry::JobFailing { .. } => {
                actions.push(JobAction::Cancel(self.alive()));
                self.quiesce(actions);
                self.end_if_over(actions);
            }
            LogEntry::Finished { outcome } => {
                actions.push(JobAction::Finish(self.alive()));
                actions.push(JobAction::Ended(outcome.clone()));
            }
            LogEntry::Submitted { .. }
            | LogEntry::Leader { .. }
            | LogEntry::CheckpointTriggered { .. }
            | LogEntry::CheckpointCompleted { .. }
            | LogEntry::CheckpointAborted { .. }
            | LogEntry::CheckpointCommitted { .. } => {}
        }
    }

    // --- looking things up ---------------------------------------------------------------------------

    fn is_current(&self, attempt: AttemptId) -> bool {
        self.state
            .executions
            .get(&attempt.subtask)
            .is_some_and(|execution| execution.attempt == attempt)
    }

    fn region_if_current(&self, attempt: AttemptId) -> Option<usize> {
        self.is_current(attempt)
            .then(|| self.region_of[&attempt.subtask])
    }

    fn current_in(&self, region: usize) -> Vec<AttemptId> {
        self.regions[region]
            .subtasks
            .iter()
            .filter_map(|subtask| self.state.executions.get(subtask))
            .map(|execution| execution.attempt)
            .collect()
    }

    fn alive_in(&self, region: usize) -> Vec<AttemptId> {
        let mut attempts = self.current_in(region);
        attempts.retain(|attempt| !self.over.contains(attempt));
        attempts
    }

    fn alive(&self) -> Vec<AttemptId> {
        (0..self.regions.len())
            .flat_map(|region| self.alive_in(region))
            .collect()
    }
}

/// The subtasks that fail together: those joined by channels, directly or not.
fn regions(graph: &JobGraph) -> Vec<BTreeSet<SubtaskId>> {
    let mut regions: Vec<BTreeSet<SubtaskId>> = Vec::new();
    for subtask in graph.subtasks() {
        let mut joined = BTreeSet::from([subtask]);
        let senders = graph.senders(subtask);
        let (mine, others): (Vec<_>, Vec<_>) = regions
            .into_iter()
            .partition(|region| senders.iter().any(|(_, sender)| region.contains(sender)));
        joined.extend(mine.into_iter().flatten());
        regions = others;
        regions.push(joined);
    }
    regions.sort();
    regions
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
