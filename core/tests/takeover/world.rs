//! The world around the leader: who acts next, who dies, and what must hold throughout.

mod chaos;
mod checks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rivus_core::job::{JobEvent, JobOptions, JobState, LogEntry, Manifest, RestartStrategy};
use rivus_core::{
    AttemptId, CheckpointId, Discovered, EncodedSplit, FoundSplit, Incarnation, JobGraph,
    LeaderEpoch, Slot, SplitId, TaskManagerId,
};
use uuid::Uuid;

use self::chaos::Random;
pub use self::chaos::{Chaos, Deaths};
use crate::leader::{Blocking, Leader};
use crate::plan::plan;
use crate::tasks::{Snapshots, TaskManagerModel};

/// Splits of each source.
const SPLITS: u32 = 12;
const TASK_MANAGERS: u32 = 3;
const SLOTS: u32 = 2;
/// Steps of chaos, and how many more it may take then.
const CHAOS_STEPS: u32 = 3_000;
const PEACE_STEPS: u32 = 20_000;

pub struct World {
    seed: u64,
    random: Random,
    chaos: Chaos,
    pub deaths: Deaths,
    graph: JobGraph,
    now: Duration,
    log: Vec<LogEntry>,
    /// The fold over the log.
    truth: JobState,
    leader: Option<Leader>,
    epoch: LeaderEpoch,
    task_managers: Vec<TaskManagerModel>,
    incarnations: u128,
    snapshots: Snapshots,
    manifests: BTreeMap<CheckpointId, Manifest>,
    /// What the ResourceManager has found out and not told yet.
    announcements: VecDeque<Announcement>,
    /// The leader dies at this entry, before it or after it.
    dies_at: Option<(usize, bool)>,
    /// Attempts that were ever in a `Deployed` entry.
    attempts: BTreeSet<AttemptId>,
    /// Checkpoints that have their verdict.
    verdicts: BTreeSet<CheckpointId>,
    canceled: bool,
    history: VecDeque<String>,
}

enum Announcement {
    Joined(Incarnation),
    Lost(Incarnation),
    Granted(Vec<Slot>),
}

/// Who acts next.
#[derive(Clone, Copy)]
enum Actor {
    Elect,
    Obey(usize),
    Hear(usize),
    ResourceManager,
    Announce,
    Coordinator,
    Master,
    Write,
    Written,
    Blocking(usize),
    Decide,
    Task(usize, AttemptId),
    Time,
}

impl World {
    pub fn new(shape: &[(&str, u32, Option<usize>)], seed: u64, chaos: Chaos) -> Self {
        let options = JobOptions {
            checkpoint_interval: Some(Duration::from_secs(2)),
            // Nothing here may need it.
            checkpoint_timeout: Duration::from_secs(1_000_000),
            restart: RestartStrategy::FixedDelay {
                attempts: u32::MAX,
                delay: Duration::from_secs(1),
            },
            ..JobOptions::default()
        };
        let mut world = Self {
            seed,
            random: Random(seed),
            chaos,
            deaths: Deaths::default(),
            graph: plan(shape),
            now: Duration::ZERO,
            log: Vec::new(),
            truth: JobState::default(),
            leader: None,
            epoch: LeaderEpoch(0),
            task_managers: Vec::new(),
            incarnations: 0,
            snapshots: Snapshots::new(),
            manifests: BTreeMap::new(),
            announcements: VecDeque::new(),
            dies_at: None,
            attempts: BTreeSet::new(),
            verdicts: BTreeSet::new(),
            canceled: false,
            history: VecDeque::new(),
        };
        world.write(LogEntry::Submitted {
            name: "job".into(),
            fingerprint: 0,
            program: None,
            options: Box::new(options),
            start: None,
        });
        for name in 0..TASK_MANAGERS {
            world.start_task_manager(name);
        }
        world
    }

    pub fn leader_dies_at(&mut self, entry: usize, after: bool) {
        // The first entry was there before any leader.
        self.dies_at = Some((entry + 1, after));
    }

    pub fn run_to_the_end(&mut self) {
        for step in 0..CHAOS_STEPS + PEACE_STEPS {
            let over = self.leader.as_ref().is_some_and(|leader| leader.ended);
            if over {
                return self.check_end();
            }
            if step < CHAOS_STEPS {
                self.chaos();
            }
            let actors = self.actors();
            let actor = actors[self.random.below(actors.len())];
            self.act(actor);
            self.send_commands();
        }
        panic!("the job has not ended: {:#?}", self.truth);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.history.len() == 400 {
            self.history.pop_front();
        }
        self.history.push_back(what());
    }

    // --- who acts ---

