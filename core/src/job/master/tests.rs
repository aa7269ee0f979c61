//! The master's decisions as pictures: `what happens | what is done`, a line each.
//!
//! A vertex is a letter, its subtask `a0`, an attempt `a0#1`; slot i lies in TaskManager `t<i>`. An action
//! `log ..` is an entry on its way; `written` says that the oldest such entry is in the log.

use std::collections::VecDeque;

use uuid::Uuid;

use super::super::options::JobOptions;
use super::super::restart::RestartStrategy;
use super::*;
use crate::graph::picture::plan;
use crate::ids::{LeaderEpoch, OperatorUid, TaskManagerId};
use crate::job::SubtaskSnapshot;
use crate::job::{SnapshotPart, SnapshotRef, StoredFiles};
use crate::stage::CheckpointKind;

/// One region: two readers, one counter.
const ONE: &str = "a:2; b:1 <- a~hash";
/// Two regions of a reader and a counter each: a, b and c, d.
const TWO: &str = "a:1; b:1 <- a~hash; c:1; d:1 <- c~hash";
/// Two readers that share nothing but their splits: two regions, one source.
const WIDE: &str = "a:2";

/// A master, and everything around it, played by the test.
struct Job {
    graph: &'static str,
    options: JobOptions,
    machine: JobMachine,
    log: Vec<LogEntry>,
    queue: VecDeque<LogEntry>,
    now: Duration,
}

impl Job {
    fn submitted(graph: &'static str, options: JobOptions) -> Self {
        let submitted = LogEntry::Submitted {
            name: "job".into(),
            fingerprint: 0,
            program: None,
            options: Box::new(options.clone()),
            start: None,
        };
        let leader = LogEntry::Leader {
            epoch: LeaderEpoch(1),
            term: 1,
        };
        Self::led(graph, options, vec![submitted, leader])
    }

    fn led(graph: &'static str, options: JobOptions, log: Vec<LogEntry>) -> Self {
        let state = JobState::replay(&log);
        Self {
            machine: JobMachine::new(state, &plan(graph), Box::new(|| 0.5)),
            graph,
            options,
            log,
            queue: VecDeque::new(),
            now: Duration::ZERO,
        }
    }

    fn new(graph: &'static str) -> Self {
        let restart = RestartStrategy::FixedDelay {
            attempts: 2,
            delay: Duration::from_secs(1),
        };
        let options = JobOptions {
            restart,
            ..JobOptions::default()
        };
        Self::submitted(graph, options)
    }

    /// A job whose tasks all run, each source with ten splits.
    fn running(graph: &'static str) -> Self {
        let mut job = Self::new(graph);
        job.quietly("collected");
        for vertex in plan(graph).vertices.iter().filter(|v| v.is_source) {
            let letter = letter(vertex.id);
            job.quietly(&format!("splits {letter} 10"));
            job.quietly("written");
        }
        job.quietly("slots");
        job.write_all();
        for attempt in job.attempts() {
            job.quietly(&format!("ready {attempt}"));
        }
        assert!(job.machine.is_running());
        job
    }

    /// The next leader: it knows what was written, and nothing of what was on its way.
    fn successor(&self) -> Self {
        let mut log = self.log.clone();
        let epoch = self.machine.state.epoch.next();
        log.push(LogEntry::Leader {
            epoch,
            term: epoch.0,
        });
        Self::led(self.graph, self.options.clone(), log)
    }

    /// Current attempts.
    fn attempts(&self) -> Vec<String> {
        let executions = self.machine.state.executions.values();
        executions.map(|e| name(e.attempt)).collect()
    }

    fn write_all(&mut self) {
        while !self.queue.is_empty() {
            self.quietly("written");
        }
    }

    fn quietly(&mut self, event: &str) {
        self.happens(event);
    }

    /// Completes a checkpoint in which every reader has been given these splits.
    fn checkpoint(&mut self, id: u64, received: &[u32]) {
        let (id, kind) = (CheckpointId(id), CheckpointKind::Checkpoint);
        for entry in [
            LogEntry::CheckpointTriggered { id, kind },
            LogEntry::CheckpointCompleted { id, kind },
        ] {
            if matches!(entry, LogEntry::CheckpointCompleted { .. }) {
                self.machine.set_manifest(self.manifest(id, received));
            }
            self.log.push(entry.clone());
            self.machine.on_event(JobEvent::Appended(entry), self.now);
        }
    }

    /// The first reader has all of them, the others none.
    fn manifest(&self, id: CheckpointId, received: &[u32]) -> Manifest {
        let subtasks = plan(self.graph).subtasks().collect::<Vec<_>>();
        Manifest {
            id,
            kind: CheckpointKind::Checkpoint,
            fingerprint: 0,
            max_parallelism: 128,
            foreign: false,
            committed: false,
            subtasks: subtasks
                .into_iter()
                .map(|subtask| {
                    let mine = subtask.index == 0;
                    let received = received.iter().filter(|_| mine).map(|id| SplitId(*id));
                    let snapshot = SubtaskSnapshot {
                        parts: vec![SnapshotPart::whole(SnapshotRef {
                            name: format!("{id}-{subtask}"),
                            len: 0,
                            crc32c: 0,
                        })],
                        received: received.collect(),
                    };
                    (subtask, snapshot)
                })
                .collect(),
        }
    }

    fn happens(&mut self, event: &str) -> String {
        self.now += Duration::from_secs(1);
        let (what, of) = event.split_once(' ').unwrap_or((event, ""));
        let event = match what {
            "collected" => JobEvent::Collected(self.reports(of)),
            "late" => JobEvent::LateReport(self.reports(of).remove(0)),
            "splits" => {
                let (source, count) = of.split_once(' ').unwrap();
                // `3+`: three, and others may be found.
                let first = count.strip_suffix('+');
                JobEvent::SplitsFound {
                    source: vertex(source),
                    splits: match first.unwrap_or(count).parse::<u32>() {
                        Ok(count) => Ok((0..count).map(split).collect()),
                        Err(_) => Err(Failure::job("no such file")),
                    },
                    open: first.is_some(),
                }
            }
            // `a 2`: two new ones, `a 2!`: the last two, `a no`: it can't look.
            "discovered" => {
                let (source, count) = of.split_once(' ').unwrap();
                let last = count.strip_suffix('!');
                JobEvent::SplitsDiscovered {
                    source: vertex(source),
                    found: match last.unwrap_or(count).parse::<usize>() {
                        Ok(count) => Ok(Discovered {
                            splits: vec![Vec::new(); count],
                            last: last.is_some(),
                        }),
                        Err(_) => Err(Failure::attempt("cannot list")),
                    },
                    interval: Duration::from_secs(5),
                }
            }
            "look" => JobEvent::Timer(JobTimer::Discover { source: vertex(of) }),
            "slots" => JobEvent::SlotsGranted((0..4).map(slot).collect()),
            "slots-but" => {
                let lost: u32 = of.trim_start_matches('t').parse().unwrap();
                JobEvent::SlotsGranted((0..5).filter(|i| *i != lost).map(slot).collect())
            }
            "manifest" => JobEvent::ManifestRead(match of.parse() {
                Ok(id) => Ok(Box::new(self.manifest(CheckpointId(id), &[]))),
                Err(_) => Err(Failure::job("its checksum doesn't match")),
            }),
            "ready" => JobEvent::TaskReady(attempt(of)),
            "drained" => JobEvent::TaskDrained(attempt(of)),
            "failed" => JobEvent::TaskFailed(attempt(of), Failure::attempt("boom")),
            "failed!" => JobEvent::TaskFailed(attempt(of), Failure::job("bad data")),
            // `a0#1 map@7 boom`: the operator, where its source stood, and what it said; `sink!`: of what lies outside.
            "failed-in" => {
                let [who, place, message] = words(of);
                let (operator, position) = place.split_once('@').unwrap_or((place, ""));
                let mut failure = Failure::attempt(message);
                failure.outside = operator.ends_with('!');
                if operator != "-" {
                    let operator = operator.trim_end_matches('!');
                    failure = failure.blame(&OperatorUid(operator.into()));
                }
                let position = (!position.is_empty()).then(|| position.to_owned());
                JobEvent::TaskFailed(attempt(who), failure.at(position))
            }
            "canceled" => JobEvent::TaskCanceled(attempt(of)),
            "needs" => JobEvent::NeedsSplit(attempt(of)),
            "lost" => JobEvent::TaskManagerLost(incarnation(of)),
            "rm-changed" => JobEvent::ResourceManagerChanged,
            "cancel" => JobEvent::Cancel,
            "quiesced" => JobEvent::Quiesced,
            "done" => JobEvent::JobDone,
            "give-up" => JobEvent::FailJob(Failure::job(of)),
            "committed" => {
                return self.writes(LogEntry::CheckpointCommitted {
                    id: CheckpointId(of.parse().unwrap()),
                });
            }
            "triggered" => {
                return self.writes(LogEntry::CheckpointTriggered {
                    id: CheckpointId(of.parse().unwrap()),
                    kind: CheckpointKind::Checkpoint,
                });
            }
            "completed" => {
                return self.writes(LogEntry::CheckpointCompleted {
                    id: CheckpointId(of.parse().unwrap()),
                    kind: CheckpointKind::Checkpoint,
                });
            }
            "aborted" => {
                return self.writes(LogEntry::CheckpointAborted {
                    id: CheckpointId(of.parse().unwrap()),
                    reason: "the job is ending".into(),
                });
            }
            "too-long" => JobEvent::Timer(JobTimer::Commits),
            // `0`: its present wait, `0#1`: its first.
            "wake" => {
                let (region, wait) = of.split_once('#').unwrap_or((of, ""));
                let region: usize = region.parse().unwrap();
                let waits = self.machine.regions[region].waits;
                let wait = wait.parse().unwrap_or(waits);
                JobEvent::Timer(JobTimer::Restart { region, wait })
            }
            "written" => {
                let entry = self.queue.pop_front().expect("an entry on its way");
                self.log.push(entry.clone());
                JobEvent::Appended(entry)
            }
            other => panic!("no event {other}"),
        };
        let actions = self.machine.on_event(event, self.now);
        self.done(&actions)
    }

