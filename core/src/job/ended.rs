//! Whose logs stay when jobs are over.
//!
//! A log says that its job is over, so that it doesn't come back, and how it ended. That of a job that has kept a checkpoint says more:
//! nothing goes on from that checkpoint without it. So a job that keeps nothing is forgotten when so many others have ended after it, and
//! one that does when so many others have been kept after it that have done so too. There is an end to both: a new leader reads the log
//! of every one.

use std::collections::VecDeque;

use crate::ids::JobId;

/// The last jobs that have ended, whatever became of them; and of those before them the last that have kept a checkpoint.
///
/// ```
/// use rivus_core::JobId;
/// use rivus_core::job::EndedJobs;
///
/// let mut jobs = EndedJobs::of_each(2);
/// let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|id| JobId(uuid::Uuid::from_u128(id)));
/// assert_eq!([jobs.ended(a), jobs.ended(b)], [None, None]);
/// assert_eq!(jobs.ended(c), Some(a)); // it is looked whether that has kept a checkpoint, and it has
/// assert_eq!(jobs.keeps(a), None);
/// assert_eq!([jobs.ended(d), jobs.ended(e)], [Some(b), Some(c)]);
/// assert_eq!(jobs.keeps(b), None);
/// assert_eq!(jobs.keeps(c), Some(a)); // one too many
/// ```
#[derive(Debug)]
pub struct EndedJobs {
    most: usize,
    ended: VecDeque<JobId>,
    keeping: VecDeque<JobId>,
}

impl EndedJobs {
    /// Knows so many of each.
    pub fn of_each(most: usize) -> Self {
        Self {
            most,
            ended: VecDeque::new(),
            keeping: VecDeque::new(),
        }
    }

    /// A job is over, perhaps once more. Returns the one that isn't among the last any more: its log goes, unless it has
    /// [kept](Self::keeps) a checkpoint.
    pub fn ended(&mut self, job: JobId) -> Option<JobId> {
        self.keeping.retain(|known| *known != job);
        last(&mut self.ended, job, self.most)
    }

    /// A job that isn't among the last any more has kept a checkpoint. Returns the one whose log goes instead.
    pub fn keeps(&mut self, job: JobId) -> Option<JobId> {
        match self.ended.contains(&job) {
            // It is over once more.
            true => None,
            false => last(&mut self.keeping, job, self.most),
        }
    }
}

/// Makes a job the last of so many. Returns the one that there is no place for any more.
fn last(known: &mut VecDeque<JobId>, job: JobId, most: usize) -> Option<JobId> {
    known.retain(|known| *known != job);
    known.push_back(job);
    (known.len() > most).then(|| known.pop_front()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u32) -> JobId {
        JobId(uuid::Uuid::from_u128(number.into()))
    }

    /// Numbers of jobs that end; a negative one keeps a checkpoint. Returns those whose logs go, in that order.
    fn gone(ends: &[i32]) -> Vec<u32> {
        let mut jobs = EndedJobs::of_each(2);
        let mut gone = Vec::new();
        let keeps: Vec<JobId> = ends
            .iter()
            .filter(|end| **end < 0)
            .map(|end| job(end.unsigned_abs()))
            .collect();
        for end in ends {
            let forgotten = jobs.ended(job(end.unsigned_abs()));
            gone.extend(
                forgotten.and_then(|forgotten| match keeps.contains(&forgotten) {
                    true => jobs.keeps(forgotten),
                    false => Some(forgotten),
                }),
            );
        }
        let number = |job: JobId| job.0.as_u128() as u32;
        gone.into_iter().map(number).collect()
    }

    #[test]
    fn a_log_without_which_nothing_goes_on_from_a_checkpoint_outlives_others() {
        let table: [(&[i32], &[u32]); 7] = [
            (&[1, 2], &[]),
            (&[1, 2, 3, 4], &[1, 2]),
            (&[-1, 2, 3, 4, 5, 6, 7], &[2, 3, 4, 5]),
            // Only others that keep one push it out.
            (&[-1, 2, -3, 4, 5, 6], &[2, 4]),
            (&[-1, -2, -3, -4, -5], &[1]),
            // One that ends again is the last.
            (&[1, 2, 1, 3], &[2]),
            (&[-1, 2, 3, -1, 4, 5, 6], &[2, 3, 4]),
        ];
        for (ends, expected) in table {
            assert_eq!(gone(ends), expected, "{ends:?}");
        }
    }
}
