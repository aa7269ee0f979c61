//! A coordinator whose surroundings are played by the test.

use super::*;

/// A coordinator, and everything around it, played by the test.
pub(super) struct Coordinator {
    options: JobOptions,
    machine: CheckpointMachine,
    pub(super) log: Vec<LogEntry>,
    queue: VecDeque<LogEntry>,
    now: Duration,
}

impl Coordinator {
    pub(super) fn with(options: JobOptions) -> Self {
        let submitted = LogEntry::Submitted {
            name: "job".into(),
            fingerprint: 7,
            program: None,
            options: Box::new(options.clone()),
            start: None,
        };
        Self::after(options, vec![submitted], Duration::ZERO)
    }

    pub(super) fn after(options: JobOptions, log: Vec<LogEntry>, now: Duration) -> Self {
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
    pub(super) fn new() -> Self {
        Self::with(JobOptions {
            checkpoint_interval: Some(Duration::from_secs(10)),
            checkpoint_timeout: Duration::from_secs(60),
            ..JobOptions::default()
        })
    }

    /// Another coordinator of the same leader, or of the next: it knows what was written. What was on its
    /// way to the log still is, if the leader lives.
    pub(super) fn successor(&self, leader_lives: bool) -> Self {
        let mut next = Self::after(self.options.clone(), self.log.clone(), self.now);
        if leader_lives {
            next.queue = self.queue.clone();
        }
        next
    }

    pub(super) fn event(&mut self, text: &str) -> CheckpointEvent {
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
                let request = SavepointRequest {
                    token,
                    kind,
                    rescale_to: None,
                };
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
    pub(super) fn started(&self, text: &str) -> CheckpointEvent {
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

    pub(super) fn happens(&mut self, text: &str) -> String {
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
    pub(super) fn play(&mut self, script: &str) {
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
    pub(super) fn quietly(&mut self, events: &[&str]) {
        events.iter().for_each(|event| {
            self.happens(event);
        });
    }

    pub(super) fn next_tick(&self) -> Option<u64> {
        self.machine.next_tick(self.now).map(|wait| wait.as_secs())
    }

    /// A checkpoint is under way and its triggers are sent.
    pub(super) fn triggered() -> Self {
        let mut coordinator = Self::new();
        coordinator.quietly(&[ALL, "@10s tick", "written"]);
        coordinator
    }

    /// All have acknowledged, and the manifest is being stored.
    pub(super) fn storing() -> Self {
        let mut coordinator = Self::triggered();
        coordinator.quietly(&["ack a0#1 1", "ack a1#1 1", "ack b0#1 1"]);
        coordinator
    }

    /// Completion is on its way to the log.
    pub(super) fn completing() -> Self {
        let mut coordinator = Self::storing();
        coordinator.quietly(&["stored 1"]);
        coordinator
    }
}
