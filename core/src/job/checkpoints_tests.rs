//! The coordinator's decisions as pictures: `when what happens | what is done`, a line each.
//!
//! The tasks are a0, a1 and b0; `a0#1` is an attempt. An action `log ..` is an entry on its way; `written`
//! says that the oldest such entry is in the log. A final checkpoint is `1!`.

use std::collections::VecDeque;

use super::*;
use crate::ids::VertexId;
use crate::job::{SavepointRequest, SnapshotPart, SnapshotRef};

const ALL: &str = "start a0#1 a1#1 b0#1";

/// A coordinator, and everything around it, played by the test.
struct Coordinator {
    options: JobOptions,
    machine: CheckpointMachine,
    log: Vec<LogEntry>,
    queue: VecDeque<LogEntry>,
    now: Duration,
}

impl Coordinator {
    fn with(options: JobOptions) -> Self {
        let submitted = LogEntry::Submitted {
            name: "job".into(),
            fingerprint: 7,
            program: None,
            options: Box::new(options.clone()),
            start: None,
        };
        Self::after(options, vec![submitted], Duration::ZERO)
    }

    fn after(options: JobOptions, log: Vec<LogEntry>, now: Duration) -> Self {
        let state = JobState::replay(&log);
        Self {
            options,
            machine: CheckpointMachine::new(&state, 128, now),
            log,
            queue: VecDeque::new(),
            now,
        }
    }

    /// Every ten seconds, with a minute for each.
    fn new() -> Self {
        Self::with(JobOptions {
            checkpoint_interval: Some(Duration::from_secs(10)),
            checkpoint_timeout: Duration::from_secs(60),
            ..JobOptions::default()
        })
    }

    /// Another coordinator of the same leader, or of the next: it knows what was written. What was on its
    /// way to the log still is, if the leader lives.
    fn successor(&self, leader_lives: bool) -> Self {
        let mut next = Self::after(self.options.clone(), self.log.clone(), self.now);
        if leader_lives {
            next.queue = self.queue.clone();
        }
        next
    }

    fn event(&mut self, text: &str) -> CheckpointEvent {
        let (what, of) = text.split_once(' ').unwrap_or((text, ""));
        let mut words = of.splitn(3, ' ');
        let mut word = || words.next().expect(text);
        match what {
            "start" => self.started(of),
            "quiesce" => CheckpointEvent::Quiesce,
            "tick" => CheckpointEvent::Tick,
            "drained" => CheckpointEvent::AllDrained,
            "ack" => CheckpointEvent::Acknowledged {
                attempt: attempt(word()),
                id: id(word()),
                snapshot: snapshot(""),
            },
            "decline" => CheckpointEvent::Declined {
                attempt: attempt(word()),
                id: id(word()),
                reason: "slow".into(),
            },
            "committed" => CheckpointEvent::Committed {
                attempt: attempt(word()),
                id: id(word()),
            },
            "stored" => CheckpointEvent::ManifestStored {
                id: id(word()),
                error: None,
            },
            "unstored" => CheckpointEvent::ManifestStored {
                id: id(word()),
                error: Some("disk full".into()),
            },
            "asked" => {
                let kind = match word() {
                    "s" => CheckpointKind::Savepoint,
                    "x" => CheckpointKind::Stop { drain: false },
                    "d" => CheckpointKind::Stop { drain: true },
                    other => panic!("no kind {other}"),
                };
                let token = uuid::Uuid::from_u128(self.log.len() as u128);
                let request = SavepointRequest { token, kind };
                let entry = LogEntry::SavepointRequested { request };
                self.log.push(entry.clone());
                CheckpointEvent::Appended(entry)
            }
            "cancel" => {
                self.log.push(LogEntry::CancelRequested);
                CheckpointEvent::Appended(LogEntry::CancelRequested)
            }
            "written" => {
                let entry = self.queue.pop_front().expect("an entry on its way");
                self.log.push(entry.clone());
                CheckpointEvent::Appended(entry)
            }
            other => panic!("no event {other}"),
        }
    }

    /// `a0#1 b0#1=acked:3`: executions, and reports of those that ran before.
    fn started(&self, text: &str) -> CheckpointEvent {
        let mut tasks = Tasks::new();
        let mut reports = Vec::new();
        for word in text.split_whitespace() {
            let (who, what) = word.split_once('=').unwrap_or((word, ""));
            let attempt = attempt(who);
            // An attempt in parentheses has been replaced, only its report is left.
            tasks.entry(attempt.subtask).or_insert(attempt);
            if what.is_empty() {
                continue;
            }
            let (phase, of) = what.split_once(':').unwrap_or((what, "0"));
            let of = id(of);
            reports.push(TaskReport {
                attempt,
                slot: crate::ids::Slot {
                    task_manager: crate::ids::TaskManagerId("t0".into()),
                    incarnation: crate::ids::Incarnation(uuid::Uuid::nil()),
                    index: 0,
                },
                restored: None,
                phase: match phase {
                    "drained" => TaskPhase::Drained,
                    _ => TaskPhase::Running,
                },
                acknowledged: (phase == "acked").then(|| (of, snapshot("reported"))),
                declined: match phase {
                    "declined" => of,
                    _ => CheckpointId(0),
                },
                needs_split: false,
                received: BTreeSet::new(),
            });
        }
        CheckpointEvent::Started { tasks, reports }
    }

