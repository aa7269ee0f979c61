//! From the fence to the decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ractor::ActorProcessingErr;
use rivus_core::job::{
    CheckpointEvent, JobEvent, JobHistory, JobMachine, JobOutcome, JobReport, JobState, LogEntry,
    Logged,
};
use rivus_core::{CodecError, Failure, FailureScope, Incarnation, JobId, TaskManagerId, codec};
use rivus_state::{Append, JobLog, StorageError};

use super::log::{RETRIES, RETRY};
use super::{Checkpointing, JobMasterMessage, JobMasterState, KnownTaskManager};
use crate::context::NodeContext;
use crate::job_manager::JobManagerMessage;
use crate::job_tasks::JobCommand;
use crate::probe::Step;
use crate::resource_manager::ResourceManagerMessage;

/// A log that has been fenced and read.
pub struct Replayed {
    state: JobState,
    history: JobHistory,
    /// The slot behind this leader's own entry.
    next: u64,
    /// The slot up to which the log is folded into a snapshot.
    compacted: u64,
}

/// How far a takeover has got.
#[derive(Default)]
pub(super) struct Takeover {
    /// Who runs something of the job by the log and has not reported.
    expected: BTreeSet<Incarnation>,
    reports: BTreeMap<Incarnation, JobReport>,
    /// Failed tries to fence and read the log.
    failures: u32,
    collecting: bool,
    decided: bool,
    /// Whether the job had ended before this leader came.
    pub(super) found_ended: bool,
}

impl Takeover {
    pub(super) fn is_over(&self) -> bool {
        self.decided
    }
}

/// Reads a job's log.
///
/// # Errors
/// A job failure if asking again won't help.
fn read(log: &JobLog, job: JobId) -> Result<Replayed, Failure> {
    let contents = log.read_all(job).map_err(|error| {
        let is_for_good = error.is_damage() || matches!(error, StorageError::Gap { .. });
        let failure = Failure::user(&error.into());
        match is_for_good {
            true => unreadable(job, &failure),
            false => failure,
        }
    })?;
    let foreign = |error: CodecError| unreadable(job, &Failure::from(error));
    let (mut state, mut history) = match &contents.snapshot {
        Some(snapshot) => codec::decode(&snapshot.payload).map_err(foreign)?,
        None => (JobState::default(), JobHistory::default()),
    };
    for record in &contents.entries {
        let Logged { at, entry } = codec::decode(&record.payload).map_err(foreign)?;
        history.note(at, &entry, &state);
        state.apply(&entry);
    }
    let compacted = contents
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.index);
    let next = contents.next_index();
    Ok(Replayed {
        state,
        history,
        next,
        compacted,
    })
}

/// Without its log nobody knows how far a job had got.
fn unreadable(job: JobId, why: &Failure) -> Failure {
    Failure::job(format!(
        "the log of job {job} can't be read: {}; bring that file back from a copy, or begin under another id, from a savepoint if there \
         is one",
        why.message
    ))
}

/// What is true of a job by its log.
///
/// # Errors
/// If the log can't be read or is damaged.
pub fn replay(log: &JobLog, job: JobId) -> Result<JobState, Failure> {
    read(log, job).map(|replayed| replayed.state)
}

/// What is true of a job by its log, and what has happened to it.
///
/// # Errors
/// As [`replay`].
pub(crate) fn look(log: &JobLog, job: JobId) -> Result<(JobState, JobHistory), Failure> {
    read(log, job).map(|replayed| (replayed.state, replayed.history))
}

/// What became of a try to fence a log.
enum Fence {
    Taken(Box<Replayed>),
    /// A leader of a later term has written here.
    Later {
        term: u64,
    },
}

/// Appends the new epoch, behind whatever an old leader still manages to write.
///
/// A process that is alone, and finds another one's leader behind its own, leaves the job to that one: nobody elects among
/// them, so they would take it from each other for ever.
fn fence(node: &NodeContext, job: JobId, term: u64, nonce: u128) -> Result<Fence, Failure> {
    let log = &node.log;
    loop {
        let mut replayed = read(log, job)?;
        let has_led = node.led.get(&job).is_some();
        if node.is_alone() && has_led && replayed.state.process != node.process {
            return Err(taken_away(log, job));
        }
        if replayed.state.term > term {
            return Ok(Fence::Later {
                term: replayed.state.term,
            });
        }
        let entry = LogEntry::Leader {
            epoch: replayed.state.epoch.next(),
            term,
            process: node.process,
        };
        let logged = Logged {
            at: node.clock.unix_millis(),
            entry,
        };
        let bytes = codec::encode(&logged)?;
        match log.append(job, replayed.next, nonce, &bytes) {
            Ok(Append::Written) => {
                node.led.insert(job, ());
                let Logged { at, entry } = logged;
                replayed.history.note(at, &entry, &replayed.state);
                replayed.state.apply(&entry);
                replayed.next += 1;
                return Ok(Fence::Taken(Box::new(replayed)));
            }
            // The old leader was quicker once more; it can't be twice at the same slot.
            Ok(Append::Lost { .. }) => {}
            Err(error) => return Err(Failure::user(&error.into())),
        }
    }
}