    fn done(&mut self, actions: &[JobAction]) -> String {
        for action in actions {
            if let JobAction::Append(entry) = action {
                self.queue.push_back(entry.clone());
            }
        }
        let words: Vec<String> = actions.iter().map(action_picture).collect();
        words.join("; ")
    }

    /// The coordinator has had an entry written.
    fn writes(&mut self, entry: LogEntry) -> String {
        self.log.push(entry.clone());
        let actions = self.machine.on_event(JobEvent::Appended(entry), self.now);
        self.done(&actions)
    }

    /// Plays a script of `event | actions` and compares the actions.
    fn play(&mut self, script: &str) {
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        };
        let (mut expected, mut actual) = (Vec::new(), Vec::new());
        for line in lines(script) {
            let (event, actions) = line.split_once('|').expect("event | actions");
            expected.push(format!("{} | {}", event.trim(), actions.trim()));
            let actions = self.happens(event.trim());
            actual.push(format!("{} | {actions}", event.trim()));
        }
        assert_eq!(actual, expected, "\nactual:\n{}\n", actual.join("\n"));
    }

    /// `a0#1=running+needs+got:0,1 b0#1=failed`, all in one TaskManager's report per slot.
    fn reports(&self, text: &str) -> Vec<JobReport> {
        let mut reports: BTreeMap<u32, Vec<TaskReport>> = BTreeMap::new();
        for word in text.split_whitespace() {
            let (who, what) = word.split_once('=').expect("attempt=phase");
            let mut words = what.split('+');
            let mut report = TaskReport {
                attempt: attempt(who),
                slot: slot(attempt(who).subtask.index),
                restored: None,
                phase: match words.next().unwrap() {
                    "building" => TaskPhase::Building,
                    "ready" => TaskPhase::Ready,
                    "running" => TaskPhase::Running,
                    "drained" => TaskPhase::Drained,
                    "failed" => TaskPhase::Failed(Failure::attempt("boom")),
                    "failed!" => TaskPhase::Failed(Failure::job("bad data")),
                    "canceled" => TaskPhase::Canceled,
                    other => panic!("no phase {other}"),
                },
                acknowledged: None,
                declined: CheckpointId(0),
                needs_split: false,
                received: Vec::new(),
            };
            for word in words {
                match word.split_once(':') {
                    None => report.needs_split = word == "needs",
                    Some((_, ids)) => {
                        let ids = ids.split(',').map(|id| SplitId(id.parse().unwrap()));
                        report.received = ids.collect();
                    }
                }
            }
            let index = report.slot.index;
            reports.entry(index).or_default().push(report);
        }
        let reports = reports.into_iter().map(|(index, tasks)| JobReport {
            task_manager: slot(index).task_manager,
            incarnation: slot(index).incarnation,
            tasks,
        });
        reports.collect()
    }

    /// Which splits each attempt has been given, `-` for what a checkpoint holds: `a0#1:0,1 -:2`.
    fn splits(&self) -> String {
        let mut of: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (source, pool) in &self.machine.state.splits {
            let mut owned = BTreeSet::new();
            for execution in self.machine.state.executions.values() {
                if execution.attempt.subtask.vertex == *source {
                    for id in pool.assigned_to(execution.attempt) {
                        owned.insert(id);
                        of.entry(name(execution.attempt)).or_default().push(id.0);
                    }
                }
            }
            // What nobody who is there has been given, and nobody will be.
            let mut left = Vec::new();
            let mut free = BTreeSet::new();
            let readers = self.machine.state.executions.keys();
            for reader in readers.filter(|reader| reader.vertex == *source) {
                while let Some(id) = pool.next(*reader, &free) {
                    free.insert(id);
                }
            }
            for id in (0..pool.len() as u32).map(SplitId) {
                if !owned.contains(&id) && !free.contains(&id) {
                    left.push(id.0);
                }
            }
            if !left.is_empty() {
                of.insert("-".into(), left);
            }
        }
        let words = of.iter().map(|(who, ids)| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("{who}:{}", ids.join(","))
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn words<const N: usize>(text: &str) -> [&str; N] {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.try_into().expect("so many words")
}

fn letter(vertex: VertexId) -> char {
    char::from(b'a' + vertex.0 as u8)
}

fn vertex(text: &str) -> VertexId {
    VertexId(u32::from(text.as_bytes()[0] - b'a'))
}

fn name(attempt: AttemptId) -> String {
    let SubtaskId { vertex, index } = attempt.subtask;
    format!("{}{index}#{}", letter(vertex), attempt.attempt)
}

fn attempt(text: &str) -> AttemptId {
    let (subtask, number) = text.split_once('#').expect("a0#1");
    AttemptId {
        subtask: SubtaskId {
            vertex: vertex(subtask),
            index: subtask[1..].parse().unwrap(),
        },
        attempt: number.parse().unwrap(),
    }
}

fn split(id: u32) -> EncodedSplit {
    EncodedSplit {
        id: SplitId(id),
        bytes: Vec::new(),
    }
}

fn slot(index: u32) -> Slot {
    Slot {
        task_manager: TaskManagerId(format!("t{index}")),
        incarnation: incarnation(&format!("t{index}")),
        index,
    }
}

fn incarnation(text: &str) -> Incarnation {
    Incarnation(Uuid::from_u128(
        text.trim_start_matches('t').parse().unwrap(),
    ))
}

fn names(attempts: &[AttemptId]) -> String {
    let names: Vec<String> = attempts.iter().map(|attempt| name(*attempt)).collect();
    names.join(" ")
}

fn restore_picture(restore: &Option<CheckpointId>) -> String {
    restore.map_or(String::new(), |id| format!(" @{id}"))
}

fn entry_picture(entry: &LogEntry) -> String {
    match entry {
        LogEntry::SplitsFound { source, .. } => format!("splits of {}", letter(*source)),
        LogEntry::SplitsDiscovered {
            source,
            splits,
            last,
        } => {
            let last = if *last { " at last" } else { "" };
            format!("{} more of {}{last}", splits.len(), letter(*source))
        }
        LogEntry::SplitsAssigned { attempt, splits } => {
            format!("{} gets {}", name(*attempt), splits[0].0)
        }
        LogEntry::Deployed {
            attempts, restore, ..
        } => {
            let attempts: Vec<AttemptId> = attempts.iter().map(|(a, _)| *a).collect();
            format!("deployed {}{}", names(&attempts), restore_picture(restore))
        }
        LogEntry::FailoverStarted { region, cause, .. } => {
            let region = region
                .iter()
                .map(|id| format!("{}{}", letter(id.vertex), id.index));
            let region: Vec<String> = region.collect();
            format!("failover {} ({})", region.join(" "), cause.message)
        }
        LogEntry::CancelRequested => "cancel".into(),
        LogEntry::JobFailing { cause } => format!("failing ({})", cause.message),
        LogEntry::Finished { outcome } => outcome.to_string(),
        other => format!("{other:?}"),
    }
}

fn action_picture(action: &JobAction) -> String {
    match action {
        JobAction::Append(entry) => format!("log {}", entry_picture(entry)),
        JobAction::FindSplits(source) => format!("find {}", letter(*source)),
        JobAction::DiscoverSplits(source) => format!("look {}", letter(*source)),
        JobAction::RequestSlots { count, backend } => match backend {
            None => format!("request {count}"),
            Some(backend) => format!("request {count} with {backend}"),
        },
        JobAction::ReadManifest(id) => format!("read {id}"),
        JobAction::Deploy {
            attempts,
            restore,
            only_commit,
        } => {
            let attempts: Vec<AttemptId> = attempts.iter().map(|(a, _)| *a).collect();
            let to_commit = if *only_commit { " to commit" } else { "" };
            format!(
                "deploy {}{}{to_commit}",
                names(&attempts),
                restore_picture(restore)
            )
        }
        JobAction::Run(attempts) => format!("run {}", names(attempts)),
        JobAction::Cancel(attempts) if attempts.is_empty() => "cancel none".into(),
        JobAction::Cancel(attempts) => format!("cancel {}", names(attempts)),
        JobAction::Finish(attempts) if attempts.is_empty() => "finish none".into(),
        JobAction::Finish(attempts) => format!("finish {}", names(attempts)),
        JobAction::AssignSplits {
            attempt,
            splits,
            no_more,
        } => {
            let mut words: Vec<String> = splits.iter().map(|s| s.id.0.to_string()).collect();
            words.extend(no_more.then(|| "no more".to_owned()));
            if words.is_empty() {
                words.push("nothing yet".to_owned());
            }
            format!("give {} {}", name(*attempt), words.join(","))
        }
        JobAction::SetTimer(JobTimer::Restart { region, .. }, wait) => {
            format!("wake {region} in {wait:?}")
        }
        JobAction::SetTimer(JobTimer::Discover { source }, wait) => {
            format!("look {} in {wait:?}", letter(*source))
        }
        JobAction::SetTimer(JobTimer::Commits, wait) => format!("give commits up in {wait:?}"),
        JobAction::StartCheckpoints { tasks, reports } => {
            let tasks: Vec<AttemptId> = tasks.values().copied().collect();
            let known = reports.len();
            match known {
                0 => format!("checkpoints of {}", names(&tasks)),
                _ => format!("checkpoints of {} ({known} known)", names(&tasks)),
            }
        }
        JobAction::Quiesce => "quiesce".into(),
        JobAction::AllDrained => "all drained".into(),
        JobAction::Ended(outcome) => format!("ended {outcome}"),
    }
}

// --- starting ----------------------------------------------------------------------------------------

#[test]
fn a_new_job_finds_its_splits_gets_slots_and_logs_every_attempt_before_it_is_deployed() {
    Job::new(ONE).play(
        "collected    | find a
         splits a 3   | log splits of a
         written      | request 2
         slots        | log deployed a0#1 a1#1 b0#1
         written      | deploy a0#1 a1#1 b0#1
         ready a0#1   |
         ready b0#1   |
         ready a1#1   | run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1",
    );
}

#[test]
fn checkpoints_begin_when_the_last_region_runs() {
    Job::new(TWO).play(
        "collected    | find a; find c
         splits c 3   | log splits of c
         written      |
         splits a 3   | log splits of a
         written      | request 1; request 1
         slots        | log deployed a0#1 b0#1; log deployed c0#1 d0#1
         written      | deploy a0#1 b0#1
         ready a0#1   |
         ready b0#1   | run a0#1 b0#1
         written      | deploy c0#1 d0#1
         ready c0#1   |
         ready d0#1   | run c0#1 d0#1; checkpoints of a0#1 b0#1 c0#1 d0#1",
    );
}

#[test]
fn a_source_whose_splits_cannot_be_found_fails_the_job() {
    Job::new(ONE).play(
        "collected    | find a
         splits a ?   | log failing (no such file)
         written      | cancel none; log failed: no such file
         written      | finish none; ended failed: no such file",
    );
}

#[test]
fn a_new_resource_manager_is_asked_again_by_those_who_wait() {
    let mut job = Job::new(ONE);
    job.play(
        "rm-changed   |
         collected    | find a
         splits a 3   | log splits of a
         written      | request 2
         rm-changed   | request 2
         slots        | log deployed a0#1 a1#1 b0#1
         rm-changed   |",
    );
}

#[test]
fn splits_are_handed_out_in_order_and_logged_before_they_are_sent() {
    let mut job = Job::running("a:2; b:1 <- a~hash");
    job.play(
        "needs a1#1   | log a1#1 gets 0
         needs a0#1   | log a0#1 gets 1
         written      | give a1#1 0
         written      | give a0#1 1
         needs a0#9   |
         needs b0#1   |",
    );
    assert_eq!(job.splits(), "a0#1:1 a1#1:0");
}

#[test]
fn a_reader_that_asks_when_all_are_handed_out_is_told_that_there_are_no_more() {
    let mut job = Job::new("a:1");
    job.play(
        "collected    | find a
         splits a 1   | log splits of a
         written      | request 1
         slots        | log deployed a0#1
         written      | deploy a0#1
         ready a0#1   | run a0#1; checkpoints of a0#1
         needs a0#1   | log a0#1 gets 0
         written      | give a0#1 0
         needs a0#1   | give a0#1 no more",
    );
}

/// A job of two readers whose source goes on looking, all running; it has found two splits so far.
fn watching() -> Job {
    let mut job = Job::new("a:2");
    job.play(
        "collected    | find a
         splits a 1+  | log splits of a
         written      | look a; request 2; request 2
         slots        | log deployed a0#1; log deployed a1#1
         written      | deploy a0#1
         written      | deploy a1#1
         ready a0#1   | run a0#1
         ready a1#1   | run a1#1; checkpoints of a0#1 a1#1
         needs a0#1   | log a0#1 gets 0
         written      | give a0#1 0
         needs a1#1   | give a1#1 nothing yet
         discovered a 1 | log 1 more of a
         written      | log a1#1 gets 1; look a in 5s
         written      | give a1#1 1",
    );
    job
}

#[test]
fn a_reader_that_asks_too_early_gets_what_is_found_later_and_is_told_at_last_that_there_is_no_more()
{
    let mut job = watching();
    job.play(
        "needs a0#1      | give a0#1 nothing yet
         needs a1#1      | give a1#1 nothing yet
         look a          | look a
         discovered a 0  | look a in 5s
         look a          | look a
         discovered a 3  | log 3 more of a
         written         | log a0#1 gets 2; log a1#1 gets 3; look a in 5s
         written         | give a0#1 2
         written         | give a1#1 3
         needs a1#1      | log a1#1 gets 4
         written         | give a1#1 4
         needs a1#1      | give a1#1 nothing yet
         look a          | look a
         discovered a 0! | log 0 more of a at last
         written         | give a1#1 no more
         needs a0#1      | give a0#1 no more",
    );
    assert_eq!(job.splits(), "a0#1:0,2 a1#1:1,3,4");
}

#[test]
fn a_new_leader_looks_on_and_what_its_predecessor_found_and_did_not_log_is_found_again() {
    let mut job = watching();
    job.play(
        "needs a0#1     | give a0#1 nothing yet
         look a         | look a
         discovered a 1 | log 1 more of a",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running+needs+got:0 a1#1=running+got:1 | give a0#1 nothing yet; look a; checkpoints of a0#1 a1#1 (2 known)
         discovered a 1 | log 1 more of a
         written        | log a0#1 gets 2; look a in 5s
         written        | give a0#1 2",
    );
}

#[test]
fn a_restarted_reader_waits_anew_and_its_predecessor_gets_nothing() {
    let mut job = watching();
    job.play(
        "needs a0#1     | give a0#1 nothing yet
         failed a0#1    | log failover a0 (boom)
         written        | cancel none; quiesce
         quiesced       | wake 0 in 1s
         wake 0         | request 2
         slots          | log deployed a0#2
         written        | deploy a0#2
         ready a0#2     | run a0#2; checkpoints of a0#2 a1#1
         needs a0#2     | log a0#2 gets 0
         written        | give a0#2 0
         needs a0#2     | give a0#2 nothing yet
         discovered a 1 | log 1 more of a
         written        | log a0#2 gets 2; look a in 5s",
    );
}

#[test]
fn a_look_that_fails_is_taken_again_and_fails_the_job_if_that_does_not_help() {
    let mut job = watching();
    for _ in 1..crate::source::DISCOVERY_TRIES {
        job.play("discovered a no | look a in 5s");
    }
    job.play(
        "discovered a 0  | look a in 5s
         discovered a no | look a in 5s",
    );
    for _ in 2..crate::source::DISCOVERY_TRIES {
        job.play("discovered a no | look a in 5s");
    }
    job.play("discovered a no | log failing (cannot list)");
}

#[test]
fn the_coordinator_is_told_when_all_have_drained_and_sees_the_job_through() {
    Job::running(ONE).play(
        "drained a0#1 |
         drained a1#1 |
         drained a1#1 |
         drained b0#1 | all drained
         done         | log completed
         written      | finish a0#1 a1#1 b0#1; ended completed",
    );
}

// --- failing over ------------------------------------------------------------------------------------

#[test]
fn one_region_fails_over_while_the_other_runs_on_untouched() {
    let mut job = Job::running(TWO);
    job.play(
        "failed c0#1   | log failover c0 d0 (boom)
         written       | cancel d0#1; quiesce
         canceled d0#1 |
         quiesced      | wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy c0#2 d0#2
         ready c0#2    |
         ready d0#2    | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2",
    );
    let state = job.machine.state();
    assert_eq!((state.restarts, state.restarted_by_takeover), (1, 0));
}

#[test]
fn a_region_is_not_restarted_before_its_tasks_are_over_and_checkpoints_are_quiet() {
    // In whatever order the three come.
    for order in ["cbq", "cqb", "bcq", "bqc", "qbc", "qcb"] {
        let mut job = Job::running(ONE);
        job.play(
            "failed a0#1   | log failover a0 a1 b0 (boom)
             written       | cancel a1#1 b0#1; quiesce",
        );
        for (place, what) in order.chars().enumerate() {
            let event = match what {
                'c' => "canceled a1#1",
                'b' => "canceled b0#1",
                _ => "quiesced",
            };
            let actions = job.happens(event);
            assert_eq!(actions.is_empty(), place < 2, "{order}: {event}: {actions}");
        }
    }
}

#[test]
fn the_end_of_an_earlier_wait_does_not_shorten_a_later_one() {
    let mut job = Job::running("a:1");
    for event in ["failed a0#1", "written", "quiesced"] {
        job.quietly(event);
    }
    // What was given up for lost comes back meanwhile, and ends: the region waits anew.
    job.play(
        "late a0#1=running | cancel a0#1
         canceled a0#1     | wake 0 in 0ns
         wake 0#1          |
         wake 0#2          | request 1
         wake 0#2          |",
    );
}

#[test]
fn what_is_known_of_replaced_executions_is_forgotten() {
    let mut job = Job::running("a:1");
    for _ in 0..5 {
        let last = job.attempts()[0].clone();
        for event in [
            &*format!("drained {last}"),
            &format!("failed {last}"),
            "written",
            "quiesced",
            "wake 0",
            "slots",
            "written",
        ] {
            job.quietly(event);
        }
        let next = job.attempts()[0].clone();
        job.quietly(&format!("ready {next}"));
        if job.machine.is_running() {
            job.machine.restart = RestartState::default();
        }
    }
    assert!(job.machine.is_running() && job.attempts() == ["a0#6"]);
    assert!(job.machine.over.is_empty() && job.machine.drained.is_empty());
}

#[test]
fn a_second_region_that_fails_meanwhile_waits_for_the_same_quiet() {
    Job::running(TWO).play(
        "failed a0#1   | log failover a0 b0 (boom)
         written       | cancel b0#1; quiesce
         failed d0#1   | log failover c0 d0 (boom)
         canceled b0#1 |
         quiesced      | wake 0 in 1s
         written       | cancel c0#1
         canceled c0#1 | wake 1 in 1s
         wake 0        | request 1
         slots         | log deployed a0#2 b0#2
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy a0#2 b0#2
         written       | deploy c0#2 d0#2
         ready a0#2    |
         ready b0#2    | run a0#2 b0#2
         ready c0#2    |
         ready d0#2    | run c0#2 d0#2; checkpoints of a0#2 b0#2 c0#2 d0#2",
    );
}

#[test]
fn several_failures_of_one_region_are_one_failover() {
    Job::running(ONE).play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         failed a1#1   |
         written       | cancel b0#1; quiesce
         failed b0#1   |
         quiesced      | wake 0 in 1s",
    );
}

#[test]
fn a_region_that_fails_while_it_is_deployed_fails_over_too() {
    Job::new(ONE).play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 2
         slots         | log deployed a0#1 a1#1 b0#1
         written       | deploy a0#1 a1#1 b0#1
         ready a0#1    |
         failed b0#1   | log failover a0 a1 b0 (boom)
         ready a1#1    |
         written       | cancel a0#1 a1#1
         canceled a0#1 |
         canceled a1#1 | wake 0 in 1s
         wake 0        | request 2
         slots         | log deployed a0#2 a1#2 b0#2",
    );
}