    fn happens(&mut self, text: &str) -> String {
        let text = match text.strip_prefix('@') {
            Some(text) => {
                let (at, rest) = text.split_once("s ").expect("@10s event");
                self.now = Duration::from_secs_f64(at.parse().unwrap());
                rest
            }
            None => text,
        };
        let event = self.event(text);
        let actions = self.machine.on_event(event, self.now);
        for action in &actions {
            if let CheckpointAction::Append(entry) = action {
                self.queue.push_back(entry.clone());
            }
        }
        let words: Vec<String> = actions.iter().map(picture).collect();
        words.join("; ")
    }

    /// Plays a script of `event | actions` and compares the actions.
    fn play(&mut self, script: &str) {
        let (mut expected, mut actual) = (Vec::new(), Vec::new());
        for line in script.lines().filter(|line| !line.trim().is_empty()) {
            let (event, actions) = line.split_once('|').expect("event | actions");
            let event = event.trim();
            expected.push(format!("{event} | {}", actions.trim()));
            let actions = self.happens(event);
            actual.push(format!("{event} | {actions}"));
        }
        assert_eq!(actual, expected, "\nactual:\n{}\n", actual.join("\n"));
    }

    /// Plays without looking.
    fn quietly(&mut self, events: &[&str]) {
        events.iter().for_each(|event| {
            self.happens(event);
        });
    }

    fn next_tick(&self) -> Option<u64> {
        self.machine.next_tick(self.now).map(|wait| wait.as_secs())
    }

    /// A checkpoint is under way and its triggers are sent.
    fn triggered() -> Self {
        let mut coordinator = Self::new();
        coordinator.quietly(&[ALL, "@10s tick", "written"]);
        coordinator
    }

    /// All have acknowledged, and the manifest is being stored.
    fn storing() -> Self {
        let mut coordinator = Self::triggered();
        coordinator.quietly(&["ack a0#1 1", "ack a1#1 1", "ack b0#1 1"]);
        coordinator
    }

    /// Completion is on its way to the log.
    fn completing() -> Self {
        let mut coordinator = Self::storing();
        coordinator.quietly(&["stored 1"]);
        coordinator
    }
}

fn id(text: &str) -> CheckpointId {
    CheckpointId(text.parse().expect(text))
}

fn attempt(text: &str) -> AttemptId {
    let (subtask, number) = text.split_once('#').expect("a0#1");
    AttemptId {
        subtask: SubtaskId {
            vertex: VertexId(u32::from(subtask.as_bytes()[0] - b'a')),
            index: subtask[1..].parse().unwrap(),
        },
        attempt: number.parse().unwrap(),
    }
}

fn snapshot(name: &str) -> SubtaskSnapshot {
    SubtaskSnapshot {
        parts: vec![SnapshotPart::whole(SnapshotRef {
            name: name.into(),
            len: 0,
            crc32c: 0,
        })],
        received: Vec::new(),
    }
}

fn number(id: CheckpointId, kind: CheckpointKind) -> String {
    match kind {
        CheckpointKind::Final => format!("{id}!"),
        CheckpointKind::Checkpoint => id.to_string(),
        CheckpointKind::Savepoint => format!("{id}s"),
        CheckpointKind::Stop { drain } => format!("{id}{}", if drain { "d" } else { "x" }),
    }
}

fn picture(action: &CheckpointAction) -> String {
    match action {
        CheckpointAction::Append(LogEntry::CheckpointTriggered { id, kind }) => {
            format!("log triggered {}", number(*id, *kind))
        }
        CheckpointAction::Append(LogEntry::CheckpointCompleted { id, kind, .. }) => {
            format!("log completed {}", number(*id, *kind))
        }
        CheckpointAction::Append(LogEntry::CheckpointAborted { id, reason }) => {
            format!("log aborted {id} ({reason})")
        }
        CheckpointAction::Append(LogEntry::CheckpointCommitted { id }) => {
            format!("log committed {id}")
        }
        CheckpointAction::Append(LogEntry::SavepointFailed { reason, .. }) => {
            format!("log savepoint failed ({reason})")
        }
        CheckpointAction::Append(entry) => format!("{entry:?}"),
        CheckpointAction::Trigger(barrier) => {
            format!("trigger {}", number(barrier.id, barrier.kind))
        }
        CheckpointAction::StoreManifest(manifest) => {
            let name = |id: &SubtaskId| {
                let letter = char::from(b'a' + id.vertex.0 as u8);
                format!("{letter}{}", id.index)
            };
            let subtasks: Vec<String> = manifest.subtasks.keys().map(name).collect();
            assert_eq!((manifest.fingerprint, manifest.max_parallelism), (7, 128));
            let number = number(manifest.id, manifest.kind);
            format!("store {number} of {}", subtasks.join(" "))
        }
        CheckpointAction::AnnounceCompleted(id) => format!("announce {id}"),
        CheckpointAction::AnnounceAborted(id) => format!("call off {id}"),
        CheckpointAction::Quiesced => "quiesced".into(),
        CheckpointAction::JobDone => "job done".into(),
        CheckpointAction::FailJob(failure) => format!("fail job: {failure}"),
    }
}