/// Why this process doesn't go on with a job that it has led.
fn taken_away(log: &JobLog, job: JobId) -> Failure {
    Failure::job(format!(
        "another process goes on with job {job}, whose log is in {log}, and this one has stopped: a job belongs to one process at a \
         time; give both a Coordination that they share, and one stands by until the other is gone"
    ))
}

impl JobMasterState {
    /// FENCE and REPLAY, off this actor.
    pub(super) fn fence(&self) {
        let node = &self.args.node;
        let (job, term) = (self.args.job, self.args.term);
        let nonce = node.seed.nonce();
        let (master, manager) = (self.myself.clone(), self.args.manager.clone());
        let here = Arc::clone(node);
        node.blocking.run(Box::new(move || {
            let replayed = match Failure::caught(|| fence(&here, job, term, nonce)) {
                Ok(Fence::Taken(replayed)) => Ok(replayed),
                Ok(Fence::Later { term }) => {
                    here.election.observe(term);
                    let _ = manager.cast(JobManagerMessage::Fenced);
                    return;
                }
                Err(failure) => Err(failure),
            };
            let _ = master.cast(JobMasterMessage::Replayed(replayed));
        }));
    }

    /// The log can't be reached, again soon; or can't be read, and then it never will be.
    fn fence_again(&mut self, failure: Failure) -> Result<(), ActorProcessingErr> {
        if failure.scope == FailureScope::Job {
            self.refuse(failure);
            return Ok(());
        }
        self.takeover.failures += 1;
        if self.takeover.failures > RETRIES {
            return Err(Box::new(failure));
        }
        let failures = self.takeover.failures;
        if failures.is_power_of_two() {
            tracing::warn!(job = %self.args.job, failures, %failure, "the log can't be taken over, again soon");
        }
        let node = &self.args.node;
        node.send_later(&self.myself, RETRY, JobMasterMessage::FenceAgain);
        Ok(())
    }

    /// This process can't run the job. That is no end of the job: its log stays as it is, for one that can.
    pub(super) fn refuse(&mut self, failure: Failure) {
        tracing::error!(job = %self.args.job, %failure, "the job can't be run here");
        let resources = &self.args.resource_manager;
        let _ = resources.cast(ResourceManagerMessage::ReleaseJob(self.args.job));
        let _ = self.args.manager.cast(JobManagerMessage::JobEnded {
            job: self.args.job,
            outcome: JobOutcome::Failed(failure),
            is_news: false,
        });
    }

    pub(super) async fn replayed(
        &mut self,
        replayed: Result<Box<Replayed>, Failure>,
    ) -> Result<(), ActorProcessingErr> {
        let Replayed {
            state,
            history,
            next,
            compacted,
        } = match replayed {
            Ok(replayed) => *replayed,
            Err(failure) => return self.fence_again(failure),
        };
        self.pass(Step::Replay)?;
        self.log.start_at(next, compacted);
        self.history = Arc::new(history);
        self.options = Arc::new(state.options.clone());
        self.takeover.found_ended = state.outcome.is_some();
        if let Some(parallelism) = state.parallelism {
            match self.args.graph.rescaled(parallelism) {
                Ok(graph) => self.args.graph = Arc::new(graph),
                Err(error) => {
                    self.refuse(Failure::job(error.to_string()));
                    return Ok(());
                }
            }
        }
        self.alignment = self.args.graph.alignment_groups();
        if state.outcome.is_none() && state.fingerprint != self.args.graph.fingerprint() {
            self.refuse(Failure::job(format!(
                "job {} was submitted with another plan (other operators, uids or parallelism): \
                 run it with that program, or begin with this one under another id, from a savepoint perhaps",
                self.args.job
            )));
            return Ok(());
        }
        self.takeover.expected = match state.outcome {
            Some(_) => BTreeSet::new(),
            None => state
                .executions
                .values()
                .map(|execution| execution.slot.incarnation)
                .collect(),
        };
        let node = Arc::clone(&self.args.node);
        let random = Box::new(move || node.seed.fraction());
        self.machine = Some(JobMachine::new(state, &self.args.graph, random));
        self.spawn_coordinator().await?;
        self.takeover.collecting = true;
        if !self.takeover.found_ended {
            // Who asks meanwhile hears what the log says.
            self.publish();
        }
        self.subscribe();
        let timeout = self.args.node.config.collect_timeout;
        let message = JobMasterMessage::CollectTimeout;
        self.args.node.send_later(&self.myself, timeout, message);
        self.decide_if_collected()
    }

