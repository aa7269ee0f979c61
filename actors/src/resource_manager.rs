//! TaskManagers and their slots, as the leader sees them. Nothing here is durable: TaskManagers register
//! anew with every leader and say which jobs run in them; which slots these hold, their JobMasters say, who
//! have it from the log. Until they have, no slot of that TaskManager is granted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use rivus_core::{Incarnation, JobId, Slot, TaskManagerId};
use serde::{Deserialize, Serialize};

use crate::context::NodeContext;
use crate::job_master::{JobMasterMessage, RescaleLook};
use crate::probe::{ActorKind, Step};
use crate::slots::{OfferedSlots, WantedSlots};
use crate::task_manager::TaskManagerMessage;

/// What a TaskManager says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its name.
    pub id: TaskManagerId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// How many slots it has.
    pub slots: u32,
    /// Jobs that run in it already.
    pub jobs: Vec<JobId>,
    /// Where it takes data from other processes; empty if it doesn't.
    pub data_address: String,
    /// Its state backend; none if state is in memory.
    pub backend: Option<String>,
}

/// A TaskManager as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskManagerView {
    /// Its name.
    pub id: TaskManagerId,
    /// The job that holds each of its slots.
    pub slots: Vec<Option<JobId>>,
    /// Its state backend; none if state is in memory.
    pub backend: Option<String>,
    /// Where it takes data from other processes; empty if it doesn't.
    pub data_address: String,
}

/// What the actor is told.
pub enum ResourceManagerMessage {
    /// A TaskManager is there.
    Register {
        /// What it says of itself.
        registration: Registration,
        /// Its actor.
        actor: ActorRef<TaskManagerMessage>,
    },
    /// A TaskManager lives.
    Heartbeat {
        /// Which life of it.
        incarnation: Incarnation,
        /// Its actor, to be asked to register again if it was given up.
        actor: ActorRef<TaskManagerMessage>,
    },
    /// The actor of a TaskManager is gone; its supervisor says so. Its successor may have registered before.
    Died(ActorId),
    /// Look who has been silent for too long.
    Check,
    /// A JobMaster wants to hear of TaskManagers, those that are there already first.
    Subscribe {
        /// Its job.
        job: JobId,
        /// Its actor.
        master: ActorRef<JobMasterMessage>,
    },
    /// What a job holds of a TaskManager's slots, by its log.
    Hold {
        /// The job.
        job: JobId,
        /// Which life of the TaskManager.
        incarnation: Incarnation,
        /// The slots' numbers.
        slots: BTreeSet<u32>,
    },
    /// A JobMaster needs slots.
    RequestSlots {
        /// Its job.
        job: JobId,
        /// Which.
        wanted: WantedSlots,
    },
    /// A JobMaster asks whether its job would have the slots that it needs to be rescaled.
    LookForSlots {
        /// Its job.
        job: JobId,
        /// How many in all.
        count: usize,
        /// What it is to be told beside the answer.
        look: RescaleLook,
    },
    /// A job has ended.
    ReleaseJob(JobId),
}

/// The actor.
pub struct ResourceManagerActor;

struct TaskManagerEntry {
    actor: ActorRef<TaskManagerMessage>,
    offered: OfferedSlots,
    last_heard: Duration,
    data_address: String,
}

/// Jobs that have ended, of which that is known.
const RELEASED: usize = 1_000;

/// What the actor remembers.
pub struct ResourceManagerState {
    node: Arc<NodeContext>,
    task_managers: BTreeMap<Incarnation, TaskManagerEntry>,
    masters: BTreeMap<JobId, ActorRef<JobMasterMessage>>,
    /// Requests that can't be met yet.
    waiting: BTreeMap<JobId, WantedSlots>,
    /// When heartbeats were looked at last.
    looked: Duration,
    /// Jobs that have ended lately: a TaskManager may not have heard of it.
    released: VecDeque<JobId>,
}