// --- from trigger to commit --------------------------------------------------------------------------

#[test]
fn a_checkpoint_is_logged_triggered_stored_logged_announced_and_committed() {
    Coordinator::new().play(
        "tick             |
         start a0#1 a1#1 b0#1 |
         @9s tick         |
         @10s tick        | log triggered 1
         written          | trigger 1
         ack a0#1 1       |
         ack b0#1 1       |
         ack a0#1 1       |
         ack a1#1 1       | store 1 of a0 a1 b0
         stored 1         | log completed 1
         written          | announce 1
         committed a0#1 1 |
         committed b0#1 1 |
         committed b0#1 1 |
         committed a1#1 1 | log committed 1
         written          |
         @19s tick        |
         @20s tick        | log triggered 2",
    );
}

#[test]
fn nothing_counts_before_its_entry_is_written() {
    // Acknowledgements cannot be, before the trigger is; a checkpoint is not complete before its entry.
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         @10s tick        | log triggered 1
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       |
         decline b0#1 1   |
         written          | trigger 1",
    );
    Coordinator::completing().play(
        "committed a0#1 1 |
         decline a0#1 1   |
         stored 1         |
         unstored 1       |
         written          | announce 1",
    );
}

#[test]
fn acknowledgements_of_other_attempts_and_other_checkpoints_are_ignored() {
    Coordinator::triggered().play(
        "ack a0#2 1     |
         ack a0#0 1     |
         ack c0#1 1     |
         ack a0#1 2     |
         ack a0#1 0     |
         decline a0#2 1 |
         decline c0#1 1 |
         decline a0#1 2 |
         ack a1#1 1     |
         ack b0#1 1     |
         ack a0#1 1     | store 1 of a0 a1 b0
         stored 2       |
         stored 1       | log completed 1",
    );
}

#[test]
fn commits_count_for_every_checkpoint_below_and_only_from_those_who_take_part() {
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "written          | announce 1
         committed a0#2 1 |
         committed a0#1 0 |
         committed a0#1 1 |
         committed a1#1 2 |
         committed b0#1 1 | log committed 1",
    );
    // The next one takes over what the last had still to commit.
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "written          | announce 1
         committed a0#1 1 |
         @20s tick        | log triggered 2
         written          | trigger 2
         committed a1#1 1 |
         ack a0#1 2       |
         ack a1#1 2       |
         ack b0#1 2       | store 2 of a0 a1 b0
         stored 2         | log completed 2
         written          | announce 2
         committed b0#1 1 |
         committed a0#1 2 |
         committed a1#1 2 |
         committed b0#1 2 | log committed 2",
    );
}

#[test]
fn what_goes_wrong_aborts_the_checkpoint_and_the_next_has_another_number() {
    let table = [
        (
            Coordinator::triggered(),
            "decline b0#1 1",
            "v1[0]#1 declined: slow",
        ),
        (
            Coordinator::triggered(),
            "@70s tick",
            "it took longer than 60s",
        ),
        (
            Coordinator::storing(),
            "@70s tick",
            "it took longer than 60s",
        ),
        (
            Coordinator::storing(),
            "unstored 1",
            "its manifest could not be stored: disk full",
        ),
    ];
    for (mut coordinator, event, reason) in table {
        coordinator.play(&format!(
            "{event}     | log aborted 1 ({reason})
             ack b0#1 1  |
             stored 1    |
             unstored 1  |
             @80s tick   |
             written     | call off 1; log triggered 2"
        ));
    }
}

#[test]
fn time_that_runs_out_on_the_log_itself_aborts_nothing() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&[ALL, "@10s tick"]);
    coordinator.play("@200s tick | ");
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "@200s tick | 
         written    | announce 1; log triggered 2",
    );
}