#[test]
fn what_an_old_attempt_says_changes_nothing() {
    let mut job = Job::running(ONE);
    job.play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1; quiesce
         quiesced      |
         canceled a1#1 |
         canceled b0#1 | wake 0 in 1s
         wake 0        | request 2
         slots         | log deployed a0#2 a1#2 b0#2
         written       | deploy a0#2 a1#2 b0#2
         ready a0#1    |
         failed a0#1   |
         failed! a0#1  |
         drained a0#1  |
         needs a0#1    |
         canceled b0#1 |
         ready a0#2    |
         ready a1#2    |
         ready b0#2    | run a0#2 a1#2 b0#2; checkpoints of a0#2 a1#2 b0#2",
    );
}

#[test]
fn a_restart_begins_from_the_latest_checkpoint_whose_manifest_is_read_if_it_is_not_known() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[0]);
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         wake 0        | request 1
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1
         ready a0#2    | run a0#2; checkpoints of a0#2",
    );
    let mut next = job.successor();
    next.play(
        "collected     | log failover a0 (v0[0]#2 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         manifest 1    | request 1
         slots         | log deployed a0#3 @1
         written       | deploy a0#3 @1",
    );
}

#[test]
fn a_manifest_that_cannot_be_read_fails_the_job() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         manifest ?    | log failing (its checksum doesn't match)
         slots         |
         written       | cancel none; log failed: its checksum doesn't match",
    );
}