    pub(super) fn subscribe(&self) {
        if self.machine.is_some() {
            let _ = self
                .args
                .resource_manager
                .cast(ResourceManagerMessage::Subscribe {
                    job: self.args.job,
                    master: self.myself.clone(),
                });
        }
    }

    pub(super) fn task_manager_joined(
        &mut self,
        id: &TaskManagerId,
        incarnation: Incarnation,
        known: KnownTaskManager,
    ) -> Result<(), ActorProcessingErr> {
        tracing::debug!(job = %self.args.job, task_manager = %id, "a TaskManager is there");
        self.command(&known, JobCommand::Report);
        self.hold_slots(incarnation);
        self.task_managers.insert(incarnation, known);
        for earlier in self.earlier_lives(id, incarnation) {
            self.task_managers.remove(&earlier);
            self.task_manager_lost(earlier)?;
        }
        Ok(())
    }

    /// Tells the ResourceManager, who may be new, which slots of a TaskManager are the job's by the log.
    fn hold_slots(&self, incarnation: Incarnation) {
        let executions = self
            .machine
            .iter()
            .flat_map(|m| m.state().executions.values());
        let held = executions.filter(|execution| execution.slot.incarnation == incarnation);
        let hold = ResourceManagerMessage::Hold {
            job: self.args.job,
            incarnation,
            slots: held.map(|execution| execution.slot.index).collect(),
        };
        let _ = self.args.resource_manager.cast(hold);
    }

    /// Lives of a TaskManager at which something of the job is logged, and whose end a new life proves: the
    /// ResourceManager that knew them may have died too.
    fn earlier_lives(&self, id: &TaskManagerId, now: Incarnation) -> BTreeSet<Incarnation> {
        let machine = self.machine.iter();
        machine
            .flat_map(|machine| machine.state().executions.values())
            .map(|execution| &execution.slot)
            .filter(|slot| slot.task_manager == *id && slot.incarnation != now)
            .map(|slot| slot.incarnation)
            .collect()
    }

    pub(super) fn task_manager_lost(
        &mut self,
        incarnation: Incarnation,
    ) -> Result<(), ActorProcessingErr> {
        if self.takeover.decided {
            self.takeover.expected.remove(&incarnation);
            self.decide(JobEvent::TaskManagerLost(incarnation))?;
            return self.recollect_if_complete();
        }
        // It may itself be alive, and only what it ran of this job be gone.
        self.takeover.expected.remove(&incarnation);
        self.takeover.reports.remove(&incarnation);
        self.decide_if_collected()
    }

    /// COLLECT: a report has come in.
    pub(super) fn report(&mut self, report: JobReport) -> Result<(), ActorProcessingErr> {
        self.pass(Step::Collect)?;
        let incarnation = report.incarnation;
        self.takeover.expected.remove(&incarnation);
        if self.takeover.decided {
            // Compared, never killed on sight.
            self.takeover.reports.insert(incarnation, report.clone());
            self.decide(JobEvent::LateReport(report))?;
            return self.recollect_if_complete();
        }
        self.takeover.reports.insert(incarnation, report);
        self.decide_if_collected()
    }

    pub(super) fn collect_timeout(&mut self) -> Result<(), ActorProcessingErr> {
        if self.takeover.decided {
            // Whoever is asked for a report later is another matter.
            return Ok(());
        }
        self.takeover.expected.clear();
        self.decide_if_collected()
    }

    /// DECIDE, once everybody who is expected has reported.
    fn decide_if_collected(&mut self) -> Result<(), ActorProcessingErr> {
        if !self.takeover.collecting || self.takeover.decided || !self.takeover.expected.is_empty()
        {
            return Ok(());
        }
        self.pass(Step::Decide)?;
        self.takeover.decided = true;
        let reports = std::mem::take(&mut self.takeover.reports);
        self.decide(JobEvent::Collected(reports.into_values().collect()))?;
        if self.cancel_asked {
            self.decide(JobEvent::Cancel)?;
        }
        Ok(())
    }

    /// A new coordinator wants to know what the tasks have acknowledged.
    pub(super) fn collect_again(&mut self) {
        self.takeover.reports.clear();
        let Some(machine) = &self.machine else {
            return;
        };
        let executions = machine.state().executions.values();
        self.takeover.expected = executions
            .map(|execution| execution.slot.incarnation)
            .collect();
        self.command_all(|| JobCommand::Report);
    }

    fn recollect_if_complete(&mut self) -> Result<(), ActorProcessingErr> {
        if !self.takeover.expected.is_empty() {
            return Ok(());
        }
        if let Checkpointing::Recollecting(tasks) = &self.checkpointing {
            let tasks = tasks.clone();
            let reports = std::mem::take(&mut self.takeover.reports);
            let reports = reports.into_values().flat_map(|report| report.tasks);
            let reports = reports.collect();
            self.checkpointing = Checkpointing::On(tasks.clone());
            self.coordinate(CheckpointEvent::Started { tasks, reports });
        }
        Ok(())
    }
}