#[test]
fn checkpoints_keep_their_distance() {
    // Interval from start to start, pause from end to start; none at all without an interval.
    let with = |interval, pause| {
        let mut coordinator = Coordinator::with(JobOptions {
            checkpoint_interval: interval,
            checkpoint_pause: Duration::from_secs(pause),
            ..JobOptions::default()
        });
        coordinator.quietly(&["start a0#1"]);
        let mut starts = Vec::new();
        for second in 1..60 {
            let happened = coordinator.happens(&format!("@{second}s tick"));
            if happened.starts_with("log triggered") {
                starts.push(second);
                // Each takes two seconds.
                let done = format!("@{}s written", second + 2);
                coordinator.quietly(&["written", "ack a0#1 1"]);
                let id = starts.len();
                coordinator.quietly(&[&format!("ack a0#1 {id}"), &format!("stored {id}"), &done]);
            }
        }
        starts
    };
    let ten = Some(Duration::from_secs(10));
    assert_eq!(with(ten, 0), [10, 20, 30, 40, 50]);
    assert_eq!(with(ten, 15), [15, 32, 49]);
    assert_eq!(with(None, 0), [0_u32; 0]);
}

#[test]
fn the_coordinator_is_woken_when_there_is_something_to_do_and_only_then() {
    let mut coordinator = Coordinator::new();
    let table = [
        // (what happens, seconds to the next tick)
        ("@1s tick", None),
        ("start a0#1", Some(10)),
        ("@4s tick", Some(7)),
        // While an entry is being written only the log can help.
        ("@11s tick", None),
        ("@12s written", Some(59)),
        ("ack a0#1 1", Some(59)),
        ("stored 1", None),
        ("@13s written", Some(8)),
        ("quiesce", None),
        ("@20s start a0#2", Some(10)),
        // The final checkpoint is triggered at once.
        ("@22s drained", None),
        ("written", Some(60)),
        ("ack a0#2 2", Some(60)),
        ("stored 2", None),
        // From now on it waits for commits.
        ("written", None),
        ("committed a0#2 2", None),
        ("written", None),
    ];
    for (event, expected) in table {
        coordinator.quietly(&[event]);
        assert_eq!(coordinator.next_tick(), expected, "after {event}");
    }
}

// --- failures ----------------------------------------------------------------------------------------

#[test]
fn a_job_fails_when_too_many_checkpoints_in_a_row_do() {
    let failing = |tolerated| {
        let mut coordinator = Coordinator::with(JobOptions {
            tolerable_checkpoint_failures: tolerated,
            ..JobOptions::default()
        });
        coordinator.quietly(&["start a0#1"]);
        coordinator
    };
    failing(Some(1)).play(
        "@10s tick      | log triggered 1
         written        | trigger 1
         decline a0#1 1 | log aborted 1 (v0[0]#1 declined: slow)
         written        | call off 1
         @20s tick      | log triggered 2
         written        | trigger 2
         ack a0#1 2     | store 2 of a0
         stored 2       | log completed 2
         written        | announce 2
         @30s tick      | log triggered 3
         written        | trigger 3
         decline a0#1 3 | log aborted 3 (v0[0]#1 declined: slow)
         written        | call off 3
         @40s tick      | log triggered 4
         written        | trigger 4
         decline a0#1 4 | log aborted 4 (v0[0]#1 declined: slow)
         written        | call off 4; fail job: 2 checkpoints failed in a row, 1 are tolerated; the last: \
                          v0[0]#1 declined: slow",
    );
    let mut patient = failing(None);
    for checkpoint in 1..20 {
        patient.quietly(&[
            &format!("@{checkpoint}0s tick"),
            "written",
            &format!("decline a0#1 {checkpoint}"),
        ]);
        assert_eq!(patient.happens("written"), format!("call off {checkpoint}"));
    }
}

#[test]
fn a_checkpoint_that_gives_way_to_a_restart_has_not_failed() {
    let mut coordinator = Coordinator::with(JobOptions {
        tolerable_checkpoint_failures: Some(0),
        ..JobOptions::default()
    });
    coordinator.quietly(&["start a0#1"]);
    coordinator.play(
        "@10s tick  | log triggered 1
         written    | trigger 1
         quiesce    | log aborted 1 (tasks are being restarted)
         written    | call off 1; quiesced",
    );
}

// --- quiesce -----------------------------------------------------------------------------------------

#[test]
fn quiesce_settles_what_is_under_way_in_every_phase_and_says_so_once() {
    let idle = || {
        let mut coordinator = Coordinator::new();
        coordinator.quietly(&[ALL]);
        coordinator
    };
    let logging = || {
        let mut coordinator = idle();
        coordinator.quietly(&["@10s tick"]);
        coordinator
    };
    let aborting = || {
        let mut coordinator = Coordinator::triggered();
        coordinator.quietly(&["decline a0#1 1"]);
        coordinator
    };
    let table = [
        (Coordinator::new(), "quiesce | quiesced"),
        (idle(), "quiesce | quiesced"),
        // Its entry is on its way: it is aborted as soon as it is written, and never triggered.
        (
            logging(),
            "quiesce |
             tick    |
             written | log aborted 1 (tasks are being restarted)
             written | call off 1; quiesced",
        ),
        (
            Coordinator::triggered(),
            "quiesce    | log aborted 1 (tasks are being restarted)
             ack b0#1 1 |
             written    | call off 1; quiesced",
        ),
        (
            Coordinator::storing(),
            "quiesce  | log aborted 1 (tasks are being restarted)
             stored 1 |
             written  | call off 1; quiesced",
        ),
        // Completion can't be taken back.
        (
            Coordinator::completing(),
            "quiesce |
             written | announce 1; quiesced",
        ),
        (
            aborting(),
            "quiesce |
             written | call off 1; quiesced",
        ),
    ];
    for (mut coordinator, script) in table {
        coordinator.play(script);
        // Nothing is triggered until the next start.
        coordinator.play(
            "@100s tick     |
             drained        |
             ack a0#1 1     |
             decline a0#1 1 |",
        );
    }
}