#[test]
fn the_manifest_of_a_checkpoint_that_was_aborted_does_not_take_the_place_of_the_one_to_start_from()
{
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         wake 0        | request 1",
    );
    // Its storing had begun before the failure, and ends only now.
    let late = job.manifest(CheckpointId(2), &[]);
    job.machine.set_manifest(late);
    job.play("slots         | log deployed a0#2 @1");
}

#[test]
fn a_strategy_that_gives_up_fails_the_job() {
    let restart = RestartStrategy::None;
    let mut job = Job::submitted(
        "a:1",
        JobOptions {
            restart,
            ..JobOptions::default()
        },
    );
    job.play(
        "collected     | find a
         splits a 1    | log splits of a
         written       | request 1
         slots         | log deployed a0#1
         written       | deploy a0#1
         ready a0#1    | run a0#1; checkpoints of a0#1
         failed a0#1   | log failing (boom)
         written       | cancel none; quiesce
         quiesced      | log failed: boom
         written       | finish none; ended failed: boom",
    );
}

/// Fails a one-task job and brings it up again, as attempt `next`.
fn restart(job: &mut Job, next: u32) {
    let last = next - 1;
    for event in [
        &format!("failed a0#{last}"),
        "written",
        "quiesced",
        "wake 0",
        "slots",
        "written",
        &format!("ready a0#{next}"),
    ] {
        job.quietly(event);
    }
    assert!(job.machine.is_running(), "attempt {next}");
}

#[test]
fn restarts_are_counted_over_the_life_of_the_job_not_of_its_leader() {
    let mut job = Job::running("a:1");
    restart(&mut job, 2);
    restart(&mut job, 3);
    let mut next = job.successor();
    next.play(
        "collected a0#3=running | checkpoints of a0#3 (1 known)
         failed a0#3            | log failing (boom)",
    );
    job.play("failed a0#3  | log failing (boom)");
}

/// Fails tasks of two regions, `a0` and `a1`, brings them up again each time, and says what became of the job
/// after which failure. `|` is a checkpoint, `L` another leader.
fn fate(script: &str) -> String {
    let options = JobOptions {
        poison_after: Some(3),
        ..JobOptions::default()
    };
    let mut job = Job::submitted(WIDE, options);
    for event in [
        "collected",
        "splits a 10",
        "written",
        "slots",
        "written",
        "written",
    ] {
        job.quietly(event);
    }
    job.quietly("ready a0#1");
    job.quietly("ready a1#1");
    let (mut checkpoints, mut failures) = (0, 0);
    for step in script.split(", ") {
        match step {
            "|" => {
                checkpoints += 1;
                job.checkpoint(checkpoints, &[]);
            }
            "L" => {
                let running: Vec<String> = job.attempts();
                let running: Vec<String> = running.iter().map(|a| format!("{a}=running")).collect();
                job = job.successor();
                job.quietly(&format!("collected {}", running.join(" ")));
            }
            failure => {
                failures += 1;
                let [subtask, place, message] = words(failure);
                let region = usize::from(subtask == "a1");
                let last = job.attempts()[region].clone();
                let actions = job.happens(&format!("failed-in {last} {place} {message}"));
                if let Some(fate) = actions.strip_prefix("log failing ") {
                    return format!("{failures}: {fate}");
                }
                for event in [
                    "written",
                    "quiesced",
                    &format!("wake {region}"),
                    "slots",
                    "written",
                ] {
                    job.quietly(event);
                }
                let next = job.attempts()[region].clone();
                job.quietly(&format!("ready {next}"));
            }
        }
        assert!(job.machine.is_running(), "{script}: {step}");
    }
    "lives".into()
}