    fn actors(&self) -> Vec<Actor> {
        let mut actors = Vec::new();
        for (index, task_manager) in self.task_managers.iter().enumerate() {
            if !task_manager.inbox.is_empty() {
                actors.extend([Actor::Obey(index); 4]);
            }
            if !task_manager.outbox.is_empty() {
                actors.extend([Actor::Hear(index); 4]);
            }
            let tasks = task_manager.tasks.iter().filter(|(_, t)| t.is_alive());
            actors.extend(tasks.map(|(attempt, _)| Actor::Task(index, *attempt)));
        }
        let Some(leader) = &self.leader else {
            actors.push(Actor::Elect);
            return actors;
        };
        actors.extend([Actor::Time, Actor::ResourceManager]);
        let enabled = [
            (Actor::Announce, !self.announcements.is_empty()),
            (Actor::Coordinator, leader.has_messages()),
            (Actor::Master, !leader.said.is_empty()),
            (
                Actor::Write,
                leader.written.is_none() && !leader.queue.is_empty(),
            ),
            (Actor::Written, leader.written.is_some()),
            (Actor::Decide, self.may_decide(leader)),
        ];
        for (actor, enabled) in enabled {
            if enabled {
                actors.extend([actor; 4]);
            }
        }
        actors.extend((0..leader.blocking.len()).map(Actor::Blocking));
        actors
    }

    /// The collect timeout passes for those who are dead, and for the living if the leader is impatient.
    fn may_decide(&self, leader: &Leader) -> bool {
        let alive = |incarnation: &Incarnation| {
            let mut task_managers = self.task_managers.iter();
            task_managers.any(|task_manager| task_manager.incarnation == *incarnation)
        };
        leader.collected(!leader.expected().iter().any(alive))
    }

    fn act(&mut self, actor: Actor) {
        match actor {
            Actor::Elect => self.elect(),
            Actor::Obey(index) => self.obey(index),
            Actor::Hear(index) => {
                let task_manager = &mut self.task_managers[index];
                let incarnation = task_manager.incarnation;
                if let Some((epoch, told)) = task_manager.outbox.pop_front()
                    && epoch == self.epoch
                {
                    self.note(|| format!("heard {told:?}"));
                    if let Some(leader) = &mut self.leader {
                        leader.told(incarnation, told, self.now);
                    }
                }
            }
            Actor::ResourceManager => self.resource_manager(),
            Actor::Announce => self.announce(),
            Actor::Coordinator => self.lead(|leader, now| leader.coordinator_steps(now)),
            Actor::Master => self.lead(|leader, now| leader.hears_coordinator(now)),
            Actor::Write => self.write_next(),
            Actor::Written => self.lead(|leader, now| leader.appended(now)),
            Actor::Blocking(index) => self.blocking(index),
            Actor::Decide => self.decide(),
            Actor::Task(index, attempt) => self.task_steps(index, attempt),
            Actor::Time => {
                self.now += Duration::from_millis(self.random.next() % 500);
                self.lead(|leader, now| leader.time_passes(now));
            }
        }
    }

    fn lead(&mut self, step: impl FnOnce(&mut Leader, Duration)) {
        if let Some(leader) = &mut self.leader {
            step(leader, self.now);
        }
    }

    fn elect(&mut self) {
        self.epoch = self.epoch.next();
        self.write(LogEntry::Leader {
            epoch: self.epoch,
            term: self.epoch.0,
            process: 0,
        });
        let state = JobState::replay(&self.log);
        self.announcements.clear();
        self.leader = Some(Leader::new(state, &self.graph, self.now));
    }

    fn kill_leader(&mut self) {
        if self.leader.take().is_some() {
            self.note(|| "THE LEADER DIES".into());
            self.deaths.leaders += 1;
        }
    }

    fn send_commands(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let commands = std::mem::take(&mut leader.commands);
        for (incarnation, command) in commands {
            let mut task_managers = self.task_managers.iter_mut();
            if let Some(to) = task_managers.find(|to| to.incarnation == incarnation) {
                to.inbox.push_back((self.epoch, command));
            }
        }
    }

    // --- the log ---

    fn write_next(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let at = self.log.len();
        let dies = self.dies_at.filter(|(entry, _)| *entry <= at);
        if dies.is_some() {
            self.dies_at = None;
        }
        if matches!(dies, Some((_, false))) {
            return self.kill_leader();
        }
        if let Some(entry) = leader.queue.pop_front() {
            leader.written = Some(entry.clone());
            self.write(entry);
        }
        if dies.is_some() {
            self.kill_leader();
        }
    }

    fn write(&mut self, entry: LogEntry) {
        self.note(|| format!("LOG {entry:?}"));
        let is_leader = matches!(entry, LogEntry::Leader { .. });
        assert!(
            self.truth.outcome.is_none() || is_leader,
            "{entry:?} after the terminal entry"
        );
        match &entry {
            LogEntry::Deployed { attempts, .. } => {
                for (attempt, _) in attempts {
                    assert!(self.attempts.insert(*attempt), "{attempt} is used twice");
                }
            }
            LogEntry::CheckpointTriggered { id, .. } => {
                assert!(!self.verdicts.contains(id), "{id} is used twice");
            }
            LogEntry::CheckpointCompleted { id, .. } | LogEntry::CheckpointAborted { id, .. } => {
                // Of a coordinator that was restarted there may be a second, which doesn't count.
                let first = self.verdicts.insert(*id);
                assert!(
                    first || self.deaths.coordinators > 0,
                    "two verdicts on {id}"
                );
            }
            _ => {}
        }
        self.truth.apply(&entry);
        self.log.push(entry);
    }