#[test]
fn after_a_restart_checkpoints_go_on_with_the_new_attempts() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "ack a0#1 1      |
         quiesce         | log aborted 1 (tasks are being restarted)
         written         | call off 1; quiesced
         @30s start a0#2 a1#1 b0#2 |
         @39s tick       |
         @40s tick       | log triggered 2
         written         | trigger 2
         ack a0#1 2      |
         ack a0#2 2      |
         ack a1#1 2      |
         ack b0#2 2      | store 2 of a0 a1 b0",
    );
}

#[test]
fn a_completed_checkpoint_that_is_not_committed_is_announced_again_after_a_restart() {
    Coordinator::completing().play(
        "written          | announce 1
         committed a0#1 1 |
         quiesce          | quiesced
         committed a1#1 1 |
         start a0#2 a1#1 b0#2 | announce 1
         committed a0#1 1 |
         committed a0#2 1 |
         committed a1#1 1 |
         committed b0#2 1 | log committed 1",
    );
}

#[test]
fn a_job_that_is_to_end_begins_no_checkpoint_and_sees_what_is_complete_through() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "cancel      | log aborted 1 (the job is ending)
         written     | call off 1
         @900s tick  |
         quiesce     | quiesced",
    );
    let mut coordinator = Coordinator::completing();
    coordinator.play(
        "cancel           |
         written          | announce 1
         committed a0#1 1 |
         @900s tick       |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1
         written          |
         quiesce          | quiesced",
    );
    assert_eq!(coordinator.next_tick(), None);
    // A successor knows it from the log; who was restarted has to commit again.
    let mut coordinator = Coordinator::completing();
    coordinator.quietly(&["cancel", "written"]);
    coordinator.successor(false).play(
        "start a0#2 a1#1 b0#1 | announce 1
         @900s tick       |
         committed a0#2 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1",
    );
    let mut coordinator = Coordinator::triggered();
    coordinator.quietly(&["cancel"]);
    coordinator
        .successor(false)
        .play("start a0#1=running a1#1=running b0#1=running | log aborted 1 (the job is ending)");
}

// --- the end -----------------------------------------------------------------------------------------

#[test]
fn the_final_checkpoint_is_triggered_at_once_and_its_commit_is_the_end() {
    Coordinator::new().play(
        "start a0#1 a1#1 b0#1 |
         @3s drained      | log triggered 1!
         written          | trigger 1!
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1! of a0 a1 b0
         stored 1         | log completed 1!
         written          | announce 1
         @100s tick       |
         committed a0#1 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1
         written          | job done
         @200s tick       |
         drained          |
         start a0#1 a1#1 b0#1 | job done",
    );
}

#[test]
fn a_drain_waits_for_the_checkpoint_that_is_under_way() {
    let mut coordinator = Coordinator::triggered();
    coordinator.play(
        "drained    |
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1 of a0 a1 b0
         stored 1   | log completed 1
         written    | announce 1; log triggered 2!",
    );
}

#[test]
fn a_final_checkpoint_that_failed_is_tried_again_a_little_later() {
    Coordinator::new().play(
        "start a0#1       |
         @3s drained      | log triggered 1!
         written          | trigger 1!
         decline a0#1 1   | log aborted 1 (v0[0]#1 declined: slow)
         written          | call off 1
         @3.09s tick      |
         @3.1s tick       | log triggered 2!
         written          | trigger 2!",
    );
}

#[test]
fn a_final_checkpoint_does_not_need_an_interval() {
    let mut coordinator = Coordinator::with(JobOptions {
        checkpoint_interval: None,
        ..JobOptions::default()
    });
    coordinator.play(
        "start a0#1  |
         @99s tick   |
         drained     | log triggered 1!",
    );
}

#[test]
fn a_restart_during_the_final_checkpoint_waits_for_the_next_drain() {
    Coordinator::new().play(
        "start a0#1       |
         @3s drained      | log triggered 1!
         written          | trigger 1!
         quiesce          | log aborted 1 (tasks are being restarted)
         written          | call off 1; quiesced
         start a0#2       |
         tick             |
         @4s drained      | log triggered 2!",
    );
}

