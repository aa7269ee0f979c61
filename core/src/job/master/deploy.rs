//! From slots to running regions, and splits to their readers.

use std::collections::VecDeque;

use crate::ids::{AttemptId, Slot, VertexId};
use crate::job::LogEntry;

use super::{Checkpoints, JobAction, JobMachine, Region, RegionPhase};

impl JobMachine {
    pub(super) fn find_splits(&mut self, actions: &mut Vec<JobAction>) {
        let missing: Vec<VertexId> = self
            .sources
            .keys()
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

    pub(super) fn allocate(&mut self, region: usize, actions: &mut Vec<JobAction>) {
        self.regions[region].phase = RegionPhase::Allocating;
        self.slots.clear();
        self.request_slots(actions);
        if let Some((id, _)) = self.state.latest()
            && self
                .manifest
                .as_ref()
                .is_none_or(|manifest| manifest.id != id)
        {
            actions.push(JobAction::ReadManifest(id));
        }
    }

    pub(super) fn awaits_slots(&self) -> bool {
        let waits = |region: &Region| region.phase == RegionPhase::Allocating;
        self.regions.iter().any(waits)
    }

    /// Asks for slots of TaskManagers that can read what there is to start from: when that is known.
    pub(super) fn request_slots(&self, actions: &mut Vec<JobAction>) {
        let restore = self.state.latest().map(|(id, _)| id);
        let manifest = self.manifest.as_ref().filter(|m| Some(m.id) == restore);
        if manifest.is_some() != restore.is_some() {
            return;
        }
        let stored = manifest.and_then(|manifest| manifest.stores().next());
        actions.push(JobAction::RequestSlots {
            count: self.slots_needed,
            backend: stored.map(|stored| stored.format.clone()),
        });
    }

    /// Deploys the regions that wait, once there are slots and the manifest to start from.
    pub(super) fn deploy(&mut self, actions: &mut Vec<JobAction>) {
        let restore = self.state.latest().map(|(id, _)| id);
        let manifest = self.manifest.as_ref().filter(|m| Some(m.id) == restore);
        if self.slots.len() < self.slots_needed || manifest.is_some() != restore.is_some() {
            return;
        }
        if self.ends_tasks() {
            return;
        }
        let places = self.places();
        self.places = (0..).zip(places.iter().cloned()).collect();
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
                        attempt: self.state.earlier_attempts + 1,
                    };
                    let execution = self.state.executions.get(subtask);
                    let attempt = execution.map_or(first, |execution| execution.attempt.next());
                    (attempt, places[subtask.index as usize].clone())
                })
                .collect();
            actions.push(JobAction::Append(LogEntry::Deployed { attempts, restore }));
        }
    }

    /// The slot of each index: the one it has, for that is where its files are and where other regions go on; or else one that no
    /// index has. What is on its way to the log counts as had.
    fn places(&self) -> Vec<Slot> {
        let mut left: VecDeque<&Slot> = self.slots.iter().collect();
        let mut places = vec![None; self.slots_needed];
        let executions = self.state.executions.iter();
        let had = executions.map(|(subtask, execution)| (subtask.index, &execution.slot));
        let promised = self.places.iter().map(|(index, slot)| (*index, slot));
        for (index, had) in promised.chain(had) {
            if let Some(place @ None) = places.get_mut(index as usize)
                && let Some(at) = left.iter().position(|slot| *slot == had)
            {
                *place = left.remove(at);
            }
        }
        let places = places.into_iter();
        let places = places.filter_map(|place| place.or_else(|| left.pop_front()));
        places.cloned().collect()
    }

    pub(super) fn ready(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let Some(index) = self.region_if_current(attempt) else {
            return;
        };
        if self.ends_tasks() {
            return;
        }
        let region = &mut self.regions[index];
        let RegionPhase::Deploying(waiting) = &mut region.phase else {
            return;
        };
        waiting.remove(&attempt);
        if waiting.is_empty() {
            region.phase = RegionPhase::Running;
            let attempts = self.current_in(index);
            actions.push(JobAction::Run(attempts));
            self.start_checkpoints_if_running(actions);
        }
    }

    pub(super) fn start_checkpoints_if_running(&mut self, actions: &mut Vec<JobAction>) {
        if !self.is_running() || self.ends_tasks() || self.checkpoints != Checkpoints::Quiet {
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

    pub(super) fn tell_if_drained(&mut self, actions: &mut Vec<JobAction>) {
        let mut executions = self.state.executions.values();
        if self.checkpoints == Checkpoints::On
            && executions.all(|execution| self.drained.contains(&execution.attempt))
        {
            actions.push(JobAction::AllDrained);
        }
    }

    pub(super) fn assign_split(&mut self, attempt: AttemptId, actions: &mut Vec<JobAction>) {
        let source = attempt.subtask.vertex;
        let Some(pool) = self.state.splits.get(&source) else {
            return;
        };
        if !self.is_current(attempt) || self.over.contains(&attempt) {
            return;
        }
        if self.is_ending() || self.rescaling().is_some() {
            return;
        }
        let promised = self.promised.entry(source).or_default();
        match pool.next(attempt.subtask, promised) {
            Some(id) => {
                promised.insert(id);
                actions.push(JobAction::Append(LogEntry::SplitsAssigned {
                    attempt,
                    splits: vec![id],
                }));
            }
            None if pool.is_open() => {
                self.wait_for_split(attempt);
                actions.push(JobAction::AssignSplits {
                    attempt,
                    splits: Vec::new(),
                    no_more: false,
                });
            }
            None => actions.push(JobAction::AssignSplits {
                attempt,
                splits: Vec::new(),
                no_more: true,
            }),
        }
    }
}
