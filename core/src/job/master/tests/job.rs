//! A master whose surroundings are played by the test.

use super::*;

/// A master, and everything around it, played by the test.
pub(super) struct Job {
    pub(super) graph: &'static str,
    pub(super) options: JobOptions,
    pub(super) machine: JobMachine,
    pub(super) log: Vec<LogEntry>,
    pub(super) queue: VecDeque<LogEntry>,
    pub(super) now: Duration,
}

impl Job {
    pub(super) fn submitted(graph: &'static str, options: JobOptions) -> Self {
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
            process: 0,
        };
        Self::led(graph, options, vec![submitted, leader])
    }

    pub(super) fn led(graph: &'static str, options: JobOptions, log: Vec<LogEntry>) -> Self {
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

    pub(super) fn new(graph: &'static str) -> Self {
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
    pub(super) fn running(graph: &'static str) -> Self {
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
    pub(super) fn successor(&self) -> Self {
        let mut log = self.log.clone();
        let epoch = self.machine.state.epoch.next();
        log.push(LogEntry::Leader {
            epoch,
            term: epoch.0,
            process: 0,
        });
        Self::led(self.graph, self.options.clone(), log)
    }

    /// Current attempts.
    pub(super) fn attempts(&self) -> Vec<String> {
        let executions = self.machine.state.executions.values();
        executions.map(|e| name(e.attempt)).collect()
    }

    pub(super) fn write_all(&mut self) {
        while !self.queue.is_empty() {
            self.quietly("written");
        }
    }

    pub(super) fn quietly(&mut self, event: &str) {
        self.happens(event);
    }

    /// The slot of each subtask.
    pub(super) fn places(&self) -> Vec<u32> {
        let executions = self.machine.state.executions.values();
        executions.map(|execution| execution.slot.index).collect()
    }

    /// Completes a checkpoint in which every reader has been given these splits.
    pub(super) fn checkpoint(&mut self, id: u64, received: &[u32]) {
        let (id, kind) = (CheckpointId(id), CheckpointKind::Checkpoint);
        let received = received.iter().copied().map(SplitId);
        let received: Vec<SplitId> = received.collect();
        let sources = self.machine.state.splits.keys();
        let received = sources.map(|source| (*source, received.clone())).collect();
        for entry in [
            LogEntry::CheckpointTriggered { id, kind },
            LogEntry::CheckpointCompleted { id, kind, received },
        ] {
            if matches!(entry, LogEntry::CheckpointCompleted { .. }) {
                self.machine.set_manifest(self.manifest(id));
            }
            self.log.push(entry.clone());
            self.machine.on_event(JobEvent::Appended(entry), self.now);
        }
    }

    /// Stops the job with a savepoint, to go on at another parallelism. It is not committed.
    pub(super) fn stop_to_rescale(&mut self, id: u64, parallelism: u32) {
        let (id, kind) = (CheckpointId(id), CheckpointKind::Stop { drain: false });
        let request = SavepointRequest {
            token: Uuid::from_u128(7),
            kind,
            rescale_to: Some(parallelism),
        };
        for entry in [
            LogEntry::SavepointRequested { request },
            LogEntry::CheckpointTriggered { id, kind },
            LogEntry::CheckpointCompleted {
                id,
                kind,
                received: BTreeMap::new(),
            },
        ] {
            assert_eq!(self.writes(entry), "");
        }
    }

    /// What a plan of another parallelism starts from: the splits that there are.
    fn start(&self, checkpoint: CheckpointId) -> StartState {
        StartState {
            savepoint: "its own".into(),
            checkpoint,
            splits: self.machine.state.splits.clone(),
        }
    }

    /// The master that begins when the job has another plan.
    pub(super) fn at(self, graph: &'static str) -> Self {
        Self { graph, ..self }.successor()
    }

    pub(super) fn manifest(&self, id: CheckpointId) -> Manifest {
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
                    let snapshot = SubtaskSnapshot {
                        parts: vec![SnapshotPart::whole(SnapshotRef {
                            name: format!("{id}-{subtask}"),
                            len: 0,
                            crc32c: 0,
                        })],
                        received: Vec::new(),
                    };
                    (subtask, snapshot)
                })
                .collect(),
        }
    }

    pub(super) fn happens(&mut self, event: &str) -> String {
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
                            splits: vec![FoundSplit::default(); count],
                            last: last.is_some(),
                        }),
                        Err(_) => Err(Failure::attempt("cannot list")),
                    },
                    interval: Duration::from_secs(5),
                }
            }
            "look" => JobEvent::Timer(JobTimer::Discover { source: vertex(of) }),
            "slots" => JobEvent::SlotsGranted((0..4).map(slot).collect()),
            "slots-of" => {
                let one = slot(of.trim_start_matches('t').parse().unwrap());
                let slots = (0..4).map(|index| Slot {
                    index,
                    ..one.clone()
                });
                JobEvent::SlotsGranted(slots.collect())
            }
            "slots-but" => {
                let lost: u32 = of.trim_start_matches('t').parse().unwrap();
                JobEvent::SlotsGranted((0..5).filter(|i| *i != lost).map(slot).collect())
            }
            "manifest" => JobEvent::ManifestRead(match of.parse() {
                Ok(id) => Ok(Box::new(self.manifest(CheckpointId(id)))),
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
            "savepoint" => JobEvent::Savepoint(SavepointRequest {
                token: Uuid::from_u128(of.parse().unwrap()),
                kind: CheckpointKind::Stop { drain: false },
                rescale_to: None,
            }),
            "quiesced" => JobEvent::Quiesced,
            "done" => JobEvent::JobDone,
            "prepared" => JobEvent::RescalePrepared(match of.parse() {
                Ok(checkpoint) => Ok((7, Box::new(self.start(CheckpointId(checkpoint))))),
                Err(_) => Err(Failure::job("it is damaged")),
            }),
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
                    received: BTreeMap::new(),
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

    pub(super) fn done(&mut self, actions: &[JobAction]) -> String {
        for action in actions {
            if let JobAction::Append(entry) = action {
                self.queue.push_back(entry.clone());
            }
        }
        let words: Vec<String> = actions.iter().map(action_picture).collect();
        words.join("; ")
    }

    /// The coordinator has had an entry written.
    pub(super) fn writes(&mut self, entry: LogEntry) -> String {
        self.log.push(entry.clone());
        let actions = self.machine.on_event(JobEvent::Appended(entry), self.now);
        self.done(&actions)
    }

    /// Plays a script of `event | actions` and compares the actions.
    pub(super) fn play(&mut self, script: &str) {
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
    pub(super) fn reports(&self, text: &str) -> Vec<JobReport> {
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
                received: BTreeSet::new(),
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
    pub(super) fn splits(&self) -> String {
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

/// Fails a one-task job and brings it up again, as attempt `next`.
pub(super) fn restart(job: &mut Job, next: u32) {
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