#[test]
fn a_final_checkpoint_that_is_complete_is_final_whatever_fails_before_its_commit() {
    Coordinator::new().play(
        "start a0#1       |
         drained          | log triggered 1!
         written          | trigger 1!
         ack a0#1 1       | store 1! of a0
         stored 1         | log completed 1!
         written          | announce 1
         quiesce          | quiesced
         start a0#2       | announce 1
         drained          |
         @100s tick       |
         committed a0#2 1 | log committed 1
         written          | job done",
    );
}

// --- taking over -------------------------------------------------------------------------------------

#[test]
fn a_checkpoint_in_flight_is_adopted_if_every_task_acknowledges_it() {
    // What is reported of 1, which the old leader had triggered; and what follows.
    let table = [
        // All: it completes, and the trigger that goes out again changes nothing.
        (
            "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
             stored 1   | log completed 1
             written    | announce 1",
        ),
        // Some: the others acknowledge it now, even if no source had heard of it.
        (
            "start a0#1=acked:1 a1#1=running b0#1=running | trigger 1
             ack a1#1 1 |
             ack b0#1 1 | store 1 of a0 a1 b0
             stored 1   | log completed 1",
        ),
        (
            "start a0#1=running a1#1=running b0#1=running | trigger 1
             ack a1#1 1 |
             ack b0#1 1 |
             ack a0#1 1 | store 1 of a0 a1 b0",
        ),
        // An acknowledgement of another one is none of this.
        (
            "start a0#1=acked:0 a1#1=acked:1 b0#1=acked:1 | trigger 1
             ack a0#1 1 | store 1 of a0 a1 b0",
        ),
        // A task that was restarted since stands somewhere else, whatever its predecessor had said.
        (
            "start a0#2 a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | log aborted 1 (tasks were restarted when the leader took over)
             written    | call off 1",
        ),
        // Declined while nobody led.
        (
            "start a0#1=acked:1 a1#1=declined:1 b0#1=running | log aborted 1 (v0[1]#1 declined while there was no leader)
             written    | call off 1",
        ),
        (
            "start a0#1=acked:1 a1#1=declined:7 b0#1=running | log aborted 1 (v0[1]#1 declined while there was no leader)
             written    | call off 1",
        ),
        (
            "start a0#1=running a1#1=declined:0 b0#1=running | trigger 1",
        ),
    ]
    .map(|script| script.0);
    for script in table {
        Coordinator::triggered().successor(false).play(script);
    }
}

#[test]
fn what_tasks_say_before_the_coordinator_has_started_is_not_forgotten() {
    // Their reports are older than that.
    Coordinator::triggered().successor(false).play(
        "ack a1#1 1 |
         ack b0#1 1 |
         ack b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1; store 1 of a0 a1 b0",
    );
    Coordinator::triggered().successor(false).play(
        "decline a1#1 1 |
         decline b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1; log aborted 1 (v0[1]#1 declined: slow)
         written         | call off 1",
    );
    Coordinator::triggered().successor(false).play(
        "decline b0#9 1 |
         start a0#1=acked:1 a1#1=running b0#1=running | trigger 1",
    );
    let mut drained = Coordinator::new();
    drained.play(
        "drained |
         start a0#1=running | log triggered 1!",
    );
}

#[test]
fn a_checkpoint_in_flight_that_nobody_takes_up_times_out() {
    Coordinator::triggered().successor(false).play(
        "@69s tick |
         @70s tick | log aborted 1 (it took longer than 60s)
         written   | call off 1",
    );
}

#[test]
fn a_leader_may_die_at_each_step_of_a_checkpoint_before_and_after_the_write() {
    let all = "start a0#1=running a1#1=running b0#1=running";
    let acked = "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1";
    // Before `Triggered` is written there is nothing, and the number may be used.
    let mut logging = Coordinator::new();
    logging.quietly(&[ALL, "@10s tick"]);
    let mut next = logging.successor(false);
    next.play(&format!("{all} |\n@20s tick | log triggered 1"));
    // After, the checkpoint goes on.
    logging.quietly(&["written"]);
    logging.successor(false).play(&format!("{all} | trigger 1"));
    // The manifest may be stored already; it is stored again, the same.
    let store = format!("{acked} | trigger 1; store 1 of a0 a1 b0");
    Coordinator::storing().successor(false).play(&store);
    // Before `Completed` is written it is as if the manifest weren't there.
    let mut completing = Coordinator::completing();
    completing.successor(false).play(&store);
    // After, it is announced, again if need be.
    completing.quietly(&["written"]);
    completing.successor(false).play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | announce 1
         committed a0#1 1 |
         committed a1#1 1 |
         committed b0#1 1 | log committed 1",
    );
    // Before and after `Aborted`.
    let mut aborting = Coordinator::triggered();
    aborting.quietly(&["decline a0#1 1"]);
    let mut next = aborting.successor(false);
    next.play(
        "start a0#1=declined:1 a1#1=running b0#1=running | log aborted 1 (v0[0]#1 declined while there was no leader)",
    );
    aborting.quietly(&["written"]);
    let mut next = aborting.successor(false);
    next.play(&format!("{all} |\n@20s tick | log triggered 2"));
    // Before and after `Committed`.
    completing.quietly(&["committed a0#1 1", "committed a1#1 1", "committed b0#1 1"]);
    let mut next = completing.successor(false);
    next.play(&format!("{all} | announce 1"));
    completing.quietly(&["written"]);
    completing.successor(false).play(&format!("{all} |"));
}