#[test]
fn a_failure_that_comes_again_and_again_is_poison_and_fails_the_job() {
    let poison = |what: &str| {
        format!(
            "3: ({what}; poison: the same 3 times in a row with no checkpoint in between, so it is not tried again)"
        )
    };
    let table = [
        ("a0 map boom, a0 map boom, a0 map boom", poison("boom")),
        // The words may hold what changes, and runs may end elsewhere.
        (
            "a0 map@7 one, a0 map@7 two, a0 map@7 three",
            poison("three"),
        ),
        (
            "a0 map@7 boom, a0 map@8 boom, a0 map@9 boom",
            poison("boom"),
        ),
        ("a0 map@7 one, a0 map@8 two, a0 map@9 three", "lives".into()),
        ("a0 map one, a0 map two, a0 map three", "lives".into()),
        (
            "a0 map boom, a0 sink boom, a0 map boom, a0 map boom",
            "lives".into(),
        ),
        // It got further in between.
        (
            "a0 map boom, a0 map boom, |, a0 map boom, a0 map boom",
            "lives".into(),
        ),
        // One cause that hits every region at once is one failure of each.
        (
            "a0 sink full, a1 sink full, a0 sink full, a1 sink full",
            "lives".into(),
        ),
        // What a sink's target or a source's file can't do now it may do later.
        (
            "a0 sink! away, a0 sink! away, a0 sink! away, a0 sink! away",
            "lives".into(),
        ),
        (
            "a0 file!@7 away, a0 file!@7 away, a0 file!@7 away, a0 file!@7 away",
            "lives".into(),
        ),
        // The code of the job isn't to blame for a lost process.
        ("a0 - lost, a0 - lost, a0 - lost, a0 - lost", "lives".into()),
        (
            "a0 map boom, L, a0 map boom, L, a0 map boom",
            poison("boom"),
        ),
    ];
    for (script, expected) in table {
        assert_eq!(fate(script), expected, "{script}");
    }
}

#[test]
fn a_failure_that_no_restart_can_mend_fails_the_job_at_once() {
    Job::running(TWO).play(
        "failed! a0#1  | log failing (bad data)
         written       | cancel b0#1 c0#1 d0#1; quiesce
         canceled b0#1 |
         failed c0#1   |
         quiesced      |
         canceled d0#1 | log failed: bad data
         written       | finish none; ended failed: bad data",
    );
}

#[test]
fn a_lost_task_manager_takes_its_tasks_with_it() {
    let mut job = Job::running(ONE);
    // t0 runs a0 and b0.
    job.play(
        "lost t0       | log failover a0 a1 b0 (TaskManager t0 was lost)
         written       | cancel a1#1; quiesce
         quiesced      |
         canceled a1#1 | wake 0 in 1s
         wake 0        | request 2
         slots-but t0  | log deployed a0#2 a1#2 b0#2
         written       | deploy a0#2 a1#2 b0#2",
    );
    let places = job.machine.state.executions.values().map(|e| e.slot.index);
    assert_eq!(places.collect::<Vec<_>>(), [1, 2, 1]);
    Job::running(ONE).play(
        "lost t9       |
         failed a1#1   | log failover a0 a1 b0 (boom)
         lost t0       |
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s",
    );
    // The last that is waited for.
    Job::running(ONE).play(
        "failed a0#1   | log failover a0 a1 b0 (boom)
         written       | cancel a1#1 b0#1; quiesce
         quiesced      |
         canceled b0#1 |
         lost t1       | wake 0 in 1s",
    );
}

#[test]
fn slots_that_are_lost_before_they_are_used_are_asked_for_again() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    // The answer to what was asked for before.
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1
         slots         |
         lost t0       |
         manifest 1    | request 1
         slots-but t0  | log deployed a0#2 @1",
    );
}

#[test]
fn slots_are_asked_for_where_the_files_of_the_checkpoint_can_be_read() {
    let mut job = Job::running("a:1");
    job.checkpoint(1, &[]);
    let mut next = job.successor();
    next.play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | read 1",
    );
    let mut manifest = next.manifest(CheckpointId(1), &[]);
    let parts = manifest.subtasks.values_mut().flat_map(|s| &mut s.parts);
    parts.for_each(|part| {
        part.stores.push(StoredFiles {
            operator: "sums".into(),
            format: "RocksDB".to_owned(),
            files: Vec::new(),
        });
    });
    let read = JobEvent::ManifestRead(Ok(Box::new(manifest)));
    let actions = next.machine.on_event(read, Duration::ZERO);
    let backend = Some("RocksDB".to_owned());
    assert_eq!(actions, [JobAction::RequestSlots { count: 1, backend }]);
    next.play("rm-changed | request 1 with RocksDB");
}

#[test]
fn a_task_manager_that_is_lost_while_a_deployment_is_logged_fails_the_region_when_it_is() {
    Job::new(ONE).play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 2
         slots         | log deployed a0#1 a1#1 b0#1
         lost t1       |
         written       | deploy a0#1 a1#1 b0#1; log failover a0 a1 b0 (TaskManager t1 was lost)
         written       | cancel a0#1 b0#1
         canceled a0#1 |
         canceled b0#1 | wake 0 in 1s",
    );
}

// --- splits ------------------------------------------------------------------------------------------

#[test]
fn a_restarted_region_frees_exactly_the_splits_that_it_was_given_since_the_checkpoint() {
    let mut job = Job::running(WIDE);
    for event in ["needs a0#1", "needs a1#1"] {
        job.quietly(event);
        job.quietly("written");
    }
    job.checkpoint(1, &[0]);
    job.quietly("needs a0#1");
    job.quietly("written");
    assert_eq!(job.splits(), "a0#1:0,2 a1#1:1");
    job.play(
        "failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         needs a1#1    | log a1#1 gets 3
         written       | give a1#1 3
         wake 0        | request 2
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1",
    );
    // 1 and 3 are being read next door; 0 is in the checkpoint; 2 is free again.
    assert_eq!(job.splits(), "-:0 a1#1:1,3");
    job.play(
        "ready a0#2    | run a0#2; checkpoints of a0#2 a1#1
         needs a0#2    | log a0#2 gets 2
         written       | give a0#2 2
         needs a0#2    | log a0#2 gets 4",
    );
}

#[test]
fn a_reader_that_was_given_up_gets_no_split_however_late_it_asks() {
    let mut job = Job::running("a:1");
    job.play(
        "lost t0       | log failover a0 (TaskManager t0 was lost)
         needs a0#1    |
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         needs a0#1    |
         wake 0        | request 1
         slots-but t0  | log deployed a0#2
         needs a0#1    |
         written       | deploy a0#2
         needs a0#1    |",
    );
    assert_eq!(job.splits(), "");
}

#[test]
fn an_assignment_to_a_replaced_reader_is_void() {
    let mut job = Job::running("a:1");
    restart(&mut job, 2);
    let mut state = job.machine.state.clone();
    state.apply(&LogEntry::SplitsAssigned {
        attempt: attempt("a0#1"),
        splits: vec![SplitId(0)],
    });
    let free = state.splits[&vertex("a")].next(attempt("a0#1").subtask, &BTreeSet::new());
    assert_eq!(free, Some(SplitId(0)));
}

// --- ending ------------------------------------------------------------------------------------------

