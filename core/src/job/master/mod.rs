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

mod deploy;
mod discovery;
mod ending;
mod failover;
mod hopeless;
mod rescale;
mod takeover;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::discovery::Discovery;
use self::hopeless::Runs;
use super::checkpoints::Tasks;
use super::entry::{JobOutcome, LogEntry, Manifest, SavepointRequest, StartState};
use super::report::{JobReport, TaskPhase, TaskReport};
use super::restart::RestartState;
use super::state::{JobState, Rescaling};
use crate::failure::Failure;
use crate::graph::JobGraph;
use crate::ids::{AttemptId, CheckpointId, Incarnation, Slot, SubtaskId, VertexId};
use crate::source::{Discovered, EncodedSplit, FoundSplit, SplitId};
use crate::stage::CheckpointKind;

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
        /// Whether it goes on looking.
        open: bool,
    },
    /// A source that goes on finding splits has looked for new ones.
    SplitsDiscovered {
        /// Its vertex.
        source: VertexId,
        /// What it found, or why it could not look.
        found: Result<Discovered<FoundSplit>, Failure>,
        /// How long to wait before the next look.
        interval: Duration,
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
    /// Somebody asks for a savepoint.
    Savepoint(SavepointRequest),
    /// What was asked for can't be, and this is why.
    RefuseSavepoint(SavepointRequest, String),
    /// The coordinator has settled its affairs.
    Quiesced,
    /// The coordinator has seen the job through.
    JobDone,
    /// The new plan's fingerprint and what its tasks start from, which is stored; or why there is none.
    RescalePrepared(Result<(u64, Box<StartState>), Failure>),
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
        /// Which of its waits: it may have failed again since, and wait anew.
        wait: u32,
    },
    /// It is time to look for new splits.
    Discover {
        /// The source.
        source: VertexId,
    },
    /// Commits have kept the job from ending for long enough.
    Commits,
}

/// What a master wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum JobAction {
    /// Write an entry.
    Append(LogEntry),
    /// Ask a source for its splits.
    FindSplits(VertexId),
    /// Ask a source that goes on finding splits for new ones.
    DiscoverSplits(VertexId),
    /// Ask for slots.
    RequestSlots {
        /// So many in all.
        count: usize,
        /// With this state backend, whose files are to be read; with any, if none are.
        backend: Option<String>,
    },
    /// Read the manifest of a checkpoint.
    ReadManifest(CheckpointId),
    /// Start executions.
    Deploy {
        /// Each with its place.
        attempts: Vec<(AttemptId, Slot)>,
        /// The checkpoint that they start from, whose manifest is [`JobMachine::manifest`].
        restore: Option<CheckpointId>,
        /// Whether they read nothing: the job ends, and they are there for that checkpoint's commits.
        only_commit: bool,
    },
    /// Connect executions, all of which are ready.
    Run(Vec<AttemptId>),
    /// End executions.
    Cancel(Vec<AttemptId>),
    /// End executions that have done all their work.
    Finish(Vec<AttemptId>),
    /// Hand splits to a reader. `no_more`: there will never be others. None, and not that: none have been found
    /// yet, so it waits on, and knows that it isn't held up.
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
    /// Store what the tasks of another plan start from, and say what it is.
    PrepareRescale(Rescaling),
    /// Let another master begin with what is in the log: it has another plan.
    BeginAgain,
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

impl RegionPhase {
    /// Whether it has failed, and is to be tried again later.
    fn waits(&self) -> bool {
        matches!(self, Self::Failing | Self::Stopping(_) | Self::BackingOff)
    }
}