#[test]
fn a_leader_may_die_between_the_last_commit_and_the_jobs_end() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&[
        "start a0#1",
        "drained",
        "written",
        "ack a0#1 1",
        "stored 1",
        "written",
        "committed a0#1 1",
    ]);
    coordinator.successor(false).play(
        "start a0#1=drained | announce 1
         committed a0#1 1   | log committed 1
         written            | job done",
    );
    coordinator.quietly(&["written"]);
    coordinator.successor(false).play(
        "start a0#1=drained | job done
         @99s tick          |",
    );
}

#[test]
fn a_final_checkpoint_in_flight_does_not_end_a_job_whose_tasks_were_restarted() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", "drained", "written"]);
    coordinator.successor(false).play(
        "start a0#2 b0#1=drained | log aborted 1 (tasks were restarted when the leader took over)
         written     | call off 1
         @12s tick   | log triggered 2",
    );
    coordinator
        .successor(false)
        .play("start a0#1=drained b0#1=acked:1 | trigger 1!");
}

#[test]
fn a_job_has_drained_only_if_every_task_says_so() {
    // One region was adopted drained, the other was restarted and has just begun.
    Coordinator::new().play("start a0#1=drained b0#2 |");
    Coordinator::new().play("start a0#1=drained b0#1=running |");
    Coordinator::new().play("start a0#1=drained b0#1=drained | log triggered 1!");
    Coordinator::new().play("start a0#1 |");
}

#[test]
fn numbers_are_never_used_again_by_whoever_coordinates() {
    let mut coordinator = Coordinator::new();
    let mut last = 0;
    for round in 1..30 {
        coordinator.quietly(&["start a0#1", &format!("@{}s tick", round * 100), "written"]);
        last += 1;
        // Each ends otherwise: completed, declined, left by its leader.
        match round % 3 {
            0 => coordinator.quietly(&[
                &format!("ack a0#1 {last}"),
                &format!("stored {last}"),
                "written",
            ]),
            1 => coordinator.quietly(&[&format!("decline a0#1 {last}"), "written"]),
            _ => {
                coordinator = coordinator.successor(false);
                coordinator.quietly(&[&format!("start a0#1=declined:{last}"), "written"]);
            }
        }
    }
    let triggered = coordinator.log.iter().filter_map(|entry| match entry {
        LogEntry::CheckpointTriggered { id, .. } => Some(id.0),
        _ => None,
    });
    let triggered: Vec<u64> = triggered.collect();
    assert!(triggered.is_sorted_by(|a, b| a < b), "{triggered:?}");
    assert!(triggered.len() >= 28, "{triggered:?}");
}

// --- a coordinator that is restarted under its leader, whose writes go on ----------------------------

#[test]
fn a_coordinator_adopts_the_trigger_that_its_predecessor_was_having_written() {
    let logging = || {
        let mut coordinator = Coordinator::new();
        coordinator.quietly(&[ALL, "@10s tick"]);
        coordinator.successor(true)
    };
    // Before it has started nobody is triggered; the checkpoint is given up.
    logging().play(
        "written   | log aborted 1 (tasks are being restarted)
         start a0#1=running a1#1=running b0#1=running |
         written   | call off 1
         @20s tick | log triggered 2",
    );
    // After, it is its own.
    logging().play(
        "start a0#1=running a1#1=running b0#1=running |
         written    | trigger 1
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1 of a0 a1 b0",
    );
    // It may even have chosen the same number by then; the second entry changes nothing.
    let mut next = logging();
    next.play(
        "start a0#1=drained a1#1=drained b0#1=drained | log triggered 1!
         written    | trigger 1!
         ack a0#1 1 |
         ack a1#1 1 |
         ack b0#1 1 | store 1! of a0 a1 b0
         written    |
         stored 1   | log completed 1!
         written    | announce 1",
    );
}

#[test]
fn a_coordinator_learns_of_the_completion_that_its_predecessor_was_having_written() {
    let completing = || Coordinator::completing().successor(true);
    completing().play(
        "written  | announce 1
         start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | announce 1",
    );
    completing().play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
         written  | announce 1
         stored 1 |",
    );
    // Completed twice, or aborted as well: the first verdict counts.
    let mut twice = completing();
    twice.play(
        "start a0#1=acked:1 a1#1=acked:1 b0#1=acked:1 | trigger 1; store 1 of a0 a1 b0
         stored 1  | log completed 1
         written   | announce 1
         @20s tick | log triggered 2
         written   |
         written   | trigger 2",
    );
    let mut aborted = completing();
    aborted.play(
        "quiesce  | log aborted 1 (tasks are being restarted)
         written  | announce 1; quiesced
         start a0#2 a1#2 b0#2 | announce 1
         written  |",
    );
}