#[test]
fn a_job_can_be_canceled_in_every_phase() {
    let cases = [
        // While its splits are looked for.
        (
            Job::new(ONE),
            "collected    | find a
             cancel       | log cancel
             written      | cancel none; log canceled
             splits a 3   |
             written      | finish none; ended canceled",
        ),
        // While it waits for slots.
        (
            Job::new(ONE),
            "collected    | find a
             splits a 3   | log splits of a
             written      | request 2
             cancel       | log cancel
             written      | cancel none; log canceled
             slots        |
             written      | finish none; ended canceled",
        ),
        // While its deployment is logged, behind the cancel and before it.
        (
            Job::new(ONE),
            "collected    | find a
             splits a 3   | log splits of a
             written      | request 2
             cancel       | log cancel
             slots        | log deployed a0#1 a1#1 b0#1
             written      | cancel none; log canceled
             written      |
             written      | finish none; ended canceled",
        ),
        (
            Job::new("a:1"),
            "collected     | find a
             splits a 3    | log splits of a
             written       | request 1
             slots         | log deployed a0#1
             cancel        | log cancel
             written       | deploy a0#1
             written       | cancel a0#1
             canceled a0#1 | log canceled
             written       | finish none; ended canceled",
        ),
        // While it is deployed.
        (
            Job::new("a:1"),
            "collected     | find a
             splits a 3    | log splits of a
             written       | request 1
             slots         | log deployed a0#1
             written       | deploy a0#1
             cancel        | log cancel
             ready a0#1    | run a0#1; checkpoints of a0#1
             written       | cancel a0#1; quiesce
             canceled a0#1 |
             quiesced      | log canceled
             written       | finish none; ended canceled",
        ),
        (
            Job::new("a:1"),
            "collected     | find a
             splits a 3    | log splits of a
             written       | request 1
             slots         | log deployed a0#1
             written       | deploy a0#1
             cancel        | log cancel
             written       | cancel a0#1
             ready a0#1    |
             canceled a0#1 | log canceled
             written       | finish none; ended canceled",
        ),
        // While it runs.
        (
            Job::running(TWO),
            "cancel        | log cancel
             written       | cancel a0#1 b0#1 c0#1 d0#1; quiesce
             canceled a0#1 |
             failed b0#1   |
             lost t0       |
             quiesced      | log canceled
             cancel        |
             written       | finish none; ended canceled",
        ),
        // While a failover is logged, while its tasks end, while it waits.
        (
            Job::running(ONE),
            "failed a0#1   | log failover a0 a1 b0 (boom)
             cancel        | log cancel
             written       | cancel a1#1 b0#1; quiesce
             written       | cancel a1#1 b0#1
             canceled a1#1 |
             canceled b0#1 |
             quiesced      | log canceled",
        ),
        (
            Job::running("a:1"),
            "failed a0#1   | log failover a0 (boom)
             written       | cancel none; quiesce
             cancel        | log cancel
             written       | cancel none
             quiesced      | log canceled
             written       | finish none; ended canceled",
        ),
        (
            Job::running("a:1"),
            "failed a0#1   | log failover a0 (boom)
             written       | cancel none; quiesce
             quiesced      | wake 0 in 1s
             cancel        | log cancel
             written       | cancel none; log canceled
             wake 0        | request 1
             slots         |
             written       | finish none; ended canceled",
        ),
        // While it completes.
        (
            Job::running("a:1"),
            "drained a0#1  | all drained
             done          | log completed
             cancel        |
             written       | finish a0#1; ended completed",
        ),
    ];
    for (mut job, script) in cases {
        job.play(script);
    }
}

#[test]
fn a_job_that_is_to_end_sees_a_complete_checkpoints_commits_through_first() {
    let complete = |graph: &'static str| {
        let mut job = Job::running(graph);
        job.checkpoint(1, &[]);
        job
    };
    // Everybody is there: they go on until it is confirmed.
    complete("a:1").play(
        "cancel        | log cancel
         written       | give commits up in 30s
         needs a0#1    |
         committed 1   | cancel a0#1; quiesce
         quiesced      |
         canceled a0#1 | log canceled
         too-long      |
         written       | finish none; ended canceled",
    );
    // One is being decided when the end is asked for.
    let mut job = Job::running("a:1");
    job.play(
        "triggered 1   |
         cancel        | log cancel
         written       | give commits up in 30s
         completed 1   |
         committed 1   | cancel a0#1; quiesce",
    );
    let mut job = Job::running("a:1");
    job.play(
        "triggered 1   |
         cancel        | log cancel
         written       | give commits up in 30s
         aborted 1     | cancel a0#1; quiesce",
    );
    // Who has died, and whose commits died too, is started once more to commit.
    complete("a:1").play(
        "failed! a0#1  | log failing (bad data)
         written       | give commits up in 30s; log failover a0 (bad data)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 0ns
         wake 0        | request 1
         slots         | log deployed a0#2 @1
         written       | deploy a0#2 @1 to commit
         ready a0#2    | run a0#2; checkpoints of a0#2
         committed 1   | cancel a0#2; quiesce
         quiesced      |
         canceled a0#2 | log failed: bad data",
    );
    // Its target is away: again, until that has taken long enough.
    let mut job = complete("a:1");
    job.play("failed! a0#1 | log failing (bad data)");
    for event in [
        "written",
        "written",
        "quiesced",
        "wake 0",
        "slots",
        "written",
        "ready a0#2",
    ] {
        job.quietly(event);
    }
    job.play(
        "failed a0#2   | log failover a0 (boom)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 1s
         too-long      | cancel none; log failed: bad data
         wake 0        | request 1
         slots         |",
    );
    // What it has to commit can't be.
    let mut job = complete("a:1");
    job.play("cancel | log cancel");
    for event in [
        "written",
        "failed a0#1",
        "written",
        "quiesced",
        "wake 0",
        "slots",
        "written",
        "ready a0#2",
    ] {
        job.quietly(event);
    }
    job.play(
        "failed! a0#2 | cancel none; quiesce
         quiesced     | log canceled",
    );
}

#[test]
fn the_next_leader_sees_commits_through_before_it_ends_the_job() {
    let mut job = Job::running(ONE);
    job.checkpoint(1, &[]);
    job.quietly("cancel");
    job.quietly("written");
    job.successor().play(
        "collected a0#1=running a1#1=running b0#1=running | \
            checkpoints of a0#1 a1#1 b0#1 (3 known); give commits up in 30s
         committed 1 | cancel a0#1 a1#1 b0#1; quiesce",
    );
    job.successor().play(
        "collected a0#1=running a1#1=failed b0#1=running | \
            log failover a0 a1 b0 (boom); give commits up in 30s
         written | cancel a0#1 b0#1",
    );
    // Its processes are gone.
    job.successor().play(
        "collected | log failover a0 a1 b0 (v0[0]#1 was gone when the leader took over); give commits up in 30s",
    );
}

#[test]
fn a_job_that_the_coordinator_gives_up_ends_as_failed() {
    Job::running("a:1").play(
        "give-up too many checkpoints failed | log failing (too many checkpoints failed)
         written       | cancel a0#1; quiesce
         quiesced      |
         canceled a0#1 | log failed: too many checkpoints failed
         give-up again |
         written       | finish none; ended failed: too many checkpoints failed",
    );
}

#[test]
fn a_terminal_job_is_never_revived() {
    let mut job = Job::running(ONE);
    job.play(
        "cancel        | log cancel
         written       | cancel a0#1 a1#1 b0#1; quiesce
         quiesced      |
         canceled a0#1 |
         canceled a1#1 |
         canceled b0#1 | log canceled
         written       | finish none; ended canceled",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=failed | finish a0#1; ended canceled
         cancel         |
         failed a0#1    |
         lost t0        |
         needs a0#1     |
         give-up really |
         done           |
         wake 0         |
         slots          |",
    );
    // Whoever reports later is told as well.
    next.play("late a1#1=running | finish a1#1");
}

// --- taking over -------------------------------------------------------------------------------------

