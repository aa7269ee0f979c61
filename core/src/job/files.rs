//! Which files of its stores a subtask need not store again.
//!
//! ```text
//! jobs/<job>/files/<n>/...        stored for checkpoint n, named by its manifest, and by those of the checkpoints after it
//! ```
//!
//! A checkpoint builds on the last *completed* one, and on that only if the subtask knows that it is the last: one that
//! it has acknowledged and heard nothing of may be complete, and then its predecessor's files may be gone. So **every file that
//! completed checkpoints m and n name is named by all completed ones between them**. From that follows who may
//! delete: whoever has seen n complete deletes what was stored for n or before and is named by no retained manifest that he
//! knows of. If he has been replaced meanwhile, and a later checkpoint needs such a file, then n, which he retains,
//! named it too.

use super::entry::{StoredFile, StoredFiles};
use crate::ids::{CheckpointId, OperatorUid};
use crate::store::ImageFile;

/// The files that a subtask has in the storage.
///
/// ```
/// use rivus_core::job::{KnownFiles, SnapshotRef, StoredFile, StoredFiles};
/// use rivus_core::{CheckpointId, ImageFile};
///
/// let object = SnapshotRef { name: "files/1/7.sst".into(), len: 4, crc32c: 0 };
/// let file = StoredFile { name: "7.sst".into(), object };
/// let stored = StoredFiles { operator: "sums".into(), format: "any".into(), files: vec![file] };
/// let image_file = ImageFile { name: "7.sst".into(), bytes: 4, is_lasting: true };
///
/// let mut known = KnownFiles::default();
/// known.acknowledged(CheckpointId(1), vec![stored]);
/// assert!(known.find(&"sums".into(), &image_file).is_none());
/// known.completed(CheckpointId(1));
/// assert!(known.find(&"sums".into(), &image_file).is_some());
/// ```
#[derive(Debug, Default)]
pub struct KnownFiles {
    /// Of the last checkpoint that is known to be complete.
    completed: Vec<StoredFiles>,
    /// Of one after it, of which nothing has been heard since it was acknowledged.
    acknowledged: Option<(CheckpointId, Vec<StoredFiles>)>,
}

impl KnownFiles {
    /// Those of the checkpoint that the subtask starts from.
    pub fn restored(files: Vec<StoredFiles>) -> Self {
        Self {
            completed: files,
            acknowledged: None,
        }
    }

    /// The subtask has acknowledged a checkpoint.
    pub fn acknowledged(&mut self, id: CheckpointId, files: Vec<StoredFiles>) {
        if self.acknowledged.replace((id, files)).is_some() {
            // Nobody has said what became of the one before. If it is complete, the files of the last that is known to be
            // may be gone by now.
            self.completed.clear();
        }
    }

    /// A checkpoint is complete.
    pub fn completed(&mut self, id: CheckpointId) {
        if let Some((_, files)) = self.acknowledged.take_if(|(known, _)| *known == id) {
            self.completed = files;
        }
    }

    /// A checkpoint will never be.
    pub fn aborted(&mut self, id: CheckpointId) {
        self.acknowledged.take_if(|(known, _)| *known == id);
    }

    /// Where a file of an operator's store is stored already, if the next checkpoint may build on that.
    pub fn find(&self, operator: &OperatorUid, file: &ImageFile) -> Option<&StoredFile> {
        if self.acknowledged.is_some() || !file.is_lasting {
            return None;
        }
        let stores = self.completed.iter();
        stores
            .filter(|store| store.operator == *operator)
            .flat_map(|store| &store.files)
            .find(|stored| stored.name == file.name && stored.object.len == file.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::SnapshotRef;
    use super::*;

    /// What a store that never changes has in the storage after what a subtask has heard: `a` it has acknowledged a
    /// checkpoint, `c` that one is complete, `x` it will never be.
    fn heard(history: &str) -> Option<String> {
        let file = ImageFile {
            name: "7.sst".into(),
            bytes: 4,
            is_lasting: true,
        };
        let mut known = KnownFiles::default();
        for word in history.split_whitespace() {
            let (what, id) = word.split_at(1);
            let id = CheckpointId(id.parse().unwrap());
            let object = SnapshotRef {
                name: format!("files/{id}"),
                len: 4,
                crc32c: 0,
            };
            let name = file.name.clone();
            let stored = StoredFiles {
                operator: "sums".into(),
                format: "any".into(),
                files: vec![StoredFile { name, object }],
            };
            match what {
                "a" => known.acknowledged(id, vec![stored]),
                "c" => known.completed(id),
                _ => known.aborted(id),
            }
        }
        let found = known.find(&"sums".into(), &file);
        found.map(|found| found.object.name.clone())
    }

    #[test]
    fn a_checkpoint_builds_on_the_last_complete_one_only_if_it_is_known_to_be_the_last() {
        for (history, found) in [
            ("", None),
            ("a1", None),
            ("a1 c1", Some("files/1")),
            ("a1 c1 a2", None),
            ("a1 c1 a2 x2", Some("files/1")),
            ("a1 c1 a2 c2", Some("files/2")),
            // Of 2 nothing was heard: it may be complete, and what 1 has be gone.
            ("a1 c1 a2 a3 x3", None),
            ("a1 c1 a2 a3 c3 a4 x4", Some("files/3")),
            ("a1 c1 a2 a3 c2 x3", None),
        ] {
            assert_eq!(heard(history).as_deref(), found, "after {history}");
        }
    }
}
