//! Which slots a job gets: a pure function of what TaskManagers offer.

use std::collections::BTreeSet;

use rivus_core::{Incarnation, JobId, Slot, TaskManagerId};

/// What a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSlots {
    /// How many slots in all; those it holds count.
    pub count: usize,
    /// The state backend that its TaskManagers have to have; none if any does.
    pub backend: Option<String>,
}

/// The slots of a TaskManager.
pub(crate) struct OfferedSlots {
    pub(crate) task_manager: TaskManagerId,
    /// Its state backend; none if state is in memory.
    pub(crate) backend: Option<String>,
    /// The job that holds each of them.
    pub(crate) holders: Vec<Option<JobId>>,
    /// Jobs that run there and whose masters have not said yet which slots they hold.
    pub(crate) unclear: BTreeSet<JobId>,
}

impl WantedSlots {
    /// Those that the job holds, then free ones, spread over the TaskManagers. Or else how many there are.
    pub(crate) fn find<'a>(
        &self,
        job: JobId,
        offered: impl Iterator<Item = (Incarnation, &'a OfferedSlots)>,
    ) -> Result<Vec<Slot>, usize> {
        let mut candidates: Vec<(bool, usize, Slot)> = Vec::new();
        for (incarnation, offered) in offered {
            if self.backend.is_some() && self.backend != offered.backend {
                continue;
            }
            let clear = offered.unclear.is_empty();
            for (index, holder) in offered.holders.iter().enumerate() {
                if holder.map_or(clear, |holder| holder == job) {
                    let slot = Slot {
                        task_manager: offered.task_manager.clone(),
                        incarnation,
                        index: index as u32,
                    };
                    candidates.push((holder.is_none(), index, slot));
                }
            }
        }
        if candidates.len() < self.count {
            return Err(candidates.len());
        }
        candidates.sort();
        candidates.truncate(self.count);
        Ok(candidates.into_iter().map(|(_, _, slot)| slot).collect())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const JOB: JobId = JobId(Uuid::from_u128(1));
    const OTHER: JobId = JobId(Uuid::from_u128(2));

    fn offered(name: &str, backend: &str, holders: &[Option<JobId>]) -> OfferedSlots {
        OfferedSlots {
            task_manager: TaskManagerId(name.to_owned()),
            backend: (!backend.is_empty()).then(|| backend.to_owned()),
            holders: holders.to_vec(),
            unclear: BTreeSet::new(),
        }
    }

    /// The slots that are found, as `left0`, or how many there are.
    fn found(
        all: &[OfferedSlots],
        count: usize,
        backend: Option<&str>,
    ) -> Result<Vec<String>, usize> {
        let backend = backend.map(str::to_owned);
        let all = all.iter().enumerate();
        let all = all.map(|(life, offered)| (Incarnation(Uuid::from_u128(life as u128)), offered));
        let slots = WantedSlots { count, backend }.find(JOB, all)?;
        let name = |slot: &Slot| format!("{}{}", slot.task_manager, slot.index);
        Ok(slots.iter().map(name).collect())
    }

    fn names(names: &[&str]) -> Result<Vec<String>, usize> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_job_keeps_its_slots_and_gets_others_from_all_task_managers_in_turn() {
        let all = [
            offered("left", "", &[None, None, Some(OTHER)]),
            offered("right", "", &[None, Some(JOB), None]),
        ];
        assert_eq!(found(&all, 3, None), names(&["right1", "left0", "right0"]));
        assert_eq!(found(&all, 6, None), Err(5));
    }

    #[test]
    fn files_of_a_backend_go_where_they_can_be_read_only() {
        let mut all = vec![
            offered("left", "", &[None, Some(JOB)]),
            offered("right", "RocksDB", &[None, None]),
        ];
        assert_eq!(
            found(&all, 2, Some("RocksDB")),
            names(&["right0", "right1"])
        );
        assert_eq!(found(&all, 3, Some("RocksDB")), Err(2));
        // What is rows can be read by all.
        assert_eq!(found(&all, 2, None), names(&["left1", "left0"]));
        all.push(offered("third", "RocksDB", &[None]));
        assert_eq!(
            found(&all, 3, Some("RocksDB")),
            names(&["right0", "third0", "right1"])
        );
    }
}