#[test]
fn a_match_is_adopted_and_nothing_is_restarted() {
    let table = [
        (
            "a0#1=running a1#1=running b0#1=running",
            "checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=drained a1#1=running b0#1=running",
            "checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=drained a1#1=drained b0#1=drained",
            "checkpoints of a0#1 a1#1 b0#1 (3 known); all drained",
        ),
        // The old leader died before or while it connected them.
        (
            "a0#1=ready a1#1=ready b0#1=ready",
            "run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        (
            "a0#1=running a1#1=ready b0#1=running",
            "run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
        // Half deployed: it goes on where it is.
        ("a0#1=ready a1#1=building b0#1=ready", ""),
        // Unknown, and replaced: canceled. What is over is left alone.
        (
            "a0#1=running a1#1=running b0#1=running a0#9=running b7#1=ready a1#9=failed",
            "cancel a0#9 b7#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
        ),
    ];
    for (reports, expected) in table {
        let mut next = Job::running(ONE).successor();
        let actions = next.happens(&format!("collected {reports}"));
        let mut actions: Vec<&str> = actions.split("; ").collect();
        actions.sort_unstable();
        let mut expected: Vec<&str> = expected.split("; ").collect();
        expected.sort_unstable();
        assert_eq!(actions, expected, "{reports}");
        let state = next.machine.state();
        assert_eq!((state.restarts, state.takeovers), (0, 1), "{reports}");
    }
}

#[test]
fn a_deployment_that_is_under_way_is_finished_by_the_next_leader() {
    Job::running(ONE).successor().play(
        "collected a0#1=ready a1#1=building b0#1=building |
         ready b0#1 |
         ready a1#1 | run a0#1 a1#1 b0#1; checkpoints of a0#1 a1#1 b0#1 (3 known)",
    );
}

#[test]
fn what_is_missing_or_over_fails_its_region_only() {
    let table = [
        ("", "c0#1 was gone when the leader took over"),
        ("c0#1=failed d0#1=running", "boom"),
        (
            "c0#1=running d0#1=canceled",
            "d0#1 was canceled while there was no leader",
        ),
        ("c0#1=running", "d0#1 was gone when the leader took over"),
        // Conflicting: an execution that has been replaced stands where the current one should.
        (
            "c0#9=running d0#1=running",
            "c0#1 was gone when the leader took over",
        ),
    ];
    for (reports, cause) in table {
        let cause = cause.replace("c0#", "v2[0]#").replace("d0#", "v3[0]#");
        let mut next = Job::running(TWO).successor();
        next.quietly(&format!("collected a0#1=running b0#1=running {reports}"));
        let entries: Vec<String> = next.queue.iter().map(entry_picture).collect();
        assert_eq!(entries, [format!("failover c0 d0 ({cause})")], "{reports}");
        next.quietly("written");
        for attempt in ["c0#1", "d0#1", "c0#9"] {
            next.quietly(&format!("canceled {attempt}"));
        }
        next.play(
            "wake 1     | request 1
             slots      | log deployed c0#2 d0#2
             written    | deploy c0#2 d0#2
             ready c0#2 |
             ready d0#2 | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2 (2 known)",
        );
        let state = next.machine.state();
        assert_eq!((state.restarts, state.restarted_by_takeover), (1, 2));
    }
}

#[test]
fn a_task_that_failed_for_good_while_there_was_no_leader_fails_the_job() {
    Job::running("a:1").successor().play(
        "collected a0#1=failed! | log failing (bad data); checkpoints of a0#1
         written  | cancel none; quiesce
         quiesced | log failed: bad data",
    );
}

#[test]
fn what_happens_between_a_report_and_the_decision_is_not_forgotten() {
    // The TaskManager reported, then its task went on; others had still to report.
    let stale = "collected a0#1=building b0#1=ready c0#1=running d0#1=running";
    let mut next = Job::running(TWO).successor();
    next.quietly("ready a0#1");
    assert_eq!(
        next.happens(stale),
        "run a0#1 b0#1; checkpoints of a0#1 b0#1 c0#1 d0#1 (4 known)"
    );
    let stale = "collected a0#1=running b0#1=running c0#1=running d0#1=running";
    let mut next = Job::running(TWO).successor();
    next.play("failed c0#1 | ");
    assert_eq!(next.happens(stale), "log failover c0 d0 (boom)");
    let mut next = Job::running(TWO).successor();
    next.play("canceled c0#1 | ");
    assert!(next.happens(stale).starts_with("log failover c0 d0"));
    let mut next = Job::running(TWO).successor();
    for attempt in ["a0#1", "b0#1", "c0#1", "d0#1"] {
        next.quietly(&format!("drained {attempt}"));
    }
    assert!(next.happens(stale).ends_with("all drained"));
}

#[test]
fn a_failover_that_was_decided_is_carried_on_by_the_next_leader() {
    let mut job = Job::running(TWO);
    job.play("failed c0#1 | log failover c0 d0 (boom)");
    // Before the entry is written there is no intent, only a failed task: the same is decided again.
    job.successor().play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=running | log failover c0 d0 (boom)",
    );
    job.play("written | cancel d0#1; quiesce");
    // From then on the intent is in the log: nothing is decided or counted again.
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=running | cancel d0#1
         canceled d0#1 | wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2",
    );
    let mut next = job.successor();
    next.play(
        "collected a0#1=running b0#1=running c0#1=failed d0#1=canceled | cancel none; wake 1 in 1s
         wake 1        | request 1
         slots         | log deployed c0#2 d0#2
         written       | deploy c0#2 d0#2",
    );
    assert_eq!(next.machine.state().restarts, 1);
    // Deployed: the intent is done with.
    next.successor().play(
        "collected a0#1=running b0#1=running c0#2=building d0#2=running |
         ready c0#2 | run c0#2 d0#2; checkpoints of a0#1 b0#1 c0#2 d0#2 (4 known)",
    );
}

#[test]
fn a_checkpoint_that_was_left_in_flight_is_settled_before_anything_is_restarted_or_ended() {
    let in_flight = || {
        let mut job = Job::running("a:1");
        let (id, kind) = (CheckpointId(1), CheckpointKind::Final);
        job.log.push(LogEntry::CheckpointTriggered { id, kind });
        job
    };
    // Its tasks would stand somewhere else than when it was triggered.
    in_flight().successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; quiesce
         quiesced      | wake 0 in 0ns",
    );
    let mut job = in_flight();
    job.play("failed a0#1  | log failover a0 (boom)");
    job.quietly("written");
    job.successor().play(
        "collected a0#1=running | cancel a0#1; quiesce
         canceled a0#1 |
         quiesced      | wake 0 in 1s",
    );
    let mut job = in_flight();
    job.play("cancel       | log cancel");
    job.quietly("written");
    job.successor().play(
        "collected     | cancel none; quiesce
         quiesced      | log canceled",
    );
    // Nothing is restarted: the coordinator takes it up.
    in_flight().successor().play(
        "collected a0#1=running | checkpoints of a0#1 (1 known)
         failed a0#1   | log failover a0 (boom)
         written       | cancel none; quiesce",
    );
}

#[test]
fn a_cancel_or_a_failure_that_was_logged_is_seen_through_by_the_next_leader() {
    for (intent, outcome) in [
        ("cancel", "canceled"),
        ("give-up it is enough", "failed: it is enough"),
    ] {
        let mut job = Job::running(ONE);
        job.quietly(intent);
        // Nothing was promised before the entry is written.
        job.successor().play(
            "collected a0#1=running a1#1=running b0#1=running | checkpoints of a0#1 a1#1 b0#1 (3 known)",
        );
        job.quietly("written");
        let script = format!(
            "collected a0#1=running b0#1=failed | cancel a0#1
             canceled a0#1 | log {outcome}
             written       | finish none; ended {outcome}"
        );
        job.successor().play(&script);
        let script = format!("collected | cancel none; log {outcome}");
        job.successor().play(&script);
    }
}

#[test]
fn what_a_takeover_finds_gone_is_not_charged_to_the_restart_strategy() {
    let mut job = Job::submitted(
        "a:1",
        JobOptions {
            restart: RestartStrategy::None,
            ..JobOptions::default()
        },
    );
    for event in ["collected", "splits a 3", "written", "slots", "written"] {
        job.quietly(event);
    }
    for attempt in 1..4 {
        job = job.successor();
        job.play(&format!(
            "collected     | log failover a0 (v0[0]#{attempt} was gone when the leader took over)
             written       | cancel none; wake 0 in 0ns
             wake 0        | request 1
             slots         | log deployed a0#{}",
            attempt + 1
        ));
        job.quietly("written");
    }
    let state = &job.machine.state;
    assert_eq!((state.restarts, state.restarts_charged), (3, 0));
}

#[test]
fn a_leader_that_finds_nothing_of_a_logged_deployment_deploys_it_again_under_new_numbers() {
    let mut job = Job::new("a:1");
    job.play(
        "collected     | find a
         splits a 3    | log splits of a
         written       | request 1
         slots         | log deployed a0#1",
    );
    // Not logged: the attempt was never there.
    job.successor().play(
        "collected     | request 1
         slots         | log deployed a0#1",
    );
    job.quietly("written");
    job.successor().play(
        "collected     | log failover a0 (v0[0]#1 was gone when the leader took over)
         written       | cancel none; wake 0 in 0ns
         wake 0        | request 1
         slots         | log deployed a0#2",
    );
}

#[test]
fn a_leader_that_died_between_the_deployments_of_two_regions_leaves_the_first_as_it_is() {
    let mut job = Job::new(TWO);
    job.play(
        "collected    | find a; find c
         splits a 3   | log splits of a
         written      |",
    );
    // Only what is missing is looked for.
    job.successor().play("collected | find c");
    job.play(
        "splits c 3   | log splits of c
         written      | request 1; request 1
         slots        | log deployed a0#1 b0#1; log deployed c0#1 d0#1
         written      | deploy a0#1 b0#1",
    );
    job.successor().play(
        "collected a0#1=building b0#1=ready | request 1
         ready a0#1 | run a0#1 b0#1
         slots      | log deployed c0#1 d0#1
         written    | deploy c0#1 d0#1
         ready c0#1 |
         ready d0#1 | run c0#1 d0#1; checkpoints of a0#1 b0#1 c0#1 d0#1 (2 known)",
    );
}