struct Region {
    subtasks: BTreeSet<SubtaskId>,
    phase: RegionPhase,
    /// Whether it was deployed for commits that the job's end waits for.
    only_commits: bool,
    /// How often it has waited before it was tried again.
    waits: u32,
}

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
    /// How many readers each source has.
    sources: BTreeMap<VertexId, u32>,
    slots_needed: usize,
    slots: Vec<Slot>,
    /// The slot of each index, as regions were last deployed.
    places: BTreeMap<u32, Slot>,
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
    /// What is known of looks for new splits.
    discovery: Discovery,
    /// What adopted executions reported, until the coordinator was told.
    adopted: Vec<TaskReport>,
    /// Whether the plan's tasks are ended, because another plan takes its place.
    leaves_plan: bool,
    /// Whether that one's start has been asked for.
    prepares_plan: bool,
    /// Whether the job's end is on its way to the log.
    ending: bool,
    /// Whether tasks are ended because the job ends.
    ends_tasks: bool,
    /// Whether the job's end has begun to wait for commits.
    waits_for_commits: bool,
    /// Whether it waits for none any more.
    commits_given_up: bool,
    /// Whether a takeover is being decided.
    deciding: bool,
    restart: RestartState,
    /// Whether it gets to run.
    runs: Runs,
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
        let restart = RestartState::after(state.restarts_charged);
        let sources = graph.vertices.iter().filter(|vertex| vertex.is_source);
        let widest = graph.widest().map_or(0, |widest| widest.parallelism);
        Self {
            state,
            regions: regions
                .into_iter()
                .map(|subtasks| Region {
                    subtasks,
                    phase: RegionPhase::Idle,
                    only_commits: false,
                    waits: 0,
                })
                .collect(),
            region_of,
            sources: sources
                .map(|vertex| (vertex.id, vertex.parallelism))
                .collect(),
            slots_needed: widest as usize,
            slots: Vec::new(),
            places: BTreeMap::new(),
            manifest: None,
            checkpoints: Checkpoints::Quiet,
            over: BTreeSet::new(),
            drained: BTreeSet::new(),
            lost: BTreeSet::new(),
            early: Some(BTreeMap::new()),
            promised: BTreeMap::new(),
            discovery: Discovery::default(),
            adopted: Vec::new(),
            leaves_plan: false,
            prepares_plan: false,
            ending: false,
            ends_tasks: false,
            waits_for_commits: false,
            commits_given_up: false,
            deciding: false,
            restart,
            runs: Runs::default(),
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
            JobEvent::SplitsFound {
                source,
                splits,
                open,
            } => match splits {
                Ok(_) if self.is_ending() => {}
                Ok(splits) => actions.push(JobAction::Append(LogEntry::SplitsFound {
                    source,
                    splits,
                    readers: self.sources.get(&source).copied().unwrap_or_default(),
                    open,
                })),
                Err(failure) => self.fail_job(failure, &mut actions),
            },
            JobEvent::SplitsDiscovered {
                source,
                found,
                interval,
            } => self.discovered(source, found, interval, &mut actions),
            JobEvent::SlotsGranted(slots) => {
                for slot in &slots {
                    self.lost.remove(&slot.incarnation);
                }
                self.slots = slots;
                self.deploy(&mut actions);
            }
            JobEvent::ManifestRead(Ok(manifest)) => {
                self.manifest = Some(*manifest);
                if self.awaits_slots() {
                    self.slots.clear();
                    self.request_slots(&mut actions);
                }
            }
            JobEvent::ManifestRead(Err(failure)) => {
                self.fail_job(failure, &mut actions);
                self.give_commits_up(&mut actions);
            }
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
                if self.awaits_slots() {
                    self.request_slots(&mut actions);
                }
            }
            JobEvent::Cancel => {
                if !self.is_ending() {
                    actions.push(JobAction::Append(LogEntry::CancelRequested));
                }
            }
            JobEvent::Savepoint(request) => {
                if !self.is_ending() {
                    actions.push(JobAction::Append(LogEntry::SavepointRequested { request }));
                }
            }
            JobEvent::RefuseSavepoint(request, reason) => {
                if !self.is_ending() {
                    let refused = LogEntry::SavepointRefused { request, reason };
                    actions.push(JobAction::Append(refused));
                }
            }
            // An answer to a question that was put to a coordinator before this one is no answer.
            JobEvent::Quiesced if self.checkpoints != Checkpoints::Quiescing => {}
            JobEvent::Quiesced => {
                self.checkpoints = Checkpoints::Quiet;
                self.advance_stopped(&mut actions);
            }
            JobEvent::JobDone if self.rescaling().is_some() => self.leave_plan(&mut actions),
            JobEvent::RescalePrepared(prepared) => self.rescale_prepared(prepared, &mut actions),
            JobEvent::JobDone => {
                if !self.is_ending() {
                    let outcome = match self.state.latest() {
                        Some((savepoint, CheckpointKind::Stop { .. })) => {
                            JobOutcome::Stopped { savepoint }
                        }
                        _ => JobOutcome::Completed,
                    };
                    self.end(outcome, &mut actions);
                }
            }
            JobEvent::FailJob(failure) => self.fail_job(failure, &mut actions),
            JobEvent::Timer(JobTimer::Restart { region, wait }) => {
                let of = &self.regions[region];
                if of.phase == RegionPhase::BackingOff && of.waits == wait {
                    self.allocate(region, &mut actions);
                }
            }
            JobEvent::Timer(JobTimer::Discover { source }) => {
                self.discover(source, &mut actions);
            }
            JobEvent::Timer(JobTimer::Commits) => self.give_commits_up(&mut actions),
            JobEvent::Appended(entry) => self.appended(&entry, now, &mut actions),
        }
        self.note_running(now);
        actions
    }

    // --- the log -------------------------------------------------------------------------------------

    fn appended(&mut self, entry: &LogEntry, now: Duration, actions: &mut Vec<JobAction>) {
        self.state.apply(entry);
        match entry {
            LogEntry::SplitsFound { source, .. } => {
                self.discover(*source, actions);
                let all = self
                    .sources
                    .keys()
                    .all(|source| self.state.splits.contains_key(source));
                if all && !self.is_ending() {
                    self.find_splits(actions);
                }
            }
            LogEntry::SplitsDiscovered { source, .. } => self.hand_out(*source, actions),
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
                        splits: splits.iter().filter_map(|id| pool.get(*id)).collect(),
                        no_more: false,
                    });
                }
            }
            LogEntry::Deployed {
                attempts, restore, ..
            } => {
                self.forget_replaced();
                let Some((first, _)) = attempts.first() else {
                    return;
                };
                let index = self.region_of[&first.subtask];
                if self.ends_tasks() {
                    // Logged, never deployed: nothing of it can be alive.
                    self.over
                        .extend(attempts.iter().map(|(attempt, _)| *attempt));
                    self.wind_up(actions);
                    return;
                }
                let waiting = attempts.iter().map(|(attempt, _)| *attempt).collect();
                let only_commit = self.is_ending();
                self.regions[index].phase = RegionPhase::Deploying(waiting);
                self.regions[index].only_commits = only_commit;
                actions.push(JobAction::Deploy {
                    attempts: attempts.clone(),
                    restore: *restore,
                    only_commit,
                });
                // A TaskManager may have been lost while the entry was being written.
                let mut gone = attempts.clone();
                gone.retain(|(_, slot)| self.lost.contains(&slot.incarnation));
                self.lose(&gone, now, actions);
            }
            LogEntry::FailoverStarted {
                region,
                wait,
                charged,
                ..
            } => {
                if *charged {
                    self.runs.failed(now);
                }
                self.give_savepoints_up(actions);
                if let Some(first) = region.first() {
                    let index = self.region_of[first];
                    actions.push(JobAction::Cancel(self.alive_in(index)));
                    self.regions[index].phase = RegionPhase::Stopping(*wait);
                    self.quiesce(actions);
                    self.advance_stopped(actions);
                }
            }
            LogEntry::SavepointRequested { .. } => self.give_savepoints_up(actions),
            LogEntry::CheckpointCompleted { .. } => {
                self.runs.got_on();
                self.wind_up(actions);
            }
            LogEntry::CancelRequested
            | LogEntry::JobFailing { .. }
            | LogEntry::CheckpointAborted { .. }
            | LogEntry::CheckpointCommitted { .. } => self.wind_up(actions),
            LogEntry::Rescaled { .. } | LogEntry::RescaleFailed { .. } => {
                actions.push(JobAction::BeginAgain);
            }
            LogEntry::Finished { outcome } => {
                actions.push(JobAction::Finish(self.alive()));
                actions.push(JobAction::Ended(outcome.clone()));
            }
            LogEntry::Submitted { .. }
            | LogEntry::Leader { .. }
            | LogEntry::CheckpointTriggered { .. }
            | LogEntry::SavepointRefused { .. }
            | LogEntry::SavepointFailed { .. } => {}
        }
    }

    /// What is known of executions that have been replaced is of no use any more.
    fn forget_replaced(&mut self) {
        let executions = &self.state.executions;
        let is_current = |attempt: &AttemptId| {
            let execution = executions.get(&attempt.subtask);
            execution.is_some_and(|execution| execution.attempt == *attempt)
        };
        self.over.retain(is_current);
        self.drained.retain(is_current);
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
        // Either end of a channel may come first: those of a loop lead back.
        let mut peers = graph.senders(subtask);
        peers.extend(graph.receivers(subtask));
        let (mine, others): (Vec<_>, Vec<_>) = regions
            .into_iter()
            .partition(|region| peers.iter().any(|(_, peer)| region.contains(peer)));
        joined.extend(mine.into_iter().flatten());
        regions = others;
        regions.push(joined);
    }
    regions.sort();
    regions
}

#[cfg(test)]
mod tests;
