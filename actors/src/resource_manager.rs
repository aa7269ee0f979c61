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
use crate::job_master::JobMasterMessage;
use crate::probe::{ActorKind, Step};
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
    /// A JobMaster needs so many slots in all; those it holds count.
    RequestSlots {
        /// Its job.
        job: JobId,
        /// How many.
        count: usize,
    },
    /// A job has ended.
    ReleaseJob(JobId),
}

/// The actor.
pub struct ResourceManagerActor;

struct TaskManagerEntry {
    id: TaskManagerId,
    actor: ActorRef<TaskManagerMessage>,
    /// The job that holds each slot.
    slots: Vec<Option<JobId>>,
    /// Jobs that run in it and whose masters have not said yet which slots they hold.
    unclear: BTreeSet<JobId>,
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
    waiting: BTreeMap<JobId, usize>,
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
            ResourceManagerMessage::RequestSlots { job, count } => {
                pass(state, Step::Allocate)?;
                state.waiting.insert(job, count);
                state.grant();
            }
            ResourceManagerMessage::ReleaseJob(job) => {
                state.masters.remove(&job);
                state.waiting.remove(&job);
                state.remember_released(job);
                for entry in state.task_managers.values_mut() {
                    entry.unclear.remove(&job);
                    let _ = entry.actor.cast(TaskManagerMessage::ForgetJob(job));
                    let held = entry.slots.iter_mut().filter(|slot| **slot == Some(job));
                    held.for_each(|slot| *slot = None);
                }
                state.grant();
            }
        }
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
        id: entry.id.clone(),
        incarnation,
        actor: entry.actor.clone(),
        data_address: entry.data_address.clone(),
    }
}

impl ResourceManagerState {
    fn register(&mut self, registration: Registration, actor: ActorRef<TaskManagerMessage>) {
        let Registration {
            id,
            incarnation,
            slots,
            jobs,
            data_address,
        } = registration;
        // A new life proves the end of the old one. The same life over another link may have missed commands, which nobody
        // says again: it is as one that was lost and has come back.
        self.lose(|entry| entry.id == id && entry.actor.get_id() != actor.get_id());
        for job in jobs.iter().filter(|job| self.released.contains(job)) {
            // It had lost its leader when the job ended.
            let _ = actor.cast(TaskManagerMessage::ForgetJob(*job));
        }
        let mut entry = TaskManagerEntry {
            id,
            actor,
            slots: vec![None; slots as usize],
            unclear: BTreeSet::new(),
            last_heard: self.node.now(),
            data_address,
        };
        if let Some(known) = self.task_managers.get(&incarnation) {
            entry.slots.clone_from(&known.slots);
            entry.unclear.clone_from(&known.unclear);
        } else {
            let running = jobs.iter().copied();
            entry.unclear = running.filter(|job| !self.released.contains(job)).collect();
        }
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
        for (index, holder) in entry.slots.iter_mut().enumerate() {
            if slots.contains(&(index as u32)) {
                *holder = Some(job);
            }
        }
        if entry.unclear.remove(&job) {
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
                tracing::warn!(task_manager = %entry.id, "a TaskManager is lost");
            }
            for master in self.masters.values() {
                let _ = master.cast(JobMasterMessage::TaskManagerLost(incarnation));
            }
        }
    }

    /// Meets the requests that can be met.
    fn grant(&mut self) {
        let waiting: Vec<(JobId, usize)> = self.waiting.iter().map(|(j, c)| (*j, *c)).collect();
        for (job, count) in waiting {
            let answer = match self.find(job, count) {
                Ok(slots) => {
                    for slot in &slots {
                        if let Some(entry) = self.task_managers.get_mut(&slot.incarnation) {
                            entry.slots[slot.index as usize] = Some(job);
                        }
                    }
                    self.waiting.remove(&job);
                    JobMasterMessage::SlotsGranted(slots)
                }
                Err(available) => {
                    tracing::warn!(%job, needed = count, available,
                        "not enough free slots; waiting for other jobs to end, or for TaskManagers");
                    JobMasterMessage::SlotsShort {
                        needed: count,
                        available,
                    }
                }
            };
            if let Some(master) = self.masters.get(&job) {
                let _ = master.cast(answer);
            }
        }
    }

    /// Slots for a job: those that it holds, then free ones, spread over the TaskManagers. Or else how many
    /// there are.
    fn find(&self, job: JobId, count: usize) -> Result<Vec<Slot>, usize> {
        let mut candidates: Vec<(bool, usize, Slot)> = Vec::new();
        for (incarnation, entry) in &self.task_managers {
            let clear = entry.unclear.is_empty();
            for (index, holder) in entry.slots.iter().enumerate() {
                if holder.map_or(clear, |holder| holder == job) {
                    let slot = Slot {
                        task_manager: entry.id.clone(),
                        incarnation: *incarnation,
                        index: index as u32,
                    };
                    candidates.push((holder.is_none(), index, slot));
                }
            }
        }
        if candidates.len() < count {
            return Err(candidates.len());
        }
        candidates.sort();
        candidates.truncate(count);
        Ok(candidates.into_iter().map(|(_, _, slot)| slot).collect())
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