#[test]
fn splits_that_were_assigned_and_not_received_are_sent_again() {
    let mut job = Job::running("a:1");
    job.play(
        "needs a0#1 | log a0#1 gets 0
         written    | give a0#1 0
         needs a0#1 | log a0#1 gets 1",
    );
    let table = [
        // (before or after the second entry is written, what is reported, what is done)
        (false, "running+got:0", ""),
        (false, "running+got:0+needs", "log a0#1 gets 1"),
        (false, "running+needs", "give a0#1 0"),
        (true, "running+got:0+needs", "give a0#1 1"),
        (true, "running+needs", "give a0#1 0,1"),
        (true, "running+got:0,1", ""),
        (true, "running+got:0,1+needs", "log a0#1 gets 2"),
    ];
    for (written, report, expected) in table {
        let mut next = job.successor();
        if written {
            next = {
                let mut job = Job::led(job.graph, job.options.clone(), job.log.clone());
                job.log.extend(self::written(&["a0#1 1"]));
                job.machine = Job::led(job.graph, job.options.clone(), job.log.clone()).machine;
                job.successor()
            };
        }
        let actions = next.happens(&format!("collected a0#1={report}"));
        let checkpoints = "checkpoints of a0#1 (1 known)";
        let rest = actions.strip_suffix(checkpoints).expect(&actions);
        assert_eq!(rest.trim_end_matches("; "), expected, "{written} {report}");
    }
}

/// `attempt split` assignments.
fn written(assignments: &[&str]) -> Vec<LogEntry> {
    let assignments = assignments.iter().map(|text| {
        let (who, id) = text.split_once(' ').unwrap();
        LogEntry::SplitsAssigned {
            attempt: attempt(who),
            splits: vec![SplitId(id.parse().unwrap())],
        }
    });
    assignments.collect()
}

#[test]
fn a_reader_that_waits_when_all_splits_are_gone_is_told_so_by_the_next_leader() {
    let mut job = Job::new("a:1");
    job.play(
        "collected     | find a
         splits a 0    | log splits of a
         written       | request 1
         slots         | log deployed a0#1
         written       | deploy a0#1",
    );
    job.successor()
        .play("collected a0#1=running+needs | give a0#1 no more; checkpoints of a0#1 (1 known)");
}

#[test]
fn a_late_report_is_compared() {
    // What runs as the log says is left alone, what the log doesn't know is canceled.
    let running = || {
        let mut next = Job::running(ONE).successor();
        next.quietly("collected a0#1=running a1#1=running b0#1=running");
        next
    };
    running().play("late a0#1=running b0#1=drained |");
    running().play("late a0#9=running b0#9=failed | cancel a0#9");
    // It was given up for lost, and its region's failover decided: it must end before the next attempt.
    let mut next = Job::running(ONE).successor();
    next.play(
        "collected a0#1=running b0#1=running | log failover a0 a1 b0 (v0[1]#1 was gone when the leader took over)
         late a1#1=running |
         written           | cancel a0#1 a1#1 b0#1
         canceled a0#1     |
         canceled b0#1     |
         canceled a1#1     | wake 0 in 1s",
    );
    let mut next = Job::running(ONE).successor();
    next.play(
        "collected a0#1=running b0#1=running | log failover a0 a1 b0 (v0[1]#1 was gone when the leader took over)
         written           | cancel a0#1 b0#1
         late a1#1=running | cancel a1#1
         canceled a0#1     |
         canceled b0#1     |
         canceled a1#1     | wake 0 in 1s",
    );
    // The same while it waits, and while it looks for slots.
    let mut next = Job::running("a:1").successor();
    next.play(
        "collected         | log failover a0 (v0[0]#1 was gone when the leader took over)
         written           | cancel none; wake 0 in 0ns
         late a0#1=running | cancel a0#1
         wake 0            |
         canceled a0#1     | wake 0 in 0ns
         wake 0            | request 1
         late a0#1=failed  |
         late a0#1=running | cancel a0#1
         slots             |
         canceled a0#1     | wake 0 in 0ns
         wake 0            | request 1
         slots             | log deployed a0#2
         late a0#1=running | cancel a0#1
         written           | deploy a0#2
         late a0#1=running | cancel a0#1",
    );
    // A job that is being ended waits for it too.
    let mut next = Job::running("a:2").successor();
    next.play(
        "cancel            | log cancel
         written           | cancel a0#1 a1#1
         collected a0#1=running | cancel a0#1
         late a1#1=running | cancel a1#1
         canceled a0#1     |
         canceled a1#1     | log canceled",
    );
}

#[test]
fn a_late_report_of_a_failure_is_a_failure() {
    let mut next = Job::running(ONE).successor();
    next.quietly("collected a0#1=running a1#1=running b0#1=running");
    next.play(
        "late b0#1=failed | log failover a0 a1 b0 (boom)
         late b0#1=failed |",
    );
}

#[test]
fn only_the_answer_to_a_question_makes_checkpoints_quiet() {
    Job::running("a:1").play(
        "quiesced    |
         failed a0#1 | log failover a0 (boom)
         written     | cancel none; quiesce
         quiesced    | wake 0 in 1s",
    );
}

// --- the fold ----------------------------------------------------------------------------------------

#[test]
fn the_first_verdict_on_a_checkpoint_counts() {
    let (one, two) = (CheckpointId(1), CheckpointId(2));
    let kind = CheckpointKind::Checkpoint;
    let triggered = |id| LogEntry::CheckpointTriggered { id, kind };
    let completed = |id| LogEntry::CheckpointCompleted { id, kind };
    let aborted = |id| LogEntry::CheckpointAborted {
        id,
        reason: "late".into(),
    };
    // (entries, retained, completed in all, in flight)
    type Row = (Vec<LogEntry>, Vec<u64>, u64, Option<u64>);
    let table: [Row; 6] = [
        (vec![triggered(one)], vec![], 0, Some(1)),
        (vec![triggered(one), completed(one)], vec![1], 1, None),
        (
            vec![
                triggered(one),
                completed(one),
                triggered(two),
                completed(two),
            ],
            vec![2],
            2,
            None,
        ),
        // A coordinator that was restarted says again what its predecessor had said.
        (
            vec![triggered(one), completed(one), completed(one)],
            vec![1],
            1,
            None,
        ),
        (
            vec![triggered(one), completed(one), aborted(one)],
            vec![1],
            1,
            None,
        ),
        (
            vec![
                triggered(one),
                aborted(one),
                completed(one),
                triggered(two),
                aborted(one),
            ],
            vec![],
            0,
            Some(2),
        ),
    ];
    for (entries, retained, in_all, in_flight) in table {
        let state = JobState::replay(&entries);
        let completed: Vec<u64> = state.completed.iter().map(|(id, _)| id.0).collect();
        assert_eq!(completed, retained, "{entries:?}");
        assert_eq!(state.completed_in_all, in_all, "{entries:?}");
        assert_eq!(
            state.in_flight.map(|(id, _)| id.0),
            in_flight,
            "{entries:?}"
        );
    }
}

#[test]
fn a_state_that_went_through_a_snapshot_is_the_fold_over_the_rest() {
    let mut job = Job::running(TWO);
    job.play(
        "needs a0#1  | log a0#1 gets 0
         written     | give a0#1 0
         failed c0#1 | log failover c0 d0 (boom)
         written     | cancel d0#1; quiesce",
    );
    job.checkpoint(1, &[0]);
    let whole = JobState::replay(&job.log);
    for cut in 0..job.log.len() {
        let (before, after) = job.log.split_at(cut);
        let bytes = crate::codec::encode(&JobState::replay(before)).unwrap();
        let mut state: JobState = crate::codec::decode(&bytes).unwrap();
        after.iter().for_each(|entry| state.apply(entry));
        assert_eq!(state, whole, "cut at {cut}");
    }
}

#[test]
fn regions_are_what_channels_join() {
    let table = [
        ("a:2; b:1 <- a~hash", "a0a1b0"),
        ("a:2", "a0 a1"),
        ("a:2; b:2 <- a", "a0 a1"),
        ("a:2; b:2; c:2 <- a b", "a0b0c0 a1b1c1"),
        ("a:1; b:1 <- a~hash; c:1; d:1 <- c~hash", "a0b0 c0d0"),
        ("a:2; b:2; c:1 <- a b", "a0a1b0b1c0"),
        // Joined only by what comes round.
        (
            "a:2; h:2 <- a ^ c~hash; x:2; c:2 <- h x",
            "a0a1b0b1c0c1d0d1",
        ),
        // Joined far downstream only.
        (
            "a:1; b:1 <- a~hash; c:1; d:1 <- c~hash; e:1 <- b~hash d~hash",
            "a0b0c0d0e0",
        ),
    ];
    for (graph, expected) in table {
        let words: Vec<String> = regions(&plan(graph))
            .iter()
            .map(|region| {
                let names = region
                    .iter()
                    .map(|id| format!("{}{}", letter(id.vertex), id.index));
                names.collect::<String>()
            })
            .collect();
        assert_eq!(words.join(" "), expected, "{graph}");
    }
}
