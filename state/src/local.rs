//! Copies of the last checkpoints on this process's own disk, from which a restart begins if it can.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rivus_core::job::StoredFiles;
use rivus_core::{CheckpointId, Failure, JobId, StoreImage, SubtaskId};

/// An image, and the names under which its files are stored.
#[derive(Debug, Clone)]
pub struct LocalCopy {
    /// What the checkpoint names.
    pub stored: StoredFiles,
    /// The same files, here.
    pub image: Arc<dyn StoreImage>,
}

type Copies = BTreeMap<(JobId, SubtaskId), BTreeMap<CheckpointId, Vec<LocalCopy>>>;

/// Images of this process's stores that are, or may become, their subtasks' last completed checkpoint. They outlive the
/// attempts that made them, not the process. What is given back is no longer kept: dropping it deletes files.
#[derive(Debug, Default)]
pub struct LocalCopies(Mutex<Copies>);

impl LocalCopies {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A subtask has acknowledged a checkpoint that consists of these.
    pub fn keep(
        &self,
        job: JobId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        copies: Vec<LocalCopy>,
    ) {
        let mut all = self.copies();
        let of_subtask = all.entry((job, subtask)).or_default();
        of_subtask.insert(checkpoint, copies);
    }

    /// A checkpoint is complete: those before it are not needed any more.
    pub fn completed(
        &self,
        job: JobId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
    ) -> Vec<LocalCopy> {
        let mut all = self.copies();
        let Some(of_subtask) = all.get_mut(&(job, subtask)) else {
            return Vec::new();
        };
        let later = of_subtask.split_off(&checkpoint);
        // A savepoint leaves no copies, and the job doesn't start from it.
        if !later.contains_key(&checkpoint) {
            of_subtask.extend(later);
            return Vec::new();
        }
        let before = std::mem::replace(of_subtask, later);
        before.into_values().flatten().collect()
    }

    /// A checkpoint of a job is complete: of subtasks that don't run here any more, those before it are not needed, as they
    /// are not of those that do.
    pub fn completed_elsewhere(
        &self,
        job: JobId,
        checkpoint: CheckpointId,
        runs_here: impl Fn(SubtaskId) -> bool,
    ) -> Vec<LocalCopy> {
        let mut unneeded = Vec::new();
        self.copies().retain(|(of, subtask), of_subtask| {
            if *of != job || runs_here(*subtask) {
                return true;
            }
            let later = of_subtask.split_off(&checkpoint);
            let before = std::mem::replace(of_subtask, later);
            unneeded.extend(before.into_values().flatten());
            !of_subtask.is_empty()
        });
        unneeded
    }

    /// A checkpoint will never be.
    pub fn aborted(
        &self,
        job: JobId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
    ) -> Vec<LocalCopy> {
        let mut all = self.copies();
        let of_subtask = all.get_mut(&(job, subtask));
        let aborted = of_subtask.and_then(|of_subtask| of_subtask.remove(&checkpoint));
        aborted.unwrap_or_default()
    }

    /// A job has ended.
    pub fn forget(&self, job: JobId) -> Vec<LocalCopy> {
        let mut all = self.copies();
        let (gone, left) = std::mem::take(&mut *all)
            .into_iter()
            .partition::<Copies, _>(|((of, _), _)| *of == job);
        *all = left;
        gone.into_values()
            .flat_map(BTreeMap::into_values)
            .flatten()
            .collect()
    }

    /// The files of a checkpoint, if there is a copy and every byte of it is as it was stored. It reads all of it.
    pub fn find(
        &self,
        job: JobId,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        stored: &StoredFiles,
    ) -> Option<Arc<dyn StoreImage>> {
        let image = {
            let all = self.copies();
            let copies = all.get(&(job, subtask))?.get(&checkpoint)?;
            let mut copies = copies.iter();
            let copy = copies.find(|copy| copy.stored == *stored)?;
            Arc::clone(&copy.image)
        };
        match verify(&*image, stored) {
            Ok(()) => Some(image),
            Err(failure) => {
                let operator = &stored.operator;
                tracing::warn!(%job, %operator, %failure, "a local copy can't be used, the storage's is");
                None
            }
        }
    }
}

/// Compares files with what was stored of them.
fn verify(image: &dyn StoreImage, stored: &StoredFiles) -> Result<(), Failure> {
    for file in &stored.files {
        let (mut len, mut crc) = (0, 0);
        image.read(&file.name, &mut |piece| {
            len += piece.len() as u64;
            crc = crc32c::crc32c_append(crc, piece);
            Ok(())
        })?;
        if (len, crc) != (file.object.len, file.object.crc32c) {
            let name = &file.name;
            return Err(Failure::attempt(format!(
                "{name} is not what was stored of it"
            )));
        }
    }
    Ok(())
}
