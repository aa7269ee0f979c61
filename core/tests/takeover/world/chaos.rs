//! Who dies, and by which chance.

use std::ops::AddAssign;

use rivus_core::AttemptId;
use rivus_core::job::JobEvent;

use super::World;

/// How often in 10,000 steps something dies, as long as there is chaos.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chaos {
    pub leader: u64,
    pub coordinator: u64,
    pub task_manager: u64,
    pub task: u64,
    pub decline: u64,
    /// How often somebody asks for the job's end.
    pub cancel: u64,
    /// How often a new leader stops waiting for reports although their senders live.
    pub impatience: u64,
}

/// What has died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    pub leaders: u32,
    pub coordinators: u32,
    pub task_managers: u32,
    pub tasks: u32,
    pub impatient: u32,
}

impl AddAssign for Deaths {
    fn add_assign(&mut self, other: Self) {
        self.leaders += other.leaders;
        self.coordinators += other.coordinators;
        self.task_managers += other.task_managers;
        self.tasks += other.tasks;
        self.impatient += other.impatient;
    }
}

/// SplitMix64: the same numbers everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn chance(&mut self, in_10_000: u64) -> bool {
        self.next() % 10_000 < in_10_000
    }
}

impl World {
    pub(super) fn chaos(&mut self) {
        let chaos = self.chaos;
        if self.random.chance(chaos.leader) {
            self.kill_leader();
        }
        if self.random.chance(chaos.coordinator)
            && let Some(leader) = &mut self.leader
        {
            leader.restart_coordinator(self.now);
            self.deaths.coordinators += 1;
            self.note(|| "THE COORDINATOR DIES".into());
        }
        if self.random.chance(chaos.task_manager) {
            let index = self.random.below(self.task_managers.len());
            let dead = self.task_managers.remove(index);
            self.deaths.task_managers += 1;
            self.note(|| format!("TASK MANAGER {:?} DIES", dead.incarnation));
            self.start_task_manager(dead.name);
        }
        if self.random.chance(chaos.task)
            && let Some((index, attempt)) = self.some_task()
        {
            self.note(|| format!("{attempt} DIES"));
            self.task_managers[index].fail(attempt);
            self.deaths.tasks += 1;
        }
        if self.random.chance(chaos.decline)
            && let Some((index, attempt)) = self.some_task()
        {
            self.task_managers[index].decline(attempt, self.truth.last_checkpoint);
        }
        if self.random.chance(chaos.cancel)
            && let Some(leader) = &mut self.leader
        {
            leader.decide(JobEvent::Cancel, self.now);
            self.canceled = true;
        }
        if let Some(leader) = &mut self.leader
            && leader.collected(true)
            && !leader.expected().is_empty()
            && self.random.chance(chaos.impatience)
        {
            leader.take_over(self.now);
            self.deaths.impatient += 1;
            self.note(|| "THE LEADER LOSES PATIENCE".into());
        }
    }

    fn some_task(&mut self) -> Option<(usize, AttemptId)> {
        let mut alive = Vec::new();
        for (index, task_manager) in self.task_managers.iter().enumerate() {
            let tasks = task_manager.tasks.iter().filter(|(_, t)| t.is_alive());
            alive.extend(tasks.map(|(attempt, _)| (index, *attempt)));
        }
        if alive.is_empty() {
            return None;
        }
        let chosen = self.random.below(alive.len());
        Some(alive[chosen])
    }
}