#[test]
fn a_coordinator_learns_of_the_abortion_that_its_predecessor_was_having_written() {
    let aborting = || {
        let mut coordinator = Coordinator::triggered();
        coordinator.quietly(&["decline a0#1 1"]);
        coordinator.successor(true)
    };
    aborting().play(
        "written | call off 1
         start a0#1=declined:1 a1#1=acked:1 b0#1=acked:1 |",
    );
    aborting().play(
        "start a0#1=declined:1 a1#1=acked:1 b0#1=acked:1 | log aborted 1 (v0[0]#1 declined while there was no leader)
         written   | call off 1
         @20s tick | log triggered 2
         written   |
         written   | trigger 2",
    );
}

// --- savepoints --------------------------------------------------------------------------------------

#[test]
fn a_savepoint_is_made_at_once_and_nothing_is_committed_for_it() {
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         asked s          | log triggered 1s
         written          | trigger 1s
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1s of a0 a1 b0
         stored 1         | log completed 1s
         written          | call off 1
         @10s tick        | log triggered 2",
    );
    let state = JobState::replay(&coordinator.log);
    assert_eq!(state.savepoints[0].outcome, Some(Ok(CheckpointId(1))));
    assert_eq!(state.latest(), None, "the job doesn't start again from it");
}

#[test]
fn savepoints_wait_for_what_is_under_way_and_for_one_another() {
    Coordinator::triggered().play(
        "asked s          |
         asked s          |
         ack a0#1 1       |
         ack a1#1 1       |
         ack b0#1 1       | store 1 of a0 a1 b0
         stored 1         | log completed 1
         written          | announce 1; log triggered 2s
         written          | trigger 2s
         decline b0#1 2   | log aborted 2 (v1[0]#1 declined: slow)
         written          | call off 2; log savepoint failed (v1[0]#1 declined: slow); log triggered 3s",
    );
}

#[test]
fn a_savepoint_that_gives_way_to_a_restart_is_made_afterwards() {
    let mut coordinator = Coordinator::new();
    coordinator.play(
        "start a0#1 a1#1 b0#1 |
         asked s          | log triggered 1s
         written          | trigger 1s
         quiesce          | log aborted 1 (tasks are being restarted)
         written          | call off 1; quiesced
         start a0#2 a1#2 b0#2 | log triggered 2s",
    );
    // So does the next leader's coordinator, which finds the request in the log.
    let mut next = coordinator.successor(false);
    next.play("start a0#2=running a1#2=running b0#2=running | log triggered 2s");
}

#[test]
fn a_job_that_is_stopped_is_done_when_all_is_committed() {
    for kind in ["x", "d"] {
        let mut coordinator = Coordinator::new();
        coordinator.quietly(&["start a0#1 b0#1", &format!("asked {kind}"), "written"]);
        coordinator.quietly(&["ack a0#1 1", "ack b0#1 1", "stored 1"]);
        coordinator.play(
            "written          | announce 1
             asked s          |
             @30s tick        |
             committed a0#1 1 |
             committed b0#1 1 | log committed 1
             written          | job done",
        );
        // A region that fails in between commits again, and takes no other checkpoint.
        let mut again = Coordinator::new();
        again.quietly(&["start a0#1 b0#1", &format!("asked {kind}"), "written"]);
        again.quietly(&["ack a0#1 1", "ack b0#1 1", "stored 1", "written"]);
        again.play(
            "quiesce          | quiesced
             start a0#2 b0#2  | announce 1
             @30s tick        |
             committed a0#2 1 |
             committed b0#2 1 | log committed 1
             written          | job done",
        );
    }
}

#[test]
fn sources_that_hold_for_a_stop_that_failed_are_told_by_the_next_leader_too() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", "asked x", "written", "decline b0#1 1"]);
    coordinator.play("written | call off 1; log savepoint failed (v1[0]#1 declined: slow)");
    coordinator.quietly(&["written"]);
    let mut next = coordinator.successor(false);
    next.play("start a0#1=running b0#1=running | call off 1");
}

#[test]
fn a_savepoint_of_a_job_that_has_read_everything_comes_before_its_last_checkpoint() {
    let mut coordinator = Coordinator::new();
    coordinator.quietly(&["start a0#1 b0#1", "asked s", "drained", "written"]);
    coordinator.play(
        "ack a0#1 1       |
         ack b0#1 1       | store 1s of a0 b0
         stored 1         | log completed 1s
         written          | call off 1; log triggered 2!",
    );
}