impl Actor for ResourceManagerActor {
    type Msg = ResourceManagerMessage;
    type State = ResourceManagerState;
    type Arguments = Arc<NodeContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<ResourceManagerMessage>,
        node: Arc<NodeContext>,
    ) -> Result<ResourceManagerState, ActorProcessingErr> {
        node.spawned(ActorKind::ResourceManager, &"", myself.get_cell());
        let interval = node.config.heartbeat_interval;
        node.send_later(&myself, interval, ResourceManagerMessage::Check);
        node.task_managers.send_replace(Vec::new());
        Ok(ResourceManagerState {
            looked: node.now(),
            node,
            task_managers: BTreeMap::new(),
            masters: BTreeMap::new(),
            waiting: BTreeMap::new(),
            released: VecDeque::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ResourceManagerMessage>,
        message: ResourceManagerMessage,
        state: &mut ResourceManagerState,
    ) -> Result<(), ActorProcessingErr> {
        let cell = myself.get_cell();
        let pass = |state: &ResourceManagerState, step| {
            state
                .node
                .pass(ActorKind::ResourceManager, &"", step, &cell)
        };
        match message {
            ResourceManagerMessage::Register {
                registration,
                actor,
            } => {
                pass(state, Step::Register)?;
                state.register(registration, actor);
            }
            ResourceManagerMessage::Heartbeat { incarnation, actor } => {
                let now = state.node.now();
                match state.task_managers.get_mut(&incarnation) {
                    Some(entry) => entry.last_heard = now,
                    None => {
                        let found = TaskManagerMessage::LeaderFound(myself);
                        let _ = actor.cast(found);
                    }
                }
            }
            ResourceManagerMessage::Died(actor) => {
                state.lose(|entry| entry.actor.get_id() == actor);
            }
            ResourceManagerMessage::Check => {
                let (now, timeout) = (state.node.now(), state.node.config.heartbeat_timeout);
                let interval = state.node.config.heartbeat_interval;
                let looked = std::mem::replace(&mut state.looked, now);
                if !is_overdue(looked, now, interval) {
                    state.lose(|entry| now.saturating_sub(entry.last_heard) > timeout);
                }
                let node = &state.node;
                node.send_later(&myself, interval, ResourceManagerMessage::Check);
            }
            ResourceManagerMessage::Subscribe { job, master } => {
                for (incarnation, entry) in &state.task_managers {
                    let _ = master.cast(joined(*incarnation, entry));
                }
                state.masters.insert(job, master);
            }
            ResourceManagerMessage::Hold {
                job,
                incarnation,
                slots,
            } => state.hold(job, incarnation, &slots),
            ResourceManagerMessage::RequestSlots { job, wanted } => {
                pass(state, Step::Allocate)?;
                state.waiting.insert(job, wanted);
                state.grant();
            }
            ResourceManagerMessage::LookForSlots { job, count, look } => {
                // A savepoint is read by any backend.
                let wanted = WantedSlots {
                    count,
                    backend: None,
                };
                let found = wanted.find(job, state.offered()).map(drop);
                if let Some(master) = state.masters.get(&job) {
                    let _ = master.cast(JobMasterMessage::SlotsLooked { look, found });
                }
            }
            ResourceManagerMessage::ReleaseJob(job) => {
                state.masters.remove(&job);
                state.waiting.remove(&job);
                state.remember_released(job);
                for entry in state.task_managers.values_mut() {
                    entry.offered.unclear.remove(&job);
                    let _ = entry.actor.cast(TaskManagerMessage::ForgetJob(job));
                    let held = entry
                        .offered
                        .holders
                        .iter_mut()
                        .filter(|slot| **slot == Some(job));
                    held.for_each(|slot| *slot = None);
                }
                state.grant();
            }
        }
        state.publish();
        Ok(())
    }
}

/// Whether a look at the heartbeats comes so late that it is this process that stood still, or was too busy for its own
/// timers: what was sent to it meanwhile has not been heard yet. The next look tells.
fn is_overdue(looked: Duration, now: Duration, interval: Duration) -> bool {
    now.saturating_sub(looked) > 2 * interval
}

fn joined(incarnation: Incarnation, entry: &TaskManagerEntry) -> JobMasterMessage {
    JobMasterMessage::TaskManagerJoined {
        id: entry.offered.task_manager.clone(),
        incarnation,
        actor: entry.actor.clone(),
        data_address: entry.data_address.clone(),
    }
}

impl TaskManagerEntry {
    fn is_seen_as(&self, view: &TaskManagerView) -> bool {
        let OfferedSlots {
            task_manager,
            holders,
            ..
        } = &self.offered;
        (task_manager, holders, &self.data_address) == (&view.id, &view.slots, &view.data_address)
    }

    fn view(&self) -> TaskManagerView {
        TaskManagerView {
            id: self.offered.task_manager.clone(),
            slots: self.offered.holders.clone(),
            backend: self.offered.backend.clone(),
            data_address: self.data_address.clone(),
        }
    }
}

impl ResourceManagerState {
    /// Shows whoever asks what has changed. Most messages are heartbeats, which change nothing.
    fn publish(&self) {
        self.node.task_managers.send_if_modified(|seen| {
            let entries = self.task_managers.values();
            let is_seen = entries.len() == seen.len()
                && entries
                    .zip(&*seen)
                    .all(|(entry, view)| entry.is_seen_as(view));
            if !is_seen {
                *seen = self
                    .task_managers
                    .values()
                    .map(TaskManagerEntry::view)
                    .collect();
            }
            !is_seen
        });
    }

    fn register(&mut self, registration: Registration, actor: ActorRef<TaskManagerMessage>) {
        let Registration {
            id,
            incarnation,
            slots,
            jobs,
            data_address,
            backend,
        } = registration;
        // A new life proves the end of the old one. The same life over another link may have missed commands, which nobody
        // says again: it is as one that was lost and has come back.
        self.lose(|entry| {
            entry.offered.task_manager == id && entry.actor.get_id() != actor.get_id()
        });
        for job in jobs.iter().filter(|job| self.released.contains(job)) {
            // It had lost its leader when the job ended.
            let _ = actor.cast(TaskManagerMessage::ForgetJob(*job));
        }
        let (holders, unclear) = match self.task_managers.get(&incarnation) {
            Some(known) => (known.offered.holders.clone(), known.offered.unclear.clone()),
            None => {
                let running = jobs.into_iter();
                let unclear = running.filter(|job| !self.released.contains(job));
                (vec![None; slots as usize], unclear.collect())
            }
        };
        let entry = TaskManagerEntry {
            actor,
            offered: OfferedSlots {
                task_manager: id,
                backend,
                holders,
                unclear,
            },
            last_heard: self.node.now(),
            data_address,
        };
        for master in self.masters.values() {
            let _ = master.cast(joined(incarnation, &entry));
        }
        self.task_managers.insert(incarnation, entry);
        self.grant();
    }

    fn remember_released(&mut self, job: JobId) {
        if !self.released.contains(&job) {
            self.released.push_back(job);
        }
        if self.released.len() > RELEASED {
            self.released.pop_front();
        }
    }

    fn hold(&mut self, job: JobId, incarnation: Incarnation, slots: &BTreeSet<u32>) {
        let Some(entry) = self.task_managers.get_mut(&incarnation) else {
            return;
        };
        for (index, holder) in entry.offered.holders.iter_mut().enumerate() {
            if slots.contains(&(index as u32)) {
                *holder = Some(job);
            }
        }
        if entry.offered.unclear.remove(&job) {
            self.grant();
        }
    }

    fn lose(&mut self, lost: impl Fn(&TaskManagerEntry) -> bool) {
        let gone: Vec<Incarnation> = self
            .task_managers
            .iter()
            .filter(|(_, entry)| lost(entry))
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in gone {
            if let Some(entry) = self.task_managers.remove(&incarnation) {
                tracing::warn!(task_manager = %entry.offered.task_manager, "a TaskManager is lost");
            }
            for master in self.masters.values() {
                let _ = master.cast(JobMasterMessage::TaskManagerLost(incarnation));
            }
        }
    }

    fn offered(&self) -> impl Iterator<Item = (Incarnation, &OfferedSlots)> {
        let all = self.task_managers.iter();
        all.map(|(incarnation, entry)| (*incarnation, &entry.offered))
    }

    /// Meets the requests that can be met.
    fn grant(&mut self) {
        let mut more = false;
        for (job, wanted) in self.waiting.clone() {
            let answer = match wanted.find(job, self.offered()) {
                Ok(slots) => {
                    more |= self.free_others(job, &slots);
                    for slot in &slots {
                        if let Some(entry) = self.task_managers.get_mut(&slot.incarnation) {
                            entry.offered.holders[slot.index as usize] = Some(job);
                        }
                    }
                    self.waiting.remove(&job);
                    JobMasterMessage::SlotsGranted(slots)
                }
                Err(available) => {
                    let WantedSlots { count, backend } = wanted;
                    match &backend {
                        None => tracing::warn!(%job, needed = count, available,
                            "not enough free slots; waiting for other jobs to end, or for TaskManagers"),
                        Some(backend) => tracing::warn!(%job, needed = count, available, backend,
                            "not enough free slots where the checkpoint can be read; waiting for TaskManagers with its state backend"),
                    }
                    JobMasterMessage::SlotsShort {
                        needed: count,
                        available,
                        backend,
                    }
                }
            };
            if let Some(master) = self.masters.get(&job) {
                let _ = master.cast(answer);
            }
        }
        if more {
            self.grant();
        }
    }

    /// What a job is granted is all that it has: one that needs less than before gives the rest back. Whether it had any.
    fn free_others(&mut self, job: JobId, granted: &[Slot]) -> bool {
        let mut any = false;
        for (incarnation, entry) in &mut self.task_managers {
            for (index, holder) in entry.offered.holders.iter_mut().enumerate() {
                let is_granted =
                    |slot: &Slot| slot.incarnation == *incarnation && slot.index as usize == index;
                if *holder == Some(job) && !granted.iter().any(is_granted) {
                    *holder = None;
                    any = true;
                }
            }
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_still_itself_declares_nobody_lost_at_once() {
        let interval = Duration::from_secs(1);
        let looks = [1, 2, 3, 60].map(|now| is_overdue(Duration::ZERO, now * interval, interval));
        assert_eq!(looks, [false, false, true, true]);
    }
}