    // --- the takeover ---

    fn decide(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let early: Vec<_> = leader.queue.iter().cloned().collect();
        let (reports, actions) = leader.take_over(self.now);
        self.note(|| format!("DECIDED {actions:?}"));
        if early.is_empty() {
            self.check_matches(&reports, &actions);
        }
    }

    // --- slots and storage ---

    fn resource_manager(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let alive: BTreeSet<Incarnation> =
            self.task_managers.iter().map(|t| t.incarnation).collect();
        let mut known = leader.joined.clone();
        for announcement in &self.announcements {
            match announcement {
                Announcement::Joined(incarnation) => known.insert(*incarnation),
                Announcement::Lost(incarnation) => known.remove(incarnation),
                Announcement::Granted(_) => true,
            };
        }
        if let Some(gone) = known.difference(&alive).next()
            && self.random.chance(5_000)
        {
            leader.joined.remove(gone);
            self.announcements.push_back(Announcement::Lost(*gone));
        } else if let Some(new) = alive.difference(&known).next() {
            self.announcements.push_back(Announcement::Joined(*new));
        } else if let Some(count) = leader.wanted {
            let slots = known.iter().flat_map(|incarnation| {
                (0..SLOTS).map(|index| Slot {
                    task_manager: TaskManagerId("t".into()),
                    incarnation: *incarnation,
                    index,
                })
            });
            let mut slots: Vec<Slot> = slots.collect();
            if slots.len() >= count {
                leader.wanted = None;
                let first = self.random.below(slots.len());
                slots.rotate_left(first);
                slots.truncate(count);
                self.announcements.push_back(Announcement::Granted(slots));
            }
        }
    }

    fn announce(&mut self) {
        let (Some(leader), Some(announcement)) = (&mut self.leader, self.announcements.pop_front())
        else {
            return;
        };
        match announcement {
            Announcement::Joined(incarnation) => leader.joins(incarnation),
            Announcement::Lost(incarnation) => leader.lost(incarnation, self.now),
            Announcement::Granted(slots) => {
                leader.decide(JobEvent::SlotsGranted(slots), self.now);
            }
        }
    }

    fn blocking(&mut self, index: usize) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        match leader.blocking.swap_remove(index) {
            Blocking::FindSplits(source) => {
                // The others are found while the job runs.
                let splits = (0..SPLITS / 2).map(|id| EncodedSplit {
                    id: SplitId(id),
                    bytes: Vec::new(),
                });
                let splits = Ok(splits.collect());
                let open = true;
                let found = JobEvent::SplitsFound {
                    source,
                    splits,
                    open,
                };
                leader.decide(found, self.now);
            }
            Blocking::DiscoverSplits(source) => {
                let known = leader.machine.state().splits[&source].len() as u32;
                let found = JobEvent::SplitsDiscovered {
                    source,
                    found: Ok(Discovered {
                        splits: vec![FoundSplit::default(); usize::from(known < SPLITS)],
                        last: known + 1 >= SPLITS,
                    }),
                    interval: Duration::from_secs(1),
                };
                leader.decide(found, self.now);
            }
            Blocking::ReadManifest(id) => {
                let manifest = Box::new(self.manifests[&id].clone());
                leader.decide(JobEvent::ManifestRead(Ok(manifest)), self.now);
            }
            Blocking::StoreManifest(by, manifest) => {
                self.manifests.insert(manifest.id, manifest.clone());
                leader.manifest_stored(by, manifest);
            }
        }
    }

    // --- tasks ---

    fn start_task_manager(&mut self, name: u32) {
        self.incarnations += 1;
        self.task_managers.push(TaskManagerModel {
            name,
            incarnation: Incarnation(Uuid::from_u128(self.incarnations)),
            tasks: BTreeMap::new(),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            epoch: LeaderEpoch(0),
        });
    }

    fn obey(&mut self, index: usize) {
        let before = self.task_managers[index].inbox.front().cloned();
        if let Some((epoch, command)) = &before
            && *epoch >= self.task_managers[index].epoch
        {
            self.check_command(command, index);
        }
        let task_manager = &mut self.task_managers[index];
        let command = task_manager.obey(&self.graph, &mut self.snapshots);
        self.note(|| format!("t{index} obeys {command:?}"));
        self.check_readers();
    }

    fn task_steps(&mut self, index: usize, attempt: AttemptId) {
        let senders: Option<Vec<(CheckpointId, bool)>> = self
            .graph
            .senders(attempt.subtask)
            .iter()
            .map(|(_, sender)| {
                let mut task_managers = self.task_managers.iter();
                task_managers.find_map(|task_manager| task_manager.as_sender(*sender))
            })
            .collect();
        self.task_managers[index].step(attempt, senders.as_deref(), &mut self.snapshots);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.history {
                eprintln!("{line}");
            }
            let shape: Vec<&str> = self.graph.vertices.iter().map(|v| &*v.name).collect();
            let (seed, chaos) = (self.seed, self.chaos);
            eprintln!("RIVUS_SEED={seed} of {shape:?} with {chaos:?}");
        }
    }
}
